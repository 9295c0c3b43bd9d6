//! The ways that need more than two workloads: through a gateway of another network, behind an application tunnel.
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
use std::sync::Arc;
use std::time::Duration;

use common::{HBONE, Mesh, change, echoes, id, open, service, uid};
use mesh_core::balance::{InnerTunnel, Tunnel};
use mesh_core::live::Live;
use mesh_core::name::{Network, SpiffeId, parse_spiffe_id, parse_trust_domain};
use mesh_core::resolve::Destination;
use mesh_core::service::{GatewayAddress, GatewayDestination, HBONE_PORT};
use mesh_core::workload::{ApplicationProtocol, ApplicationTunnel};
use mesh_identity::authority::{Authority, Names, Rules};
use mesh_identity::bundle::BundleSet;
use mesh_identity::clock::SystemClock;
use mesh_identity::source::{Identities, LocalSource};
use mesh_identity::tls::Identity;
use mesh_identity::verify::Expected;
use mesh_transport::http::Transport;
use mesh_transport::l7::{Connect, Direct, Meshed, Target};
use mesh_transport::proxy::{Drain, Inbound, Inputs, Tunnels};
use mesh_transport::socket::proxy_protocol::Header;
use mesh_transport::socket::{Listener, SourceAddress};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// A server in network `far`, behind a gateway.
async fn two_networks(mesh: &mut Mesh, names: Vec<SpiffeId>) -> Destination {
    mesh.add("gateway", 3);
    let application = mesh.echo(2).await;
    let web = service(mesh, "server", application.port(), names);
    let reference = GatewayAddress {
        destination: GatewayDestination::Address(Network::from("far"), mesh.ip(3)),
        hbone_port: HBONE_PORT,
    };
    change(mesh, "gateway", |workload| workload.network = Network::from("far"));
    change(mesh, "server", |workload| {
        workload.network = Network::from("far");
        workload.network_gateway = Some(reference);
    });
    let mut far = mesh.inputs.clone();
    far.network = Network::from("far");
    for (name, host) in [("gateway", 3), ("server", 2)] {
        let identity = mesh.identities.identity(&id(name)).await.unwrap();
        let listener = Listener::bind(SocketAddr::new(mesh.ip(host), HBONE)).unwrap();
        let inbound = match name {
            "gateway" => Inbound::gateway(far.clone(), uid(name), identity),
            _ => Inbound::new(far.clone(), uid(name), identity),
        };
        let inbound = inbound.unwrap();
        mesh.inputs.tasks.spawn(inbound.serve(listener, Drain::new()));
    }
    web
}

#[tokio::test]
async fn a_tunnel_within_a_tunnel_reaches_another_network() {
    let mut mesh = Mesh::new();
    let web = two_networks(&mut mesh, vec![id("server")]).await;
    let mut streams = Vec::new();
    for _ in 0..5 {
        let mut stream = open(&mesh.outbound("client"), &web).await.unwrap();
        assert!(echoes(&mut stream).await);
        streams.push(stream);
    }
    assert_eq!(mesh.inputs.pool.usage(), (1, 5), "the outer tunnel is shared, the inner ones are not");
    let outbound: Vec<_> = mesh.inputs.tracker.connections();
    let facts = &outbound.iter().find(|info| info.facts.direction.as_str() == "outbound").unwrap().facts;
    assert_eq!(facts.destination_identity, Some(id("server")), "the identity at the far end, not the gateway's");
    assert_eq!(facts.reason, "network_gateway");
    let inner = outbound.iter().find(|info| {
        info.facts.destination_identity == Some(id("server")) && info.facts.direction.as_str() == "inbound"
    });
    assert_eq!(inner.unwrap().facts.source_identity, Some(id("client")), "the client's identity, end to end");

    // Half-close passes through both tunnels.
    let mut stream = streams.pop().unwrap();
    stream.shutdown().await.unwrap();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.unwrap();
    assert!(rest.is_empty());
}

