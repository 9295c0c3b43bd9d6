//! Clients that come back with all that they hold: the request outgrows gRPC's default limit of 4 MiB, and must pass; and
//! nothing that they hold is sent again, by whichever replica.
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

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use mesh_xds::client::backoff::Backoff;
use mesh_xds::client::fallback::{Fallback, Ladder};
use mesh_xds::client::machine::{Interest, Machine, Rejected, ServerTraits, Update, Variant};
use mesh_xds::client::{Event, Handler, Wish, run};
use mesh_xds::pb::Node;
use mesh_xds::server::{Change, Entry, Settings, limits};
use prost::Message;
use tokio_util::sync::CancellationToken;
use tonic::metadata::MetadataMap;
use tonic::transport::Endpoint;
use wire::{Doors, OTHER, Running, serve};

const WORKLOADS: usize = 100_000;

/// As Istio names them.
fn name(number: usize) -> String {
    format!("Kubernetes//Pod/namespace-{:03}/deployment-{number:06}-5d8c9b7f6d-abcde", number % 500)
}

fn body(number: usize) -> Vec<u8> {
    number.to_be_bytes().to_vec()
}

async fn replica() -> Running {
    let server = serve(Doors::default(), Settings { first_answers: Some(8), ..Settings::default() }).await;
    server.writer.apply((0..WORKLOADS).map(|at| (OTHER, Change::Put(name(at), Entry::new(body(at), vec![])))));
    server
}

/// What became of a client.
#[derive(Debug, Default)]
struct Seen {
    answers: AtomicUsize,
    resources: AtomicUsize,
    ended: AtomicUsize,
}

struct Client {
    seen: Arc<Seen>,
    wishes: Vec<Wish>,
}

impl Handler for Client {
    fn apply(&mut self, update: &Update) -> Vec<Rejected> {
        self.seen.resources.fetch_add(update.upserts.len() + update.removed.len(), Ordering::SeqCst);
        Vec::new()
    }

    fn wishes(&mut self) -> Vec<Wish> {
        std::mem::take(&mut self.wishes)
    }

    fn observe(&mut self, _: &Machine, event: Event<'_>) {
        match event {
            Event::Answered { .. } => self.seen.answers.fetch_add(1, Ordering::SeqCst),
            _ => self.seen.ended.fetch_add(1, Ordering::SeqCst),
        };
    }
}

/// A client that holds everything comes to a server. Gives what it was told in its first answer.
async fn come(server: &Running, interest: Interest, but: usize) -> usize {
    let seen = Arc::new(Seen::default());
    let mut wishes = vec![Wish::Want(OTHER, interest)];
    wishes.extend((but..WORKLOADS).map(|at| Wish::Hold {
        type_url: OTHER,
        name: name(at),
        version: Entry::new(body(at), vec![]).version.to_string(),
        server: Some(0),
        left: None,
    }));
    let mut client = Client { seen: Arc::clone(&seen), wishes };
    let machine = Machine::new(Node::default(), vec![ServerTraits::new("a", Variant::Delta)]);
    let ladder = Ladder::new(1, Fallback::default(), &Backoff::default());
    let channel = Endpoint::from_shared(format!("http://{}", server.address)).unwrap().connect_lazy();
    let connect = move || {
        let mut metadata = MetadataMap::new();
        metadata.insert("client", "c".parse().unwrap());
        Ok((channel.clone(), metadata))
    };
    let cancel = CancellationToken::new();
    let running = run(vec![connect], machine, ladder, &mut client, cancel.clone());
    let watching = async {
        while seen.answers.load(Ordering::SeqCst) == 0 {
            assert_eq!(seen.ended.load(Ordering::SeqCst), 0, "the stream was refused");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        cancel.cancel();
    };
    tokio::time::timeout(Duration::from_secs(300), async { tokio::join!(running, watching) }).await.unwrap();
    seen.resources.load(Ordering::SeqCst)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_with_100_000_workloads_comes_back_and_receives_nothing_that_it_holds() {
    // What it says is far above gRPC's default, and half a million fit into ours.
    let held = (0..WORKLOADS).map(|at| (name(at), "0123456789abcdef".to_owned())).collect();
    let request = mesh_xds::pb::discovery::DeltaDiscoveryRequest {
        initial_resource_versions: held,
        ..mesh_xds::pb::discovery::DeltaDiscoveryRequest::default()
    };
    let bytes = request.encoded_len();
    assert!(bytes > 2 * 4 * 1024 * 1024, "{bytes}");
    assert!(bytes * (limits::MAX_HELD / WORKLOADS) < limits::MAX_REQUEST_BYTES, "{bytes}");

    let (first, second) = (replica().await, replica().await);
    assert_eq!(come(&first, Interest::All, 0).await, 0);
    assert_eq!(come(&second, Interest::All, 0).await, 0, "another replica, which never saw it");
    assert_eq!(come(&second, Interest::All, 3).await, 3, "only what it lacks");
    // Who asks by name is answered by name, as the protocol wants it: that much passes as well.
    assert_eq!(come(&first, Interest::OnDemand, 0).await, WORKLOADS);
}
