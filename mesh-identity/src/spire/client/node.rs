use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use mesh_core::live::{Live, Publisher};
use mesh_core::name::SpiffeId;
use mesh_core::report::chain;
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Code, Request};

use super::join::{Joining, channel};
use super::{ALPN, NodeError};
use crate::bundle::{self, BundleSet};
use crate::proto::spire::api::server::agent::v1::agent_client::AgentClient;
use crate::proto::spire::api::server::agent::v1::{AgentX509svidParams, RenewAgentRequest};
use crate::proto::spire::api::server::bundle::v1::bundle_client::BundleClient;
use crate::proto::spire::api::server::bundle::v1::{GetBundleRequest, GetFederatedBundleRequest};
use crate::proto::spire::api::server::entry::v1::entry_client::EntryClient;
use crate::proto::spire::api::server::entry::v1::{SyncAuthorizedEntriesRequest, SyncAuthorizedEntriesResponse};
use crate::proto::spire::api::types;
use crate::registry::{Entries, Entry};
use crate::source::SvidState;
use crate::source::rotate::Schedule;
use crate::spire::{SERVER_PATH, convert};
use crate::svid::{KeyKind, X509Svid, certificate_request};
use crate::tls::Identity;
use crate::trust::Source;
use crate::verify::Expected;

/// Deadline of one call.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Deadline of all entries.
const ENTRIES: Duration = Duration::from_secs(30);

/// How often entries and bundles are asked for.
const SYNC: Duration = Duration::from_secs(5);

/// Longest pause after a failure.
const MAX_PAUSE: Duration = Duration::from_secs(60);

/// Entries that are asked for at once.
const PAGE: usize = 500;

/// Largest message that is taken, in bytes.
const MAX_MESSAGE: usize = 16 * 1024 * 1024;

/// A node that joined a SPIRE server: it has an SVID of its own, and knows which identities its workloads may have. Cheap to
/// clone.
///
/// While [`Node::keep`] runs, the SVID is renewed at half of its life, and entries and bundles are asked for every five
/// seconds. When the server is out of reach, all of it stays as it was.
#[derive(Clone)]
pub struct Node {
    pub(super) inner: Arc<Inner>,
}

pub(super) struct Inner {
    pub(super) joining: Joining,
    server: SpiffeId,
    pub(super) identity: Identity,
    svid: Publisher<SvidState>,
    entries: Publisher<Option<Entries>>,
    pub(super) live_entries: Live<Option<Entries>>,
    channel: Mutex<Channel>,
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
        Node::begin(self, server, first)
    }
}

impl Node {
    /// A node with its first SVID.
    fn begin(joining: Joining, server: SpiffeId, first: X509Svid) -> Result<Self, NodeError> {
        let id = first.id().clone();
        let state = SvidState { svid: Some(Arc::new(first)), last_error: None, rotations: 1 };
        let (publisher, live) = Publisher::new(state);
        let identity = Identity::new(id, live, joining.trust.bundles(), Arc::clone(&joining.clock));
        let (entries, live_entries) = Publisher::new(None);
        let config = identity.client_config(Expected::Ids(vec![server.clone()]), ALPN)?;
        let channel = Mutex::new(channel(&joining.server, config)?);
        let inner = Inner { joining, server, identity, svid: publisher, entries, live_entries, channel };
        Ok(Self { inner: Arc::new(inner) })
    }

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

    /// Asks for entries and bundles once.
    ///
    /// # Errors
    /// [`NodeError`]; what was known stays.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn sync(&self) -> Result<(), NodeError> {
        let inner = &self.inner;
        let entries = tokio::time::timeout(ENTRIES, inner.sync_entries()).await.map_err(|_| NodeError::Timeout)??;
        let own = request(GetBundleRequest { output_mask: None });
        let own = BundleClient::new(inner.channel()).get_bundle(own).await?.into_inner();
        let own = convert::bundle(&own).map_err(|_| NodeError::Answer("a bundle of no trust domain"))?;
        if *own.trust_domain() != inner.joining.trust_domain {
            return Err(NodeError::Answer("a bundle of another trust domain"));
        }
        if own.authorities().is_empty() {
            return Err(NodeError::Bundle(bundle::Error::Empty(own.trust_domain().to_string())));
        }
        let trust = &inner.joining.trust;
        trust.own(own);
        let federated: BTreeSet<_> =
            entries.all().into_iter().flat_map(|entry| entry.federates_with.iter().cloned()).collect();
        let mut foreign = Vec::with_capacity(federated.len());
        for domain in &federated {
            let asked = GetFederatedBundleRequest { trust_domain: domain.to_string(), output_mask: None };
            match BundleClient::new(inner.channel()).get_federated_bundle(request(asked)).await {
                Ok(answer) => match convert::bundle(answer.get_ref()) {
                    Ok(bundle) if bundle.trust_domain() == domain => foreign.push(Arc::new(bundle)),
                    // The others are as good as they were.
                    _ => {
                        tracing::warn!(trust_domain = %domain, "the server answers with a bundle of another trust domain")
                    }
                },
                // The server does not trust it, or not any more.
                Err(status) if status.code() == Code::NotFound => trust.withdraw(domain, Source::Server),
                Err(status) => return Err(status.into()),
            }
        }
        for outcome in trust.confirm_all(foreign, Source::Server) {
            if let Err(error) = outcome {
                tracing::warn!(error = chain(&error), "a federated bundle is not taken");
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
    pub(super) fn channel(&self) -> Channel {
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
            let answer = answers.message().await?.ok_or(NodeError::Answer("entries are missing"))?;
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

pub(super) fn request<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(TIMEOUT);
    request
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node").field("identity", &self.inner.identity).field("server", &self.inner.server).finish()
    }
}
