use std::time::Duration;

use crate::authn::Authentication;
use crate::authz::rbac::RbacFilter;
use crate::companion::ext_authz::ExternalAuthz;
use crate::companion::rate_limit::GlobalRateLimit;
use crate::name::Text;
use crate::path::PathNormalization;
use crate::route::{Fault, HeaderMutation, LocalRateLimit, RouteTable, StatefulSession};

/// Requests are read, filtered and routed. Envoy's `HttpConnectionManager`.
#[derive(Debug, Clone, PartialEq)]
pub struct HttpManager {
    /// Which HTTP.
    pub codec: Codec,
    /// Where requests go.
    pub routes: RouteSource,
    /// What requests pass on their way; their names are all different.
    pub filters: Vec<HttpFilter>,
    /// Name of the router, which comes after all filters.
    pub router: Text,
    /// How long things may take.
    pub timeouts: HttpTimeouts,
    /// How large and how many things may be.
    pub limits: HttpLimits,
    /// Whose address a request is said to come from.
    pub forwarded_for: ForwardedFor,
    /// What becomes of a request's path before it is looked at.
    pub path: PathNormalization,
    /// What becomes of a request's host before it is looked at.
    pub strip_port: StripPort,
    /// Whether a dot at the end of the host is taken away.
    pub strip_trailing_host_dot: bool,
    /// What becomes of the header that tells of a client's certificate.
    pub client_cert: ClientCertHeader,
    /// What becomes of the header that tells of the server.
    pub server_header: ServerHeader,
    /// What is done with header names that have underscores.
    pub underscores: Underscores,
    /// Whether a request without an id gets one.
    pub generate_request_id: bool,
    /// Protocols that a request may change to, such as `websocket`.
    pub upgrades: Vec<UpgradeSupport>,
}

impl HttpManager {
    /// Routes of this source, and the defaults.
    #[must_use]
    pub fn new(routes: RouteSource) -> Self {
        Self {
            codec: Codec::Auto,
            routes,
            filters: Vec::new(),
            router: "envoy.filters.http.router".into(),
            timeouts: HttpTimeouts::default(),
            limits: HttpLimits::default(),
            forwarded_for: ForwardedFor::default(),
            path: PathNormalization::default(),
            strip_port: StripPort::Never,
            strip_trailing_host_dot: false,
            client_cert: ClientCertHeader::Sanitize,
            server_header: ServerHeader::Overwrite(Text::default()),
            underscores: Underscores::Allow,
            generate_request_id: true,
            upgrades: Vec::new(),
        }
    }
}

/// Which HTTP is spoken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Codec {
    /// What TLS negotiated, else what the connection begins with.
    Auto,
    /// HTTP/1.1.
    Http1,
    /// HTTP/2, in plaintext with prior knowledge.
    Http2,
}

/// Where routes come from.
#[derive(Debug, Clone, PartialEq)]
pub enum RouteSource {
    /// A route configuration of this name.
    Rds(Text),
    /// They are here.
    Inline(Box<RouteTable>),
}

/// A filter of requests.
#[derive(Debug, Clone, PartialEq)]
pub struct HttpFilter {
    /// Its name, by which routes override it.
    pub name: Text,
    /// What it does.
    pub kind: HttpFilterKind,
    /// Whether it runs only where a route overrides it.
    pub disabled: bool,
}

/// What a filter of requests does.
#[derive(Debug, Clone, PartialEq)]
pub enum HttpFilterKind {
    /// Access control.
    Rbac(RbacFilter),
    /// CORS, as routes say.
    Cors,
    /// Faults, made on purpose.
    Fault(Box<Fault>),
    /// Clients stay with their endpoints; without settings, only where routes say so.
    Session(Option<StatefulSession>),
    /// Requests are counted here.
    LocalRateLimit(Box<LocalRateLimit>),
    /// Headers are edited.
    HeaderMutation(HeaderMutation),
    /// Whole bodies are waited for, of so many bytes at most.
    BodyLimit(u32),
    /// An external authorizer is asked.
    ExternalAuthz(Box<ExternalAuthz>),
    /// The rate limit service is asked.
    RateLimit(Box<GlobalRateLimit>),
    /// Authentication by tokens.
    Authn(Box<Authentication>),
}

