//! The client's and the server's machines against each other, over every history that a generator thinks of.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a test"
)]

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use envoy_types::pb::envoy::config::cluster::v3::Cluster;
use envoy_types::pb::envoy::config::cluster::v3::cluster::EdsClusterConfig;
use mesh_xds::client::first_field;
use mesh_xds::client::machine::{
    Interest, Machine as Client, Rejected, Request, Response, ServerTraits, Update, Variant,
};
use mesh_xds::envoy::{CLUSTER_TYPE, ENDPOINT_TYPE, LISTENER_TYPE, ROUTE_TYPE};
use mesh_xds::pb::discovery::{DeltaDiscoveryRequest, DeltaDiscoveryResponse};
use mesh_xds::pb::{Node, Status};
use mesh_xds::server::machine::Machine as Server;
use mesh_xds::server::{Cache, CacheWriter, Change, Entry};
use proptest::prelude::*;
use prost::Message;

const A: &str = "type/a";
const B: &str = "type/b";
const CHAIN: [&str; 4] = [CLUSTER_TYPE, ENDPOINT_TYPE, LISTENER_TYPE, ROUTE_TYPE];

fn client(node: Node, interest: Interest, types: &[&str]) -> Client {
    let mut client = Client::new(node, vec![ServerTraits::new("", Variant::Delta)]);
    types.iter().for_each(|url| client.want(url, interest));
    client
}

/// The requests of a new stream.
fn opened(client: &mut Client) -> Vec<DeltaDiscoveryRequest> {
    client.handle_closed(0);
    client.handle_opened(0);
    due(client)
}

/// All requests that are due.
fn due(client: &mut Client) -> Vec<DeltaDiscoveryRequest> {
    std::iter::from_fn(|| client.poll_request(0, Instant::now()))
        .map(|request| match request {
            Request::Delta(request) => request,
            Request::StateOfTheWorld(other) => panic!("not asked for: {other:?}"),
        })
        .collect()
}

fn read(client: &mut Client, response: DeltaDiscoveryResponse) -> Option<Update> {
    client.handle_response(0, Response::Delta(response), |_, body| first_field(body))
}

#[derive(Debug, Clone)]
enum Step {
    Put(bool, u8, u8),
    Remove(bool, u8),
    /// The server reads one request.
    ServerReads,
    /// The server writes one response.
    ServerWrites,
    /// The client reads one response, and rejects what has this body.
    ClientReads(Option<u8>),
    /// The stream breaks; what is under way is lost.
    Break,
    /// The server restarts and knows nothing of the client.
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (any::<bool>(), 0_u8..4, 0_u8..4).prop_map(|(a, name, body)| Step::Put(a, name, body)),
        2 => (any::<bool>(), 0_u8..4).prop_map(|(a, name)| Step::Remove(a, name)),
        3 => Just(Step::ServerReads),
        3 => Just(Step::ServerWrites),
        3 => proptest::option::weighted(0.3, 0_u8..4).prop_map(Step::ClientReads),
        1 => Just(Step::Break),
        1 => Just(Step::Restart),
    ]
}

struct Pair {
    writer: CacheWriter,
    cache: Cache,
    server: Server,
    client: Client,
    requests: VecDeque<DeltaDiscoveryRequest>,
    responses: VecDeque<DeltaDiscoveryResponse>,
    /// What the client's application has.
    applied: BTreeMap<(String, String), Vec<u8>>,
    /// Everything that the server ever had.
    ever: Vec<(String, String, Vec<u8>)>,
}

impl Pair {
    fn new() -> Self {
        let (writer, cache) = Cache::new(&[A, B]);
        let mut client = client(Node { id: "n".into(), ..Node::default() }, Interest::All, &[A, B]);
        let requests = opened(&mut client).into();
        let (server, responses, applied, ever) = (Server::default(), VecDeque::new(), BTreeMap::new(), Vec::new());
        Self { writer, cache, server, client, requests, responses, applied, ever }
    }

