//! The body of a request that may be sent more than once.

mod copy;

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};
use smallvec::SmallVec;
use tokio::time::Instant;

use self::copy::{Copied, CopyBody};
use super::BoxError;
use super::progress::{Observed, Progress, Watched};

/// So many pieces of a body are kept however short they are, and beyond these one for each 64 bytes that may be kept. To keep a
/// piece takes room whatever its length: without this, a client could make that many times what it sends.
const PIECES: u64 = 1024;

/// Whether pieces of so many bytes together are more than are kept.
fn is_too_much(pieces: u64, bytes: u64, most: u64) -> bool {
    bytes > most || pieces > PIECES.saturating_add(most / 64)
}

/// A body of which several attempts may be made: what was read of it is kept up to a limit, until an attempt counts.
///
/// Attempts that are under way at once read at their own pace. Nothing is allocated for a request without a body.
pub(crate) struct Replay<B> {
    shared: Option<Arc<Mutex<Shared<B>>>>,
    began: Instant,
}

struct Shared<B> {
    /// `None` once it has ended or broken off.
    body: Option<B>,
    kept: VecDeque<Bytes>,
    /// What was read, in bytes and in pieces.
    bytes: u64,
    pieces: u64,
    limit: u64,
    trailers: Option<HeaderMap>,
    ended: Option<Instant>,
    broken: bool,
    active: Instant,
    /// Whether something was read that is not kept: there can be no other attempt.
    lost: bool,
    /// The only attempt that may read, once there can be no other.
    sole: Option<u32>,
    /// Attempts that wait for more.
    waiting: SmallVec<[(u32, Waker); 1]>,
    watcher: Option<Waker>,
    copies: Vec<Copied>,
}

/// The body of one attempt, or of a copy of the request.
pub struct ReplayBody<B> {
    source: Source<B>,
}

enum Source<B> {
    Nothing,
    Attempt { shared: Arc<Mutex<Shared<B>>>, number: u32, at: usize, said_trailers: bool },
    Copy(CopyBody),
}

/// Why the body of an attempt ends before its end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BodyError {
    /// The client's body broke off.
    #[error("the body of the request broke off")]
    Broken(#[source] BoxError),
    /// Another attempt counts.
    #[error("another attempt took the place of this one")]
    GivenUp,
    /// The copy of the request was given up: it could not keep pace, or the request itself broke off.
    #[error("the copy of the request is given up")]
    CopyGivenUp,
}

impl<B: Body<Data = Bytes>> Replay<B> {
    /// A body of which so many bytes are kept at most; with none, there is one attempt only, unless there is no body at all.
    pub(crate) fn new(body: B, limit: u64, now: Instant) -> Self {
        if body.is_end_stream() {
            return Self { shared: None, began: now };
        }
        let shared = Shared {
            body: Some(body),
            kept: VecDeque::new(),
            bytes: 0,
            pieces: 0,
            limit,
            trailers: None,
            ended: None,
            broken: false,
            active: now,
            lost: limit == 0,
            sole: None,
            waiting: SmallVec::new(),
            watcher: None,
            copies: Vec::new(),
        };
        Self { shared: Some(Arc::new(Mutex::new(shared))), began: now }
    }

    /// The body of an attempt.
    pub(crate) fn attempt(&self, number: u32) -> ReplayBody<B> {
        let source = match &self.shared {
            None => Source::Nothing,
            Some(shared) => Source::Attempt { shared: Arc::clone(shared), number, at: 0, said_trailers: false },
        };
        ReplayBody { source }
    }

    /// A copy that gets what attempts read from now on, and is given up when it lags behind by more than so many bytes.
    pub(crate) fn copy(&self, most_behind: usize) -> ReplayBody<B> {
        let source = match &self.shared {
            None => Source::Nothing,
            Some(shared) => {
                let (copied, body) = copy::pair(most_behind);
                lock(shared).copies.push(copied);
                Source::Copy(body)
            }
        };
        ReplayBody { source }
    }

    /// Whether another attempt can be made.
    pub(crate) fn can_begin_again(&self) -> bool {
        self.shared.as_ref().is_none_or(|shared| !lock(shared).lost)
    }

    /// Whether anything of the request may have been sent: a body that was not touched tells that nothing was.
    pub(crate) fn may_be_sent(&self) -> bool {
        self.shared.as_ref().is_none_or(|shared| {
            let shared = lock(shared);
            shared.bytes > 0 || shared.body.is_none()
        })
    }

    /// This attempt is the one that counts: nothing more is kept, and others get nothing more.
    pub(crate) fn commit(&self, number: u32) {
        if let Some(shared) = &self.shared {
            let mut shared = lock(shared);
            shared.lost = true;
            shared.sole = Some(number);
            shared.wake_waiting();
        }
    }
}

impl<B: Body<Data = Bytes> + Unpin + Send + 'static> Replay<B>
where
    B::Error: Into<BoxError>,
{
    /// How far it is.
    pub(crate) fn progress(&self) -> Progress {
        let shared = self.shared.clone().map(|shared| shared as Arc<dyn Observed>);
        Progress::new(self.began, shared)
    }
}

impl<B> fmt::Debug for Replay<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replay").finish_non_exhaustive()
    }
}

impl<B> fmt::Debug for ReplayBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplayBody").finish_non_exhaustive()
    }
}

impl<B: Send> Observed for Mutex<Shared<B>> {
    fn watch(&self, waker: Option<&Waker>) -> Watched {
        let mut shared = lock(self);
        if let Some(waker) = waker
            && shared.ended.is_none()
            && !shared.watcher.as_ref().is_some_and(|known| known.will_wake(waker))
        {
            shared.watcher = Some(waker.clone());
        }
        Watched { ended: shared.ended, broken: shared.broken, active: shared.active }
    }
}

