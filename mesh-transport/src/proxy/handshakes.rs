use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::IpAddr;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

/// The handshakes that a listener has under way: a bounded number, so that peers who never finish one take bounded memory.
///
/// At the bound a new one takes the place of the oldest of whoever has the most. A peer that completes its handshake is
/// rarely the oldest of the busiest; accepting never waits, so the many cannot keep the others out.
#[derive(Debug, Clone)]
pub(super) struct Handshakes {
    pending: Arc<Mutex<Pending>>,
    limit: usize,
}

#[derive(Debug, Default)]
struct Pending {
    next: u64,
    all: BTreeMap<u64, (IpAddr, CancellationToken)>,
    by_peer: HashMap<IpAddr, BTreeSet<u64>>,
}

/// A handshake's place. Given back when dropped.
#[derive(Debug)]
pub(super) struct Place {
    handshakes: Handshakes,
    number: u64,
    /// Cancelled when the place is taken away.
    pub(super) lost: CancellationToken,
}

impl Handshakes {
    pub(super) fn new(limit: usize) -> Self {
        Self { pending: Arc::default(), limit }
    }

    pub(super) fn begin(&self, peer: IpAddr) -> Place {
        let mut pending = self.pending.lock();
        if pending.all.len() >= self.limit {
            let busiest = pending.by_peer.values().max_by_key(|numbers| numbers.len());
            if let Some(oldest) = busiest.and_then(BTreeSet::first).copied()
                && let Some(lost) = pending.remove(oldest)
            {
                lost.cancel();
            }
        }
        let number = pending.next;
        pending.next += 1;
        let lost = CancellationToken::new();
        pending.all.insert(number, (peer, lost.clone()));
        pending.by_peer.entry(peer).or_default().insert(number);
        Place { handshakes: self.clone(), number, lost }
    }
}

impl Pending {
    fn remove(&mut self, number: u64) -> Option<CancellationToken> {
        let (peer, token) = self.all.remove(&number)?;
        if let Some(numbers) = self.by_peer.get_mut(&peer) {
            numbers.remove(&number);
            if numbers.is_empty() {
                self.by_peer.remove(&peer);
            }
        }
        Some(token)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.handshakes.pending.lock().remove(self.number);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(last: u8) -> IpAddr {
        [10, 0, 0, last].into()
    }

    #[test]
    fn at_the_bound_the_busiest_peer_loses_its_oldest() {
        let handshakes = Handshakes::new(4);
        let quiet = handshakes.begin(peer(1));
        let flood: Vec<_> = (0..3).map(|_| handshakes.begin(peer(2))).collect();
        let newcomer = handshakes.begin(peer(3));
        let lost: Vec<_> = flood.iter().map(|place| place.lost.is_cancelled()).collect();
        assert_eq!(lost, [true, false, false]);
        assert!(!quiet.lost.is_cancelled() && !newcomer.lost.is_cancelled());

        drop(flood);
        let _more: Vec<_> = (0..2).map(|_| handshakes.begin(peer(4))).collect();
        assert!(!quiet.lost.is_cancelled() && !newcomer.lost.is_cancelled(), "places that were given back are free");
        assert_eq!(handshakes.pending.lock().by_peer.len(), 3);
    }
}
