//! How and when the service answers, over real gRPC: drain, debounce, times to live, clusters that bring their endpoints, types
//! without the old wildcard. The clock stands still and jumps.
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

use mesh_xds::pb::discovery::{DiscoveryRequest, Resource};
use mesh_xds::pb::{Node, discovery::DeltaDiscoveryRequest};
use mesh_xds::server::{Cache, Change, Debounce, Entry, Settings, machine, sotw};
use prost::Message;
use tokio::time::Instant;
use tonic::Code;
use wire::{CLUSTER, Delta, Doors, ENDPOINTS, OTHER, Sotw, ask, names, node, serve, strings};

const SECOND: Duration = Duration::from_secs(1);

#[tokio::test(start_paused = true)]
async fn a_drain_ends_streams_one_after_another() {
    let server = serve(Doors::default(), Settings::default()).await;
    let mut streams = Vec::new();
    for _ in 0..20 {
        let mut stream = Delta::subscribe(server.address, "c", "n", OTHER, &[]).await;
        stream.take().await;
        streams.push(stream);
    }
    let began = Instant::now();
    server.service.drain(10 * SECOND);
    // Nobody new comes in, and who is there is still served.
    let refused = Delta::open(server.address, "new").await.err().unwrap();
    assert_eq!(refused.code(), Code::Unavailable);
    let ending = streams.into_iter().map(|mut stream| {
        tokio::spawn(async move {
            let status = stream.end().await;
            assert_eq!(status.code(), Code::Unavailable);
            began.elapsed()
        })
    });
    let mut ended = Vec::new();
    for task in ending.collect::<Vec<_>>() {
        ended.push(task.await.unwrap());
    }
    ended.sort();
    assert!(ended[19] <= 10 * SECOND + SECOND / 10, "{ended:?}");
    assert!(ended[19] - ended[0] > 2 * SECOND, "all at once: {ended:?}");
    assert_eq!(server.service.client_count(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_drain_can_be_hurried_and_serves_until_then() {
    let server = serve(Doors::default(), Settings::default()).await;
    let mut stream = Delta::subscribe(server.address, "c", "n", OTHER, &[]).await;
    stream.take().await;
    let began = Instant::now();
    server.service.drain(1_000_000 * SECOND);
    server.put(OTHER, &["a"], 1);
    assert_eq!(names(&stream.take().await), ["a"].into());
    server.service.drain(Duration::ZERO);
    assert_eq!(stream.end().await.code(), Code::Unavailable);
    assert!(began.elapsed() < SECOND, "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn changes_in_quick_succession_are_one_answer() {
    let debounce = Some(Debounce { quiet: SECOND / 10, latest: SECOND });
    let server = serve(Doors::default(), Settings { debounce, ..Settings::default() }).await;
    let mut stream = Delta::subscribe(server.address, "c", "n", OTHER, &[]).await;
    stream.take().await;
    let began = Instant::now();
    for name in ["a", "b", "c"] {
        server.put(OTHER, &[name], 1);
        tokio::time::sleep(SECOND / 20).await;
    }
    assert_eq!(names(&stream.take().await), ["a", "b", "c"].into());
    let took = began.elapsed();
    assert!((SECOND / 5..SECOND / 4).contains(&took), "quiet for a tenth after the last: {took:?}");

    // It is never quiet; what a client asks for meanwhile is answered at once all the same.
    let began = Instant::now();
    let changing = async {
        for body in 0..40 {
            server.put(OTHER, &["a"], body);
            tokio::time::sleep(SECOND / 20).await;
        }
    };
    let reading = async {
        stream.requests.send(ask(OTHER, &["b"])).await.unwrap();
        assert_eq!(names(&stream.take().await), ["b"].into());
        assert!(began.elapsed() < SECOND / 10, "{:?}", began.elapsed());
        let mut times = Vec::new();
        for _ in 0..2 {
            assert_eq!(names(&stream.take().await), ["a"].into());
            times.push(began.elapsed());
        }
        times
    };
    let ((), times) = tokio::join!(changing, reading);
    assert!((SECOND..SECOND + SECOND / 5).contains(&times[0]), "{times:?}");
    assert!((2 * SECOND..2 * SECOND + SECOND / 2).contains(&times[1]), "{times:?}");
}

#[tokio::test(start_paused = true)]
async fn without_it_every_change_is_sent_at_once() {
    let server = serve(Doors::default(), Settings::default()).await;
    let mut stream = Delta::subscribe(server.address, "c", "n", OTHER, &[]).await;
    stream.take().await;
    let began = Instant::now();
    for name in ["a", "b"] {
        server.put(OTHER, &[name], 1);
        assert_eq!(names(&stream.take().await), [name].into());
    }
    assert!(began.elapsed() < SECOND / 100);
}

fn living(body: u8) -> Entry {
    Entry::new(vec![body], vec![]).living_for(30 * SECOND)
}

#[tokio::test(start_paused = true)]
async fn a_resource_with_a_time_to_live_is_kept_alive() {
    let server = serve(Doors::default(), Settings::default()).await;
    server.put(OTHER, &["plain"], 1);
    server.writer.apply([(OTHER, Change::Put("a".into(), living(1)))]);
    let mut stream = Delta::subscribe(server.address, "c", "n", OTHER, &[]).await;
    let first = stream.take().await;
    let of = |answer: &mesh_xds::pb::discovery::DeltaDiscoveryResponse, name: &str| {
        answer.resources.iter().find(|resource| resource.name == name).cloned().unwrap()
    };
    assert_eq!(of(&first, "a").ttl.unwrap().seconds, 30);
    assert_eq!(of(&first, "plain").ttl, None);
    let began = Instant::now();
    for beat in 1..=3 {
        let answer = stream.take().await;
        assert_eq!(names(&answer), ["a"].into());
        let resource = of(&answer, "a");
        assert_eq!((resource.resource, &resource.version), (None, &of(&first, "a").version));
        assert_eq!(resource.ttl.unwrap().seconds, 30);
        let late = began.elapsed() - 10 * beat * SECOND;
        assert!(late < SECOND, "a third of the time each: {late:?}");
    }
    // A change is a sign of life too; another time is a change; and without a time nothing is said any more.
    tokio::time::sleep(5 * SECOND).await;
    server.writer.apply([(OTHER, Change::Put("a".into(), living(2)))]);
    assert!(of(&stream.take().await, "a").resource.is_some());
    let changed = Instant::now();
    assert!(of(&stream.take().await, "a").resource.is_none());
    assert!((9 * SECOND..11 * SECOND).contains(&changed.elapsed()), "{:?}", changed.elapsed());
    server.writer.apply([(OTHER, Change::Put("a".into(), Entry::new(vec![2], vec![])))]);
    let last = of(&stream.take().await, "a");
    assert!(last.resource.is_some() && last.ttl.is_none());
    let silence = tokio::time::timeout(100 * SECOND, stream.answers.message()).await;
    assert!(silence.is_err(), "{silence:?}");
}

fn featured(features: &[&str]) -> Option<Node> {
    Some(Node { client_features: strings(features), ..Node::default() })
}

#[tokio::test(start_paused = true)]
async fn in_the_state_of_the_world_only_for_those_who_understand_it() {
    let server = serve(Doors::default(), Settings::default()).await;
    server.writer.apply([(OTHER, Change::Put("a".into(), living(7)))]);
    let first = |features: &[&str]| DiscoveryRequest {
        node: featured(features),
        type_url: OTHER.into(),
        resource_names: strings(&["a"]),
        ..DiscoveryRequest::default()
    };
    for feature in
        ["xds.config.resource-in-sotw", "xds.config.supports-resource-in-sotw", "xds.config.supports-resource-ttl"]
    {
        let mut stream = Sotw::open(server.address, "c", first(&["other", feature])).await;
        for beat in 0..3 {
            let answer = stream.answers.message().await.unwrap().unwrap();
            assert_eq!(answer.resources[0].type_url, "type.googleapis.com/envoy.service.discovery.v3.Resource");
            let resource = Resource::decode(&*answer.resources[0].value).unwrap();
            assert_eq!((&*resource.name, resource.ttl.unwrap().seconds), ("a", 30));
            // By this Envoy knows a heartbeat.
            assert_eq!(resource.version, answer.version_info);
            assert_eq!(resource.resource.map(|any| any.value), (beat == 0).then(|| vec![7]));
            let accept = DiscoveryRequest { response_nonce: answer.nonce, ..first(&[]) };
            stream.requests.send(accept).await.unwrap();
        }
    }
    let mut plain = Sotw::open(server.address, "c", first(&[])).await;
    let answer = plain.answers.message().await.unwrap().unwrap();
    assert_eq!((&*answer.resources[0].type_url, &*answer.resources[0].value), (OTHER, &[7][..]));
    plain.requests.send(DiscoveryRequest { response_nonce: answer.nonce, ..first(&[]) }).await.unwrap();
    assert!(tokio::time::timeout(100 * SECOND, plain.answers.message()).await.is_err());
}

#[test]
fn a_heartbeat_of_a_full_state_type_is_all_of_it() {
    let (writer, cache) = Cache::new(&[CLUSTER]);
    writer.apply([
        (CLUSTER, Change::Put("a".into(), living(1))),
        (CLUSTER, Change::Put("b".into(), Entry::new(vec![2], vec![]))),
    ]);
    let mut machine = sotw::Machine::default();
    let began = std::time::Instant::now();
    machine.advance(began);
    let request = |nonce: &str| DiscoveryRequest {
        node: featured(&["xds.config.resource-in-sotw"]),
        type_url: CLUSTER.into(),
        response_nonce: nonce.into(),
        ..DiscoveryRequest::default()
    };
    machine.handle_request(&request("")).unwrap();
    let next = |machine: &mut sotw::Machine| machine.poll_response(&cache.live().snapshot(), &[], true);
    let first = next(&mut machine).unwrap();
    assert_eq!(machine.next_heartbeat(), None, "not before the client has taken the answer");
    machine.handle_request(&request(&first.nonce)).unwrap();
    assert_eq!(next(&mut machine), None);
    let due = machine.next_heartbeat().unwrap();
    assert_eq!(due, began + 10 * SECOND);
    machine.advance(due);
    let beat = next(&mut machine).unwrap();
    // What is absent would be deleted.
    assert_eq!(beat.resources.len(), 2);
    assert_eq!(beat.version_info, first.version_info);
    let of_a = beat.resources.iter().find(|any| any.type_url != CLUSTER).unwrap();
    assert!(Resource::decode(&*of_a.value).unwrap().resource.is_some());
    assert_eq!(next(&mut machine), None);
}

#[test]
fn a_cluster_that_is_sent_brings_its_endpoints_again() {
    let (writer, cache) = Cache::new(&[CLUSTER, ENDPOINTS]);
    let order = [CLUSTER, ENDPOINTS];
    let put = |url: &'static str, name: &str, body: u8| {
        writer.apply([(url, Change::Put(name.to_owned(), Entry::new(vec![body], vec![])))]);
    };
    for url in order {
        put(url, "a", 1);
        put(url, "b", 1);
    }
    // A client comes back to a server that changed cluster `a`; it holds the endpoints, and asks for none by name.
    let version = |url: &str, name: &str| {
        let snapshot = cache.live().snapshot();
        snapshot.entries(url).find(|(of, _)| *of == name).map(|(_, entry)| entry.version.to_string()).unwrap()
    };
    let held = |url: &str, a: &str| {
        [("a".to_owned(), a.to_owned()), ("b".to_owned(), version(url, "b"))].into_iter().collect()
    };
    let mut machine = machine::Machine::default();
    let clusters = DeltaDiscoveryRequest { initial_resource_versions: held(CLUSTER, "old"), ..ask(CLUSTER, &[]) };
    let known = held(ENDPOINTS, &version(ENDPOINTS, "a"));
    let star = strings(&["*"]);
    let endpoints = DeltaDiscoveryRequest {
        initial_resource_versions: known,
        resource_names_unsubscribe: star,
        ..ask(ENDPOINTS, &["*"])
    };
    machine.handle_request(&clusters).unwrap();
    machine.handle_request(&endpoints).unwrap();
    let mut sent = Vec::new();
    let mut next = |machine: &mut machine::Machine| {
        while let Some(answer) = machine.poll_response(&cache.live().snapshot(), &order, true) {
            let accept = DeltaDiscoveryRequest { response_nonce: answer.nonce.clone(), ..ask(&answer.type_url, &[]) };
            machine.handle_request(&accept).unwrap();
            sent.push(format!(
                "{} {:?}",
                answer.type_url.rsplit('.').next().unwrap(),
                names(&answer).into_iter().collect::<Vec<_>>()
            ));
        }
        std::mem::take(&mut sent)
    };
    assert_eq!(next(&mut machine), [r#"Cluster ["a"]"#, r#"ClusterLoadAssignment ["a"]"#]);
    // And when it changes on the stream; endpoints that change alone are sent alone.
    put(CLUSTER, "b", 2);
    assert_eq!(next(&mut machine), [r#"Cluster ["b"]"#, r#"ClusterLoadAssignment ["b"]"#]);
    put(ENDPOINTS, "b", 2);
    assert_eq!(next(&mut machine), [r#"ClusterLoadAssignment ["b"]"#]);

    // The same of the other variant, where the client's renewed interest looks like an acknowledgement.
    let mut machine = sotw::Machine::default();
    let request = |url: &str, nonce: &str| DiscoveryRequest {
        type_url: url.into(),
        resource_names: if url == ENDPOINTS { strings(&["a", "b"]) } else { vec![] },
        response_nonce: nonce.into(),
        ..DiscoveryRequest::default()
    };
    let mut sent = Vec::new();
    let mut next = |machine: &mut sotw::Machine| {
        while let Some(answer) = machine.poll_response(&cache.live().snapshot(), &order, true) {
            machine.handle_request(&request(&answer.type_url, &answer.nonce)).unwrap();
            sent.push(format!("{} {}", answer.type_url.rsplit('.').next().unwrap(), answer.resources.len()));
        }
        std::mem::take(&mut sent)
    };
    machine.handle_request(&request(CLUSTER, "")).unwrap();
    machine.handle_request(&request(ENDPOINTS, "")).unwrap();
    assert_eq!(next(&mut machine), ["Cluster 2", "ClusterLoadAssignment 2"]);
    put(CLUSTER, "a", 3);
    assert_eq!(next(&mut machine), ["Cluster 2", "ClusterLoadAssignment 1"]);
}

#[tokio::test(start_paused = true)]
async fn of_some_types_an_empty_list_is_nothing() {
    let settings = Settings { named_only: vec![CLUSTER, OTHER], ..Settings::default() };
    let server = serve(Doors::default(), settings).await;
    server.put(CLUSTER, &["a", "b"], 1);
    server.put(ENDPOINTS, &["a"], 1);
    let mut stream = Delta::subscribe(server.address, "c", "n", CLUSTER, &[]).await;
    assert!(names(&stream.take().await).is_empty(), "the client waits for an answer all the same");
    stream.requests.send(ask(ENDPOINTS, &[])).await.unwrap();
    assert_eq!(names(&stream.take().await), ["a"].into(), "another type is not meant");
    stream.requests.send(ask(CLUSTER, &["*"])).await.unwrap();
    assert_eq!(names(&stream.take().await), ["a", "b"].into());

    let first = DiscoveryRequest { node: node("n"), type_url: CLUSTER.into(), ..DiscoveryRequest::default() };
    let mut stream = Sotw::open(server.address, "c", first.clone()).await;
    let silence = tokio::time::timeout(SECOND, stream.answers.message()).await;
    assert!(silence.is_err(), "an answer without resources would delete what it has: {silence:?}");
    stream.requests.send(DiscoveryRequest { resource_names: strings(&["a"]), ..first }).await.unwrap();
    assert_eq!(stream.answers.message().await.unwrap().unwrap().resources.len(), 1);
}
