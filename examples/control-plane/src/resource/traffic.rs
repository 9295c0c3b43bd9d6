//! `networking.istio.io` DestinationRule. It refuses fields that are not listed: traffic would go out otherwise than asked for.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::Metadata;

/// `networking.istio.io DestinationRule`.
#[derive(Debug, Clone, Deserialize)]
pub struct DestinationRule {
    /// Name and age.
    pub metadata: Metadata,
    /// What it says.
    pub spec: DestinationRuleSpec,
}

/// Specification of a DestinationRule.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DestinationRuleSpec {
    /// The host it is for, in full or short for a service of its namespace.
    pub host: String,
    /// How traffic is sent there.
    #[serde(default)]
    pub traffic_policy: Option<TrafficPolicy>,
    /// Parts of its endpoints.
    #[serde(default)]
    pub subsets: Vec<Subset>,
    /// Who uses it: `.` is its own namespace, `*` and absent are all.
    #[serde(default)]
    pub export_to: Vec<String>,
    /// The clients it is for; one that has it does not count at waypoints.
    #[serde(default)]
    pub workload_selector: Option<serde_json::Value>,
}

/// A part of the endpoints of a host.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Subset {
    /// Its name.
    pub name: String,
    /// Labels of its endpoints.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// How traffic is sent there, beside what holds for the host.
    #[serde(default)]
    pub traffic_policy: Option<TrafficPolicy>,
}

/// How traffic is sent.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct TrafficPolicy {
    /// How an endpoint is chosen.
    pub load_balancer: Option<LoadBalancer>,
    /// How much may be under way.
    pub connection_pool: Option<ConnectionPool>,
    /// When an endpoint is ejected.
    pub outlier_detection: Option<OutlierDetection>,
    /// How TLS is originated.
    pub tls: Option<ClientTls>,
    /// What holds for single ports instead; what a port leaves out has its default.
    pub port_level_settings: Vec<PortPolicy>,
    /// How much may be tried again.
    pub retry_budget: Option<RetryBudget>,
}

/// How traffic is sent to a port.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct PortPolicy {
    /// The port.
    pub port: PortSelector,
    /// As above.
    pub load_balancer: Option<LoadBalancer>,
    /// As above.
    pub connection_pool: Option<ConnectionPool>,
    /// As above.
    pub outlier_detection: Option<OutlierDetection>,
    /// As above.
    pub tls: Option<ClientTls>,
}

/// A port.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PortSelector {
    /// Its number.
    pub number: u16,
}

/// How an endpoint is chosen.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct LoadBalancer {
    /// By a simple rule.
    pub simple: Option<String>,
    /// By a hash.
    pub consistent_hash: Option<ConsistentHash>,
    /// By where it is.
    pub locality_lb_setting: Option<LocalityLb>,
    /// How a new endpoint is warmed up.
    pub warmup: Option<Warmup>,
    /// As `warmup`, only its time.
    pub warmup_duration_secs: Option<String>,
}

/// A hash.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ConsistentHash {
    /// Of a header.
    pub http_header_name: Option<String>,
    /// Of a cookie.
    pub http_cookie: Option<HashCookie>,
    /// Of the client's address.
    pub use_source_ip: bool,
    /// Of a query parameter.
    pub http_query_parameter_name: Option<String>,
    /// By a ring.
    pub ring_hash: Option<RingHash>,
    /// By Maglev.
    pub maglev: Option<Maglev>,
    /// As `ringHash.minimumRingSize`.
    pub minimum_ring_size: Option<u64>,
}

/// A cookie that is made where there is none.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HashCookie {
    /// Its name.
    pub name: String,
    /// Its path.
    #[serde(default)]
    pub path: Option<String>,
    /// Its life; without, it is not made.
    #[serde(default)]
    pub ttl: Option<String>,
}

/// A ring.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct RingHash {
    /// Its least size; 1024 when absent.
    pub minimum_ring_size: Option<u64>,
}

/// Maglev.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Maglev {
    /// Size of its table.
    pub table_size: Option<u64>,
}

/// By where an endpoint is.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct LocalityLb {
    /// Shares by locality.
    pub distribute: Vec<Distribute>,
    /// Where traffic of a region goes when the region fails.
    pub failover: Vec<Failover>,
    /// Labels that make an endpoint near, most important first.
    pub failover_priority: Vec<String>,
    /// Whether it is used; it is when absent.
    pub enabled: Option<bool>,
}

