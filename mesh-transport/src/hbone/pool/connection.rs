use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use mesh_core::name::SpiffeId;
use mesh_identity::bundle::BundleSet;
use mesh_identity::tls::Identity;
use mesh_identity::verify::{self, Purpose};
use rustls::pki_types::CertificateDer;
use tokio::sync::Notify;

use super::dial::{Dialed, Drive};
use crate::hbone::Client;
use crate::hbone::judged::Judged;

/// One pooled connection.
#[derive(Debug)]
pub(super) struct Pooled {
    client: Client,
    peer: SpiffeId,
    judged: Judged,
    serial: Option<String>,
    streams: AtomicUsize,
    closed: AtomicBool,
    /// Told when the last stream ends.
    unused: Notify,
    idle: Duration,
}

impl Pooled {
    pub(super) fn new(
        dialed: Dialed,
        serial: Option<String>,
        bundles: Arc<BundleSet>,
        idle: Duration,
    ) -> (Self, Drive) {
        let pooled = Self {
            client: dialed.client,
            peer: dialed.peer,
            judged: Judged::new(dialed.chain, Purpose::Server, bundles),
            serial,
            streams: AtomicUsize::new(0),
            closed: AtomicBool::new(false),
            unused: Notify::new(),
            idle,
        };
        (pooled, dialed.drive)
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    /// Whether the peer is still trusted. A connection whose peer is not takes no more streams.
    fn look(&self, identity: &Identity) -> Result<(), verify::Error> {
        // Without certificates the dialler alone knows who is there.
        if self.judged.chain().is_empty() {
            return Ok(());
        }
        self.judged.look(identity).inspect_err(|error| {
            tracing::info!(peer = %self.peer, %error, "tunnels to this peer are used no more");
            self.retire();
        })
    }

    pub(super) fn is_trusted(&self, identity: &Identity) -> bool {
        self.look(identity).is_ok()
    }

    /// Takes no more streams; those that are open go on.
    fn retire(&self) {
        self.closed.store(true, Ordering::Relaxed);
        self.unused.notify_one();
    }

    pub(super) fn streams(&self) -> usize {
        self.streams.load(Ordering::Relaxed)
    }

    /// Whether another stream may begin. A connection made with a certificate that has been renewed takes none: its place
    /// is taken by one with the new certificate, while its streams go on.
    pub(super) fn has_room(&self, serial: Option<&str>) -> bool {
        !self.is_closed() && self.serial.as_deref() == serial && self.streams() < self.client.max_streams()
    }

    /// Completes when the connection has been without streams for its idle time, or has none and must take no more.
    async fn unused(&self) {
        loop {
            let ended = self.unused.notified();
            if self.streams() > 0 {
                ended.await;
                continue;
            }
            if self.is_closed() {
                return;
            }
            if tokio::time::timeout(self.idle, ended).await.is_err() && self.streams() == 0 {
                return;
            }
        }
    }
}

/// Runs a connection until it fails or is not needed any more.
pub(super) async fn drive(pooled: &Pooled, drive: Drive) {
    tokio::select! {
        () = drive => {}
        () = pooled.unused() => {}
    }
    pooled.closed.store(true, Ordering::Relaxed);
}

/// A stream's place on a pooled connection.
#[derive(Debug)]
pub struct Slot {
    pooled: Arc<Pooled>,
}

impl Slot {
    /// Takes a place. Called under the pool's lock, which makes looking for room and taking it one step.
    pub(super) fn new(pooled: &Arc<Pooled>) -> Self {
        pooled.streams.fetch_add(1, Ordering::Relaxed);
        pooled.unused.notify_waiters();
        Self { pooled: Arc::clone(pooled) }
    }

    pub(super) fn client(&self) -> &Client {
        &self.pooled.client
    }

    pub(super) fn peer(&self) -> &SpiffeId {
        &self.pooled.peer
    }

    pub(super) fn chain(&self) -> &Arc<[CertificateDer<'static>]> {
        self.pooled.judged.chain()
    }

    /// Whether the peer is still trusted: judged again if trust has changed since the place was taken.
    pub(crate) fn look(&self, identity: &Identity) -> Result<(), verify::Error> {
        self.pooled.look(identity)
    }

    /// Takes the connection out of use: it failed, or was told to go away.
    pub(super) fn discard(&self) {
        self.pooled.retire();
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if self.pooled.streams.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.pooled.unused.notify_one();
        }
    }
}
