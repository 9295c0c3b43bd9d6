//! What peers may send to the HBONE port, and what they get.
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

use common::{HBONE, Mesh, h2, id, status, tls};
use http::{Method, StatusCode};
use mesh_core::live::Live;
use mesh_core::name::parse_trust_domain;
use mesh_identity::bundle::{Bundle, BundleSet};
use mesh_identity::clock::SystemClock;
use mesh_identity::source::SvidState;
use mesh_identity::svid::X509Svid;
use mesh_identity::tls::Identity;
use mesh_identity::verify::Expected;
use mesh_test_support::pki::{Ca, Spec};
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

#[tokio::test]
async fn requests_that_are_refused() {
    let mesh = Mesh::new();
    mesh.serve("server", 2).await;
    let application = mesh.echo(2).await;
    let client = mesh.identities.identity(&id("client")).await.unwrap();
    let to = SocketAddr::new(mesh.ip(2), HBONE);
    let requests = h2(tls(&client, to, &[b"h2"]).await.unwrap()).await;

    let own = |port: u16| SocketAddr::new(mesh.ip(2), port).to_string();
    let elsewhere = SocketAddr::new(mesh.ip(1), application.port()).to_string();
    for (method, uri, wanted, reason) in [
        (Method::GET, "http://a/".to_owned(), StatusCode::BAD_REQUEST, "malformed_request"),
        (Method::POST, format!("http://{application}/"), StatusCode::BAD_REQUEST, "malformed_request"),
        (Method::CONNECT, mesh.ip(2).to_string(), StatusCode::BAD_REQUEST, "malformed_request"),
        (Method::CONNECT, "a:b:c".to_owned(), StatusCode::BAD_REQUEST, "malformed_request"),
        (Method::CONNECT, "user@a:80".to_owned(), StatusCode::BAD_REQUEST, "malformed_request"),
        (Method::CONNECT, own(0), StatusCode::BAD_REQUEST, "malformed_request"),
        (Method::CONNECT, elsewhere, StatusCode::BAD_REQUEST, "not_this_workload"),
        (Method::CONNECT, "nobody.example.com:80".to_owned(), StatusCode::SERVICE_UNAVAILABLE, "unknown_service"),
        (Method::CONNECT, own(HBONE), StatusCode::SERVICE_UNAVAILABLE, "own_port"),
        (Method::CONNECT, own(9), StatusCode::SERVICE_UNAVAILABLE, "upstream_failure"),
    ] {
        if method == Method::CONNECT && uri.parse::<http::Uri>().is_err() {
            // The client's own library refuses to send it; nothing to learn about the server.
            continue;
        }
        let (status, ended, why) = status(&requests, method.clone(), &uri).await;
        assert_eq!((status, why.as_str()), (wanted, reason), "{method} {uri}");
        assert!(ended, "a refusal ends its stream: {method} {uri}");
    }
    let (status, _, _) = status(&requests, Method::CONNECT, &application.to_string()).await;
    assert_eq!(status, StatusCode::OK, "and the connection is still good");
}

#[tokio::test]
async fn handshakes_that_are_refused() {
    let mesh = Mesh::new();
    mesh.serve("server", 2).await;
    let to = SocketAddr::new(mesh.ip(2), HBONE);
    let client = mesh.identities.identity(&id("client")).await.unwrap();

    let mut plain = TcpStream::connect(to).await.unwrap();
    plain.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer).await;
    assert!(answer.len() < 16, "an alert at most: {answer:?}");

    assert!(tls(&client, to, &[b"http/1.1"]).await.is_err(), "no common protocol");
    let without = tls(&client, to, &[]).await;
    let closed = match without {
        Ok(mut stream) => stream.read_u8().await.is_err(),
        Err(_) => true,
    };
    assert!(closed, "a peer that offers no HTTP/2 is let go");

    // rustls sends no certificate when it has none that fits; the server learns it in the handshake, the client after it.
    let bare = mesh_identity::tls::server_authenticated_client(
        mesh.identities.bundles(),
        Expected::Anyone,
        Arc::new(SystemClock),
        &[b"h2"],
    );
    let tcp = TcpStream::connect(to).await.unwrap();
    let connecting = TlsConnector::from(bare.unwrap()).connect(ServerName::IpAddress(to.ip().into()), tcp);
    let alert = match connecting.await {
        Ok(mut stream) => stream.read_u8().await.unwrap_err(),
        Err(error) => error,
    };
    assert!(alert.to_string().contains("CertificateRequired"), "{alert}");
}

