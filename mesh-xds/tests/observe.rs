//! What a service tells of its work, how clients stand with it, and whose turn it is after a restart.
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

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use mesh_xds::server::{Change, Entry, Observe, Push, Rejection, Settings, Standing};
use parking_lot::Mutex;
use tokio::time::Instant;
use wire::{Delta, Doors, OTHER, Running, serve, serve_observed};

const SECOND: Duration = Duration::from_secs(1);

/// What was told, times in whole seconds.
#[derive(Debug, Default)]
struct Log(Mutex<Vec<String>>);

impl Log {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut *self.0.lock())
    }
}

impl Observe for Log {
    fn pushed(&self, push: &Push<'_>) {
        let Push { client, resources, removed, after, .. } = push;
        assert!(push.bytes > resources * 10 && push.type_url == OTHER);
        self.0.lock().push(format!("{client} +{resources} -{removed} {:?}", after.map(|after| after.as_secs())));
    }

    fn rejected(&self, rejection: &Rejection<'_>) {
        let Rejection { client, node, type_url, reason, .. } = rejection;
        assert!(!node.is_empty() && *type_url == OTHER);
        self.0.lock().push(format!("{client} rejected: {reason}"));
    }

    fn settled(&self, client: &str, after: Duration) {
        self.0.lock().push(format!("{client} settled {}", after.as_secs()));
    }

    fn converged(&self, after: Duration) {
        self.0.lock().push(format!("converged {}", after.as_secs()));
    }
}

async fn observed() -> (Running, Arc<Log>) {
    let log = Arc::new(Log::default());
    (serve_observed(Doors::default(), Settings::default(), Arc::<Log>::clone(&log)).await, log)
}

/// All that can happen at this time has happened.
async fn quiet() {
    tokio::time::sleep(SECOND / 100).await;
}

fn behind(server: &Running) -> BTreeMap<String, Option<u64>> {
    let clients = server.service.clients();
    clients.into_iter().map(|one| (one.client, one.behind.map(|behind| behind.as_secs()))).collect()
}

#[tokio::test(start_paused = true)]
async fn a_publication_is_followed_to_the_slowest_client() {
    let (server, log) = observed().await;
    let mut quick = Delta::subscribe(server.address, "quick", "n", OTHER, &[]).await;
    let mut slow = Delta::subscribe(server.address, "slow", "n", OTHER, &[]).await;
    quick.take().await;
    slow.take().await;
    quiet().await;
    let mut first = log.take();
    first.sort();
    assert_eq!(first, ["quick +0 -0 None", "slow +0 -0 None"], "what is asked for is nobody's delay");

    let taken = Instant::now();
    tokio::time::sleep(SECOND).await;
    let put = |name: &str| (OTHER, Change::Put(name.to_owned(), Entry::new(vec![1], vec![])));
    assert_eq!(server.writer.taken_at(taken).apply([put("a"), put("b")]), 2);
    quick.take().await;
    let late = slow.answers.message().await.unwrap().unwrap();
    quiet().await;
    let mut told = log.take();
    told.sort();
    assert_eq!(told, ["quick +2 -0 Some(1)", "quick settled 1", "slow +2 -0 Some(1)"]);
    tokio::time::sleep(2 * SECOND).await;
    assert_eq!(behind(&server), [("quick".to_owned(), None), ("slow".to_owned(), Some(3))].into());

    // Another one meanwhile: the slow client is behind since the first.
    server.put(OTHER, &["c"], 1);
    quick.take().await;
    tokio::time::sleep(SECOND).await;
    assert_eq!(behind(&server)["slow"], Some(4));
    slow.say(&late, Some("no")).await;
    slow.take().await;
    quiet().await;
    let mut told = log.take();
    told.sort();
    let expected = [
        "converged 1",
        "converged 4",
        "quick +1 -0 Some(0)",
        "quick settled 0",
        "slow +1 -0 Some(0)",
        "slow rejected: no",
        "slow settled 4",
    ];
    assert_eq!(told, expected);
    assert!(behind(&server).values().all(Option::is_none));

    // Who leaves is not waited for, and nobody is told of it.
    server.put(OTHER, &["d"], 1);
    quick.take().await;
    slow.answers.message().await.unwrap().unwrap();
    drop(slow);
    quiet().await;
    assert!(!log.take().iter().any(|line| line.starts_with("converged")), "the slowest never answered");
    server.put(OTHER, &["e"], 1);
    quick.take().await;
    quiet().await;
    assert!(log.take().contains(&"converged 0".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn how_each_resource_stands_with_a_client_is_shown() {
    let (server, _) = observed().await;
    server.put(OTHER, &["a", "b"], 1);
    let mut client = Delta::subscribe(server.address, "c", "n", OTHER, &[]).await;
    client.take().await;
    server.put(OTHER, &["b"], 2);
    let answer = client.answers.message().await.unwrap().unwrap();
    quiet().await;
    let stream = server.service.clients()[0].stream;
    let standings = || {
        let mut all = Vec::new();
        let found = server.service.visit(stream, &mut |holding| {
            let accepted = holding.accepted == holding.sent;
            all.push((
                holding.name.to_owned(),
                holding.standing,
                accepted,
                holding.reason.as_deref().map(str::to_owned),
            ));
        });
        assert!(found);
        all.sort();
        all
    };
    let row = |name: &str, standing, accepted, reason: Option<&str>| {
        (name.to_owned(), standing, accepted, reason.map(str::to_owned))
    };
    assert_eq!(standings(), [row("a", Standing::Synced, true, None), row("b", Standing::Stale, false, None)]);
    client.say(&answer, Some("bad")).await;
    quiet().await;
    let rejected = row("b", Standing::Rejected, false, Some("bad"));
    assert_eq!(standings(), [row("a", Standing::Synced, true, None), rejected]);
    assert!(!server.service.visit(stream + 1, &mut |_| panic!("nobody")));
}

#[tokio::test(start_paused = true)]
async fn first_answers_come_to_so_many_at_a_time() {
    let server = serve(Doors::default(), Settings { first_answers: Some(2), ..Settings::default() }).await;
    server.put(OTHER, &["a"], 1);
    let began = Instant::now();
    let mut streams = Vec::new();
    for client in ["a", "b", "c", "d"] {
        streams.push(Delta::subscribe(server.address, client, "n", OTHER, &[]).await);
        quiet().await;
    }
    let [mut a, mut b, mut c, mut d] = <[Delta; 4]>::try_from(streams).ok().unwrap();
    let first = a.answers.message().await.unwrap().unwrap();
    b.answers.message().await.unwrap().unwrap();
    let silence = tokio::time::timeout(SECOND, c.answers.message()).await;
    assert!(silence.is_err(), "two have their turn");
    // One has answered, so the next comes; the other never does, and has had its time.
    a.say(&first, None).await;
    c.take().await;
    assert!(began.elapsed() < 2 * SECOND, "{:?}", began.elapsed());
    d.answers.message().await.unwrap().unwrap();
    // Who had its turn is served as ever.
    server.put(OTHER, &["b"], 1);
    for stream in [&mut a, &mut c] {
        stream.take().await;
    }
    let e = Delta::subscribe(server.address, "e", "n", OTHER, &[]).await;
    let f = Delta::subscribe(server.address, "f", "n", OTHER, &[]).await;
    for mut stream in [e, f] {
        stream.answers.message().await.unwrap().unwrap();
    }
    assert!(began.elapsed() > 4 * SECOND && began.elapsed() < 12 * SECOND, "{:?}", began.elapsed());
    drop((b, d));
}
