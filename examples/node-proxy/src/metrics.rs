//! Istio's standard TCP metrics, so that existing dashboards work.

use std::sync::Arc;

use mesh_transport::proxy::{Direction, Facts, Flow, Observer, Outcome};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

/// Labels of traffic metrics. What is not known is the word `unknown`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Traffic {
    reporter: &'static str,
    source_workload: String,
    source_workload_namespace: String,
    source_principal: String,
    destination_service: String,
    destination_service_namespace: String,
    destination_workload: String,
    destination_workload_namespace: String,
    destination_principal: String,
    request_protocol: &'static str,
    response_flags: &'static str,
    connection_security_policy: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reporter {
    reporter: &'static str,
}

/// All metrics of the node proxy.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Arc<Registry>,
    traffic: Arc<Counters>,
}

#[derive(Debug, Default)]
struct Counters {
    opened: Family<Traffic, Counter>,
    closed: Family<Traffic, Counter>,
    failed: Family<Traffic, Counter>,
    sent: Family<Traffic, Counter>,
    received: Family<Traffic, Counter>,
    open: Family<Reporter, Gauge>,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let traffic = Counters::default();
        let mut registry = Registry::with_prefix("istio");
        registry.register("tcp_connections_opened", "TCP connections opened", traffic.opened.clone());
        registry.register("tcp_connections_closed", "TCP connections closed", traffic.closed.clone());
        registry.register("tcp_connections_failed", "TCP connections refused or broken", traffic.failed.clone());
        registry.register("tcp_received_bytes", "Bytes from client to server", traffic.received.clone());
        registry.register("tcp_sent_bytes", "Bytes from server to client", traffic.sent.clone());
        registry.register("tcp_sockets_open", "TCP connections open", traffic.open.clone());
        Self { registry: Arc::new(registry), traffic: Arc::new(traffic) }
    }

    pub(crate) fn registry(&self) -> Arc<Registry> {
        Arc::clone(&self.registry)
    }

    pub(crate) fn observer(&self) -> Arc<dyn Observer> {
        Arc::<Counters>::clone(&self.traffic)
    }
}

impl Observer for Counters {
    fn opened(&self, flow: &Flow) {
        self.opened.get_or_create(&labels(&flow.facts, "-")).inc();
        self.open.get_or_create(&Reporter { reporter: reporter(&flow.facts) }).inc();
    }

    fn closed(&self, flow: &Flow, outcome: &Outcome) {
        let labels = labels(&flow.facts, outcome.flag());
        self.closed.get_or_create(&labels).inc();
        if outcome.error().is_some() {
            self.failed.get_or_create(&labels).inc();
        }
        // Named as seen from the server, whichever side reports.
        self.received.get_or_create(&labels).inc_by(flow.counts.sent());
        self.sent.get_or_create(&labels).inc_by(flow.counts.received());
        self.open.get_or_create(&Reporter { reporter: reporter(&flow.facts) }).dec();
    }

    fn refused(&self, facts: &Facts, outcome: &Outcome) {
        self.failed.get_or_create(&labels(facts, outcome.flag())).inc();
    }
}

fn reporter(facts: &Facts) -> &'static str {
    match facts.direction {
        Direction::Inbound => "destination",
        Direction::Outbound => "source",
    }
}

fn labels(facts: &Facts, flags: &'static str) -> Traffic {
    let known = |text: Option<String>| text.filter(|text| !text.is_empty()).unwrap_or_else(|| "unknown".to_owned());
    let source = facts.source_workload.as_deref();
    let destination = facts.destination_workload.as_deref();
    let service = facts.service.as_deref();
    let secured = facts.source_identity.is_some() && facts.destination_identity.is_some();
    Traffic {
        reporter: reporter(facts),
        source_workload: known(source.map(|workload| workload.workload_name.to_string())),
        source_workload_namespace: known(source.map(|workload| workload.namespace.to_string())),
        source_principal: known(facts.source_identity.as_ref().map(ToString::to_string)),
        destination_service: known(service.map(|service| service.key.hostname.to_string())),
        destination_service_namespace: known(service.map(|service| service.key.namespace.to_string())),
        destination_workload: known(destination.map(|workload| workload.workload_name.to_string())),
        destination_workload_namespace: known(destination.map(|workload| workload.namespace.to_string())),
        destination_principal: known(facts.destination_identity.as_ref().map(ToString::to_string)),
        request_protocol: "tcp",
        response_flags: flags,
        connection_security_policy: if secured { "mutual_tls" } else { "unknown" },
    }
}
