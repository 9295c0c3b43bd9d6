#![allow(clippy::unwrap_used, reason = "tests")]

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::task::Wake;

use http_body_util::BodyExt;
use proptest::prelude::*;

use super::*;

/// A body that is fed by hand, and remembers the last waker only, as streams of connections do.
#[derive(Clone, Default)]
struct Fed(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    frames: VecDeque<Option<Result<Frame<Bytes>, BoxError>>>,
    waker: Option<Waker>,
}

impl Fed {
    fn push(&self, frame: Option<Result<Frame<Bytes>, BoxError>>) {
        let mut state = self.0.lock().unwrap();
        state.frames.push_back(frame);
        if let Some(waker) = state.waker.take() {
            waker.wake();
        }
    }

    fn data(&self, text: &'static str) {
        self.push(Some(Ok(Frame::data(Bytes::from(text)))));
    }
}

impl Body for Fed {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let mut state = self.0.lock().unwrap();
        if let Some(frame) = state.frames.pop_front() {
            return Poll::Ready(frame);
        }
        state.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

#[derive(Default)]
struct Woken(AtomicU32);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Relaxed);
    }
}

/// A reader of an attempt, which is polled by hand.
struct Reader {
    body: ReplayBody<Fed>,
    woken: Arc<Woken>,
}

impl Reader {
    fn new(body: ReplayBody<Fed>) -> Self {
        Self { body, woken: Arc::default() }
    }

    /// `None` while there is nothing; a text of data, `.` for the end, `!` for an error.
    fn read(&mut self) -> Option<String> {
        let waker = Waker::from(Arc::clone(&self.woken));
        match Pin::new(&mut self.body).poll_frame(&mut Context::from_waker(&waker)) {
            Poll::Pending => None,
            Poll::Ready(None) => Some(".".to_owned()),
            Poll::Ready(Some(Err(_))) => Some("!".to_owned()),
            Poll::Ready(Some(Ok(frame))) => Some(match frame.into_data() {
                Ok(data) => String::from_utf8(data.to_vec()).unwrap(),
                Err(_) => "trailers".to_owned(),
            }),
        }
    }

    fn is_woken(&self) -> bool {
        self.woken.0.swap(0, Relaxed) > 0
    }
}

fn replay(limit: u64) -> (Fed, Replay<Fed>) {
    let fed = Fed::default();
    (fed.clone(), Replay::new(fed, limit, Instant::now()))
}

#[tokio::test]
async fn each_attempt_reads_all_of_it_at_its_own_pace() {
    let (fed, replay) = replay(100);
    let (mut first, mut second) = (Reader::new(replay.attempt(1)), Reader::new(replay.attempt(2)));
    fed.data("one");
    assert_eq!(first.read().as_deref(), Some("one"));
    assert_eq!(first.read(), None);
    fed.data("two");
    assert_eq!(second.read().as_deref(), Some("one"));
    assert_eq!(second.read().as_deref(), Some("two"));
    assert!(first.is_woken(), "there is more to read");
    assert_eq!(first.read().as_deref(), Some("two"));
    let mut trailers = HeaderMap::new();
    trailers.insert("end", http::HeaderValue::from_static("1"));
    fed.push(Some(Ok(Frame::trailers(trailers))));
    let third = replay.attempt(3).collect().await.unwrap();
    assert!(third.trailers().is_some());
    assert_eq!(third.to_bytes(), "onetwo");
    for reader in [&mut first, &mut second] {
        assert_eq!(reader.read().as_deref(), Some("trailers"));
        assert_eq!(reader.read().as_deref(), Some("."));
    }
}

#[test]
fn a_reader_that_goes_wakes_those_that_stay() {
    let (fed, replay) = replay(100);
    let (mut first, mut second) = (Reader::new(replay.attempt(1)), Reader::new(replay.attempt(2)));
    assert_eq!((first.read(), second.read()), (None, None));
    // The body below knows the second alone.
    drop(second);
    assert!(first.is_woken());
    assert_eq!(first.read(), None);
    fed.data("x");
    assert!(first.is_woken());
    assert_eq!(first.read().as_deref(), Some("x"));
}

#[test]
fn past_the_limit_one_goes_on() {
    let (fed, replay) = replay(4);
    let (mut first, mut second) = (Reader::new(replay.attempt(1)), Reader::new(replay.attempt(2)));
    fed.data("four");
    assert_eq!(first.read().as_deref(), Some("four"));
    assert!(replay.can_begin_again());
    fed.data("more");
    assert_eq!(first.read().as_deref(), Some("more"));
    assert!(!replay.can_begin_again());
    assert_eq!(second.read().as_deref(), Some("!"));
    assert!(!second.body.is_end_stream(), "a broken body is no short one");
    fed.push(None);
    assert_eq!(first.read().as_deref(), Some("."));
}

