//! Joins the parts of a waypoint.
//!
//! ```text
//! control plane, or manifests ──► configuration ──► proxy: listener, filters, routes, clusters ──► tunnels out
//!           │ disk                                    ▲                                               ▲
//!           └─ last good                tunnels in ───┘ ◄──────────────── identity ───────────────────┘
//! ```

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mesh_core::config::Config;
use mesh_core::live::{Closed, Live};
use mesh_host::admin::{Admin, page};
use mesh_host::member::{Error, Member};
use mesh_host::ready::Ready;
use mesh_host::telemetry::LogLevel;
use mesh_identity::clock::SystemClock;
use mesh_identity::keys::TokenVerifier;
use mesh_identity::source::Identities;
use mesh_identity::task::Tasks;
use mesh_identity::tls::{Credentials, Identity};
use mesh_transport::hbone::pool::Pool;
use mesh_transport::l7::{Connect, Direct, Meshed, Proxy, Settings as ProxySettings};
use mesh_transport::proxy::{Drain, Inputs, Terminator, Tracker, Tunnels as Out, reevaluate};
use mesh_transport::socket::Sockets;
use tokio_util::sync::CancellationToken;

use crate::extensions::Asked;
use crate::metrics::Metrics;
use crate::settings::Settings;
use crate::tunnels::Tunnels;
use crate::{program, secrets, show};

/// Pause before a certificate is asked for again.
const RETRY: Duration = Duration::from_secs(1);

/// How long endpoints are waited for before the first readiness: Envoy's `initial_fetch_timeout`.
const WARMING: Duration = Duration::from_secs(15);

/// Runs a waypoint until it is asked to end, then drains it.
pub(crate) async fn run(settings: Settings, log: LogLevel) -> Result<(), Error> {
    let ready = Ready::waiting_for(&["identity", "configuration"]);
    let (quit, tasks, following) = (CancellationToken::new(), Tasks::default(), Tasks::default());
    let metrics = Arc::new(Metrics::new());
    let tracker = Tracker::new(Arc::new(()));

    // What shows it: first, so that it can be seen why nothing else comes about.
    let (publisher, shown) = mesh_core::live::Publisher::new(None::<Proxy>);
    let admin = admin(&settings, &ready, &metrics, log, shown, &tracker, &quit);
    bind(&settings, admin, &tasks).await?;

    // Who it is.
    let stop = CancellationToken::new();
    let member = Member::join(settings.member(), &tasks).await?;
    let identity = match settings.hbone {
        None => None,
        Some(_) => tokio::select! {
            identity = identity(&member, &settings) => Some(identity?),
            cause = mesh_host::signal::shutdown(&quit) => return cause.map(drop).map_err(Into::into),
        },
    };
    ready.set("identity", true);

    // What it does.
    let config = match &settings.control_plane {
        Some(_) => program::by_control_plane(&settings, &member, identity.as_ref(), &stop, &following)?,
        None => program::by_manifests(&settings, &tasks)?,
    };
    let secrets = secrets::follow(&settings.secrets, &tasks)?;

    // What carries the bytes.
    let (pool, drain) = (Pool::new(), Drain::new());
    let connect: Arc<dyn Connect> = match &identity {
        Some(identity) => {
            let out = Out::new(pool.clone(), identity.clone(), tracker.clone(), tasks.clone());
            let meshed = Meshed::new(out, Direct::default(), SocketAddr::new(settings.waypoint.ip, 0));
            Arc::new(meshed.in_network(settings.network.as_str().into()))
        }
        None => Arc::new(Direct::default()),
    };
    let verifier = Arc::new(TokenVerifier::new(Arc::new(SystemClock)));
    let own = format!("{}.{}", settings.waypoint.name, settings.waypoint.namespace);
    let (proxy, driver) = Proxy::new(
        config,
        ProxySettings {
            connect,
            extensions: Arc::new(Asked::new(verifier, own.as_str().into())),
            log: Arc::clone(&metrics) as _,
            credentials: Credentials::new(identity.clone(), secrets),
            ..ProxySettings::default()
        },
    );
    tasks.spawn(driver);
    publisher.publish(Some(proxy.clone()));

    let streams = Tasks::default();
    if let (Some(address), Some(identity)) = (settings.hbone, identity) {
        let listener =
            Sockets::new().listen(address).map_err(|error| format!("tunnels cannot arrive at {address}: {error}"))?;
        let terminator = Terminator::new(identity, tracker.clone(), streams.clone())?;
        let tunnels = Tunnels { terminator, proxy: proxy.clone(), listener: settings.listener.clone() };
        tasks.spawn(tunnels.serve(listener, drain.clone()));
        tasks.spawn(judge_again(member.identities(), &tracker));
    }
    tasks.spawn(when_programmed(proxy.effective().clone(), ready.clone()));
    tracing::info!(waypoint = own, control_plane = settings.control_plane, "waypoint starts");

    let cause = mesh_host::signal::shutdown(&quit).await?;
    ready.set("running", false);
    let deadline = Duration::from_secs(settings.drain_seconds);
    tracing::info!(cause, open = tracker.len(), deadline_seconds = settings.drain_seconds, "waypoint drains");
    drain.begin();
    proxy.drain(deadline).await;
    let closed = drain.run(&tracker, &streams, Duration::from_millis(100)).await;
    stop.cancel();
    if tokio::time::timeout(Duration::from_secs(1), following.wait()).await.is_err() {
        following.stop().await;
    }
    pool.shutdown().await;
    member.identities().shutdown().await;
    tasks.stop().await;
    tracing::info!(closed, "waypoint ends");
    Ok(())
}

