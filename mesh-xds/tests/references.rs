//! Make before break: whatever changes, and whatever the client rejects, what it serves leads to nothing that is not there.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a test"
)]

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use envoy_types::pb::envoy::config::cluster::v3::Cluster;
use envoy_types::pb::envoy::config::cluster::v3::cluster::EdsClusterConfig;
use mesh_xds::envoy::{CLUSTER_TYPE, ENDPOINT_TYPE, LISTENER_TYPE, ROUTE_TYPE};
use mesh_xds::pb::Status;
use mesh_xds::pb::discovery::{DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse};
use mesh_xds::server::{Cache, CacheWriter, Entry, machine, sotw};
use proptest::collection::{btree_set, vec};
use proptest::prelude::*;
use prost::Message;

const TYPES: [&str; 4] = [CLUSTER_TYPE, ENDPOINT_TYPE, LISTENER_TYPE, ROUTE_TYPE];

/// A resource as the client understands it.
#[derive(Clone, PartialEq, Eq)]
struct Content {
    name: String,
    version: u8,
    /// Whether the client rejects it.
    bad: bool,
    leads_to: Vec<String>,
}

/// In one line: histories are long.
impl std::fmt::Debug for Content {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let bad = if self.bad { ", bad" } else { "" };
        write!(f, "version {}{bad}, leads to {:?}", self.version, self.leads_to.join(" "))
    }
}

impl Content {
    /// A cluster says where its endpoints are in a way that the server understands too.
    fn encode(&self, url: &str) -> Vec<u8> {
        let text = format!("{} {} {} {}", self.name, self.version, self.bad, self.leads_to.join(","));
        if url != CLUSTER_TYPE {
            return text.into_bytes();
        }
        let config = EdsClusterConfig { service_name: self.leads_to[0].clone(), ..EdsClusterConfig::default() };
        Cluster { alt_stat_name: text, eds_cluster_config: Some(config), ..Cluster::default() }.encode_to_vec()
    }

    fn decode(url: &str, body: &[u8]) -> Self {
        let text = match url {
            CLUSTER_TYPE => Cluster::decode(body).unwrap().alt_stat_name,
            _ => String::from_utf8(body.to_vec()).unwrap(),
        };
        let parts: Vec<&str> = text.split(' ').collect();
        let leads_to = parts[3].split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect();
        Self { name: parts[0].to_owned(), version: parts[1].parse().unwrap(), bad: parts[2] == "true", leads_to }
    }
}

/// All that is served at one moment: nothing leads to what is not there, and nothing is there to which nothing leads.
type World = BTreeMap<&'static str, BTreeMap<String, Content>>;

fn world(versions: std::ops::Range<u8>, bad: f64) -> impl Strategy<Value = World> {
    let kind = (versions, prop::bool::weighted(bad));
    let listeners = vec((prop::option::of(0_u8..3), kind.clone()), 3);
    let routes = vec((btree_set(0_u8..4, 1..3), kind.clone()), 3);
    let clusters = vec((0_u8..4, kind.clone()), 4);
    (listeners, routes, clusters, vec(kind, 4)).prop_map(|(listeners, routes, clusters, endpoints)| {
        let mut world: World = TYPES.map(|url| (url, BTreeMap::new())).into();
        let mut put = |url: &'static str, name: String, (version, bad), leads_to: Vec<String>| {
            let content = Content { name: name.clone(), version, bad, leads_to };
            world.get_mut(url).unwrap().insert(name, content);
        };
        for (index, (route, kind)) in listeners.into_iter().enumerate() {
            let Some(route) = route else { continue };
            put(LISTENER_TYPE, format!("l{index}"), kind, vec![format!("r{route}")]);
            let (led_to, kind) = routes[usize::from(route)].clone();
            put(ROUTE_TYPE, format!("r{route}"), kind, led_to.iter().map(|cluster| format!("c{cluster}")).collect());
            for cluster in led_to {
                let (of, kind) = clusters[usize::from(cluster)];
                put(CLUSTER_TYPE, format!("c{cluster}"), kind, vec![format!("e{of}")]);
                put(ENDPOINT_TYPE, format!("e{of}"), endpoints[usize::from(of)], vec![]);
            }
        }
        world
    })
}

