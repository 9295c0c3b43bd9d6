//! One way for live state: an immutable value, loaded cheaply, published atomically, awaited.
//!
//! [`Live`] is the reading side and may be cloned freely; [`Publisher`] is the single writing side and cannot be
//! cloned, so a value has exactly one owner who decides what comes next. A reader never waits for the writer and never
//! sees a half-applied update.
//!
//! ```
//! use mesh_core::live::Publisher;
//!
//! let (publisher, live) = Publisher::new(1_u32);
//! assert_eq!(*live.load(), 1);
//! publisher.publish(2);
//! assert_eq!(*live.load(), 2);
//! ```

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::watch;

/// The reading side of a live value.
///
/// Cloning costs two reference counts. [`Live::load`] is wait-free.
pub struct Live<T> {
    value: Arc<ArcSwap<T>>,
    version: watch::Receiver<u64>,
}

impl<T> Live<T> {
    /// A value that never changes: for tests and for settings fixed at start.
    pub fn constant(value: T) -> Self {
        Publisher::new(value).1
    }

    /// The current value, without waiting and without touching its reference count in the common case.
    ///
    /// The returned [`Ref`] pins this one version: take it once per decision, so that a decision sees one state. Do not
    /// keep it across an `.await`; use [`Live::snapshot`] for that.
    #[must_use]
    pub fn load(&self) -> Ref<T> {
        Ref(self.value.load())
    }

    /// The current value as an owned [`Arc`], to be kept as long as needed.
    #[must_use]
    pub fn snapshot(&self) -> Arc<T> {
        self.value.load_full()
    }

    /// A stream of future changes, beginning after the value that is current now.
    #[must_use]
    pub fn changes(&self) -> Changes<T> {
        let mut live = self.clone();
        live.version.mark_unchanged();
        Changes { live }
    }
}

impl<T> Clone for Live<T> {
    fn clone(&self) -> Self {
        Self { value: Arc::clone(&self.value), version: self.version.clone() }
    }
}

impl<T: fmt::Debug> fmt::Debug for Live<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Live").field(&*self.load()).finish()
    }
}

/// A borrowed version of a live value.
pub struct Ref<T>(arc_swap::Guard<Arc<T>>);

impl<T> Deref for Ref<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: fmt::Debug> fmt::Debug for Ref<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

/// The writing side of a live value. Not `Clone`: a live value has one owner.
pub struct Publisher<T> {
    live: Live<T>,
    version: watch::Sender<u64>,
}

impl<T> Publisher<T> {
    /// A live value that starts as `initial`.
    pub fn new(initial: T) -> (Self, Live<T>) {
        let (sender, receiver) = watch::channel(0);
        let live = Live { value: Arc::new(ArcSwap::from_pointee(initial)), version: receiver };
        (Self { live: live.clone(), version: sender }, live)
    }

    /// Replaces the value and wakes everybody who awaits a change.
    pub fn publish(&self, value: T) {
        self.publish_arc(Arc::new(value));
    }

    /// As [`Publisher::publish`], for a value that is shared already.
    pub fn publish_arc(&self, value: Arc<T>) {
        // The value first: whoever is woken by the version must find it.
        self.live.value.store(value);
        self.version.send_modify(|version| *version = version.wrapping_add(1));
    }

    /// The reading side.
    #[must_use]
    pub fn live(&self) -> Live<T> {
        self.live.clone()
    }
}

impl<T: fmt::Debug> fmt::Debug for Publisher<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Publisher").field(&*self.live.load()).finish()
    }
}

/// Awaits changes of a live value. Several changes in quick succession are seen as one: the newest.
pub struct Changes<T> {
    live: Live<T>,
}

impl<T> Changes<T> {
    /// Waits for a value newer than the one last seen here and returns it.
    ///
    /// # Errors
    /// [`Closed`] when the publisher is gone: the current value is the last.
    ///
    /// # Cancel safety
    /// Safe: a change is consumed only when it is returned.
    pub async fn changed(&mut self) -> Result<Arc<T>, Closed> {
        self.live.version.changed().await.map_err(|_| Closed)?;
        Ok(self.live.snapshot())
    }

    /// The value as it is now, whether it was seen here or not.
    #[must_use]
    pub fn current(&self) -> Arc<T> {
        self.live.snapshot()
    }
}

impl<T: fmt::Debug> fmt::Debug for Changes<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Changes").field(&*self.live.load()).finish()
    }
}

/// The publisher of a live value was dropped; its last value stays readable.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the live value has no publisher any more")]
pub struct Closed;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_change_is_seen_once_and_newest_wins() {
        let (publisher, live) = Publisher::new(0);
        let mut changes = live.changes();
        publisher.publish(1);
        publisher.publish(2);
        assert_eq!(*changes.changed().await.unwrap(), 2);
        let pending = tokio::time::timeout(std::time::Duration::from_millis(5), changes.changed()).await;
        assert!(pending.is_err(), "no further change was published");
    }

    #[tokio::test]
    async fn changes_begin_after_the_value_current_at_their_making() {
        let (publisher, live) = Publisher::new(0);
        publisher.publish(1);
        let mut changes = live.changes();
        publisher.publish(2);
        assert_eq!(*changes.changed().await.unwrap(), 2);
    }

    #[tokio::test]
    async fn a_lost_publisher_leaves_the_last_value() {
        let (publisher, live) = Publisher::new(7);
        let mut changes = live.changes();
        drop(publisher);
        assert_eq!(changes.changed().await, Err(Closed));
        assert_eq!(*live.load(), 7);
    }

    #[test]
    fn readers_never_see_a_mixture() {
        let (publisher, live) = Publisher::new((0_u64, 0_u64));
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    for _ in 0..20_000 {
                        let (left, right) = *live.load();
                        assert_eq!(left, right);
                    }
                });
            }
            for n in 1..20_000 {
                publisher.publish((n, n));
            }
        });
    }
}
