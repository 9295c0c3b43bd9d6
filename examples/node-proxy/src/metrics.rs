//! Istio's standard TCP metrics, and those of ztunnel for DNS and captured workloads, so that existing dashboards work.

use std::collections::HashMap;
use std::sync::Arc;

use mesh_core::workload::Workload;
use mesh_transport::dns;
use mesh_transport::hbone::baggage::Baggage;
use mesh_transport::proxy::{Direction, Facts, Failure, Flow, Observer, Outcome, Tracker};
use parking_lot::Mutex;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// Labels of traffic metrics. What is not known is the word `unknown`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Traffic {
    reporter: &'static str,
    source_workload: String,
    source_canonical_service: String,
    source_canonical_revision: String,
    source_workload_namespace: String,
    source_principal: String,
    source_app: String,
    source_version: String,
    source_cluster: String,
    destination_service: String,
    destination_service_namespace: String,
    destination_service_name: String,
    destination_workload: String,
    destination_canonical_service: String,
    destination_canonical_revision: String,
    destination_workload_namespace: String,
    destination_principal: String,
    destination_app: String,
    destination_version: String,
    destination_cluster: String,
    request_protocol: &'static str,
    response_flags: &'static str,
    connection_security_policy: &'static str,
    source_region: String,
    source_zone: String,
    destination_region: String,
    destination_zone: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Reporter {
    reporter: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Build {
    component: &'static str,
    tag: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Question {
    request_query_type: String,
    request_protocol: &'static str,
    source_canonical_service: String,
    source_canonical_revision: String,
}

/// All metrics of the node proxy.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Arc<Registry>,
    traffic: Arc<Counters>,
    names: Arc<Names>,
    served: Gauge,
    pending: Gauge,
    started: Counter,
    stopped: Counter,
}

#[derive(Debug, Default)]
struct Counters {
    opened: Family<Traffic, Counter>,
    closed: Family<Traffic, Counter>,
    failed: Family<Traffic, Counter>,
    sent: Family<Traffic, Counter>,
    received: Family<Traffic, Counter>,
    open: Family<Reporter, Gauge>,
    lookups: Family<Traffic, Counter>,
    revoked: Family<Reporter, Counter>,
    /// Bytes of open connections that are counted already, by the address of the connection's record.
    counted: Mutex<HashMap<usize, (u64, u64)>>,
}

#[derive(Debug)]
struct Names {
    asked: Family<Question, Counter>,
    forwarded: Family<Question, Counter>,
    failed: Family<Question, Counter>,
    took: Family<Question, Histogram, fn() -> Histogram>,
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let traffic = Counters::default();
        let histogram: fn() -> Histogram = || Histogram::new([0.0005, 0.001, 0.01, 0.1, 1.0, 5.0]);
        let names = Names {
            asked: Family::default(),
            forwarded: Family::default(),
            failed: Family::default(),
            took: Family::new_with_constructor(histogram),
        };
        let (served, pending, started, stopped) = Default::default();
        let mut all = Registry::default();
        let registry = all.sub_registry_with_prefix("istio");
        registry.register("tcp_connections_opened", "TCP connections opened", traffic.opened.clone());
        registry.register("tcp_connections_closed", "TCP connections closed", traffic.closed.clone());
        registry.register("tcp_connections_failed", "TCP connections refused or broken", traffic.failed.clone());
        registry.register("tcp_received_bytes", "Bytes from client to server", traffic.received.clone());
        registry.register("tcp_sent_bytes", "Bytes from server to client", traffic.sent.clone());
        registry.register("tcp_sockets_open", "TCP connections open", traffic.open.clone());
        registry.register("on_demand_dns", "Host names looked up to reach workloads", traffic.lookups.clone());
        registry.register("crl_policy_rejections", "Handshakes refused by revocation", traffic.revoked.clone());
        registry.register("dns_requests", "DNS questions", names.asked.clone());
        registry.register("dns_upstream_requests", "DNS questions passed on", names.forwarded.clone());
        registry.register("dns_upstream_failures", "DNS questions passed on in vain", names.failed.clone());
        registry.register(
            "dns_upstream_request_duration_seconds",
            "Time to an answer from outside",
            names.took.clone(),
        );
        let build: Family<Build, Gauge> = Family::default();
        build.get_or_create(&Build { component: "ztunnel", tag: env!("CARGO_PKG_VERSION") }).set(1);
        registry.register("build", "What this is", build);
        let registry = all.sub_registry_with_prefix("workload_manager");
        let (active, waiting): (&Gauge, &Gauge) = (&served, &pending);
        registry.register("active_proxy_count", "Captured workloads that are served", active.clone());
        registry.register("pending_proxy_count", "Captured workloads that wait to be served", waiting.clone());
        let (starts, stops): (&Counter, &Counter) = (&started, &stopped);
        registry.register("proxies_started", "Captured workloads that came", starts.clone());
        registry.register("proxies_stopped", "Captured workloads that went", stops.clone());
        Self {
            registry: Arc::new(all),
            traffic: Arc::new(traffic),
            names: Arc::new(names),
            served,
            pending,
            started,
            stopped,
        }
    }

    pub(crate) fn registry(&self) -> Arc<Registry> {
        Arc::clone(&self.registry)
    }

    pub(crate) fn observer(&self) -> Arc<dyn Observer> {
        Arc::<Counters>::clone(&self.traffic)
    }

    pub(crate) fn dns_observer(&self) -> Arc<dyn dns::Observer> {
        Arc::<Names>::clone(&self.names)
    }

    pub(crate) fn workload_started(&self) {
        self.started.inc();
        self.served.inc();
    }

    pub(crate) fn workload_stopped(&self) {
        self.stopped.inc();
        self.served.dec();
    }

    pub(crate) fn workloads_pending(&self, count: usize) {
        self.pending.set(i64::try_from(count).unwrap_or(i64::MAX));
    }

    /// Counts the bytes of connections that are still open: called before metrics are read.
    pub(crate) fn refresh(&self, tracker: &Tracker) {
        tracker.for_each(|flow| self.traffic.count_bytes(flow, "-", false));
    }
}

