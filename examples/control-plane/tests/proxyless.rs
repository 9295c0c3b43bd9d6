//! Clients without a proxy: what they get for the names that they call, and that calls arrive.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    missing_docs,
    reason = "a test"
)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use mesh_control_plane::admission::admit;
use mesh_control_plane::projection::Projection;
use mesh_control_plane::source::dir;
use mesh_control_plane::translate::proxyless::{Clients, Named, changes};
use mesh_control_plane::translate::{Place, Waypoints};
use mesh_control_plane::world::World;
use mesh_core::balance::{Discovery, Localities, LocalityEndpoints};
use mesh_core::listener::{ListenerKind, RouteSource};
use mesh_core::name::{Locality, parse_spiffe_id, parse_trust_domain};
use mesh_core::route::{Action, ClusterChoice, ClusterName, Forward, RouteMatch, RouteTable};
use mesh_core::string_match::Pattern;
use mesh_core::tls::{SanKind, UpstreamTls, ValidationSource};
use mesh_identity::clock::SystemClock;
use mesh_identity::source::{CsrSource, Identities, TokenSource};
use mesh_xds::channel::{Channel, Plaintext};
use mesh_xds::client::machine::{ServerTraits, Variant};
use mesh_xds::client::{Client, Group};
use mesh_xds::envoy::cluster::decode_cluster;
use mesh_xds::envoy::endpoint::decode_assignment;
use mesh_xds::envoy::listener::decode_listener;
use mesh_xds::envoy::route::decode_route_table;
use mesh_xds::envoy::{CLUSTER_TYPE, ENDPOINT_TYPE, LISTENER_TYPE, ROUTE_TYPE};
use mesh_xds::pb::Node;
use mesh_xds::server::{Change, View};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::CancellationToken;
use tonic::metadata::MetadataMap;
use tonic::{Request, Response, Status};
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use crate::support::{Region, server, until};

fn place() -> Place {
    Place::new(parse_trust_domain("cluster.local").unwrap(), "c1")
}

fn read(directory: &Path) -> World {
    admit(&dir::read(directory).unwrap()).unwrap_or_else(|findings| panic!("{findings:#?}")).0
}

/// What a client is told for a name, as it is sent.
struct Asker<'w> {
    waypoints: &'w Waypoints,
    clients: Clients,
    known: BTreeSet<(String, String)>,
    text: String,
}

