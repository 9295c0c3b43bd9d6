use std::time::Duration;

use super::{BackendRef, Filter, GrpcMatch, HttpMatch, Persistence, Retry, RuleTimeouts};
use crate::name::{Hostname, Text};

/// An HTTPRoute.
pub type HttpRoute = GatewayRoute<HttpMatch>;

/// A GRPCRoute.
pub type GrpcRoute = GatewayRoute<GrpcMatch>;

/// A rule of an HTTPRoute.
pub type HttpRule = Rule<HttpMatch>;

/// A rule of a GRPCRoute. The Gateway API gives it neither timeouts nor retries.
pub type GrpcRule = Rule<GrpcMatch>;

/// A route: some host names, and what becomes of the requests for them.
#[derive(Debug, Clone, PartialEq)]
pub struct GatewayRoute<M> {
    /// Which object it is.
    pub id: RouteId,
    /// The hosts it is for; without any, all that its listener is for. They do not count in a route of a Service.
    pub hostnames: Vec<Hostname>,
    /// Its rules. Without any it has one that matches everything, and has no backend.
    pub rules: Vec<Rule<M>>,
}

/// Which object a route is. Of routes that ask for the same, the older wins, then the first by `namespace/name`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteId {
    /// Its namespace.
    pub namespace: Text,
    /// Its name.
    pub name: Text,
    /// When it was created: time since 1970. Zero where nobody knows, as for objects from files.
    pub created: Duration,
}

/// Some matches, and what is done with the requests that are as one of them says.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule<M> {
    /// Its name, unique in the route.
    pub name: Option<Text>,
    /// Which requests: those that any of these matches. Without any, all.
    pub matches: Vec<M>,
    /// What is done to them. Each kind stands here once at most, except mirrors.
    pub filters: Vec<Filter>,
    /// Where they go, by weight.
    pub backends: Vec<BackendRef>,
    /// How long they may take.
    pub timeouts: RuleTimeouts,
    /// When they are tried again; `None` for never.
    pub retry: Option<Retry>,
    /// How a client is kept with its endpoint, if it is.
    pub session: Option<Persistence>,
}

impl<M> GatewayRoute<M> {
    /// A route without hosts and rules.
    #[must_use]
    pub fn new(id: RouteId) -> Self {
        Self { id, hostnames: Vec::new(), rules: Vec::new() }
    }
}

impl RouteId {
    /// An object whose age is not known.
    #[must_use]
    pub fn new(namespace: &str, name: &str) -> Self {
        Self { namespace: namespace.into(), name: name.into(), created: Duration::ZERO }
    }
}

impl<M> Default for Rule<M> {
    fn default() -> Self {
        Self {
            name: None,
            matches: Vec::new(),
            filters: Vec::new(),
            backends: Vec::new(),
            timeouts: RuleTimeouts::default(),
            retry: None,
            session: None,
        }
    }
}
