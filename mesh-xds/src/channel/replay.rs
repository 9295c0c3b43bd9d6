//! A body that can be sent more than once: what was read of it is kept, up to a bound, until an attempt counts.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as HttpBody, Frame};
use parking_lot::Mutex;
use tonic::Status;
use tonic::body::Body;

/// Most bytes that are kept to be sent again. gRPC's per-call limit is as high.
const LIMIT: usize = 256 * 1024;

/// The body of a call, of which several attempts are made, one after another.
#[derive(Clone)]
pub(super) struct Replay {
    shared: Arc<Mutex<Shared>>,
}

struct Shared {
    body: Body,
    kept: VecDeque<Bytes>,
    bytes: usize,
    trailers: Option<HeaderMap>,
    ended: bool,
    /// Whether something was read that is not kept: there can be no other attempt.
    lost: bool,
    /// Whether an attempt has read anything.
    touched: bool,
    /// The attempt that may read: an earlier one that was given up gets nothing more.
    current: u64,
}

/// The body of one attempt.
pub(super) struct Attempt {
    shared: Arc<Mutex<Shared>>,
    number: u64,
    at: usize,
    said_trailers: bool,
}

impl Replay {
    pub(super) fn new(body: Body) -> Self {
        let shared = Shared {
            body,
            kept: VecDeque::new(),
            bytes: 0,
            trailers: None,
            ended: false,
            lost: false,
            touched: false,
            current: 0,
        };
        Self { shared: Arc::new(Mutex::new(shared)) }
    }

    /// The body for the next attempt; the one before gets nothing more.
    pub(super) fn attempt(&self) -> Body {
        let mut shared = self.shared.lock();
        shared.current += 1;
        shared.touched = false;
        let attempt = Attempt { shared: Arc::clone(&self.shared), number: shared.current, at: 0, said_trailers: false };
        Body::new(attempt)
    }

    /// Whether another attempt can be made.
    pub(super) fn can_begin_again(&self) -> bool {
        !self.shared.lock().lost
    }

    /// Whether the last attempt has read anything of it: a transport that has not did not reach anybody.
    pub(super) fn was_read(&self) -> bool {
        self.shared.lock().touched
    }

    /// The last attempt is the one that counts: nothing is kept any more.
    pub(super) fn commit(&self) {
        let mut shared = self.shared.lock();
        shared.lost = true;
    }
}

impl Shared {
    fn poll(
        &mut self,
        attempt: &mut Position<'_>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        self.touched = true;
        loop {
            if let Some(data) = self.kept.get(*attempt.at) {
                *attempt.at += 1;
                let data = data.clone();
                if self.lost && *attempt.at == self.kept.len() {
                    self.kept.clear();
                    *attempt.at = 0;
                }
                return Poll::Ready(Some(Ok(Frame::data(data))));
            }
            if self.ended {
                let trailers = self.trailers.clone().filter(|_| !std::mem::replace(attempt.said_trailers, true));
                return Poll::Ready(trailers.map(|trailers| Ok(Frame::trailers(trailers))));
            }
            let frame = match Pin::new(&mut self.body).poll_frame(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(frame) => frame,
            };
            match frame {
                None => self.ended = true,
                Some(Err(status)) => {
                    self.lost = true;
                    return Poll::Ready(Some(Err(status)));
                }
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => {
                        self.bytes += data.len();
                        self.lost |= self.bytes > LIMIT;
                        if self.lost {
                            return Poll::Ready(Some(Ok(Frame::data(data))));
                        }
                        self.kept.push_back(data);
                    }
                    Err(frame) => {
                        self.trailers = frame.into_trailers().ok();
                        self.ended = true;
                    }
                },
            }
        }
    }
}

/// Where an attempt is in the body.
struct Position<'a> {
    at: &'a mut usize,
    said_trailers: &'a mut bool,
}

impl HttpBody for Attempt {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let Self { shared, number, at, said_trailers } = self.get_mut();
        let mut shared = shared.lock();
        if shared.current != *number {
            return Poll::Ready(Some(Err(Status::cancelled("another attempt is made"))));
        }
        shared.poll(&mut Position { at, said_trailers }, context)
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt, StreamBody};

    use super::*;

    fn replay(parts: &[&[u8]]) -> Replay {
        let mut trailers = HeaderMap::new();
        trailers.insert("end", "1".parse().unwrap());
        let data = parts.iter().map(|part| Ok(Frame::data(Bytes::copy_from_slice(part))));
        let frames: Vec<Result<Frame<Bytes>, Status>> = data.chain([Ok(Frame::trailers(trailers))]).collect();
        Replay::new(Body::new(StreamBody::new(tokio_stream::iter(frames))))
    }

    async fn whole(body: Body) -> (Vec<u8>, bool) {
        let collected = body.collect().await.unwrap();
        let trailers = collected.trailers().is_some();
        (collected.to_bytes().to_vec(), trailers)
    }

    #[tokio::test]
    async fn every_attempt_sends_the_same() {
        let replay = replay(&[b"one", b"two"]);
        let mut first = replay.attempt();
        assert!(!replay.was_read());
        assert_eq!(first.frame().await.unwrap().unwrap().into_data().unwrap(), "one");
        assert!(replay.was_read() && replay.can_begin_again());
        let second = replay.attempt();
        assert!(!replay.was_read());
        assert!(first.frame().await.unwrap().is_err(), "the earlier attempt is given up");
        assert_eq!(whole(second).await, (b"onetwo".to_vec(), true));
        assert_eq!(whole(replay.attempt()).await, (b"onetwo".to_vec(), true));
    }

    #[tokio::test]
    async fn what_is_too_long_or_counts_is_sent_once() {
        let long = vec![7; LIMIT];
        let replay = replay(&[b"x", &long, b"y"]);
        let mut all = b"x".to_vec();
        all.extend(&long);
        all.push(b'y');
        assert_eq!(whole(replay.attempt()).await, (all, true));
        assert!(!replay.can_begin_again());

        let replay = self::replay(&[b"one", b"two"]);
        let mut first = replay.attempt();
        assert_eq!(first.frame().await.unwrap().unwrap().into_data().unwrap(), "one");
        replay.commit();
        assert!(!replay.can_begin_again());
        assert_eq!(whole(first).await, (b"two".to_vec(), true));
    }
}
