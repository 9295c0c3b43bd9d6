//! Clients that are broken, greedy or hostile: what they cost is bounded, they are told why their stream ends, and others are
//! served meanwhile.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    missing_docs,
    unreachable_pub,
    reason = "a test"
)]

mod wire;

use std::time::Duration;

use mesh_xds::limits::MAX_SUBSCRIBED_NAMES;
use mesh_xds::pb::discovery::{DeltaDiscoveryRequest, DiscoveryRequest};
use mesh_xds::pb::{Kind, Node, Status as Detail, Struct, Value};
use mesh_xds::server::limits::{MAX_HELD, MAX_NAME_BYTES, MAX_NODE_BYTES, MAX_REASON_BYTES, MAX_TYPE_BYTES, MAX_TYPES};
use mesh_xds::server::machine::{Error, Heard};
use mesh_xds::server::{Cache, Change, Entry, Pace, Settings, machine, sotw};
use tokio::time::Instant;
use tonic::Code;
use wire::{CLUSTER, Delta, Doors, OTHER, Running, ask, names, node, serve};

const SECOND: Duration = Duration::from_secs(1);

/// One test at a time: they look at the memory of the process.
static ALONE: tokio::sync::Mutex<()> = tokio::sync::Mutex::const_new(());

/// The size of this process, in KiB.
fn memory() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// Another client comes, and is served.
async fn others_are_served(server: &Running) {
    let mut other = Delta::subscribe(server.address, "other", "n", CLUSTER, &[]).await;
    let answer = tokio::time::timeout(10 * SECOND, other.take()).await.expect("served");
    assert_eq!(names(&answer), ["c"].into());
}

#[tokio::test]
async fn what_breaks_a_limit_ends_the_stream_and_says_so() {
    let _alone = ALONE.lock().await;
    let server = serve(Doors::default(), Settings::default()).await;
    server.put(CLUSTER, &["c"], 1);
    let large = Value { kind: Some(Kind::StringValue("x".repeat(MAX_NODE_BYTES))) };
    let metadata = Struct { fields: [("k".to_owned(), large)].into_iter().collect() };
    let many: Vec<String> = (0..=MAX_SUBSCRIBED_NAMES).map(|number| number.to_string()).collect();
    let first = |request: DeltaDiscoveryRequest| DeltaDiscoveryRequest { node: node("n"), ..request };
    for (request, code, text) in [
        (first(ask("", &[])), Code::InvalidArgument, "`type_url` is missing"),
        (first(ask(&"t".repeat(MAX_TYPE_BYTES + 1), &[])), Code::ResourceExhausted, "`type_url` is longer"),
        (first(ask(OTHER, &[&"n".repeat(MAX_NAME_BYTES + 1)])), Code::ResourceExhausted, "a name of"),
        (
            first(DeltaDiscoveryRequest { resource_names_subscribe: many, ..ask(OTHER, &[]) }),
            Code::ResourceExhausted,
            "more than 100000 names",
        ),
        (
            DeltaDiscoveryRequest {
                node: Some(Node { metadata: Some(metadata), ..Node::default() }),
                ..ask(OTHER, &[])
            },
            Code::ResourceExhausted,
            "`node` is larger",
        ),
    ] {
        let mut stream = Delta::open(server.address, "bad").await.unwrap();
        stream.requests.send(request).await.unwrap();
        let status = tokio::time::timeout(10 * SECOND, stream.end()).await.unwrap();
        assert_eq!(status.code(), code, "{status}");
        assert!(status.message().contains(text), "{status}");
        others_are_served(&server).await;
    }
}

#[tokio::test]
async fn types_without_end() {
    let _alone = ALONE.lock().await;
    let server = serve(Doors::default(), Settings::default()).await;
    server.put(CLUSTER, &["c"], 1);
    let mut stream = Delta::subscribe(server.address, "bad", "n", "t0", &[]).await;
    for number in 1..=MAX_TYPES {
        stream.take().await;
        stream.requests.send(ask(&format!("t{number}"), &[])).await.unwrap();
    }
    let status = stream.end().await;
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert_eq!(status.message(), Error::TooManyTypes.to_string());
    others_are_served(&server).await;
}

