//! Joins the parts of a node proxy.
//!
//! ```text
//! xDS subscriber ──► catalog, policies ──► inbound, outbound, DNS ◄── identities ◄── certificate service
//!      │ disk             │                      │                       │ disk
//!      └─ last good       └─ local workloads ────┘ ◄── node agent        └─ SVIDs, bundle
//! ```

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use mesh_core::live::Live;
use mesh_core::name::Network;
use mesh_core::resolve::UnreadyWaypoint;
use mesh_host::admin::{Admin, page};
use mesh_host::member::{Error, Member};
use mesh_host::ready::Ready;
use mesh_host::telemetry::LogLevel;
use mesh_identity::clock::{Clock, SystemClock};
use mesh_identity::source::Identities;
use mesh_identity::task::Tasks;
use mesh_transport::capture::agent::{PodInfo, ProxySide};
use mesh_transport::hbone::pool::{Pool, TlsDialer};
use mesh_transport::proxy::{Discover, Drain, Inputs, Tracker, reevaluate};
use mesh_xds::client::Demand;
use mesh_xds::client::machine::{ServerTraits, Variant};
use mesh_xds::workload::{LocalFile, Setup, State, Subscriber, parse_local_file};
use tokio_util::sync::CancellationToken;

use crate::control;
use crate::local::Local;
use crate::metrics::Metrics;
use crate::pods::Captured;
use crate::settings::{Mode, Settings, Unready};
use crate::{crl, explain, show};

/// How long a connection waits for the control plane to say what its destination is.
const DEMAND_LIMIT: Duration = Duration::from_secs(5);

/// Runs a node proxy until it is asked to end, then drains it.
pub(crate) async fn run(settings: Settings, log: LogLevel) -> Result<(), Error> {
    let (ready, quit, tasks) = (Ready::waiting_for(&["workloads"]), CancellationToken::new(), Tasks::default());
    let member = Member::join(control::member(&settings), &tasks).await?;
    let identities = member.identities().clone();
    if let Some(path) = settings.crl_file.clone() {
        tasks.spawn(crl::follow(path, identities.clone()));
    }

    // What exists and who may connect to whom.
    let demand = settings.on_demand.then(Demand::default);
    let (subscriber, state) = subscriber(&settings, demand.clone())?;
    let stop_xds = CancellationToken::new();
    // Apart from the others: it ends by itself, when the last state has reached the disk.
    let following = Tasks::default();
    let connects = member.connects()?;
    if !connects.is_empty() {
        following.spawn(subscriber.run(connects, stop_xds.clone()));
    }

    // What carries the bytes.
    let metrics = Arc::new(Metrics::new());
    let drain = Drain::new();
    let inputs = inputs(&settings, &state, &identities, &metrics, demand);

    // Whom it serves.
    let endings = Tasks::default();
    let served = match settings.mode {
        Mode::Addresses => {
            let local = Local::new(settings.clone(), inputs.clone(), drain.clone(), ready.clone())?;
            tasks.spawn(local.run(state.clone(), settings.control_plane.is_none()));
            None
        }
        Mode::Dedicated => {
            let mut captured = Captured::new(&settings, &inputs, &drain, &metrics, &endings)?;
            let served = captured.served();
            captured.serve("dedicated", &dedicated(&settings)?, None)?;
            tasks.spawn(when_synced(state.clone(), settings.control_plane.is_none(), ready.clone()));
            // Held for as long as the process serves.
            tasks.spawn(async move {
                std::future::pending::<()>().await;
                drop(captured);
            });
            Some(served)
        }
        Mode::Shared => {
            let captured = Captured::new(&settings, &inputs, &drain, &metrics, &endings)?;
            let served = captured.served();
            let (side, status) = ProxySide::new(&settings.capture.agent_socket, captured);
            ready.set("pods", false);
            tasks.spawn(side.run(stop_xds.clone()));
            tasks.spawn(follow_pods(status, metrics.clone(), ready.clone()));
            tasks.spawn(when_synced(state.clone(), settings.control_plane.is_none(), ready.clone()));
            Some(served)
        }
    };

    // What shows it.
    let (refreshed, tracker) = (Arc::clone(&metrics), inputs.tracker.clone());
    let admin = Admin {
        ready: ready.clone(),
        metrics: metrics.registry(),
        log,
        dump: show::dump(&settings, &state, &inputs, served),
        quit: quit.clone(),
        pages: Arc::from([
            ("/connections", "open connections, oldest first", page(show::connections(&inputs))),
            (
                "/explain",
                "?from=<workload>&to=<address:port>: why this way, and would it be allowed",
                explain::page(&inputs),
            ),
        ]),
        before_metrics: Arc::new(move || refreshed.refresh(&tracker)),
    };
    let cannot = |what: &str, at: &dyn std::fmt::Display, error: std::io::Error| format!("{what} {at}: {error}");
    if let Some(address) = settings.stats {
        let bound = admin.bind_metrics(address).await.map_err(|error| cannot("metrics endpoint", &address, error))?;
        tasks.spawn(bound.serve());
    }
    if let Some(address) = settings.readiness {
        let bound =
            admin.bind_readiness(address).await.map_err(|error| cannot("readiness endpoint", &address, error))?;
        tasks.spawn(bound.serve());
    }
    let bound = admin.bind(settings.admin).await.map_err(|error| cannot("admin endpoint", &settings.admin, error))?;
    tasks.spawn(bound.serve());
    tasks.spawn(reevaluate(inputs.clone(), SystemClock));
    tracing::info!(node = settings.node, control_plane = settings.control_plane, mode = ?settings.mode, "node proxy starts");

    let cause = mesh_host::signal::shutdown(&quit).await?;
    ready.set("running", false);
    let deadline = Duration::from_secs(settings.drain_seconds);
    tracing::info!(cause, open = inputs.tracker.len(), deadline_seconds = settings.drain_seconds, "node proxy drains");
    Captured::remove_rules(&settings);
    let closed = drain.run(&inputs.tracker, &inputs.tasks, deadline).await;
    stop_xds.cancel();
    if tokio::time::timeout(Duration::from_secs(1), following.wait()).await.is_err() {
        following.stop().await;
    }
    endings.stop().await;
    inputs.pool.shutdown().await;
    identities.shutdown().await;
    tasks.stop().await;
    tracing::info!(closed, "node proxy ends");
    Ok(())
}

