//! The client's machine and ladder against two servers, in both variants, over every history that a generator thinks of; and
//! single rules of the protocol.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a test"
)]

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use mesh_xds::client::backoff::Backoff;
use mesh_xds::client::fallback::{Action, Fallback, Ladder};
use mesh_xds::client::first_field;
use mesh_xds::client::machine::{
    Expired, Interest, Machine, Rejected, Request, Response, ServerTraits, Update, Variant,
};
use mesh_xds::envoy::{ENDPOINT_TYPE, LISTENER_TYPE};
use mesh_xds::pb::discovery::{DeltaDiscoveryResponse, DiscoveryResponse, Resource, ResourceError, ResourceName};
use mesh_xds::pb::{Any, Duration as Span, Node, Status};
use mesh_xds::server::{Cache, CacheWriter, Change, Entry, machine, sotw};
use proptest::prelude::*;
use prost::{Message, Name};

/// All of it is wanted, and one of its answers holds all.
const ALL: &str = LISTENER_TYPE;
/// Wanted by name.
const SOME: &str = ENDPOINT_TYPE;

#[derive(Clone, PartialEq, Message)]
struct Content {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(uint32, tag = "2")]
    value: u32,
}

fn body(name: &str, value: u32) -> Vec<u8> {
    Content { name: name.to_owned(), value }.encode_to_vec()
}

#[derive(Debug, Clone)]
enum Step {
    Put(usize, bool, u8, u8),
    Remove(usize, bool, u8),
    Subscribe(u8),
    Unsubscribe(u8),
    ServerReads(usize),
    ServerWrites(usize),
    /// The client reads, and rejects what has this value.
    ClientReads(usize, Option<u8>),
    /// A stream breaks; what is under way is lost, and the server forgets.
    Break(usize),
    /// A server can be reached from now on, or cannot.
    Reach(usize, bool),
    /// A pause is over.
    Due(usize),
}

/// Histories, with rejections and without.
fn steps() -> impl Strategy<Value = Vec<Step>> {
    any::<bool>().prop_flat_map(|rejects| proptest::collection::vec(step(rejects), 0..80))
}

fn step(rejects: bool) -> impl Strategy<Value = Step> {
    let server = 0..2_usize;
    prop_oneof![
        4 => (server.clone(), any::<bool>(), 0..4_u8, 0..4_u8).prop_map(|(at, all, name, value)| Step::Put(at, all, name, value)),
        2 => (server.clone(), any::<bool>(), 0..4_u8).prop_map(|(at, all, name)| Step::Remove(at, all, name)),
        2 => (0..4_u8).prop_map(Step::Subscribe),
        1 => (0..4_u8).prop_map(Step::Unsubscribe),
        5 => server.clone().prop_map(Step::ServerReads),
        5 => server.clone().prop_map(Step::ServerWrites),
        5 => (server.clone(), proptest::option::weighted(0.2, 0..4_u8))
            .prop_map(move |(at, bad)| Step::ClientReads(at, bad.filter(|_| rejects))),
        1 => server.clone().prop_map(Step::Break),
        2 => (server.clone(), any::<bool>()).prop_map(|(at, there)| Step::Reach(at, there)),
        2 => server.prop_map(Step::Due),
    ]
}

enum ServerMachine {
    Delta(machine::Machine),
    StateOfTheWorld(sotw::Machine),
}

/// A server, and the stream to it.
struct Side {
    writer: CacheWriter,
    cache: Cache,
    reachable: bool,
    stream: Option<(ServerMachine, VecDeque<Request>, VecDeque<Response>)>,
    answered: bool,
}

struct World {
    variant: Variant,
    client: Machine,
    ladder: Ladder,
    sides: Vec<Side>,
    applied: BTreeMap<(String, String), Vec<u8>>,
    ever: BTreeSet<(String, Vec<u8>)>,
    subscribed: BTreeSet<String>,
    rejected: bool,
}

