//! A copy of a body, fed by whoever reads the body itself and never waited for.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::HeaderMap;
use http_body::Frame;

use super::{BodyError, is_too_much};

/// The feeding side. The copy is given up when this is dropped before the end.
pub(super) struct Copied {
    queue: Arc<Mutex<Queue>>,
}

/// The reading side.
pub(super) struct CopyBody {
    queue: Arc<Mutex<Queue>>,
}

struct Queue {
    frames: VecDeque<Frame<Bytes>>,
    bytes: usize,
    most: usize,
    state: State,
    reader: Option<Waker>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    Ended,
    GivenUp,
}

pub(super) fn pair(most_behind: usize) -> (Copied, CopyBody) {
    let queue = Queue { frames: VecDeque::new(), bytes: 0, most: most_behind, state: State::Open, reader: None };
    let queue = Arc::new(Mutex::new(queue));
    (Copied { queue: Arc::clone(&queue) }, CopyBody { queue })
}

fn lock(queue: &Mutex<Queue>) -> MutexGuard<'_, Queue> {
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Copied {
    /// Whether the copy still keeps pace.
    pub(super) fn push(&self, data: &Bytes) -> bool {
        let mut queue = lock(&self.queue);
        if queue.state != State::Open {
            return false;
        }
        queue.bytes = queue.bytes.saturating_add(data.len());
        let pieces = queue.frames.len() as u64 + 1;
        if is_too_much(pieces, queue.bytes as u64, queue.most as u64) {
            queue.close(State::GivenUp);
            return false;
        }
        queue.frames.push_back(Frame::data(data.clone()));
        queue.wake();
        true
    }

    pub(super) fn trailers(&self, trailers: &HeaderMap) {
        let mut queue = lock(&self.queue);
        if queue.state == State::Open {
            queue.frames.push_back(Frame::trailers(trailers.clone()));
            queue.close(State::Ended);
        }
    }

    pub(super) fn end(&self) {
        lock(&self.queue).close(State::Ended);
    }

    pub(super) fn give_up(&self) {
        lock(&self.queue).close(State::GivenUp);
    }
}

impl Drop for Copied {
    fn drop(&mut self) {
        self.give_up();
    }
}

impl Queue {
    /// The first end counts.
    fn close(&mut self, state: State) {
        if self.state == State::Open {
            self.state = state;
        }
        if self.state == State::GivenUp {
            self.frames.clear();
        }
        self.wake();
    }

    fn wake(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }
}

impl CopyBody {
    pub(super) fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let mut queue = lock(&self.queue);
        if let Some(frame) = queue.frames.pop_front() {
            queue.bytes -= frame.data_ref().map_or(0, Bytes::len);
            return Poll::Ready(Some(Ok(frame)));
        }
        match queue.state {
            State::Open => {
                queue.reader = Some(cx.waker().clone());
                Poll::Pending
            }
            State::Ended => Poll::Ready(None),
            State::GivenUp => Poll::Ready(Some(Err(BodyError::CopyGivenUp))),
        }
    }

    pub(super) fn is_end_stream(&self) -> bool {
        let queue = lock(&self.queue);
        queue.frames.is_empty() && queue.state == State::Ended
    }
}

impl Drop for CopyBody {
    fn drop(&mut self) {
        // Whoever feeds must not go on keeping what nobody reads.
        lock(&self.queue).close(State::GivenUp);
    }
}