#[tokio::test]
async fn peers_that_are_not_trusted() {
    let mesh = Mesh::new();
    mesh.serve("server", 2).await;
    let to = SocketAddr::new(mesh.ip(2), HBONE);
    let (ours, foreign) = (Ca::root("cluster.local"), Ca::root("foreign.test"));
    let good = "spiffe://cluster.local/ns/shop/sa/client";
    // The server trusts this root too, so that only what is wrong with the leaf can refuse it.
    let trusted = Bundle::new(parse_trust_domain("cluster.local").unwrap(), vec![ours.certificate.clone()]).unwrap();
    let trusted = BundleSet::default().with(trusted.union(&mesh.authority.bundle()));
    let server = mesh.with_bundles(&trusted).await;

    let rows = [
        ("right", ours.leaf(&Spec::new(good)), true),
        ("unknown trust domain", foreign.leaf(&Spec::new("spiffe://foreign.test/ns/shop/sa/client")), false),
        ("foreign root, our name", foreign.leaf(&Spec::new(good)), false),
        ("expired", ours.leaf(&Spec { validity: (-200, -100), ..Spec::new(good) }), false),
        ("not yet valid", ours.leaf(&Spec { validity: (100, 200), ..Spec::new(good) }), false),
        ("two URI names", ours.leaf(&Spec { uris: vec![good.into(), format!("{good}2")], ..Spec::new(good) }), false),
        ("no URI name", ours.leaf(&Spec { uris: vec![], dns: vec!["a.b".into()], ..Spec::new(good) }), false),
    ];
    for (row, leaf, accepted) in rows {
        // Presented as it is: our own client would refuse to load most of these.
        let config =
            rustls::ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
                .with_protocol_versions(&[&rustls::version::TLS13])
                .unwrap()
                .dangerous()
                .with_custom_certificate_verifier(mesh_identity::verify::PeerVerifier::new(
                    Live::constant(trusted.clone()),
                    Expected::Anyone,
                    mesh_identity::verify::Role::Client,
                ))
                .with_client_auth_cert(leaf.chain, leaf.key)
                .unwrap();
        let mut config = config;
        config.alpn_protocols = vec![b"h2".to_vec()];
        let tcp = TcpStream::connect(server).await.unwrap();
        let name = ServerName::IpAddress(to.ip().into());
        let served = match TlsConnector::from(Arc::new(config)).connect(name, tcp).await {
            // The client believes that the handshake is done; the server's alert, or its SETTINGS, come next.
            Ok(mut stream) => stream.read_u8().await.is_ok(),
            Err(_) => false,
        };
        assert_eq!(served, accepted, "{row}");
    }
}

#[tokio::test]
async fn a_server_that_is_somebody_else_is_refused() {
    let mesh = Mesh::new();
    mesh.add("impostor", 3);
    // The impostor's proxy listens at the server's address.
    let impostor = mesh.identities.identity(&id("impostor")).await.unwrap();
    mesh.serve_as("server", 2, impostor);
    let application = mesh.echo(2).await;
    let error = mesh.outbound("client").connect(&application.into(), "127.0.0.1:1".parse().unwrap()).await.unwrap_err();
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert!(
        cause.contains("sa/impostor") && cause.contains("expected `spiffe://cluster.local/ns/shop/sa/server`"),
        "{cause}"
    );
}

#[tokio::test]
async fn an_svid_of_ones_own_that_has_ended_is_not_presented() {
    let ca = Ca::root("cluster.local");
    let leaf = ca.leaf(&Spec { validity: (-200, -100), ..Spec::new("spiffe://cluster.local/ns/shop/sa/client") });
    let svid = X509Svid::parse(leaf.chain, leaf.key).unwrap();
    let state = SvidState { svid: Some(Arc::new(svid)), ..SvidState::default() };
    let identity =
        Identity::new(id("client"), Live::constant(state), Live::constant(BundleSet::default()), Arc::new(SystemClock));
    assert!(identity.svid().is_none());
}

#[tokio::test]
async fn drain_takes_nothing_new_and_lets_the_old_end() {
    let mesh = Mesh::new();
    mesh.serve("server", 2).await;
    let (application, socks) = (mesh.echo(2).await, mesh.socks("client"));
    let mut open = common::dial(socks, application).await.unwrap();
    let (drain, tracker) = (mesh.drain.clone(), mesh.inputs.tracker.clone());
    let tasks = mesh.inputs.tasks.clone();
    let drained = tokio::spawn(async move { drain.run(&tracker, &tasks, Duration::from_secs(20)).await });
    mesh.drain.begun().await;

    open.write_all(b"still here").await.unwrap();
    let mut answer = [0; 10];
    open.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"still here");
    assert!(TcpStream::connect(socks).await.is_err() || common::refused(socks).await, "no new connections");
    open.shutdown().await.unwrap();
    assert_eq!(drained.await.unwrap(), 0, "none had to be closed");
}

#[tokio::test]
async fn drain_closes_at_its_deadline() {
    let mesh = Mesh::new();
    mesh.serve("server", 2).await;
    let (application, socks) = (mesh.echo(2).await, mesh.socks("client"));
    let mut open = common::dial(socks, application).await.unwrap();
    let closed = mesh.drain.run(&mesh.inputs.tracker, &mesh.inputs.tasks, Duration::from_millis(50)).await;
    assert_eq!(closed, 2, "the connection, seen from both sides");
    let mut rest = Vec::new();
    let _ = open.read_to_end(&mut rest).await;
}
