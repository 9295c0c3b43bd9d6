use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use mesh_core::live::{Live, Publisher};
use mesh_core::name::SpiffeId;
use mesh_core::report::chain;
use parking_lot::Mutex;
use prost::Message as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

use super::{SERVER_PATH, convert};
use crate::attest::{AttestError, Evidence};
use crate::bundle::{Bundle, BundleSet};
use crate::clock::Clock;
use crate::connect::Connector;
use crate::proto::spire::api::server::agent::v1::agent_client::AgentClient;
use crate::proto::spire::api::server::agent::v1::attest_agent_request::{Params, Step as Asks};
use crate::proto::spire::api::server::agent::v1::attest_agent_response::Step as Tells;
use crate::proto::spire::api::server::agent::v1::{AgentX509svidParams, AttestAgentRequest, RenewAgentRequest};
use crate::proto::spire::api::server::bundle::v1::bundle_client::BundleClient;
use crate::proto::spire::api::server::bundle::v1::{GetBundleRequest, GetFederatedBundleRequest};
use crate::proto::spire::api::server::entry::v1::entry_client::EntryClient;
use crate::proto::spire::api::server::entry::v1::{SyncAuthorizedEntriesRequest, SyncAuthorizedEntriesResponse};
use crate::proto::spire::api::server::svid::v1::svid_client::SvidClient;
use crate::proto::spire::api::server::svid::v1::{BatchNewX509svidRequest, NewJwtsvidRequest, NewX509svidParams};
use crate::proto::spire::api::types;
use crate::proto::spire::api::types::permission_denied_details::Reason;
use crate::registry::{Entries, Entry};
use crate::source::rotate::Schedule;
use crate::source::{self, Fetch, FetchToken, Issued, JwtSource, KeyKind, SvidSource, SvidState, certificate_request};
use crate::svid::X509Svid;
use crate::tls::{self, Identity, server_authenticated_client};
use crate::trust::{Source, TrustStore};
use crate::verify::{self, Audiences, Expected, Purpose};
use crate::{file, svid};

/// Deadline of one call.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Deadline of an attestation.
const ATTESTATION: Duration = Duration::from_secs(30);

/// How often entries and bundles are asked for.
const SYNC: Duration = Duration::from_secs(5);

/// Longest pause after a failure.
const MAX_PAUSE: Duration = Duration::from_secs(60);

/// Entries that are asked for at once.
const PAGE: usize = 500;

/// Largest message that is taken, in bytes.
const MAX_MESSAGE: usize = 16 * 1024 * 1024;

/// How to join a SPIRE server, real or ours.
#[derive(Debug, Clone)]
pub struct Joining {
    /// Host and port of the server.
    pub server: String,
    /// Whom to trust: it must hold the server's trust domain already, from the configuration or from an earlier run. The node
    /// keeps it fresh.
    pub trust: TrustStore,
    /// What proves who this machine is.
    pub evidence: Arc<dyn Evidence>,
    /// The server's trust domain.
    pub trust_domain: mesh_core::name::TrustDomain,
    /// Where to keep the node's SVID over restarts. Without it the node attests at each start, which evidence that counts once
    /// does not survive.
    pub directory: Option<PathBuf>,
    /// Judges certificates.
    pub clock: Arc<dyn Clock>,
}

impl Joining {
    /// Joins: with the SVID of an earlier run, if there is one that still counts, or by attestation.
    ///
    /// # Errors
    /// [`NodeError`].
    ///
    /// # Cancel safety
    /// Not safe: evidence may be used up and its SVID lost.
    pub async fn join(self) -> Result<Node, NodeError> {
        let server = self.trust_domain.to_string() + SERVER_PATH;
        let server = mesh_core::name::parse_spiffe_id(&format!("spiffe://{server}")).map_err(NodeError::Name)?;
        let first = match self.remembered()? {
            Some(svid) => svid,
            None => self.attest(&server).await?,
        };
        tracing::info!(node = %first.id(), server = self.server, "joined");
        let id = first.id().clone();
        let state = SvidState { svid: Some(Arc::new(first)), last_error: None, rotations: 1 };
        let (publisher, live) = Publisher::new(state);
        let identity = Identity::new(id, live, self.trust.bundles(), Arc::clone(&self.clock));
        let (entries, live_entries) = Publisher::new(None);
        let channel =
            Mutex::new(channel(&self.server, identity.client_config(Expected::Ids(vec![server.clone()]), ALPN)?)?);
        let inner = Inner { joining: self, server, identity, svid: publisher, entries, live_entries, channel };
        Ok(Node { inner: Arc::new(inner) })
    }