/// Opens a stream to an endpoint, as a program does that is told of endpoints.
async fn reach(mesh: &Mesh, own: Identity, address: SocketAddr, tunnel: Tunnel) -> Result<Box<dyn Transport>, String> {
    let Inputs { pool, tracker, tasks, .. } = &mesh.inputs;
    let tunnels = Tunnels::new(pool.clone(), own, tracker.clone(), tasks.clone());
    let meshed = Meshed::new(tunnels, Direct::default(), SocketAddr::new(mesh.ip(1), 0));
    let target = Target { address, hostname: "".into(), cluster: "web".into(), tunnel: Some(tunnel) };
    meshed.in_network("near".into()).connect(target).await.map_err(|error| mesh_core::report::chain(&*error))
}

#[tokio::test]
async fn programs_that_are_told_of_endpoints_reach_those_of_other_networks() {
    let mut mesh = Mesh::new();
    let Destination::Hostname(host, port) = two_networks(&mut mesh, vec![]).await else { panic!() };
    let gateway = SocketAddr::new(mesh.ip(3), HBONE);
    let identity = mesh.identities.identity(&id("client")).await.unwrap();
    for (outer, far, refused) in [
        (vec![id("gateway")], vec![id("server")], None),
        // As from Istio, which names nobody.
        (vec![], vec![], None),
        (vec![id("server")], vec![id("server")], Some("the peer is `spiffe://cluster.local/ns/shop/sa/gateway`")),
        (vec![id("gateway")], vec![id("gateway")], Some("the peer is `spiffe://cluster.local/ns/shop/sa/server`")),
    ] {
        let inner = InnerTunnel { host: host.clone(), port, identities: far };
        let tunnel = Tunnel { identities: outer, via: None, inner: Some(inner) };
        match (reach(&mesh, identity.clone(), gateway, tunnel.clone()).await, refused) {
            (Ok(mut stream), None) => {
                let mut answer = [0; 5];
                stream.write_all(b"hello").await.unwrap();
                stream.read_exact(&mut answer).await.unwrap();
                assert_eq!(&answer, b"hello");
                let connections = mesh.inputs.tracker.connections();
                let outbound = connections.iter().find(|info| info.facts.direction.as_str() == "outbound").unwrap();
                assert_eq!(outbound.facts.destination_identity, Some(id("server")), "not the gateway's");
            }
            (Err(told), Some(refused)) => assert!(told.contains(refused), "{told}"),
            (reached, _) => panic!("{tunnel:?}: {:?}", reached.map(drop)),
        }
    }
}

#[tokio::test]
async fn where_nobody_is_named_a_member_of_our_own_trust_domain_is_meant() {
    let mesh = Mesh::new();
    let elsewhere = parse_trust_domain("elsewhere").unwrap();
    let authority = Authority::ephemeral(elsewhere.clone(), Rules::default(), Arc::new(SystemClock)).unwrap();
    let bundles = BundleSet::default().with(mesh.authority.bundle()).with(authority.bundle());
    let source = LocalSource::new(Arc::new(authority), Duration::from_secs(3600), Names::default());
    let others = Identities::builder(Arc::new(source), bundles.clone()).build();
    let stranger = parse_spiffe_id("spiffe://elsewhere/ns/shop/sa/server").unwrap();
    mesh.serve_as("server", 2, others.identity(&stranger).await.unwrap());
    mesh.add("gateway", 3);
    mesh.serve("gateway", 3).await;
    // Both domains are trusted for what they say of themselves.
    let own = mesh.identities.identity(&id("client")).await.unwrap();
    let own = Identity::new(id("client"), own.state().clone(), Live::constant(bundles), Arc::new(SystemClock));

    for (host, named, refused) in [
        (3, vec![], None),
        (2, vec![], Some("the peer is `spiffe://elsewhere/ns/shop/sa/server`")),
        (2, vec![stranger], None),
    ] {
        let address = mesh.echo(host).await;
        let tunnel = Tunnel { identities: named, ..Tunnel::default() };
        match (reach(&mesh, own.clone(), address, tunnel.clone()).await, refused) {
            (Ok(_), None) => {}
            (Err(told), Some(refused)) => assert!(told.contains(refused), "{told}"),
            (reached, _) => panic!("{host} {tunnel:?}: {:?}", reached.map(drop)),
        }
    }
}

