//! Discovery and certificates over TLS, and the admin endpoint.

use std::sync::Arc;
use std::time::Duration;

use mesh_core::live::Publisher;
use mesh_core::name::{SpiffeId, parse_trust_domain};
use mesh_host::admin::Admin;
use mesh_host::member::Error;
use mesh_host::ready::Ready;
use mesh_host::telemetry::LogLevel;
use mesh_identity::authority::{Authority, CertificateService, Names, Rules};
use mesh_identity::bundle::BundleSet;
use mesh_identity::clock::SystemClock;
use mesh_identity::partition::Survival;
use mesh_identity::serve::Incoming;
use mesh_identity::source::{Identities, LocalSource};
use mesh_identity::task::Tasks;
use mesh_xds::envoy::{CLUSTER_TYPE, ENDPOINT_TYPE, LISTENER_TYPE, ROUTE_TYPE, SECRET_TYPE};
use mesh_xds::server::Service;
use mesh_xds::workload::{ADDRESS_TYPE, POLICY_TYPE};
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use tokio_util::sync::CancellationToken;

use crate::analyze::Analyzed;
use crate::caller::{self, Admission, Authenticate, Grants};
use crate::listen::listen;
use crate::metrics::Metrics;
use crate::policies::Policies;
use crate::projection::Projection;
use crate::publish::Publish;
use crate::settings::{self, Settings};
use crate::show::Shown;
use crate::source::{Beside, Places, Sources};
use crate::spire::OWN_LIFE;
use crate::status::Statuses;
use crate::token::Tokens;
use crate::trust::Ages;

/// How long open streams may take to end.
const DRAIN: Duration = Duration::from_secs(2);