    fn remembered(&self) -> Result<Option<X509Svid>, NodeError> {
        let Some(path) = self.file() else { return Ok(None) };
        let text = match file::read(&path) {
            Ok(text) => text,
            Err(error) if error.is_not_found() => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        match X509Svid::from_pem(&text) {
            Ok(svid) if self.clock.now() < svid.not_after() && svid.id().is_member_of(&self.trust_domain) => {
                Ok(Some(svid))
            }
            Ok(_) => Ok(None),
            Err(error) => {
                tracing::warn!(path = %path.display(), error = chain(&error), "the node's last SVID cannot be used");
                Ok(None)
            }
        }
    }

    fn file(&self) -> Option<PathBuf> {
        self.directory.as_deref().map(|directory: &Path| directory.join("node-svid.pem"))
    }

    fn remember(&self, svid: &X509Svid) -> Result<(), NodeError> {
        if let (Some(directory), Some(path)) = (&self.directory, self.file()) {
            file::private_directory(directory)?;
            file::replace(&path, svid.to_pem().as_bytes(), file::Mode::Private)?;
        }
        Ok(())
    }

    async fn attest(&self, server: &SpiffeId) -> Result<X509Svid, NodeError> {
        let expected = Expected::Ids(vec![server.clone()]);
        let config = server_authenticated_client(self.trust.bundles(), expected, Arc::clone(&self.clock), ALPN)?;
        let mut client = AgentClient::new(channel(&self.server, config)?);
        let (key, csr) = certificate_request(server, KeyKind::P256).map_err(NodeError::Request)?;
        let exchange = async {
            let payload = self.evidence.payload().await?;
            let data = types::AttestationData { r#type: self.evidence.kind().to_owned(), payload };
            let params = Params { data: Some(data), params: Some(AgentX509svidParams { csr }) };
            let (sender, receiver) = mpsc::channel(1);
            let gone = |_| NodeError::Answer("the server hung up");
            sender.send(AttestAgentRequest { step: Some(Asks::Params(params)) }).await.map_err(gone)?;
            let mut answers = client.attest_agent(ReceiverStream::new(receiver)).await?.into_inner();
            while let Some(answer) = answers.message().await? {
                match answer.step {
                    Some(Tells::Challenge(challenge)) => {
                        let answer = self.evidence.answer(&challenge)?;
                        let step = AttestAgentRequest { step: Some(Asks::ChallengeResponse(answer)) };
                        sender.send(step).await.map_err(gone)?;
                    }
                    Some(Tells::Result(result)) => return Ok(result.svid.unwrap_or_default()),
                    None => break,
                }
            }
            Err(NodeError::Answer("no SVID"))
        };
        let issued = tokio::time::timeout(ATTESTATION, exchange).await.map_err(|_| NodeError::Timeout)??;
        let svid = self.take(&issued, key)?;
        self.remember(&svid)?;
        Ok(svid)
    }

    /// Takes an SVID for the node itself.
    fn take(&self, issued: &types::X509svid, key: PrivateKeyDer<'static>) -> Result<X509Svid, NodeError> {
        let chain = issued.cert_chain.iter().map(|der| CertificateDer::from(der.clone())).collect();
        let svid = X509Svid::parse(chain, key).map_err(NodeError::Svid)?;
        let node = svid.id().path().starts_with("/spire/agent/") && svid.id().is_member_of(&self.trust_domain);
        if !node {
            return Err(NodeError::Answer("an SVID of nobody's node"));
        }
        let now = self.clock.now();
        verify::peer(Some(svid.chain()), &self.trust.bundles().load(), Purpose::Client, now)
            .map_err(NodeError::Verify)?;
        Ok(svid)
    }
}

const ALPN: &[&[u8]] = &[b"h2"];

fn channel(server: &str, config: Arc<rustls::ClientConfig>) -> Result<Channel, NodeError> {
    let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{server}"));
    let endpoint = endpoint.map_err(|_| NodeError::Address(server.to_owned()))?;
    let endpoint = endpoint
        .http2_keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(10))
        .keep_alive_while_idle(true);
    Ok(endpoint.connect_with_connector_lazy(Connector::new(config)))
}

/// A node that joined a SPIRE server: it has an SVID of its own, and knows which identities its workloads may have. Cheap to
/// clone.
///
/// While [`Node::keep`] runs, the SVID is renewed at half of its life, and entries and bundles are asked for every five
/// seconds. When the server is out of reach, all of it stays as it was.
#[derive(Clone)]
pub struct Node {
    inner: Arc<Inner>,
}

struct Inner {
    joining: Joining,
    server: SpiffeId,
    identity: Identity,
    svid: Publisher<SvidState>,
    entries: Publisher<Option<Entries>>,
    live_entries: Live<Option<Entries>>,
    channel: Mutex<Channel>,
}

impl Node {
    /// Who the node is.
    #[must_use]
    pub fn identity(&self) -> &Identity {
        &self.inner.identity
    }