impl World {
    fn new(variant: Variant) -> Self {
        let traits = ["first", "second"].map(|name| ServerTraits::new(name, variant));
        let mut client = Machine::new(Node { id: "n".into(), ..Node::default() }, traits.to_vec());
        client.want(ALL, Interest::All);
        client.want(SOME, Interest::Named);
        let side = || {
            let (writer, cache) = Cache::new(&[ALL, SOME]);
            Side { writer, cache, reachable: true, stream: None, answered: false }
        };
        let mut world = Self {
            variant,
            client,
            ladder: Ladder::new(2, Fallback::WhenUnreachable, &Backoff::default()),
            sides: vec![side(), side()],
            applied: BTreeMap::new(),
            ever: BTreeSet::new(),
            subscribed: BTreeSet::new(),
            rejected: false,
        };
        world.look();
        world
    }

    fn look(&mut self) {
        while let Some(action) = self.ladder.poll(self.client.is_complete()) {
            self.act(action);
        }
        for (index, side) in self.sides.iter_mut().enumerate() {
            if let Some((_, requests, _)) = &mut side.stream {
                requests.extend(std::iter::from_fn(|| self.client.poll_request(index, Instant::now())));
            }
        }
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Open(at) => {
                let machine = match self.variant {
                    Variant::Delta => ServerMachine::Delta(machine::Machine::default()),
                    Variant::StateOfTheWorld => ServerMachine::StateOfTheWorld(sotw::Machine::default()),
                };
                self.client.handle_opened(at);
                self.sides[at].answered = false;
                self.sides[at].stream = Some((machine, VecDeque::new(), VecDeque::new()));
                if !self.sides[at].reachable {
                    self.end(at);
                }
            }
            Action::Close(at) => {
                self.client.handle_closed(at);
                self.sides[at].stream = None;
            }
            Action::Pause(..) => {}
        }
    }

    fn end(&mut self, at: usize) {
        if self.sides[at].stream.take().is_some() {
            self.client.handle_closed(at);
            let pause = self.ladder.handle_ended(at, self.sides[at].answered, 0.0);
            self.act(pause);
        }
    }

    fn step(&mut self, step: &Step) {
        let url = |all: bool| if all { ALL } else { SOME };
        match step {
            Step::Put(at, all, name, value) => {
                let name = format!("r{name}");
                let body = body(&name, u32::from(*value));
                self.ever.insert((url(*all).to_owned(), body.clone()));
                self.sides[*at].writer.apply([(url(*all), Change::Put(name, Entry::new(body, vec![])))]);
            }
            Step::Remove(at, all, name) => {
                self.sides[*at].writer.apply([(url(*all), Change::Remove(format!("r{name}")))]);
            }
            Step::Subscribe(name) => {
                self.subscribed.insert(format!("r{name}"));
                self.client.subscribe(SOME, [format!("r{name}")]);
            }
            Step::Unsubscribe(name) => {
                let name = format!("r{name}");
                self.subscribed.remove(&name);
                self.applied.remove(&(SOME.to_owned(), name.clone()));
                self.client.unsubscribe(SOME, &[name]);
            }
            Step::ServerReads(at) => {
                if let Some((server, requests, _)) = &mut self.sides[*at].stream
                    && let Some(request) = requests.pop_front()
                {
                    match (server, request) {
                        (ServerMachine::Delta(server), Request::Delta(request)) => {
                            let _ = server.handle_request(&request).unwrap();
                        }
                        (ServerMachine::StateOfTheWorld(server), Request::StateOfTheWorld(request)) => {
                            let _ = server.handle_request(&request).unwrap();
                        }
                        _ => panic!("a request of the other variant"),
                    }
                }
            }
            Step::ServerWrites(at) => {
                let side = &mut self.sides[*at];
                let snapshot = side.cache.live().snapshot();
                if let Some((server, _, responses)) = &mut side.stream {
                    responses.extend(match server {
                        ServerMachine::Delta(server) => server.poll_response(&snapshot, &[], true).map(Response::Delta),
                        ServerMachine::StateOfTheWorld(server) => {
                            server.poll_response(&snapshot, &[], true).map(Response::StateOfTheWorld)
                        }
                    });
                }
            }
            Step::ClientReads(at, bad) => self.client_reads(*at, *bad),
            Step::Break(at) => self.end(*at),
            Step::Reach(at, there) => {
                self.sides[*at].reachable = *there;
                if !there {
                    self.end(*at);
                }
            }
            Step::Due(at) => {
                if self.sides[*at].stream.is_none() && self.ladder.handle_due(*at) {
                    self.act(Action::Open(*at));
                }
            }
        }
        self.look();
    }

    fn client_reads(&mut self, at: usize, bad: Option<u8>) {
        let Some((_, _, responses)) = &mut self.sides[at].stream else { return };
        let Some(response) = responses.pop_front() else { return };
        let actions = self.ladder.handle_answered(at);
        let anew = actions.contains(&Action::Close(at));
        actions.into_iter().for_each(|action| self.act(action));
        if anew {
            return;
        }
        self.sides[at].answered = true;
        let Some(update) = self.client.handle_response(at, response, |_, body| first_field(body)) else { return };
        let mut rejected = Vec::new();
        for name in &update.removed {
            self.applied.remove(&(update.type_url.clone(), name.clone()));
        }
        for resource in &update.upserts {
            let body = resource.resource.as_ref().unwrap().value.clone();
            let content = Content::decode(body.as_slice()).unwrap();
            assert_eq!(content.name, resource.name);
            if bad.is_some_and(|bad| content.value == u32::from(bad)) {
                rejected.push(Rejected { name: resource.name.clone(), reason: "bad".into() });
            } else {
                self.applied.insert((update.type_url.clone(), resource.name.clone()), body);
            }
        }
        let reason = self.client.handle_applied(&update, &rejected, Instant::now());
        assert_eq!(reason.is_some(), !rejected.is_empty());
        self.rejected |= !rejected.is_empty();
    }

    fn settle(&mut self) {
        for _ in 0..100 {
            for at in 0..2 {
                for step in [Step::Due(at), Step::ServerReads(at), Step::ServerWrites(at), Step::ClientReads(at, None)]
                {
                    self.step(&step);
                }
            }
        }
    }
}

