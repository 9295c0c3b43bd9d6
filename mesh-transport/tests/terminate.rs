//! Tunnels that end in the program itself, and connections that it speaks on: who is at the other end, and when they break.
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
use std::time::Duration;

use common::{Mesh, id};
use mesh_core::resolve::Destination;
use mesh_transport::proxy::OutboundStream;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(5);

async fn open(mesh: &Mesh, port: u16) -> Result<OutboundStream, mesh_transport::proxy::Error> {
    let destination = Destination::Address(SocketAddr::new(mesh.ip(2), port));
    let client = SocketAddr::new(mesh.ip(1), 1234);
    Ok(mesh.outbound("client").connect(&destination, client).await?.into_stream())
}

async fn line(stream: &mut OutboundStream) -> String {
    let mut text = Vec::new();
    while text.last() != Some(&b'\n') {
        text.push(timeout(SOON, stream.read_u8()).await.unwrap().unwrap());
    }
    String::from_utf8(text).unwrap()
}

#[tokio::test]
async fn both_ends_know_each_other_and_what_is_asked_for() {
    let mesh = Mesh::new();
    mesh.greet().await;
    let mut stream = open(&mesh, 80).await.unwrap();
    assert_eq!(stream.peer(), Some(&id("server")));
    let greeting = line(&mut stream).await;
    assert_eq!(greeting, format!("spiffe://cluster.local/ns/shop/sa/client wants {}:80\n", mesh.ip(2)));
    stream.write_all(b"x").await.unwrap();
    assert_eq!(timeout(SOON, stream.read_u8()).await.unwrap().unwrap(), b'x');
    let counts = &stream.flow().counts;
    assert_eq!((counts.sent(), counts.received()), (1, greeting.len() as u64 + 1));
    assert_eq!(mesh.inputs.tracker.len(), 2);
    drop(stream);
    timeout(SOON, mesh.inputs.tracker.emptied()).await.expect("both sides end with the stream");
}

#[tokio::test]
async fn a_tunnel_that_is_refused_says_why() {
    let mesh = Mesh::new();
    mesh.greet().await;
    let error = open(&mesh, 1).await.unwrap_err();
    let text = mesh_core::report::chain(&error);
    assert!(text.contains("404") && text.contains("nothing_here"), "{text}");
    assert!(mesh.inputs.tracker.is_empty());
}

#[tokio::test]
async fn a_connection_breaks_when_the_proxy_closes_all() {
    let mesh = Mesh::new();
    mesh.greet().await;
    let mut stream = open(&mesh, 80).await.unwrap();
    line(&mut stream).await;
    mesh.inputs.tracker.close_all(&mesh_transport::proxy::Cause::Drain);
    assert!(timeout(SOON, stream.read_u8()).await.expect("in time").is_err());
}