impl Counters {
    fn count_bytes(&self, flow: &Flow, flags: &'static str, last: bool) {
        let key = std::ptr::from_ref(flow) as usize;
        let now = (flow.counts.sent(), flow.counts.received());
        let before = {
            let mut counted = self.counted.lock();
            if last { counted.remove(&key) } else { counted.insert(key, now) }.unwrap_or_default()
        };
        let labels = labels(&flow.facts, flags);
        // Named as seen from the server, whichever side reports.
        self.received.get_or_create(&labels).inc_by(now.0.saturating_sub(before.0));
        self.sent.get_or_create(&labels).inc_by(now.1.saturating_sub(before.1));
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
        self.count_bytes(flow, outcome.flag(), true);
        self.open.get_or_create(&Reporter { reporter: reporter(&flow.facts) }).dec();
    }

    fn refused(&self, facts: &Facts, outcome: &Outcome) {
        self.failed.get_or_create(&labels(facts, outcome.flag())).inc();
        if matches!(outcome, Outcome::Failed(Failure::Revoked, _)) {
            self.revoked.get_or_create(&Reporter { reporter: reporter(facts) }).inc();
        }
    }

    fn resolved(&self, facts: &Facts) {
        self.lookups.get_or_create(&labels(facts, "-")).inc();
    }
}

