use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use mesh_core::live::Live;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Answer, Asked, Attest, AttestError, Attested, Attestor, Challenges, Evidence, from_json};
use crate::file;
use crate::jose::{Algorithm, Compact, PublicKey, json};

/// How far clocks may lie apart.
const LEEWAY: Duration = Duration::from_secs(30);

/// Longest life of a token that is taken.
const MAX_LIFE: Duration = Duration::from_secs(60 * 60 + 60);

/// Latest time of a claim, in seconds since 1970: as for tokens of workloads.
const MAX_SECONDS: u64 = 1_000_000_000_000_000;

/// Most keys of one cluster.
const MAX_KEYS: usize = 32;

/// The keys by which a Kubernetes cluster signs the tokens of its service accounts.
#[derive(Debug, Clone, Default)]
pub struct ClusterKeys(BTreeMap<String, PublicKey>);

impl ClusterKeys {
    /// Reads the JWK set that the API server serves at `/openid/v1/jwks`. Keys that no token may be signed by are left out.
    ///
    /// # Errors
    /// [`AttestError::Unavailable`] when the text is no JWK set or holds no usable key.
    pub fn from_jwks(text: &[u8]) -> Result<Self, AttestError> {
        let wrong = |what: &str| AttestError::Unavailable(format!("the cluster's keys: {what}"));
        let Ok(Value::Object(mut set)) = json::parse(text) else { return Err(wrong("not JSON")) };
        let Some(Value::Array(keys)) = set.remove("keys") else { return Err(wrong("no member `keys`")) };
        if keys.len() > MAX_KEYS {
            return Err(wrong("too many"));
        }
        let mut all = BTreeMap::new();
        for key in keys {
            let Value::Object(jwk) = key else { return Err(wrong("a key is no object")) };
            let id = jwk.get("kid").and_then(Value::as_str).unwrap_or_default().to_owned();
            let signs = jwk.get("use").and_then(Value::as_str).is_none_or(|usage| usage == "sig");
            let Ok(key) = PublicKey::from_jwk(&jwk) else { continue };
            if !signs || id.is_empty() {
                continue;
            }
            if all.insert(id.clone(), key).is_some() {
                return Err(wrong("two keys of one name"));
            }
        }
        if all.is_empty() {
            return Err(wrong("none can be used"));
        }
        Ok(Self(all))
    }
}

/// Projected service account tokens of Kubernetes (SPIRE's `k8s_psat`), verified offline by the cluster's keys.
///
/// Without the API server nobody tells that a pod was deleted. So tokens that still live long are refused: with the default of
/// ten minutes, a deleted pod's token counts for ten minutes at most.
#[derive(Debug)]
pub struct K8sPsat {
    clusters: BTreeMap<String, Cluster>,
    left: Option<Duration>,
}

#[derive(Debug)]
struct Cluster {
    keys: Live<ClusterKeys>,
    issuer: String,
    audience: String,
    accounts: BTreeSet<String>,
}

#[derive(Serialize, Deserialize)]
struct Payload {
    cluster: String,
    token: String,
}

#[derive(Deserialize)]
struct Claims {
    iss: String,
    aud: Vec<String>,
    exp: u64,
    iat: u64,
    nbf: Option<u64>,
    sub: String,
    #[serde(rename = "kubernetes.io")]
    kubernetes: Bound,
}

#[derive(Deserialize)]
struct Bound {
    namespace: String,
    pod: Named,
    node: Named,
    serviceaccount: Named,
}

#[derive(Deserialize)]
struct Named {
    name: String,
    uid: String,
}

impl K8sPsat {
    /// Believes no cluster yet. Tokens with more than ten minutes left are refused.
    #[must_use]
    pub fn new() -> Self {
        Self { clusters: BTreeMap::new(), left: Some(Duration::from_secs(10 * 60)) }
    }

    /// How long a token may still live; `None` for any time.
    #[must_use]
    pub fn with_at_most_left(self, left: Option<Duration>) -> Self {
        Self { left, ..self }
    }

    /// Believes a cluster: its keys as they change, the exact issuer and audience of its tokens, and the service accounts of
    /// nodes, each as `<namespace>:<name>`.
    #[must_use]
    pub fn cluster(
        mut self,
        name: &str,
        keys: Live<ClusterKeys>,
        issuer: &str,
        audience: &str,
        accounts: impl IntoIterator<Item = impl Into<String>>,
    ) -> Self {
        let accounts = accounts.into_iter().map(Into::into).collect();
        let cluster = Cluster { keys, issuer: issuer.to_owned(), audience: audience.to_owned(), accounts };
        self.clusters.insert(name.to_owned(), cluster);
        self
    }

