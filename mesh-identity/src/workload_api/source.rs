use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use mesh_core::live::{Live, Publisher};
use mesh_core::name::{SpiffeId, TrustDomain, parse_spiffe_id, parse_trust_domain};
use mesh_core::report::chain;
use parking_lot::Mutex;
use rustls_pki_types::PrivatePkcs8KeyDer;
use tonic::Code;

use super::client::{Client, ClientError};
use crate::bundle::{Bundle, BundleSet, JwtAuthority, Revocations, Trusted};
use crate::clock::Clock;
use crate::proto::workload::X509svidResponse;
use crate::source::{Error, Fetch, FetchToken, Issued, JwtSource, SvidSource, SvidState};
use crate::svid::{self, JwtSvid, X509Svid};
use crate::task::Tasks;
use crate::tls::{Cause, Identity};
use crate::verify::{self, Purpose};

/// Longest hint that is taken, in bytes (SPIFFE Workload API section 5.2.1).
const MAX_HINT: usize = 1024;

const BACKOFF_START: Duration = Duration::from_secs(1);
const BACKOFF_CAP: Duration = Duration::from_secs(30);

/// One message of a Workload API, checked whole: half an update is worse than none.
#[derive(Debug, Clone)]
pub struct Message {
    /// The SVIDs with their hints; the first is the default.
    pub svids: Vec<(String, Arc<X509Svid>)>,
    /// Own and federated X.509 authorities, with revocation lists.
    pub bundles: BundleSet,
}

impl Message {
    pub(super) fn check(message: X509svidResponse, now: SystemTime) -> Result<Self, ClientError> {
        let mut bundles: Vec<Bundle> = Vec::new();
        let mut svids = Vec::new();
        let mut hints = BTreeSet::new();
        if message.svids.is_empty() {
            return Err(ClientError::Empty("svids"));
        }
        let read_bundle = |domain: &TrustDomain, der: &[u8]| {
            Bundle::from_der(domain.clone(), der)
                .map_err(|source| ClientError::Bundle { trust_domain: domain.to_string(), source })
        };
        for svid in message.svids {
            for (field, empty) in [
                ("spiffe_id", svid.spiffe_id.is_empty()),
                ("x509_svid", svid.x509_svid.is_empty()),
                ("x509_svid_key", svid.x509_svid_key.is_empty()),
                ("bundle", svid.bundle.is_empty()),
            ] {
                if empty {
                    return Err(ClientError::Empty(field));
                }
            }
            let id = parse_spiffe_id(&svid.spiffe_id).map_err(ClientError::Name)?;
            let unusable = |source| ClientError::Svid { id: id.to_string(), source };
            let chain = svid::split(&svid.x509_svid).ok_or_else(|| unusable(svid::Error::Malformed("not DER")))?;
            let key = PrivatePkcs8KeyDer::from(svid.x509_svid_key);
            let own = X509Svid::parse(chain, key.into()).map_err(unusable)?;
            if *own.id() != id {
                return Err(ClientError::OtherIdentity { said: id.to_string(), certified: own.id().to_string() });
            }
            let bundle = read_bundle(id.trust_domain(), &svid.bundle)?;
            let only = BundleSet::default().with(bundle.clone());
            verify::peer(Some(own.chain()), &only, Purpose::Server, now).map_err(ClientError::Verify)?;
            match bundles.iter().find(|known| known.trust_domain() == bundle.trust_domain()) {
                Some(known) if !known.is_same_trust(&bundle) => {
                    return Err(ClientError::Twice(bundle.trust_domain().to_string()));
                }
                Some(_) => {}
                None => bundles.push(bundle),
            }
            // Of two with one hint the first counts.
            if svid.hint.len() <= MAX_HINT && (svid.hint.is_empty() || hints.insert(svid.hint.clone())) {
                svids.push((svid.hint, Arc::new(own)));
            }
        }
        for (key, der) in &message.federated_bundles {
            let domain = map_key(key)?;
            if bundles.iter().any(|known| *known.trust_domain() == domain) {
                return Err(ClientError::Twice(domain.to_string()));
            }
            // A bundle without authorities trusts nobody, as does none.
            if !der.is_empty() {
                bundles.push(read_bundle(&domain, der)?);
            }
        }
        let mut lists = Revocations::default();
        for list in &message.crl {
            lists = lists.union(&Revocations::parse(list).map_err(ClientError::Revocation)?);
        }
        let bundles = bundles.into_iter().collect::<BundleSet>().with_revocations(lists);
        if svids.is_empty() {
            return Err(ClientError::Empty("svids"));
        }
        Ok(Self { svids, bundles })
    }
}

