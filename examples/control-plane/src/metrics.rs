//! What the control plane counts, beside the ages of trust. Names and labels stand in the README.

use std::sync::Arc;
use std::time::Duration;

use mesh_identity::authority::Outcome;
use mesh_xds::envoy::{CLUSTER_TYPE, ENDPOINT_TYPE, LISTENER_TYPE, ROUTE_TYPE, SECRET_TYPE};
use mesh_xds::server::{Cache, Observe, Push, Rejection, Service};
use mesh_xds::workload::{ADDRESS_TYPE, POLICY_TYPE};
use parking_lot::Mutex;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use tokio::time::Instant;

use crate::kind::{KINDS, kind};
use crate::source::State;

/// Bounds of histograms of time, in seconds: from a change that is sent at once to one that somebody takes a minute for.
const SECONDS: [f64; 14] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 15.0, 60.0];

/// The types that have figures of their own. Clients may ask for any; those are counted together.
const TYPES: [&str; 7] =
    [ADDRESS_TYPE, POLICY_TYPE, CLUSTER_TYPE, ENDPOINT_TYPE, LISTENER_TYPE, ROUTE_TYPE, SECRET_TYPE];

/// The figures. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Metrics(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    push_time: Family<Type, Histogram>,
    pushes: Family<Type, Counter>,
    push_bytes: Family<Type, Counter>,
    rejections: Family<Rejected, Counter>,
    settled: Histogram,
    convergence: Histogram,
    subscribers: Family<Type, Gauge>,
    resources: Family<Type, Gauge>,
    clients: Family<Kind, Gauge>,
    behind: Gauge,
    behind_longest: Gauge,
    certificates: Family<Decided, Counter>,
    sources: Family<Source, Gauge>,
    age: Gauge,
    taken: Mutex<Option<Instant>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Type {
    r#type: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Rejected {
    r#type: &'static str,
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Kind {
    kind: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Decided {
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Source {
    source: String,
    state: &'static str,
}

fn histogram() -> Histogram {
    Histogram::new(SECONDS)
}

fn of_type(url: &str) -> Type {
    let known = TYPES.iter().find(|known| **known == url).and_then(|url| url.rsplit('.').next());
    Type { r#type: known.unwrap_or("other") }
}

fn rejected(url: &str, kind: &'static str) -> Rejected {
    Rejected { r#type: of_type(url).r#type, kind }
}

impl Metrics {
    /// Figures in a registry.
    pub(crate) fn new(registry: &mut Registry) -> Self {
        let inner = Inner {
            push_time: Family::new_with_constructor(histogram),
            pushes: Family::default(),
            push_bytes: Family::default(),
            rejections: Family::default(),
            settled: histogram(),
            convergence: histogram(),
            subscribers: Family::default(),
            resources: Family::default(),
            clients: Family::default(),
            behind: Gauge::default(),
            behind_longest: Gauge::default(),
            certificates: Family::default(),
            sources: Family::default(),
            age: Gauge::default(),
            taken: Mutex::default(),
        };
        let what = "Seconds from the moment a change was taken to the moment its answer was handed to a stream";
        registry.register("push_seconds", what, inner.push_time.clone());
        registry.register("pushes", "Answers handed to streams", inner.pushes.clone());
        registry.register("push_bytes", "Bytes of answers handed to streams", inner.push_bytes.clone());
        registry.register(
            "rejections",
            "Answers that clients rejected (NACK), by type and by kind of proxy",
            inner.rejections.clone(),
        );
        let what = "Seconds from a change to the moment one client had answered all of it";
        registry.register("client_convergence_seconds", what, inner.settled.clone());
        let what = "Seconds from a change to the moment the slowest client had answered all of it";
        registry.register("convergence_seconds", what, inner.convergence.clone());
        registry.register("subscribers", "Streams that ask for a type", inner.subscribers.clone());
        registry.register("resources", "Resources of a type in workload discovery", inner.resources.clone());
        registry.register("clients_by_kind", "Open discovery streams by kind of proxy", inner.clients.clone());
        registry.register("clients_behind", "Clients that have not answered a change", inner.behind.clone());
        let what = "Milliseconds for which the client furthest behind has not answered a change";
        registry.register("behind_longest_milliseconds", what, inner.behind_longest.clone());
        let what = "Requests for certificates, by what became of them";
        registry.register("certificates", what, inner.certificates.clone());
        registry.register("source_state", "1 for the state in which a source is", inner.sources.clone());
        let what = "Seconds since the configuration that is in force was taken; -1 before there is one";
        registry.register("configuration_age_seconds", what, inner.age.clone());
        // A figure that is there from the start can be watched for its first change.
        for url in TYPES {
            for kind in KINDS {
                drop(inner.rejections.get_or_create(&rejected(url, kind)));
            }
        }
        Self(Arc::new(inner))
    }

    /// What became of a request for a certificate.
    pub(crate) fn certificate(&self, outcome: Outcome) {
        self.0.certificates.get_or_create(&Decided { outcome: outcome.label() }).inc();
    }

    /// How a source does.
    pub(crate) fn source(&self, source: &str, state: State) {
        for one in State::ALL {
            let label = Source { source: source.to_owned(), state: one.label() };
            self.0.sources.get_or_create(&label).set(i64::from(one == state));
        }
        if state == State::Taken {
            *self.0.taken.lock() = Some(Instant::now());
        }
    }

    /// Looks at what is asked for only when somebody wants to know.
    pub(crate) fn look(&self, service: &Service, cache: &Cache) {
        let Inner { subscribers, resources, clients, behind, behind_longest, age, taken, .. } = &*self.0;
        let all = service.clients();
        let count = |figure: &Gauge, count: usize| {
            figure.set(number(count));
        };
        for url in TYPES {
            let asking = all.iter().filter(|client| client.types.contains_key(url)).count();
            count(&subscribers.get_or_create(&of_type(url)), asking);
        }
        let snapshot = cache.live().snapshot();
        for url in snapshot.types() {
            count(&resources.get_or_create(&of_type(url)), snapshot.entries(url).count());
        }
        for known in KINDS {
            let of_kind = all.iter().filter(|client| kind(&client.node) == known).count();
            count(&clients.get_or_create(&Kind { kind: known }), of_kind);
        }
        count(behind, all.iter().filter(|client| client.behind.is_some()).count());
        let longest = all.iter().filter_map(|client| client.behind).max().unwrap_or_default();
        behind_longest.set(i64::try_from(longest.as_millis()).unwrap_or(i64::MAX));
        let since = taken.lock().map(|taken| Instant::now().saturating_duration_since(taken).as_secs());
        age.set(since.map_or(-1, |seconds| i64::try_from(seconds).unwrap_or(i64::MAX)));
    }
}

fn number(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

impl Observe for Metrics {
    fn pushed(&self, push: &Push<'_>) {
        let label = of_type(push.type_url);
        if let Some(after) = push.after {
            self.0.push_time.get_or_create(&label).observe(after.as_secs_f64());
        }
        self.0.push_bytes.get_or_create(&label).inc_by(u64::try_from(push.bytes).unwrap_or(u64::MAX));
        self.0.pushes.get_or_create(&label).inc();
    }

    fn rejected(&self, rejection: &Rejection<'_>) {
        self.0.rejections.get_or_create(&rejected(rejection.type_url, kind(rejection.node))).inc();
    }

    fn settled(&self, _client: &str, after: Duration) {
        self.0.settled.observe(after.as_secs_f64());
    }

    fn converged(&self, after: Duration) {
        self.0.convergence.observe(after.as_secs_f64());
    }
}
