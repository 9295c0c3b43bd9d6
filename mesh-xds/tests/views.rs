//! What one client sees of what is served, and what it is told of the rest.
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

use mesh_xds::pb::discovery::{DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest};
use mesh_xds::server::{Cache, CacheWriter, Change, Entry, Permissions, Rules, Settings, machine, sotw};
use proptest::prelude::*;
use tonic::Code;
use wire::{CLUSTER, Delta, Doors, ENDPOINTS, Hides, OTHER, ask, errors, names, node, serve, strings};

const NOT_FOUND: i32 = Code::NotFound as i32;
const DENIED: i32 = Code::PermissionDenied as i32;

fn hiding(prefix: &str) -> Rules {
    let permissions: Arc<dyn Permissions> = Arc::new(Hides(prefix.to_owned()));
    Rules { permissions: Some(permissions), ..Rules::default() }
}

fn put(writer: &CacheWriter, url: &str, name: &str, body: u8) {
    writer.apply([(url, Change::Put(name.into(), Entry::new(vec![body], vec![])))]);
}

/// All answers that are due, one after another, each accepted.
fn all(machine: &mut machine::Machine, cache: &Cache) -> Vec<DeltaDiscoveryResponse> {
    let mut answers = Vec::new();
    while let Some(answer) = machine.poll_response(&cache.live().snapshot(), &[], true) {
        machine.handle_request(&accept(&answer)).unwrap();
        answers.push(answer);
        assert!(answers.len() < 100, "it never ends");
    }
    answers
}

fn accept(answer: &DeltaDiscoveryResponse) -> DeltaDiscoveryRequest {
    DeltaDiscoveryRequest { response_nonce: answer.nonce.clone(), ..ask(&answer.type_url, &[]) }
}

#[test]
fn names_that_are_not_permitted_are_refused_and_others_do_not_exist() {
    let (writer, cache) = Cache::new(&[OTHER]);
    for name in ["open", "secret/a"] {
        put(&writer, OTHER, name, 1);
    }
    let mut machine = machine::Machine::new(hiding("secret/"));
    machine.handle_request(&ask(OTHER, &["open", "secret/a", "secret/none", "none"])).unwrap();
    let answers = all(&mut machine, &cache);
    let [answer] = &answers[..] else { panic!("{answers:?}") };
    assert_eq!(names(answer), ["open"].into());
    assert_eq!(answer.removed_resources, ["none", "secret/a", "secret/none"]);
    assert_eq!(errors(&answer.resource_errors), [("none", NOT_FOUND), ("secret/a", DENIED), ("secret/none", DENIED)]);
    // Neither a change nor the appearance of what is hidden is told.
    put(&writer, OTHER, "secret/a", 2);
    put(&writer, OTHER, "secret/none", 1);
    assert!(all(&mut machine, &cache).is_empty());
    put(&writer, OTHER, "none", 1);
    assert_eq!(names(&all(&mut machine, &cache)[0]), ["none"].into());
}

#[test]
fn nor_by_wildcard_alias_companion_or_what_was_held_before() {
    let (writer, cache) = Cache::new(&[OTHER]);
    let entry = |body: u8| Entry::new(vec![body], strings(&["/10.0.0.1"])).coming_with(strings(&["shop/web"]));
    writer.apply([
        (OTHER, Change::Put("secret/w".into(), entry(1))),
        (OTHER, Change::Put("shop/web".into(), Entry::new(vec![1], vec![]))),
    ]);
    let version = cache.live().snapshot().entries(OTHER).next().unwrap().1.version.to_string();

    let mut wildcard = machine::Machine::new(hiding("secret/"));
    wildcard.handle_request(&ask(OTHER, &[])).unwrap();
    assert_eq!(names(&all(&mut wildcard, &cache)[0]), ["shop/web"].into());

    let mut named = machine::Machine::new(hiding("secret/"));
    named.handle_request(&ask(OTHER, &["/10.0.0.1", "shop/web"])).unwrap();
    let answer = &all(&mut named, &cache)[0];
    assert_eq!(names(answer), ["shop/web"].into());
    assert_eq!(errors(&answer.resource_errors), [("/10.0.0.1", DENIED)]);

    // Another resource of the same alias is found behind the one that is hidden.
    let twin = Entry::new(vec![7], strings(&["/10.0.0.1"]));
    writer.apply([(OTHER, Change::Put("twin".into(), twin))]);
    assert_eq!(names(&all(&mut named, &cache)[0]), ["twin"].into());

    // It was permitted before: it is gone now, by whatever version it was held.
    for held in [version.as_str(), "old"] {
        let mut again = machine::Machine::new(hiding("secret/"));
        let held = [("secret/w".to_owned(), held.to_owned())].into_iter().collect();
        let first = DeltaDiscoveryRequest { initial_resource_versions: held, ..ask(OTHER, &[]) };
        again.handle_request(&first).unwrap();
        let answer = &all(&mut again, &cache)[0];
        assert_eq!(names(answer), ["shop/web", "twin"].into());
        assert_eq!(answer.removed_resources, ["secret/w"]);
    }
}

