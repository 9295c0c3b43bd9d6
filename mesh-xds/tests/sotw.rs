//! The state-of-the-world protocol: subscriptions, nonces, rejections, removals; and every history against a plain map.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a test"
)]

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use mesh_xds::envoy::{
    CLUSTER_TYPE as CLUSTER, ENDPOINT_TYPE as ENDPOINTS, LISTENER_TYPE as LISTENER, ROUTE_TYPE as ROUTE,
};
use mesh_xds::pb::Status;
use mesh_xds::pb::discovery::{DiscoveryRequest, DiscoveryResponse};
use mesh_xds::server::sotw::Machine;
use mesh_xds::server::{Cache, CacheWriter, Change, Entry, Permissions, Rules};
use proptest::prelude::*;

struct Scene {
    writer: CacheWriter,
    cache: Cache,
    machine: Machine,
}

impl Scene {
    fn new() -> Self {
        let (writer, cache) = Cache::new(&[CLUSTER, ENDPOINTS]);
        Self { writer, cache, machine: Machine::default() }
    }

    fn put(&self, url: &str, name: &str, body: u8) {
        self.writer.apply([(url, Change::Put(name.to_owned(), Entry::new(vec![name.as_bytes()[0], body], vec![])))]);
    }

    fn remove(&self, url: &str, name: &str) {
        self.writer.apply([(url, Change::Remove(name.to_owned()))]);
    }

    fn ask(&mut self, url: &str, names: &[&str], nonce: &str) {
        let request = DiscoveryRequest {
            type_url: url.into(),
            resource_names: names.iter().map(|name| (*name).to_owned()).collect(),
            response_nonce: nonce.into(),
            ..DiscoveryRequest::default()
        };
        self.machine.handle_request(&request).unwrap();
    }

    fn next(&mut self) -> Option<DiscoveryResponse> {
        let snapshot = self.cache.live().snapshot();
        self.machine.poll_response(&snapshot, &[CLUSTER, ENDPOINTS], true)
    }

    /// The first bytes of the resources of the next answer, which is accepted.
    fn taken(&mut self, url: &str, names: &[&str]) -> Option<String> {
        let answer = self.next()?;
        self.ask(url, names, &answer.nonce);
        Some(answer.resources.iter().map(|resource| char::from(resource.value[0])).collect())
    }
}

#[test]
fn an_empty_list_is_everything_until_something_was_named() {
    let mut scene = Scene::new();
    for name in ["a", "b"] {
        scene.put(CLUSTER, name, 0);
    }
    scene.ask(CLUSTER, &[], "");
    assert_eq!(scene.taken(CLUSTER, &["*", "a"]).unwrap(), "ab");
    // Still all, and the client has it.
    assert_eq!(scene.next(), None);
    scene.ask(CLUSTER, &["a"], "1");
    assert_eq!(scene.next(), None);
    scene.put(CLUSTER, "b", 1);
    assert_eq!(scene.next(), None, "b was given up");
    scene.ask(CLUSTER, &[], "1");
    scene.put(CLUSTER, "a", 1);
    assert_eq!(scene.next(), None, "an empty list is nothing now");
    scene.ask(CLUSTER, &["*"], "1");
    assert_eq!(scene.taken(CLUSTER, &["*"]).unwrap(), "ab");
}

#[test]
fn stale_requests_say_nothing() {
    let mut scene = Scene::new();
    scene.put(ENDPOINTS, "a", 0);
    scene.put(ENDPOINTS, "b", 0);
    scene.ask(ENDPOINTS, &["a"], "");
    let first = scene.next().unwrap();
    // Without a nonce, and with one that was never given: as if they had not come.
    for nonce in ["", "0", "99"] {
        scene.ask(ENDPOINTS, &["b"], nonce);
        assert_eq!(scene.next(), None);
    }
    scene.put(ENDPOINTS, "a", 1);
    assert_eq!(scene.next(), None, "one answer at a time");
    scene.ask(ENDPOINTS, &["a", "b"], &first.nonce);
    let second = scene.next().unwrap();
    assert_eq!(second.resources.len(), 2);
    assert_ne!(second.version_info, first.version_info);
    assert_ne!(second.nonce, first.nonce);
}