/// Shares for clients of a locality.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Distribute {
    /// Locality of clients, `region/zone/*`.
    pub from: String,
    /// Localities and shares in percent.
    pub to: BTreeMap<String, u32>,
}

/// Where traffic of a region goes when it fails.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Failover {
    /// The region.
    pub from: String,
    /// The other region.
    pub to: String,
}

/// How a new endpoint is warmed up.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Warmup {
    /// For how long.
    pub duration: String,
    /// From which share, in percent; 10 when absent.
    #[serde(default)]
    pub minimum_percent: Option<f64>,
    /// How fast; 1 when absent.
    #[serde(default)]
    pub aggression: Option<f64>,
}

/// How much may be under way.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ConnectionPool {
    /// Connections.
    pub tcp: Option<TcpPool>,
    /// Requests.
    pub http: Option<HttpPool>,
}

/// Connections.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct TcpPool {
    /// How many.
    pub max_connections: Option<u32>,
    /// How long making one may take; 10 s when absent.
    pub connect_timeout: Option<String>,
    /// Probes of idle connections.
    pub tcp_keepalive: Option<serde_json::Value>,
    /// How long one may last.
    pub max_connection_duration: Option<String>,
    /// How long one may be silent.
    pub idle_timeout: Option<String>,
}

/// Requests.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct HttpPool {
    /// How many may wait for a connection.
    pub http1_max_pending_requests: Option<u32>,
    /// How many may be under way.
    pub http2_max_requests: Option<u32>,
    /// How many a connection serves.
    pub max_requests_per_connection: Option<u32>,
    /// How many may be tried again at a time.
    pub max_retries: Option<u32>,
    /// How long a connection may be without.
    pub idle_timeout: Option<String>,
    /// Whether HTTP/1.1 becomes HTTP/2: `UPGRADE`, `DO_NOT_UPGRADE`, `DEFAULT`.
    pub h2_upgrade_policy: Option<String>,
    /// Whether the client's protocol is spoken.
    pub use_client_protocol: bool,
    /// How many at a time on a connection of HTTP/2.
    pub max_concurrent_streams: Option<u32>,
}

/// When an endpoint is ejected.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct OutlierDetection {
    /// Whether what never reached an endpoint is counted apart.
    pub split_external_local_origin_errors: bool,
    /// After so many of these.
    pub consecutive_local_origin_failures: Option<u32>,
    /// After so many 502, 503, 504; never when absent.
    pub consecutive_gateway_errors: Option<u32>,
    /// After so many 5xx; 5 when absent, 0 is never.
    #[serde(rename = "consecutive5xxErrors")]
    pub consecutive_5xx_errors: Option<u32>,
    /// How often endpoints are judged; 10 s when absent.
    pub interval: Option<String>,
    /// For how long at first; 30 s when absent.
    pub base_ejection_time: Option<String>,
    /// Largest share that is ejected; 10 when absent.
    pub max_ejection_percent: Option<u32>,
    /// Below this share of healthy ones, all are used; 0 when absent, which is never.
    pub min_health_percent: Option<u32>,
}

/// How TLS is originated.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ClientTls {
    /// `DISABLE` (so when absent), `SIMPLE`, `MUTUAL` or `ISTIO_MUTUAL`.
    pub mode: Option<String>,
    /// For `MUTUAL`: file of the certificate, where the waypoint runs.
    pub client_certificate: Option<String>,
    /// For `MUTUAL`: file of its key.
    pub private_key: Option<String>,
    /// File of the authorities that may sign for the host; those of the machine when absent.
    pub ca_certificates: Option<String>,
    /// File of revocation lists.
    pub ca_crl: Option<String>,
    /// Names of which the certificate must have one; the server name when absent.
    pub subject_alt_names: Vec<String>,
    /// The server name; the host when absent.
    pub sni: Option<String>,
    /// A secret of Kubernetes instead of files. Not supported.
    pub credential_name: Option<String>,
    /// Whether the certificate is not verified. Not supported.
    pub insecure_skip_verify: Option<bool>,
}

/// How much may be tried again.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct RetryBudget {
    /// Of what is under way, in percent; 20 when absent.
    pub percent: Option<f64>,
    /// So many in any case; 3 when absent.
    pub min_retry_concurrency: Option<u32>,
}
