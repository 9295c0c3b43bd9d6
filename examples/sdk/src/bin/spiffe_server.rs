//! A SPIFFE identity server: SPIRE's server API for nodes, the Workload API for processes beside it, and its trust bundle for
//! whoever federates with it. Real SPIRE agents join it.
#![allow(clippy::print_stdout, clippy::disallowed_methods, reason = "a program for a terminal")]

use std::error::Error;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use mesh_core::live::Publisher;
use mesh_core::name::{parse_spiffe_id, parse_trust_domain};
use mesh_host::follow::follow;
use mesh_identity::attest::{Attestor, JoinTokens, X509Pop};
use mesh_identity::authority::{Authority, Names, Rules};
use mesh_identity::bundle::{Bundle, RevocationPolicy};
use mesh_identity::clock::{Clock, SystemClock};
use mesh_identity::federation::{BundleEndpoint, Federation, Profile, Relationship};
use mesh_identity::registry::Entries;
use mesh_identity::serve::Incoming;
use mesh_identity::source::{Identities, JwtCache, LocalSource};
use mesh_identity::spire::{Nodes, SERVER_PATH, SpireParts, SpireServer, UpstreamAuthority};
use mesh_identity::task::Tasks;
use mesh_identity::tls::Identity;
use mesh_identity::trust::{TrustCache, TrustStore};
use mesh_identity::workload_api::{Client, Endpoint, Listener, Parts, UnixAttestor, WorkloadApi};
use tokio::net::TcpListener;

/// A SPIFFE identity server.
#[derive(Debug, Parser)]
struct Arguments {
    /// Its trust domain.
    #[arg(long)]
    trust_domain: String,
    /// Directory of its keys, nodes, join tokens and foreign bundles.
    #[arg(long)]
    dir: PathBuf,
    /// Who may have which identity: JSON in the form of SPIRE's entries. It is followed.
    #[arg(long)]
    entries: PathBuf,
    /// Where nodes join.
    #[arg(long, default_value = "127.0.0.1:8081")]
    listen: SocketAddr,
    /// Socket of the Workload API for processes on this machine.
    #[arg(long)]
    socket: Option<PathBuf>,
    /// Where the trust bundle is served (profile `https_spiffe`).
    #[arg(long)]
    bundle_endpoint: Option<SocketAddr>,
    /// Certificate and key of a web server, in one PEM file: the bundle endpoint then has profile `https_web`.
    #[arg(long)]
    web: Option<PathBuf>,
    /// A trust domain to federate with: its name, URL, the SPIFFE ID of its endpoint and its bundle to begin with (JSON), or
    /// `web` and the PEM file of a root.
    #[arg(long, num_args = 4, action = clap::ArgAction::Append, value_names = ["DOMAIN", "URL", "WHO", "FILE"])]
    federate: Vec<String>,
    /// CA of machines that join by `x509pop`, PEM.
    #[arg(long)]
    machines: Option<PathBuf>,
    /// CA of devices and CA of makers of TPMs, PEM: devices join by `tpm_devid`.
    #[cfg(feature = "tpm")]
    #[arg(long, num_args = 2, value_names = ["DEVICES", "MAKERS"])]
    tpm: Vec<PathBuf>,
    /// A join token that lets one node in.
    #[arg(long)]
    join_token: Option<String>,
    /// Who may make join tokens and ban nodes over the API.
    #[arg(long)]
    administrator: Vec<String>,
    /// Host and port of a SPIRE server below which this one signs: its intermediate is asked for with the identity that the
    /// Workload API at `SPIFFE_ENDPOINT_SOCKET` gives.
    #[arg(long)]
    upstream: Option<String>,
    /// Life of SVIDs in seconds, where the entry says nothing.
    #[arg(long, default_value_t = 3600)]
    ttl: u64,
    /// Also writes the trust bundle to these files, as PEM and as a SPIFFE document.
    #[arg(long, num_args = 2, value_names = ["PEM", "JSON"])]
    write_bundle: Vec<PathBuf>,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    tracing_subscriber::fmt()
        .with_env_filter(tracing_subscriber::EnvFilter::from_default_env())
        .with_writer(std::io::stderr)
        .init();
    let arguments = Arguments::parse();
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let domain = parse_trust_domain(&arguments.trust_domain)?;
    let mut rules = Rules::default();
    rules.default_life = Duration::from_secs(arguments.ttl);
    let tasks = Tasks::default();
    let directory = arguments.dir.join("authority");
    if let Some(upstream) = &arguments.upstream {
        let source = Client::connect(&Endpoint::from_env()?).source(Arc::clone(&clock));
        let life = Duration::from_secs(24 * 60 * 60);
        let upstream = UpstreamAuthority::new(upstream, source.identity().await?, &directory, life);
        upstream.renew().await?;
        tasks.spawn(upstream.keep());
    }
    let authority = Arc::new(Authority::open(&directory, domain.clone(), rules, Arc::clone(&clock))?);
    tasks.spawn(Arc::clone(&authority).keep());

    let cache = TrustCache::open(&arguments.dir.join("trust"))?;
    let trust = TrustStore::builder(Arc::clone(&clock)).cache(cache).build();
    trust.own(authority.bundle());
    tasks.spawn(trust.clone().keep());
    tasks.spawn(follow_authority(Arc::clone(&authority), trust.clone(), arguments.write_bundle.clone()));
    let federation = Federation::new(trust.clone(), Arc::clone(&clock));
    federation.set(relationships(&arguments.federate)?)?;