#[test]
fn a_rejected_version_is_not_sent_again() {
    let mut scene = Scene::new();
    scene.put(CLUSTER, "a", 0);
    scene.ask(CLUSTER, &[], "");
    let answer = scene.next().unwrap();
    let detail = Status { code: 3, message: "a: no".into(), details: vec![] };
    let request = DiscoveryRequest {
        type_url: CLUSTER.into(),
        response_nonce: answer.nonce.clone(),
        error_detail: Some(detail),
        ..DiscoveryRequest::default()
    };
    scene.machine.handle_request(&request).unwrap();
    assert_eq!(scene.next(), None);
    let progress = |scene: &Scene| scene.machine.progress().next().unwrap().1.clone();
    assert_eq!(progress(&scene).rejected.as_deref(), Some("a: no"));
    assert_eq!(progress(&scene).acknowledged, None);
    scene.put(CLUSTER, "a", 1);
    assert_eq!(scene.taken(CLUSTER, &[]).unwrap(), "a");
    assert_eq!(progress(&scene).rejected, None);
}

#[test]
fn removals() {
    let mut scene = Scene::new();
    for name in ["a", "b"] {
        scene.put(CLUSTER, name, 0);
        scene.put(ENDPOINTS, name, 0);
    }
    scene.ask(CLUSTER, &[], "");
    assert_eq!(scene.taken(CLUSTER, &[]).unwrap(), "ab");
    scene.ask(ENDPOINTS, &["a", "b"], "");
    assert_eq!(scene.taken(ENDPOINTS, &["a", "b"]).unwrap(), "ab");
    // Of clusters the rest is sent; of endpoints nothing can be.
    scene.remove(CLUSTER, "a");
    scene.remove(ENDPOINTS, "a");
    assert_eq!(scene.taken(CLUSTER, &[]).unwrap(), "b");
    assert_eq!(scene.next(), None);
    // One that changes brings the others of its type only where absence means something.
    scene.put(CLUSTER, "c", 0);
    scene.put(ENDPOINTS, "b", 1);
    assert_eq!(scene.taken(CLUSTER, &[]).unwrap(), "bc");
    assert_eq!(scene.taken(ENDPOINTS, &["a", "b"]).unwrap(), "b");
    // The last one gone is an answer too; and what comes back is new.
    scene.remove(CLUSTER, "b");
    scene.remove(CLUSTER, "c");
    assert_eq!(scene.taken(CLUSTER, &[]).unwrap(), "");
    scene.put(ENDPOINTS, "a", 0);
    assert_eq!(scene.taken(ENDPOINTS, &["a", "b"]).unwrap(), "a");
}

