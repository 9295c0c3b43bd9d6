//! What ends when trust changes: connections that stand, further tunnels on them, and what was under way meanwhile.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    dead_code,
    unreachable_pub,
    missing_docs,
    missing_debug_implementations,
    reason = "a test"
)]

mod common;

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use common::{HBONE, Mesh, echoes, h2, id, open, service, status, tls, uid};
use http::{Method, StatusCode};
use mesh_core::catalog::{Catalog, Delta};
use mesh_core::live::{Live, Publisher};
use mesh_core::name::{SpiffeId, parse_trust_domain};
use mesh_core::resolve::Destination;
use mesh_identity::bundle::{Bundle, BundleSet, Revocations};
use mesh_identity::clock::{Clock, ManualClock, SystemClock};
use mesh_identity::source::{Fetch, Identities, Issued, SvidSource, SvidState};
use mesh_identity::svid::X509Svid;
use mesh_identity::tls::Identity;
use mesh_test_support::pki::{Ca, List, Spec};
use mesh_transport::proxy::{Discover, Inbound, reevaluate};
use mesh_transport::socket::Listener;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{Notify, watch};
use tokio::time::timeout;

const LIMIT: Duration = Duration::from_secs(5);

/// SVIDs by a test authority, which can revoke.
#[derive(Debug)]
struct FromCa(Arc<Ca>, Bundle);

impl SvidSource for FromCa {
    fn fetch<'a>(&'a self, id: &'a SpiffeId) -> Fetch<'a> {
        let leaf = self.0.leaf(&Spec::new(&id.to_string()));
        let svid = X509Svid::parse(leaf.chain, leaf.key).unwrap();
        Box::pin(std::future::ready(Ok(Issued { svid, bundle: self.1.clone() })))
    }
}

/// A mesh whose authority can revoke. Nobody judges its open connections again, but where a test asks for it.
struct Scene {
    mesh: Mesh,
    ca: Arc<Ca>,
    trusted: BundleSet,
}

impl Scene {
    fn new(clock: Arc<dyn Clock>) -> Self {
        let mut mesh = Mesh::new();
        let ca = Arc::new(Ca::root("cluster.local"));
        let bundle = Bundle::new(parse_trust_domain("cluster.local").unwrap(), vec![ca.certificate.clone()]).unwrap();
        let trusted = BundleSet::default().with(bundle.clone());
        let source = Arc::new(FromCa(Arc::clone(&ca), bundle));
        mesh.identities = Identities::builder(source, trusted.clone()).clock(clock).build();
        mesh.inputs.identities = mesh.identities.clone();
        Self { mesh, ca, trusted }
    }

    fn judge_again(&self, clock: impl Clock) {
        self.mesh.inputs.tasks.spawn(reevaluate(self.mesh.inputs.clone(), clock));
    }

    /// Somebody with a certificate of their own, who hears of no change of trust.
    fn apart(&self, name: &str) -> Identity {
        let leaf = self.ca.leaf(&Spec::new(&id(name).to_string()));
        let svid = X509Svid::parse(leaf.chain, leaf.key).unwrap();
        let state = SvidState { svid: Some(Arc::new(svid)), ..SvidState::default() };
        let trusted = Live::constant(self.trusted.clone());
        Identity::new(id(name), Live::constant(state), trusted, Arc::new(SystemClock))
    }

    fn revoke(&self, identities: &[&Identity]) {
        let svids: Vec<_> = identities.iter().map(|identity| identity.svid().unwrap()).collect();
        let leaves: Vec<_> = svids.iter().map(|svid| &svid.chain()[0]).collect();
        self.mesh.identities.revoke(Revocations::parse(&self.ca.revoke(&leaves)).unwrap());
    }

    fn hbone(&self) -> SocketAddr {
        SocketAddr::new(self.mesh.ip(2), HBONE)
    }
}

fn scene() -> Scene {
    Scene::new(Arc::new(SystemClock))
}

#[tokio::test]
async fn what_is_not_trusted_any_more_ends_on_both_sides() {
    let scene = scene();
    let mesh = &scene.mesh;
    scene.judge_again(SystemClock);
    mesh.serve("server", 2).await;
    let to = mesh.echo(2).await.into();
    let mut stream = open(&mesh.outbound("client"), &to).await.unwrap();
    assert!(echoes(&mut stream).await);
    assert_eq!(mesh.inputs.tracker.len(), 2);

    let (client, server) =
        (mesh.identities.identity(&id("client")).await, mesh.identities.identity(&id("server")).await);
    scene.revoke(&[&client.unwrap(), &server.unwrap()]);
    timeout(LIMIT, mesh.inputs.tracker.emptied()).await.unwrap();
    assert!(!echoes(&mut stream).await);
    let refused = open(&mesh.outbound("client"), &to).await.unwrap_err();
    assert!(mesh_core::report::chain(&refused).to_lowercase().contains("revoked"), "{refused:?}");
}