#[tokio::test]
async fn nobody_but_the_services_own_identities_may_stand_at_the_inner_end() {
    for names in [vec![], vec![id("somebody")]] {
        let mut mesh = Mesh::new();
        let web = two_networks(&mut mesh, names).await;
        let refused = open(&mesh.outbound("client"), &web).await.unwrap_err();
        assert!(mesh_core::report::chain(&refused).contains("the peer is"), "{refused:?}");
    }
}

#[tokio::test]
async fn a_gateway_takes_host_names_of_its_network_only() {
    let mut mesh = Mesh::new();
    two_networks(&mut mesh, vec![id("server")]).await;
    let identity = mesh.identities.identity(&id("client")).await.unwrap();
    let key = mesh_transport::hbone::pool::Key {
        source: id("client"),
        expected: Expected::Ids(vec![id("gateway")]),
        to: SocketAddr::new(mesh.ip(3), HBONE),
    };
    for (authority, status) in [
        (format!("{}:80", mesh.ip(2)), "400"),
        ("nobody.example.com:80".to_owned(), "400"),
        ("web.shop.svc.cluster.local:81".to_owned(), "503"),
    ] {
        let (pool, to, headers) = (&mesh.inputs.pool, authority.parse().unwrap(), Default::default());
        let refused = pool.connect(&identity, key.clone(), &to, &headers).await.unwrap_err().to_string();
        assert!(refused.contains(status), "{authority}: {refused}");
    }
}

#[tokio::test]
async fn an_application_behind_a_proxy_tunnel_learns_whom_it_serves() {
    let mut mesh = Mesh::new();
    let application = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = application.local_addr().unwrap().port();
    change(&mesh, "server", |workload| {
        workload.application_tunnel =
            Some(ApplicationTunnel { protocol: ApplicationProtocol::Proxy, port: Some(port) });
    });
    let web = service(&mesh, "server", 8080, vec![]);
    mesh.inputs.options.localhost_application_tunnel = true;
    mesh.serve("server", 2).await;
    let by_address = Destination::Address(SocketAddr::new(mesh.ip(2), 9999));
    let identity = mesh.identities.identity(&id("client")).await.unwrap();
    let key = mesh_transport::hbone::pool::Key {
        source: id("client"),
        expected: Expected::Ids(vec![id("server")]),
        to: SocketAddr::new(mesh.ip(2), HBONE),
    };
    for (authority, destination) in
        [(by_address.clone(), by_address.to_string()), (web.clone(), "10.96.7.7:80".to_owned())]
    {
        let pool = &mesh.inputs.pool;
        let tunnelled = pool.connect(&identity, key.clone(), &authority, &Default::default()).await.unwrap();
        let (mut served, from) = application.accept().await.unwrap();
        assert!(from.ip().is_loopback());
        let mut bytes = vec![0; 16];
        served.read_exact(&mut bytes).await.unwrap();
        let length = usize::from(u16::from_be_bytes([bytes[14], bytes[15]]));
        bytes.resize(16 + length, 0);
        served.read_exact(&mut bytes[16..]).await.unwrap();
        let (header, _) = Header::decode(&bytes).unwrap().unwrap();
        assert_eq!(header.destination.to_string(), destination);
        assert_eq!(header.identity, Some(id("client").to_string()));
        drop(tunnelled);
    }
}

#[tokio::test]
async fn an_application_sees_its_client_only_where_the_proxy_may_pretend() {
    let mut mesh = Mesh::new();
    mesh.inputs.sockets.source = SourceAddress::Auto;
    mesh.serve("server", 2).await;
    let application = TcpListener::bind(SocketAddr::new(mesh.ip(2), 0)).await.unwrap();
    let to = application.local_addr().unwrap().into();
    let _stream = open(&mesh.outbound("client"), &to).await.unwrap();
    // Loopback destinations are reached from loopback, whatever the settings.
    let (_, from) = application.accept().await.unwrap();
    assert!(from.ip().is_loopback());
}
