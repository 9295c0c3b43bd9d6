use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use mesh_core::authn::{KeySource, Keys, Provider, RemoteKeys, Verifier};
use mesh_core::live::Publisher;
use mesh_host::follow::follow;
use mesh_host::member::Error;
use mesh_identity::clock::SystemClock;
use mesh_identity::keys::{KeySet, TokenVerifier, Web};
use mesh_identity::task::Tasks;
use mesh_identity::tls;

use super::api_server::ApiServer;
use super::authenticate::Reviewer;
use super::key_set::ClusterKeySet;
use super::review::ReviewToken;
use crate::settings::{Kubernetes, TokenReviews};

/// How often files of keys are looked at.
const LOOK: Duration = Duration::from_secs(1);

/// How the tokens of all clusters are judged.
pub(crate) fn reviewers(
    clusters: &[Kubernetes],
    cluster_id: &str,
    root_namespace: &str,
    tasks: &Tasks,
) -> Result<Vec<Reviewer>, Error> {
    let mut all: Vec<Reviewer> = Vec::new();
    for settings in clusters {
        let cluster = settings.name.clone().unwrap_or_else(|| cluster_id.to_owned());
        let wrong = |what: String| Error::from(format!("kubernetes: cluster `{cluster}`: {what}"));
        if all.iter().any(|known| known.cluster == cluster) {
            return Err(wrong("it is there twice".to_owned()));
        }
        if settings.audiences.is_empty() || settings.audiences.iter().any(String::is_empty) {
            return Err(wrong("audiences: what is meant for others would be taken".to_owned()));
        }
        let node_accounts = settings.node_accounts.clone().unwrap_or_else(|| vec![format!("{root_namespace}/ztunnel")]);
        if let Some(bad) =
            node_accounts.iter().find(|account| account.split('/').filter(|part| !part.is_empty()).count() != 2)
        {
            return Err(wrong(format!("node_accounts: `{bad}` is no <namespace>/<name>")));
        }
        let review = reviewer(settings, tasks).map_err(|error| wrong(error.to_string()))?;
        all.push(Reviewer { cluster, review, node_accounts });
    }
    Ok(all)
}

fn reviewer(settings: &Kubernetes, tasks: &Tasks) -> Result<Arc<dyn ReviewToken>, Error> {
    let roots = settings.roots.as_deref().map(mesh_identity::file::read).transpose()?;
    match (&settings.jwks, &settings.jwks_url, &settings.token_review) {
        (Some(path), None, None) => {
            let verifier = Arc::new(TokenVerifier::new(Arc::new(SystemClock)));
            let read = |content: &[u8]| -> Result<KeySource, String> {
                KeySet::from_jwks(content).map_err(|error| mesh_core::report::chain(&error))?;
                Ok(KeySource::Inline(String::from_utf8_lossy(content).into_owned().into()))
            };
            let content = mesh_identity::file::read(path)?;
            let first = read(&content).map_err(|error| format!("{}: {error}", path.display()))?;
            let (publisher, keys) = Publisher::new(verifier.keys(&first));
            let reading = Arc::clone(&verifier);
            let take = move |content: &[u8]| read(content).map(|source| publisher.publish(reading.keys(&source)));
            tasks.spawn(follow(path.clone(), Some(content), LOOK, take));
            Ok(Arc::new(ClusterKeySet::new(provider(settings)?, keys, verifier)))
        }
        (None, Some(url), None) => {
            let web = roots.map_or_else(|| Ok(Web::new()), |roots| Web::with_roots(&roots))?;
            let verifier = Arc::new(TokenVerifier::fetching(Arc::new(SystemClock), Arc::new(web)));
            let keys: Arc<dyn Keys> = verifier.keys(&KeySource::Remote(RemoteKeys::at(url.as_str())));
            let (publisher, keys) = Publisher::new(keys);
            drop(publisher);
            Ok(Arc::new(ClusterKeySet::new(provider(settings)?, keys, verifier)))
        }
        (None, None, Some(TokenReviews { url, token_file })) => {
            let uri: Uri = url.parse().map_err(|error| format!("token_review.url: `{url}`: {error}"))?;
            let tls = match (uri.scheme_str(), roots) {
                (Some("https"), Some(roots)) => Some(tls::server_named_client(&roots, &[b"http/1.1"])?),
                (Some("https"), None) => Some(tls::web_client(&[b"http/1.1"])?),
                // For an API server that is reached by a proxy beside it.
                (Some("http"), None) => None,
                _ => return Err(format!("token_review.url: `{url}` is no URL of https").into()),
            };
            Ok(Arc::new(ApiServer::new(uri, tls, token_file.clone(), settings.audiences.clone())))
        }
        _ => Err("one of `jwks`, `jwks_url` and `token_review` is needed".into()),
    }
}

fn provider(settings: &Kubernetes) -> Result<Provider, Error> {
    let issuer = settings.issuer.as_deref().filter(|issuer| !issuer.is_empty()).ok_or("`issuer` is missing")?;
    // The keys are followed beside it.
    let mut provider = Provider::new(issuer, KeySource::Inline("".into()));
    provider.audiences = settings.audiences.iter().map(|audience| audience.as_str().into()).collect();
    Ok(provider)
}
