use std::borrow::Cow;

use super::Template;
use super::host::without_port;
use crate::name::Text;
use crate::request::{Field, Request};
use crate::string_match::Substitution;

/// What becomes of a path. The query stays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathRewrite {
    /// The part that the route's matcher names becomes this; with an expression or an exact path that is all of it.
    Prefix(Text),
    /// Every part that matches is replaced.
    Substitute(Substitution),
    /// All of it becomes this, unless that is empty.
    Whole(Template),
}

/// What becomes of an authority.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HostRewrite {
    /// This.
    Literal(Text),
    /// The host name of the endpoint, if it has one.
    Upstream,
    /// What this header holds, unless it is missing or empty.
    Header(Field),
    /// What the path becomes by this.
    Path(Substitution),
}

/// Where a client is sent. Envoy's `RedirectAction`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Redirect {
    /// The scheme; `None` for that of the request.
    pub scheme: Option<Text>,
    /// The host; `None` for that of the request.
    pub host: Option<Text>,
    /// The port; `None` for that of the request, unless it is the one that goes without saying for the scheme before. One that
    /// goes without saying for the scheme is left out, other than by Envoy, which writes it.
    pub port: Option<u16>,
    /// The path; `None` for that of the request.
    pub path: Option<RedirectPath>,
    /// The status.
    pub status: RedirectStatus,
    /// Whether the query is left out.
    pub strip_query: bool,
}

/// The path a client is sent to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RedirectPath {
    /// This, with the query of the request unless it has its own.
    Whole(Text),
    /// That of the request, rewritten.
    Rewrite(PathRewrite),
}

/// The status of a redirect.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum RedirectStatus {
    /// 301.
    #[default]
    MovedPermanently,
    /// 302.
    Found,
    /// 303.
    SeeOther,
    /// 307.
    TemporaryRedirect,
    /// 308.
    PermanentRedirect,
}

impl PathRewrite {
    /// The target of a request, rewritten. `matched` is how much of its path the matcher named.
    pub(super) fn target(&self, request: &Request<'_>, matched: usize) -> String {
        let path = request.path();
        let rest = request.head.target.get(path.len()..).unwrap_or_default();
        match self {
            Self::Prefix(prefix) => format!("{prefix}{}{rest}", path.get(matched..).unwrap_or_default()),
            Self::Substitute(substitution) => format!("{}{rest}", substitution.replace_all(path)),
            Self::Whole(template) => match template.render(&request.head, request.headers) {
                whole if whole.is_empty() => request.head.target.to_owned(),
                whole => format!("{whole}{rest}"),
            },
        }
    }
}

impl HostRewrite {
    /// The authority; `None` when it stays. `upstream` is the host name of the endpoint.
    pub(super) fn authority<'a>(&'a self, request: &Request<'a>, upstream: Option<&'a str>) -> Option<Cow<'a, str>> {
        let rewritten = match self {
            Self::Literal(host) => Some(Cow::Borrowed(host.as_str())),
            Self::Upstream => upstream.map(Cow::Borrowed),
            Self::Header(field) => request.first(field).map(Cow::Borrowed),
            Self::Path(substitution) => Some(substitution.replace_all(request.path())),
        };
        rewritten.filter(|host| !host.is_empty())
    }
}

impl Redirect {
    /// To the same place over TLS.
    #[must_use]
    pub fn to_https() -> Self {
        Self { scheme: Some("https".into()), ..Self::default() }
    }

    /// The whole address a client is sent to. `matched` is how much of the path the route's matcher named.
    pub(crate) fn location(&self, request: &Request<'_>, matched: usize) -> String {
        let scheme = self.scheme.as_ref().map_or(request.head.scheme, Text::as_str);
        let host = self.host.as_ref().map_or_else(|| self.kept_host(request, scheme), Text::as_str);
        let said = self.port.filter(|port| default_port(scheme) != Some(*port));
        let port = said.map(|port| format!(":{port}")).unwrap_or_default();
        format!("{scheme}://{host}{port}{}", self.target(request, matched))
    }

    fn kept_host<'a>(&self, request: &Request<'a>, scheme: &str) -> &'a str {
        let authority = request.head.authority;
        let host = without_port(authority);
        let default = default_port(request.head.scheme).map(|port| format!(":{port}"));
        let leaves_default = scheme != request.head.scheme && authority.strip_prefix(host) == default.as_deref();
        if self.port.is_some() || leaves_default { host } else { authority }
    }

    fn target(&self, request: &Request<'_>, matched: usize) -> String {
        let mut target = match &self.path {
            None => request.head.target.to_owned(),
            Some(RedirectPath::Whole(path)) if path.as_str().contains('?') => return path.to_string(),
            Some(RedirectPath::Whole(path)) => {
                let query = request.query().map(|query| format!("?{query}")).unwrap_or_default();
                format!("{path}{query}")
            }
            Some(RedirectPath::Rewrite(rewrite)) => rewrite.target(request, matched),
        };
        if self.strip_query
            && let Some(end) = target.find('?')
        {
            target.truncate(end);
        }
        target
    }
}

/// The port that goes without saying.
fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    }
}

impl RedirectStatus {
    /// The number.
    #[must_use]
    pub const fn code(self) -> u16 {
        match self {
            Self::MovedPermanently => 301,
            Self::Found => 302,
            Self::SeeOther => 303,
            Self::TemporaryRedirect => 307,
            Self::PermanentRedirect => 308,
        }
    }
}