/// How long things may take; `None` for no limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct HttpTimeouts {
    /// A connection without requests. Default: one hour.
    pub idle: Option<Duration>,
    /// A connection, before it is drained.
    pub connection: Option<Duration>,
    /// A request on which nothing moves. Default: 5 minutes.
    pub stream_idle: Option<Duration>,
    /// A request, from its first byte to the last of its response.
    pub stream: Option<Duration>,
    /// A request, from its first byte to its own last.
    pub request: Option<Duration>,
    /// The head of a request.
    pub request_headers: Option<Duration>,
    /// The time between the announcement that a connection is drained and its refusal of requests. Default: 5 s.
    pub drain: Duration,
    /// The time for a client to close a connection that we are done with; zero closes it at once. Default: 1 s.
    pub delayed_close: Duration,
}

impl Default for HttpTimeouts {
    fn default() -> Self {
        Self {
            idle: Some(Duration::from_secs(60 * 60)),
            connection: None,
            stream_idle: Some(Duration::from_secs(5 * 60)),
            stream: None,
            request: None,
            request_headers: None,
            drain: Duration::from_secs(5),
            delayed_close: Duration::from_secs(1),
        }
    }
}

/// How large and how many things may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct HttpLimits {
    /// The head of a request, in KiB. Default: 60.
    pub request_headers_kib: u32,
    /// Headers of a request. Default: 100.
    pub headers: u32,
    /// Requests on one connection, before it is drained; `None` for no limit.
    pub requests_per_connection: Option<u32>,
    /// Requests at a time on one connection of HTTP/2. Default: 1024.
    pub concurrent_streams: u32,
    /// Window of a stream of HTTP/2 at its beginning, in bytes; `None` for the implementation's choice.
    pub stream_window_bytes: Option<u32>,
    /// Window of a connection of HTTP/2 at its beginning, in bytes; `None` for the implementation's choice.
    pub connection_window_bytes: Option<u32>,
    /// Whether CONNECT and extended CONNECT are understood on HTTP/2.
    pub connect: bool,
}

impl Default for HttpLimits {
    fn default() -> Self {
        Self {
            request_headers_kib: 60,
            headers: 100,
            requests_per_connection: None,
            concurrent_streams: 1024,
            stream_window_bytes: None,
            connection_window_bytes: None,
            connect: false,
        }
    }
}

/// Whose address a request is said to come from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct ForwardedFor {
    /// Whether the connection's client is believed, and added to `x-forwarded-for`, rather than what the header says.
    pub use_remote_address: bool,
    /// How many proxies before us are believed.
    pub trusted_hops: u32,
    /// Whether the header is left as it is, although the connection's client is believed.
    pub skip_append: bool,
}

/// Which port is taken from a request's host before it is looked at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum StripPort {
    /// None.
    #[default]
    Never,
    /// The listener's.
    Matching,
    /// Any.
    Any,
}

/// What becomes of `x-forwarded-client-cert`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum ClientCertHeader {
    /// It is taken away.
    #[default]
    Sanitize,
    /// It is passed on if the connection is of mutual TLS, else taken away.
    ForwardOnly,
    /// As `ForwardOnly`, and what is said of this client is added.
    AppendForward(ClientCertDetails),
    /// It is replaced by what is said of this client.
    SanitizeSet(ClientCertDetails),
    /// It is passed on, whoever sent it.
    AlwaysForwardOnly,
}

/// What is said of a client's certificate, besides its hash.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct ClientCertDetails {
    /// The subject.
    pub subject: bool,
    /// The certificate, in PEM.
    pub certificate: bool,
    /// Its chain, in PEM.
    pub chain: bool,
    /// Its DNS names.
    pub dns_names: bool,
    /// Its URI.
    pub uri: bool,
}

/// What becomes of the `server` header of responses.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum ServerHeader {
    /// It is this; empty for the implementation's choice.
    Overwrite(Text),
    /// It is this where the response has none.
    AppendIfAbsent(Text),
    /// It is left as it is.
    PassThrough,
}

/// What is done with header names that have underscores.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Underscores {
    /// Nothing.
    #[default]
    Allow,
    /// The request is refused (400).
    RejectRequest,
    /// The header is dropped.
    DropHeader,
}

/// A protocol that a request may change to.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct UpgradeSupport {
    /// The protocol, such as `websocket` or `CONNECT`; upper and lower case are the same.
    pub protocol: Text,
    /// Whether it may, where a route says nothing.
    pub enabled: bool,
}
