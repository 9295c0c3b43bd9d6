//! The client as its user has it: typed watches over real gRPC streams in memory, under paused time.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a test"
)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};

use hyper_util::rt::TokioIo;
use mesh_xds::client::machine::{ServerTraits, Variant};
use mesh_xds::client::{Client, Group, OnDataError, StatusService, Watch, WatchAll, WatchError};
use mesh_xds::envoy::{CLUSTER_TYPE, ENDPOINT_TYPE};
use mesh_xds::pb::Node;
use mesh_xds::pb::status::ClientStatusRequest;
use mesh_xds::pb::status::client_status_discovery_service_server::ClientStatusDiscoveryService as _;
use mesh_xds::resource::{Read, Resource};
use mesh_xds::server::{Access, Cache, CacheWriter, Change, Entry, Service};
use prost::Message;
use tokio::io::DuplexStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tonic::metadata::MetadataMap;
use tonic::transport::{Channel, Endpoint, Server, Uri};

#[derive(Clone, PartialEq, Message)]
struct Content {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(uint32, tag = "2")]
    value: u32,
}

/// A value above 99 is no good.
fn read(bytes: &[u8]) -> Result<Read<u32>, Box<dyn std::error::Error + Send + Sync>> {
    let content = Content::decode(bytes)?;
    if content.value > 99 {
        return Err(format!("{} is too much", content.value).into());
    }
    Ok(Read { name: content.name, value: content.value, warnings: vec![] })
}

macro_rules! number {
    ($name:ident, $url:expr) => {
        #[derive(Debug, PartialEq)]
        struct $name(u32);

        impl Resource for $name {
            const TYPE_URL: &'static str = $url;

            fn decode(bytes: &[u8]) -> Result<Read<Self>, Box<dyn std::error::Error + Send + Sync>> {
                let Read { name, value, warnings } = read(bytes)?;
                Ok(Read { name, value: Self(value), warnings })
            }
        }
    };
}

// Its answers hold all of the type; those of the other do not.
number!(Whole, CLUSTER_TYPE);
number!(Part, ENDPOINT_TYPE);

#[derive(Debug)]
struct Anyone;

impl Access for Anyone {
    fn admit(&self, _: &MetadataMap, _: &tonic::Extensions) -> Result<String, tonic::Status> {
        Ok("somebody".into())
    }
}

/// A server in memory that can be switched off.
struct Peer {
    writer: CacheWriter,
    service: Service,
    connections: mpsc::UnboundedSender<DuplexStream>,
    up: Arc<AtomicBool>,
}

impl Peer {
    fn new() -> Self {
        let (writer, cache) = Cache::new(&[CLUSTER_TYPE, ENDPOINT_TYPE]);
        let service = Service::new(cache, Arc::new(Anyone), &[]);
        let (connections, mut accepted) = mpsc::unbounded_channel();
        let incoming = futures_util::stream::poll_fn(move |context| {
            accepted.poll_recv(context).map(|stream| stream.map(Ok::<DuplexStream, std::io::Error>))
        });
        tokio::spawn(Server::builder().add_service(service.server()).serve_with_incoming(incoming));
        Self { writer, service, connections, up: Arc::new(AtomicBool::new(true)) }
    }

    fn put<T: Resource>(&self, name: &str, value: u32) {
        let body = Content { name: name.into(), value }.encode_to_vec();
        self.writer.apply([(T::TYPE_URL, Change::Put(name.into(), Entry::new(body, vec![])))]);
    }

    fn remove<T: Resource>(&self, name: &str) {
        self.writer.apply([(T::TYPE_URL, Change::Remove(name.into()))]);
    }

    fn connect(
        &self,
    ) -> impl FnMut() -> Result<(Channel, MetadataMap), Box<dyn std::error::Error + Send + Sync>> + use<> {
        let (connections, up) = (self.connections.clone(), Arc::clone(&self.up));
        move || {
            let (connections, up) = (connections.clone(), Arc::clone(&up));
            let connector = tower::service_fn(move |_: Uri| {
                let (ours, theirs) = tokio::io::duplex(64 * 1024);
                let accepted = up.load(Ordering::Relaxed) && connections.send(theirs).is_ok();
                std::future::ready(match accepted {
                    true => Ok(TokioIo::new(ours)),
                    false => Err(std::io::Error::from(std::io::ErrorKind::ConnectionRefused)),
                })
            });
            Ok((Endpoint::from_static("http://peer").connect_with_connector_lazy(connector), MetadataMap::new()))
        }
    }
}