/// The identity of the waypoint, asked for until it is given.
async fn identity(member: &Member, settings: &Settings) -> Result<Identity, Error> {
    let id = settings.identity()?;
    loop {
        match member.identities().identity(&id).await {
            Ok(identity) => return Ok(identity),
            Err(error) => tracing::warn!(%id, error = mesh_core::report::chain(&*error), "no certificate yet"),
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// Judges tunnels again whenever trust changes.
fn judge_again(identities: &Identities, tracker: &Tracker) -> impl Future<Output = ()> + Send + use<> {
    let (catalog, policies) = (Live::constant(Default::default()), Live::constant(Default::default()));
    let mut inputs = Inputs::new(catalog, policies, identities.clone());
    inputs.tracker = tracker.clone();
    reevaluate(inputs, SystemClock)
}

/// Ready with a listener that has taken effect and has somewhere to send requests; a cluster whose endpoints nobody tells of
/// is not waited for for ever.
async fn when_programmed(config: Live<Config>, ready: Ready) {
    if comes_to(&config, |config| !config.listeners.is_empty()).await.is_err() {
        return;
    }
    let warm = comes_to(&config, |config| config.warming == 0);
    if tokio::time::timeout(WARMING, warm).await.is_err() {
        tracing::warn!(clusters = config.load().warming, "ready although endpoints of clusters have not come");
    }
    ready.set("configuration", true);
}

async fn comes_to(config: &Live<Config>, is_so: impl Fn(&Config) -> bool) -> Result<(), Closed> {
    let mut changes = config.changes();
    while !is_so(&changes.current()) {
        changes.changed().await?;
    }
    Ok(())
}

fn admin(
    settings: &Settings,
    ready: &Ready,
    metrics: &Metrics,
    log: LogLevel,
    proxy: Live<Option<Proxy>>,
    tracker: &Tracker,
    quit: &CancellationToken,
) -> Admin {
    let (settings, tracker) = (settings.clone(), tracker.clone());
    let of_clusters = proxy.clone();
    let shown = move |proxy: &Option<Proxy>| {
        proxy.as_ref().map(|proxy| show::dump(&settings, proxy, &tracker)()).unwrap_or_default()
    };
    let clusters = move || of_clusters.load().as_ref().map(show::clusters).unwrap_or_default();
    Admin {
        ready: ready.clone(),
        metrics: metrics.registry(),
        log,
        dump: Arc::new(move || shown(&proxy.load())),
        quit: quit.clone(),
        pages: Arc::from([(
            "/clusters",
            "clusters and their endpoints as they are seen now",
            page(Arc::new(clusters)),
        )]),
        before_metrics: Arc::new(|| {}),
    }
}

async fn bind(settings: &Settings, admin: Admin, tasks: &Tasks) -> Result<(), Error> {
    let cannot = |what: &str, at: &SocketAddr, error: std::io::Error| format!("{what} {at}: {error}");
    if let Some(address) = settings.stats {
        let bound = admin.bind_metrics(address).await.map_err(|error| cannot("metrics endpoint", &address, error))?;
        tasks.spawn(bound.serve());
    }
    if let Some(address) = settings.readiness {
        let bound = admin.bind_readiness(address).await;
        tasks.spawn(bound.map_err(|error| cannot("readiness endpoint", &address, error))?.serve());
    }
    let bound = admin.bind(settings.admin).await.map_err(|error| cannot("admin endpoint", &settings.admin, error))?;
    tasks.spawn(bound.serve());
    Ok(())
}
