//! How long what is relayed may last.

use std::future::pending;
use std::time::Duration;

use tokio::time::Instant;

use crate::relay::Counts;

/// Ends when nothing has moved for this long.
pub(super) async fn idle(counts: &Counts, limit: Option<Duration>) {
    let Some(limit) = limit else { return pending().await };
    let moved = || (counts.sent(), counts.received());
    let mut before = moved();
    let mut since = Instant::now();
    loop {
        tokio::time::sleep_until(since + limit).await;
        let after = moved();
        if after == before {
            return;
        }
        before = after;
        since = Instant::now();
    }
}

/// Ends after this long.
pub(super) async fn over(limit: Option<Duration>) {
    match limit {
        Some(limit) => tokio::time::sleep(limit).await,
        None => pending().await,
    }
}