#[test]
fn in_the_state_of_the_world_too() {
    let (writer, cache) = Cache::new(&[CLUSTER, ENDPOINTS]);
    for url in [CLUSTER, ENDPOINTS] {
        for name in ["a", "secret/b"] {
            put(&writer, url, name, if name == "a" { 1 } else { 9 });
        }
    }
    let mut machine = sotw::Machine::new(hiding("secret/"));
    let request = |url: &str, names: &[&str], nonce: &str| DiscoveryRequest {
        type_url: url.into(),
        resource_names: strings(names),
        response_nonce: nonce.into(),
        ..DiscoveryRequest::default()
    };
    let next = |machine: &mut sotw::Machine| machine.poll_response(&cache.live().snapshot(), &[CLUSTER], true);
    machine.handle_request(&request(CLUSTER, &[], "")).unwrap();
    let clusters = next(&mut machine).unwrap();
    assert_eq!(clusters.resources.len(), 1);
    assert!(clusters.resource_errors.is_empty(), "a wildcard names nothing");
    machine.handle_request(&request(CLUSTER, &[], &clusters.nonce)).unwrap();
    let asked = ["a", "none", "secret/b"];
    machine.handle_request(&request(ENDPOINTS, &asked, "")).unwrap();
    let answer = next(&mut machine).unwrap();
    assert_eq!(answer.resources.iter().map(|any| any.value[0]).collect::<Vec<_>>(), [1]);
    assert_eq!(errors(&answer.resource_errors), [("none", NOT_FOUND), ("secret/b", DENIED)]);
    // Once: not on the acknowledgement, nor with the next change.
    machine.handle_request(&request(ENDPOINTS, &asked, &answer.nonce)).unwrap();
    assert_eq!(next(&mut machine), None);
    put(&writer, ENDPOINTS, "secret/b", 8);
    put(&writer, ENDPOINTS, "a", 2);
    let answer = next(&mut machine).unwrap();
    assert_eq!((answer.resources.len(), answer.resource_errors.len()), (1, 0));
    machine.handle_request(&request(ENDPOINTS, &["a", "none", "late", "secret/b"], &answer.nonce)).unwrap();
    let answer = next(&mut machine).unwrap();
    assert_eq!(errors(&answer.resource_errors), [("late", NOT_FOUND)]);
    // Clusters by name: what is there, and why the rest is not.
    machine.handle_request(&request(CLUSTER, &["a", "secret/b"], &clusters.nonce)).unwrap();
    let answer = next(&mut machine).unwrap();
    assert_eq!((answer.resources.len(), errors(&answer.resource_errors)), (1, vec![("secret/b", DENIED)]));
}

#[derive(Debug, Clone)]
enum Step {
    Put(u8, u8),
    Remove(u8),
    Ask(Vec<u8>),
    GiveUp(Vec<u8>),
    Answer,
    Again,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0_u8..8, 0_u8..3).prop_map(|(name, body)| Step::Put(name, body)),
        1 => (0_u8..8).prop_map(Step::Remove),
        2 => proptest::collection::vec(0_u8..9, 1..4).prop_map(Step::Ask),
        1 => proptest::collection::vec(0_u8..9, 1..3).prop_map(Step::GiveUp),
        3 => Just(Step::Answer),
        1 => Just(Step::Again),
    ]
}