    /// Which identities its workloads may have; `None` before the first answer.
    #[must_use]
    pub fn entries(&self) -> Live<Option<Entries>> {
        self.inner.live_entries.clone()
    }

    /// Whom to trust, as the server says.
    #[must_use]
    pub fn bundles(&self) -> Live<BundleSet> {
        self.inner.joining.trust.bundles()
    }

    /// The identities of its workloads, as a source.
    #[must_use]
    pub fn source(&self) -> SpireSource {
        SpireSource { inner: Arc::clone(&self.inner) }
    }

    /// Asks for entries and bundles once.
    ///
    /// # Errors
    /// [`NodeError`]; what was known stays.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn sync(&self) -> Result<(), NodeError> {
        let inner = &self.inner;
        let entries =
            tokio::time::timeout(ATTESTATION, inner.sync_entries()).await.map_err(|_| NodeError::Timeout)??;
        let own = request(GetBundleRequest { output_mask: None });
        let own = BundleClient::new(inner.channel()).get_bundle(own).await?.into_inner();
        let own = convert::bundle(&own).map_err(NodeError::Bundle)?;
        if *own.trust_domain() != inner.joining.trust_domain {
            return Err(NodeError::Answer("a bundle of another trust domain"));
        }
        // The server proves itself by what its new bundle holds as well, or nobody here could reach it any more.
        inner.joining.trust.own(own);
        let foreign: BTreeSet<_> =
            entries.all().into_iter().flat_map(|entry| entry.federates_with.iter().cloned()).collect();
        for domain in &foreign {
            let asked = GetFederatedBundleRequest { trust_domain: domain.to_string(), output_mask: None };
            match BundleClient::new(inner.channel()).get_federated_bundle(request(asked)).await {
                Ok(answer) => {
                    let bundle = convert::bundle(answer.get_ref()).map_err(NodeError::Bundle)?;
                    if bundle.trust_domain() != domain {
                        return Err(NodeError::Answer("a bundle of another trust domain"));
                    }
                    if let Err(error) = inner.joining.trust.confirm(bundle, Source::Server) {
                        tracing::warn!(error = chain(&error), "a federated bundle is not taken");
                    }
                }
                Err(status) if status.code() == Code::NotFound => {}
                Err(status) => return Err(status.into()),
            }
        }
        let changed = inner.live_entries.load().as_ref() != Some(&entries);
        if changed {
            inner.entries.publish(Some(entries));
        }
        Ok(())
    }