#[derive(Debug, Clone)]
enum Step {
    Change(World),
    ServerReads,
    ServerWrites,
    /// The client says that it accepted clusters before it asks for their endpoints, or after that.
    ClientReads(bool),
    /// All of these in turn, for so many rounds.
    Rounds(u8, bool),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => world(0..3, 0.1).prop_map(Step::Change),
        4 => Just(Step::ServerReads),
        4 => Just(Step::ServerWrites),
        4 => any::<bool>().prop_map(Step::ClientReads),
        2 => (1_u8..20, any::<bool>()).prop_map(|(rounds, accepts_first)| Step::Rounds(rounds, accepts_first)),
    ]
}

/// What a client says about a type, in either variant.
#[derive(Debug)]
struct Said {
    url: &'static str,
    /// All names it wants now, and wanted when it said something before; `None`: it asks for the first time.
    names: BTreeSet<String>,
    before: Option<BTreeSet<String>>,
    nonce: String,
    error: Option<Status>,
}

/// What a server says about a type, in either variant.
struct Told {
    url: &'static str,
    nonce: String,
    resources: Vec<Content>,
    /// How many requests were read before; `None`: that does not matter.
    after: Option<usize>,
    /// What is gone; `None`: what is not there, of types that are told of whole.
    removed: Option<Vec<String>>,
}

enum Machine {
    Delta(machine::Machine),
    StateOfTheWorld(sotw::Machine),
}

struct Server {
    machine: Machine,
    /// Number of requests read.
    read: usize,
}

impl Server {
    fn read(&mut self, said: Said) {
        self.read += 1;
        let type_url = said.url.to_owned();
        let list = |names: &BTreeSet<String>, without: &BTreeSet<String>| names.difference(without).cloned().collect();
        match &mut self.machine {
            Machine::Delta(machine) => {
                let before = said.before.unwrap_or_default();
                let request = DeltaDiscoveryRequest {
                    type_url,
                    resource_names_subscribe: list(&said.names, &before),
                    resource_names_unsubscribe: list(&before, &said.names),
                    response_nonce: said.nonce,
                    error_detail: said.error,
                    ..DeltaDiscoveryRequest::default()
                };
                machine.handle_request(&request).unwrap();
            }
            Machine::StateOfTheWorld(machine) => {
                let request = DiscoveryRequest {
                    type_url,
                    resource_names: list(&said.names, &BTreeSet::new()),
                    response_nonce: said.nonce,
                    error_detail: said.error,
                    ..DiscoveryRequest::default()
                };
                machine.handle_request(&request).unwrap();
            }
        }
    }

    fn write(&mut self, cache: &Cache, order: &[&str]) -> Option<Told> {
        let snapshot = cache.live().snapshot();
        let known = |url: &str| *TYPES.iter().find(|known| **known == url).unwrap();
        match &mut self.machine {
            Machine::Delta(machine) => {
                let answer: DeltaDiscoveryResponse = machine.poll_response(&snapshot, order, true)?;
                let url = known(&answer.type_url);
                let bodies = answer.resources.into_iter().filter_map(|resource| resource.resource);
                let resources = bodies.map(|body| Content::decode(url, &body.value)).collect();
                let removed = Some(answer.removed_resources);
                Some(Told { url, nonce: answer.nonce, resources, after: Some(self.read), removed })
            }
            Machine::StateOfTheWorld(machine) => {
                let answer: DiscoveryResponse = machine.poll_response(&snapshot, order, true)?;
                let url = known(&answer.type_url);
                let resources = answer.resources.iter().map(|body| Content::decode(url, &body.value)).collect();
                let whole = [CLUSTER_TYPE, LISTENER_TYPE].contains(&url);
                Some(Told { url, nonce: answer.nonce, resources, after: None, removed: (!whole).then(Vec::new) })
            }
        }
    }

    fn is_holding(&self) -> bool {
        match &self.machine {
            Machine::Delta(machine) => machine.is_holding(),
            Machine::StateOfTheWorld(machine) => machine.is_holding(),
        }
    }
}