    let content = std::fs::read(&arguments.entries)?;
    let (publisher, entries) = Publisher::new(Some(Entries::from_json(&content)?));
    let take = move |content: &[u8]| Entries::from_json(content).map(|entries| publisher.publish(Some(entries)));
    tasks.spawn(follow(arguments.entries.clone(), Some(content), Duration::from_millis(200), take));
    let source = LocalSource::new(Arc::clone(&authority), Duration::from_secs(arguments.ttl), Names::default());
    let own_source = LocalSource::new(
        Arc::clone(&authority),
        Duration::from_secs(3600),
        Names { dns: vec!["localhost".to_owned()], ips: vec![arguments.listen.ip()] },
    );
    let own = Identities::builder(Arc::new(own_source), trust.bundles().load().clone()).build();
    let own = own.identity(&parse_spiffe_id(&format!("spiffe://{domain}{SERVER_PATH}"))?).await?;
    // Callers are judged by what is trusted now.
    let own = Identity::new(own.id().clone(), own.state().clone(), trust.bundles(), Arc::clone(&clock));

    if let Some(socket) = &arguments.socket {
        let identities =
            Identities::builder(Arc::new(source.by_entries(entries.clone())), trust.bundles().load().clone()).build();
        let api = WorkloadApi::new(Parts {
            entries: entries.clone(),
            identities,
            bundles: trust.bundles(),
            tokens: Arc::new(JwtCache::new(Arc::<Authority>::clone(&authority), Arc::clone(&clock))),
            attestor: Arc::new(UnixAttestor { program: true }),
            clock: Arc::clone(&clock),
        });
        let listener = Listener::bind(socket)?;
        tasks.spawn(async move {
            if let Err(error) = api.serve(listener).await {
                tracing::error!(%error, "the Workload API ended");
            }
        });
    }
    if let Some(address) = arguments.bundle_endpoint {
        let tls = match &arguments.web {
            Some(path) => mesh_identity::tls::named_server(&std::fs::read(path)?, &[b"h2", b"http/1.1"])?,
            None => own.server_config_without_client_certificates(&[b"h2", b"http/1.1"])?,
        };
        let endpoint = BundleEndpoint::new(authority.live_bundle());
        tasks.spawn(endpoint.serve(TcpListener::bind(address).await?, tls, tasks.clone()));
    }

    let tokens = Arc::new(JoinTokens::open(&arguments.dir.join("join-tokens.json"))?);
    if let Some(token) = arguments.join_token {
        tokens.mint(Some(token), Duration::from_secs(600), None, clock.now())?;
    }
    let mut attestors: Vec<Arc<dyn Attestor>> = vec![Arc::<JoinTokens>::clone(&tokens)];
    if let Some(path) = &arguments.machines {
        attestors.push(Arc::new(X509Pop::new(&std::fs::read(path)?)?));
    }
    #[cfg(feature = "tpm")]
    if let [devices, makers] = arguments.tpm.as_slice() {
        let devices = mesh_identity::attest::TpmDevId::new(&std::fs::read(devices)?, &std::fs::read(makers)?)?;
        attestors.push(Arc::new(devices));
    }
    let administrators = arguments.administrator.iter().map(|id| parse_spiffe_id(id)).collect::<Result<_, _>>()?;
    let server = SpireServer::new(SpireParts {
        authority,
        entries,
        bundles: trust.bundles(),
        nodes: Arc::new(Nodes::open(&arguments.dir.join("nodes"))?),
        tokens,
        attestors,
        administrators,
        node_life: None,
        clock,
    });
    let (agent, bundle, entry, svid) = server.services();
    let config = own.server_config_with_optional_client_certificates(&[b"h2"])?;
    let incoming = Incoming::new(TcpListener::bind(arguments.listen).await?, config, &own);
    println!("ready");
    tonic::transport::Server::builder()
        .add_service(agent)
        .add_service(bundle)
        .add_service(entry)
        .add_service(svid)
        .serve_with_incoming_shutdown(incoming, async {
            let _ = tokio::signal::ctrl_c().await;
        })
        .await?;
    tasks.stop().await;
    Ok(())
}

fn relationships(arguments: &[String]) -> Result<Vec<Relationship>, Box<dyn Error>> {
    let mut all = Vec::new();
    for one in arguments.chunks(4) {
        let [domain, url, who, file] = one else { continue };
        let domain = parse_trust_domain(domain)?;
        let text = std::fs::read(file)?;
        let profile = if who == "web" {
            Profile::Web { roots: Some(text) }
        } else {
            let bootstrap = Bundle::from_document(domain.clone(), &text)?.bundle;
            Profile::Spiffe { endpoint_id: parse_spiffe_id(who)?, bootstrap: Some(bootstrap) }
        };
        let mut relationship = Relationship::new(domain, url, profile)?;
        relationship.revocation = RevocationPolicy::Soft;
        all.push(relationship);
    }
    Ok(all)
}

/// What the authority publishes is what is trusted here, and what stands in the files.
async fn follow_authority(authority: Arc<Authority>, trust: TrustStore, files: Vec<PathBuf>) {
    let mut changes = authority.live_bundle().changes();
    loop {
        let bundle = authority.bundle();
        if let [pem, json] = files.as_slice() {
            let written =
                std::fs::write(pem, bundle.to_pem()).and_then(|()| std::fs::write(json, bundle.to_document()));
            if let Err(error) = written {
                tracing::error!(%error, "the trust bundle is not written");
            }
        }
        trust.own(bundle);
        if changes.changed().await.is_err() {
            return;
        }
    }
}
