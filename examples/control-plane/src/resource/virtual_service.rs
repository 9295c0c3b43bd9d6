//! `networking.istio.io` VirtualService. It refuses fields that are not listed: requests would be treated otherwise than asked
//! for.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::Metadata;

/// `networking.istio.io VirtualService`.
#[derive(Debug, Clone, Deserialize)]
pub struct VirtualService {
    /// Name and age.
    pub metadata: Metadata,
    /// What it says.
    pub spec: VirtualServiceSpec,
}

/// Specification of a VirtualService.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct VirtualServiceSpec {
    /// The hosts it is for: in full, short for services of its namespace, or with a wildcard in front.
    pub hosts: Vec<String>,
    /// The gateways it is for; `mesh`, and absent, is for waypoints.
    pub gateways: Vec<String>,
    /// What is done with requests; the first that matches.
    pub http: Vec<HttpRoute>,
    /// Where TLS goes by its server name; the first that matches.
    pub tls: Vec<StreamRoute>,
    /// Where TCP goes; the first that matches.
    pub tcp: Vec<StreamRoute>,
    /// Who uses it: `.` is its own namespace, `*` and absent are all.
    pub export_to: Vec<String>,
}

/// What is done with some requests.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct HttpRoute {
    /// Its name, for logs.
    pub name: String,
    /// Which requests: any of these; all when absent.
    pub r#match: Vec<HttpMatch>,
    /// Where they go, by weight.
    pub route: Vec<WeightedDestination>,
    /// Where the client is sent instead.
    pub redirect: Option<Redirect>,
    /// What they are answered with instead.
    pub direct_response: Option<DirectResponse>,
    /// Another object that says it instead. Not supported.
    pub delegate: Option<serde_json::Value>,
    /// What becomes of path and host.
    pub rewrite: Option<Rewrite>,
    /// How long a request may take, retries included; for ever when absent.
    pub timeout: Option<String>,
    /// When it is tried again.
    pub retries: Option<Retries>,
    /// Faults that are made.
    pub fault: Option<Fault>,
    /// Where a copy goes.
    pub mirror: Option<Destination>,
    /// Where copies go.
    pub mirrors: Vec<Mirror>,
    /// Which part is copied to `mirror`; all when absent.
    pub mirror_percentage: Option<Percentage>,
    /// The same, in whole percent.
    #[serde(alias = "mirror_percent")]
    pub mirror_percent: Option<u32>,
    /// Which pages of other origins may use it.
    pub cors_policy: Option<Cors>,
    /// What is done to headers.
    pub headers: Option<Headers>,
}

/// Which requests: all that is said must hold.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct HttpMatch {
    /// Its name, for logs.
    pub name: String,
    /// The path.
    pub uri: Option<TextMatch>,
    /// Whether the case of an exact path or prefix is the same.
    pub ignore_uri_case: bool,
    /// The scheme.
    pub scheme: Option<TextMatch>,
    /// The method.
    pub method: Option<TextMatch>,
    /// The authority.
    pub authority: Option<TextMatch>,
    /// Headers; an empty value asks that it is there.
    pub headers: BTreeMap<String, TextMatch>,
    /// Headers that must not be so; an empty value asks that it is not there.
    pub without_headers: BTreeMap<String, TextMatch>,
    /// Parameters of the query.
    pub query_params: BTreeMap<String, TextMatch>,
    /// The port that requests come in by.
    pub port: Option<u16>,
    /// Labels of clients. Nobody knows them at a waypoint.
    pub source_labels: BTreeMap<String, String>,
    /// Namespace of clients.
    pub source_namespace: Option<String>,
    /// The gateways it is for, of those of the object.
    pub gateways: Vec<String>,
    /// Name for statistics.
    pub stat_prefix: Option<String>,
}

/// How a text must look; nothing set: that there is one.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TextMatch {
    /// Equal to this.
    pub exact: Option<String>,
    /// Beginning with this.
    pub prefix: Option<String>,
    /// Matched as a whole by this expression.
    pub regex: Option<String>,
}

/// A destination and its share.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WeightedDestination {
    /// Where to.
    pub destination: Destination,
    /// Its share; 0 when absent, which counts for the only one all the same.
    #[serde(default)]
    pub weight: Option<u32>,
    /// What is done to headers.
    #[serde(default)]
    pub headers: Option<Headers>,
}

/// Where to.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Destination {
    /// The host, in full or short for a service of the namespace.
    pub host: String,
    /// A subset of a DestinationRule.
    #[serde(default)]
    pub subset: Option<String>,
    /// The port; of a host that has only one, or has that by which requests came in, it goes without saying.
    #[serde(default)]
    pub port: Option<super::PortSelector>,
}

/// Where copies go.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mirror {
    /// Where to.
    pub destination: Destination,
    /// Which part; all when absent.
    #[serde(default)]
    pub percentage: Option<Percentage>,
}

/// A share in percent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Percentage {
    /// The number.
    pub value: f64,
}

/// Where a client is sent.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Redirect {
    /// The path; the request's when absent.
    pub uri: Option<String>,
    /// The host; the request's when absent.
    pub authority: Option<String>,
    /// The scheme; the request's when absent.
    pub scheme: Option<String>,
    /// The port.
    pub port: Option<u16>,
    /// Instead of one: `FROM_PROTOCOL_DEFAULT`, `FROM_REQUEST_PORT`.
    pub derive_port: Option<String>,
    /// The status; 301 when absent.
    pub redirect_code: Option<u16>,
}

