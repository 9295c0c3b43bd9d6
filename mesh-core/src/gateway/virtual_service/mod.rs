//! Istio's VirtualService: what its users need beyond the Gateway API, such as faults, direct answers, and routing by source.
//!
//! The values are those of the object's `http` part, typed, with references resolved by whoever read them; `delegate` too.
//! Unlike those of the Gateway API, routes are tried in the order in which they are written, prefixes are of characters, and
//! what a matcher leaves out is what Envoy leaves out.
//!
//! | what | here |
//! | --- | --- |
//! | `sourceLabels` | a match that asks for them is for nobody: a waypoint or gateway does not see the labels of a client |
//! | `sourceNamespace` | the namespace of the client's SPIFFE identity |
//! | headers named `@request.auth.claims` | for whoever reads the object to refuse |
//! | `timeout` that is not given | none; `grpc-timeout` counts, up to the timeout if there is one |
//! | `retries` that are not given | 2, after what [`Retries::on`] says; `attempts: 0` is none |

mod action;
mod compile;
mod matcher;

use std::time::Duration;

use http::{HeaderName, Method};

pub use compile::{gateway_routes, waypoint_routes};

use super::{Backend, RouteId};
use crate::name::Text;
use crate::route::{DirectResponse, Fault, Fraction, RedirectStatus, Template};
use crate::string_match::{Regex, Substitution};

/// A VirtualService.
#[derive(Debug, Clone, PartialEq)]
pub struct VirtualService {
    /// Which object it is.
    pub id: RouteId,
    /// The hosts it is for: names, wildcards such as `*.shop.example`, or `*`.
    pub hosts: Vec<Text>,
    /// What is done for them; the first that matches is taken.
    pub routes: Vec<HttpRoute>,
}

/// Some matches, and what is done with the requests that are as one of them says.
#[derive(Debug, Clone, PartialEq)]
pub struct HttpRoute {
    /// Its name, for logs.
    pub name: Text,
    /// Which requests: those that any of these matches. Without any, all.
    pub matches: Vec<HttpMatch>,
    /// What is done with them.
    pub action: RouteAction,
    /// What becomes of host and path.
    pub rewrite: Rewrite,
    /// How long a request may take, retries included. `None` and zero are for ever.
    pub timeout: Option<Duration>,
    /// When it is tried again.
    pub retries: Option<Retries>,
    /// Faults that it suffers.
    pub fault: Option<Fault>,
    /// Where it is copied to.
    pub mirrors: Vec<MirrorTo>,
    /// Which pages of other origins may use it.
    pub cors: Option<Cors>,
    /// What is done to headers.
    pub headers: Headers,
}

/// What is done with requests.
#[derive(Debug, Clone, PartialEq)]
pub enum RouteAction {
    /// They go to these, by weight. A weight says nothing about the only one there is.
    Route(Vec<Destination>),
    /// The client is sent elsewhere.
    Redirect(Redirect),
    /// They are answered.
    Respond(DirectResponse),
}

/// Where requests go.
#[derive(Debug, Clone, PartialEq)]
pub struct Destination {
    /// Where to. For a host that is not known, 503 is answered.
    pub backend: Backend,
    /// Its share of the sum of all weights.
    pub weight: u32,
    /// What is done to headers.
    pub headers: Headers,
}

/// Which requests: all that is asked must hold.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct HttpMatch {
    /// Its name, for logs.
    pub name: Text,
    /// How the path must look.
    pub uri: Option<TextMatch>,
    /// Whether upper and lower case of an exact path or prefix are the same.
    pub ignore_uri_case: bool,
    /// How the scheme must look.
    pub scheme: Option<TextMatch>,
    /// How the method must look.
    pub method: Option<TextMatch>,
    /// How the authority must look.
    pub authority: Option<TextMatch>,
    /// How headers must look; `None` if they must be there.
    pub headers: Vec<(HeaderName, Option<TextMatch>)>,
    /// How headers must not look; `None` if they must not be there. One that is missing will do.
    pub without_headers: Vec<(HeaderName, Option<TextMatch>)>,
    /// How parameters of the query must look; `None` if they must be there.
    pub query: Vec<(Text, Option<TextMatch>)>,
    /// The port that requests come in by.
    pub port: Option<u16>,
    /// Labels of the client.
    pub source_labels: Vec<(Text, Text)>,
    /// Namespace of the client.
    pub source_namespace: Option<Text>,
    /// The gateways this is for, as `namespace/name` or `mesh`; empty for all that the object is for.
    pub gateways: Vec<Text>,
}

