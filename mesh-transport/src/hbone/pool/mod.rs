//! The pool: HBONE connections shared by all tunnels with one source identity, one destination and one set of expected
//! identities. Nothing is shared between identities.
//!
//! A connection carries as many streams as the peer allows, at most 100; when all are full a further one is dialled, and a
//! full one is used again when streams end. Whoever waits joins a dial that is under way. Connections that failed, were
//! told to go away, or were made with a certificate that has since been renewed take no new streams; open streams go on.

mod connection;
mod dial;

use std::collections::HashMap;
use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use mesh_core::name::SpiffeId;
use mesh_core::resolve::Destination;
use mesh_identity::bundle::BundleSet;
use mesh_identity::task::Tasks;
use mesh_identity::tls::Identity;
use mesh_identity::verify::Expected;
use parking_lot::Mutex;
use rustls::pki_types::CertificateDer;
use tokio::sync::watch;

use super::client::{may_retry, within};
use super::limits::{CLIENT_STREAMS, IDLE_TIMEOUT, RESPONSE_TIMEOUT};
use super::{ConnectHeaders, Error, HboneStream};
use crate::socket::Sockets;
use connection::Pooled;
pub use connection::Slot;
pub use dial::{Dial, Dialed, Drive, TlsDialer};

/// To whom a connection is made, and as whom.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Key {
    /// Our own identity.
    pub source: SpiffeId,
    /// Who may be at the other end.
    pub expected: Expected,
    /// Address and port of the other end.
    pub to: SocketAddr,
}

/// A tunnel out of the pool.
#[derive(Debug)]
pub struct Tunnelled {
    /// The bytes.
    pub stream: HboneStream,
    /// Headers of the answer.
    pub headers: HeaderMap,
    /// Who is at the other end, verified.
    pub peer: SpiffeId,
    /// The certificates by which it was verified.
    pub chain: Arc<[CertificateDer<'static>]>,
    /// Keeps the stream's place on its connection; dropped with the stream's end.
    pub slot: Slot,
}

/// Pooled HBONE connections. Cheap to clone.
#[derive(Clone)]
pub struct Pool {
    inner: Arc<Inner>,
}

struct Inner {
    dialer: Arc<dyn Dial>,
    shards: Mutex<HashMap<Key, Shard>>,
    tasks: Tasks,
    idle: Duration,
}

#[derive(Default)]
struct Shard {
    connections: Vec<Arc<Pooled>>,
    dials: Vec<Pending>,
}

/// A dial under way and how many wait for it.
struct Pending {
    number: u64,
    waiting: usize,
    outcome: watch::Receiver<Option<Result<(), Arc<Error>>>>,
}

impl Pool {
    /// A pool that dials over TCP and TLS.
    #[must_use]
    pub fn new() -> Self {
        Self::with_sockets(Sockets::new())
    }

    /// A pool that dials over TCP and TLS with these sockets.
    #[must_use]
    pub fn with_sockets(sockets: Sockets) -> Self {
        Self::with_dialer(Arc::new(TlsDialer::new(sockets)), IDLE_TIMEOUT)
    }

    /// A pool over another dialler. Connections without streams are released after `idle`.
    #[must_use]
    pub fn with_dialer(dialer: Arc<dyn Dial>, idle: Duration) -> Self {
        Self { inner: Arc::new(Inner { dialer, shards: Mutex::default(), tasks: Tasks::default(), idle }) }
    }

    /// Opens a tunnel as `identity`.
    ///
    /// A connection that went away before it could have acted on the request is replaced once; no byte of the application
    /// is sent before the answer, so that repeating is safe.
    ///
    /// # Errors
    /// [`Error`], shared when several waited for one dial.
    ///
    /// # Cancel safety
    /// Safe: a stream that is not handed out is reset; a dial goes on for others.
    pub async fn connect(
        &self,
        identity: &Identity,
        key: Key,
        authority: &Destination,
        headers: &ConnectHeaders,
    ) -> Result<Tunnelled, Arc<Error>> {
        let mut retried = false;
        loop {
            let slot = self.slot(identity, &key).await?;
            let answer = within(RESPONSE_TIMEOUT, key.to, "CONNECT request", slot.client().connect(authority, headers));
            let error = match answer.await.and_then(|answer| answer) {
                Ok((stream, headers)) => {
                    return Ok(Tunnelled {
                        stream,
                        headers,
                        peer: slot.peer().clone(),
                        chain: Arc::clone(slot.chain()),
                        slot,
                    });
                }
                Err(error) => error,
            };
            if !may_retry(&error) {
                return Err(Arc::new(error));
            }
            slot.discard();
            if std::mem::replace(&mut retried, true) {
                return Err(Arc::new(error));
            }
        }
    }

