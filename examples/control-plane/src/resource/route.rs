//! `gateway.networking.k8s.io` HTTPRoute and GRPCRoute.

use serde::Deserialize;

use super::Metadata;

/// `gateway.networking.k8s.io HTTPRoute`.
#[derive(Debug, Clone, Deserialize)]
pub struct HttpRoute {
    /// Name and age.
    pub metadata: Metadata,
    /// What it says.
    #[serde(default)]
    pub spec: HttpRouteSpec,
}

/// Specification of an HTTPRoute.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpRouteSpec {
    /// What it attaches to.
    pub parent_refs: Vec<ParentRef>,
    /// Hosts that it is for; without effect where the parent is a service.
    pub hostnames: Vec<String>,
    /// Its rules; one that matches everything when absent.
    pub rules: Option<Vec<HttpRule>>,
    /// `All`: it attaches to default Gateways too. Experimental.
    pub use_default_gateways: Option<String>,
}

/// What a route attaches to.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ParentRef {
    /// API group; that of the Gateway API when absent, empty for a Service.
    #[serde(default)]
    pub group: Option<String>,
    /// Kind; `Gateway` when absent.
    #[serde(default)]
    pub kind: Option<String>,
    /// Namespace; the route's when absent.
    #[serde(default)]
    pub namespace: Option<String>,
    /// Name.
    pub name: String,
    /// Only this listener, or port of this name.
    #[serde(default)]
    pub section_name: Option<String>,
    /// Only this port.
    #[serde(default)]
    pub port: Option<u16>,
}

/// A rule of an HTTPRoute.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpRule {
    /// Its name.
    pub name: Option<String>,
    /// Which requests; any of these.
    pub matches: Vec<HttpMatch>,
    /// What is done to them.
    pub filters: Vec<RouteFilter>,
    /// Where they go.
    pub backend_refs: Vec<BackendRef>,
    /// How long they may take.
    pub timeouts: RuleTimeouts,
    /// When they are tried again.
    pub retry: Option<RuleRetry>,
    /// How a client stays with its endpoint.
    pub session_persistence: Option<SessionPersistence>,
}

/// Which requests; all of these must hold.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct HttpMatch {
    /// The path; the prefix `/` when absent.
    pub path: Option<PathMatch>,
    /// Headers.
    pub headers: Vec<NamedMatch>,
    /// Query parameters.
    pub query_params: Vec<NamedMatch>,
    /// The method.
    pub method: Option<String>,
}

/// A condition on the path.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct PathMatch {
    /// `PathPrefix` when absent; `Exact`, `RegularExpression`.
    pub r#type: Option<String>,
    /// `/` when absent.
    pub value: Option<String>,
}

/// A condition on a header or query parameter.
#[derive(Debug, Clone, Deserialize)]
pub struct NamedMatch {
    /// `Exact` when absent; `RegularExpression`.
    #[serde(default)]
    pub r#type: Option<String>,
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
}

/// Something that is done to a request or response.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RouteFilter {
    /// Which of the following.
    pub r#type: String,
    /// Headers of the request.
    #[serde(default)]
    pub request_header_modifier: Option<HeaderModifier>,
    /// Headers of the response.
    #[serde(default)]
    pub response_header_modifier: Option<HeaderModifier>,
    /// The client is sent elsewhere.
    #[serde(default)]
    pub request_redirect: Option<RequestRedirect>,
    /// Host and path are rewritten.
    #[serde(default, rename = "urlRewrite")]
    pub url_rewrite: Option<UrlRewrite>,
    /// A copy goes elsewhere too.
    #[serde(default)]
    pub request_mirror: Option<RequestMirror>,
    /// Requests of other origins.
    #[serde(default)]
    pub cors: Option<Cors>,
    /// Another object says it.
    #[serde(default)]
    pub extension_ref: Option<serde_json::Value>,
    /// A service decides.
    #[serde(default)]
    pub external_auth: Option<serde_json::Value>,
}

/// Changes to headers.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct HeaderModifier {
    /// Headers that replace.
    pub set: Vec<HeaderValue>,
    /// Headers that are added.
    pub add: Vec<HeaderValue>,
    /// Names that are taken away.
    pub remove: Vec<String>,
}

/// A header.
#[derive(Debug, Clone, Deserialize)]
pub struct HeaderValue {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
}

/// Where a client is sent.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RequestRedirect {
    /// Scheme.
    pub scheme: Option<String>,
    /// Host.
    pub hostname: Option<String>,
    /// Path.
    pub path: Option<PathModifier>,
    /// Port.
    pub port: Option<u16>,
    /// 302 when absent.
    pub status_code: Option<u16>,
}

/// What becomes of host and path.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct UrlRewrite {
    /// Host.
    pub hostname: Option<String>,
    /// Path.
    pub path: Option<PathModifier>,
}