fn converges(variant: Variant, steps: &[Step]) {
    let mut world = World::new(variant);
    for step in steps {
        world.step(step);
        for ((url, _), body) in &world.applied {
            assert!(world.ever.contains(&(url.clone(), body.clone())), "never sent by anybody");
        }
    }
    for at in 0..2 {
        // What was rejected is sent again when the stream is made anew; everything else must come without that.
        if world.rejected {
            world.step(&Step::Break(at));
        }
        world.step(&Step::Reach(at, true));
    }
    world.settle();
    assert_eq!(world.ladder.active(), Some(0), "the preferred one is listened to");
    assert!(world.sides[1].stream.is_none(), "and no other");
    let snapshot = world.sides[0].cache.live().snapshot();
    let mut wanted: BTreeMap<(String, String), Vec<u8>> = BTreeMap::new();
    for url in [ALL, SOME] {
        for (name, entry) in snapshot.entries(url) {
            if url == ALL || world.subscribed.contains(name) {
                wanted.insert((url.to_owned(), name.to_owned()), entry.body.to_vec());
            }
        }
    }
    if variant == Variant::StateOfTheWorld {
        // This variant has no word for a removal of such a type: what is gone is kept until nobody wants it.
        world.applied.retain(|(url, name), _| url == ALL || snapshot.entries(SOME).any(|(there, _)| there == name));
    }
    assert_eq!(world.applied, wanted);
    assert!(world.client.is_synced());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Whatever happened, in the end the client has what the preferred server has, and never had what no server sent.
    #[test]
    fn delta_converges(steps in steps()) {
        converges(Variant::Delta, &steps);
    }

    #[test]
    fn state_of_the_world_converges(steps in steps()) {
        converges(Variant::StateOfTheWorld, &steps);
    }
}