/// What requests are answered with.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DirectResponse {
    /// The status.
    pub status: u16,
    /// The body.
    #[serde(default)]
    pub body: Option<Body>,
}

/// The body of an answer.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Body {
    /// As text.
    pub string: Option<String>,
    /// As Base64. Not supported.
    pub bytes: Option<String>,
}

/// What becomes of path and host.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Rewrite {
    /// What stands for the path, or the prefix, that matched.
    pub uri: Option<String>,
    /// The authority.
    pub authority: Option<String>,
    /// What becomes of the path by an expression.
    pub uri_regex_rewrite: Option<RegexRewrite>,
}

/// A replacement by an expression.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RegexRewrite {
    /// What is replaced.
    pub r#match: String,
    /// By what; `\1` is the first group.
    pub rewrite: String,
}

/// When requests are tried again.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Retries {
    /// How often; 0 is never.
    pub attempts: u32,
    /// How long one attempt may take.
    pub per_try_timeout: Option<String>,
    /// How long one attempt may be silent.
    pub per_try_idle_timeout: Option<String>,
    /// After what, in Envoy's terms.
    pub retry_on: Option<String>,
    /// Whether endpoints of other localities are taken too.
    pub retry_remote_localities: bool,
    /// Whether endpoints that were tried are passed over; so when absent.
    pub retry_ignore_previous_hosts: Option<bool>,
    /// Base of the waiting times; 25 ms when absent.
    pub backoff: Option<String>,
}

/// Faults that are made.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Fault {
    /// Requests that are held back.
    pub delay: Option<Delay>,
    /// Requests that are answered with an error.
    pub abort: Option<Abort>,
}

/// Requests that are held back.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Delay {
    /// For how long.
    pub fixed_delay: Option<String>,
    /// Which part; none when absent.
    pub percentage: Option<Percentage>,
    /// The same, in whole percent.
    pub percent: Option<u32>,
}

/// Requests that are answered with an error.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Abort {
    /// A status of HTTP.
    pub http_status: Option<u16>,
    /// A status of gRPC, as a number or by its name.
    pub grpc_status: Option<String>,
    /// Which part; none when absent.
    pub percentage: Option<Percentage>,
}

/// Which pages of other origins may use a route.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Cors {
    /// Origins, as they were written before there were patterns.
    pub allow_origin: Vec<String>,
    /// Origins.
    pub allow_origins: Vec<TextMatch>,
    /// Methods.
    pub allow_methods: Vec<String>,
    /// Headers of requests.
    pub allow_headers: Vec<String>,
    /// Headers of responses that a page may read.
    pub expose_headers: Vec<String>,
    /// How long a browser may rely on it.
    pub max_age: Option<String>,
    /// Whether requests may carry cookies.
    pub allow_credentials: Option<bool>,
    /// Who answers a preflight of another origin: `FORWARD` (so when absent) or `IGNORE`.
    pub unmatched_preflights: Option<String>,
}

/// What is done to headers.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Headers {
    /// To those of requests.
    pub request: Option<HeaderEdit>,
    /// To those of responses.
    pub response: Option<HeaderEdit>,
}

/// What is done to headers.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HeaderEdit {
    /// They get this value instead of all they had.
    pub set: BTreeMap<String, String>,
    /// They get this value too.
    pub add: BTreeMap<String, String>,
    /// They are removed.
    pub remove: Vec<String>,
}

/// Where some connections go.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StreamRoute {
    /// Which connections: any of these; all when absent.
    pub r#match: Vec<StreamMatch>,
    /// Where they go, by weight.
    pub route: Vec<WeightedDestination>,
}

/// Which connections: all that is said must hold.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct StreamMatch {
    /// Server names of TLS.
    pub sni_hosts: Vec<String>,
    /// Addresses they were meant for.
    pub destination_subnets: Vec<String>,
    /// The port they come in by.
    pub port: Option<u16>,
    /// Addresses of clients.
    pub source_subnet: Option<String>,
    /// Labels of clients.
    pub source_labels: BTreeMap<String, String>,
    /// Namespace of clients.
    pub source_namespace: Option<String>,
    /// The gateways it is for, of those of the object.
    pub gateways: Vec<String>,
}

impl StreamMatch {
    /// What it asks for that nobody knows where the connections of one service's port arrive. Server names are not among it.
    pub(crate) fn unknowable(&self) -> Option<&'static str> {
        match self {
            _ if !self.destination_subnets.is_empty() => Some("destinationSubnets"),
            _ if self.source_subnet.is_some() => Some("sourceSubnet"),
            _ if !self.source_labels.is_empty() => Some("sourceLabels"),
            _ if self.source_namespace.is_some() => Some("sourceNamespace"),
            _ => None,
        }
    }
}

/// Whether something that names gateways is for the mesh, and so for waypoints.
pub(crate) fn is_for_mesh(gateways: &[String]) -> bool {
    gateways.is_empty() || gateways.iter().any(|gateway| gateway == "mesh")
}
