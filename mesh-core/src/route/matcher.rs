use http::Method;

use crate::name::Text;
use crate::request::{HeaderMatch, Request};
use crate::string_match::{Pattern, Regex};

/// Which requests a route is for: all conditions must hold. Envoy's `RouteMatch`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteMatch {
    /// How the path must look.
    pub path: PathMatch,
    /// How headers must look.
    pub headers: Vec<HeaderMatch>,
    /// How parameters of the query must look.
    pub query: Vec<QueryMatch>,
    /// How cookies must look.
    pub cookies: Vec<CookieMatch>,
    /// How the client's SPIFFE URI must look: in all these ways. A client that is not known does not look like any.
    pub peer: Vec<Pattern>,
    /// Whether only calls of gRPC are meant.
    pub grpc: bool,
    /// Only this part of the requests, chosen by chance.
    pub fraction: Option<Fraction>,
}

/// How a path must look. It is compared without query and fragment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathMatch {
    /// Equal to this.
    Exact {
        /// The path.
        path: Text,
        /// Whether ASCII letters are the same in either case.
        ignore_case: bool,
    },
    /// Beginning with this.
    Prefix {
        /// The beginning.
        prefix: Text,
        /// Whether ASCII letters are the same in either case.
        ignore_case: bool,
    },
    /// This or something below it: `/a` is for `/a` and `/a/b`, not for `/ab`.
    Separated {
        /// The path, without a slash at its end.
        prefix: Text,
        /// Whether ASCII letters are the same in either case.
        ignore_case: bool,
    },
    /// Matched as a whole by an expression.
    Regex(Regex),
    /// Any, if the method is CONNECT. Such a request needs no path, and no other matcher takes one without.
    Connect,
}

/// How a parameter of the query must look; of several with one name the first counts, as it was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueryMatch {
    /// Its name.
    pub name: Text,
    /// What must hold of it. A parameter that is missing matches no pattern.
    pub condition: QueryCondition,
}

/// What is asked of a parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum QueryCondition {
    /// It is there (`true`) or it is not (`false`).
    Present(bool),
    /// It looks like this.
    Text(Pattern),
}

/// How a cookie must look; of several with one name the first counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CookieMatch {
    /// Its name.
    pub name: Text,
    /// How its value must look. A cookie that is missing does not look like it.
    pub pattern: Pattern,
    /// Whether it must not look so; a cookie that is missing will do then.
    pub invert: bool,
}

/// A part of all requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fraction {
    /// So many.
    pub numerator: u32,
    /// Of so many.
    pub denominator: Denominator,
}

/// Of how many requests a [`Fraction`] takes some.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Denominator {
    /// Of a hundred.
    #[default]
    Hundred,
    /// Of ten thousand.
    TenThousand,
    /// Of a million.
    Million,
}

impl RouteMatch {
    /// Requests with this path, whatever else they hold.
    #[must_use]
    pub fn new(path: PathMatch) -> Self {
        Self {
            path,
            headers: Vec::new(),
            query: Vec::new(),
            cookies: Vec::new(),
            peer: Vec::new(),
            grpc: false,
            fraction: None,
        }
    }

    /// Whether a request is meant. `path` is what is compared of its path; `random` is uniform over all 64 bits, and the same
    /// for all that is asked of one request.
    #[must_use]
    pub fn is_match(&self, request: &Request<'_>, path: &str, random: u64) -> bool {
        self.fraction.is_none_or(|fraction| fraction.takes(random))
            && self.path.is_match(request.head.method, path)
            && (!self.grpc || request.is_grpc())
            && self.headers.iter().all(|header| header.is_match(request))
            && self.query.iter().all(|query| query.is_match(request))
            && self.cookies.iter().all(|cookie| cookie.is_match(request))
            && self.peer.iter().all(|pattern| request.head.peer.is_some_and(|peer| pattern.is_match(peer)))
    }
}

impl PathMatch {
    /// Paths that begin with this, case-sensitive.
    #[must_use]
    pub fn prefix(prefix: &str) -> Self {
        Self::Prefix { prefix: prefix.into(), ignore_case: false }
    }

    /// This path, case-sensitive.
    #[must_use]
    pub fn exact(path: &str) -> Self {
        Self::Exact { path: path.into(), ignore_case: false }
    }

    /// Whether a path looks as it must.
    #[must_use]
    pub fn is_match(&self, method: &Method, path: &str) -> bool {
        if path.is_empty() && *self != Self::Connect {
            return false;
        }
        match self {
            Self::Exact { path: wanted, ignore_case } => {
                path.len() == wanted.as_str().len() && begins(path, wanted, *ignore_case)
            }
            Self::Prefix { prefix, ignore_case } => begins(path, prefix, *ignore_case),
            Self::Separated { prefix, ignore_case } => {
                let next = path.as_bytes().get(prefix.as_str().len());
                begins(path, prefix, *ignore_case) && next.is_none_or(|next| *next == b'/')
            }
            Self::Regex(regex) => regex.is_match(path),
            Self::Connect => method == Method::CONNECT,
        }
    }

    /// How much of a path that matches is what the matcher names: what a rewrite of the prefix replaces.
    pub(super) fn matched_len(&self, path: &str) -> usize {
        match self {
            Self::Prefix { prefix, .. } | Self::Separated { prefix, .. } => prefix.as_str().len(),
            Self::Exact { .. } | Self::Regex(_) | Self::Connect => path.len(),
        }
    }
}

fn begins(path: &str, prefix: &Text, ignore_case: bool) -> bool {
    let prefix = prefix.as_str().as_bytes();
    let head = path.as_bytes().get(..prefix.len());
    head.is_some_and(|head| if ignore_case { head.eq_ignore_ascii_case(prefix) } else { head == prefix })
}

impl QueryMatch {
    fn is_match(&self, request: &Request<'_>) -> bool {
        let value = request.query_value(self.name.as_str());
        match &self.condition {
            QueryCondition::Present(wanted) => *wanted == value.is_some(),
            QueryCondition::Text(pattern) => value.is_some_and(|value| pattern.is_match(value)),
        }
    }
}

impl CookieMatch {
    fn is_match(&self, request: &Request<'_>) -> bool {
        let value = request.cookie(self.name.as_str());
        value.is_some_and(|value| self.pattern.is_match(value)) != self.invert
    }
}

impl Fraction {
    /// So many of a hundred.
    #[must_use]
    pub const fn percent(numerator: u32) -> Self {
        Self { numerator, denominator: Denominator::Hundred }
    }

    /// Whether chance takes this request; `random` is uniform over all 64 bits.
    #[must_use]
    pub const fn takes(self, random: u64) -> bool {
        let denominator = match self.denominator {
            Denominator::Hundred => 100,
            Denominator::TenThousand => 10_000,
            Denominator::Million => 1_000_000,
        };
        random % denominator < self.numerator as u64
    }
}