fn lock<B>(shared: &Mutex<Shared<B>>) -> MutexGuard<'_, Shared<B>> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<B> Shared<B> {
    fn wake_waiting(&mut self) {
        self.waiting.drain(..).for_each(|(_, waker)| waker.wake());
    }

    fn wait(&mut self, number: u32, waker: &Waker) {
        match self.waiting.iter_mut().find(|(waiting, _)| *waiting == number) {
            Some((_, known)) => known.clone_from(waker),
            None => self.waiting.push((number, waker.clone())),
        }
    }

    /// The end, good or bad.
    fn end(&mut self, now: Instant) {
        self.body = None;
        self.ended = Some(now);
        if let Some(watcher) = self.watcher.take() {
            watcher.wake();
        }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Shared<B>
where
    B::Error: Into<BoxError>,
{
    fn poll(
        &mut self,
        number: u32,
        at: &mut usize,
        said_trailers: &mut bool,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if self.sole.is_some_and(|sole| sole != number) {
            return Poll::Ready(Some(Err(BodyError::GivenUp)));
        }
        if let Some(data) = self.kept.get(*at).cloned() {
            *at += 1;
            if self.sole.is_some() && *at == self.kept.len() {
                self.kept.clear();
                *at = 0;
            }
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        let Some(body) = &mut self.body else {
            if self.ended.is_some() && !std::mem::replace(said_trailers, true) {
                return Poll::Ready(self.trailers.clone().map(|trailers| Ok(Frame::trailers(trailers))));
            }
            return Poll::Ready(None);
        };
        let Poll::Ready(frame) = Pin::new(&mut *body).poll_frame(cx) else {
            self.wait(number, cx.waker());
            return Poll::Pending;
        };
        let last = body.is_end_stream();
        let now = Instant::now();
        self.active = now;
        let read = match frame {
            None => {
                self.copies.iter().for_each(|copy| copy.end());
                self.end(now);
                *said_trailers = true;
                None
            }
            Some(Err(error)) => {
                self.copies.iter().for_each(|copy| copy.give_up());
                self.end(now);
                self.broken = true;
                self.lost = true;
                self.sole = Some(number);
                Some(Err(BodyError::Broken(error.into())))
            }
            Some(Ok(frame)) => Some(Ok(self.keep(number, at, said_trailers, frame, last.then_some(now)))),
        };
        self.wake_waiting();
        Poll::Ready(read)
    }

    /// Keeps a frame that was read, and passes it on. `last` is the time if nothing comes after it.
    fn keep(
        &mut self,
        number: u32,
        at: &mut usize,
        said_trailers: &mut bool,
        frame: Frame<Bytes>,
        last: Option<Instant>,
    ) -> Frame<Bytes> {
        let frame = match frame.into_data() {
            // What is empty says nothing, and is not kept.
            Ok(data) if data.is_empty() => Frame::data(data),
            Ok(data) => {
                self.copies.retain(|copy| copy.push(&data));
                self.bytes = self.bytes.saturating_add(data.len() as u64);
                self.pieces = self.pieces.saturating_add(1);
                if !self.lost && is_too_much(self.pieces, self.bytes, self.limit) {
                    self.lost = true;
                }
                if self.lost {
                    // Whoever reads past the limit is the one that goes on.
                    self.sole = Some(number);
                    self.kept.clear();
                    *at = 0;
                } else {
                    self.kept.push_back(data.clone());
                    *at += 1;
                }
                Frame::data(data)
            }
            Err(frame) => match frame.into_trailers() {
                Ok(trailers) => {
                    self.copies.iter().for_each(|copy| copy.trailers(&trailers));
                    self.trailers = Some(trailers.clone());
                    *said_trailers = true;
                    self.end(Instant::now());
                    return Frame::trailers(trailers);
                }
                Err(frame) => frame,
            },
        };
        if let Some(now) = last {
            self.copies.iter().for_each(|copy| copy.end());
            self.end(now);
        }
        frame
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for ReplayBody<B>
where
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut self.get_mut().source {
            Source::Nothing => Poll::Ready(None),
            Source::Attempt { shared, number, at, said_trailers } => lock(shared).poll(*number, at, said_trailers, cx),
            Source::Copy(copy) => copy.poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Nothing => true,
            Source::Attempt { shared, number, at, said_trailers } => {
                let shared = lock(shared);
                let allowed = shared.sole.is_none_or(|sole| sole == *number);
                let said = *at >= shared.kept.len() && (*said_trailers || shared.trailers.is_none());
                allowed && said && shared.body.as_ref().is_none_or(Body::is_end_stream)
            }
            Source::Copy(copy) => copy.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Nothing => SizeHint::with_exact(0),
            Source::Attempt { shared, at, .. } => {
                let shared = lock(shared);
                let rest = shared.body.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint);
                let kept: u64 = shared.kept.iter().skip(*at).map(|data| data.len() as u64).sum();
                let mut hint = SizeHint::new();
                hint.set_lower(rest.lower().saturating_add(kept));
                if let Some(upper) = rest.upper() {
                    hint.set_upper(upper.saturating_add(kept));
                }
                hint
            }
            Source::Copy(_) => SizeHint::default(),
        }
    }
}

impl<B> Drop for ReplayBody<B> {
    fn drop(&mut self) {
        if let Source::Attempt { shared, number, .. } = &self.source {
            // The body below may know only this attempt's waker: the others must ask again.
            let mut shared = lock(shared);
            shared.waiting.retain(|(waiting, _)| waiting != number);
            shared.wake_waiting();
        }
    }
}

#[cfg(test)]
mod tests;
