use std::time::Duration;

use http::HeaderName;

use super::Backend;
use crate::name::{Hostname, Text};
use crate::route::{FilterOverrides, Fraction, RedirectStatus};

/// What a rule, or a reference to a backend, does to requests and responses.
#[derive(Debug, Clone, PartialEq)]
pub enum Filter {
    /// Edits the headers of requests.
    RequestHeaders(HeaderModifier),
    /// Edits the headers of responses.
    ResponseHeaders(HeaderModifier),
    /// Sends a copy of requests elsewhere.
    Mirror(RequestMirror),
    /// Sends the client elsewhere.
    Redirect(RequestRedirect),
    /// Changes host and path on the way to the backend.
    Rewrite(UrlRewrite),
    /// Lets pages of other origins use the route.
    Cors(Cors),
    /// Something that the specification does not define: `ExtensionRef` and `ExternalAuth`.
    Extension(Extension),
}

/// What becomes of headers. Upper and lower case of names are the same; each name stands in one of the lists only.
///
/// `host` may be set on requests, which is the same as rewriting the host name; it is neither added nor removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HeaderModifier {
    /// They get this value, in place of all they had.
    pub set: Vec<(HeaderName, Text)>,
    /// They get this value beside those they have.
    pub add: Vec<(HeaderName, Text)>,
    /// They are removed.
    pub remove: Vec<HeaderName>,
}

/// Sends a copy of requests elsewhere; nobody waits for the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestMirror {
    /// Where to. To a backend that is invalid, nothing is sent.
    pub backend: Backend,
    /// Which part of the requests; `None` for all.
    pub fraction: Option<Fraction>,
}

/// Sends the client elsewhere.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestRedirect {
    /// The scheme, `http` or `https`. `None` for that of the request.
    pub scheme: Option<Text>,
    /// The host. `None` for that of the request, without its port.
    pub hostname: Option<Hostname>,
    /// The path. `None` for that of the request.
    pub path: Option<PathModifier>,
    /// The port. `None` for the one of the scheme, if that is given, else for the one that the request came in by. A port
    /// that goes without saying is left out.
    pub port: Option<u16>,
    /// The status. Default 302.
    pub status: RedirectStatus,
}

impl Default for RequestRedirect {
    fn default() -> Self {
        Self { scheme: None, hostname: None, path: None, port: None, status: RedirectStatus::Found }
    }
}

/// Changes host and path on the way to the backend. The query stays.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UrlRewrite {
    /// The host. `None` for that of the request.
    pub hostname: Option<Hostname>,
    /// The path. `None` for that of the request.
    pub path: Option<PathModifier>,
}

/// What becomes of a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PathModifier {
    /// All of it becomes this.
    Full(Text),
    /// The prefix that was matched becomes this, by elements; there is one slash between it and what follows. Only for rules
    /// that match by prefix.
    Prefix(Text),
}

/// Which pages of other origins may use a route.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cors {
    /// Origins: `scheme://host[:port]`, in whose host a `*` stands for any labels; or `*` for all.
    pub origins: Vec<Text>,
    /// Methods, or `*` for all.
    pub methods: Vec<Text>,
    /// Headers of requests, or `*` for all.
    pub headers: Vec<Text>,
    /// Headers of responses that a page may read, or `*` for all.
    pub expose: Vec<Text>,
    /// Whether a request may carry cookies and the like.
    pub credentials: bool,
    /// How long a browser may rely on the answer to a preflight. Default 5 s.
    pub max_age: Option<Duration>,
}

/// What an extension has come to.
#[derive(Debug, Clone, PartialEq)]
pub enum Extension {
    /// Settings of filters, by the name a filter has in its chain.
    Settings(FilterOverrides),
    /// It cannot be resolved: requests are answered with an error, as a filter must not be passed over.
    Unresolved,
}