impl Asker<'_> {
    /// Asks as gRPC does: for what was called, then for what that leads to.
    fn call(&mut self, name: &str) {
        writeln!(self.text, "calls {name}").unwrap();
        let Some(bytes) = self.resource(LISTENER_TYPE, name) else { return };
        let listener = decode_listener(&bytes).unwrap().value;
        assert_eq!(listener.name, *name);
        let ListenerKind::Api(manager) = listener.kind else { panic!("{listener:?}") };
        let RouteSource::Rds(routes) = manager.routes else { panic!("{manager:?}") };
        for filter in &manager.filters {
            writeln!(self.text, "  filter {}", filter.name).unwrap();
        }
        writeln!(self.text, "  routes {routes}").unwrap();
        if !self.known.insert((ROUTE_TYPE.to_owned(), routes.to_string())) {
            return;
        }
        let Some(bytes) = self.resource(ROUTE_TYPE, routes.as_str()) else { return };
        let table = decode_route_table(&bytes).unwrap().value;
        for cluster in self.routes(&table) {
            if self.known.insert((CLUSTER_TYPE.to_owned(), cluster.clone())) {
                self.cluster(&cluster);
            }
        }
    }

    /// The bytes of a resource.
    fn resource(&mut self, url: &str, name: &str) -> Option<Vec<u8>> {
        let named = Named::new(url, name).unwrap();
        let value = self.waypoints.asked(&self.clients, &named);
        let found = changes(&named, value.as_ref()).into_iter().find_map(|(of, change)| match change {
            Change::Put(named, entry) if of == url => {
                assert_eq!(named, name);
                Some(entry.body.to_vec())
            }
            _ => None,
        });
        if found.is_none() {
            writeln!(self.text, "  nothing").unwrap();
        }
        found
    }

    fn routes(&mut self, table: &RouteTable) -> BTreeSet<String> {
        let mut clusters = BTreeSet::new();
        for route in table.config().hosts.iter().flat_map(|host| &host.routes) {
            let RouteMatch { path, headers, query, cookies, peer, grpc: _, fraction } = &route.matcher;
            assert!(query.is_empty() && cookies.is_empty() && peer.is_empty() && fraction.is_none());
            writeln!(self.text, "    {path:?}").unwrap();
            for header in headers {
                writeln!(self.text, "      and {:?} {:?}", header.name, header.condition).unwrap();
            }
            let Action::Forward(forward) = &route.action else {
                writeln!(self.text, "      {:?}", route.action).unwrap();
                continue;
            };
            let Forward { cluster, stream_duration, retry, hash, .. } = &**forward;
            writeln!(self.text, "      to {}", to(cluster)).unwrap();
            let retry = retry.as_ref().map(|retry| format!("again {} times on {}", retry.retries, retry.on));
            let longest = stream_duration.map(|duration| format!("for {:?}", duration.max));
            for said in retry.into_iter().chain(longest) {
                writeln!(self.text, "      {said}").unwrap();
            }
            let hash = hash.iter().map(|one| format!("{:?}", one.key));
            for of in hash.chain(route.filters.iter().map(|one| format!("{one:?}"))) {
                writeln!(self.text, "      {of}").unwrap();
            }
            match cluster {
                ClusterChoice::Named(name) => drop(clusters.insert(name.to_string())),
                ClusterChoice::Weighted(weighted) => {
                    clusters.extend(weighted.clusters.iter().filter_map(|one| match &one.cluster {
                        ClusterName::Named(name) => Some(name.to_string()),
                        ClusterName::Header(_) => None,
                    }));
                }
                ClusterChoice::Header(_) => {}
            }
        }
        clusters
    }

    fn cluster(&mut self, name: &str) {
        writeln!(self.text, "  cluster {name}").unwrap();
        let Some(bytes) = self.resource(CLUSTER_TYPE, name) else { return };
        let cluster = decode_cluster(&bytes).unwrap().value;
        let limit = cluster.circuit.default.max_requests;
        let weighted = if cluster.localities == Localities::Weighted { ", localities by weight" } else { "" };
        writeln!(self.text, "    {:?}{weighted}, limit {limit}", cluster.policy).unwrap();
        let outlier = cluster.outlier.as_ref().map(|outlier| (outlier.consecutive_5xx, outlier.interval));
        if let Some((failures, interval)) = outlier {
            writeln!(self.text, "    out after {failures} in a row, each {interval:?}").unwrap();
        }
        if let Some(UpstreamTls { certificate, validation: ValidationSource::Inline(validation), .. }) = &cluster.tls {
            let uris = validation.names.iter().filter(|name| name.kind == SanKind::Uri);
            let uris: Vec<&Pattern> = uris.map(|name| &name.pattern).collect();
            writeln!(self.text, "    TLS by {certificate:?}").unwrap();
            writeln!(self.text, "      whom {:?} knows as {uris:?}", validation.trusted_ca).unwrap();
        }
        match cluster.discovery {
            Discovery::Eds { .. } => {
                let Some(bytes) = self.resource(ENDPOINT_TYPE, name) else { return };
                self.endpoints(&decode_assignment(&bytes).unwrap().value.localities, ToString::to_string);
            }
            Discovery::LogicalDns(dns) => {
                self.endpoints(&dns.hosts.localities, |host| format!("{}:{} in DNS", host.name, host.port));
            }
            other => panic!("{other:?}"),
        }
    }

    fn endpoints<A>(&mut self, localities: &[LocalityEndpoints<A>], address: impl Fn(&A) -> String) {
        for LocalityEndpoints { locality, priority, weight, endpoints } in localities {
            writeln!(self.text, "    priority {priority} at \"{locality}\" weight {weight:?}").unwrap();
            for one in endpoints {
                assert!(one.tunnel.is_none());
                writeln!(self.text, "      {} {:?} weight {}", address(&one.address), one.health, one.weight).unwrap();
            }
        }
    }
}

