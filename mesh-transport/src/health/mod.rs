//! Active health checks at work: endpoints are probed as a [`Checker`] asks, and a [`Balancer`] hears what it decides.
//!
//! * `http`: a request, and what its status, headers and body say: a server that answers without being of any use is found
//!   by what it should have said.
//! * `grpc`: `grpc.health.v1.Health/Check`.
//! * `tcp`: a connection, and bytes.

mod grpc;
mod http;
mod target;
mod tcp;

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use mesh_core::balance::{Assignment, Balancer, Checker, Cluster, Due, HealthCheck, Probe, ProbeResult};
use mesh_core::name::Text;
use mesh_identity::task::Tasks;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

use self::target::Clients;
pub use self::target::ProbeTarget;
use crate::http::Transport;

/// The health checks of one cluster, which go on until this is dropped.
pub struct HealthChecks {
    shared: Arc<Shared>,
    /// Ends the probes together with this.
    _stop: DropGuard,
}

struct Shared {
    balancer: Balancer,
    cluster: Text,
    checker: Mutex<Checker>,
    /// Told when there may be something else to do, or at another time.
    changed: Notify,
    clients: Clients,
    tasks: Tasks,
    stop: CancellationToken,
}

impl HealthChecks {
    /// Probes the endpoints of a cluster over connections that `connector` makes, and tells its balancer. `None` if the
    /// cluster has no checks.
    pub fn start<C>(
        balancer: Balancer,
        cluster: &Cluster,
        assignment: &Assignment,
        connector: C,
        tasks: &Tasks,
    ) -> Option<Self>
    where
        C: tower::Service<ProbeTarget> + Clone + Send + Sync + 'static,
        C::Response: Transport,
        C::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
        C::Future: Send,
    {
        if cluster.health_checks.is_empty() {
            return None;
        }
        let mut checker = Checker::new(cluster.health_checks.clone(), fastrand::u64(..));
        checker.handle_endpoints(assignment.endpoints(), now());
        let stop = CancellationToken::new();
        let shared = Arc::new(Shared {
            balancer,
            cluster: cluster.name.clone(),
            checker: Mutex::new(checker),
            changed: Notify::new(),
            clients: Clients::new(connector, tasks),
            tasks: tasks.clone(),
            stop: stop.clone(),
        });
        tasks.spawn_until(stop.clone(), run(Arc::clone(&shared)));
        Some(Self { shared, _stop: stop.drop_guard() })
    }

    /// Goes on with other checks and endpoints; what is known of those that stay is kept.
    pub fn update(&self, checks: &[HealthCheck], assignment: &Assignment) {
        {
            let mut checker = self.shared.checker.lock();
            checker.handle_checks(checks, now());
            checker.handle_endpoints(assignment.endpoints(), now());
        }
        self.shared.clients.retain(assignment);
        self.shared.changed.notify_one();
    }

    /// An endpoint said in an answer that it fails from now on (`x-envoy-immediate-health-check-fail`).
    pub fn handle_immediate_failure(&self, endpoint: SocketAddr) {
        let failed = self.shared.checker.lock().handle_immediate_failure(endpoint);
        self.shared.balancer.handle_probes(failed, now());
    }
}

impl fmt::Debug for HealthChecks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HealthChecks").field("cluster", &self.shared.cluster).finish_non_exhaustive()
    }
}

fn now() -> std::time::Instant {
    Instant::now().into_std()
}

async fn run(shared: Arc<Shared>) {
    loop {
        let (due, next) = {
            let mut checker = shared.checker.lock();
            if shared.balancer.has_been_used() {
                checker.handle_traffic();
            }
            let now = now();
            let due: Vec<Due> = std::iter::from_fn(|| checker.take_due(now)).collect();
            (due, checker.next_due())
        };
        for due in due {
            let each = Arc::clone(&shared);
            shared.tasks.spawn_until(shared.stop.clone(), async move { each.probe(due).await });
        }
        let wait = async {
            match next {
                Some(next) => tokio::time::sleep_until(next.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = wait => {}
            () = shared.changed.notified() => {}
        }
    }
}

impl Shared {
    async fn probe(&self, due: Due) {
        let timeout = due.check.timeout;
        let authority = due.authority(self.cluster.as_str()).to_owned();
        let target = ProbeTarget::new(&due);
        let probed = async {
            match &due.check.probe {
                Probe::Http(probe) => {
                    http::probe(self.clients.http(&due.check, probe.http2), &target, probe, &authority).await
                }
                Probe::Grpc(probe) => {
                    grpc::probe(self.clients.http(&due.check, true), &target, probe, &authority).await
                }
                Probe::Tcp(probe) => tcp::probe(self.clients.connect(target.clone()), probe).await,
            }
        };
        let result = tokio::time::timeout(timeout, probed).await.unwrap_or(ProbeResult::TimedOut);
        let now = now();
        let decided = self.checker.lock().handle_result(due.id, result, now);
        self.changed.notify_one();
        if result != ProbeResult::Passed {
            tracing::debug!(cluster = %self.cluster, endpoint = %due.endpoint.address, ?result, "a probe failed");
        }
        self.balancer.handle_probes(decided, now);
    }
}
