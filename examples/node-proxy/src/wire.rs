//! Joins the parts of a node proxy.
//!
//! ```text
//! xDS subscriber ──► catalog, policies ──► inbound, outbound ◄── identities ◄── certificate service
//!      │ disk             │                      │                  │ disk
//!      └─ last good       └─ local workloads ────┘                  └─ SVIDs, bundle
//! ```

use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use mesh_core::name::{Network, SpiffeId, parse_spiffe_id, parse_trust_domain};
use mesh_host::admin::Admin;
use mesh_host::ready::Ready;
use mesh_host::telemetry::LogLevel;
use mesh_identity::bundle::{Bundle, BundleSet};
use mesh_identity::clock::{Clock, SystemClock};
use mesh_identity::source::{Cache, CsrSource, Identities, TokenSource};
use mesh_identity::task::Tasks;
use mesh_identity::tls::server_authenticated_client;
use mesh_identity::verify::Expected;
use mesh_identity::{file, tls};
use mesh_transport::hbone::pool::Pool;
use mesh_transport::proxy::{Drain, Inputs, Tracker, reevaluate};
use mesh_transport::socket;
use mesh_xds::pb::Node;
use mesh_xds::workload::{Setup, Subscriber};
use rustls::pki_types::ServerName;
use tokio_rustls::TlsConnector;
use tokio_util::sync::CancellationToken;
use tonic::metadata::MetadataMap;
use tonic::transport::{Channel, Endpoint, Uri};

use crate::local::Local;
use crate::metrics::Metrics;
use crate::settings::Settings;
use crate::show;

/// What ends a node proxy before it is asked to.
pub(crate) type Error = Box<dyn std::error::Error + Send + Sync>;

/// Runs a node proxy until it is asked to end, then drains it.
pub(crate) async fn run(settings: Settings, log: LogLevel) -> Result<(), Error> {
    let (ready, quit, tasks) = (Ready::waiting_for(&["workloads"]), CancellationToken::new(), Tasks::default());
    file::private_directory(&settings.state_dir)?;

    // Whom we trust, and who we are. The channel to the issuer follows the bundles that are learned over it.
    let trust_domain = parse_trust_domain(&settings.trust_domain)?;
    let bootstrap = bootstrap_bundle(&settings, trust_domain.clone()).await?;
    let cache = Cache::open(&settings.state_dir.join("identity"))?;
    let bundles = BundleSet::default().with(bootstrap.clone());
    let known = match cache.load_bundle(&trust_domain) {
        Ok(Some(cached)) => BundleSet::default().with(bootstrap.union(&cached)),
        _ => bundles,
    };
    let (live_bundles, trusted) = mesh_core::live::Publisher::new(known.clone());
    let channel = channel(&settings, trusted)?;
    let token = TokenSource::File(settings.token_file.clone());
    let life = Duration::from_secs(settings.svid_ttl_seconds);
    let source = CsrSource::new(channel.clone(), token.clone(), life, Arc::new(SystemClock));
    let identities = Identities::builder(Arc::new(source), known).cache(cache).build();
    let learned = identities.bundles();
    tasks.spawn(async move {
        let mut changes = learned.changes();
        while let Ok(bundles) = changes.changed().await {
            live_bundles.publish_arc(bundles);
        }
    });

    // What exists and who may connect to whom.
    let setup = Setup::new(node(&settings), || SystemClock.now()).file(settings.state_dir.join("workloads.state"));
    let (subscriber, state) = Subscriber::new(setup);
    let stop_xds = CancellationToken::new();
    let connect = move || -> Result<(Channel, MetadataMap), Error> {
        let mut metadata = MetadataMap::new();
        metadata.insert("authorization", token.authorization()?);
        Ok((channel.clone(), metadata))
    };
    let subscribing = subscriber.run(connect, stop_xds.clone());

    // What carries the bytes.
    let metrics = Arc::new(Metrics::new());
    let (drain, pool) = (Drain::new(), Pool::new());
    let inputs = Inputs {
        catalog: state.catalog.clone(),
        policies: state.policies.clone(),
        identities: identities.clone(),
        network: Network::from(settings.network.as_str()),
        pool: pool.clone(),
        tracker: Tracker::new(metrics.observer()),
        own_ports: [settings.hbone_port, settings.socks5_port].into_iter().filter(|port| *port != 0).collect(),
        tasks: Tasks::default(),
    };
    let local = Local::new(settings.clone(), inputs.clone(), drain.clone(), ready.clone())?;

    let admin = Admin {
        ready: ready.clone(),
        metrics: metrics.registry(),
        log,
        dump: show::dump(&settings, &state, &inputs),
        quit: quit.clone(),
        pages: Arc::from([("/connections", "open connections, oldest first", show::connections(&inputs))]),
    };
    let bound =
        admin.bind(settings.admin).await.map_err(|error| format!("admin endpoint {}: {error}", settings.admin))?;
    tracing::info!(node = settings.node, control_plane = %settings.control_plane, "node proxy starts");

    tasks.spawn(bound.serve());
    // Apart from the others: it ends by itself, when the last state has reached the disk.
    let following = Tasks::default();
    following.spawn(subscribing);
    tasks.spawn(reevaluate(inputs.clone(), SystemClock));
    tasks.spawn(local.run(state));

    let cause = mesh_host::signal::shutdown(&quit).await?;
    ready.set("running", false);
    let deadline = Duration::from_secs(settings.drain_seconds);
    tracing::info!(cause, open = inputs.tracker.len(), deadline_seconds = settings.drain_seconds, "node proxy drains");
    let closed = drain.run(&inputs.tracker, &inputs.tasks, deadline).await;
    stop_xds.cancel();
    if tokio::time::timeout(Duration::from_secs(1), following.wait()).await.is_err() {
        following.stop().await;
    }
    pool.shutdown().await;
    identities.shutdown().await;
    tasks.stop().await;
    tracing::info!(closed, "node proxy ends");
    Ok(())
}

