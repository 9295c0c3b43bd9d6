//! The programs about requests, as their users run them: a proxy of one's own, and a client over the balancer.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a test"
)]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Stdio};

use tonic_health::pb::health_server::HealthServer;
use tonic_health::server::HealthService;

use self::support::{Process, free, wait_for};

mod support;

/// A server that says its name and the head of the request.
fn backend(name: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut head = Vec::new();
            let mut byte = [0];
            while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() == 1 {
                head.push(byte[0]);
            }
            let body = format!("{name}\n{}", String::from_utf8_lossy(&head));
            let _ =
                write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
        }
    });
    address
}

fn get(at: SocketAddr, headers: &str) -> Option<String> {
    let mut stream = TcpStream::connect(at).ok()?;
    write!(stream, "GET / HTTP/1.1\r\nhost: a\r\n{headers}connection: close\r\n\r\n").ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    Some(answer)
}

#[test]
fn a_proxy_of_ones_own_names_tenants_and_splits_traffic() {
    let (at, stable, canary) = (free(), backend("stable"), backend("canary"));
    let arguments = [at, stable, canary].map(|address| address.to_string());
    let _proxy = Process(
        Command::new(env!("CARGO_BIN_EXE_tenant-proxy"))
            .args(arguments)
            .args(["--percent", "30", "--tenant", "secret=acme"])
            .spawn()
            .unwrap(),
    );
    wait_for("the proxy", || TcpStream::connect(at).is_ok());
    let answers: Vec<String> = (0..200).map(|_| get(at, "x-api-key: secret\r\n").unwrap()).collect();
    for answer in &answers {
        assert!(answer.contains("x-tenant: acme") && !answer.contains("secret"), "{answer}");
    }
    let canaries = answers.iter().filter(|answer| answer.contains("\r\n\r\ncanary\n")).count();
    // Of 200 with three tenths: less than once in a million runs beyond these bounds.
    assert!((28..=95).contains(&canaries), "{canaries} of 200 went to the canary");
    assert!(get(at, "").unwrap().starts_with("HTTP/1.1 401 "));
    assert!(get(at, "x-tenant: acme\r\n").unwrap().starts_with("HTTP/1.1 401 "));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_over_the_balancer_passes_over_a_server_that_is_gone() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (alive, gone) = (listener.local_addr().unwrap(), free());
    let (reporter, _) = tonic_health::server::health_reporter();
    reporter.set_service_status("", tonic_health::ServingStatus::Serving).await;
    let health = HealthServer::new(HealthService::from_health_reporter(reporter));
    let incoming = tonic::transport::server::TcpIncoming::from(listener);
    tokio::spawn(tonic::transport::Server::builder().add_service(health).serve_with_incoming(incoming));
    let output = Command::new(env!("CARGO_BIN_EXE_balanced-client"))
        .args([alive.to_string(), gone.to_string()])
        .args(["--calls", "20", "--pause", "5"])
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    // Until the one that is gone is left out, chance may lead all attempts of a call to it.
    let served: Vec<bool> = text.lines().map(|line| line == "Serving").collect();
    assert_eq!(served.len(), 20, "{text}");
    assert!(served.iter().filter(|served| **served).count() >= 15 && served.ends_with(&[true; 5]), "{text}");
}