    fn step(&mut self, step: &Step) {
        let url = |a: bool| if a { A } else { B };
        match step {
            Step::Put(a, name, body) => {
                let (name, body) = (format!("r{name}"), vec![*body; 3]);
                self.ever.push((url(*a).to_owned(), name.clone(), body.clone()));
                self.writer.apply([(url(*a), Change::Put(name, Entry::new(body, vec![])))]);
            }
            Step::Remove(a, name) => {
                self.writer.apply([(url(*a), Change::Remove(format!("r{name}")))]);
            }
            Step::ServerReads => {
                if let Some(request) = self.requests.pop_front() {
                    self.server.handle_request(&request).unwrap();
                }
            }
            Step::ServerWrites => {
                let snapshot = self.cache.live().snapshot();
                self.responses.extend(self.server.poll_response(&snapshot, &[A, B], true));
            }
            Step::ClientReads(reject) => self.client_reads(*reject),
            Step::Break => self.reconnect(),
            Step::Restart => {
                self.server = Server::default();
                self.reconnect();
            }
        }
    }

    fn client_reads(&mut self, reject: Option<u8>) {
        let Some(response) = self.responses.pop_front() else { return };
        let Some(update) = read(&mut self.client, response) else { return };
        let mut rejected = Vec::new();
        for name in &update.removed {
            self.applied.remove(&(update.type_url.clone(), name.clone()));
        }
        for resource in &update.upserts {
            let body = resource.resource.as_ref().unwrap().value.clone();
            if reject.is_some_and(|bad| body[0] == bad) {
                rejected.push(Rejected { name: resource.name.clone(), reason: "bad".into() });
            } else {
                self.applied.insert((update.type_url.clone(), resource.name.clone()), body);
            }
        }
        let reason = self.client.handle_applied(&update, &rejected, Instant::now());
        assert_eq!(reason.is_some(), !rejected.is_empty());
        self.requests.extend(due(&mut self.client));
    }

    fn reconnect(&mut self) {
        self.server = Server::default();
        self.responses.clear();
        self.requests = opened(&mut self.client).into();
    }