    /// Renews the node's SVID once.
    ///
    /// # Errors
    /// [`NodeError`]; the last SVID stays.
    ///
    /// # Cancel safety
    /// Safe: the server takes the old SVID until the new one is used.
    pub async fn renew(&self) -> Result<(), NodeError> {
        let inner = &self.inner;
        let (key, csr) = certificate_request(&inner.server, KeyKind::P256).map_err(NodeError::Request)?;
        let asked = request(RenewAgentRequest { params: Some(AgentX509svidParams { csr }) });
        let answer = AgentClient::new(inner.channel()).renew_agent(asked).await?.into_inner();
        let svid = inner.joining.take(&answer.svid.unwrap_or_default(), key)?;
        if svid.id() != inner.identity.id() {
            return Err(NodeError::Answer("an SVID of another node"));
        }
        inner.replace(svid)
    }

    /// Keeps the SVID, the entries and the bundles fresh, for ever.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn keep(self) {
        let inner = &self.inner;
        let mut schedule = Schedule::default();
        if let Some(svid) = inner.identity.svid() {
            schedule.handle_issued(svid.not_before(), svid.not_after(), fastrand::f64());
        }
        let mut pause = SYNC;
        loop {
            let now = inner.joining.clock.now();
            if schedule.poll_wait(now).is_zero() {
                match self.renew_or_attest().await {
                    Ok(()) => {
                        if let Some(svid) = inner.identity.svid() {
                            schedule.handle_issued(svid.not_before().max(now), svid.not_after(), fastrand::f64());
                        }
                    }
                    Err(error) => {
                        tracing::warn!(node = %inner.identity.id(), error = chain(&error), "the node's SVID is not renewed");
                        schedule.handle_failure(now);
                    }
                }
            }
            match self.sync().await {
                Ok(()) => pause = SYNC,
                Err(error) => {
                    tracing::warn!(node = %inner.identity.id(), error = chain(&error), "entries and bundles stay as they are");
                    if error.must_attest() {
                        // The renewal finds out what the server wants.
                        schedule = Schedule::default();
                    }
                    pause = (pause * 2).min(MAX_PAUSE);
                }
            }
            let pause = pause.mul_f64(0.9 + 0.2 * fastrand::f64());
            tokio::time::sleep(pause.min(schedule.poll_wait(inner.joining.clock.now()).max(Duration::from_secs(1))))
                .await;
        }
    }

    async fn renew_or_attest(&self) -> Result<(), NodeError> {
        let inner = &self.inner;
        let expired = inner.identity.svid().is_none();
        match if expired { Err(NodeError::Expired) } else { self.renew().await } {
            Err(error) if expired || error.must_attest() => {
                let svid = inner.joining.attest(&inner.server).await?;
                if svid.id() != inner.identity.id() {
                    return Err(NodeError::Answer("an SVID of another node"));
                }
                inner.replace(svid)
            }
            other => other,
        }
    }
}

impl Inner {
    fn channel(&self) -> Channel {
        self.channel.lock().clone()
    }

    /// Puts a new SVID of the node in force. The server knows callers by their certificate, so a new connection is made.
    fn replace(&self, svid: X509Svid) -> Result<(), NodeError> {
        self.joining.remember(&svid)?;
        let rotations = self.identity.state().load().rotations + 1;
        self.svid.publish(SvidState { svid: Some(Arc::new(svid)), last_error: None, rotations });
        let config = self.identity.client_config(Expected::Ids(vec![self.server.clone()]), ALPN)?;
        *self.channel.lock() = channel(&self.joining.server, config)?;
        Ok(())
    }

