//! The byte relay between two streams: both directions at once, half-close passed on, back-pressure kept, bytes counted.
//!
//! Memory is bounded per connection: a direction holds at most one chunk, and takes the next only when the sink has taken
//! that one. A connection on which nothing moves holds no buffer at all.

mod buffer;
mod half;

use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

pub use half::{AnyIo, AnySource, Sink, Source, Split, TcpSource};

/// Bytes relayed so far; may be read while the relay runs.
#[derive(Debug, Default)]
pub struct Counts {
    sent: AtomicU64,
    received: AtomicU64,
}

impl Counts {
    /// Bytes from downstream to upstream.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Bytes from upstream to downstream.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.received.load(Ordering::Relaxed)
    }

    /// Counts bytes that are not relayed but written to upstream, or read from it.
    pub(crate) fn add(&self, sent: usize, received: usize) {
        self.sent.fetch_add(sent as u64, Ordering::Relaxed);
        self.received.fetch_add(received as u64, Ordering::Relaxed);
    }
}

/// Relays until both directions have ended, or one of them fails.
///
/// The end of one direction is passed on at once and leaves the other open without a time limit. A peer that reset, or
/// takes no more, counts as an end.
///
/// # Errors
/// A stream failed in another way than by ending; both are then given up.
///
/// # Cancel safety
/// Dropping the future drops both streams, which resets them.
pub async fn relay<D: Split, U: Split>(downstream: D, upstream: U, counts: &Counts) -> io::Result<()> {
    let (down_source, down_sink) = downstream.split();
    let (up_source, up_sink) = upstream.split();
    let sent = pump(down_source, up_sink, &counts.sent);
    let received = pump(up_source, down_sink, &counts.received);
    tokio::try_join!(sent, received).map(drop)
}

async fn pump<S: Source, D: Sink>(mut source: S, mut sink: D, count: &AtomicU64) -> io::Result<()> {
    let pumped = async {
        while let Some(chunk) = source.chunk().await? {
            let length = chunk.len();
            sink.send(chunk).await?;
            source.release(length);
            count.fetch_add(length as u64, Ordering::Relaxed);
        }
        sink.finish().await
    };
    match pumped.await {
        Err(error) if is_end(&error) => {
            // Whoever is at the other side of this direction must learn of its end as well.
            let _ = sink.finish().await;
            Ok(())
        }
        other => other,
    }
}

fn is_end(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionReset, NotConnected, UnexpectedEof};
    matches!(error.kind(), BrokenPipe | ConnectionReset | NotConnected | UnexpectedEof)
}
