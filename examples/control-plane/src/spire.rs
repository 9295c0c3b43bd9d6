//! SPIRE's server API: nodes that attest.

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use mesh_core::live::{Live, Publisher};
use mesh_core::name::parse_spiffe_id;
use mesh_core::report::chain;
use mesh_host::follow::follow;
use mesh_host::member::Error;
use mesh_identity::attest::{Attestor, AwsIdentityDocument, AwsRegions, ClusterKeys, JoinTokens, K8sPsat, X509Pop};
use mesh_identity::authority::{Authority, Names};
use mesh_identity::bundle::BundleSet;
use mesh_identity::clock::{Clock, SystemClock};
use mesh_identity::registry::Entries;
use mesh_identity::serve::Incoming;
use mesh_identity::source::{Identities, LocalSource};
use mesh_identity::spire::{Nodes, SERVER_PATH, SpireParts, SpireServer};
use mesh_identity::task::Tasks;
use mesh_identity::tls::Identity;
use mesh_identity::trust::TrustStore;

use crate::listen::listen;
use crate::settings::{Aws, Cluster, Spire};

/// Life of the control plane's own certificates, where the rules allow that much.
pub(crate) const OWN_LIFE: Duration = Duration::from_secs(60 * 60);

/// How often the entries and the clusters' keys are looked at.
const LOOK: Duration = Duration::from_secs(1);

/// Begins to serve as `own`. It goes on until the tasks are stopped.
pub(crate) async fn serve(
    settings: Spire,
    own: &Identity,
    authority: Arc<Authority>,
    trust: &TrustStore,
    tasks: &Tasks,
) -> Result<(), Error> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let entries = entries(&settings.entries, tasks)?;
    let tokens = Arc::new(open_tokens(&settings)?);
    let mut attestors: Vec<Arc<dyn Attestor>> = vec![Arc::<JoinTokens>::clone(&tokens)];
    if let Some(path) = &settings.x509pop {
        attestors.push(Arc::new(X509Pop::new(&read(path)?)?));
    }
    if let Some(aws) = &settings.aws_iid {
        attestors.push(Arc::new(instances(aws)?));
    }
    if !settings.k8s_psat.is_empty() {
        attestors.push(Arc::new(pods(&settings.k8s_psat, tasks)?));
    }
    #[cfg(feature = "tpm")]
    if let Some(tpm) = &settings.tpm_devid {
        let devices = mesh_identity::attest::TpmDevId::new(&read(&tpm.devices)?, &read(&tpm.makers)?)?;
        attestors.push(Arc::new(devices));
    }
    let administrators = settings.administrators.iter().map(|id| parse_spiffe_id(id)).collect::<Result<_, _>>()?;
    let server = SpireServer::new(SpireParts {
        authority,
        entries,
        bundles: trust.bundles(),
        nodes: Arc::new(Nodes::open(&settings.dir.join("nodes"))?),
        tokens,
        attestors,
        administrators,
        node_life: None,
        clock,
    });
    let listener = listen(settings.listen)?;
    let incoming = Incoming::new(listener, own.server_config_with_optional_client_certificates(&[b"h2"])?, own);
    tracing::info!(listen = %settings.listen, identity = %own.id(), "nodes may attest");
    let (agent, bundle, entry, svid) = server.services();
    let server = tonic::transport::Server::builder()
        .http2_keepalive_interval(Some(Duration::from_secs(30)))
        .http2_keepalive_timeout(Some(Duration::from_secs(10)))
        .add_service(agent)
        .add_service(bundle)
        .add_service(entry)
        .add_service(svid);
    tasks.spawn(async move {
        if let Err(error) = server.serve_with_incoming(incoming).await {
            tracing::error!(error = chain(&error), "attestation is not served any more");
        }
    });
    Ok(())
}

/// Who may have which identity, as a file says. It is followed.
pub(crate) fn entries(path: &Path, tasks: &Tasks) -> Result<Live<Option<Entries>>, Error> {
    let content = read(path)?;
    let first = Entries::from_json(&content).map_err(|error| format!("{}: {error}", path.display()))?;
    let (publisher, entries) = Publisher::new(Some(first));
    let take = move |content: &[u8]| Entries::from_json(content).map(|entries| publisher.publish(Some(entries)));
    tasks.spawn(follow(path.to_owned(), Some(content), LOOK, take));
    Ok(entries)
}

/// The join tokens that wait; a command may add to them while the server runs.
pub(crate) fn open_tokens(settings: &Spire) -> Result<JoinTokens, Error> {
    mesh_identity::file::private_directory(&settings.dir)?;
    Ok(JoinTokens::open(&settings.dir.join("join-tokens.json"))?)
}

/// The identity by which SPIRE's agents, and those who federate, know a server. Callers are judged by the bundles as they are.
pub(crate) async fn own_identity(
    authority: &Arc<Authority>,
    address: IpAddr,
    bundles: Live<BundleSet>,
) -> Result<(Identity, Identities), Error> {
    let names = Names { dns: vec!["localhost".to_owned()], ips: vec![address] };
    let source = LocalSource::new(Arc::clone(authority), OWN_LIFE.min(authority.rules().max_life), names);
    let identities = Identities::builder(Arc::new(source), bundles.load().clone()).build();
    let id = parse_spiffe_id(&format!("spiffe://{}{SERVER_PATH}", authority.trust_domain()))?;
    let own = identities.identity(&id).await?;
    Ok((Identity::new(id, own.state().clone(), bundles, Arc::new(SystemClock)), identities))
}

fn instances(settings: &Aws) -> Result<AwsIdentityDocument, Error> {
    let mut keys = AwsRegions::published()?;
    if let Some(path) = &settings.keys {
        keys = keys.with(AwsRegions::parse(&String::from_utf8(read(path)?)?)?);
    }
    let attestor = AwsIdentityDocument::new(keys, settings.accounts.iter().map(String::as_str))
        .within(Duration::from_secs(settings.window_seconds));
    if settings.regions.is_empty() {
        Ok(attestor)
    } else {
        Ok(attestor.in_regions(settings.regions.iter().map(String::as_str)))
    }
}

fn pods(clusters: &[Cluster], tasks: &Tasks) -> Result<K8sPsat, Error> {
    let mut attestor = K8sPsat::new();
    for cluster in clusters {
        let content = read(&cluster.jwks)?;
        let (publisher, keys) = Publisher::new(ClusterKeys::from_jwks(&content)?);
        let take = move |content: &[u8]| ClusterKeys::from_jwks(content).map(|keys| publisher.publish(keys));
        tasks.spawn(follow(cluster.jwks.clone(), Some(content), LOOK, take));
        let accounts = cluster.accounts.iter().map(String::as_str);
        attestor = attestor.cluster(&cluster.name, keys, &cluster.issuer, &cluster.audience, accounts);
    }
    Ok(attestor)
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    Ok(mesh_identity::file::read(path)?)
}
