//! Which publications of a cache its followers have not answered yet.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::time::Instant;

use super::limits::MAX_PUBLICATIONS;

/// Who follows a cache. A publication is remembered until all who were there when it was made have settled it.
#[derive(Debug, Default)]
pub(super) struct Followers(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    count: usize,
    /// Number of the newest publication.
    newest: u64,
    open: VecDeque<Publication>,
}

#[derive(Debug)]
struct Publication {
    number: u64,
    at: Instant,
    /// How many followers have not settled it. Who settles one has settled those before it, so that the first with nobody
    /// left are those at the front.
    waiting: usize,
}

/// One stream that follows a cache. Gives its place up when it is dropped.
#[derive(Debug)]
pub(super) struct Follower {
    followers: Arc<Followers>,
    settled: AtomicU64,
}

/// What a follower has brought to an end.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Settled {
    /// When the oldest publication was made that it had not settled before.
    pub(super) own: Option<Instant>,
    /// When those were made that nobody waits for any more.
    pub(super) all: Vec<Instant>,
}

impl Followers {
    /// Takes up a publication, and gives its number. To be called before it can be seen.
    pub(super) fn publish(&self, at: Instant) -> u64 {
        let mut state = self.0.lock();
        state.newest += 1;
        let (number, waiting) = (state.newest, state.count);
        if waiting > 0 {
            if state.open.len() >= MAX_PUBLICATIONS {
                state.open.pop_front();
            }
            state.open.push_back(Publication { number, at, waiting });
        }
        number
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.0.lock().count
    }

    /// Begins to follow: from the next publication on.
    pub(super) fn follow(self: &Arc<Self>) -> Follower {
        let mut state = self.0.lock();
        state.count += 1;
        Follower { followers: Arc::clone(self), settled: AtomicU64::new(state.newest) }
    }
}

impl State {
    /// Somebody waits no more for what lies after `from`, up to `to`.
    fn settle(&mut self, from: u64, to: u64) -> Settled {
        let mut settled = Settled::default();
        for publication in self.open.iter_mut().filter(|one| one.number > from && one.number <= to) {
            publication.waiting = publication.waiting.saturating_sub(1);
            settled.own.get_or_insert(publication.at);
        }
        while self.open.front().is_some_and(|publication| publication.waiting == 0) {
            settled.all.extend(self.open.pop_front().map(|publication| publication.at));
        }
        settled
    }
}

impl Follower {
    /// Everything up to a publication was answered.
    pub(super) fn settle(&self, number: u64) -> Settled {
        // The common case, without the lock.
        if self.settled.load(Ordering::Acquire) >= number {
            return Settled::default();
        }
        let mut state = self.followers.0.lock();
        let from = self.settled.swap(number, Ordering::AcqRel);
        state.settle(from, number)
    }

    /// When the first publication was made that it has not settled.
    pub(super) fn behind_since(&self) -> Option<Instant> {
        let state = self.followers.0.lock();
        let settled = self.settled.load(Ordering::Acquire);
        state.open.iter().find(|publication| publication.number > settled).map(|publication| publication.at)
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let mut state = self.followers.0.lock();
        state.count = state.count.saturating_sub(1);
        let _nobody_told = state.settle(self.settled.load(Ordering::Acquire), u64::MAX);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_publication_ends_with_the_last_who_was_there() {
        let followers = Arc::new(Followers::default());
        let at = |seconds: u64| Instant::now() + Duration::from_secs(seconds);
        let (first, second, third) = (at(1), at(2), at(3));
        assert_eq!(followers.publish(first), 1, "nobody is there");
        let (a, b) = (followers.follow(), followers.follow());
        assert_eq!((a.behind_since(), a.settle(1)), (None, Settled::default()));
        assert_eq!(followers.publish(second), 2);
        let late = followers.follow();
        assert_eq!(followers.publish(third), 3);
        assert_eq!((a.behind_since(), late.behind_since()), (Some(second), Some(third)));
        // Two at once count from the first.
        assert_eq!(a.settle(3), Settled { own: Some(second), all: vec![] });
        assert_eq!(a.settle(3), Settled::default());
        assert_eq!(b.settle(2), Settled { own: Some(second), all: vec![second] });
        // Who leaves is not waited for.
        drop(b);
        assert_eq!(late.settle(3), Settled { own: Some(third), all: vec![third] });
        assert_eq!((a.behind_since(), followers.0.lock().count), (None, 2));
    }

    #[test]
    fn what_one_follower_leaves_open_is_bounded() {
        let followers = Arc::new(Followers::default());
        let stuck = followers.follow();
        for _ in 0..3 * MAX_PUBLICATIONS {
            followers.publish(Instant::now());
        }
        assert_eq!(followers.0.lock().open.len(), MAX_PUBLICATIONS);
        drop(stuck);
        assert!(followers.0.lock().open.is_empty());
    }
}