#[test]
fn the_machines_know_the_same_limits() {
    let _alone = ALONE.blocking_lock();
    let mut delta = machine::Machine::default();
    let held = (0..=MAX_HELD).map(|number| (number.to_string(), String::new())).collect();
    let request = DeltaDiscoveryRequest { initial_resource_versions: held, ..ask(OTHER, &[]) };
    assert_eq!(delta.handle_request(&request), Err(Error::TooManyHeld(OTHER.into())));
    // Names that are given up at once count while they wait for an answer.
    let mut delta = machine::Machine::default();
    delta.handle_request(&ask(OTHER, &["*"])).unwrap();
    let broken = (0..30).find_map(|round| {
        let list: Vec<String> = (0..10_000).map(|number| format!("{round}/{number}")).collect();
        let request = DeltaDiscoveryRequest {
            resource_names_subscribe: list.clone(),
            resource_names_unsubscribe: list,
            ..ask(OTHER, &[])
        };
        delta.handle_request(&request).err()
    });
    assert_eq!(broken, Some(Error::TooManyNames(OTHER.into())));
    let mut whole = sotw::Machine::default();
    let request = |url: &str, name: &str| DiscoveryRequest {
        type_url: url.into(),
        resource_names: vec![name.into()],
        ..DiscoveryRequest::default()
    };
    let long = "n".repeat(MAX_NAME_BYTES + 1);
    assert_eq!(whole.handle_request(&request(OTHER, &long)), Err(Error::LongName(OTHER.into())));
    let types: Vec<_> =
        (0..=MAX_TYPES).map(|number| whole.handle_request(&request(&format!("t{number}"), "n"))).collect();
    assert_eq!(types[MAX_TYPES], Err(Error::TooManyTypes));
    assert!(types[..MAX_TYPES].iter().all(Result::is_ok));
}

#[test]
fn a_storm_of_rejections_is_not_answered_and_not_kept() {
    let _alone = ALONE.blocking_lock();
    let (writer, cache) = Cache::new(&[OTHER]);
    let put = |name: &str, body: u32| {
        let entry = Entry::new(body.to_be_bytes().to_vec(), vec![]);
        writer.apply([(OTHER, Change::Put(name.to_owned(), entry))]);
    };
    put("a", 0);
    let mut delta = machine::Machine::default();
    delta.handle_request(&ask(OTHER, &[])).unwrap();
    let next = |delta: &mut machine::Machine| delta.poll_response(&cache.live().snapshot(), &[], true);
    let answer = next(&mut delta).unwrap();
    let reason = "ü".repeat(1_000);
    let reject = |nonce: &str| DeltaDiscoveryRequest {
        response_nonce: nonce.to_owned(),
        error_detail: Some(Detail { code: 3, message: reason.clone(), details: vec![] }),
        ..ask(OTHER, &[])
    };
    assert_eq!(delta.handle_request(&reject(&answer.nonce)), Ok(Heard::Rejected));
    for nonce in [&*answer.nonce, "0", "77", "-1", "", "99999999999999999999999"] {
        for _ in 0..100 {
            assert_eq!(delta.handle_request(&reject(nonce)), Ok(Heard::Nothing), "{nonce}");
            assert_eq!(next(&mut delta), None, "a rejected version is not sent again");
        }
    }
    // It rejects whatever comes, for ever.
    let before = memory();
    for body in 1..10_000 {
        put("a", body);
        let answer = next(&mut delta).unwrap();
        delta.handle_request(&reject(&answer.nonce)).unwrap();
    }
    let progress = delta.progress().next().unwrap().1;
    let kept = progress.rejected.unwrap();
    assert!(kept.len() <= MAX_REASON_BYTES && reason.starts_with(&kept) && kept.len() > MAX_REASON_BYTES - 2);
    let grown = memory().saturating_sub(before);
    assert!(grown < 8 * 1024, "{grown} KiB for 10,000 reasons");
}