/// A client that asks for what its listeners and clusters lead to, as Envoy does.
struct Client {
    /// Whether the good resources of an answer are taken though others of it are rejected.
    partial: bool,
    accepted: BTreeMap<&'static str, BTreeMap<String, Content>>,
    /// To which routes listeners lead, and to which endpoints clusters, in the version in use: a new one is only when that
    /// to which it leads is there.
    in_use: BTreeMap<&'static str, BTreeMap<String, String>>,
    /// By type: what it asked for, and the nonce of the last answer.
    said: BTreeMap<&'static str, (BTreeSet<String>, String)>,
    /// Number of requests so far, and in which of them names were asked for last.
    requests: usize,
    asked: BTreeMap<(&'static str, String), usize>,
}

impl Client {
    fn new(partial: bool) -> Self {
        let accepted = TYPES.map(|url| (url, BTreeMap::new())).into();
        let in_use = [LISTENER_TYPE, CLUSTER_TYPE].map(|url| (url, BTreeMap::new())).into();
        Self { partial, accepted, in_use, said: BTreeMap::new(), requests: 0, asked: BTreeMap::new() }
    }

    /// What it asks for first.
    fn begin(&mut self) -> Vec<Said> {
        [CLUSTER_TYPE, LISTENER_TYPE].map(|url| self.say(url, None)).into()
    }

    fn say(&mut self, url: &'static str, error: Option<Status>) -> Said {
        let names = self.wanted(url);
        let said = self.said.get(url);
        let nonce = said.map(|(_, nonce)| nonce.clone()).unwrap_or_default();
        let before = said.map(|(names, _)| names.clone());
        self.said.insert(url, (names.clone(), nonce.clone()));
        self.requests += 1;
        for name in names.iter().filter(|name| !before.as_ref().is_some_and(|before| before.contains(*name))) {
            self.asked.insert((url, name.clone()), self.requests);
        }
        Said { url, names, before, nonce, error }
    }

    /// The names it asks for: all that is led to, by what is in use or is to be; of the other types everything.
    fn wanted(&self, url: &str) -> BTreeSet<String> {
        let leading = match url {
            ROUTE_TYPE => LISTENER_TYPE,
            ENDPOINT_TYPE => CLUSTER_TYPE,
            _ => return BTreeSet::new(),
        };
        let to_be = self.accepted[leading].values().flat_map(|content| &content.leads_to);
        to_be.chain(self.in_use[leading].values()).cloned().collect()
    }

    fn read(&mut self, told: Told, accepts_first: bool) -> Vec<Said> {
        let Told { url, nonce, mut resources, after, removed } = told;
        // What was given up and is asked for again must come again: the server forgets it between.
        let asked = |content: &Content| self.asked.get(&(url, content.name.clone())).copied().unwrap_or_default();
        resources.retain(|content| after.is_none_or(|after| asked(content) <= after));
        let rejects = resources.iter().any(|content| content.bad);
        if !rejects || self.partial {
            let names: BTreeSet<_> = resources.iter().map(|content| content.name.clone()).collect();
            let accepted = self.accepted.get_mut(url).unwrap();
            match removed {
                Some(removed) => removed.iter().for_each(|name| drop(accepted.remove(name))),
                None => accepted.retain(|name, _| names.contains(name)),
            }
            accepted.extend(resources.into_iter().filter(|one| !one.bad).map(|one| (one.name.clone(), one)));
        }
        self.take_into_use();
        self.said.get_mut(url).unwrap().1 = nonce;
        let error = rejects.then(|| Status { code: 3, message: "no".into(), details: vec![] });
        let mut order = vec![ROUTE_TYPE, ENDPOINT_TYPE];
        order.retain(|other| *other != url);
        order.insert(if accepts_first && url == CLUSTER_TYPE { 0 } else { order.len() }, url);
        let mut requests = Vec::new();
        for other in order {
            let said = self.said.get(other).map(|(names, _)| names.clone());
            // An empty list in a first request would ask for everything.
            if other == url {
                requests.push(self.say(url, error.clone()));
            } else if said.unwrap_or_default() != self.wanted(other) {
                requests.push(self.say(other, None));
            }
        }
        requests
    }