/// A trust domain as the key of a map: as a SPIFFE ID, by the document; bare, as some servers write it.
fn map_key(text: &str) -> Result<TrustDomain, ClientError> {
    parse_trust_domain(text.strip_prefix("spiffe://").unwrap_or(text)).map_err(ClientError::Name)
}

/// What is known now.
#[derive(Debug, Clone, Default)]
pub struct WorkloadContext {
    /// The SVIDs with their hints; the first is the default. Empty before the first message, and after the server said that
    /// this process has none any more.
    pub svids: Vec<(String, Arc<X509Svid>)>,
    /// Why the last attempt failed; `None` after a success.
    pub last_error: Option<Arc<ClientError>>,
}

/// Follows a Workload API: the SVIDs of this process, and whom it verifies. Loss of the server is no loss of what it gave:
/// that counts to its end. Only when the server says that there is no identity is it dropped.
#[derive(Clone)]
pub struct WorkloadSource {
    client: Client,
    context: Live<WorkloadContext>,
    svid: Live<SvidState>,
    bundles: Live<BundleSet>,
    clock: Arc<dyn Clock>,
    tasks: Tasks,
}

impl WorkloadSource {
    pub(super) fn start(client: Client, clock: Arc<dyn Clock>) -> Self {
        let (contexts, context) = Publisher::new(WorkloadContext::default());
        let (svids, svid) = Publisher::new(SvidState::default());
        let (sets, bundles) = Publisher::new(BundleSet::default());
        let tasks = Tasks::default();
        let trust = Arc::new(Trust { x509: Mutex::default(), jwt: Mutex::default(), sets });
        let follower =
            Follower { client: client.clone(), clock: Arc::clone(&clock), contexts, svids, trust: Arc::clone(&trust) };
        tasks.spawn(follower.run());
        tasks.spawn(follow_tokens(client.clone(), trust));
        Self { client, context, svid, bundles, clock, tasks }
    }

    /// The default identity, with an SVID. Waits for the first one, also while the server says that there is none: who may
    /// have what is often told to a node only after the process has started.
    ///
    /// # Errors
    /// What the server says, when it makes no sense to wait.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn identity(&self) -> Result<Identity, Arc<ClientError>> {
        self.first(|error| error.is_final()).await
    }

    /// Waits for the first SVID, or for an error that ends the waiting.
    async fn first(&self, ends: impl Fn(&ClientError) -> bool) -> Result<Identity, Arc<ClientError>> {
        let mut changes = self.context.changes();
        loop {
            let context = changes.current();
            if let Some((_, svid)) = context.svids.first() {
                let clock = Arc::clone(&self.clock);
                return Ok(Identity::new(svid.id().clone(), self.svid.clone(), self.bundles.clone(), clock));
            }
            if let Some(error) = context.last_error.as_ref().filter(|error| ends(error)) {
                return Err(Arc::clone(error));
            }
            if changes.changed().await.is_err() {
                return Err(Arc::new(ClientError::Empty("svids")));
            }
        }
    }

    /// All SVIDs, as they change.
    #[must_use]
    pub fn context(&self) -> Live<WorkloadContext> {
        self.context.clone()
    }

    /// Whom this process verifies, by certificates and by tokens, as it changes.
    #[must_use]
    pub fn bundles(&self) -> Live<BundleSet> {
        self.bundles.clone()
    }

    /// A token of this process for an audience.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn jwt(&self, audience: &[String], id: Option<&SpiffeId>) -> Result<JwtSvid, ClientError> {
        self.client.jwt(audience, id, &self.bundles.load(), &*self.clock).await
    }

    /// Ends following.
    ///
    /// # Cancel safety
    /// Safe to call again.
    pub async fn shutdown(&self) {
        self.tasks.stop().await;
    }
}