/// What becomes of a path.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PathModifier {
    /// `ReplaceFullPath` or `ReplacePrefixMatch`.
    pub r#type: String,
    /// For the first.
    #[serde(default)]
    pub replace_full_path: Option<String>,
    /// For the second.
    #[serde(default)]
    pub replace_prefix_match: Option<String>,
}

/// Where copies go.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct RequestMirror {
    /// The service.
    pub backend_ref: BackendRef,
    /// This share of the requests, in percent.
    #[serde(default)]
    pub percent: Option<u32>,
    /// This share of the requests.
    #[serde(default)]
    pub fraction: Option<MirrorFraction>,
}

/// A share.
#[derive(Debug, Clone, Copy, Deserialize)]
pub struct MirrorFraction {
    /// How many.
    pub numerator: u32,
    /// Of how many; 100 when absent.
    #[serde(default = "hundred")]
    pub denominator: u32,
}

const fn hundred() -> u32 {
    100
}

/// Which requests of other origins are answered.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Cors {
    /// Origins.
    pub allow_origins: Vec<String>,
    /// Whether with credentials.
    pub allow_credentials: bool,
    /// Methods.
    pub allow_methods: Vec<String>,
    /// Headers of requests.
    pub allow_headers: Vec<String>,
    /// Headers of responses.
    pub expose_headers: Vec<String>,
    /// Seconds for which the answer counts; 5 when absent.
    pub max_age: Option<u32>,
}

/// Where requests go.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BackendRef {
    /// API group; empty when absent.
    #[serde(default)]
    pub group: Option<String>,
    /// Kind; `Service` when absent.
    #[serde(default)]
    pub kind: Option<String>,
    /// Name.
    pub name: String,
    /// Namespace; the route's when absent.
    #[serde(default)]
    pub namespace: Option<String>,
    /// Port of the service.
    #[serde(default)]
    pub port: Option<u16>,
    /// Share; 1 when absent.
    #[serde(default)]
    pub weight: Option<u32>,
    /// What is done to requests that go there.
    #[serde(default)]
    pub filters: Vec<RouteFilter>,
}

/// How long requests may take.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct RuleTimeouts {
    /// All attempts together.
    pub request: Option<String>,
    /// One attempt.
    pub backend_request: Option<String>,
}

/// When requests are tried again.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct RuleRetry {
    /// Statuses.
    pub codes: Vec<u16>,
    /// How often.
    pub attempts: Option<u32>,
    /// Least wait.
    pub backoff: Option<String>,
}

/// How a client stays with its endpoint.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SessionPersistence {
    /// Name of the session.
    pub session_name: Option<String>,
    /// Longest life.
    pub absolute_timeout: Option<String>,
    /// Longest silence.
    pub idle_timeout: Option<String>,
    /// `Cookie` when absent; `Header`.
    pub r#type: Option<String>,
    /// For `Cookie`.
    #[serde(alias = "cookieConfig")]
    pub cookie: Option<SessionCookie>,
    /// For `Header`.
    pub header: Option<SessionHeader>,
}

/// The cookie of a session.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct SessionCookie {
    /// Its name.
    pub name: Option<String>,
    /// Its path; `/` when absent.
    pub path: Option<String>,
    /// `Session` when absent; `Permanent`.
    pub lifetime_type: Option<String>,
}

/// The header of a session.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct SessionHeader {
    /// Its name.
    pub name: String,
}

/// `gateway.networking.k8s.io GRPCRoute`.
#[derive(Debug, Clone, Deserialize)]
pub struct GrpcRoute {
    /// Name and age.
    pub metadata: Metadata,
    /// What it says.
    #[serde(default)]
    pub spec: GrpcRouteSpec,
}

/// Specification of a GRPCRoute.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GrpcRouteSpec {
    /// What it attaches to.
    pub parent_refs: Vec<ParentRef>,
    /// Hosts that it is for; without effect where the parent is a service.
    pub hostnames: Vec<String>,
    /// Its rules.
    pub rules: Option<Vec<GrpcRule>>,
    /// `All`: it attaches to default Gateways too. Experimental.
    pub use_default_gateways: Option<String>,
}

/// A rule of a GRPCRoute.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GrpcRule {
    /// Its name.
    pub name: Option<String>,
    /// Which calls; any of these, and all without.
    pub matches: Vec<GrpcMatch>,
    /// What is done to them.
    pub filters: Vec<RouteFilter>,
    /// Where they go.
    pub backend_refs: Vec<BackendRef>,
    /// How a client stays with its endpoint.
    pub session_persistence: Option<SessionPersistence>,
}

/// Which calls.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct GrpcMatch {
    /// Service and method.
    pub method: Option<GrpcMethod>,
    /// Headers.
    pub headers: Vec<NamedMatch>,
}

/// Service and method of a call.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct GrpcMethod {
    /// `Exact` when absent; `RegularExpression`.
    pub r#type: Option<String>,
    /// The service.
    pub service: Option<String>,
    /// The method.
    pub method: Option<String>,
}
