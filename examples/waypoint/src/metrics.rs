//! Istio's standard HTTP metrics, so that existing dashboards work.

use std::fmt;
use std::sync::Arc;

use mesh_core::name::{ServiceAccount, parse_spiffe_id};
use mesh_transport::l7::{AccessLog, Record};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// Labels of requests. What is not known is the word `unknown`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Labels {
    reporter: &'static str,
    source_principal: String,
    source_workload_namespace: String,
    destination_service: String,
    destination_service_name: String,
    destination_service_namespace: String,
    request_protocol: &'static str,
    response_code: u16,
    grpc_response_status: String,
    response_flags: String,
    connection_security_policy: &'static str,
}

/// Counts requests, and writes them to the log.
pub(crate) struct Metrics {
    registry: Arc<Registry>,
    requests: Family<Labels, Counter>,
    duration: Family<Labels, Histogram, fn() -> Histogram>,
}

/// Bounds in milliseconds, those of Istio.
const BOUNDS: [f64; 20] = [
    0.5, 1.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0, 1e3, 2.5e3, 5e3, 1e4, 3e4, 6e4, 3e5, 6e5, 1.8e6, 3.6e6, 7.2e6,
];

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut registry = Registry::default();
        let requests = Family::<Labels, Counter>::default();
        let make: fn() -> Histogram = || Histogram::new(BOUNDS);
        let duration = Family::new_with_constructor(make);
        registry.register("istio_requests", "Requests that were answered or given up", requests.clone());
        registry.register(
            "istio_request_duration_milliseconds",
            "From the head of a request to the end of its response",
            duration.clone(),
        );
        Self { registry: Arc::new(registry), requests, duration }
    }

    pub(crate) fn registry(&self) -> Arc<Registry> {
        Arc::clone(&self.registry)
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl AccessLog for Metrics {
    fn record(&self, record: &Record) {
        ().record(record);
        let labels = labels(record);
        self.duration.get_or_create(&labels).observe(record.took.as_secs_f64() * 1000.0);
        self.requests.get_or_create(&labels).inc();
    }
}

fn labels(record: &Record) -> Labels {
    const UNKNOWN: &str = "unknown";
    let principal = record.connection.peer_uri();
    let account = principal.and_then(|uri| ServiceAccount::from_spiffe_id(&parse_spiffe_id(uri).ok()?));
    // `inbound-vip|80|http|carts.shop.svc.cluster.local`, as Istio names clusters.
    let host = record.upstream.as_ref().and_then(|reached| reached.cluster.as_str().rsplit('|').next());
    let mut parts = host.into_iter().flat_map(|host| host.split('.'));
    let (name, namespace) = (parts.next(), parts.next());
    let owned = |text: Option<&str>| text.unwrap_or(UNKNOWN).to_owned();
    Labels {
        reporter: "waypoint",
        source_principal: owned(principal),
        source_workload_namespace: owned(account.as_ref().map(|account| account.namespace().as_ref())),
        destination_service: owned(host),
        destination_service_name: owned(name),
        destination_service_namespace: owned(namespace),
        request_protocol: if record.grpc_status.is_some() { "grpc" } else { "http" },
        response_code: record.status_code(),
        grpc_response_status: record.grpc_status.map_or_else(String::new, |status| status.to_string()),
        response_flags: record.flags.to_string(),
        connection_security_policy: if principal.is_some() { "mutual_tls" } else { "none" },
    }
}