/// Names that begin with `s` are hidden; every resource has an alias and comes with another.
fn name(number: u8) -> String {
    match number {
        8 => "*".to_owned(),
        0..4 => format!("s{number}"),
        _ => format!("r{number}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Whatever is asked for in whatever order, nothing hidden is ever sent; and a client that comes back with what it holds and
    /// asks for everything gets everything else.
    #[test]
    fn nothing_hidden_is_ever_sent(steps in proptest::collection::vec(step(), 0..60)) {
        let (writer, cache) = Cache::new(&[OTHER]);
        let mut machine = machine::Machine::new(hiding("s"));
        let mut held: BTreeMap<String, String> = BTreeMap::new();
        let mut first = true;
        for step in steps.iter().chain([&Step::Again, &Step::Ask(vec![8]), &Step::Answer]) {
            match step {
                Step::Put(number, body) => {
                    let (alias, with) = (format!("/{}", number % 3), name(7 - number));
                    let entry = Entry::new(vec![*number, *body], vec![alias]).coming_with(vec![with]);
                    writer.apply([(OTHER, Change::Put(name(*number), entry))]);
                }
                Step::Remove(number) => {
                    writer.apply([(OTHER, Change::Remove(name(*number)))]);
                }
                Step::Ask(numbers) | Step::GiveUp(numbers) => {
                    let mut request = ask(OTHER, &[]);
                    let list = numbers.iter().flat_map(|number| [name(*number), format!("/{}", number % 3)]).collect();
                    match step {
                        Step::Ask(_) => request.resource_names_subscribe = list,
                        _ => request.resource_names_unsubscribe = list,
                    }
                    if std::mem::take(&mut first) {
                        request.initial_resource_versions = held.clone().into_iter().collect();
                    }
                    machine.handle_request(&request).unwrap();
                }
                Step::Answer => {
                    for answer in all(&mut machine, &cache) {
                        for resource in answer.resources {
                            prop_assert!(!resource.name.starts_with('s'), "{} was sent", resource.name);
                            held.insert(resource.name, resource.version);
                        }
                        for name in answer.removed_resources {
                            held.remove(&name);
                        }
                        prop_assert!(answer.resource_errors.iter().all(|error| error.error_detail.is_some()));
                    }
                }
                Step::Again => {
                    machine = machine::Machine::new(hiding("s"));
                    first = true;
                    // It may have got this from a server that permitted it.
                    held.insert("s1".to_owned(), "old".to_owned());
                }
            }
        }
        let snapshot = cache.live().snapshot();
        let permitted = snapshot.entries(OTHER).filter(|(name, _)| !name.starts_with('s'));
        let wanted: BTreeMap<_, _> = permitted.map(|(name, entry)| (name.to_owned(), entry.version.to_string())).collect();
        prop_assert_eq!(held, wanted);
    }
}

#[tokio::test]
async fn a_client_is_served_its_own_view() {
    let (mine, cache) = Cache::new(&[OTHER]);
    put(&mine, OTHER, "mine", 1);
    let doors = Doors { caches: vec![("special".into(), cache)], hidden: Some(("guest".into(), "secret/".into())) };
    let server = serve(doors, Settings::default()).await;
    server.put(OTHER, &["all", "secret/x"], 1);
    let mut plain = Delta::subscribe(server.address, "somebody", "plain", OTHER, &[]).await;
    assert_eq!(names(&plain.take().await), ["all", "secret/x"].into());
    let mut guest = Delta::subscribe(server.address, "guest", "plain", OTHER, &[]).await;
    assert_eq!(names(&guest.take().await), ["all"].into());
    let mut special = Delta::subscribe(server.address, "guest", "special", OTHER, &[]).await;
    assert_eq!(names(&special.take().await), ["mine"].into());
    // A change of one view reaches those who have it.
    put(&mine, OTHER, "more", 1);
    assert_eq!(names(&special.take().await), ["more"].into());
    server.put(OTHER, &["new"], 1);
    assert_eq!(names(&guest.take().await), ["new"].into());
    assert_eq!(names(&plain.take().await), ["new"].into());
    // What a later request says of the node changes nothing.
    let other = DeltaDiscoveryRequest { node: node("plain"), ..ask(OTHER, &["all"]) };
    special.requests.send(other).await.unwrap();
    let answer = special.take().await;
    assert_eq!(errors(&answer.resource_errors), [("all", NOT_FOUND)]);
}

#[tokio::test]
async fn a_node_is_needed_and_must_be_the_right_one() {
    let server = serve(Doors::default(), Settings::default()).await;
    let mut nobody = Delta::open(server.address, "c").await.unwrap();
    nobody.requests.send(ask(OTHER, &[])).await.unwrap();
    let status = nobody.end().await;
    assert_eq!(status.code(), Code::InvalidArgument);
    assert!(status.message().contains("`node`"), "{status}");
    let mut stranger = Delta::subscribe(server.address, "c", "stranger", OTHER, &[]).await;
    assert_eq!(stranger.end().await.code(), Code::PermissionDenied);
}

#[tokio::test]
async fn who_must_see_less_is_asked_to_come_back() {
    let server = serve(Doors::default(), Settings::default()).await;
    let mut one = Delta::subscribe(server.address, "one", "n", OTHER, &[]).await;
    let mut other = Delta::subscribe(server.address, "other", "n", OTHER, &[]).await;
    one.take().await;
    other.take().await;
    assert_eq!(server.service.disconnect("one"), 1);
    assert_eq!(one.end().await.code(), Code::Unavailable);
    server.put(OTHER, &["x"], 1);
    assert_eq!(names(&other.take().await), ["x"].into());
    assert_eq!(server.service.client_count(), 1);
}