/// Clients that are given their first answers at a time. After a restart all come back: what is compared and encoded for them at
/// once is bounded by this.
const FIRST_ANSWERS: usize = 32;

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

    let mut metrics = Registry::with_prefix("mesh_control_plane");
    let counted = Metrics::new(&mut metrics);
    let tasks = Tasks::default();
    let (findings, live_findings) = Publisher::new(Vec::new());
    let place = settings.place()?;
    let (projection, cache, live_assignments) = Projection::new(place.clone());
    let views = Arc::clone(projection.views());
    tasks.spawn(Arc::clone(&views).close_unused());
    let explained = live_assignments.clone();
    let explain = crate::preview::page(move || Some(Arc::clone(explained.load().world())), place.clone());
    let (analyzed, live_analyzed) = Publisher::new(Analyzed::default());
    let federated = settings.federation.iter().flat_map(|federation| &federation.peers);
    let federated: Vec<String> = federated.map(|peer| peer.trust_domain.clone()).collect();
    tasks.spawn(crate::analyze::run(live_assignments.changes(), place, federated, analyzed));
    let policies = Policies::of(&settings)?;
    let ending = CancellationToken::new();
    let (told, live_statuses) = Publisher::new(Statuses::new());
    let (desired, _) = Publisher::new(Statuses::new());
    let beside = Beside {
        gate: policies.gate(),
        ending: ending.clone(),
        #[cfg(feature = "kubernetes")]
        statuses: Some(desired.live()),
    };
    tasks.spawn(crate::status::run(crate::status::Task {
        in_force: live_assignments.clone(),
        findings: live_findings.clone(),
        place: settings.place()?,
        told,
        desired,
    }));
    let sources = Sources::start(&settings.sources, settings.state_dir.as_deref(), &beside, &tasks)?;
    tasks.spawn(policies.clone().follow());
    let publish = Publish {
        sources: sources.merged(),
        policies,
        projection,
        findings,
        ready: ready.clone(),
        metrics: counted.clone(),
    };

    let node_identity =
        SpiffeId::from_segments(trust_domain.clone(), &["ns", &settings.root_namespace, "sa", "node-proxy"])?;
    let reviewers = caller::reviewers(&settings.kubernetes, &settings.cluster_id, &settings.root_namespace, &tasks)?;
    let authenticate = Authenticate::new(tokens, reviewers, trust_domain.clone(), live_assignments.clone());
    let grants = Arc::new(Grants::new(live_assignments.clone(), node_identity, counted.clone()));
    let envoy = [CLUSTER_TYPE, ENDPOINT_TYPE, LISTENER_TYPE, ROUTE_TYPE, SECRET_TYPE];
    let order = [POLICY_TYPE, ADDRESS_TYPE].into_iter().chain(envoy).collect();
    let serving = mesh_xds::server::Settings { order, first_answers: Some(FIRST_ANSWERS), ..Default::default() };
    let observer = Arc::new(counted.clone());
    let discovery = Service::observed(cache.clone(), Arc::new(Admission::new(views)), serving, observer);
    let own = SpiffeId::from_segments(trust_domain, &["ns", &settings.root_namespace, "sa", "control-plane"])?;
    let names = Names {
        dns: vec!["istiod.istio-system.svc".to_owned(), "localhost".to_owned()],
        ips: vec![settings.listen.ip()],
    };
    let source = LocalSource::new(Arc::clone(&authority), OWN_LIFE.min(authority.rules().max_life), names);
    let bundles = BundleSet::default().with(authority.bundle());
    let identities = Identities::builder(Arc::new(source), bundles).build();
    let identity = identities.identity(&own).await?;

    let federation = settings.federation.as_ref();
    let trust = crate::trust::begin(federation, &settings.authority.dir, survival.as_ref(), &authority, &tasks)?;

    let (error_count, client_count) = (Gauge::<i64>::default(), Gauge::<i64>::default());
    metrics.register("findings", "Findings in the configuration", error_count.clone());
    metrics.register("clients", "Open discovery streams", client_count.clone());
    let ages = Ages::new(&mut metrics);
    let source_metrics = crate::source::Metrics::new(&sources, &mut metrics);
    let shown = Shown {
        cache: cache.clone(),
        service: discovery.clone(),
        assignments: live_assignments,
        findings: live_findings.clone(),
        analyzed: live_analyzed,
        statuses: live_statuses,
        places: Places::of(&settings.sources, settings.state_dir.as_deref()),
        sources: sources.page(),
    };
    let (dump_cache, looked, aged, own_authority) =
        (cache.clone(), discovery.clone(), trust.clone(), Arc::clone(&authority));
    let admin = Admin {
        ready: ready.clone(),
        metrics: Arc::new(metrics),
        log,
        dump: Arc::new(move || crate::show::dump(&dump_cache)),
        quit: quit.clone(),
        pages: shown.pages(explain),
        before_metrics: Arc::new(move || {
            client_count.set(i64::try_from(looked.client_count()).unwrap_or(i64::MAX));
            error_count.set(i64::try_from(live_findings.load().len()).unwrap_or(i64::MAX));
            counted.look(&looked, &cache);
            ages.set(&aged, &own_authority);
            source_metrics.set();
        }),
    };
    let admin =
        admin.bind(settings.admin).await.map_err(|error| format!("admin endpoint {}: {error}", settings.admin))?;
    let listener = listen(settings.listen)?;
    if let Some(address) = settings.webhooks {
        let webhooks = tokio::net::TcpListener::bind(address).await;
        let webhooks = webhooks.map_err(|error| format!("webhooks {address}: {error}"))?;
        tasks.spawn(sources.hooks().serve(webhooks));
    }
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

    #[cfg(feature = "kubernetes")]
    if let Some(settings) = &settings.webhook {
        let mut validators: Vec<Arc<dyn crate::webhook::Validator>> = vec![Arc::new(crate::webhook::Schema)];
        validators.extend(beside.gate.clone().map(|gate| Arc::new(crate::webhook::Judged(gate)) as _));
        let validator = Arc::new(crate::webhook::All(validators));
        crate::webhook::begin(settings, validator, &authority, &own, &tasks).await?;
    }
    if let Some(settings) = &settings.workload_api {
        #[cfg(unix)]
        crate::workload_api::serve(settings, &authority, &trust, &tasks)?;
        #[cfg(not(unix))]
        return Err(
            format!("workload_api.socket: {}: there are no Unix sockets here", settings.socket.display()).into()
        );
    }

    let stop = quit.clone();
    let drain = discovery.clone();
    let server = tonic::transport::Server::builder()
        .http2_keepalive_interval(Some(Duration::from_secs(30)))
        .http2_keepalive_timeout(Some(Duration::from_secs(10)))
        .initial_stream_window_size(1024 * 1024)
        .initial_connection_window_size(4 * 1024 * 1024)
        .layer(authenticate)
        .add_service(discovery.server())
        .add_service(CertificateService::server(authority, grants))
        .serve_with_incoming_shutdown(incoming, async move {
            match mesh_host::signal::shutdown(&stop).await {
                Ok(cause) => tracing::info!(cause, "control plane ends"),
                Err(error) => tracing::error!(%error, "no signals; the control plane ends"),
            }
            ready.set("running", false);
            ending.cancel();
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
