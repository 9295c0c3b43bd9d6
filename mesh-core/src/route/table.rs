use std::collections::BTreeMap;
use std::sync::Arc;

use http::HeaderName;

use super::host::{HostIndex, without_port};
use super::index::RouteIndex;
use super::selection::Position;
use super::{
    Action, CheckOverride, CorsPolicy, Fault, HeaderEdits, HeaderMutation, Hedge, Mirror, OwnRateLimit, RateLimit,
    RateLimitOverride, RetryPolicy, RouteMatch, Selected, Selection, StatefulSession,
};
use crate::authz::rbac::FilterRules;
use crate::name::Text;
use crate::request::Request;

/// The settings of a route table. Envoy's `RouteConfiguration`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct RouteConfig {
    /// Its name.
    pub name: Text,
    /// Hosts; a domain stands in one of them only.
    pub hosts: Vec<VirtualHost>,
    /// What is done to the headers of every request and response.
    pub headers: HeaderEdits,
    /// Whether a route edits headers after its host, and that after the table, so that the most specific level wins. Default:
    /// the other way round. A weighted cluster edits them before all, in either case.
    pub most_specific_headers_win: bool,
    /// Whether a port in the authority does not count when a host is chosen.
    pub ignore_port: bool,
    /// Whether a path ends, for matching, before its first semicolon.
    pub ignore_path_parameters: bool,
    /// A header that names the host instead of the authority.
    pub host_header: Option<HeaderName>,
    /// Largest body of a direct response, in bytes. `None` is 4096.
    pub largest_direct_body: Option<u32>,
    /// Where requests are copied to, unless a host or a route says otherwise.
    pub mirrors: Vec<Mirror>,
    /// Settings of filters by the filter's name.
    pub filters: FilterOverrides,
}

/// Settings of filters, by the name a filter has in its chain. The most specific level that names a filter wins whole.
pub type FilterOverrides = BTreeMap<Text, FilterOverride>;

/// What a level of a route table says about one filter.
#[derive(Debug, Clone, PartialEq)]
pub enum FilterOverride {
    /// The filter does not run.
    Disabled,
    /// The filter is one of access control and has these rules instead.
    Rbac(Box<FilterRules>),
    /// The filter is one of CORS and has this policy.
    Cors(CorsPolicy),
    /// The filter makes these faults instead.
    Fault(Fault),
    /// The filter keeps sessions in this way instead.
    Session(StatefulSession),
    /// The filter counts requests here, and has these limits and buckets of their own.
    LocalRateLimit(OwnRateLimit),
    /// The filter edits headers in these ways too.
    HeaderMutation(HeaderMutation),
    /// The filter waits for whole bodies, of so many bytes at most.
    BodyLimit(u32),
    /// The filter asks an external authorizer and asks it differently.
    ExternalAuthz(CheckOverride),
    /// The filter asks the rate limit service and counts differently.
    RateLimit(RateLimitOverride),
    /// The filter is one of tokens and demands what it knows by this name instead; without a name, nothing.
    Authn(Option<Text>),
}

/// Routes for some domains. Envoy's `VirtualHost`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct VirtualHost {
    /// Its name.
    pub name: Text,
    /// `shop.example`, `*.example`, `*-shop.example`, `shop.*`, `shop-*` or `*`; upper and lower case are the same.
    pub domains: Vec<Text>,
    /// Its routes; the first that matches is taken.
    pub routes: Vec<Route>,
    /// Whether a request that did not come over TLS is sent back to come over it.
    pub require_tls: bool,
    /// What is done to headers.
    pub headers: HeaderEdits,
    /// Whether the server learns the number of the attempt.
    pub attempt_count_in_request: bool,
    /// Whether the client learns the number of attempts.
    pub attempt_count_in_response: bool,
    /// When a request is tried again, unless its route says otherwise.
    pub retry: Option<RetryPolicy>,
    /// Whether a request is sent twice, unless its route says otherwise.
    pub hedge: Option<Hedge>,
    /// Where requests are copied to, unless a route says otherwise.
    pub mirrors: Vec<Mirror>,
    /// Largest body that is kept to be sent again, in bytes.
    pub body_buffer: Option<u64>,
    /// By what its requests are counted, unless a route says otherwise.
    pub rate_limits: Vec<RateLimit>,
    /// Settings of filters.
    pub filters: FilterOverrides,
}

/// What is done with the requests that match. Envoy's `Route`.
#[derive(Debug, Clone, PartialEq)]
pub struct Route {
    /// Its name, for logs.
    pub name: Text,
    /// Which requests.
    pub matcher: RouteMatch,
    /// What is done.
    pub action: Action,
    /// What is done to headers.
    pub headers: HeaderEdits,
    /// Largest body that is kept to be sent again, in bytes.
    pub body_buffer: Option<u64>,
    /// Settings of filters.
    pub filters: FilterOverrides,
}