fn node() -> Node {
    Node { id: "n".into(), ..Node::default() }
}

fn wall() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000)
}

fn group(variant: Variant, names: &[&str]) -> Group {
    Group::new(names.iter().map(|name| ServerTraits::new(*name, variant)).collect())
}

fn start(groups: Vec<Group>, authorities: BTreeMap<String, usize>, peers: &[&[&Peer]]) -> (Client, Running) {
    let (client, driver) = Client::new(&node(), groups, authorities, wall);
    let connects = peers.iter().map(|group| group.iter().map(|peer| peer.connect()).collect()).collect();
    let stop = CancellationToken::new();
    let task = tokio::spawn(driver.run(connects, stop.clone()));
    (client, Running { stop, task })
}

struct Running {
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Running {
    async fn end(self) {
        self.stop.cancel();
        self.task.await.unwrap();
    }
}

/// What a watch shows: the value and the error, as text.
fn seen<T: Resource>(watch: &Watch<T>) -> String {
    let (value, error) = watch.state();
    let value = value.map_or_else(|| "-".to_owned(), |value| format!("{value:?}"));
    error.map_or_else(|| value.clone(), |error| format!("{value} but {error}"))
}

async fn until<T: Resource>(watch: &mut Watch<T>, wanted: &str) {
    let waited = timeout(Duration::from_secs(300), async {
        while seen(watch) != wanted {
            watch.changed().await.unwrap();
        }
    });
    assert!(waited.await.is_ok(), "waited for `{wanted}`, there is `{}`", seen(watch));
}

async fn lives(variant: Variant) {
    let peer = Peer::new();
    peer.put::<Whole>("a", 1);
    peer.put::<Part>("p", 1);
    let (client, _running) = start(vec![group(variant, &["one"])], BTreeMap::new(), &[&[&peer]]);
    let (mut a, mut p) = (client.watch::<Whole>("a"), client.watch::<Part>("p"));
    assert_eq!(seen(&a), "-");
    until(&mut a, "Whole(1)").await;
    until(&mut p, "Part(1)").await;

    // A second watcher has it at once; a rejected version leaves the one before.
    assert_eq!(seen(&client.watch::<Whole>("a")), "Whole(1)");
    peer.put::<Whole>("a", 100);
    until(&mut a, "Whole(1) but rejected: 100 is too much").await;
    peer.put::<Whole>("a", 2);
    until(&mut a, "Whole(2)").await;
    peer.remove::<Whole>("a");
    until(&mut a, "- but does not exist").await;
    peer.put::<Whole>("a", 3);
    until(&mut a, "Whole(3)").await;

    // One that was never good has nothing to stay with.
    peer.put::<Part>("q", 101);
    let mut q = client.watch::<Part>("q");
    until(&mut q, "- but rejected: 101 is too much").await;
    // And one that is nowhere is told to be.
    let (mut nowhere, began) = (client.watch::<Part>("nowhere"), Instant::now());
    until(&mut nowhere, "- but does not exist").await;
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}: not by waiting for it", began.elapsed());
    peer.put::<Part>("nowhere", 4);
    until(&mut nowhere, "Part(4)").await;
    assert_eq!(seen(&p), "Part(1)");

    let mut all = client.watch_all::<Whole>();
    let values =
        |all: &WatchAll<Whole>| all.values().iter().map(|(name, one)| format!("{name}{}", one.0)).collect::<String>();
    assert_eq!(values(&all), "a3");
    peer.put::<Whole>("b", 5);
    while values(&all) != "a3b5" {
        timeout(Duration::from_secs(300), all.changed()).await.expect("b comes").unwrap();
    }
    assert_eq!(seen(&a), "Whole(3)", "and who watches by name is not disturbed");
}

#[tokio::test(start_paused = true)]
async fn delta() {
    lives(Variant::Delta).await;
}

#[tokio::test(start_paused = true)]
async fn state_of_the_world() {
    lives(Variant::StateOfTheWorld).await;
}