#[test]
fn a_route_never_leads_where_nothing_is() {
    let mut scene = Scene::new();
    let all = [CLUSTER, ENDPOINTS, ROUTE];
    let next = |scene: &mut Scene| {
        let snapshot = scene.cache.live().snapshot();
        let answer = scene.machine.poll_response(&snapshot, &all, true)?;
        let names = answer.resources.iter().map(|resource| char::from(resource.value[0])).collect::<String>();
        Some((answer.type_url.rsplit('.').next().unwrap().to_owned(), names, answer.nonce))
    };
    scene.put(CLUSTER, "a", 0);
    scene.put(ENDPOINTS, "a", 0);
    scene.put(ROUTE, "r", 0);
    scene.ask(CLUSTER, &[], "");
    let (kind, names, nonce) = next(&mut scene).unwrap();
    assert_eq!((&*kind, &*names), ("Cluster", "a"));
    scene.ask(CLUSTER, &[], &nonce);
    scene.ask(ENDPOINTS, &["a"], "");
    scene.ask(ROUTE, &["r"], "");
    let (kind, _, nonce) = next(&mut scene).unwrap();
    assert_eq!(kind, "ClusterLoadAssignment");
    assert_eq!(next(&mut scene), None, "the endpoints are not accepted yet");
    assert!(scene.machine.is_holding());
    scene.ask(ENDPOINTS, &["a"], &nonce);
    let (kind, _, routed) = next(&mut scene).unwrap();
    assert_eq!(kind, "RouteConfiguration");
    scene.ask(ROUTE, &["r"], &routed);

    // The route moves from one cluster to another, in one change.
    scene.put(CLUSTER, "b", 0);
    scene.put(ENDPOINTS, "b", 0);
    scene.put(ROUTE, "r", 1);
    scene.remove(CLUSTER, "a");
    scene.remove(ENDPOINTS, "a");
    let (kind, names, clusters) = next(&mut scene).unwrap();
    assert_eq!((&*kind, &*names), ("Cluster", "ab"), "both, for a while");
    assert_eq!(next(&mut scene), None);
    scene.ask(CLUSTER, &[], &clusters);
    assert_eq!(next(&mut scene), None, "the client has yet to ask for the new one's endpoints");
    scene.ask(ENDPOINTS, &["a", "b"], &nonce);
    let (kind, names, nonce) = next(&mut scene).unwrap();
    assert_eq!((&*kind, &*names), ("ClusterLoadAssignment", "b"));
    scene.ask(ENDPOINTS, &["a", "b"], &nonce);
    let (kind, _, routed) = next(&mut scene).unwrap();
    assert_eq!(kind, "RouteConfiguration");
    assert_eq!(next(&mut scene), None, "the route is not accepted yet");
    scene.ask(ROUTE, &["r"], &routed);
    let (kind, names, clusters) = next(&mut scene).unwrap();
    assert_eq!((&*kind, &*names), ("Cluster", "b"));
    scene.ask(CLUSTER, &[], &clusters);

    // As Envoy does: a new cluster is accepted only with its endpoints.
    scene.put(CLUSTER, "c", 0);
    scene.put(ENDPOINTS, "c", 0);
    scene.put(ROUTE, "r", 2);
    let (kind, names, clusters) = next(&mut scene).unwrap();
    assert_eq!((&*kind, &*names), ("Cluster", "bc"));
    scene.ask(ENDPOINTS, &["b", "c"], &nonce);
    let (kind, names, nonce) = next(&mut scene).unwrap();
    assert_eq!((&*kind, &*names), ("ClusterLoadAssignment", "c"));
    scene.ask(ENDPOINTS, &["b", "c"], &nonce);
    assert_eq!(next(&mut scene), None, "the cluster is not accepted yet");
    scene.ask(CLUSTER, &[], &clusters);
    assert_eq!(next(&mut scene).unwrap().0, "RouteConfiguration");
}

#[test]
fn what_was_rejected_and_goes_is_not_sent_again() {
    let mut scene = Scene::new();
    let reject = |scene: &mut Scene, nonce: &str| {
        let request = DiscoveryRequest {
            type_url: CLUSTER.into(),
            response_nonce: nonce.into(),
            error_detail: Some(Status { code: 3, message: "no".into(), details: vec![] }),
            ..DiscoveryRequest::default()
        };
        scene.machine.handle_request(&request).unwrap();
    };
    let bodies = |answer: &DiscoveryResponse| -> Vec<String> {
        answer.resources.iter().map(|one| format!("{}{}", char::from(one.value[0]), one.value[1])).collect()
    };
    scene.put(CLUSTER, "a", 1);
    scene.put(LISTENER, "l", 1);
    scene.ask(CLUSTER, &[], "");
    assert_eq!(scene.taken(CLUSTER, &[]).unwrap(), "a");
    scene.ask(LISTENER, &[], "");
    assert_eq!(scene.taken(LISTENER, &[]).unwrap(), "l");
    // A version of one that is in use, and one that is not.
    scene.put(CLUSTER, "a", 2);
    scene.put(CLUSTER, "b", 1);
    let answer = scene.next().unwrap();
    assert_eq!(bodies(&answer), ["a2", "b1"]);
    reject(&mut scene, &answer.nonce);
    scene.remove(CLUSTER, "a");
    scene.remove(CLUSTER, "b");
    scene.put(CLUSTER, "c", 1);
    scene.put(LISTENER, "l", 2);
    let answer = scene.next().unwrap();
    assert_eq!(bodies(&answer), ["a1", "c1"], "as the client has it, until the listener has moved");
    scene.ask(CLUSTER, &[], &answer.nonce);
    assert_eq!(scene.taken(LISTENER, &[]).unwrap(), "l");
    assert_eq!(scene.taken(CLUSTER, &[]).unwrap(), "c");
}

#[derive(Debug, Default)]
struct Counted(AtomicUsize);

impl Permissions for Counted {
    fn permits(&self, _: &str, _: &str) -> bool {
        self.0.fetch_add(1, Ordering::Relaxed);
        true
    }
}