impl dns::Observer for Names {
    fn dns(&self, event: dns::Event, kind: &str, udp: bool, client: Option<&Workload>) {
        let question = Question {
            request_query_type: kind.to_owned(),
            request_protocol: if udp { "udp" } else { "tcp" },
            source_canonical_service: known(client.map(|client| client.canonical_name.as_str())),
            source_canonical_revision: known(client.map(|client| client.canonical_revision.as_str())),
        };
        match event {
            dns::Event::Asked => {
                self.asked.get_or_create(&question).inc();
            }
            dns::Event::Forwarded(took) => {
                self.forwarded.get_or_create(&question).inc();
                self.took.get_or_create(&question).observe(took.as_secs_f64());
            }
            dns::Event::ForwardFailed => {
                self.forwarded.get_or_create(&question).inc();
                self.failed.get_or_create(&question).inc();
            }
            _ => {}
        }
    }
}

fn reporter(facts: &Facts) -> &'static str {
    match facts.direction {
        Direction::Inbound => "destination",
        Direction::Outbound => "source",
    }
}

/// What is said of one side: by its record, else by its own words.
#[derive(Default)]
struct Side<'a> {
    workload: Option<&'a str>,
    canonical: Option<&'a str>,
    revision: Option<&'a str>,
    namespace: Option<&'a str>,
    cluster: Option<&'a str>,
    region: Option<&'a str>,
    zone: Option<&'a str>,
}

impl<'a> Side<'a> {
    fn of(record: Option<&'a Workload>, words: Option<&'a Baggage>) -> Self {
        if let Some(record) = record {
            return Self {
                workload: Some(record.workload_name.as_str()),
                canonical: Some(record.canonical_name.as_str()),
                revision: Some(record.canonical_revision.as_str()),
                namespace: Some(record.namespace.as_str()),
                cluster: Some(record.cluster_id.as_str()),
                region: Some(record.locality.region.as_str()),
                zone: Some(record.locality.zone.as_str()),
            };
        }
        let Some(words) = words else { return Self::default() };
        Self {
            workload: words.workload.as_deref(),
            canonical: words.service.as_deref(),
            revision: words.revision.as_deref(),
            namespace: words.namespace.as_deref(),
            cluster: words.cluster.as_deref(),
            region: words.region.as_deref(),
            zone: words.zone.as_deref(),
        }
    }
}

fn known(text: Option<&str>) -> String {
    text.filter(|text| !text.is_empty()).unwrap_or("unknown").to_owned()
}

fn labels(facts: &Facts, flags: &'static str) -> Traffic {
    let source = Side::of(facts.source_workload.as_deref(), facts.source_baggage.as_ref());
    let destination = Side::of(facts.destination_workload.as_deref(), facts.destination_baggage.as_ref());
    let service = facts.service.as_deref();
    let secured = facts.source_identity.is_some() && facts.destination_identity.is_some();
    // Only what a certificate proved; our own name says nothing where there is no tunnel.
    let principal =
        |id: Option<&mesh_core::name::SpiffeId>| known(id.filter(|_| secured).map(ToString::to_string).as_deref());
    Traffic {
        reporter: reporter(facts),
        source_workload: known(source.workload),
        source_canonical_service: known(source.canonical),
        source_canonical_revision: known(source.revision),
        source_workload_namespace: known(source.namespace),
        source_principal: principal(facts.source_identity.as_ref()),
        source_app: known(source.canonical),
        source_version: known(source.revision),
        source_cluster: known(source.cluster),
        destination_service: known(service.map(|service| service.key.hostname.as_str())),
        destination_service_namespace: known(service.map(|service| service.key.namespace.as_str())),
        destination_service_name: known(service.map(|service| service.name.as_str())),
        destination_workload: known(destination.workload),
        destination_canonical_service: known(destination.canonical),
        destination_canonical_revision: known(destination.revision),
        destination_workload_namespace: known(destination.namespace),
        destination_principal: principal(facts.destination_identity.as_ref()),
        destination_app: known(destination.canonical),
        destination_version: known(destination.revision),
        destination_cluster: known(destination.cluster),
        request_protocol: "tcp",
        response_flags: flags,
        connection_security_policy: if secured { "mutual_tls" } else { "unknown" },
        source_region: known(source.region),
        source_zone: known(source.zone),
        destination_region: known(destination.region),
        destination_zone: known(destination.zone),
    }
}