#[tokio::test]
async fn what_a_program_speaks_on_ends_with_trust_on_both_sides() {
    let scene = scene();
    let mesh = &scene.mesh;
    scene.judge_again(SystemClock);
    mesh.greet().await;
    let to = SocketAddr::new(mesh.ip(2), 80).into();
    let client = SocketAddr::new(mesh.ip(1), 1234);
    let mut stream = mesh.outbound("client").connect(&to, client).await.unwrap().into_stream();
    while timeout(LIMIT, stream.read_u8()).await.unwrap().unwrap() != b'\n' {}

    let (client, server) =
        (mesh.identities.identity(&id("client")).await, mesh.identities.identity(&id("server")).await);
    scene.revoke(&[&client.unwrap(), &server.unwrap()]);
    let read = timeout(LIMIT, stream.read_u8()).await.expect("whoever waits for bytes learns of the end");
    assert!(read.is_err());
    assert!(stream.write_all(b"x").await.is_err());
    timeout(LIMIT, mesh.inputs.tracker.emptied()).await.unwrap();
}

#[tokio::test]
async fn a_revoked_peer_opens_no_further_tunnel_on_its_old_connection() {
    for judged_again in [false, true] {
        let scene = scene();
        if judged_again {
            scene.judge_again(SystemClock);
        }
        scene.mesh.serve("server", 2).await;
        let application = scene.mesh.echo(2).await.to_string();
        let (bad, good) = (scene.apart("client"), scene.apart("client"));
        let bad_requests = h2(tls(&bad, scene.hbone(), &[b"h2"]).await.unwrap()).await;
        let good_requests = h2(tls(&good, scene.hbone(), &[b"h2"]).await.unwrap()).await;
        for requests in [&bad_requests, &good_requests] {
            assert_eq!(status(requests, Method::CONNECT, &application).await.0, StatusCode::OK);
        }
        // A tunnel that stays open, on the connection that will be given up.
        let request = http::Request::builder().method(Method::CONNECT).uri(&application).body(()).unwrap();
        let (response, _send) = bad_requests.clone().ready().await.unwrap().send_request(request, false).unwrap();
        let mut open = response.await.unwrap().into_body();

        scene.revoke(&[&bad]);
        let answer = status(&bad_requests, Method::CONNECT, &application).await;
        assert_eq!(answer, (StatusCode::UNAUTHORIZED, true, "peer_not_trusted".to_owned()));
        let ended = timeout(LIMIT, open.data()).await.unwrap();
        assert!(ended.is_none_or(|data| data.is_err()), "the tunnel that was open ends too");
        let closed = async {
            while bad_requests.clone().ready().await.is_ok() {
                tokio::task::yield_now().await;
            }
        };
        timeout(LIMIT, closed).await.expect("and the whole connection");
        assert_eq!(status(&good_requests, Method::CONNECT, &application).await.0, StatusCode::OK, "others are served");
    }
}

/// A control plane that answers when it is told to.
#[derive(Debug, Default)]
struct Gate {
    asked: Notify,
    go: Notify,
}

impl Discover for Gate {
    fn demand<'a>(&'a self, _: &'a [String]) -> Pin<Box<dyn Future<Output = bool> + Send + 'a>> {
        Box::pin(async {
            self.asked.notify_one();
            self.go.notified().await;
            true
        })
    }
}

#[tokio::test]
async fn a_peer_that_is_revoked_while_its_tunnel_is_opened_gets_none() {
    let mut scene = scene();
    let gate = Arc::new(Gate::default());
    scene.mesh.inputs.discovery = Some(Arc::<Gate>::clone(&gate));
    scene.mesh.serve("server", 2).await;
    let application = scene.mesh.echo(2).await;
    // The service is not heard of before its name is asked for.
    service(&scene.mesh, "server", application.port(), vec![]);
    let known = scene.mesh.inputs.catalog.snapshot();
    let mut delta = Delta::new();
    delta.remove("shop/web.shop.svc.cluster.local");
    scene.mesh.catalog.publish(known.apply(delta));
    let client = scene.apart("client");
    let requests = h2(tls(&client, scene.hbone(), &[b"h2"]).await.unwrap()).await;
    let asked = tokio::spawn(async move { status(&requests, Method::CONNECT, "web.shop.svc.cluster.local:80").await });
    // The proxy asks who is meant after it has judged the peer, and before it connects.
    timeout(LIMIT, gate.asked.notified()).await.unwrap();
    scene.revoke(&[&client]);
    scene.mesh.catalog.publish_arc(known);
    gate.go.notify_one();
    let answer = timeout(LIMIT, asked).await.unwrap().unwrap();
    assert_eq!(answer, (StatusCode::UNAUTHORIZED, true, "changed_meanwhile".to_owned()));
    timeout(LIMIT, scene.mesh.inputs.tracker.emptied()).await.unwrap();
}