#[test]
fn a_name_more_costs_no_look_at_all_the_others() {
    let counted = Arc::new(Counted::default());
    let mut scene = Scene::new();
    scene.machine = Machine::new(Rules { permissions: Some(counted.clone()), ..Rules::default() });
    let all = (0..10_000).map(|n| (ENDPOINTS, Change::Put(format!("e{n}"), Entry::new(vec![b'e'], vec![]))));
    scene.writer.apply(all);
    scene.ask(ENDPOINTS, &["e1"], "");
    assert_eq!(scene.taken(ENDPOINTS, &["e1"]).unwrap(), "e");
    scene.ask(ENDPOINTS, &["e1", "e2", "e3"], "1");
    assert_eq!(scene.taken(ENDPOINTS, &["e1", "e2", "e3"]).unwrap(), "ee");
    let looks = counted.0.load(Ordering::Relaxed);
    assert!(looks < 100, "{looks}");
}

#[test]
fn first_answers() {
    let mut scene = Scene::new();
    // There is no cluster, and that is an answer, also of one that is named later; of endpoints, that they are missing is said.
    scene.ask(ENDPOINTS, &["a"], "");
    scene.ask(CLUSTER, &[], "");
    assert_eq!(scene.taken(CLUSTER, &["x"]).unwrap(), "");
    assert_eq!(scene.taken(CLUSTER, &["x"]).unwrap(), "");
    let missing = scene.next().unwrap();
    assert_eq!((&*missing.type_url, missing.resources.len(), missing.resource_errors.len()), (ENDPOINTS, 0, 1));
    scene.ask(ENDPOINTS, &["a"], &missing.nonce);
    assert_eq!(scene.next(), None);
    scene.ask(CLUSTER, &["x", "y"], "2");
    assert_eq!(scene.taken(CLUSTER, &["x", "y"]).unwrap(), "");
    scene.put(ENDPOINTS, "a", 0);
    assert_eq!(scene.taken(ENDPOINTS, &["a"]).unwrap(), "a");
    // Given up and asked for again: sent again, for the client has dropped it.
    scene.ask(ENDPOINTS, &[], "5");
    scene.ask(ENDPOINTS, &["a"], "5");
    assert_eq!(scene.taken(ENDPOINTS, &["a"]).unwrap(), "a");
    // Versions are those of the content: another server gives the same.
    let mut other = Scene::new();
    other.put(ENDPOINTS, "a", 0);
    other.ask(ENDPOINTS, &["a"], "");
    let mut third = Scene::new();
    third.put(ENDPOINTS, "a", 0);
    third.ask(ENDPOINTS, &["a"], "");
    assert_eq!(other.next().unwrap().version_info, third.next().unwrap().version_info);
    assert!(scene.machine.handle_request(&DiscoveryRequest::default()).is_err());
    let many = DiscoveryRequest {
        type_url: CLUSTER.into(),
        resource_names: vec![String::new(); 100_001],
        ..DiscoveryRequest::default()
    };
    assert!(scene.machine.handle_request(&many).is_err());
}

#[derive(Debug, Clone)]
enum Step {
    Put(bool, u8, u8),
    Remove(bool, u8),
    /// The client wants these names.
    Want(bool, BTreeSet<u8>),
    ServerReads,
    ServerWrites,
    /// The client reads, and accepts or not.
    ClientReads(bool),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (any::<bool>(), 0_u8..4, 0_u8..4).prop_map(|(full, name, body)| Step::Put(full, name, body)),
        2 => (any::<bool>(), 0_u8..4).prop_map(|(full, name)| Step::Remove(full, name)),
        2 => (any::<bool>(), proptest::collection::btree_set(0_u8..4, 1..4)).prop_map(|(full, names)| Step::Want(full, names)),
        4 => Just(Step::ServerReads),
        4 => Just(Step::ServerWrites),
        4 => prop::bool::weighted(0.8).prop_map(Step::ClientReads),
    ]
}

/// A client as the protocol describes it, one type.
#[derive(Default)]
struct Client {
    wanted: BTreeSet<u8>,
    nonce: String,
    version: String,
    held: BTreeMap<u8, u8>,
}