#[tokio::test]
async fn a_client_that_never_reads_costs_one_answer() {
    let _alone = ALONE.lock().await;
    let server = serve(Doors::default(), Settings::default()).await;
    server.put(CLUSTER, &["c"], 1);
    let large = |body: u8| {
        let entry = Entry::new(vec![body; 8 * 1024 * 1024], vec![]);
        server.writer.apply([(OTHER, Change::Put("large".into(), entry))]);
    };
    large(0);
    let mut deaf = Vec::new();
    for _ in 0..4 {
        deaf.push(Delta::subscribe(server.address, "deaf", "n", OTHER, &[]).await);
    }
    others_are_served(&server).await;
    // Each is being sent one answer now, of which its connection holds a part.
    tokio::time::sleep(SECOND / 2).await;
    let before = memory();
    for body in 1..30 {
        large(body);
        tokio::task::yield_now().await;
    }
    // Nor are its requests read.
    let mut sent = 0;
    let name = "n".repeat(MAX_NAME_BYTES);
    for _ in 0..20_000 {
        let request = ask(OTHER, &[&name]);
        match tokio::time::timeout(SECOND / 5, deaf[0].requests.send(request)).await {
            Ok(sending) => sending.unwrap(),
            Err(_) => break,
        }
        sent += 1;
    }
    assert!(sent < 20_000, "all of them were taken");
    let grown = memory().saturating_sub(before);
    // 30 versions of 8 MiB, and 80 MB of requests.
    assert!(grown < 64 * 1024, "{grown} KiB, after {sent} requests");
    others_are_served(&server).await;
}

#[tokio::test(start_paused = true)]
async fn who_asks_too_fast_waits_and_nobody_else_does() {
    let _alone = ALONE.lock().await;
    let settings = Settings { pace: Pace { per_second: 10, burst: 5 }, ..Settings::default() };
    let server = serve(Doors::default(), settings).await;
    server.put(CLUSTER, &["c"], 1);
    let began = Instant::now();
    let mut fast = Delta::subscribe(server.address, "fast", "n", OTHER, &[]).await;
    let _first = fast.answers.message().await.unwrap().unwrap();
    for number in 0..24 {
        fast.requests.send(ask(OTHER, &[&number.to_string()])).await.unwrap();
    }
    others_are_served(&server).await;
    assert!(began.elapsed() < SECOND / 10, "{:?}", began.elapsed());
    let mut answered = 0;
    while answered < 24 {
        let answer = fast.answers.message().await.unwrap().unwrap();
        answered += answer.removed_resources.len();
    }
    let took = began.elapsed();
    assert!((SECOND * 19 / 10..SECOND * 22 / 10).contains(&took), "25 requests, 5 of them at once: {took:?}");
}

#[tokio::test]
async fn requests_faster_than_answers() {
    let _alone = ALONE.lock().await;
    let settings = Settings { pace: Pace { per_second: 1_000_000, burst: 1_000_000 }, ..Settings::default() };
    let server = serve(Doors::default(), settings).await;
    server.put(CLUSTER, &["c"], 1);
    let all: Vec<String> = (0..1_000).map(|number| format!("r{number}")).collect();
    server.writer.apply(all.iter().map(|name| (OTHER, Change::Put(name.clone(), Entry::new(vec![1; 1_000], vec![])))));
    let mut greedy = Delta::subscribe(server.address, "greedy", "n", OTHER, &[]).await;
    let requests = greedy.requests.clone();
    // Every request asks for everything again, and the answers are read slower than that.
    let flood = tokio::spawn(async move {
        let request = DeltaDiscoveryRequest { resource_names_subscribe: all, ..ask(OTHER, &[]) };
        for _ in 0..300 {
            requests.send(request.clone()).await.unwrap();
        }
    });
    let before = memory();
    for _ in 0..5 {
        greedy.take().await;
        others_are_served(&server).await;
    }
    let grown = memory().saturating_sub(before);
    assert!(grown < 64 * 1024, "{grown} KiB");
    drop(greedy);
    flood.abort();
}

#[tokio::test(start_paused = true)]
async fn who_never_asks_is_not_kept() {
    let _alone = ALONE.lock().await;
    let server = serve(Doors::default(), Settings::default()).await;
    let began = Instant::now();
    let mut silent = Delta::open(server.address, "silent").await.unwrap();
    assert_eq!(silent.end().await.code(), Code::DeadlineExceeded);
    assert!((59 * SECOND..70 * SECOND).contains(&began.elapsed()));
    assert_eq!(server.service.client_count(), 0);
}

#[tokio::test]
async fn streams_of_one_client_are_counted() {
    let _alone = ALONE.lock().await;
    let settings = Settings { streams_per_client: Some(2), ..Settings::default() };
    let server = serve(Doors::default(), settings).await;
    server.put(CLUSTER, &["c"], 1);
    let first = Delta::open(server.address, "many").await.unwrap();
    let _second = Delta::open(server.address, "many").await.unwrap();
    let refused = Delta::open(server.address, "many").await.err().unwrap();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    others_are_served(&server).await;
    drop(first);
    while Delta::open(server.address, "many").await.is_err() {
        tokio::task::yield_now().await;
    }
}