impl SvidSource for WorkloadSource {
    /// The newest SVID that the server gave, whenever that was: it renews by itself.
    fn fetch<'a>(&'a self, id: &'a SpiffeId) -> Fetch<'a> {
        Box::pin(async move {
            self.first(|_| true).await.map_err(|error| Error::Other(error))?;
            let context = self.context.snapshot();
            let svid = context.svids.iter().map(|(_, svid)| svid).find(|svid| svid.id() == id);
            let given = || Error::NotGiven(id.to_string());
            let (svid, bundle) = (
                svid.ok_or_else(given)?,
                self.bundles.load().get(id.trust_domain()).map(|bundle| Bundle::clone(bundle)),
            );
            let svid = X509Svid::parse(svid.chain().to_vec(), svid.key().clone_key())
                .map_err(|source| Error::Svid { id: id.to_string(), source })?;
            Ok(Issued { svid, bundle: bundle.ok_or_else(given)? })
        })
    }
}

impl JwtSource for WorkloadSource {
    fn fetch_token<'a>(&'a self, id: &'a SpiffeId, audience: &'a [String], _life: Option<Duration>) -> FetchToken<'a> {
        Box::pin(async move { self.jwt(audience, Some(id)).await.map_err(|error| Error::Other(Arc::new(error))) })
    }
}

/// X.509 and JWT authorities come over two streams and make one set.
struct Trust {
    x509: Mutex<BundleSet>,
    jwt: Mutex<Vec<(TrustDomain, Vec<JwtAuthority>)>>,
    sets: Publisher<BundleSet>,
}

impl Trust {
    fn publish(&self) {
        let (x509, jwt) = (self.x509.lock(), self.jwt.lock());
        let of = |domain: &TrustDomain| jwt.iter().find(|(known, _)| known == domain).map(|(_, keys)| keys.clone());
        let both = x509.iter().map(|bundle| {
            let keys = of(bundle.trust_domain()).unwrap_or_default();
            Trusted::new(Bundle::clone(bundle).with_jwt_authorities(keys))
        });
        let alone = jwt.iter().filter(|(domain, _)| x509.get(domain).is_none());
        let alone = alone.map(|(domain, keys)| Trusted::new(Bundle::of(domain.clone(), Vec::new(), keys.clone())));
        let all = BundleSet::default().with_all(both.chain(alone));
        self.sets.publish(all.with_revocations(x509.revocations().clone()));
    }
}

struct Follower {
    client: Client,
    clock: Arc<dyn Clock>,
    contexts: Publisher<WorkloadContext>,
    svids: Publisher<SvidState>,
    trust: Arc<Trust>,
}

impl Follower {
    async fn run(self) {
        let mut backoff = BACKOFF_START;
        loop {
            match self.follow(&mut backoff).await {
                Some(error) if error.is_final() => {
                    tracing::error!(error = chain(&error), "the Workload API will not serve this process");
                    self.failed(error);
                    return;
                }
                Some(error) => {
                    tracing::warn!(error = chain(&error), "the Workload API is lost; what it gave counts to its end");
                    if error.code() == Some(Code::PermissionDenied) {
                        self.withdraw();
                    }
                    self.failed(error);
                }
                None => tracing::info!("the Workload API ended the stream; asking again"),
            }
            tokio::time::sleep(backoff.mul_f64(0.8 + 0.4 * fastrand::f64())).await;
            backoff = (backoff * 2).min(BACKOFF_CAP);
        }
    }

