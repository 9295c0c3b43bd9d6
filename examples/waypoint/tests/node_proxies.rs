//! The waypoint between our node proxies, all of them processes that our control plane programs.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::print_stderr,
    dead_code,
    unreachable_pub,
    missing_docs,
    missing_debug_implementations,
    reason = "a test"
)]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use support::manifests::{SERVERS_BEHIND_WAYPOINT, mesh};
use support::process::{Cast, play};
use support::{Block, SOON, application, ask, dial, name_of, until};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// Listeners wait 15 s for the beginning of what they must tell apart.
const BEFORE_INSPECTION_ENDS: Duration = Duration::from_secs(12);

#[test]
fn plays_a_part() {
    play();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn between_node_proxies() {
    let block = Block::new();
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str| directory.path().join("manifests").join(name);
    fs::create_dir(directory.path().join("manifests")).unwrap();
    fs::write(file("mesh.yaml"), mesh(block, "carts")).unwrap();
    fs::write(file("servers.yaml"), SERVERS_BEHIND_WAYPOINT).unwrap();
    for (name, host) in [("one", 11), ("two", 12)] {
        application::http(name, block.at(host, 8080)).await;
    }
    application::tcp("one", block.at(11, 9090)).await;

    let cast = Cast { block, directory: directory.path() };
    let mut control_plane = cast.control_plane();
    control_plane.ready().await;
    let mut all = [cast.node_proxy("node-a", 2), cast.node_proxy("node-b", 3), cast.waypoint()];
    for one in &mut all {
        one.ready().await;
    }
    let [_near, far, waypoint] = &all;
    let (client, thief, service) = (block.ip(21), block.ip(22), "10.1.0.1:80".parse().unwrap());
    let get = async |from, to, path: &str, headers: &str| match dial(from, to).await {
        Ok(stream) => ask(stream, path, headers).await,
        Err(code) => format!("SOCKS5 reply {code}"),
    };
    // Its own record must have come to the client's node proxy.
    until("a request goes through", async || get(client, service, "/", "").await.starts_with("HTTP/1.1 200 ")).await;

    // Addressed to the service: routes by header, by weight, and the default.
    let answer = get(client, service, "/cart", "").await;
    assert_eq!(name_of(&answer), "one", "{answer}");
    let answer = get(client, service, "/cart", "x-canary: yes\r\n").await;
    assert_eq!((name_of(&answer), answer.contains("x-by: waypoint")), ("two", true), "{answer}");
    let mut shares = BTreeMap::<String, u32>::new();
    for _ in 0..60 {
        *shares.entry(name_of(&get(client, service, "/split", "").await).to_owned()).or_default() += 1;
    }
    // Of 60 fair throws less than 10 are of one kind in one run of 10 million.
    assert!(shares.len() == 2 && shares.values().all(|count| *count >= 10), "{shares:?}");

    // Policies at the waypoint: of paths, and of who asked, which only the first tunnel tells.
    for (from, path) in [(client, "/admin/x"), (client, "/a/%2e%2e/admin"), (thief, "/cart")] {
        let answer = get(from, service, path, "").await;
        assert!(answer.starts_with("HTTP/1.1 403 ") && answer.ends_with("RBAC: access denied"), "{path}: {answer}");
    }
    // Nothing reaches the servers but through the waypoint, whose own identity they see.
    let metrics = far.get("/metrics").unwrap();
    let opened = |who: &str| {
        let principal = format!("source_principal=\"spiffe://cluster.local/ns/shop/sa/{who}\"");
        metrics.lines().any(|line| {
            line.starts_with("istio_tcp_connections_opened_total")
                && line.contains("reporter=\"destination\"")
                && line.contains(&principal)
        })
    };
    assert!(opened("waypoint") && !opened("client") && !opened("thief"), "{metrics}");

    // Addressed to the workload: the waypoint's own policies, no route of the service.
    let workload = block.at(11, 8080);
    let answer = get(client, workload, "/admin", "x-canary: yes\r\n").await;
    assert_eq!((name_of(&answer), answer.contains("x-by: waypoint")), ("one", false), "{answer}");
    let answer = get(thief, workload, "/closed/x", "").await;
    assert!(answer.starts_with("HTTP/1.1 403 "), "{answer}");

    // A service of TCP, whose server speaks first: nothing waits for what the client may say. The policies of its clients
    // count there too.
    let mut stream = dial(client, "10.1.0.3:90".parse().unwrap()).await.unwrap();
    let mut greeting = [0; 3];
    let greeted = stream.read_exact(&mut greeting);
    tokio::time::timeout(BEFORE_INSPECTION_ENDS, greeted).await.expect("the server's greeting comes").unwrap();
    assert_eq!(&greeting, b"one");
    assert_eq!(echoed(&mut stream, "bytes").await, "bytes");
    stream.shutdown().await.unwrap();
    assert_eq!(stream.read(&mut [0]).await.unwrap(), 0, "the end of one half goes through to the other");
    let mut refused = dial(thief, "10.1.0.3:90".parse().unwrap()).await.unwrap();
    let read = tokio::time::timeout(SOON, refused.read(&mut [0; 8])).await.expect("it ends");
    assert!(matches!(read, Ok(0) | Err(_)), "{read:?}");

    // A WebSocket.
    let mut stream = dial(client, service).await.unwrap();
    let request = "GET /chat HTTP/1.1\r\nhost: carts\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(tokio::time::timeout(SOON, stream.read_u8()).await.expect("an answer comes").unwrap());
    }
    assert!(head.starts_with(b"HTTP/1.1 101 "), "{}", String::from_utf8_lossy(&head));
    assert_eq!(echoed(&mut stream, "frames").await, "frames");
    drop(stream);

    let metrics = waypoint.get("/metrics").unwrap();
    let denied =
        metrics.lines().find(|line| line.contains("istio_requests_total") && line.contains("sa/thief")).unwrap();
    assert!(denied.contains("response_code=\"403\""), "{denied}");
    for one in all {
        one.end().await;
    }
    control_plane.end().await;
}

/// What comes back when this is sent.
async fn echoed(stream: &mut tokio::net::TcpStream, text: &str) -> String {
    stream.write_all(text.as_bytes()).await.unwrap();
    let mut answer = vec![0; text.len()];
    tokio::time::timeout(SOON, stream.read_exact(&mut answer)).await.expect("an echo comes").unwrap();
    String::from_utf8(answer).unwrap()
}