    /// How many connections there are, and how many streams on them: for dumps and tests.
    #[must_use]
    pub fn usage(&self) -> (usize, usize) {
        let shards = self.inner.shards.lock();
        let connections = || shards.values().flat_map(|shard| &shard.connections).filter(|pooled| !pooled.is_closed());
        (connections().count(), connections().map(|pooled| pooled.streams()).sum())
    }

    /// Closes all connections and refuses new ones.
    ///
    /// # Cancel safety
    /// Safe to call again.
    pub async fn shutdown(&self) {
        self.inner.tasks.stop().await;
        self.inner.shards.lock().clear();
    }

    /// A place on a connection: on one that has room, or on one that is dialled.
    async fn slot(&self, identity: &Identity, key: &Key) -> Result<Slot, Arc<Error>> {
        loop {
            let mut outcome = {
                let mut shards = self.inner.shards.lock();
                let shard = shards.entry(key.clone()).or_default();
                if let Some(slot) = shard.take(identity) {
                    return Ok(slot);
                }
                if self.inner.tasks.is_stopped() {
                    return Err(Arc::new(Error::Closed));
                }
                match shard.dials.iter_mut().find(|dial| dial.waiting < CLIENT_STREAMS) {
                    Some(dial) => {
                        dial.waiting += 1;
                        dial.outcome.clone()
                    }
                    None => self.dial(shard, identity, key),
                }
            };
            // The dial runs in a task of its own: it is not lost when this future is dropped.
            let result = outcome.wait_for(Option::is_some).await.map(|outcome| outcome.clone());
            match result {
                Ok(Some(Err(error))) => return Err(error),
                Ok(_) => {}
                Err(_) => return Err(Arc::new(Error::Closed)),
            }
        }
    }

    fn dial(
        &self,
        shard: &mut Shard,
        identity: &Identity,
        key: &Key,
    ) -> watch::Receiver<Option<Result<(), Arc<Error>>>> {
        let (sender, outcome) = watch::channel(None);
        let number = fastrand::u64(..);
        shard.dials.push(Pending { number, waiting: 1, outcome: outcome.clone() });
        let (inner, identity, key) = (Arc::clone(&self.inner), identity.clone(), key.clone());
        self.inner.tasks.spawn(async move {
            // The certificate as it is before the handshake: if it is renewed meanwhile, the connection counts as old.
            let serial = identity.svid().map(|svid| svid.serial().to_owned());
            let bundles = identity.bundles().snapshot();
            let dialed = inner.dialer.dial(&identity, &key).await;
            let outcome = dialed.map(|dialed| inner.insert(&key, number, dialed, serial, bundles)).map_err(|error| {
                inner.forget_dial(&key, number);
                Arc::new(error)
            });
            // Nobody may be waiting any more.
            let _ = sender.send(Some(outcome));
        });
        outcome
    }
}

impl Inner {
    fn insert(
        self: &Arc<Self>,
        key: &Key,
        number: u64,
        dialed: Dialed,
        serial: Option<String>,
        bundles: Arc<BundleSet>,
    ) {
        let (pooled, drive) = Pooled::new(dialed, serial, bundles, self.idle);
        let pooled = Arc::new(pooled);
        let mut shards = self.shards.lock();
        let shard = shards.entry(key.clone()).or_default();
        shard.dials.retain(|dial| dial.number != number);
        shard.connections.push(Arc::clone(&pooled));
        drop(shards);
        // Weak: the pool must not be kept alive by its own connections.
        let (pool, key) = (Arc::downgrade(self), key.clone());
        self.tasks.spawn(async move {
            connection::drive(&pooled, drive).await;
            if let Some(pool) = pool.upgrade() {
                pool.forget(&key, &pooled);
            }
        });
    }

    fn forget_dial(&self, key: &Key, number: u64) {
        let mut shards = self.shards.lock();
        if let Some(shard) = shards.get_mut(key) {
            shard.dials.retain(|dial| dial.number != number);
            if shard.is_empty() {
                shards.remove(key);
            }
        }
    }

    fn forget(&self, key: &Key, pooled: &Arc<Pooled>) {
        let mut shards = self.shards.lock();
        if let Some(shard) = shards.get_mut(key) {
            shard.connections.retain(|other| !Arc::ptr_eq(other, pooled));
            if shard.is_empty() {
                shards.remove(key);
            }
        }
    }
}

impl Shard {
    /// A place on the fullest connection that has room, so that the others can become idle and be released.
    fn take(&mut self, identity: &Identity) -> Option<Slot> {
        let svid = identity.svid();
        let serial = svid.as_ref().map(|svid| svid.serial());
        let usable = self.connections.iter().filter(|pooled| pooled.has_room(serial) && pooled.is_trusted(identity));
        usable.max_by_key(|pooled| pooled.streams()).map(Slot::new)
    }

    fn is_empty(&self) -> bool {
        self.connections.is_empty() && self.dials.is_empty()
    }
}

impl Default for Pool {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (connections, streams) = self.usage();
        f.debug_struct("Pool").field("connections", &connections).field("streams", &streams).finish()
    }
}
