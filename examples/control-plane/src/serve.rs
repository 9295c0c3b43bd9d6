//! Discovery and certificates over TLS, and the admin endpoint.

use std::sync::Arc;
use std::time::Duration;

use mesh_core::live::{Live, Publisher};
use mesh_core::name::{SpiffeId, parse_spiffe_id, parse_trust_domain};
use mesh_host::admin::{Admin, page};
use mesh_host::member::Error;
use mesh_host::ready::Ready;
use mesh_host::telemetry::LogLevel;
use mesh_identity::authority::{Authority, Caller, CallerPolicy, CertificateService, Grant, Names, Refusal, Rules};
use mesh_identity::bundle::BundleSet;
use mesh_identity::clock::SystemClock;
use mesh_identity::partition::Survival;
use mesh_identity::serve::{self, Incoming};
use mesh_identity::source::{Identities, LocalSource};
use mesh_identity::task::Tasks;
use mesh_xds::envoy::{CLUSTER_TYPE, ENDPOINT_TYPE, LISTENER_TYPE};
use mesh_xds::pb::Node;
use mesh_xds::server::{Access, Cache, Service, View};
use mesh_xds::workload::{ADDRESS_TYPE, POLICY_TYPE};
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tokio_util::sync::CancellationToken;
use tonic::metadata::MetadataMap;
use tonic::{Extensions, Status};

use crate::listen::listen;
use crate::publish::{Assignments, Publish};
use crate::settings::{self, Settings};
use crate::spire::OWN_LIFE;
use crate::token::Tokens;
use crate::translate::Place;
use crate::trust::Ages;
use crate::view::Views;

/// How long open streams may take to end.
const DRAIN: Duration = Duration::from_secs(2);