fn subscriber(settings: &Settings, demand: Option<Demand>) -> Result<(Subscriber, State), Error> {
    let server = |address: &str| {
        let mut server = ServerTraits::new(address, Variant::Delta);
        // The versions of workload discovery are hashes of content: the same at every control plane.
        server.replica = true;
        server
    };
    let servers = settings.control_planes().map(server).collect();
    let mut setup = Setup::new(control::node(settings), || SystemClock.now()).servers(servers);
    if let Some(directory) = &settings.state_dir {
        setup = setup.file(directory.join("workloads.state"));
    }
    if let Some(demand) = demand {
        setup = setup.on_demand(demand);
    }
    setup.fixed = local_file(settings)?;
    Ok(Subscriber::new(setup))
}

fn local_file(settings: &Settings) -> Result<LocalFile, Error> {
    let (name, text) = match (&settings.local_file, &settings.local_text) {
        (Some(_), Some(_)) => return Err("a local file and local text: only one of them may be given".into()),
        (Some(path), None) => {
            let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
            (path.display().to_string(), text)
        }
        (None, Some(text)) => ("LOCAL_XDS".to_owned(), text.clone()),
        (None, None) => return Ok(LocalFile::default()),
    };
    parse_local_file(&text).map_err(|error| format!("{name}: {error}").into())
}

fn inputs(
    settings: &Settings,
    state: &State,
    identities: &Identities,
    metrics: &Metrics,
    demand: Option<Demand>,
) -> Inputs {
    let mut inputs = Inputs::new(state.catalog.clone(), state.policies.clone(), identities.clone());
    let idle = Duration::from_secs(settings.pool_idle_seconds);
    inputs.network = Network::from(settings.network.as_str());
    inputs.sockets = settings.sockets();
    inputs.pool = Pool::with_dialer(Arc::new(TlsDialer::new(inputs.sockets.clone())), idle);
    inputs.tracker = Tracker::new(metrics.observer());
    let captured = (settings.mode != Mode::Addresses).then_some([15001, 15006]);
    let own = [settings.hbone_port, settings.socks5_port].into_iter().chain(captured.into_iter().flatten());
    inputs.own_ports = own.filter(|port| *port != 0).collect();
    inputs.options.record_wait = Duration::from_millis(settings.record_wait_ms);
    inputs.options.unready_waypoint = match settings.unready_waypoint {
        Unready::Refuse => UnreadyWaypoint::Refuse,
        Unready::Direct => UnreadyWaypoint::Direct,
    };
    inputs.options.localhost_application_tunnel = settings.localhost_app_tunnel;
    inputs.options.response_baggage = settings.response_baggage;
    inputs.options.pool_idle = idle;
    inputs.discovery = demand.map(|demand| Arc::new(OnDemand(demand)) as Arc<dyn Discover>);
    inputs
}

/// The seam between the data path, which knows no xDS, and the subscription.
#[derive(Debug)]
struct OnDemand(Demand);

impl Discover for OnDemand {
    fn demand<'a>(&'a self, names: &'a [String]) -> Pin<Box<dyn Future<Output = bool> + Send + 'a>> {
        Box::pin(self.0.ask(names, DEMAND_LIMIT))
    }
}

/// The workload of a dedicated proxy.
fn dedicated(settings: &Settings) -> Result<PodInfo, Error> {
    let text = settings.workload.as_deref().unwrap_or_default();
    text.parse().map_err(|error: mesh_transport::capture::agent::ParsePodInfoError| {
        format!("workload (PROXY_WORKLOAD_INFO): {error}").into()
    })
}

/// Ready as soon as there is state to decide by.
async fn when_synced(state: State, without_control_plane: bool, ready: Ready) {
    let mut status = state.status.changes();
    while !without_control_plane && !state.status.load().ready {
        if status.changed().await.is_err() {
            return;
        }
    }
    ready.set("workloads", true);
}

/// Ready when the agent has listed all pods and all are served.
async fn follow_pods(status: Live<mesh_transport::capture::agent::Status>, metrics: Arc<Metrics>, ready: Ready) {
    let mut changes = status.changes();
    loop {
        let now = changes.current();
        metrics.workloads_pending(now.pods.iter().filter(|(.., pending)| *pending).count());
        ready.set("pods", now.ready);
        if changes.changed().await.is_err() {
            return;
        }
    }
}
