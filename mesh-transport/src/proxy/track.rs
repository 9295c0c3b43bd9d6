use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use mesh_core::authz::Denial;
use mesh_core::name::{NamespacedName, Uid};
use mesh_identity::verify::{self, Purpose};
use parking_lot::Mutex;
use rustls::pki_types::CertificateDer;
use tokio::sync::watch;

use super::access_log;
use super::flow::{Facts, Failure, Flow, Observer, Outcome};

/// All open connections of a proxy. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Tracker {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    observer: Arc<dyn Observer>,
    open: Mutex<HashMap<u64, Arc<Entry>>>,
    count: watch::Sender<usize>,
}

#[derive(Debug)]
struct Entry {
    flow: Arc<Flow>,
    watched: Watched,
    close: watch::Sender<Option<Cause>>,
}

/// A peer's certificates, leaf first. All tunnels of one connection share one.
pub(super) type Chain = Arc<[CertificateDer<'static>]>;

/// What a connection is judged by again when something changes.
#[derive(Debug, Clone)]
pub(super) enum Watched {
    /// Into a local workload: by policy, and by the peer's certificates where it has some.
    Inbound { local: Uid, chain: Option<Chain> },
    /// Into the proxy itself, which judges what the tunnel carries: by the peer's certificates.
    Terminated { chain: Chain },
    /// Out of one: by the certificates of whoever is at the other end of each tunnel. None for plaintext.
    Outbound { chains: Vec<Chain> },
}

/// Why the proxy closes an open connection.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause {
    /// A change of policy, or of what a policy is asked for, forbids it.
    Policy(Denial),
    /// The peer is not trusted any more.
    Trust(verify::Error),
    /// The local workload is gone.
    WorkloadGone,
    /// The proxy ends.
    Drain,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Policy(denial) => write!(f, "connection closed due to policy change: {denial}"),
            Self::Trust(error) => write!(f, "connection closed, the peer is not trusted any more: {error}"),
            Self::WorkloadGone => f.write_str("connection closed, the workload is gone"),
            Self::Drain => f.write_str("connection closed, the proxy ends"),
        }
    }
}

impl Cause {
    fn outcome(&self) -> Outcome {
        match self {
            Self::Policy(_) => Outcome::Denied(self.to_string()),
            Self::Trust(verify::Error::Revoked(_)) => Outcome::Revoked(self.to_string()),
            _ => Outcome::Closed(self.to_string()),
        }
    }

    fn policy(&self) -> Option<NamespacedName> {
        match self {
            Self::Policy(denial) => denial.policy.clone(),
            _ => None,
        }
    }
}

impl Tracker {
    /// A tracker that tells an observer of every connection.
    #[must_use]
    pub fn new(observer: Arc<dyn Observer>) -> Self {
        Self { inner: Arc::new(Inner { observer, open: Mutex::default(), count: watch::Sender::new(0) }) }
    }

    /// Registers an open connection. It is registered until the registration is ended or dropped.
    pub(super) fn register(&self, facts: Facts, watched: Watched) -> Registration {
        let flow =
            Arc::new(Flow { facts, counts: crate::relay::Counts::default(), begun: tokio::time::Instant::now() });
        let (close, closed) = watch::channel(None);
        access_log::opened(&flow.facts);
        self.inner.observer.opened(&flow);
        let number = {
            let mut open = self.inner.open.lock();
            let number = loop {
                let number = fastrand::u64(..);
                if !open.contains_key(&number) {
                    break number;
                }
            };
            open.insert(number, Arc::new(Entry { flow: Arc::clone(&flow), watched, close }));
            self.inner.count.send_replace(open.len());
            number
        };
        Registration { tracker: self.clone(), number, flow, closed, ended: false }
    }

    /// A connection was refused before it was opened: told to log and observer.
    pub(super) fn refused(&self, facts: &Facts, outcome: &Outcome) {
        access_log::refused(facts, outcome);
        self.inner.observer.refused(facts, outcome);
    }

    /// Closes the connections that a judge finds fault with. Gives their number.
    pub(super) fn judge(&self, judge: impl Fn(&Facts, &Watched) -> Option<Cause>) -> usize {
        let mut closed = 0;
        for entry in self.entries() {
            if let Some(cause) = judge(&entry.flow.facts, &entry.watched) {
                entry.close.send_replace(Some(cause));
                closed += 1;
            }
        }
        closed
    }