#[tokio::test(start_paused = true)]
async fn as_grpc_keeps_what_is_deleted_or_as_it_drops_what_is_rejected() {
    for (rule, deleted, rejected) in [
        (OnDataError::Keep, "Whole(1) but does not exist", "Whole(1) but rejected: 100 is too much"),
        (OnDataError::Drop, "- but does not exist", "- but rejected: 100 is too much"),
    ] {
        let peer = Peer::new();
        peer.put::<Whole>("a", 1);
        let mut group = group(Variant::StateOfTheWorld, &["one"]);
        group.on_data_error = rule;
        let (client, _running) = start(vec![group], BTreeMap::new(), &[&[&peer]]);
        let mut a = client.watch::<Whole>("a");
        until(&mut a, "Whole(1)").await;
        peer.put::<Whole>("a", 100);
        until(&mut a, rejected).await;
        peer.put::<Whole>("a", 1);
        until(&mut a, "Whole(1)").await;
        peer.remove::<Whole>("a");
        until(&mut a, deleted).await;
    }
}

#[tokio::test(start_paused = true)]
async fn another_server_helps_out_and_is_left_again() {
    for variant in [Variant::Delta, Variant::StateOfTheWorld] {
        let (first, second) = (Peer::new(), Peer::new());
        first.up.store(false, Ordering::Relaxed);
        first.put::<Whole>("a", 1);
        second.put::<Whole>("a", 2);
        let (client, _running) = start(vec![group(variant, &["one", "two"])], BTreeMap::new(), &[&[&first, &second]]);
        let mut a = client.watch::<Whole>("a");
        until(&mut a, "Whole(2)").await;
        // What is new at the one that helps out arrives as well.
        second.put::<Whole>("a", 3);
        until(&mut a, "Whole(3)").await;
        first.up.store(true, Ordering::Relaxed);
        until(&mut a, "Whole(1)").await;
        while !second.service.clients().is_empty() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        // The preferred one goes; the other helps out again.
        first.up.store(false, Ordering::Relaxed);
        assert!(first.service.disconnect("somebody") > 0);
        until(&mut a, "Whole(3)").await;
    }
}

#[tokio::test(start_paused = true)]
async fn with_no_server_at_all_it_is_said() {
    let peer = Peer::new();
    peer.put::<Whole>("a", 1);
    let (client, _running) = start(vec![group(Variant::Delta, &["one"])], BTreeMap::new(), &[&[&peer]]);
    let mut a = client.watch::<Whole>("a");
    until(&mut a, "Whole(1)").await;
    peer.up.store(false, Ordering::Relaxed);
    assert!(peer.service.disconnect("somebody") > 0);
    let is_unreachable = |watch: &Watch<Whole>| matches!(watch.error().as_deref(), Some(WatchError::Unreachable(_)));
    while !is_unreachable(&a) {
        timeout(Duration::from_secs(300), a.changed()).await.expect("it is said").unwrap();
    }
    assert_eq!(a.value().unwrap().0, 1, "it stays in use");
    let mut b = client.watch::<Whole>("b");
    while !is_unreachable(&b) {
        timeout(Duration::from_secs(300), b.changed()).await.expect("it is said").unwrap();
    }
    assert!(b.value().is_none());
}

#[tokio::test(start_paused = true)]
async fn each_authority_has_its_own_servers() {
    let (own, theirs) = (Peer::new(), Peer::new());
    let name = format!("xdstp://there/{}/a?x=1&b=2", CLUSTER_TYPE.trim_start_matches("type.googleapis.com/"));
    let normal = name.replace("x=1&b=2", "b=2&x=1");
    own.put::<Whole>("a", 1);
    theirs.put::<Whole>(&normal, 2);
    let groups = vec![group(Variant::Delta, &["own"]), group(Variant::StateOfTheWorld, &["theirs"])];
    let authorities = BTreeMap::from([("there".to_owned(), 1)]);
    let (client, _running) = start(groups, authorities, &[&[&own], &[&theirs]]);
    until(&mut client.watch::<Whole>("a"), "Whole(1)").await;
    until(&mut client.watch::<Whole>(&name), "Whole(2)").await;
    let error = |name: &str| client.watch::<Whole>(name).error().unwrap().to_string();
    assert_eq!(error(&name.replace("there", "nowhere")), "no servers are known for the authority `nowhere`");
    assert_eq!(error("xdstp://there"), "`xdstp://there` is not xdstp://authority/type/id");
    let of_type = client.watch::<Part>(&name).error().unwrap();
    assert!(matches!(*of_type, WatchError::Name(_)), "{of_type}");
}