    fn settle(&mut self) {
        loop {
            let before = (self.requests.len(), self.responses.len());
            self.step(&Step::ServerReads);
            self.step(&Step::ServerWrites);
            self.step(&Step::ClientReads(None));
            if before == (0, 0) && self.requests.is_empty() && self.responses.is_empty() {
                return;
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Whatever happened, in the end the client has what the server has, and never had what the server never sent.
    #[test]
    fn the_client_converges(steps in proptest::collection::vec(step(), 0..60)) {
        let mut pair = Pair::new();
        for step in &steps {
            pair.step(step);
            for ((url, name), body) in &pair.applied {
                prop_assert!(pair.ever.contains(&(url.clone(), name.clone(), body.clone())));
            }
        }
        // What was rejected is sent again when the stream is made anew.
        pair.reconnect();
        pair.settle();
        let snapshot = pair.cache.live().snapshot();
        let wanted: BTreeMap<_, _> = [A, B].iter().flat_map(|url| {
            snapshot.entries(url).map(|(name, entry)| (((*url).to_owned(), name.to_owned()), entry.body.to_vec()))
        }).collect();
        prop_assert_eq!(&pair.applied, &wanted);
        prop_assert!(pair.client.is_synced());
        let held: usize = [A, B].iter().map(|url| pair.client.held(url).count()).sum();
        prop_assert_eq!(held, wanted.len());
    }
}

fn request(url: &str) -> DeltaDiscoveryRequest {
    DeltaDiscoveryRequest { type_url: url.into(), ..Default::default() }
}

fn names(response: &DeltaDiscoveryResponse) -> Vec<&str> {
    response.resources.iter().map(|resource| resource.name.as_str()).collect()
}

#[test]
fn the_wildcard_is_taken_up_and_given_up_on_one_stream() {
    let (writer, cache) = Cache::new(&[A]);
    let put = |name: &str, body: u8, alias: &str| {
        let entry = Entry::new(vec![body], vec![alias.to_owned()]);
        writer.apply([(A, Change::Put(name.into(), entry))]);
    };
    put("named", 1, "/1");
    put("aliased", 1, "/2");
    put("other", 1, "/3");
    let mut server = Server::default();
    let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let mut say = |subscribe: &[&str], unsubscribe: &[&str]| {
        let request = DeltaDiscoveryRequest {
            resource_names_subscribe: list(subscribe),
            resource_names_unsubscribe: list(unsubscribe),
            ..request(A)
        };
        server.handle_request(&request).unwrap();
        let answer = server.poll_response(&cache.live().snapshot(), &[A], true)?;
        Some((names(&answer).join(" "), answer.removed_resources.join(" ")))
    };
    let told = |resources: &str, removed: &str| Some((resources.to_owned(), removed.to_owned()));
    assert_eq!(say(&["named", "/2"], &[]), told("aliased named", "/2"));
    // Everything is looked at, and what the client has is not sent again.
    assert_eq!(say(&["*"], &[]), told("other", ""));
    assert_eq!(say(&[], &["*"]), None);
    // What it keeps is still followed, by whatever name; the rest is forgotten, and sent again when it is wanted again.
    put("named", 2, "/1");
    put("aliased", 2, "/2");
    put("other", 2, "/3");
    assert_eq!(say(&[], &[]), told("aliased named", ""));
    writer.apply([(A, Change::Remove("aliased".into()))]);
    assert_eq!(say(&[], &[]), told("", "aliased"));
    assert_eq!(say(&["*"], &[]), told("other", ""));
}

#[test]
fn an_empty_first_answer_is_still_an_answer() {
    let (_writer, cache) = Cache::new(&[A]);
    let mut server = Server::default();
    server.handle_request(&request(A)).unwrap();
    let snapshot = cache.live().snapshot();
    assert!(server.poll_response(&snapshot, &[A], true).is_some(), "the client waits for it");
    assert!(server.poll_response(&snapshot, &[A], true).is_none());
}

#[test]
fn subscribing_to_nothing_then_by_name_and_alias() {
    // As ztunnel starts with on-demand discovery: `*` in both lists, then single names.
    let (writer, cache) = Cache::new(&[A]);
    writer.apply([
        (A, Change::Put("one".into(), Entry::new(vec![1], vec!["/10.0.0.1".into()]))),
        (A, Change::Put("two".into(), Entry::new(vec![2], vec![]))),
    ]);
    let mut server = Server::default();
    let star = vec!["*".to_owned()];
    server
        .handle_request(&DeltaDiscoveryRequest {
            resource_names_subscribe: star.clone(),
            resource_names_unsubscribe: star,
            ..request(A)
        })
        .unwrap();
    let snapshot = cache.live().snapshot();
    let first = server.poll_response(&snapshot, &[A], true).unwrap();
    assert!(names(&first).is_empty());
    let by_name =
        DeltaDiscoveryRequest { resource_names_subscribe: vec!["/10.0.0.1".into(), "missing".into()], ..request(A) };
    server.handle_request(&by_name).unwrap();
    let mut answers = std::iter::from_fn(|| server.poll_response(&snapshot, &[A], true)).collect::<Vec<_>>();
    assert_eq!(names(&answers[0]), ["one"]);
    assert_eq!(answers[0].resources[0].aliases, ["/10.0.0.1"]);
    assert_eq!(answers.remove(0).removed_resources, ["/10.0.0.1", "missing"]);
    writer.apply([
        (A, Change::Put("two".into(), Entry::new(vec![3], vec![]))),
        (A, Change::Put("one".into(), Entry::new(vec![4], vec!["/10.0.0.1".into()]))),
    ]);
    let changed = server.poll_response(&cache.live().snapshot(), &[A], true).unwrap();
    assert_eq!(names(&changed), ["one"], "only what was asked for");
}

#[test]
fn what_comes_with_a_name_comes_and_is_seen_to_leave() {
    use mesh_xds::pb::{Kind, Struct, Value};
    use mesh_xds::server::machine::node_key;
    let (writer, cache) = Cache::new(&[A]);
    let put = |name: &str, body: u8, with: &[&str]| {
        let with = with.iter().map(|name| (*name).to_owned()).collect();
        (A, Change::Put(name.into(), Entry::new(vec![body], vec![]).coming_with(with)))
    };
    writer.apply([
        put("shop/web", 1, &[]),
        put("shop/waypoint", 1, &["shop/web"]),
        put("web-1", 1, &["shop/web"]),
        put("waypoint-1", 1, &["shop/waypoint"]),
        put("local", 1, &[&node_key("n1")]),
        put("other", 1, &[&node_key("n2"), "shop/other"]),
    ]);
    let value = Value { kind: Some(Kind::StringValue("n1".into())) };
    let metadata = Struct { fields: [("NODE_NAME".to_owned(), value)].into_iter().collect() };
    let node = Node { metadata: Some(metadata), ..Node::default() };
    let mut asking = client(node, Interest::OnDemand, &[A]);
    let mut server = Server::default();
    let send = |server: &mut Server, requests: Vec<DeltaDiscoveryRequest>| {
        for request in &requests {
            server.handle_request(request).unwrap();
        }
        server.poll_response(&cache.live().snapshot(), &[A], true).map(|answer| (names(&answer).join(" "), answer))
    };
    let (local, answer) = send(&mut server, opened(&mut asking)).unwrap();
    assert_eq!(local, "local", "the workloads of its own node");
    let update = read(&mut asking, answer).unwrap();
    let _ = asking.handle_applied(&update, &[], Instant::now());
    asking.subscribe(A, ["shop/web".to_owned()]);
    let demand = due(&mut asking);
    asking.subscribe(A, ["shop/web".to_owned()]);
    assert!(due(&mut asking).is_empty(), "asked for once");
    let (all, answer) = send(&mut server, demand).unwrap();
    assert_eq!(all, "shop/waypoint shop/web waypoint-1 web-1");
    let update = read(&mut asking, answer).unwrap();
    let _ = asking.handle_applied(&update, &[], Instant::now());

    // An endpoint leaves its service, another one comes.
    writer.apply([put("web-1", 2, &[]), put("web-2", 1, &["shop/web"])]);
    assert_eq!(send(&mut server, vec![]).unwrap().0, "web-1 web-2");

    // After a reconnect only what changed since.
    writer.apply([put("waypoint-1", 2, &["shop/waypoint"]), (A, Change::Remove("local".into()))]);
    let (changed, answer) = send(&mut Server::default(), opened(&mut asking)).unwrap();
    // `shop/web` itself is asked for by name again, and answered so that nobody waits in vain.
    assert_eq!(changed, "shop/web waypoint-1 web-1 web-2");
    assert_eq!(answer.removed_resources, ["local"]);
}

#[test]
fn new_things_come_before_gone_things() {
    let (writer, cache) = Cache::new(&[A, B]);
    let put = |name: &str, body: u8| Change::Put(name.into(), Entry::new(vec![body], vec![]));
    writer.apply([(A, put("old-policy", 1)), (B, put("workload", 1))]);
    let mut server = Server::default();
    server.handle_request(&request(A)).unwrap();
    server.handle_request(&request(B)).unwrap();
    let snapshot = cache.live().snapshot();
    while server.poll_response(&snapshot, &[A, B], true).is_some() {}
    let one = |name: &str| vec![(name.to_owned(), Entry::new(vec![2], vec![]))];
    assert_eq!(writer.replace([(A, one("new-policy")), (B, one("workload"))]), 3);
    let snapshot = cache.live().snapshot();
    let order: Vec<_> = std::iter::from_fn(|| server.poll_response(&snapshot, &[A, B], true))
        .map(|response| (response.type_url.clone(), names(&response).join(","), response.removed_resources.join(",")))
        .collect();
    let wanted = [(A, "new-policy", ""), (B, "workload", ""), (A, "", "old-policy")];
    assert_eq!(order, wanted.map(|(url, new, gone)| (url.to_owned(), new.to_owned(), gone.to_owned())));
}

#[test]
fn after_a_reconnect_too() {
    let (writer, cache) = Cache::new(&[A, B]);
    let one = |name: &str| vec![(name.to_owned(), Entry::new(vec![2], vec![]))];
    writer.replace([(A, one("new-policy")), (B, one("workload"))]);
    let held = |name: &str| [(name.to_owned(), "1".to_owned())].into_iter().collect();
    let mut server = Server::default();
    server
        .handle_request(&DeltaDiscoveryRequest { initial_resource_versions: held("old-policy"), ..request(A) })
        .unwrap();
    server
        .handle_request(&DeltaDiscoveryRequest { initial_resource_versions: held("old-workload"), ..request(B) })
        .unwrap();
    let snapshot = cache.live().snapshot();
    let order: Vec<_> = std::iter::from_fn(|| server.poll_response(&snapshot, &[A, B], true))
        .map(|response| (names(&response).join(","), response.removed_resources.join(",")))
        .collect();
    let wanted = [("new-policy", ""), ("workload", "old-workload"), ("", "old-policy")];
    assert_eq!(order, wanted.map(|(new, gone)| (new.to_owned(), gone.to_owned())));
}

/// A client of the delta variant that holds one resource of each of Envoy's types, and accepted them.
fn chained() -> (CacheWriter, Cache, Server) {
    let (writer, cache) = Cache::new(&CHAIN);
    let mut server = Server::default();
    for url in CHAIN {
        writer.apply([(url, Change::Put("a".into(), Entry::new(vec![1], vec![])))]);
        server.handle_request(&request(url)).unwrap();
    }
    while let Some(answer) = server.poll_response(&cache.live().snapshot(), &[], true) {
        server.handle_request(&said(&answer, false)).unwrap();
    }
    (writer, cache, server)
}

fn said(answer: &DeltaDiscoveryResponse, against: bool) -> DeltaDiscoveryRequest {
    let error_detail = against.then(|| Status { code: 3, message: "no".into(), details: vec![] });
    DeltaDiscoveryRequest { response_nonce: answer.nonce.clone(), error_detail, ..request(&answer.type_url) }
}

#[test]
fn what_is_gone_goes_from_listeners_to_endpoints() {
    let (writer, cache, mut server) = chained();
    // The order that the service wants is of no account.
    let order = [ENDPOINT_TYPE, CLUSTER_TYPE, A, ROUTE_TYPE];
    writer.apply(CHAIN.map(|url| (url, Change::Remove("a".into()))));
    let snapshot = cache.live().snapshot();
    for url in [LISTENER_TYPE, ROUTE_TYPE, CLUSTER_TYPE, ENDPOINT_TYPE] {
        let answer = server.poll_response(&snapshot, &order, true).unwrap();
        assert_eq!((&*answer.type_url, answer.removed_resources.join(",")), (url, "a".to_owned()));
        assert_eq!(server.poll_response(&snapshot, &order, true), None, "{url} is not accepted yet");
        assert_eq!(server.is_holding(), url != ENDPOINT_TYPE, "{url}");
        server.handle_request(&said(&answer, false)).unwrap();
    }
    assert_eq!(server.poll_response(&snapshot, &order, true), None);
    assert!(!server.is_holding());
}

#[test]
fn what_goes_in_its_turn_is_not_told_earlier_because_it_is_asked_for_once_more() {
    let (writer, cache, mut server) = chained();
    let ask = |names: &[&str], not: &[&str]| DeltaDiscoveryRequest {
        resource_names_subscribe: names.iter().map(|name| (*name).to_owned()).collect(),
        resource_names_unsubscribe: not.iter().map(|name| (*name).to_owned()).collect(),
        ..request(ENDPOINT_TYPE)
    };
    let poll = |server: &mut Server| server.poll_response(&cache.live().snapshot(), &[], true);
    writer.apply([LISTENER_TYPE, ENDPOINT_TYPE].map(|url| (url, Change::Remove("a".into()))));
    assert_eq!(poll(&mut server).unwrap().type_url, LISTENER_TYPE);
    server.handle_request(&ask(&["a"], &[])).unwrap();
    assert_eq!(poll(&mut server), None);
    // Who gave it up has it no more, and hears at once that it is not there.
    server.handle_request(&ask(&[], &["*"])).unwrap();
    server.handle_request(&ask(&[], &["a"])).unwrap();
    server.handle_request(&ask(&["a"], &[])).unwrap();
    assert_eq!(poll(&mut server).unwrap().removed_resources, ["a"]);
}

#[test]
fn what_a_version_in_use_may_lead_to_stays_however_long_the_better_one_takes() {
    let (writer, cache, mut server) = chained();
    let put = |name: &str, body: u8| Change::Put(name.into(), Entry::new(vec![body], vec![]));
    let poll = |server: &mut Server, patient| server.poll_response(&cache.live().snapshot(), &[], patient);
    // The route goes to another cluster, and the client does not take it.
    writer.apply([(ROUTE_TYPE, put("a", 2)), (ROUTE_TYPE, put("other", 1))]);
    writer.apply([(CLUSTER_TYPE, put("b", 1)), (CLUSTER_TYPE, Change::Remove("a".into()))]);
    let clusters = poll(&mut server, true).unwrap();
    assert_eq!((&*clusters.type_url, names(&clusters), clusters.removed_resources.len()), (CLUSTER_TYPE, vec!["b"], 0));
    assert_eq!(poll(&mut server, true), None);
    server.handle_request(&said(&clusters, false)).unwrap();
    let routes = poll(&mut server, true).unwrap();
    assert_eq!(names(&routes), ["a", "other"]);
    server.handle_request(&said(&routes, true)).unwrap();
    for patient in [true, false] {
        assert_eq!(poll(&mut server, patient), None);
        assert!(!server.is_holding(), "to wait is of no use");
    }
    // Another route is accepted, which says nothing of this one.
    writer.apply([(ROUTE_TYPE, put("other", 2))]);
    let routes = poll(&mut server, true).unwrap();
    assert_eq!(names(&routes), ["other"]);
    server.handle_request(&said(&routes, false)).unwrap();
    assert_eq!(poll(&mut server, false), None);
    // A better version ends it; so would that the route goes.
    writer.apply([(ROUTE_TYPE, put("a", 3))]);
    let routes = poll(&mut server, true).unwrap();
    assert_eq!(poll(&mut server, true), None);
    server.handle_request(&said(&routes, false)).unwrap();
    assert_eq!(poll(&mut server, true).unwrap().removed_resources, ["a"]);
}

#[test]
fn a_rejected_cluster_holds_routes_until_patience_ends_and_once() {
    let (writer, cache, mut server) = chained();
    let put = |name: &str, body: u8| Change::Put(name.into(), Entry::new(vec![body], vec![]));
    let poll = |server: &mut Server, patient| server.poll_response(&cache.live().snapshot(), &[], patient);
    writer.apply([(CLUSTER_TYPE, put("b", 1)), (ROUTE_TYPE, put("a", 2))]);
    let clusters = poll(&mut server, true).unwrap();
    server.handle_request(&said(&clusters, true)).unwrap();
    assert_eq!(poll(&mut server, true), None);
    assert!(server.is_holding());
    let routes = poll(&mut server, false).unwrap();
    assert_eq!(routes.type_url, ROUTE_TYPE);
    server.handle_request(&said(&routes, false)).unwrap();
    writer.apply([(ROUTE_TYPE, put("a", 3))]);
    assert_eq!(poll(&mut server, true).unwrap().type_url, ROUTE_TYPE, "it was waited for in vain already");
}

#[test]
fn endpoints_that_change_hold_nothing_and_new_ones_are_awaited_by_the_name_that_the_cluster_says() {
    let (writer, cache, mut server) = chained();
    let put = |name: &str, body: Vec<u8>| Change::Put(name.into(), Entry::new(body, vec![]));
    let poll = |server: &mut Server| server.poll_response(&cache.live().snapshot(), &[], true);
    let taken = |server: &mut Server| {
        let answer = poll(server)?;
        server.handle_request(&said(&answer, false)).unwrap();
        Some(answer.type_url)
    };
    // The change of endpoints is never accepted.
    writer.apply([(ENDPOINT_TYPE, put("a", vec![2])), (ROUTE_TYPE, put("a", vec![2]))]);
    assert_eq!(poll(&mut server).unwrap().type_url, ENDPOINT_TYPE);
    assert_eq!(taken(&mut server).unwrap(), ROUTE_TYPE);

    // The client wants endpoints by name.
    let star = vec!["*".to_owned()];
    let unsubscribe = DeltaDiscoveryRequest { resource_names_unsubscribe: star, ..request(ENDPOINT_TYPE) };
    server.handle_request(&unsubscribe).unwrap();
    let config = EdsClusterConfig { service_name: "b's".into(), ..EdsClusterConfig::default() };
    let cluster = Cluster { name: "b".into(), eds_cluster_config: Some(config), ..Cluster::default() };
    writer.apply([
        (CLUSTER_TYPE, put("b", cluster.encode_to_vec())),
        (ENDPOINT_TYPE, put("b", vec![1])),
        (ENDPOINT_TYPE, put("b's", vec![1])),
        (ROUTE_TYPE, put("a", vec![3])),
    ]);
    assert_eq!(taken(&mut server).unwrap(), CLUSTER_TYPE);
    let ask =
        |name: &str| DeltaDiscoveryRequest { resource_names_subscribe: vec![name.into()], ..request(ENDPOINT_TYPE) };
    assert_eq!(taken(&mut server), None, "the endpoints are not there");
    server.handle_request(&ask("b")).unwrap();
    assert_eq!(taken(&mut server).unwrap(), ENDPOINT_TYPE);
    assert_eq!(taken(&mut server), None, "these are not the cluster's");
    server.handle_request(&ask("b's")).unwrap();
    assert_eq!(taken(&mut server).unwrap(), ENDPOINT_TYPE);
    // They were sent: to give them up is the client's affair, and no reason to wait.
    let given_up = DeltaDiscoveryRequest { resource_names_unsubscribe: vec!["b's".into()], ..request(ENDPOINT_TYPE) };
    server.handle_request(&given_up).unwrap();
    assert_eq!(taken(&mut server).unwrap(), ROUTE_TYPE);
}

#[test]
fn a_client_far_behind_is_compared_in_full() {
    let (writer, cache) = Cache::new(&[A]);
    let mut server = Server::default();
    server.handle_request(&request(A)).unwrap();
    server.poll_response(&cache.live().snapshot(), &[A], true).unwrap();
    for n in 0..5000_u32 {
        writer.apply([(A, Change::Put(format!("r{}", n % 10), Entry::new(n.to_be_bytes().to_vec(), vec![])))]);
    }
    let answer = server.poll_response(&cache.live().snapshot(), &[A], true).unwrap();
    assert_eq!(answer.resources.len(), 10, "the newest of each, however many were missed");
}

#[test]
fn bounds_and_nonsense() {
    let mut server = Server::default();
    assert!(server.handle_request(&request("")).is_err());
    let many = (0..100_001).map(|n| n.to_string()).collect();
    assert!(server.handle_request(&DeltaDiscoveryRequest { resource_names_subscribe: many, ..request(A) }).is_err());
}

#[test]
fn an_answer_nobody_asked_for_is_not_acknowledged() {
    let mut client = client(Node::default(), Interest::All, &[A]);
    let _ = opened(&mut client);
    let stray = DeltaDiscoveryResponse { type_url: B.into(), nonce: "1".into(), ..Default::default() };
    assert!(read(&mut client, stray).is_none(), "an acknowledgement would subscribe to all of it");
}