    fn check(&self, asked: Asked<'_>) -> Result<Attested, AttestError> {
        let refuse = |why: &str| AttestError::Evidence(why.to_owned());
        let payload: Payload = from_json(asked.payload).ok_or_else(|| refuse("not JSON of a cluster and a token"))?;
        let cluster = self.clusters.get(&payload.cluster).ok_or_else(|| refuse("unknown cluster"))?;
        let token = Compact::parse(&payload.token).map_err(|error| AttestError::Evidence(error.to_string()))?;
        if !matches!(token.algorithm, Algorithm::RS256 | Algorithm::ES256) {
            return Err(refuse("signed by an algorithm that is not allowed"));
        }
        let id = token.header.get("kid").and_then(Value::as_str).unwrap_or_default();
        let keys = cluster.keys.load();
        let key = keys.0.get(id).ok_or_else(|| refuse("signed by a key that the cluster does not have"))?;
        if !token.verify(key) {
            return Err(refuse("the signature does not verify"));
        }
        let claims = Value::Object(token.unverified);
        let claims: Claims = serde_json::from_value(claims)
            .map_err(|_| refuse("claims are absent: a token bound to a pod and its node is needed"))?;
        let found = self.judge(cluster, &claims, asked.now)?;
        let Bound { pod, node, .. } = &claims.kubernetes;
        let (namespace, account) = found;
        let name = &payload.cluster;
        let selectors = [
            format!("cluster:{name}"),
            format!("agent_ns:{namespace}"),
            format!("agent_sa:{account}"),
            format!("agent_pod_name:{}", pod.name),
            format!("agent_pod_uid:{}", pod.uid),
            format!("agent_node_name:{}", node.name),
            format!("agent_node_uid:{}", node.uid),
        ];
        Ok(Attested::new(format!("k8s_psat/{name}/{}", node.uid), selectors))
    }

    /// Judges claims that the cluster signed. Gives the namespace and name of the account.
    fn judge<'a>(
        &self,
        cluster: &Cluster,
        claims: &'a Claims,
        now: SystemTime,
    ) -> Result<(&'a str, &'a str), AttestError> {
        let refuse = |why: &str| Err(AttestError::Evidence(why.to_owned()));
        if claims.iss != cluster.issuer {
            return refuse("the token is of another issuer");
        }
        if claims.aud != [cluster.audience.as_str()] {
            return refuse("the token is for another audience");
        }
        let (expires, issued) = (time(claims.exp)?, time(claims.iat)?);
        if now > expires + LEEWAY {
            return refuse("the token has expired");
        }
        let begin = claims.nbf.map_or(Ok(issued), time)?.max(issued);
        if begin > now + LEEWAY {
            return refuse("the token is not valid yet");
        }
        if expires.duration_since(issued).unwrap_or_default() > MAX_LIFE {
            return refuse("the token lives too long");
        }
        if self.left.is_some_and(|left| expires.duration_since(now).unwrap_or_default() > left) {
            return refuse("the token still lives too long for a verification without the API server");
        }
        let account = claims.sub.strip_prefix("system:serviceaccount:").unwrap_or_default();
        let Some((namespace, name)) = account.split_once(':').filter(|_| cluster.accounts.contains(account)) else {
            return Err(AttestError::Evidence(format!("account `{account}` is not that of a node agent")));
        };
        let bound = &claims.kubernetes;
        if bound.namespace != namespace || bound.serviceaccount.name != name {
            return refuse("the claims contradict each other");
        }
        let named = [&bound.pod, &bound.node, &bound.serviceaccount];
        if named.iter().any(|one| one.name.is_empty() || one.uid.is_empty()) {
            return refuse("a bound object has no name");
        }
        Ok((namespace, name))
    }
}

/// A time of a claim. A cluster may sign any number; the bound leaves room for leeway.
fn time(seconds: u64) -> Result<SystemTime, AttestError> {
    let time = Some(seconds).filter(|seconds| *seconds < MAX_SECONDS).map(Duration::from_secs);
    let time = time.and_then(|since| SystemTime::UNIX_EPOCH.checked_add(since));
    time.ok_or_else(|| AttestError::Evidence("a claim is no possible time".to_owned()))
}

impl Default for K8sPsat {
    fn default() -> Self {
        Self::new()
    }
}

impl Attestor for K8sPsat {
    fn kind(&self) -> &'static str {
        "k8s_psat"
    }

    fn attest<'a>(&'a self, asked: Asked<'a>, _challenges: &'a mut dyn Challenges) -> Attest<'a> {
        Box::pin(std::future::ready(self.check(asked)))
    }
}

/// The projected service account token of this pod.
#[derive(Clone)]
pub struct K8sPsatEvidence {
    cluster: String,
    token: PathBuf,
}

impl K8sPsatEvidence {
    /// Evidence for the cluster of a name, with the token in a file, which is read anew each time.
    #[must_use]
    pub fn new(cluster: impl Into<String>, token: impl Into<PathBuf>) -> Self {
        Self { cluster: cluster.into(), token: token.into() }
    }

    fn read(&self) -> Result<Vec<u8>, AttestError> {
        let text = file::read(&self.token).map_err(|error| AttestError::Gather(mesh_core::report::chain(&error)))?;
        let text = String::from_utf8(text).map_err(|_| AttestError::Gather("the token is no text".to_owned()))?;
        let payload = Payload { cluster: self.cluster.clone(), token: text.trim().to_owned() };
        serde_json::to_vec(&payload).map_err(|error| AttestError::Gather(error.to_string()))
    }
}

impl Evidence for K8sPsatEvidence {
    fn kind(&self) -> &'static str {
        "k8s_psat"
    }

    fn payload(&self) -> Answer<'_> {
        Box::pin(std::future::ready(self.read()))
    }
}

impl fmt::Debug for K8sPsatEvidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("K8sPsatEvidence").field("cluster", &self.cluster).field("token", &self.token).finish()
    }
}