    fn take_into_use(&mut self) {
        for (from, to) in [(LISTENER_TYPE, ROUTE_TYPE), (CLUSTER_TYPE, ENDPOINT_TYPE)] {
            let in_use = self.in_use.get_mut(from).unwrap();
            in_use.retain(|name, _| self.accepted[from].contains_key(name));
            for (name, content) in &self.accepted[from] {
                if self.accepted[to].contains_key(&content.leads_to[0]) {
                    in_use.insert(name.clone(), content.leads_to[0].clone());
                }
            }
            let wanted = self.wanted(to);
            self.accepted.get_mut(to).unwrap().retain(|name, _| wanted.contains(name));
        }
    }

    /// What leads nowhere.
    fn broken(&self) -> Option<String> {
        for (from, to) in [(LISTENER_TYPE, ROUTE_TYPE), (CLUSTER_TYPE, ENDPOINT_TYPE)] {
            let mut in_use = self.in_use[from].iter();
            if let Some((name, led_to)) = in_use.find(|(_, led_to)| !self.accepted[to].contains_key(*led_to)) {
                return Some(format!("{name} leads to {led_to}, which is gone"));
            }
        }
        for (name, route) in &self.accepted[ROUTE_TYPE] {
            if let Some(cluster) = route.leads_to.iter().find(|one| !self.in_use[CLUSTER_TYPE].contains_key(*one)) {
                return Some(format!("{name} leads to {cluster}, which is not there, or has no endpoints"));
            }
        }
        None
    }
}

struct Scene {
    writer: CacheWriter,
    cache: Cache,
    server: Server,
    client: Client,
    requests: VecDeque<Said>,
    answers: VecDeque<Told>,
}

impl Scene {
    fn new(server: Server, partial: bool) -> Self {
        let (writer, cache) = Cache::new(&TYPES);
        let mut client = Client::new(partial);
        let requests = client.begin().into();
        Self { writer, cache, server, client, requests, answers: VecDeque::new() }
    }

    fn step(&mut self, step: &Step, order: &[&str]) -> Result<(), TestCaseError> {
        match step {
            Step::Rounds(rounds, accepts_first) => {
                for _ in 0..*rounds {
                    for step in [Step::ServerReads, Step::ServerWrites, Step::ClientReads(*accepts_first)] {
                        self.step(&step, order)?;
                    }
                }
            }
            Step::Change(world) => {
                let entry = |url: &str, content: &Content| Entry::new(content.encode(url), vec![]);
                let types = world.iter().map(|(url, all)| {
                    (*url, all.iter().map(|(name, content)| (name.clone(), entry(url, content))).collect::<Vec<_>>())
                });
                self.writer.replace(types);
            }
            Step::ServerReads => self.requests.pop_front().into_iter().for_each(|said| self.server.read(said)),
            Step::ServerWrites => self.answers.extend(self.server.write(&self.cache, order)),
            Step::ClientReads(accepts_first) => {
                if let Some(told) = self.answers.pop_front() {
                    self.requests.extend(self.client.read(told, *accepts_first));
                }
            }
        }
        self.client.broken().map_or(Ok(()), |broken| Err(TestCaseError::fail(broken)))
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn what_is_in_use_leads_somewhere(
        delta in any::<bool>(),
        partial in any::<bool>(),
        order in Just(TYPES.to_vec()).prop_shuffle(),
        listed in 0_usize..=4,
        steps in vec(step(), 0..80),
        last in world(9..10, 0.0),
    ) {
        let machine = match delta {
            true => Machine::Delta(machine::Machine::default()),
            false => Machine::StateOfTheWorld(sotw::Machine::default()),
        };
        let (mut scene, order) = (Scene::new(Server { machine, read: 0 }, partial), &order[..listed]);
        for step in &steps {
            scene.step(step, order)?;
        }
        // In the end all is good, and what waits for that does not wait for ever, though nobody loses patience.
        scene.step(&Step::Change(last.clone()), order)?;
        scene.step(&Step::Rounds(200, false), order)?;
        prop_assert!(scene.requests.is_empty() && scene.answers.is_empty());
        prop_assert!(!scene.server.is_holding());
        prop_assert_eq!(&scene.client.accepted, &last);
    }
}
