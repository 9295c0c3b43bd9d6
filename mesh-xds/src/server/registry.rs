use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, OnceLock};

use parking_lot::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tonic::Status;

use super::cache::{Cache, Snapshot};
use super::ledger::Progress;
use super::told::Told;
use crate::pb::Node;

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
        let peer = Arc::new(Peer { client, end: CancellationToken::new(), served: OnceLock::new() });
        streams.peers.insert(number, Arc::clone(&peer));
        Ok(Registered { registry: Arc::clone(self), number, peer })
    }

    pub(super) fn len(&self) -> usize {
        self.0.lock().peers.len()
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

impl Peer {
    pub(super) fn status(&self) -> ClientStatus {
        let mut status = ClientStatus { client: self.client.clone(), ..ClientStatus::default() };
        if let Some(served) = self.served.get() {
            status.node.clone_from(&served.node.id);
            status.types = served.machine.lock().progress();
        }
        status
    }
}