#[tokio::test(start_paused = true)]
async fn a_restart_needs_no_server() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("state");
    let peer = Peer::new();
    peer.put::<Whole>("a", 1);
    peer.put::<Whole>("b", 2);
    peer.put::<Part>("p", 3);
    let groups = || vec![group(Variant::Delta, &["one"]).file(file.clone())];
    let (client, running) = start(groups(), BTreeMap::new(), &[&[&peer]]);
    let (mut a, mut b, mut p) = (client.watch::<Whole>("a"), client.watch::<Whole>("b"), client.watch::<Part>("p"));
    until(&mut a, "Whole(1)").await;
    until(&mut b, "Whole(2)").await;
    until(&mut p, "Part(3)").await;
    running.end().await;

    // Cut off: everything is there, and says how old it is. Who comes late finds it too, and it is not lost by a restart.
    peer.up.store(false, Ordering::Relaxed);
    for _ in 0..2 {
        let (client, running) = start(groups(), BTreeMap::new(), &[&[&peer]]);
        let mut a = client.watch::<Whole>("a");
        until(&mut a, &format!("Whole(1) but not confirmed by a server since {:?}", wall())).await;
        running.end().await;
    }
    let (client, _running) = start(groups(), BTreeMap::new(), &[&[&peer]]);
    let (mut a, mut b) = (client.watch::<Whole>("a"), client.watch::<Whole>("b"));
    until(&mut a, &format!("Whole(1) but not confirmed by a server since {:?}", wall())).await;
    until(&mut b, &format!("Whole(2) but not confirmed by a server since {:?}", wall())).await;
    peer.remove::<Whole>("b");
    peer.up.store(true, Ordering::Relaxed);
    until(&mut a, "Whole(1)").await;
    until(&mut b, "- but does not exist").await;
    until(&mut client.watch::<Part>("p"), "Part(3)").await;
}

#[tokio::test(start_paused = true)]
async fn what_a_client_believes_can_be_asked() {
    let peer = Peer::new();
    peer.put::<Whole>("a", 1);
    peer.put::<Whole>("b", 100);
    let (client, _running) = start(vec![group(Variant::Delta, &["one"])], BTreeMap::new(), &[&[&peer]]);
    let (mut a, mut b) = (client.watch::<Whole>("a"), client.watch::<Whole>("b"));
    let mut gone = client.watch::<Part>("gone");
    until(&mut a, "Whole(1)").await;
    until(&mut b, "- but rejected: 100 is too much").await;
    until(&mut gone, "- but does not exist").await;
    peer.put::<Whole>("a", 101);
    until(&mut a, "Whole(1) but rejected: 101 is too much").await;

    let service = StatusService::new(client, node());
    let request = ClientStatusRequest::default();
    let answer = service.fetch_client_status(tonic::Request::new(request.clone())).await.unwrap().into_inner();
    let configs = &answer.config[0].generic_xds_configs;
    let shown: Vec<String> = configs
        .iter()
        .map(|config| {
            let failed = config.error_state.as_ref().map(|state| state.details.as_str()).unwrap_or_default();
            let content = config.xds_config.as_ref().map(|any| Content::decode(any.value.as_slice()).unwrap().value);
            format!("{} {:?} {content:?} {failed}", config.name, config.client_status())
        })
        .collect();
    assert_eq!(
        shown,
        [
            "a Nacked Some(1) rejected: 101 is too much",
            "b Nacked None rejected: 100 is too much",
            "gone DoesNotExist None ",
        ]
    );
    assert!(!configs[0].version_info.is_empty());
    assert_eq!(configs[0].last_updated.as_ref().unwrap().seconds, 1_700_000_000);
    let without = ClientStatusRequest { exclude_resource_contents: true, ..request.clone() };
    let answer = service.fetch_client_status(tonic::Request::new(without)).await.unwrap().into_inner();
    assert!(answer.config[0].generic_xds_configs.iter().all(|config| config.xds_config.is_none()));
    let of_others = ClientStatusRequest { node_matchers: vec![Default::default()], ..request };
    let refused = service.fetch_client_status(tonic::Request::new(of_others)).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::InvalidArgument);
}