    /// Follows one stream to its end.
    async fn follow(&self, backoff: &mut Duration) -> Option<ClientError> {
        let mut stream = match self.client.x509().await {
            Ok(stream) => stream,
            Err(error) => return Some(error),
        };
        loop {
            match stream.next(&*self.clock).await? {
                Ok(message) => {
                    *backoff = BACKOFF_START;
                    self.accept(message);
                }
                Err(error @ ClientError::Status { .. }) => return Some(error),
                Err(error) => {
                    tracing::warn!(
                        error = chain(&error),
                        "a message of the Workload API is not taken; the last one counts"
                    );
                    self.failed(error);
                }
            }
        }
    }

    fn accept(&self, message: Message) {
        *self.trust.x509.lock() = message.bundles;
        self.trust.publish();
        if let Some((_, svid)) = message.svids.first() {
            let before = self.svids.live().snapshot();
            let renewed = before.svid.as_ref().is_none_or(|known| known.serial() != svid.serial());
            if renewed {
                tracing::info!(identity = %svid.id(), serial = svid.serial(), "SVID from the Workload API");
            }
            let rotations = before.rotations + u64::from(renewed);
            self.svids.publish(SvidState { svid: Some(Arc::clone(svid)), last_error: None, rotations });
        }
        self.contexts.publish(WorkloadContext { svids: message.svids, last_error: None });
    }

    fn failed(&self, error: ClientError) {
        let error = Arc::new(error);
        let before = self.contexts.live().snapshot();
        self.contexts.publish(WorkloadContext { last_error: Some(error), ..WorkloadContext::clone(&before) });
    }

    /// The server says that this process has no identity: what it had is not presented any more.
    fn withdraw(&self) {
        let before = self.svids.live().snapshot();
        let last_error: Option<Cause> = Some(Arc::new(Error::Withdrawn));
        self.svids.publish(SvidState { svid: None, last_error, rotations: before.rotations });
        self.contexts.publish(WorkloadContext::default());
    }
}

async fn follow_tokens(client: Client, trust: Arc<Trust>) {
    let mut backoff = BACKOFF_START;
    loop {
        let failed = match client.jwt_bundles().await {
            Err(error) => Some(error),
            Ok(mut stream) => loop {
                match stream.message().await {
                    Ok(Some(message)) => match read_tokens(&message.bundles) {
                        Ok(keys) => {
                            backoff = BACKOFF_START;
                            *trust.jwt.lock() = keys;
                            trust.publish();
                        }
                        Err(error) => tracing::warn!(error = chain(&error), "a message of JWT bundles is not taken"),
                    },
                    Ok(None) => break None,
                    Err(status) => break Some(ClientError::from(status)),
                }
            },
        };
        if let Some(error) = failed {
            if error.is_final() {
                tracing::info!(error = chain(&error), "no JWT bundles from the Workload API");
                return;
            }
            if error.code() == Some(Code::PermissionDenied) {
                trust.jwt.lock().clear();
                trust.publish();
            }
        }
        tokio::time::sleep(backoff.mul_f64(0.8 + 0.4 * fastrand::f64())).await;
        backoff = (backoff * 2).min(BACKOFF_CAP);
    }
}

type Keys = Vec<(TrustDomain, Vec<JwtAuthority>)>;

fn read_tokens(bundles: &std::collections::BTreeMap<String, Vec<u8>>) -> Result<Keys, ClientError> {
    let mut all: Keys = Vec::new();
    for (key, text) in bundles {
        let domain = map_key(key)?;
        if all.iter().any(|(known, _)| *known == domain) {
            return Err(ClientError::Twice(domain.to_string()));
        }
        let read = Bundle::from_jwks(domain.clone(), text)
            .map_err(|source| ClientError::JwtBundle { trust_domain: domain.to_string(), source })?;
        all.push((domain, read.bundle.jwt_authorities().to_vec()));
    }
    Ok(all)
}

impl fmt::Debug for WorkloadSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkloadSource").field("context", &self.context).finish_non_exhaustive()
    }
}