/// The roots for the first contact. On a machine that boots, they may be written after us.
async fn bootstrap_bundle(settings: &Settings, trust_domain: mesh_core::name::TrustDomain) -> Result<Bundle, Error> {
    let mut told = false;
    loop {
        match file::read(&settings.trust_bundle) {
            Ok(text) => return Ok(Bundle::from_pem(trust_domain, &text)?),
            Err(error) if error.is_not_found() => {
                if !std::mem::replace(&mut told, true) {
                    tracing::warn!(path = %settings.trust_bundle.display(), "waiting for the trust bundle");
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// A gRPC channel to the control plane: TLS, its identity verified, ours proven by token. Connects when it is used, and
/// again when it breaks.
fn channel(settings: &Settings, trusted: mesh_core::live::Live<BundleSet>) -> Result<Channel, Error> {
    let id: SpiffeId = match &settings.control_plane_id {
        Some(id) => parse_spiffe_id(id)?,
        None => parse_spiffe_id(&format!("spiffe://{}/ns/istio-system/sa/control-plane", settings.trust_domain))?,
    };
    let config: Result<_, tls::Error> =
        server_authenticated_client(trusted, Expected::Ids(vec![id]), Arc::new(SystemClock), &[b"h2"]);
    let connector = TlsConnector::from(config?);
    let to = settings.control_plane;
    let connect = tower::service_fn(move |_: Uri| {
        let connector = connector.clone();
        async move {
            let tcp = socket::connect(to).await?;
            // The name is ignored by our verifier and not sent; rustls wants one.
            let tls = connector.connect(ServerName::IpAddress(to.ip().into()), tcp).await?;
            Ok::<_, std::io::Error>(TokioIo::new(tls))
        }
    });
    let endpoint = Endpoint::from_shared(format!("http://{to}"))?
        .http2_keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(10))
        .keep_alive_while_idle(true)
        .initial_stream_window_size(1024 * 1024)
        .initial_connection_window_size(4 * 1024 * 1024);
    Ok(endpoint.connect_with_connector_lazy(connect))
}

/// Who we are to the control plane, in the form of Istio's node proxies.
fn node(settings: &Settings) -> Node {
    Node {
        id: format!("ztunnel~{}~{}.istio-system~istio-system.svc.cluster.local", settings.admin.ip(), settings.node),
        cluster: "node-proxy".to_owned(),
        ..Node::default()
    }
}