fn to(cluster: &ClusterChoice) -> String {
    match cluster {
        ClusterChoice::Named(name) => name.to_string(),
        ClusterChoice::Weighted(weighted) => {
            let named = weighted.clusters.iter().map(|one| match &one.cluster {
                ClusterName::Named(name) => format!("{name} by {}", one.weight),
                ClusterName::Header(_) => panic!("{one:?}"),
            });
            named.collect::<Vec<_>>().join(", ")
        }
        ClusterChoice::Header(_) => panic!("{cluster:?}"),
    }
}

/// A line that begins a client: its namespace, whether it is captured, where it is.
fn client(line: &str) -> Option<Clients> {
    let [namespace, captured, at] = line.split(' ').collect::<Vec<_>>()[..] else { return None };
    let mut at = at.trim_start_matches('-').split('/');
    let mut part = || at.next().unwrap_or_default();
    let locality = Locality::new(part(), part(), part());
    Some(Clients { namespace: namespace.into(), locality, are_captured: captured == "captured" })
}

/// Golden: a directory of manifests, who calls what, and what each is told. With `MESH_GOLDEN_WRITE=1` in the environment the
/// expected texts are written anew.
#[test]
fn golden() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden-grpc");
    let mut count = 0;
    for case in std::fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()) {
        let waypoints = Waypoints::new(&read(&case), &place());
        let (mut text, mut asker) = (String::new(), None);
        for line in std::fs::read_to_string(case.join("client.txt")).unwrap().lines() {
            match client(line) {
                Some(clients) => {
                    let before = asker.replace(Asker {
                        waypoints: &waypoints,
                        clients,
                        known: BTreeSet::new(),
                        text: format!("# {line}\n"),
                    });
                    text.extend(before.map(|asker: Asker<'_>| asker.text));
                }
                None => asker.as_mut().unwrap().call(line),
            }
        }
        text.push_str(&asker.unwrap().text);
        let expected = case.join("expected.txt");
        if std::env::var_os("MESH_GOLDEN_WRITE").is_some() {
            std::fs::write(&expected, &text).unwrap();
        }
        let expected = std::fs::read_to_string(&expected).unwrap_or_default();
        assert_eq!(text, expected, "{}", case.display());
        count += 1;
    }
    assert!(count >= 4);
}

const WORLD: &str = r#"
apiVersion: v1
kind: Service
metadata: {name: one, namespace: shop}
spec: {clusterIP: 10.1.0.1, selector: {app: one}, ports: [{name: grpc, port: 90}]}
---
apiVersion: v1
kind: Service
metadata: {name: two, namespace: shop}
spec: {clusterIP: 10.1.0.2, selector: {app: two}, ports: [{name: grpc, port: 90}]}
---
apiVersion: v1
kind: Pod
metadata: {name: two-1, namespace: shop, labels: {app: two}}
status: {podIP: 10.0.0.2, conditions: [{type: Ready, status: "True"}]}
---
apiVersion: v1
kind: Pod
metadata: {name: client, namespace: shop, labels: {app: client}}
spec: {serviceAccountName: client}
status: {podIP: 10.0.0.9, conditions: [{type: Ready, status: "True"}]}
---
"#;

fn with_pods(count: usize, more: &str) -> World {
    let directory = tempfile::tempdir().unwrap();
    let mut text = WORLD.to_owned();
    for number in 0..count {
        writeln!(
            text,
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: one-{number}, namespace: shop, labels: {{app: one}}}}\n\
             status: {{podIP: 10.0.1.{number}, conditions: [{{type: Ready, status: \"True\"}}]}}\n---"
        )
        .unwrap();
    }
    std::fs::write(directory.path().join("mesh.yaml"), text + more).unwrap();
    read(directory.path())
}

fn node(id: &str) -> Node {
    Node { id: id.to_owned(), user_agent_name: "gRPC Go".to_owned(), ..Node::default() }
}

/// What a view has of a type.
fn held(view: &View, url: &str) -> BTreeMap<String, String> {
    let snapshot = view.cache.as_ref().unwrap().live().load();
    snapshot.entries(url).map(|(name, entry)| (name.to_owned(), entry.version.to_string())).collect()
}

fn ask(view: &View, url: &str, names: &[&str]) {
    let names = names.iter().map(|name| (*name).to_owned()).collect();
    view.demand.as_ref().unwrap().asked(url, &names);
}

const ONE: &str = "outbound|90||one.shop.svc.cluster.local";
const TWO: &str = "outbound|90||two.shop.svc.cluster.local";
const SHOP: &str = "spiffe://cluster.local/ns/shop/sa/client";

#[test]
fn one_endpoint_is_computed_once_for_all_who_asked_for_it_and_for_nobody_else() {
    let (projection, ..) = Projection::new(place());
    projection.publish(with_pods(1, ""), tokio::time::Instant::now());
    let id = parse_spiffe_id(SHOP).unwrap();
    let views: Vec<View> = (0..100).map(|_| projection.view(&id, &node("n")).unwrap()).collect();
    for view in &views {
        for url in [CLUSTER_TYPE, ENDPOINT_TYPE] {
            ask(view, url, &[ONE, TWO]);
        }
    }
    let other = projection.view(&parse_spiffe_id("spiffe://cluster.local/ns/bank/sa/b").unwrap(), &node("n")).unwrap();
    ask(&other, ENDPOINT_TYPE, &[TWO]);
    let before = held(&views[0], ENDPOINT_TYPE);
    assert_eq!(before.keys().collect::<Vec<_>>(), [ONE, TWO]);
    assert_eq!(held(&other, ENDPOINT_TYPE).keys().collect::<Vec<_>>(), [TWO]);

    let published = projection.publish(with_pods(2, ""), tokio::time::Instant::now());
    // The pod and the cluster: not one for each client.
    assert_eq!(published.computed, 2);
    // The pod in workload discovery, and one assignment in one cache.
    assert_eq!(published.changed, 2);
    let after = held(&views[0], ENDPOINT_TYPE);
    assert_ne!(before[ONE], after[ONE]);
    assert_eq!(before[TWO], after[TWO]);
    assert_eq!(held(&views[99], ENDPOINT_TYPE), after, "they share it");

    // What nobody asks for any more is gone, and costs nothing.
    for view in &views {
        for url in [CLUSTER_TYPE, ENDPOINT_TYPE] {
            ask(view, url, &[TWO]);
        }
    }
    assert_eq!(held(&views[0], ENDPOINT_TYPE).keys().collect::<Vec<_>>(), [TWO]);
    assert_eq!(projection.publish(with_pods(3, ""), tokio::time::Instant::now()).computed, 1);
    drop(views);
    let again = projection.view(&id, &node("n")).unwrap();
    assert!(held(&again, ENDPOINT_TYPE).is_empty());
}

#[test]
fn a_name_that_is_asked_for_before_it_is_there_comes_goes_and_returns() {
    let (projection, ..) = Projection::new(place());
    projection.publish(with_pods(0, ""), tokio::time::Instant::now());
    let view = projection.view(&parse_spiffe_id(SHOP).unwrap(), &node("n")).unwrap();
    ask(&view, LISTENER_TYPE, &["late:90", "one:90"]);
    let names = || held(&view, LISTENER_TYPE).into_keys().collect::<Vec<_>>();
    assert_eq!(names(), ["one:90"]);
    let late = "apiVersion: v1\nkind: Service\nmetadata: {name: late, namespace: shop}\nspec: {ports: [{name: grpc, port: 90}]}\n";
    for (more, expected) in [(late, vec!["late:90", "one:90"]), ("", vec!["one:90"]), (late, vec!["late:90", "one:90"])]
    {
        projection.publish(with_pods(0, more), tokio::time::Instant::now());
        assert_eq!(names(), expected);
    }
    // Of another type than such clients get, nothing.
    ask(&view, "type.googleapis.com/istio.workload.Address", &["one:90"]);
}

#[test]
fn a_client_is_who_it_proves_to_be() {
    let (projection, ..) = Projection::new(place());
    let view = |id: &str, node_id: &str| projection.view(&parse_spiffe_id(id).unwrap(), &node(node_id)).map(drop);
    assert!(view(SHOP, "n").is_err(), "there is no configuration yet");
    projection.publish(with_pods(1, ""), tokio::time::Instant::now());
    let pod = "sidecar~10.0.0.9~client.shop~shop.svc.cluster.local";
    view(SHOP, pod).unwrap();
    view(SHOP, "sidecar~10.0.0.9~unknown.shop~shop.svc.cluster.local").unwrap();
    for (id, node_id, because) in [
        ("spiffe://cluster.local/ns/bank/sa/client", pod, "no pod of namespace `shop`"),
        ("spiffe://cluster.local/ns/shop/sa/web", pod, "runs as"),
        ("spiffe://other.example/ns/shop/sa/client", "n", "another trust domain"),
        ("spiffe://cluster.local/elsewhere", "n", "no service account"),
        (SHOP, "waypoint~10.0.0.9~client.shop~shop.svc.cluster.local", "instance of no waypoint"),
    ] {
        let refused = view(id, node_id).unwrap_err();
        assert!(refused.contains(because), "{id} {node_id}: {refused}");
    }
}

#[test]
fn a_pod_that_leaves_the_node_proxy_begins_anew() {
    let (projection, ..) = Projection::new(place());
    let meshed =
        "apiVersion: v1\nkind: Namespace\nmetadata: {name: shop, labels: {istio.io/dataplane-mode: ambient}}\n---\n";
    let mutual = "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: one, namespace: shop}\n\
                  spec: {host: one, trafficPolicy: {tls: {mode: ISTIO_MUTUAL}}}\n";
    projection.publish(with_pods(1, &format!("{meshed}{mutual}")), tokio::time::Instant::now());
    let id = parse_spiffe_id(SHOP).unwrap();
    let tls = |view: &View| {
        ask(view, CLUSTER_TYPE, &[ONE]);
        let snapshot = view.cache.as_ref().unwrap().live().load();
        let (_, entry) = snapshot.entries(CLUSTER_TYPE).next().unwrap();
        decode_cluster(&entry.body).unwrap().value.tls.is_some()
    };
    let pod = node("sidecar~10.0.0.9~client.shop~shop.svc.cluster.local");
    let captured = projection.view(&id, &pod).unwrap();
    assert!(!tls(&captured), "its node proxy makes it");
    let unknown = projection.view(&id, &node("n")).unwrap();
    assert!(tls(&unknown), "nobody else does");
    assert!(!captured.end.is_cancelled());
    projection.publish(with_pods(1, mutual), tokio::time::Instant::now());
    assert!(captured.end.is_cancelled());
    assert!(!unknown.end.is_cancelled());
    assert!(tls(&projection.view(&id, &pod).unwrap()));
}

/// A health service that says who it is.
struct Backend(&'static str);

#[tonic::async_trait]
impl Health for Backend {
    type WatchStream = tokio_stream::Empty<Result<HealthCheckResponse, Status>>;

    async fn check(&self, _: Request<HealthCheckRequest>) -> Result<Response<HealthCheckResponse>, Status> {
        let mut response = Response::new(HealthCheckResponse::default());
        response.metadata_mut().insert("served-by", self.0.parse().unwrap());
        Ok(response)
    }

    async fn watch(&self, _: Request<HealthCheckRequest>) -> Result<Response<Self::WatchStream>, Status> {
        Err(Status::unimplemented("not here"))
    }
}

async fn backend(name: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tonic::transport::Server::builder().add_service(HealthServer::new(Backend(name)));
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    address
}

fn service(name: &str, at: SocketAddr) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: shop}}\n\
         spec: {{clusterIP: None, selector: {{app: {name}}}, ports: [{{name: grpc, port: 90, targetPort: grpc}}]}}\n---\n\
         apiVersion: networking.istio.io/v1\nkind: WorkloadEntry\nmetadata: {{name: {name}, namespace: shop}}\n\
         spec: {{address: {}, ports: {{grpc: {}}}, labels: {{app: {name}}}, serviceAccount: {name}}}\n---\n",
        at.ip(),
        at.port()
    )
}

const TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// The calls of a program by a channel of ours.
struct Caller(HealthClient<Channel>);

impl Caller {
    async fn call(&mut self, header: Option<&'static str>) -> String {
        let mut request = Request::new(HealthCheckRequest::default());
        if let Some(value) = header {
            request.metadata_mut().insert("x-to", value.parse().unwrap());
        }
        match self.0.check(request).await {
            Ok(response) => response.metadata().get("served-by").unwrap().to_str().unwrap().to_owned(),
            Err(status) => format!("{:?}: {}", status.code(), status.message()),
        }
    }

    async fn until(&mut self, header: Option<&'static str>, wanted: &str) {
        let waited = tokio::time::timeout(Duration::from_secs(20), async {
            while !self.call(header).await.starts_with(wanted) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
        assert!(waited.await.is_ok(), "waited for `{wanted}`, there is {}", self.call(header).await);
    }
}

/// A control plane as a process; a program that proves its identity to it calls by name, and follows what changes.
#[tokio::test(flavor = "multi_thread")]
async fn calls_arrive_where_the_manifests_say() {
    let (one, two) = (backend("one").await, backend("two").await);
    let client = "apiVersion: networking.istio.io/v1\nkind: WorkloadEntry\nmetadata: {name: client, namespace: shop, \
                  labels: {kubernetes.io/hostname: node-a}}\nspec: {address: 127.0.0.9, serviceAccount: client}\n---\n";
    let route = |to: &str| {
        format!(
            "apiVersion: gateway.networking.k8s.io/v1\nkind: GRPCRoute\nmetadata: {{name: web, namespace: shop}}\n\
             spec:\n  parentRefs: [{{group: \"\", kind: Service, name: web}}]\n  rules:\n\
             \x20 - {{matches: [{{headers: [{{name: x-to, value: other}}]}}], backendRefs: [{{name: other, port: 90}}]}}\n\
             \x20 - {{backendRefs: [{{name: {to}, port: 90}}]}}\n"
        )
    };
    let region = Region::new("cluster.local");
    region.write("manifests/client.yaml", client);
    region.write("manifests/web.yaml", &service("web", one));
    region.write("manifests/other.yaml", &service("other", two));
    region.write("token", TOKEN);
    region.settings(&format!("nodes: [{{name: node-a, token_file: {}}}]\n", region.path("token").display()));
    let region = region.serve().await;
    let source = CsrSource::new(
        region.nobody(),
        TokenSource::Fixed(TOKEN.into()),
        Duration::from_secs(3600),
        Arc::new(SystemClock),
    );
    let identities = Identities::builder(Arc::new(source), region.bundles()).build();
    let identity = identities.identity(&parse_spiffe_id(SHOP).unwrap()).await.unwrap();
    let to = region.endpoint(identity.client_config(server(), &[b"h2"]).unwrap());

    for variant in [Variant::StateOfTheWorld, Variant::Delta] {
        let groups = vec![Group::new(vec![ServerTraits::new("cp", variant)])];
        let own = Node { id: "program".into(), user_agent_name: "mesh".into(), ..Node::default() };
        let (xds, driver) = Client::new(&own, groups, BTreeMap::new(), SystemTime::now);
        let (channel, keeper) = Channel::by_xds(&xds, "web:90", "web:90", Plaintext, SystemTime::now);
        let (stop, to) = (CancellationToken::new(), to.clone());
        let connect =
            move || -> Result<_, Box<dyn std::error::Error + Send + Sync>> { Ok((to.clone(), MetadataMap::new())) };
        let driver = tokio::spawn(driver.run(vec![vec![connect]], stop.clone()));
        let keeper = tokio::spawn(keeper.run(stop.clone()));
        let mut caller = Caller(HealthClient::new(channel));
        assert_eq!(caller.call(None).await, "one", "the first call waits for the configuration");
        assert_eq!(caller.call(Some("other")).await, "one");

        region.write("manifests/route.yaml", &route("web"));
        caller.until(Some("other"), "two").await;
        assert_eq!(caller.call(None).await, "one");
        region.write("manifests/web.yaml", &service("web", two));
        caller.until(None, "two").await;
        // What is bad changes nothing.
        region.write("manifests/web.yaml", "kind: Service\nmetadata: [");
        until("it is told of", || region.get("/findings").is_some_and(|text| text.contains("web.yaml"))).await;
        assert_eq!(caller.call(None).await, "two");
        region.write("manifests/web.yaml", &service("web", one));
        caller.until(None, "one").await;
        // A service that goes and returns.
        std::fs::remove_file(region.path("manifests/route.yaml")).unwrap();
        std::fs::remove_file(region.path("manifests/web.yaml")).unwrap();
        caller.until(None, "Unavailable").await;
        region.write("manifests/web.yaml", &service("web", one));
        caller.until(None, "one").await;
        stop.cancel();
        driver.await.unwrap();
        keeper.await.unwrap();
    }
}