#[tokio::test]
async fn a_server_that_is_revoked_while_it_answers_gets_no_bytes() {
    let scene = scene();
    let (records, catalog) = Publisher::new(Catalog::default());
    let known = scene.mesh.inputs.catalog.snapshot();
    let server = scene.apart("server");
    let mut inputs = scene.mesh.inputs.clone();
    inputs.catalog = catalog;
    let listener = Listener::bind(scene.hbone()).unwrap();
    let inbound = Inbound::new(inputs, uid("server"), server.clone()).unwrap();
    scene.mesh.inputs.tasks.spawn(inbound.serve(listener, scene.mesh.drain.clone()));
    let to: Destination = scene.mesh.echo(2).await.into();
    let outbound = scene.mesh.outbound("client");
    let opened = tokio::spawn(async move { open(&outbound, &to).await });
    let connected = async {
        while scene.mesh.inputs.pool.usage() != (1, 1) {
            tokio::task::yield_now().await;
        }
    };
    timeout(LIMIT, connected).await.expect("a request waits for its answer");
    scene.revoke(&[&server]);
    records.publish_arc(known);
    let mut stream = timeout(LIMIT, opened).await.unwrap().unwrap().unwrap();
    assert!(!echoes(&mut stream).await);
    timeout(LIMIT, scene.mesh.inputs.tracker.emptied()).await.unwrap();
}

/// A clock that tells how often it was looked at.
#[derive(Debug)]
struct Counted(Arc<ManualClock>, watch::Sender<usize>);

impl Clock for Counted {
    fn now(&self) -> SystemTime {
        self.1.send_modify(|looks| *looks += 1);
        self.0.now()
    }
}

#[tokio::test]
async fn an_end_neither_closes_a_connection_nor_hides_a_revocation() {
    let clock = Arc::new(ManualClock::new(SystemClock.now()));
    let scene = Scene::new(Arc::<ManualClock>::clone(&clock));
    let mesh = &scene.mesh;
    let (looks, mut looked) = watch::channel(0);
    scene.judge_again(Counted(Arc::clone(&clock), looks));
    mesh.serve("server", 2).await;
    let to = mesh.echo(2).await.into();
    let mut stream = open(&mesh.outbound("client"), &to).await.unwrap();
    assert!(echoes(&mut stream).await);
    let client = mesh.identities.identity(&id("client")).await.unwrap().svid().unwrap();

    // Certificates of the scene live for an hour.
    clock.advance(Duration::from_secs(2 * 60 * 60));
    let other = scene.ca.leaf(&Spec::new(&id("somebody").to_string()));
    let late = List { validity: (90 * 60, 3 * 60 * 60), ..List::default() };
    let list = |number, leaf: &_| Revocations::parse(&scene.ca.list(&[leaf], &List { number, ..late })).unwrap();
    for number in [1, 2] {
        let before = *looked.borrow();
        mesh.identities.revoke(list(number, &other.chain[0]));
        // When it looks for the second change, it is done with the first.
        timeout(LIMIT, looked.wait_for(|looks| *looks > before)).await.unwrap().unwrap();
    }
    assert!(echoes(&mut stream).await, "both ends have run out, and neither was revoked");

    mesh.identities.revoke(list(3, &client.chain()[0]));
    let ended = timeout(LIMIT, stream.read_u8()).await.expect("a list that came after the end counts");
    assert!(ended.is_err());
    drop(stream);
    timeout(LIMIT, mesh.inputs.tracker.emptied()).await.unwrap();
}

#[tokio::test]
async fn certificates_are_judged_when_trust_changes_and_not_when_records_do() {
    let scene = scene();
    let mesh = &scene.mesh;
    let (looks, mut looked) = watch::channel(0);
    scene.judge_again(Counted(Arc::new(ManualClock::new(SystemClock.now())), looks));
    mesh.serve("server", 2).await;
    let to = mesh.echo(2).await.into();
    let stream = open(&mesh.outbound("client"), &to).await.unwrap();
    let other = scene.apart("somebody");
    scene.revoke(&[&other]);
    timeout(LIMIT, looked.wait_for(|looks| *looks == 1)).await.unwrap().unwrap();
    let mut delta = Delta::new();
    delta.remove(&uid("server"));
    mesh.catalog.publish(mesh.catalog.live().load().apply(delta));
    let closed = async {
        while mesh.inputs.tracker.len() == 2 {
            tokio::task::yield_now().await;
        }
    };
    timeout(LIMIT, closed).await.unwrap();
    assert_eq!(*looked.borrow(), 1, "a workload that is gone is no question of trust");
    drop(stream);
}
