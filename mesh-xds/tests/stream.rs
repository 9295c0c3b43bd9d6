//! Client and server over real gRPC on loopback: discovery, partial rejection, reconnects, the state on disk.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a test"
)]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use mesh_core::authz::{Action, Policy, Rule, Scope};
use mesh_core::name::parse_trust_domain;
use mesh_core::workload::Workload;
use mesh_xds::client::Demand;
use mesh_xds::client::backoff::Backoff;
use mesh_xds::pb::Node;
use mesh_xds::server::{Access, Cache, CacheWriter, Change, Entry, Service};
use mesh_xds::workload::{ADDRESS_TYPE, POLICY_TYPE, Setup, State, Subscriber, encode_policy, encode_workload};
use tokio_util::sync::CancellationToken;
use tonic::metadata::MetadataMap;
use tonic::transport::{Endpoint, Server};
use tonic::{Extensions, Status};

const SOON: Duration = Duration::from_secs(5);

#[derive(Debug)]
struct Anyone;

impl Access for Anyone {
    fn admit(&self, metadata: &MetadataMap, _: &Extensions) -> Result<String, Status> {
        match metadata.get("authorization") {
            Some(value) if value == "Bearer good" => Ok("node".into()),
            _ => Err(Status::unauthenticated("no")),
        }
    }
}

struct Running {
    writer: CacheWriter,
    service: Service,
    address: SocketAddr,
    runtime: Option<tokio::runtime::Runtime>,
}