impl Route {
    /// A nameless route.
    #[must_use]
    pub fn new(matcher: RouteMatch, action: Action) -> Self {
        let (headers, filters) = (HeaderEdits::default(), FilterOverrides::new());
        Self { name: Text::default(), matcher, action, headers, body_buffer: None, filters }
    }
}

/// A route table, ready to be asked.
#[derive(Debug, Clone)]
pub struct RouteTable {
    config: RouteConfig,
    hosts: HostIndex,
    /// For each host.
    routes: Vec<RouteIndex>,
}

/// A route table is not one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TableError {
    /// A domain stands in it twice.
    #[error("domain `{domain}` stands there twice")]
    DuplicateDomain {
        /// The domain.
        domain: String,
    },
    /// A domain is empty.
    #[error("a domain is empty")]
    EmptyDomain,
}

/// A request has no route.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unrouted {
    /// No host has the domain: 404.
    #[error("no virtual host has the domain")]
    NoHost,
    /// No route of the host matches: 404.
    #[error("no route of the virtual host matches")]
    NoRoute,
    /// The host is for TLS only: 301 to the same place with `https`.
    #[error("the virtual host requires TLS")]
    TlsRequired,
}

impl RouteTable {
    /// Indexes a table.
    ///
    /// # Errors
    /// [`TableError`], when a domain is empty or stands there twice.
    pub fn new(config: RouteConfig) -> Result<Self, TableError> {
        let hosts = HostIndex::new(&config.hosts)?;
        let routes = config.hosts.iter().map(|host| RouteIndex::new(&host.routes)).collect();
        Ok(Self { config, hosts, routes })
    }

    /// Its settings.
    #[must_use]
    pub fn config(&self) -> &RouteConfig {
        &self.config
    }

    /// The host a request asks for: exact domains first, then the longest suffix, the longest prefix, `*`.
    #[must_use]
    pub fn host(&self, request: &Request<'_>) -> Option<&VirtualHost> {
        self.host_at(request).map(|at| &self.config.hosts[at])
    }

    fn host_at(&self, request: &Request<'_>) -> Option<usize> {
        let named = self.config.host_header.as_ref().map(|name| request.headers.get(name));
        let asked = match named {
            Some(value) => std::str::from_utf8(value?.as_bytes()).ok()?,
            None => request.head.authority,
        };
        self.hosts.find(if self.config.ignore_port { without_port(asked) } else { asked })
    }

    /// What is done with a request: its host, the first of its routes that matches, and, where a route divides its requests
    /// among clusters, the cluster. It is asked once per request; what is tried again stays in the answer.
    ///
    /// `random` is uniform over all 64 bits, one number per request. The time this takes depends on the request and on how
    /// many routes can be told apart by neither path nor an exact value, not on how many routes there are.
    ///
    /// # Errors
    /// [`Unrouted`], when there is no host or no route, or the request must come over TLS.
    pub fn find(&self, request: &Request<'_>, random: u64) -> Result<Selected<'_>, Unrouted> {
        self.locate(request, random).map(|at| self.at(at))
    }

    /// As [`find`](Self::find); the answer keeps the table.
    ///
    /// # Errors
    /// As [`find`](Self::find).
    pub fn select(self: &Arc<Self>, request: &Request<'_>, random: u64) -> Result<Selection, Unrouted> {
        self.locate(request, random).map(|at| Selection::new(Arc::clone(self), at))
    }

    fn locate(&self, request: &Request<'_>, random: u64) -> Result<Position, Unrouted> {
        let at = self.host_at(request).ok_or(Unrouted::NoHost)?;
        let host = &self.config.hosts[at];
        if host.require_tls && request.head.scheme != "https" {
            return Err(Unrouted::TlsRequired);
        }
        let found = self.routes[at].find(&host.routes, request, self.matched_path(request), random);
        let route = found.ok_or(Unrouted::NoRoute)?;
        let weighted = host.routes[route].weighted(request, random);
        Ok(Position { host: at, route, weighted })
    }

    /// What stands at a position that [`locate`](Self::locate) gave.
    pub(super) fn at(&self, at: Position) -> Selected<'_> {
        let host = &self.config.hosts[at.host];
        Selected::new(self, host, &host.routes[at.route], at.weighted)
    }

    /// What is compared of a path.
    fn matched_path<'a>(&self, request: &Request<'a>) -> &'a str {
        let path = request.path();
        match self.config.ignore_path_parameters {
            true => path.split(';').next().unwrap_or(path),
            false => path,
        }
    }
}

impl PartialEq for RouteTable {
    fn eq(&self, other: &Self) -> bool {
        self.config == other.config
    }
}