#[test]
fn nobody_can_make_us_keep_pieces_without_end() {
    let (fed, replay) = replay(100);
    let (mut first, mut copy) = (Reader::new(replay.attempt(1)), Reader::new(replay.copy(100)));
    // What is empty is passed on, and neither kept nor copied.
    for _ in 0..10_000 {
        fed.data("");
        assert_eq!(first.read().as_deref(), Some(""));
    }
    assert_eq!(copy.read(), None);
    fed.data("x");
    assert_eq!(first.read().as_deref(), Some("x"));
    assert_eq!(Reader::new(replay.attempt(2)).read().as_deref(), Some("x"));
    assert_eq!(copy.read().as_deref(), Some("x"));

    // A limit that short pieces come to late does not let them in without end.
    let (fed, replay) = self::replay(64 * 10);
    let (mut first, mut copy) = (Reader::new(replay.attempt(1)), Reader::new(replay.copy(64 * 10)));
    let mut kept = 0;
    while replay.can_begin_again() && kept < 10_000 {
        fed.data("x");
        assert_eq!(first.read().as_deref(), Some("x"));
        kept += 1;
    }
    // By bytes, before the number of pieces counts.
    assert_eq!(kept, 641);
    assert_eq!(copy.read().as_deref(), Some("!"));
    let (fed, replay) = self::replay(64 * 1024);
    let (mut first, mut copy) = (Reader::new(replay.attempt(1)), Reader::new(replay.copy(64 * 1024)));
    for _ in 0..PIECES + 1024 {
        fed.data("x");
        assert_eq!(first.read().as_deref(), Some("x"));
    }
    assert!(replay.can_begin_again());
    fed.data("x");
    assert_eq!(first.read().as_deref(), Some("x"));
    assert!(!replay.can_begin_again());
    assert_eq!(copy.read().as_deref(), Some("!"));
}

#[test]
fn what_counts_is_read_to_its_end_and_no_other() {
    let (fed, replay) = replay(100);
    let (mut first, mut second) = (Reader::new(replay.attempt(1)), Reader::new(replay.attempt(2)));
    fed.data("one");
    fed.data("two");
    assert_eq!(first.read().as_deref(), Some("one"));
    assert_eq!(first.read().as_deref(), Some("two"));
    replay.commit(2);
    assert!(!replay.can_begin_again());
    assert_eq!(first.read().as_deref(), Some("!"));
    fed.data("three");
    let rest: Vec<_> = (0..3).filter_map(|_| second.read()).collect();
    assert_eq!(rest, ["one", "two", "three"]);
}

#[test]
fn the_end_is_told_to_who_watches() {
    let (fed, replay) = replay(0);
    let (progress, woken) = (replay.progress(), Arc::<Woken>::default());
    let waker = Waker::from(Arc::clone(&woken));
    assert!(progress.watch(&waker).ended.is_none());
    let mut reader = Reader::new(replay.attempt(1));
    fed.push(None);
    assert_eq!(reader.read().as_deref(), Some("."));
    assert_eq!(woken.0.load(Relaxed), 1);
    let watched = progress.peek();
    assert!(watched.ended.is_some() && !watched.broken);

    let (fed, replay) = self::replay(100);
    let mut reader = Reader::new(replay.attempt(1));
    fed.push(Some(Err("gone".into())));
    assert_eq!(reader.read().as_deref(), Some("!"));
    assert!(replay.progress().peek().broken && !replay.can_begin_again());
    assert_eq!(Reader::new(replay.attempt(2)).read().as_deref(), Some("!"));
}

#[test]
fn a_copy_follows_or_is_given_up() {
    let (fed, replay) = replay(0);
    let (mut near, mut far) = (Reader::new(replay.copy(8)), Reader::new(replay.copy(3)));
    let mut main = Reader::new(replay.attempt(1));
    assert_eq!(near.read(), None);
    fed.data("four");
    assert_eq!(main.read().as_deref(), Some("four"));
    assert!(near.is_woken());
    assert_eq!((near.read().as_deref(), far.read().as_deref()), (Some("four"), Some("!")));
    fed.push(None);
    assert_eq!(main.read().as_deref(), Some("."));
    assert_eq!(near.read().as_deref(), Some("."));
    assert!(near.body.is_end_stream());

    // A request that goes away before its end takes its copies with it.
    let (fed, replay) = self::replay(0);
    let mut copy = Reader::new(replay.copy(8));
    let mut main = Reader::new(replay.attempt(1));
    fed.data("part");
    assert_eq!(main.read().as_deref(), Some("part"));
    drop((main, replay));
    assert_eq!(copy.read().as_deref(), Some("!"));
}

proptest! {
    /// Whatever the order in which attempts read: each sees the beginning of the body, and whoever waits is woken.
    #[test]
    fn any_order_of_reading_gives_the_same(steps in prop::collection::vec(0_usize..4, 1..60), limit in 0_u64..40) {
        let (fed, replay) = replay(limit);
        let mut readers: Vec<_> = (0..3).map(|number| Reader::new(replay.attempt(number))).collect();
        let mut seen = vec![String::new(); 3];
        let mut written = String::new();
        for step in steps {
            if step == 3 {
                fed.data("ab");
                written.push_str("ab");
            } else if let Some(text) = readers[step].read() {
                seen[step].push_str(&text);
            }
        }
        prop_assert!(seen.iter().all(|seen| seen.contains('!') || written.starts_with(seen.as_str())), "{:?}", seen);
        // All read on until they have to wait, or are given up.
        let drained: Vec<_> = readers.iter_mut().map(|reader| loop {
            match reader.read() {
                None => break true,
                Some(text) if text == "!" => break false,
                Some(_) => {}
            }
        }).collect();
        let mut waiting: Vec<_> = (0..3).filter(|at| drained[*at]).collect();
        prop_assert!(!waiting.is_empty(), "one at least goes on");
        // Those who waited before an earlier one went past the limit have been told.
        waiting.retain(|at| !(readers[*at].is_woken() && readers[*at].read().is_some()));
        fed.data("x");
        for _ in 0..3 {
            waiting.retain(|at| !(readers[*at].is_woken() && readers[*at].read().is_some()));
        }
        prop_assert!(waiting.is_empty(), "somebody was not woken");
    }
}
