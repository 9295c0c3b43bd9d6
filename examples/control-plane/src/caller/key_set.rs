use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use mesh_core::authn::{Keys, Provider, Token, Verification, Verifier};
use mesh_core::live::Live;
use serde_json::{Map, Value};

use super::review::{Bound, Review, ReviewError, ReviewToken, ServiceAccountToken};

/// How far the clock of a cluster may lie apart from ours, both ways.
const CLOCK_SKEW: Duration = Duration::from_secs(30);

/// Judges tokens by the keys that the cluster signs them with (its API server serves them at `/openid/v1/jwks`).
///
/// Without the API server nobody tells that a service account or a pod was deleted: such a token is good until its own end.
pub struct ClusterKeySet {
    provider: Provider,
    keys: Live<Arc<dyn Keys>>,
    verifier: Arc<dyn Verifier>,
}

impl ClusterKeySet {
    /// By keys as they change. The provider says which issuer and audiences are right; its keys are not looked at. A token
    /// without an end is never good.
    #[must_use]
    pub fn new(provider: Provider, keys: Live<Arc<dyn Keys>>, verifier: Arc<dyn Verifier>) -> Self {
        let provider = Provider { require_expiration: true, clock_skew: CLOCK_SKEW, ..provider };
        Self { provider, keys, verifier }
    }

    async fn judge(&self, text: &str) -> Result<ServiceAccountToken, ReviewError> {
        let refuse = |failure: mesh_core::authn::Failure| ReviewError::Refused(failure.to_string());
        let token = self.verifier.read(text).map_err(refuse)?;
        // What is cheap first: a token for others causes no fetch of keys.
        token.check(&self.provider, None, self.verifier.now()).map_err(refuse)?;
        let keys = Arc::clone(&self.keys.load());
        let verified = match keys.verify(&token) {
            Verification::Done(verified) => verified,
            Verification::Wait(fetching) => fetching.await,
        };
        match verified {
            Ok(()) => claims(&token),
            Err(failure @ mesh_core::authn::Failure::KeysUnavailable) => {
                Err(ReviewError::Unavailable(failure.to_string()))
            }
            Err(failure) => Err(refuse(failure)),
        }
    }
}

impl ReviewToken for ClusterKeySet {
    fn review<'a>(&'a self, token: &'a str) -> Review<'a> {
        Box::pin(self.judge(token))
    }
}

impl fmt::Debug for ClusterKeySet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Provider { issuer, audiences, .. } = &self.provider;
        f.debug_struct("ClusterKeySet").field("issuer", issuer).field("audiences", audiences).finish_non_exhaustive()
    }
}

/// What a token that is known to be signed by the cluster says of whom it is for.
fn claims(token: &Token) -> Result<ServiceAccountToken, ReviewError> {
    let said = ServiceAccountToken::of_subject(token.subject())?;
    let private = token.payload().get("kubernetes.io").map(|value| value.as_object().ok_or("kubernetes.io"));
    let Some(private) = private.transpose().map_err(ReviewError::Claim)? else {
        // An old token, that is bound to nothing.
        return Ok(said);
    };
    if private.get("namespace").and_then(Value::as_str).is_some_and(|namespace| namespace != said.namespace) {
        return Err(ReviewError::Claim("kubernetes.io.namespace"));
    }
    let account = bound(private, "serviceaccount", "kubernetes.io.serviceaccount")?;
    if account.is_some_and(|account| account.name != said.account) {
        return Err(ReviewError::Claim("kubernetes.io.serviceaccount"));
    }
    let pod = bound(private, "pod", "kubernetes.io.pod")?;
    let node = bound(private, "node", "kubernetes.io.node")?;
    Ok(ServiceAccountToken { pod, node, ..said })
}

fn bound(claims: &Map<String, Value>, key: &str, claim: &'static str) -> Result<Option<Bound>, ReviewError> {
    let Some(value) = claims.get(key) else { return Ok(None) };
    let text = |member: &str| value.get(member).and_then(Value::as_str).map(str::to_owned);
    let name = text("name").filter(|name| !name.is_empty()).ok_or(ReviewError::Claim(claim))?;
    Ok(Some(Bound { name, uid: text("uid").unwrap_or_default() }))
}