impl Client {
    fn request(&self, url: &str, error: bool) -> DiscoveryRequest {
        DiscoveryRequest {
            type_url: url.into(),
            version_info: self.version.clone(),
            resource_names: self.wanted.iter().map(|name| format!("r{name}")).collect(),
            response_nonce: self.nonce.clone(),
            error_detail: error.then(|| Status { code: 3, message: "no".into(), details: vec![] }),
            ..DiscoveryRequest::default()
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// After any history, once everything was read, the client holds what the server has of what it wants, where no answer was
    /// rejected.
    #[test]
    fn every_history_ends_in_agreement(steps in proptest::collection::vec(step(), 0..80)) {
        let (writer, cache) = Cache::new(&[CLUSTER, ENDPOINTS]);
        let mut server = Machine::default();
        let url = |full: bool| if full { CLUSTER } else { ENDPOINTS };
        let mut truth: BTreeMap<bool, BTreeMap<u8, u8>> = BTreeMap::new();
        let mut clients: BTreeMap<bool, Client> = BTreeMap::new();
        let (mut requests, mut responses) = (VecDeque::new(), VecDeque::new());
        for full in [true, false] {
            let client = Client { wanted: [0].into(), ..Client::default() };
            requests.push_back(client.request(url(full), false));
            clients.insert(full, client);
        }
        // What was rejected, and whether an answer that may have been about removals was.
        let (mut rejected, mut refused_whole) = (BTreeSet::new(), false);
        let read = |client: &mut Client, response: &DiscoveryResponse, full: bool, accept: bool| {
            client.nonce.clone_from(&response.nonce);
            if accept {
                client.version.clone_from(&response.version_info);
                let new = response.resources.iter().map(|resource| (resource.value[0], resource.value[1]));
                if full { client.held = new.collect() } else { client.held.extend(new) }
            }
        };
        let quiet = [Step::ServerReads, Step::ServerWrites, Step::ClientReads(true)];
        let end: Vec<Step> = (0..40).flat_map(|_| quiet.clone()).collect();
        for (index, step) in steps.iter().chain(&end).enumerate() {
            match step {
                Step::Put(full, name, body) => {
                    truth.entry(*full).or_default().insert(*name, *body);
                    let entry = Entry::new(vec![*name, *body], vec![]);
                    writer.apply([(url(*full), Change::Put(format!("r{name}"), entry))]);
                }
                Step::Remove(full, name) => {
                    truth.entry(*full).or_default().remove(name);
                    writer.apply([(url(*full), Change::Remove(format!("r{name}")))]);
                }
                Step::Want(full, names) => {
                    let client = clients.get_mut(full).unwrap();
                    // What it gives up it keeps for a while: a server that never read of it would not send it again.
                    client.wanted.clone_from(names);
                    requests.push_back(client.request(url(*full), false));
                }
                Step::ServerReads => {
                    if let Some(request) = requests.pop_front() {
                        server.handle_request(&request).unwrap();
                    }
                }
                Step::ServerWrites => {
                    let snapshot = cache.live().snapshot();
                    // Sooner or later the server waits no more.
                    let patient = index < steps.len();
                    responses.extend(server.poll_response(&snapshot, &[CLUSTER, ENDPOINTS], patient));
                }
                Step::ClientReads(accept) => {
                    if let Some(response) = responses.pop_front() {
                        let response: DiscoveryResponse = response;
                        let full = response.type_url == CLUSTER;
                        let client = clients.get_mut(&full).unwrap();
                        read(client, &response, full, *accept);
                        if !accept {
                            refused_whole |= full;
                            rejected.extend(response.resources.iter().map(|one| (full, one.value[0], one.value[1])));
                        }
                        requests.push_back(client.request(url(full), !accept));
                    }
                }
            }
        }
        prop_assert!(requests.is_empty() && responses.is_empty());
        for (full, client) in &clients {
            let all = truth.entry(*full).or_default();
            for name in &client.wanted {
                // What was rejected is not sent again until it changes.
                if all.get(name).is_some_and(|body| rejected.contains(&(*full, *name, *body))) {
                    continue;
                }
                let (held, there) = (client.held.get(name), all.get(name));
                // Of endpoints, those that are gone are held until nothing refers to them.
                if there.is_some() || *full && !refused_whole {
                    prop_assert_eq!(held, there, "{} {}", full, name);
                }
            }
        }
    }
}