    /// The certificates of all who are at other ends, each chain once, with the role in which they were presented.
    pub(super) fn chains(&self) -> Vec<(Chain, Purpose)> {
        let mut all = HashMap::new();
        for entry in self.entries() {
            let (chains, purpose) = match &entry.watched {
                Watched::Inbound { chain, .. } => (chain.as_slice(), Purpose::Client),
                Watched::Terminated { chain } => (std::slice::from_ref(chain), Purpose::Client),
                Watched::Outbound { chains } => (chains.as_slice(), Purpose::Server),
            };
            // Who came without certificates is known to their dialler alone.
            for chain in chains.iter().filter(|chain| !chain.is_empty()) {
                all.entry(chain.as_ptr().addr()).or_insert_with(|| (Arc::clone(chain), purpose));
            }
        }
        all.into_values().collect()
    }

    /// What is open now; it is looked at without holding up who opens and ends.
    fn entries(&self) -> Vec<Arc<Entry>> {
        self.inner.open.lock().values().map(Arc::clone).collect()
    }

    /// A host name was looked up for a connection.
    pub(super) fn resolved(&self, facts: &Facts) {
        self.inner.observer.resolved(facts);
    }

    /// Shows every open connection: for metrics that are read while it runs.
    pub fn for_each(&self, mut show: impl FnMut(&Flow)) {
        for entry in self.inner.open.lock().values() {
            show(&entry.flow);
        }
    }

    /// Closes all connections. Gives their number.
    pub fn close_all(&self, cause: &Cause) -> usize {
        let open = self.inner.open.lock();
        for entry in open.values() {
            entry.close.send_replace(Some(cause.clone()));
        }
        open.len()
    }

    /// Completes when no connection is open.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn emptied(&self) {
        let _ = self.inner.count.subscribe().wait_for(|count| *count == 0).await;
    }

    /// How many connections are open.
    #[must_use]
    pub fn len(&self) -> usize {
        self.inner.open.lock().len()
    }

    /// Whether no connection is open.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All open connections, oldest first: for dumps.
    #[must_use]
    pub fn connections(&self) -> Vec<ConnectionInfo> {
        let open = self.inner.open.lock();
        let mut all: Vec<_> = open.values().map(|entry| ConnectionInfo::of(&entry.flow)).collect();
        drop(open);
        all.sort_by_key(|info| std::cmp::Reverse(info.age));
        all
    }
}

/// An open connection, for whoever relays its bytes.
#[derive(Debug)]
pub struct Registration {
    tracker: Tracker,
    number: u64,
    flow: Arc<Flow>,
    closed: watch::Receiver<Option<Cause>>,
    ended: bool,
}

impl Registration {
    /// Facts and counts.
    #[must_use]
    pub fn flow(&self) -> &Arc<Flow> {
        &self.flow
    }

    /// Closes this connection; [`Registration::run`] then logs it with the cause.
    pub(super) fn close(&self, cause: Cause) {
        if let Some(entry) = self.tracker.inner.open.lock().get(&self.number) {
            entry.close.send_replace(Some(cause));
        }
    }

    /// Runs the relay of this connection until it ends or is closed from outside, then logs the connection.
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection and logs it as such.
    pub async fn run(mut self, relay: impl Future<Output = std::io::Result<()>>) {
        let mut closed = self.closed.clone();
        let (outcome, policy) = tokio::select! {
            biased;
            // The cause first: a relay that breaks because it is closed must be logged with the cause.
            cause = closed.wait_for(Option::is_some) => match cause.ok().and_then(|cause| cause.clone()) {
                Some(cause) => (cause.outcome(), cause.policy()),
                None => (Outcome::Closed("connection closed".to_owned()), None),
            },
            relayed = relay => match relayed {
                Ok(()) => (Outcome::Complete, None),
                Err(error) => (Outcome::Failed(Failure::Connect, error.to_string()), None),
            },
        };
        self.end(&outcome, policy);
    }

    fn end(&mut self, outcome: &Outcome, policy: Option<NamespacedName>) {
        if std::mem::replace(&mut self.ended, true) {
            return;
        }
        let inner = &self.tracker.inner;
        {
            let mut open = inner.open.lock();
            open.remove(&self.number);
            inner.count.send_replace(open.len());
        }
        access_log::ended(&self.flow, outcome, policy.as_ref());
        inner.observer.closed(&self.flow, outcome);
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.end(&Outcome::Closed("connection dropped".to_owned()), None);
    }
}

/// What is known of an open connection.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ConnectionInfo {
    /// Facts.
    pub facts: Facts,
    /// Bytes from client to server.
    pub sent: u64,
    /// Bytes from server to client.
    pub received: u64,
    /// How long it has been open.
    pub age: Duration,
}

impl ConnectionInfo {
    fn of(flow: &Flow) -> Self {
        Self {
            facts: flow.facts.clone(),
            sent: flow.counts.sent(),
            received: flow.counts.received(),
            age: flow.begun.elapsed(),
        }
    }
}