/// Runs the control plane until it is asked to end.
pub(crate) async fn run(settings: Settings, log: LogLevel) -> Result<(), Error> {
    let trust_domain = parse_trust_domain(&settings.trust_domain)?;
    let clock = Arc::new(SystemClock);
    let survival = match settings.survive_partition_days {
        Some(days) => Some(Survival::of(Duration::from_secs(days.saturating_mul(24 * 60 * 60)))?),
        None => None,
    };
    let rules = rules(&settings.authority, survival.as_ref())?;
    let authority = Arc::new(Authority::open(
        &settings.authority.dir,
        trust_domain.clone(),
        rules,
        Arc::<SystemClock>::clone(&clock),
    )?);
    let tokens = Arc::new(Tokens::load(&settings.nodes)?);
    let ready = Ready::waiting_for(&["configuration"]);
    let quit = CancellationToken::new();

    let (cache_writer, cache) = Cache::new(&[POLICY_TYPE, ADDRESS_TYPE]);
    let (assignments, live_assignments) = Publisher::new(Assignments::new());
    let (findings, live_findings) = Publisher::new(Vec::new());
    let place = Place {
        trust_domain: trust_domain.clone(),
        cluster_id: settings.cluster_id.clone(),
        network: settings.network.clone(),
        root_namespace: settings.root_namespace.clone(),
        cluster_domain: settings.cluster_domain.clone(),
    };
    let views = Arc::new(Views::new(place.clone()));
    let publish = Publish {
        directory: settings.sources.directory.clone(),
        interval: Duration::from_millis(settings.sources.poll_interval_ms.max(10)),
        place,
        cache: cache_writer,
        views: Arc::clone(&views),
        assignments,
        findings,
        ready: ready.clone(),
    };

    let node_identity =
        SpiffeId::from_segments(trust_domain.clone(), &["ns", &settings.root_namespace, "sa", "node-proxy"])?;
    let grants = Arc::new(NodeGrants { tokens: Arc::clone(&tokens), assignments: live_assignments, node_identity });
    let order = [POLICY_TYPE, ADDRESS_TYPE, CLUSTER_TYPE, ENDPOINT_TYPE, LISTENER_TYPE];
    let discovery = Service::new(cache.clone(), Arc::new(Callers { tokens, views }), &order);
    let own = SpiffeId::from_segments(trust_domain, &["ns", &settings.root_namespace, "sa", "control-plane"])?;
    let names = Names {
        dns: vec!["istiod.istio-system.svc".to_owned(), "localhost".to_owned()],
        ips: vec![settings.listen.ip()],
    };
    let source = LocalSource::new(Arc::clone(&authority), OWN_LIFE.min(authority.rules().max_life), names);
    let bundles = BundleSet::default().with(authority.bundle());
    let identities = Identities::builder(Arc::new(source), bundles).build();
    let identity = identities.identity(&own).await?;

    let tasks = Tasks::default();
    let federation = settings.federation.as_ref();
    let trust = crate::trust::begin(federation, &settings.authority.dir, survival.as_ref(), &authority, &tasks)?;

    let dump_cache = cache.clone();
    let dump_findings = live_findings.clone();
    let discovery_clients = discovery.clone();
    let mut metrics = Registry::with_prefix("mesh_control_plane");
    let (error_count, client_count) = (Gauge::<i64>::default(), Gauge::<i64>::default());
    metrics.register("findings", "Findings in the configuration", error_count.clone());
    metrics.register("clients", "Open discovery streams", client_count.clone());
    let ages = Ages::new(&mut metrics);
    let (counted, aged, own_authority) = (discovery.clone(), trust.clone(), Arc::clone(&authority));
    let admin = Admin {
        ready: ready.clone(),
        metrics: Arc::new(metrics),
        log,
        dump: Arc::new(move || crate::show::dump(&dump_cache)),
        quit: quit.clone(),
        pages: Arc::from([
            (
                "/findings",
                "what is wrong in the configuration",
                page(Arc::new(move || serde_json::to_value(&*dump_findings.load()).unwrap_or_default())),
            ),
            (
                "/clients",
                "who is connected, and how far they are",
                page(Arc::new(move || crate::show::clients(&discovery_clients))),
            ),
        ]),
        before_metrics: Arc::new(move || {
            client_count.set(i64::try_from(counted.client_count()).unwrap_or(i64::MAX));
            error_count.set(i64::try_from(live_findings.load().len()).unwrap_or(i64::MAX));
            ages.set(&aged, &own_authority);
        }),
    };
    let admin =
        admin.bind(settings.admin).await.map_err(|error| format!("admin endpoint {}: {error}", settings.admin))?;
    let listener = listen(settings.listen)?;
    tracing::info!(listen = %settings.listen, admin = %settings.admin, identity = %own, "control plane starts");

    tasks.spawn(admin.serve());
    tasks.spawn(publish.run());
    tasks.spawn(Arc::clone(&authority).keep());
    let config = identity.server_config_with_optional_client_certificates(&[b"h2"])?;
    let incoming = Incoming::new(listener, config, &identity);
    let address = settings.spire.as_ref().map_or(settings.listen, |spire| spire.listen).ip();
    let (server, server_identities) = crate::spire::own_identity(&authority, address, trust.bundles()).await?;
    if let Some(federation) = federation {
        crate::trust::publish(federation, &server, &authority, &tasks).await?;
    }
    if let Some(spire) = settings.spire.clone() {
        crate::spire::serve(spire, &server, Arc::clone(&authority), &trust, &tasks).await?;
    }

    let stop = quit.clone();
    let drain = discovery.clone();
    let server = tonic::transport::Server::builder()
        .http2_keepalive_interval(Some(Duration::from_secs(30)))
        .http2_keepalive_timeout(Some(Duration::from_secs(10)))
        .initial_stream_window_size(1024 * 1024)
        .initial_connection_window_size(4 * 1024 * 1024)
        .add_service(discovery.server())
        .add_service(CertificateService::server(authority, grants))
        .serve_with_incoming_shutdown(incoming, async move {
            match mesh_host::signal::shutdown(&stop).await {
                Ok(cause) => tracing::info!(cause, "control plane ends"),
                Err(error) => tracing::error!(%error, "no signals; the control plane ends"),
            }
            ready.set("running", false);
            // Over half of the time that there is.
            drain.drain(DRAIN / 2);
        });
    let quitting = async {
        quit.cancelled().await;
        tokio::time::sleep(DRAIN).await;
    };
    let served = tokio::select! {
        served = server => served,
        () = quitting => Ok(()),
    };
    tasks.stop().await;
    identities.shutdown().await;
    server_identities.shutdown().await;
    Ok(served?)
}