    /// The entries as they are now: whole, or those that changed.
    async fn sync_entries(&self) -> Result<Entries, NodeError> {
        let known = self.live_entries.snapshot();
        let (sender, receiver) = mpsc::channel(1);
        let gone = |_| NodeError::Answer("the server hung up");
        sender.send(SyncAuthorizedEntriesRequest::default()).await.map_err(gone)?;
        let client = EntryClient::new(self.channel()).max_decoding_message_size(MAX_MESSAGE);
        let answers = { client }.sync_authorized_entries(ReceiverStream::new(receiver)).await?;
        let mut answers = answers.into_inner();
        let mut all: Vec<Entry> = Vec::new();
        let mut wanted = Vec::new();
        loop {
            let answer = answers.message().await?.unwrap_or_default();
            let SyncAuthorizedEntriesResponse { entry_revisions, entries, more } = answer;
            all.extend(read(&entries));
            for revision in entry_revisions {
                match known.as_ref().as_ref().and_then(|known| known.get(&revision.id)) {
                    Some(entry)
                        if entry.revision == revision.revision_number
                            && convert::seconds(entry.created) == revision.created_at =>
                    {
                        all.push(Entry::clone(entry));
                    }
                    _ => wanted.push(revision.id),
                }
            }
            if !more {
                break;
            }
        }
        wanted.sort();
        for page in wanted.chunks(PAGE) {
            let asked = SyncAuthorizedEntriesRequest { output_mask: None, ids: page.to_vec() };
            sender.send(asked).await.map_err(gone)?;
            loop {
                let answer = answers.message().await?.ok_or(NodeError::Answer("entries are missing"))?;
                all.extend(read(&answer.entries));
                if !answer.more {
                    break;
                }
            }
        }
        Ok(all.into_iter().collect())
    }

    fn entry(&self, id: &SpiffeId) -> Result<Arc<Entry>, source::Error> {
        let entries = self.live_entries.load();
        let entry = entries.as_ref().and_then(|entries| entries.of(id));
        entry.cloned().ok_or_else(|| source::Error::NoEntry(id.to_string()))
    }

    fn own_bundle(&self) -> Option<Arc<Bundle>> {
        self.joining.trust.bundles().load().trusted(&self.joining.trust_domain).map(|own| Arc::clone(&own.bundle))
    }

    async fn svid(&self, id: &SpiffeId) -> Result<Issued, source::Error> {
        let entry = self.entry(id)?;
        let (key, csr) = certificate_request(id, KeyKind::P256)
            .map_err(|source| source::Error::Request { id: id.to_string(), source })?;
        let asked = BatchNewX509svidRequest { params: vec![NewX509svidParams { entry_id: entry.id.clone(), csr }] };
        let issuer = |status: Status| source::Error::Issuer { id: id.to_string(), status: Box::new(status) };
        let answer = SvidClient::new(self.channel()).batch_new_x509svid(request(asked)).await.map_err(issuer)?;
        let first = answer.into_inner().results.into_iter().next().unwrap_or_default();
        let verdict = first.status.unwrap_or_default();
        if verdict.code != 0 {
            return Err(issuer(Status::new(Code::from_i32(verdict.code), verdict.message)));
        }
        let malformed = |source| source::Error::Svid { id: id.to_string(), source };
        let certificates = first.svid.unwrap_or_default().cert_chain.into_iter().map(CertificateDer::from).collect();
        let svid = X509Svid::parse(certificates, key).map_err(malformed)?;
        if svid.id() != id {
            return Err(source::Error::OtherIdentity { asked: id.to_string(), got: svid.id().to_string() });
        }
        let bundle = self.own_bundle().ok_or_else(|| source::Error::NoEntry(id.to_string()))?;
        let only = BundleSet::default().with(Arc::clone(&bundle));
        let now = self.joining.clock.now();
        verify::peer(Some(svid.chain()), &only, Purpose::Server, now).map_err(source::Error::Verify)?;
        Ok(Issued { svid, bundle: Bundle::clone(&bundle) })
    }
}

/// Reads entries. One that cannot be read is left out with a line: the others are as good as they were.
fn read(messages: &[types::Entry]) -> Vec<Entry> {
    let read = |message: &types::Entry| match convert::entry(message) {
        Ok(entry) => Some(entry),
        Err(error) => {
            tracing::warn!(entry = message.id, error, "an entry of the server cannot be read");
            None
        }
    };
    messages.iter().filter_map(read).collect()
}

fn request<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(TIMEOUT);
    request
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").field("identity", &self.inner.identity).field("server", &self.inner.server).finish()
    }
}

/// X.509- and JWT-SVIDs for the entries of a node, issued by the server that it joined.
#[derive(Clone)]
pub struct SpireSource {
    inner: Arc<Inner>,
}

impl SvidSource for SpireSource {
    fn fetch<'a>(&'a self, id: &'a SpiffeId) -> Fetch<'a> {
        Box::pin(self.inner.svid(id))
    }
}

