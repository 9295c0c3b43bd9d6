//! What wakes a stream: a change of what its caller may see, or time.

use std::future::{Future, pending};
use std::time::Duration;

use futures_util::future::{Either, select_all};
use mesh_core::live::Changes;

use super::server::Parts;
use crate::bundle::BundleSet;
use crate::registry::Entries;
use crate::tls::Identity;

/// How often a stream looks for what ends without a word: entries, bundles and processes.
const LOOK_AGAIN: Duration = Duration::from_secs(10);

/// Changes within this time are told as one.
const COALESCE: Duration = Duration::from_millis(50);

/// Waits for what changes after its making: made before the state is read, it misses nothing in between.
pub(super) struct Watch {
    entries: Changes<Option<Entries>>,
    bundles: Changes<BundleSet>,
}

impl Parts {
    pub(super) fn watch(&self) -> Watch {
        Watch { entries: self.entries.changes(), bundles: self.bundles.changes() }
    }
}

impl Watch {
    /// Waits until it is time to look again at entries, bundles, and these identities.
    ///
    /// # Cancel safety
    /// Safe: whoever looks again reads everything anew.
    pub(super) async fn changed(mut self, identities: &[Identity]) {
        let mut svids: Vec<_> = identities.iter().map(|identity| identity.state().changes()).collect();
        tokio::select! {
            () = change(&mut self.entries) => {}
            () = change(&mut self.bundles) => {}
            () = any(svids.iter_mut().map(change)) => {}
            () = tokio::time::sleep(LOOK_AGAIN) => return,
        }
        tokio::time::sleep(COALESCE).await;
    }
}

/// Waits for the next change; for ever, when there will be none.
async fn change<T>(changes: &mut Changes<T>) {
    if changes.changed().await.is_err() {
        pending().await
    }
}

/// Waits for the first of several; for ever, when there is none.
fn any<F: Future>(futures: impl Iterator<Item = F>) -> impl Future<Output = ()> {
    let futures: Vec<_> = futures.map(Box::pin).collect();
    if futures.is_empty() {
        return Either::Left(pending());
    }
    let first = select_all(futures);
    Either::Right(async move {
        first.await;
    })
}

#[cfg(test)]
mod tests {
    use mesh_core::live::{Live, Publisher};
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_change_is_told_soon_and_everything_else_in_time() {
        let (entries, live_entries) = Publisher::new(None);
        let (bundles, live_bundles) = Publisher::new(BundleSet::default());
        let watch = || Watch { entries: live_entries.changes(), bundles: live_bundles.changes() };
        let took = async |watch: Watch| {
            let begin = Instant::now();
            let changed = tokio::time::timeout(10 * LOOK_AGAIN, watch.changed(&[])).await;
            changed.expect("it looks again");
            begin.elapsed()
        };
        assert_eq!(took(watch()).await, LOOK_AGAIN);
        let waiting = watch();
        entries.publish(Some(Entries::default()));
        assert_eq!(took(waiting).await, COALESCE);
        let waiting = watch();
        bundles.publish(BundleSet::default());
        assert_eq!(took(waiting).await, COALESCE);
        // Values that never change wake nobody.
        let constant =
            Watch { entries: Live::constant(None).changes(), bundles: Live::constant(BundleSet::default()).changes() };
        assert_eq!(took(constant).await, LOOK_AGAIN);
    }
}