fn one(variant: Variant) -> Machine {
    let mut client = Machine::new(Node { id: "n".into(), ..Node::default() }, vec![ServerTraits::new("s", variant)]);
    client.want(SOME, Interest::Named);
    client.handle_opened(0);
    client
}

fn delta(resources: &[Resource], removed: &[&str]) -> DeltaDiscoveryResponse {
    DeltaDiscoveryResponse {
        type_url: SOME.into(),
        resources: resources.to_vec(),
        removed_resources: removed.iter().map(|name| (*name).to_owned()).collect(),
        nonce: "n1".into(),
        ..Default::default()
    }
}

fn resource(name: &str, version: &str) -> Resource {
    let resource = Some(Any { type_url: SOME.into(), value: body(name, 1) });
    Resource { name: name.into(), version: version.into(), resource, ..Default::default() }
}

fn take(client: &mut Machine, response: impl Into<Response>, now: Instant) -> Option<Update> {
    let update = client.handle_response(0, response.into(), |_, body| first_field(body))?;
    let _ = client.handle_applied(&update, &[], now);
    Some(update)
}

fn names(update: &Update) -> Vec<&str> {
    update.upserts.iter().map(|resource| resource.name.as_str()).collect()
}

fn delta_requests(client: &mut Machine, now: Instant) -> Vec<(Vec<String>, Vec<String>, String)> {
    std::iter::from_fn(|| client.poll_request(0, now))
        .map(|request| match request {
            Request::Delta(request) => {
                (request.resource_names_subscribe, request.resource_names_unsubscribe, request.response_nonce)
            }
            Request::StateOfTheWorld(other) => panic!("{other:?}"),
        })
        .collect()
}

