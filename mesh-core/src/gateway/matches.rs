use http::{HeaderName, Method};

use crate::name::Text;
use crate::string_match::{Regex, RegexError};

/// Which requests of HTTP: all that is asked must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HttpMatch {
    /// How the path must look. Default: any.
    pub path: HttpPath,
    /// How headers must look. Of several for one name the first counts.
    pub headers: Vec<HeaderCondition>,
    /// How parameters of the query must look. Of several for one name the first counts.
    pub query: Vec<QueryCondition>,
    /// The method, unless any will do.
    pub method: Option<Method>,
}

/// How a path must look. The query is no part of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HttpPath {
    /// Equal to this, byte by byte.
    Exact(Text),
    /// This or below it, by elements: `/a` and `/a/` are for `/a`, `/a/` and `/a/b`, not for `/ab`.
    Prefix(Text),
    /// Matched as a whole by an expression.
    Regex(Regex),
}

impl Default for HttpPath {
    fn default() -> Self {
        Self::Prefix("/".into())
    }
}

/// How a header must look. `host` is the authority.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeaderCondition {
    /// Its name.
    pub name: HeaderName,
    /// Its value.
    pub value: ValueMatch,
}

/// How a parameter of the query must look; of several with one name the first counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueryCondition {
    /// Its name; upper and lower case differ.
    pub name: Text,
    /// Its value.
    pub value: ValueMatch,
}

/// How a value must look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ValueMatch {
    /// Equal to this, byte by byte.
    Exact(Text),
    /// Matched as a whole by an expression.
    Regex(Regex),
}

/// Which calls of gRPC: all that is asked must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GrpcMatch {
    /// Which method. Default: any.
    pub method: Option<GrpcMethod>,
    /// How headers must look. Of several for one name the first counts.
    pub headers: Vec<HeaderCondition>,
}

/// Which methods of gRPC. Upper and lower case differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GrpcMethod {
    /// All methods of a service.
    Service(Text),
    /// The methods of this name, of any service.
    Method(Text),
    /// One method of one service.
    Exact {
        /// The service, with its package.
        service: Text,
        /// The method.
        method: Text,
    },
    /// Those whose whole path, `/service/method`, an expression matches.
    Regex(Regex),
}

impl GrpcMethod {
    /// The methods that expressions for service and method match, each as a whole; one that is absent matches any.
    ///
    /// # Errors
    /// [`RegexError`], when one of them is malformed or both together are too large.
    pub fn regex(service: Option<&str>, method: Option<&str>) -> Result<Self, RegexError> {
        const ANY: &str = "[^/]+";
        for part in [service, method].into_iter().flatten() {
            // Alone first: `a)|(b` is malformed, though it is not within parentheses.
            Regex::new(part)?;
        }
        let path = format!("/(?:{})/(?:{})", service.unwrap_or(ANY), method.unwrap_or(ANY));
        Regex::new(&path).map(Self::Regex)
    }
}
