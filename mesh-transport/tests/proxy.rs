//! Two workloads, one proxy, real sockets: what is carried, refused and cut.
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

use std::time::Duration;

use common::{Mesh, dial, id};
use mesh_core::authz::{Action, Clause, Match, Policy, Rule, Scope};
use mesh_core::string_match::StringMatch;
use mesh_transport::proxy::{Direction, WayIn};
use mesh_transport::socket::Listener;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

const SOON: Duration = Duration::from_secs(5);

fn deny(name: &str, account: &str) -> Policy {
    let principal = StringMatch::parse(&format!("cluster.local/ns/shop/sa/{account}"));
    let entry = Match { principals: vec![principal], ..Match::default() };
    let rules = vec![Rule { clauses: vec![Clause { matches: vec![entry] }] }];
    Policy::new(name.parse().unwrap(), Scope::Namespace, Action::Deny, rules)
}

#[tokio::test]
async fn carries_bytes_with_the_callers_identity_seen_by_the_server() {
    let mesh = Mesh::new();
    mesh.serve("server", 2).await;
    let (application, socks) = (mesh.echo(2).await, mesh.socks("client"));
    let mut stream = dial(socks, application).await.unwrap();
    stream.write_all(b"hello").await.unwrap();
    let mut answer = [0; 5];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"hello");

    let open = mesh.inputs.tracker.connections();
    let inbound = open.iter().find(|info| info.facts.direction == Direction::Inbound).unwrap();
    assert_eq!(inbound.facts.source_identity, Some(id("client")));
    assert_eq!(inbound.facts.destination, Some(application));
    let outbound = open.iter().find(|info| info.facts.direction == Direction::Outbound).unwrap();
    assert_eq!(outbound.facts.destination_identity, Some(id("server")));

    stream.shutdown().await.unwrap();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).await.unwrap();
    assert!(rest.is_empty());
    timeout(SOON, mesh.inputs.tracker.emptied()).await.expect("both sides end");
}

#[tokio::test]
async fn policy_refuses_and_cuts_exactly_the_forbidden() {
    let mesh = Mesh::new();
    mesh.add("other", 3);
    mesh.serve("server", 2).await;
    let application = mesh.echo(2).await;
    let (client, other) = (mesh.socks("client"), mesh.socks("other"));
    let mut one = dial(client, application).await.unwrap();
    let mut two = dial(other, application).await.unwrap();

    mesh.policy(|delta| delta.upsert(deny("shop/no-other", "other")));
    let mut end = Vec::new();
    timeout(SOON, two.read_to_end(&mut end)).await.expect("the forbidden connection is cut").ok();
    assert_eq!(dial(other, application).await.unwrap_err(), 2, "new ones are refused by rule");

    one.write_all(b"still").await.unwrap();
    let mut answer = [0; 5];
    one.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"still");
}

#[tokio::test]
async fn an_explicit_listener_leads_to_its_one_destination() {
    let mesh = Mesh::new();
    mesh.serve("server", 2).await;
    let way_in = WayIn::Fixed(mesh.echo(2).await.into());
    let listener = Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let entry = listener.local_addr().unwrap();
    let serve = way_in.serve(mesh.inputs.clone(), mesh.outbound("client"), listener, mesh.drain.clone());
    mesh.inputs.tasks.spawn(serve);
    let mut stream = TcpStream::connect(entry).await.unwrap();
    stream.write_all(b"hello").await.unwrap();
    let mut answer = [0; 5];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"hello");
    let open = mesh.inputs.tracker.connections();
    assert!(open.iter().any(|info| info.facts.source_identity == Some(id("client"))), "as the workload it belongs to");
}

#[tokio::test]
async fn replies_say_why_there_is_no_connection() {
    let mesh = Mesh::new();
    mesh.serve("server", 2).await;
    let socks = mesh.socks("client");
    let closed = std::net::SocketAddr::new(mesh.ip(2), 9);
    assert_eq!(dial(socks, closed).await.unwrap_err(), 5, "the application refuses");
    let nobody = std::net::SocketAddr::new(mesh.ip(1), 9);
    assert_eq!(dial(socks, nobody).await.unwrap_err(), 4, "nobody serves the workload's tunnel");
    let own = std::net::SocketAddr::new(mesh.ip(2), common::HBONE);
    assert_eq!(dial(socks, own).await.unwrap_err(), 5, "the proxy's own port");
}
