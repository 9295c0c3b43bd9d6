//! Resources that are made when a client asks for them.
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

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mesh_xds::pb::Node;
use mesh_xds::pb::discovery::DiscoveryRequest;
use mesh_xds::server::{Access, Cache, CacheWriter, Change, Debounce, Demand, Entry, Service, Settings, View};
use parking_lot::Mutex;
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tokio_util::sync::CancellationToken;
use tonic::metadata::MetadataMap;
use tonic::transport::Server;
use tonic::{Code, Extensions, Status};
use wire::{CLUSTER, Delta, Sotw, ask, names, node, strings};

/// Makes what is asked for, but for what is called `none`.
#[derive(Debug)]
struct Maker {
    writer: Arc<CacheWriter>,
    /// As long as there is a stream.
    asked: Arc<Mutex<BTreeSet<String>>>,
}

impl Demand for Maker {
    fn asked(&self, type_url: &str, names: &BTreeSet<String>) {
        self.asked.lock().clone_from(names);
        let put = |name: &String| Change::Put(name.clone(), Entry::new(name.clone().into_bytes(), Vec::new()));
        self.writer.apply(names.iter().filter(|name| *name != "none").map(|name| (type_url, put(name))));
    }
}

impl Drop for Maker {
    fn drop(&mut self) {
        self.asked.lock().clear();
    }
}

#[derive(Debug)]
struct Door {
    writer: Arc<CacheWriter>,
    cache: Cache,
    asked: Arc<Mutex<BTreeSet<String>>>,
    end: CancellationToken,
}

impl Access for Door {
    fn admit(&self, _: &MetadataMap, _: &Extensions) -> Result<String, Status> {
        Ok("somebody".to_owned())
    }

    fn view(&self, _: &str, _: &Node) -> Result<View, Status> {
        let maker = Maker { writer: Arc::clone(&self.writer), asked: Arc::clone(&self.asked) };
        let (cache, demand) = (Some(self.cache.clone()), Some(Arc::new(maker) as Arc<dyn Demand>));
        Ok(View { cache, demand, end: self.end.clone(), ..View::default() })
    }
}

struct Running {
    address: SocketAddr,
    asked: Arc<Mutex<BTreeSet<String>>>,
    end: CancellationToken,
}

/// Changes are gathered for a long time: what is asked for does not wait for that.
async fn serve() -> Running {
    let (writer, cache) = Cache::new(&[CLUSTER]);
    let (asked, end) = (Arc::default(), CancellationToken::new());
    let door = Door { writer: Arc::new(writer), cache: cache.clone(), asked: Arc::clone(&asked), end: end.clone() };
    let slow = Debounce { quiet: Duration::from_secs(3600), latest: Duration::from_secs(3600) };
    let settings = Settings { debounce: Some(slow), ..Settings::default() };
    let service = Service::with(cache, Arc::new(door), settings);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = Server::builder().add_service(service.server());
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    Running { address, asked, end }
}

/// Waits until nobody asks for anything.
async fn forgotten(asked: &Mutex<BTreeSet<String>>) {
    for _ in 0..500 {
        if asked.lock().is_empty() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("still asked for: {:?}", asked.lock());
}

#[tokio::test]
async fn what_is_asked_for_is_in_the_answer() {
    let Running { address, asked, end } = serve().await;
    let mut stream = Delta::subscribe(address, "a", "n", CLUSTER, &["one", "none"]).await;
    let answer = stream.take().await;
    assert_eq!(names(&answer), ["one"].into());
    assert_eq!(answer.removed_resources, ["none"]);
    stream.requests.send(ask(CLUSTER, &["two"])).await.unwrap();
    assert_eq!(names(&stream.take().await), ["two"].into());
    assert_eq!(*asked.lock(), strings(&["none", "one", "two"]).into_iter().collect());
    drop(stream);
    forgotten(&asked).await;

    // A view that does not hold any more.
    let mut stream = Delta::subscribe(address, "a", "n", CLUSTER, &["one"]).await;
    stream.take().await;
    end.cancel();
    assert_eq!(stream.end().await.code(), Code::Unavailable);
    forgotten(&asked).await;
}

#[tokio::test]
async fn also_of_the_whole_state_and_no_names_are_not_all() {
    let Running { address, asked, .. } = serve().await;
    let request = |names: &[&str]| DiscoveryRequest {
        node: node("n"),
        type_url: CLUSTER.into(),
        resource_names: strings(names),
        ..DiscoveryRequest::default()
    };
    let mut one = Sotw::open(address, "a", request(&["one", "none"])).await;
    let answer = one.answers.message().await.unwrap().unwrap();
    assert_eq!(answer.resources.len(), 1);
    let mut other = Sotw::open(address, "b", request(&[])).await;
    let nothing = tokio::time::timeout(Duration::from_millis(300), other.answers.message()).await;
    let resources = nothing.map_or(0, |answer| answer.unwrap().unwrap().resources.len());
    assert_eq!(resources, 0, "what another asked for");
    drop((one, other));
    forgotten(&asked).await;
}
