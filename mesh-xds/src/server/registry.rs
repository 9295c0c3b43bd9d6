use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::cache::{Cache, Entry, Snapshot};
use super::ledger::Progress;
use super::publication::Follower;
use super::told::{self, Told};
use crate::pb::{Kind, Node, UserAgentVersionType};

/// What a client is and how far it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ClientStatus {
    /// By whom it was admitted as.
    pub client: String,
    /// The node id that it gives itself; empty before its first request.
    pub node: String,
    /// How far it is with each type.
    pub types: BTreeMap<String, Progress>,
    /// What tells its stream from others of this service.
    pub stream: u64,
    /// What it says to be built of, such as `envoy`; empty where it does not say.
    pub agent: String,
    /// The version that it says to be of: Istio's of its metadata (`ISTIO_VERSION`), else that of what it is built of. Empty
    /// where it says none.
    pub version: String,
    /// For how long it has been served.
    pub age: Duration,
    /// For how long there has been a publication that it has not answered all of; `None`: it has answered all.
    pub behind: Option<Duration>,
}

/// How one resource stands with one client.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Holding<'a> {
    /// Its type.
    pub type_url: &'a str,
    /// Its name.
    pub name: &'a str,
    /// As it is now, as far as the client may see it; `None`: there is none, or not any more.
    pub entry: Option<&'a Entry>,
    /// In a word.
    pub standing: Standing,
    /// The version that the client was sent last.
    pub sent: Option<&'a str>,
    /// The version that it accepted last.
    pub accepted: Option<&'a str>,
    /// What it said against the one that it was sent last.
    pub reason: Option<Arc<str>>,
}

/// How a resource stands with a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Standing {
    /// The client accepted what is there.
    Synced,
    /// It was not sent what is there, or there is nothing to send.
    NotSent,
    /// It was sent what is there and has not answered.
    Stale,
    /// It rejected the answer in which what is there was.
    Rejected,
}

/// The machine of a stream, as others see it.
pub(super) trait Inspect: Send {
    fn progress(&self) -> BTreeMap<String, Progress>;
    fn visit(&self, snapshot: &Snapshot, visit: &mut dyn FnMut(Told<'_>));
}

/// One open stream. Its machine is shared with it and asked when somebody wants to know, so that to be seen costs a stream
/// nothing but a lock that is free.
pub(super) struct Peer {
    pub(super) client: String,
    number: u64,
    /// Ends the stream.
    pub(super) end: CancellationToken,
    /// What came of its first request.
    pub(super) served: OnceLock<Served>,
}

pub(super) struct Served {
    pub(super) node: Node,
    pub(super) cache: Cache,
    pub(super) machine: Arc<Mutex<dyn Inspect>>,
    pub(super) since: Instant,
    pub(super) follower: Arc<Follower>,
}

/// All open streams.
#[derive(Default)]
pub(super) struct Registry(Mutex<Streams>);

#[derive(Default)]
struct Streams {
    next: u64,
    peers: BTreeMap<u64, Arc<Peer>>,
    by_client: HashMap<String, usize>,
}

/// Keeps a stream in the registry.
pub(super) struct Registered {
    registry: Arc<Registry>,
    number: u64,
    peer: Arc<Peer>,
}

impl Registry {
    /// Takes up a stream, unless its client has as many as it may.
    pub(super) fn open(self: &Arc<Self>, client: String, most: Option<usize>) -> Result<Registered, Status> {
        let mut streams = self.0.lock();
        let count = streams.by_client.entry(client.clone()).or_default();
        if most.is_some_and(|most| *count >= most) {
            return Err(Status::resource_exhausted(format!("the client has {count} streams open already")));
        }
        *count += 1;
        let number = streams.next;
        streams.next += 1;
        let peer = Arc::new(Peer { client, number, end: CancellationToken::new(), served: OnceLock::new() });
        streams.peers.insert(number, Arc::clone(&peer));
        Ok(Registered { registry: Arc::clone(self), number, peer })
    }

    pub(super) fn len(&self) -> usize {
        self.0.lock().peers.len()
    }

    pub(super) fn peer(&self, number: u64) -> Option<Arc<Peer>> {
        self.0.lock().peers.get(&number).cloned()
    }

    pub(super) fn peers(&self) -> Vec<Arc<Peer>> {
        self.0.lock().peers.values().cloned().collect()
    }
}

impl Registered {
    pub(super) fn peer(&self) -> &Peer {
        &self.peer
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        let mut streams = self.registry.0.lock();
        streams.peers.remove(&self.number);
        if let Some(count) = streams.by_client.get_mut(&self.peer.client) {
            *count -= 1;
            if *count == 0 {
                streams.by_client.remove(&self.peer.client);
            }
        }
    }
}

/// The version that a node says to be of.
fn version(node: &Node) -> String {
    let istio = node.metadata.as_ref().and_then(|metadata| metadata.fields.get("ISTIO_VERSION")?.kind.as_ref());
    match (istio, &node.user_agent_version_type) {
        (Some(Kind::StringValue(version)), _) if !version.is_empty() => version.clone(),
        (_, Some(UserAgentVersionType::UserAgentVersion(version))) => version.clone(),
        (_, Some(UserAgentVersionType::UserAgentBuildVersion(build))) => {
            let number = build.version.as_ref();
            number.map(|one| format!("{}.{}.{}", one.major_number, one.minor_number, one.patch)).unwrap_or_default()
        }
        _ => String::new(),
    }
}

impl Peer {
    pub(super) fn status(&self) -> ClientStatus {
        let mut status = ClientStatus { client: self.client.clone(), stream: self.number, ..ClientStatus::default() };
        if let Some(served) = self.served.get() {
            let now = Instant::now();
            status.agent.clone_from(&served.node.user_agent_name);
            status.version = version(&served.node);
            status.age = now.saturating_duration_since(served.since);
            status.behind = served.follower.behind_since().map(|since| now.saturating_duration_since(since));
            status.node.clone_from(&served.node.id);
            status.types = served.machine.lock().progress();
        }
        status
    }

    pub(super) fn visit(&self, visit: &mut dyn FnMut(Holding<'_>)) -> bool {
        let Some(served) = self.served.get() else { return false };
        let snapshot = served.cache.live().snapshot();
        served.machine.lock().visit(&snapshot, &mut |told| visit(Holding::from(told)));
        true
    }
}

impl<'a> From<Told<'a>> for Holding<'a> {
    fn from(told: Told<'a>) -> Self {
        let Told { type_url, name, entry, status, sent, accepted, at: _, rejection } = told;
        let standing = match status {
            told::Status::Synced => Standing::Synced,
            told::Status::NotSent => Standing::NotSent,
            told::Status::Stale => Standing::Stale,
            told::Status::Error => Standing::Rejected,
        };
        let (sent, accepted) = (sent.map(AsRef::as_ref), accepted.map(AsRef::as_ref));
        Self { type_url, name, entry, standing, sent, accepted, reason: rejection.map(|rejection| rejection.reason) }
    }
}