impl JwtSource for SpireSource {
    fn fetch_token<'a>(&'a self, id: &'a SpiffeId, audience: &'a [String], _life: Option<Duration>) -> FetchToken<'a> {
        Box::pin(async move {
            let inner = &self.inner;
            let entry = inner.entry(id)?;
            let asked = NewJwtsvidRequest { entry_id: entry.id.clone(), audience: audience.to_vec() };
            let answer = SvidClient::new(inner.channel()).new_jwtsvid(request(asked)).await;
            let issuer = |status: Status| source::Error::Issuer { id: id.to_string(), status: Box::new(status) };
            let token = answer.map_err(issuer)?.into_inner().svid.unwrap_or_default().token;
            let audiences = Audiences::new(audience.iter().cloned()).map_err(source::Error::Jwt)?;
            let own = inner.own_bundle().ok_or_else(|| source::Error::NoEntry(id.to_string()))?;
            let only = BundleSet::default().with(own);
            let now: SystemTime = inner.joining.clock.now();
            let token = verify::jwt(&token, &only, &audiences, now).map_err(source::Error::Jwt)?;
            if token.id() != id {
                return Err(source::Error::OtherIdentity { asked: id.to_string(), got: token.id().to_string() });
            }
            Ok(token)
        })
    }
}

impl fmt::Debug for SpireSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SpireSource").field("node", &self.inner.identity.id().to_string()).finish()
    }
}

/// A node could not join, or not be kept.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NodeError {
    /// The server refused, or could not be reached.
    #[error("the SPIRE server answered {}: {}", status.code(), status.message())]
    Status {
        /// What it answered.
        status: Box<Status>,
    },
    /// Not a host and a port.
    #[error("`{0}` is no host with a port")]
    Address(String),
    /// The evidence could not be gathered, or a challenge not be answered.
    #[error("the evidence of this node")]
    Evidence(#[from] AttestError),
    /// No answer in time.
    #[error("the SPIRE server did not answer in time")]
    Timeout,
    /// The answer makes no sense.
    #[error("the SPIRE server's answer cannot be used: {0}")]
    Answer(&'static str),
    /// The trust domain's name makes no server.
    #[error("the server has no SPIFFE ID")]
    Name(#[source] mesh_core::name::Error),
    /// A key or a request could not be made.
    #[error("cannot make a certificate request")]
    Request(#[source] rcgen::Error),
    /// What was issued is no SVID.
    #[error("what was issued is no SVID")]
    Svid(#[source] svid::Error),
    /// What was issued does not verify.
    #[error("what was issued does not verify against the known bundle")]
    Verify(#[source] verify::Error),
    /// A bundle of the server cannot be used.
    #[error("a bundle of the SPIRE server cannot be used")]
    Bundle(#[source] crate::bundle::Error),
    /// A file could not be read or written.
    #[error("the node's SVID on disk")]
    File(#[from] file::Error),
    /// TLS cannot be set up.
    #[error("TLS to the SPIRE server")]
    Tls(#[from] tls::Error),
    /// The node's SVID has expired.
    #[error("the node's SVID has expired")]
    Expired,
}

impl From<Status> for NodeError {
    fn from(status: Status) -> Self {
        Self::Status { status: Box::new(status) }
    }
}

impl NodeError {
    /// Why the server does not take this node any more, if it said so.
    fn reason(&self) -> Option<Reason> {
        let Self::Status { status } = self else { return None };
        let details = envoy_types::pb::google::rpc::Status::decode(status.details()).ok()?;
        let one =
            details.details.iter().find(|one| one.type_url.ends_with("/spire.api.types.PermissionDeniedDetails"))?;
        let details = types::PermissionDeniedDetails::decode(&*one.value).ok()?;
        Reason::try_from(details.reason).ok()
    }

    /// Whether only a new attestation helps.
    fn must_attest(&self) -> bool {
        matches!(
            self.reason(),
            Some(Reason::AgentExpired | Reason::AgentNotAttested | Reason::AgentNotActive | Reason::AgentMustReattest)
        )
    }
}