/// The limits of what the authority issues.
fn rules(settings: &settings::Authority, survival: Option<&Survival>) -> Result<Rules, Error> {
    let mut rules = survival.map_or_else(Rules::default, Survival::rules);
    if let Some(longest) = settings.max_svid_ttl_seconds.map(Duration::from_secs) {
        if survival.is_some() && longest < rules.max_life {
            return Err(format!(
                "max_svid_ttl_seconds: surviving the partition takes SVIDs of {} s, not of {} s",
                rules.max_life.as_secs(),
                longest.as_secs()
            )
            .into());
        }
        if survival.is_none() {
            rules.max_life = longest;
        }
    }
    rules.default_life = Duration::from_secs(settings.svid_ttl_seconds);
    rules.min_life = Duration::from_secs(settings.min_svid_ttl_seconds);
    Ok(rules)
}

/// A node may act for the workloads that run on it, and for no others.
#[derive(Debug)]
struct NodeGrants {
    tokens: Arc<Tokens>,
    assignments: Live<Assignments>,
    node_identity: SpiffeId,
}

impl CallerPolicy for NodeGrants {
    fn grant(&self, caller: &Caller<'_>, wanted: Option<&SpiffeId>) -> Result<Grant, Refusal> {
        let node = self.tokens.node(caller.metadata).map_err(|reason| Refusal::Unauthenticated(reason.to_owned()))?;
        let caller = format!("node {node}");
        let Some(wanted) = wanted else { return Ok(Grant { caller, identity: self.node_identity.clone() }) };
        if self.assignments.load().get(node).is_some_and(|identities| identities.contains(wanted)) {
            return Ok(Grant { caller, identity: wanted.clone() });
        }
        Err(Refusal::Forbidden { caller, wanted: wanted.to_string() })
    }
}

/// Any node with a token may read workload discovery, and instances of waypoints what is theirs.
#[derive(Debug)]
struct Callers {
    tokens: Arc<Tokens>,
    views: Arc<Views>,
}

impl Access for Callers {
    /// A node is named by its name, who came with a certificate by its SPIFFE ID. Who brings a token is judged by that.
    fn admit(&self, metadata: &MetadataMap, extensions: &Extensions) -> Result<String, Status> {
        let peer = extensions.get::<serve::Caller>().and_then(serve::Caller::peer);
        let named = match peer.filter(|_| !metadata.contains_key("authorization")) {
            Some(peer) => Ok(peer.id().to_string()),
            None => self.tokens.node(metadata).map(ToOwned::to_owned),
        };
        named.map_err(|reason| {
            tracing::warn!(reason, "discovery stream refused");
            Status::unauthenticated("request authenticate failure")
        })
    }

    fn view(&self, client: &str, node: &Node) -> Result<View, Status> {
        // No name of a node is an identity: see `Tokens`.
        let Ok(identity) = parse_spiffe_id(client) else { return Ok(View::default()) };
        match self.views.of(&identity, node) {
            Ok(cache) => Ok(View { cache: Some(cache), permissions: None }),
            Err(reason) => {
                tracing::warn!(client, node = node.id, reason, "discovery stream refused");
                Err(Status::permission_denied(reason))
            }
        }
    }
}