impl Running {
    /// Dies at once, with all its connections.
    fn kill(&mut self) {
        self.runtime.take().unwrap().shutdown_background();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

async fn serve(address: Option<SocketAddr>) -> Running {
    let (writer, cache) = Cache::new(&[POLICY_TYPE, ADDRESS_TYPE]);
    let service = Service::new(cache, Arc::new(Anyone), &[POLICY_TYPE, ADDRESS_TYPE]);
    let address = address.unwrap_or_else(|| "127.0.0.1:0".parse().unwrap());
    // A runtime of its own, so that it can be killed as a process can.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let server = service.server();
    let bound = runtime.spawn(async move {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind(address).unwrap();
        let listener = socket.listen(16).unwrap();
        let address = listener.local_addr().unwrap();
        let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
        tokio::spawn(async move {
            Server::builder().add_service(server).serve_with_incoming(incoming).await.unwrap();
        });
        address
    });
    let address = bound.await.unwrap();
    Running { writer, service, address, runtime: Some(runtime) }
}

struct Following {
    state: State,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

fn follow(address: SocketAddr, token: &'static str, file: Option<PathBuf>) -> Following {
    follow_by(address, token, file, None)
}

fn follow_by(address: SocketAddr, token: &'static str, file: Option<PathBuf>, demand: Option<Demand>) -> Following {
    let mut setup = Setup::new(Node { id: "node".into(), ..Node::default() }, SystemTime::now)
        .backoff(Backoff::new(Duration::from_millis(20), Duration::from_millis(100)));
    setup.file = file;
    setup.demand = demand;
    let (subscriber, state) = Subscriber::new(setup);
    let channel = Endpoint::from_shared(format!("http://{address}")).unwrap().connect_lazy();
    let connect = move || -> Result<_, Box<dyn std::error::Error + Send + Sync>> {
        let mut metadata = MetadataMap::new();
        metadata.insert("authorization", format!("Bearer {token}").parse()?);
        Ok((channel.clone(), metadata))
    };
    let stop = CancellationToken::new();
    let task = tokio::spawn(subscriber.run(vec![connect], stop.clone()));
    Following { state, stop, task }
}

async fn until(state: &State, what: impl Fn(&State) -> bool) {
    let waiting = async {
        let (mut catalog, mut policies) = (state.catalog.changes(), state.policies.changes());
        let mut status = state.status.changes();
        while !what(state) {
            tokio::select! {
                changed = catalog.changed() => { changed.unwrap(); }
                changed = policies.changed() => { changed.unwrap(); }
                changed = status.changed() => { changed.unwrap(); }
            }
        }
    };
    tokio::time::timeout(SOON, waiting).await.unwrap_or_else(|_| panic!("not within {SOON:?}: {state:?}"));
}

fn workload(name: &str) -> (&'static str, Change) {
    let workload = Workload::new(name, parse_trust_domain("cluster.local").unwrap(), "shop", name).unwrap();
    (ADDRESS_TYPE, Change::Put(name.into(), Entry::new(encode_workload(&workload), vec![])))
}

fn policy(name: &str) -> (&'static str, Change) {
    let policy =
        Policy::new(format!("shop/{name}").parse().unwrap(), Scope::Namespace, Action::Deny, vec![Rule::default()]);
    (POLICY_TYPE, Change::Put(format!("shop/{name}"), Entry::new(encode_policy(&policy), vec![])))
}

fn uids(state: &State) -> Vec<String> {
    let mut uids: Vec<_> = state.catalog.load().workloads().map(|workload| workload.uid.to_string()).collect();
    uids.sort();
    uids
}

#[tokio::test]
async fn follows_changes_and_removals() {
    let server = serve(None).await;
    server.writer.apply([workload("a"), policy("p")]);
    let client = follow(server.address, "good", None);
    until(&client.state, |state| state.status.load().ready && uids(state) == ["a"]).await;
    assert!(client.state.policies.load().get(&"shop/p".parse().unwrap()).is_some());
    server.writer.apply([workload("b"), (ADDRESS_TYPE, Change::Remove("a".into()))]);
    until(&client.state, |state| uids(state) == ["b"]).await;
    server.writer.apply([(POLICY_TYPE, Change::Remove("shop/p".into()))]);
    until(&client.state, |state| state.policies.load().iter().count() == 0).await;
    assert_eq!(server.service.clients()[0].node, "node");
}

#[tokio::test]
async fn a_bad_resource_is_rejected_alone_and_the_last_good_stays() {
    let server = serve(None).await;
    server.writer.apply([workload("a"), policy("p")]);
    let client = follow(server.address, "good", None);
    until(&client.state, |state| uids(state) == ["a"]).await;
    let bad = |url, name: &str| (url, Change::Put(name.into(), Entry::new(vec![0xff, 1, 2], vec![])));
    server.writer.apply([bad(ADDRESS_TYPE, "a"), workload("b"), bad(POLICY_TYPE, "shop/p")]);
    until(&client.state, |state| uids(state) == ["a", "b"]).await;
    let policies = client.state.policies.snapshot();
    assert_eq!(policies.get(&"shop/p".parse().unwrap()).unwrap().action, Action::Deny);
    let seen = async {
        loop {
            let rejected: Vec<_> = server
                .service
                .clients()
                .iter()
                .flat_map(|client| client.types.values().filter_map(|of| of.rejected.clone()).collect::<Vec<_>>())
                .collect();
            if rejected.len() == 2 {
                return rejected;
            }
            tokio::task::yield_now().await;
        }
    };
    let rejected = tokio::time::timeout(SOON, seen).await.expect("the server learns of it");
    assert!(rejected.iter().any(|reason| reason.starts_with("a: malformed message")), "{rejected:?}");
    assert!(client.state.status.load().rejections >= 2);
}

#[tokio::test]
async fn a_new_policy_that_is_not_understood_closes_its_scope() {
    let server = serve(None).await;
    server.writer.apply([workload("a"), (POLICY_TYPE, Change::Put("shop/new".into(), Entry::new(vec![0xff], vec![])))]);
    let client = follow(server.address, "good", None);
    until(&client.state, |state| state.policies.load().iter().count() == 1).await;
    let policies = client.state.policies.snapshot();
    let stand_in = policies.get(&"shop/new".parse().unwrap()).unwrap();
    assert_eq!((stand_in.action, stand_in.scope), (Action::Deny, Scope::Namespace));
    server.writer.apply([policy("new")]);
    until(&client.state, |state| state.status.load().ready).await;
}

#[tokio::test]
async fn another_name_than_the_content_says_is_rejected() {
    let server = serve(None).await;
    let (url, Change::Put(_, entry)) = workload("a") else { panic!("a put") };
    server.writer.apply([(url, Change::Put("b".into(), entry))]);
    let client = follow(server.address, "good", None);
    until(&client.state, |state| state.status.load().rejections > 0).await;
    assert!(uids(&client.state).is_empty());
    let error = client.state.status.load().last_error.clone().unwrap();
    assert!(error.contains("the resource is named `b`, its content says `a`"), "{error}");
}

#[tokio::test]
async fn without_the_right_token_nothing_is_served() {
    let server = serve(None).await;
    server.writer.apply([workload("a")]);
    let client = follow(server.address, "wrong", None);
    until(&client.state, |state| {
        state.status.load().last_error.as_ref().is_some_and(|error| error.contains("valid authentication"))
    })
    .await;
    assert!(!client.state.status.load().ready);
}

#[tokio::test]
async fn survives_the_loss_of_the_server_and_of_itself() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("state");
    let mut server = serve(None).await;
    server.writer.apply([workload("a"), workload("gone"), policy("p")]);
    let client = follow(server.address, "good", Some(file.clone()));
    until(&client.state, |state| uids(state) == ["a", "gone"] && state.status.load().ready).await;

    // The server dies: everything stays.
    server.kill();
    until(&client.state, |state| !state.status.load().connected).await;
    assert_eq!(uids(&client.state), ["a", "gone"]);

    // So does the client, and starts without a server.
    client.stop.cancel();
    client.task.await.unwrap();
    let again = follow(server.address, "good", Some(file.clone()));
    {
        let status = again.state.status.load();
        assert!(status.ready && status.loaded_from_disk && status.stale_since.is_some());
    }
    assert_eq!(uids(&again.state), ["a", "gone"]);
    assert!(again.state.policies.load().get(&"shop/p".parse().unwrap()).is_some());

    // The server comes back with less and more: what went is gone, what came is there.
    let server = serve(Some(server.address)).await;
    server.writer.apply([workload("a"), workload("new")]);
    until(&again.state, |state| uids(state) == ["a", "new"]).await;
    until(&again.state, |state| state.policies.load().iter().count() == 0 && !state.status.load().loaded_from_disk)
        .await;
}

#[tokio::test]
async fn a_draining_server_says_so() {
    let server = serve(None).await;
    server.writer.apply([workload("a")]);
    let client = follow(server.address, "good", None);
    until(&client.state, |state| uids(state) == ["a"]).await;
    server.service.drain(Duration::ZERO);
    until(&client.state, |state| {
        state.status.load().last_error.as_ref().is_some_and(|error| error.contains("the server ends"))
    })
    .await;
    assert_eq!(uids(&client.state), ["a"]);
}

#[tokio::test]
async fn on_demand_a_client_holds_what_it_asked_for() {
    let mut server = serve(None).await;
    let named = |name: &str, alias: &str, with: &[&str]| {
        let mut workload = Workload::new(name, parse_trust_domain("cluster.local").unwrap(), "shop", name).unwrap();
        workload.addresses = vec![alias.trim_start_matches('/').parse().unwrap()];
        let entry = Entry::new(encode_workload(&workload), vec![alias.to_owned()]);
        (
            ADDRESS_TYPE,
            Change::Put(name.into(), entry.coming_with(with.iter().map(|name| (*name).to_owned()).collect())),
        )
    };
    server.writer.apply((0..1000_u16).map(|n| {
        let [high, low] = n.to_be_bytes();
        named(&format!("w{n}"), &format!("/10.0.{high}.{low}"), &[])
    }));
    let demand = Demand::default();
    let dir = tempfile::tempdir().unwrap();
    let node = follow_by(server.address, "good", Some(dir.path().join("state")), Some(demand.clone()));
    let ask = async |name: &str| demand.ask(&[name.to_owned()], SOON).await;
    until(&node.state, |state| state.status.load().ready).await;
    assert_eq!(node.state.catalog.load().workloads().count(), 0);

    // By alias, by name, and what does not exist; at once and by several.
    let (a, b, c) = tokio::join!(ask("/10.0.0.7"), ask("/10.0.0.7"), ask("w8"));
    assert!(a && b && c && ask("/192.0.2.1").await);
    let held = |state: &State| {
        let mut names: Vec<_> = state.catalog.load().workloads().map(|workload| workload.uid.to_string()).collect();
        names.sort();
        names
    };
    assert_eq!(held(&node.state), ["w7", "w8"]);
    // What was absent appears, and what is held goes on to be followed.
    server.writer.apply([named("new", "/192.0.2.1", &[]), (ADDRESS_TYPE, Change::Remove("w8".into()))]);
    until(&node.state, |state| held(state) == ["new", "w7"]).await;

    // A resource that is rejected is no answer, and no absence.
    let broken = Entry::new(&b"\x0a\x03\x0a\x01x"[..], vec!["/10.9.9.9".into()]);
    server.writer.apply([(ADDRESS_TYPE, Change::Put("broken".into(), broken))]);
    assert!(!ask("/10.9.9.9").await);

    // Without a server nothing that is not known yet is answered; what is known stays.
    server.kill();
    assert!(!demand.ask(&["/10.0.0.9".to_owned()], Duration::from_millis(200)).await);
    assert!(ask("/10.0.0.7").await && held(&node.state).contains(&"w7".to_owned()));
    let address = server.address;
    drop(server);
    let again = serve(Some(address)).await;
    again.writer.apply([named("w9", "/10.0.0.9", &[]), named("w7", "/10.0.0.7", &[])]);
    assert!(demand.ask(&["/10.0.0.9".to_owned()], SOON).await, "asked for again on the next stream");
    until(&node.state, |state| held(state) == ["w7", "w9"]).await;
    node.stop.cancel();
    node.task.await.unwrap();

    // A restart begins with what was held, and keeps it up to date.
    let node = follow_by(address, "good", Some(dir.path().join("state")), Some(Demand::default()));
    assert_eq!(held(&node.state), ["w7", "w9"]);
    again.writer.apply([(ADDRESS_TYPE, Change::Remove("w7".into()))]);
    until(&node.state, |state| held(state) == ["w9"]).await;
}

#[tokio::test]
async fn what_was_rejected_is_refused_not_unknown() {
    let server = serve(None).await;
    // A workload with an identity that is none, at an address.
    let mut bytes = vec![0x0a, 0];
    for (field, value) in [(1_u8, &b"web"[..]), (2, b"shop"), (3, &[10, 0, 0, 7]), (6, b"Not.A.Domain")] {
        bytes.extend([field << 3 | 2, u8::try_from(value.len()).unwrap()]);
        bytes.extend(value);
    }
    bytes.extend([0xa2, 0x01, 1, b'w']);
    bytes[1] = u8::try_from(bytes.len() - 2).unwrap();
    server.writer.apply([(ADDRESS_TYPE, Change::Put("w".into(), Entry::new(bytes, vec![])))]);
    let node = follow(server.address, "good", None);
    let there = |state: &State| {
        let catalog = state.catalog.load();
        catalog
            .workload_at(&Default::default(), "10.0.0.7".parse().unwrap())
            .map(|workload| workload.identity.to_string())
    };
    until(&node.state, |state| there(state).is_some()).await;
    assert_eq!(there(&node.state).unwrap(), "spiffe://rejected.invalid/ns/rejected/sa/rejected");
    assert!(node.state.status.load().last_error.as_ref().unwrap().contains("trust_domain"));
}