/// How a text must look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TextMatch {
    /// Equal to this.
    Exact(Text),
    /// Beginning with this.
    Prefix(Text),
    /// Matched as a whole by an expression.
    Regex(Regex),
}

/// What becomes of host and path.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rewrite {
    /// What becomes of the path; the query stays.
    pub uri: Option<UriRewrite>,
    /// The authority.
    pub authority: Option<Text>,
}

/// What becomes of a path.
#[derive(Debug, Clone, PartialEq)]
pub enum UriRewrite {
    /// The prefix that was matched becomes this; all of it where none was.
    Prefix(Text),
    /// Every part that an expression matches is replaced.
    Regex(Substitution),
}

/// Where a client is sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Redirect {
    /// The path; `None` for that of the request.
    pub uri: Option<Text>,
    /// The host, with a port or without; `None` for that of the request.
    pub authority: Option<Text>,
    /// The scheme; `None` for that of the request.
    pub scheme: Option<Text>,
    /// The port.
    pub port: RedirectPort,
    /// The status. Default 301.
    pub status: RedirectStatus,
}

/// The port a client is sent to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum RedirectPort {
    /// That of the request, unless it goes without saying for the scheme before.
    #[default]
    Kept,
    /// This.
    Given(u16),
    /// The one that requests come in by: `FROM_REQUEST_PORT`.
    OfEntry,
}

/// When a request is tried again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Retries {
    /// How often at most, beside the first attempt; zero for never.
    pub attempts: u32,
    /// Longest wait for the response of one attempt.
    pub per_try_timeout: Option<Duration>,
    /// Longest silence in one attempt.
    pub per_try_idle_timeout: Option<Duration>,
    /// Envoy's tokens and statuses of HTTP, separated by commas; others are passed over. Default
    /// `connect-failure,refused-stream,unavailable,cancelled`.
    pub on: Option<Text>,
    /// Whether endpoints of other localities are taken for another attempt.
    pub remote_localities: bool,
    /// Whether an endpoint that was tried may be taken again at once: `retryIgnorePreviousHosts: false`.
    pub same_hosts: bool,
    /// The base of the waiting times. Default 25 ms.
    pub back_off: Option<Duration>,
}

/// A copy of requests, whose answers nobody awaits. Their host ends in `-shadow`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MirrorTo {
    /// Where to. To a host that is not known, nothing is sent.
    pub backend: Backend,
    /// Which part of the requests; `None` for all.
    pub fraction: Option<Fraction>,
}

/// Which pages of other origins may use a route.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cors {
    /// How an origin must look: in one of these ways.
    pub origins: Vec<TextMatch>,
    /// Methods.
    pub methods: Vec<Method>,
    /// Headers of requests.
    pub headers: Vec<Text>,
    /// Headers of responses that a page may read.
    pub expose: Vec<Text>,
    /// How long a browser may rely on the answer to a preflight.
    pub max_age: Option<Duration>,
    /// Whether a request may carry cookies and the like.
    pub credentials: bool,
    /// Whether a preflight of another origin is answered here: `unmatchedPreflights: IGNORE`. Otherwise it goes to the server.
    pub ignore_unmatched_preflights: bool,
}

/// What is done to headers.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Headers {
    /// To those of requests. Setting `host` is rewriting the authority.
    pub request: HeaderEdit,
    /// To those of responses.
    pub response: HeaderEdit,
}

/// What is done to headers. Values may have parts of the request in them, as Envoy writes them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HeaderEdit {
    /// They get this value, in place of all they had.
    pub set: Vec<(HeaderName, Template)>,
    /// They get this value beside those they have.
    pub add: Vec<(HeaderName, Template)>,
    /// They are removed.
    pub remove: Vec<HeaderName>,
}

impl HttpRoute {
    /// A nameless route for all requests, that does no more than this with them.
    #[must_use]
    pub fn new(action: RouteAction) -> Self {
        Self {
            name: Text::default(),
            matches: Vec::new(),
            action,
            rewrite: Rewrite::default(),
            timeout: None,
            retries: None,
            fault: None,
            mirrors: Vec::new(),
            cors: None,
            headers: Headers::default(),
        }
    }
}

impl Destination {
    /// A cluster with its share.
    #[must_use]
    pub fn to(cluster: &str, weight: u32) -> Self {
        Self { backend: Backend::Cluster(cluster.into()), weight, headers: Headers::default() }
    }
}

#[cfg(test)]
mod tests;