fn some(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn changes_of_a_subscription_are_joined_and_never_ride_on_an_acknowledgement() {
    let (mut client, now) = (one(Variant::Delta), Instant::now());
    assert!(delta_requests(&mut client, now).is_empty(), "nothing is wanted yet");
    client.subscribe(SOME, some(&["a"]));
    assert_eq!(delta_requests(&mut client, now), [(some(&["a"]), vec![], String::new())]);
    take(&mut client, Response::Delta(delta(&[resource("a", "1")], &[])), now).unwrap();
    client.subscribe(SOME, some(&["b"]));
    client.subscribe(SOME, some(&["c"]));
    client.unsubscribe(SOME, &some(&["c"]));
    client.unsubscribe(SOME, &some(&["a"]));
    assert_eq!(
        delta_requests(&mut client, now),
        [(vec![], vec![], "n1".to_owned()), (some(&["b"]), some(&["a", "c"]), String::new())]
    );
    // On the next stream only what is still wanted.
    client.handle_closed(0);
    client.handle_opened(0);
    assert_eq!(delta_requests(&mut client, now), [(some(&["b"]), vec![], String::new())]);
}

#[test]
fn a_request_of_the_state_of_the_world_says_all_that_is_wanted() {
    let (mut client, now) = (one(Variant::StateOfTheWorld), Instant::now());
    let next = |client: &mut Machine| {
        std::iter::from_fn(|| client.poll_request(0, now))
            .map(|request| match request {
                Request::StateOfTheWorld(request) => {
                    let error = request.error_detail.map(|error| error.message).unwrap_or_default();
                    format!(
                        "{:?} v{} n{} {error}",
                        request.resource_names, request.version_info, request.response_nonce
                    )
                }
                Request::Delta(other) => panic!("{other:?}"),
            })
            .collect::<Vec<_>>()
    };
    let response = |version: &str, nonce: &str, names: &[&str]| {
        Response::StateOfTheWorld(DiscoveryResponse {
            version_info: version.into(),
            nonce: nonce.into(),
            type_url: SOME.into(),
            resources: names.iter().map(|name| Any { type_url: SOME.into(), value: body(name, 1) }).collect(),
            ..Default::default()
        })
    };
    client.subscribe(SOME, some(&["a", "b"]));
    assert_eq!(next(&mut client), [r#"["a", "b"] v n "#]);
    assert_eq!(names(&take(&mut client, response("1", "x", &["a"]), now).unwrap()), ["a"]);
    assert_eq!(next(&mut client), [r#"["a", "b"] v1 nx "#]);
    // A rejection repeats the version before, and the nonce of what is rejected.
    let update = client.handle_response(0, response("2", "y", &["a", "b"]), |_, body| first_field(body)).unwrap();
    let rejected = [Rejected { name: "b".into(), reason: "no".into() }];
    assert_eq!(client.handle_applied(&update, &rejected, now).as_deref(), Some("b: no"));
    assert_eq!(next(&mut client), [r#"["a", "b"] v1 ny b: no"#]);
    assert_eq!(client.held(SOME).collect::<Vec<_>>(), [("a", "2")], "only what was accepted");
    client.unsubscribe(SOME, &some(&["a", "b"]));
    assert_eq!(next(&mut client), ["[] v1 ny "], "nothing, since something was named before");
    // The accepted version survives the stream.
    client.subscribe(SOME, some(&["a"]));
    client.handle_closed(0);
    client.handle_opened(0);
    assert_eq!(next(&mut client), [r#"["a"] v1 n "#]);
}

#[test]
fn a_name_that_stands_twice_or_nowhere_is_told_and_changes_nothing() {
    let (mut client, now) = (one(Variant::Delta), Instant::now());
    client.subscribe(SOME, some(&["a", "b"]));
    delta_requests(&mut client, now);
    let response = delta(&[resource("a", "1"), resource("b", "1"), resource("a", "2")], &[]);
    let update = client.handle_response(0, Response::Delta(response), |_, body| first_field(body)).unwrap();
    assert_eq!(names(&update), ["b"]);
    assert_eq!(client.handle_applied(&update, &[], now).as_deref(), Some("a: is there twice"));

    let mut client = one(Variant::StateOfTheWorld);
    client.want(ALL, Interest::All);
    client.restore(ALL, "kept", "1", Some(0), None);
    let _ = std::iter::from_fn(|| client.poll_request(0, now)).count();
    let response = DiscoveryResponse {
        type_url: ALL.into(),
        resources: vec![
            Any { type_url: ALL.into(), value: vec![0xff] },
            Any { type_url: "other".into(), value: vec![] },
        ],
        ..Default::default()
    };
    let update = client.handle_response(0, Response::StateOfTheWorld(response), |_, body| first_field(body)).unwrap();
    assert!(update.removed.is_empty(), "the one that cannot be told may be the one that is held");
    let reason = client.handle_applied(&update, &[], now).unwrap();
    assert_eq!(reason, "a resource without a name; a resource of type `other`");
}

#[test]
fn what_was_not_asked_for_is_passed_over_and_acknowledged() {
    let (mut client, now) = (one(Variant::Delta), Instant::now());
    client.subscribe(SOME, some(&["a"]));
    delta_requests(&mut client, now);
    let aliased = Resource { aliases: some(&["a"]), ..resource("long/a", "1") };
    let response = delta(&[resource("stranger", "1"), aliased], &[]);
    assert_eq!(names(&take(&mut client, Response::Delta(response), now).unwrap()), ["long/a"]);
    assert_eq!(delta_requests(&mut client, now), [(vec![], vec![], "n1".to_owned())]);
    assert_eq!(client.held(SOME).map(|(name, _)| name).collect::<Vec<_>>(), ["long/a"]);
}

#[test]
fn silence_about_a_name_is_its_absence_after_fifteen_seconds() {
    let (mut client, start) = (one(Variant::Delta), Instant::now());
    client.subscribe(SOME, some(&["a", "b", "c"]));
    assert_eq!(client.next_deadline(), None, "not before it was sent");
    delta_requests(&mut client, start);
    assert_eq!(client.next_deadline(), Some(start + Duration::from_secs(15)));
    take(&mut client, Response::Delta(delta(&[resource("a", "1")], &["b"])), start);
    assert!(!client.is_complete());
    // Not while there is no stream, and anew on the next one.
    client.handle_closed(0);
    assert_eq!(client.next_deadline(), None);
    client.handle_opened(0);
    let later = start + Duration::from_secs(60);
    delta_requests(&mut client, later);
    assert!(client.handle_timeout(later + Duration::from_secs(14)).is_empty());
    let expired = client.handle_timeout(later + Duration::from_secs(15));
    let wanted = Expired::Missing { type_url: SOME.into(), names: some(&["c"]), transient: false };
    assert_eq!(expired, [wanted]);
    assert!(client.is_complete());
    assert_eq!(client.next_deadline(), None);
}

#[test]
fn a_server_whose_silence_is_its_own_trouble_has_thirty() {
    let mut traits = ServerTraits::new("s", Variant::StateOfTheWorld);
    traits.silence_is_transient = true;
    let mut client = Machine::new(Node::default(), vec![traits]);
    client.handle_opened(0);
    client.subscribe(SOME, some(&["a"]));
    let now = Instant::now();
    assert!(client.poll_request(0, now).is_some());
    assert!(client.handle_timeout(now + Duration::from_secs(29)).is_empty());
    let expired = client.handle_timeout(now + Duration::from_secs(30));
    assert!(matches!(&expired[..], [Expired::Missing { transient: true, .. }]));
}

#[test]
fn a_resource_lives_as_long_as_it_is_confirmed() {
    for variant in [Variant::Delta, Variant::StateOfTheWorld] {
        let (mut client, start) = (one(variant), Instant::now());
        client.subscribe(SOME, some(&["a"]));
        let _ = std::iter::from_fn(|| client.poll_request(0, start)).count();
        let ttl = Some(Span { seconds: 10, nanos: 0 });
        let send = |client: &mut Machine, resource: Resource, now| {
            let resource = Resource { ttl, ..resource };
            take(
                client,
                match variant {
                    Variant::Delta => Response::Delta(delta(&[resource], &[])),
                    Variant::StateOfTheWorld => {
                        let type_url = format!("type.googleapis.com/{}", Resource::full_name());
                        let resources = vec![Any { type_url, value: resource.encode_to_vec() }];
                        let version_info = "of-all".into();
                        Response::StateOfTheWorld(DiscoveryResponse {
                            resources,
                            version_info,
                            type_url: SOME.into(),
                            ..Default::default()
                        })
                    }
                },
                now,
            )
            .unwrap()
        };
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(names(&send(&mut client, resource("a", "1"), at(0))), ["a"]);
        let heartbeat = Resource { resource: None, ..resource("a", "1") };
        assert!(send(&mut client, heartbeat.clone(), at(8)).upserts.is_empty(), "nothing to apply");
        assert!(client.handle_timeout(at(17)).is_empty());
        let expired = client.handle_timeout(at(18));
        let [Expired::Removed(update)] = &expired[..] else { panic!("{expired:?}") };
        assert_eq!((&update.removed[..], update.server), (&some(&["a"])[..], None));
        let _ = std::iter::from_fn(|| client.poll_request(0, at(18))).count();
        assert_eq!(client.handle_applied(update, &[], at(18)), None);
        assert_eq!(client.held(SOME).count(), 0);
        assert!(client.poll_request(0, at(18)).is_none(), "there is nothing to acknowledge");
        assert!(send(&mut client, heartbeat, at(19)).upserts.is_empty(), "its time passed");
    }
}

#[test]
fn errors_of_single_resources() {
    let (mut client, now) = (one(Variant::Delta), Instant::now());
    client.subscribe(SOME, some(&["a", "b"]));
    delta_requests(&mut client, now);
    let error = |name: &str, code| ResourceError {
        resource_name: Some(ResourceName { name: name.into(), ..Default::default() }),
        error_detail: Some(Status { code, message: "why".into(), details: vec![] }),
    };
    let response = DeltaDiscoveryResponse { resource_errors: vec![error("a", 5), error("b", 7)], ..delta(&[], &["a"]) };
    let update = take(&mut client, Response::Delta(response), now).unwrap();
    assert_eq!(update.removed, ["a"], "not found, said twice");
    assert_eq!(update.errors.iter().map(|(name, status)| (name.as_str(), status.code)).collect::<Vec<_>>(), [("b", 7)]);
    assert_eq!(client.next_deadline(), None, "nothing is waited for");
}

#[test]
fn another_server_is_not_told_versions_that_are_not_its_own() {
    let servers = |replica| {
        ["one", "two"].map(|name| {
            let mut traits = ServerTraits::new(name, Variant::Delta);
            traits.replica = replica;
            traits
        })
    };
    for (replica, told) in [(false, ""), (true, "v1")] {
        let (mut client, now) = (Machine::new(Node::default(), servers(replica).to_vec()), Instant::now());
        client.want(SOME, Interest::All);
        client.handle_opened(0);
        let _ = client.poll_request(0, now);
        take(&mut client, Response::Delta(delta(&[resource("a", "v1")], &[])), now).unwrap();
        client.restore(SOME, "of-nobody", "v0", None, None);
        for (server, a) in [(0, "v1"), (1, told)] {
            client.handle_closed(server);
            client.handle_opened(server);
            let Some(Request::Delta(request)) = client.poll_request(server, now) else { panic!("a first request") };
            assert_eq!(request.initial_resource_versions["a"], a);
            assert_eq!(request.initial_resource_versions["of-nobody"], "");
        }
    }
}

#[test]
fn what_the_server_spoke_against_is_sent_again_on_the_next_stream() {
    let (mut client, now) = (one(Variant::Delta), Instant::now());
    client.subscribe(SOME, some(&["denied", "rejected", "fine"]));
    delta_requests(&mut client, now);
    let all = ["denied", "rejected", "fine"].map(|name| resource(name, "v1"));
    take(&mut client, Response::Delta(delta(&all, &[])), now).unwrap();
    let denied = ResourceError {
        resource_name: Some(ResourceName { name: "denied".into(), ..Default::default() }),
        error_detail: Some(Status { code: 7, message: "why".into(), details: vec![] }),
    };
    let response =
        DeltaDiscoveryResponse { resource_errors: vec![denied], ..delta(&[resource("rejected", "v2")], &[]) };
    let update = client.handle_response(0, Response::Delta(response), |_, body| first_field(body)).unwrap();
    let _ = client.handle_applied(&update, &[Rejected { name: "rejected".into(), reason: "no".into() }], now);
    client.handle_closed(0);
    client.handle_opened(0);
    let Some(Request::Delta(request)) = client.poll_request(0, now) else { panic!("a first request") };
    let told = |name: &str| request.initial_resource_versions[name].as_str();
    assert_eq!((told("denied"), told("rejected"), told("fine")), ("", "", "v1"));
}

#[test]
fn the_text_of_a_rejection_is_bounded() {
    let (mut client, now) = (one(Variant::Delta), Instant::now());
    client.subscribe(SOME, (0..1000).map(|n| format!("r{n}")));
    delta_requests(&mut client, now);
    let all: Vec<Resource> = (0..1000).map(|n| resource(&format!("r{n}"), "1")).collect();
    let update = client.handle_response(0, Response::Delta(delta(&all, &[])), |_, body| first_field(body)).unwrap();
    let rejected: Vec<Rejected> =
        all.iter().map(|one| Rejected { name: one.name.clone(), reason: "x".repeat(100) }).collect();
    let reason = client.handle_applied(&update, &rejected, now).unwrap();
    assert!(reason.len() < 17 * 1024, "{}", reason.len());
    assert!(reason.ends_with("more"), "{reason}");
}
