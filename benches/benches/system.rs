//! The whole path on loopback, in one run: plain TCP, a bare rustls relay (the limit for encrypted relaying on this
//! machine), and our two proxies with HBONE between them. Prints bulk throughput, requests per second on open connections
//! and new connections per second, each as the median of several interleaved rounds and as a ratio to plain TCP.
//!
//! `cargo bench -p mesh-benches --bench system [-- --short]`
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a bench"
)]

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use mesh_benches::median;
use mesh_core::authz::PolicySet;
use mesh_core::catalog::{Catalog, Delta};
use mesh_core::live::{Live, Publisher};
use mesh_core::name::{ServiceAccount, SpiffeId, TrustDomain};
use mesh_core::resolve::Destination;
use mesh_core::workload::{TunnelProtocol, Workload};
use mesh_identity::authority::{Authority, Names, Rules};
use mesh_identity::bundle::BundleSet;
use mesh_identity::clock::SystemClock;
use mesh_identity::source::{Identities, LocalSource};
use mesh_identity::verify::Expected;
use mesh_transport::proxy::{Drain, Inbound, Inputs, Outbound, WayIn};
use mesh_transport::socket::Listener;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// Bytes of one bulk transfer, requests and connections of one round.
struct Size {
    bulk: u64,
    requests: u32,
    connections: u32,
    rounds: usize,
}

const CLIENTS: u32 = 8;

fn main() {
    let short = std::env::args().any(|argument| argument == "--short");
    let size = if short {
        Size { bulk: 16 << 20, requests: 400, connections: 80, rounds: 1 }
    } else {
        Size { bulk: 1 << 30, requests: 40_000, connections: 4_000, rounds: 5 }
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(run(&size));
}

async fn run(size: &Size) {
    let ways = [
        ("plain TCP", plain().await),
        ("bare rustls relay", rustls_relay().await),
        ("two proxies, HBONE", mesh().await),
    ];
    let mut measured: Vec<[Vec<f64>; 3]> = vec![Default::default(); ways.len()];
    for _ in 0..size.rounds {
        // Interleaved, so that whatever else the machine does falls on all alike.
        for ((_, way), results) in ways.iter().zip(&mut measured) {
            results[0].push(bulk(*way, size.bulk).await);
            results[1].push(requests(*way, size.requests).await);
            results[2].push(connections(*way, size.connections).await);
        }
    }
    let medians: Vec<[f64; 3]> =
        measured.iter().map(|results| results.each_ref().map(|values| median(values))).collect();
    println!(
        "{:<20} {:>12} {:>7} {:>14} {:>7} {:>14} {:>7}",
        "", "bulk Gbit/s", "ratio", "requests/s", "ratio", "connections/s", "ratio"
    );
    for ((name, _), values) in ways.iter().zip(&medians) {
        let ratio = |index: usize| values[index] / medians[0][index];
        println!(
            "{name:<20} {:>12.2} {:>7.2} {:>14.0} {:>7.2} {:>14.0} {:>7.2}",
            values[0],
            ratio(0),
            values[1],
            ratio(1),
            values[2],
            ratio(2)
        );
    }
    for (index, what) in ["bulk", "requests", "connections"].iter().enumerate() {
        println!(
            "ratio of the two proxies to the bare rustls relay, {what}: {:.2}",
            medians[2][index] / medians[1][index]
        );
    }
}

/// One way: what reads to the end and answers with one byte, and what echoes.
#[derive(Clone, Copy)]
struct Way {
    sink: SocketAddr,
    echo: SocketAddr,
}

async fn bulk(way: Way, bytes: u64) -> f64 {
    let mut stream = TcpStream::connect(way.sink).await.unwrap();
    let chunk = vec![0_u8; 256 * 1024];
    let begun = Instant::now();
    let mut left = bytes;
    while left > 0 {
        let part = usize::try_from(left.min(chunk.len() as u64)).unwrap();
        stream.write_all(&chunk[..part]).await.unwrap();
        left -= part as u64;
    }
    stream.shutdown().await.unwrap();
    assert_eq!(stream.read_u8().await.unwrap(), 1);
    bytes as f64 * 8.0 / begun.elapsed().as_secs_f64() / 1e9
}

async fn requests(way: Way, total: u32) -> f64 {
    let clients = (0..CLIENTS).map(|_| async move {
        let mut stream = TcpStream::connect(way.echo).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let mut buffer = [0_u8; 128];
        for _ in 0..total / CLIENTS {
            stream.write_all(&[1; 128]).await.unwrap();
            stream.read_exact(&mut buffer).await.unwrap();
        }
    });
    per_second(total, clients.map(tokio::spawn).collect()).await
}

async fn connections(way: Way, total: u32) -> f64 {
    let clients = (0..CLIENTS).map(|_| async move {
        for _ in 0..total / CLIENTS {
            let mut stream = TcpStream::connect(way.echo).await.unwrap();
            stream.write_all(&[1]).await.unwrap();
            assert_eq!(stream.read_u8().await.unwrap(), 1);
            // A reset instead of TIME_WAIT, which would use up the ports of the machine.
            stream.set_zero_linger().unwrap();
        }
    });
    per_second(total, clients.map(tokio::spawn).collect()).await
}

async fn per_second(total: u32, clients: Vec<tokio::task::JoinHandle<()>>) -> f64 {
    let begun = Instant::now();
    for client in clients {
        client.await.unwrap();
    }
    f64::from(total) / begun.elapsed().as_secs_f64()
}

/// The two applications behind every way.
async fn applications(ip: IpAddr) -> Way {
    let (sink, echo) = (TcpListener::bind((ip, 0)).await.unwrap(), TcpListener::bind((ip, 0)).await.unwrap());
    let way = Way { sink: sink.local_addr().unwrap(), echo: echo.local_addr().unwrap() };
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = sink.accept().await {
            tokio::spawn(async move {
                let mut buffer = vec![0; 256 * 1024];
                while let Ok(1..) = stream.read(&mut buffer).await {}
                let _ = stream.write_all(&[1]).await;
            });
        }
    });
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = echo.accept().await {
            stream.set_nodelay(true).unwrap();
            tokio::spawn(async move {
                let (mut read, mut write) = stream.split();
                let _ = tokio::io::copy(&mut read, &mut write).await;
            });
        }
    });
    way
}

async fn plain() -> Way {
    applications(Ipv4Addr::LOCALHOST.into()).await
}

fn identities() -> Identities {
    let domain = TrustDomain::new("cluster.local").unwrap();
    let authority = Arc::new(Authority::ephemeral(domain, Rules::default(), Arc::new(SystemClock)).unwrap());
    let bundles = BundleSet::default().with(authority.bundle());
    let source = LocalSource::new(authority, Duration::from_secs(3600), Names::default());
    Identities::builder(Arc::new(source), bundles).build()
}

fn id(name: &str) -> SpiffeId {
    SpiffeId::new(format!("spiffe://cluster.local/ns/bench/sa/{name}")).unwrap()
}

/// Client, relay, TLS, relay, server: two processes' worth of work with nothing but rustls in between. Every connection
/// has a handshake of its own; a pool has none on a connection that exists, which is part of what is compared.
async fn rustls_relay() -> Way {
    let identities = identities();
    let (client, server) =
        (identities.identity(&id("client")).await.unwrap(), identities.identity(&id("server")).await.unwrap());
    let connector = TlsConnector::from(client.client_config(Expected::Anyone, &[b"h2"]).unwrap());
    let acceptor = TlsAcceptor::from(server.server_config(&[b"h2"]).unwrap());
    std::mem::forget(identities);
    let applications = applications(Ipv4Addr::LOCALHOST.into()).await;
    let mut entries = Vec::new();
    for application in [applications.sink, applications.echo] {
        let (entry, exit) =
            (TcpListener::bind("127.0.0.1:0").await.unwrap(), TcpListener::bind("127.0.0.1:0").await.unwrap());
        entries.push(entry.local_addr().unwrap());
        let to = exit.local_addr().unwrap();
        let (connector, acceptor) = (connector.clone(), acceptor.clone());
        tokio::spawn(async move {
            while let Ok((mut down, _)) = entry.accept().await {
                let connector = connector.clone();
                tokio::spawn(async move {
                    down.set_nodelay(true).unwrap();
                    let tcp = TcpStream::connect(to).await.unwrap();
                    tcp.set_nodelay(true).unwrap();
                    let name = ServerName::IpAddress(to.ip().into());
                    if let Ok(mut up) = connector.connect(name, tcp).await {
                        let _ = tokio::io::copy_bidirectional_with_sizes(&mut down, &mut up, 65_536, 65_536).await;
                    }
                });
            }
        });
        tokio::spawn(async move {
            while let Ok((tcp, _)) = exit.accept().await {
                let acceptor = acceptor.clone();
                tokio::spawn(async move {
                    tcp.set_nodelay(true).unwrap();
                    if let Ok(mut down) = acceptor.accept(tcp).await {
                        let mut up = TcpStream::connect(application).await.unwrap();
                        up.set_nodelay(true).unwrap();
                        let _ = tokio::io::copy_bidirectional_with_sizes(&mut down, &mut up, 65_536, 65_536).await;
                    }
                });
            }
        });
    }
    Way { sink: entries[0], echo: entries[1] }
}

async fn mesh() -> Way {
    let block = u8::try_from(std::process::id() % 200).unwrap();
    let ip = |host: u8| IpAddr::V4(Ipv4Addr::new(127, 250, block, host));
    let domain = TrustDomain::new("cluster.local").unwrap();
    let mut delta = Delta::new();
    for (name, host) in [("client", 1), ("server", 2)] {
        let mut workload = Workload::new(name, domain.clone(), "bench", name).unwrap();
        workload.identity = ServiceAccount::new(domain.clone(), "bench", name).unwrap();
        workload.addresses = vec![ip(host)];
        workload.tunnel = TunnelProtocol::Hbone;
        delta.upsert_workload(workload);
    }
    let (catalog, live) = Publisher::new(Catalog::default().apply(delta));
    std::mem::forget(catalog);
    // Two proxies that share nothing but the trust: each with identities, pool and tracker of its own authority.
    let identities = identities();
    let inputs = || Inputs::new(live.clone(), Live::constant(PolicySet::default()), identities.clone());
    let (near, far) = (inputs(), inputs());
    let server = identities.identity(&id("server")).await.unwrap();
    let listener = Listener::bind(SocketAddr::new(ip(2), 15008)).unwrap();
    tokio::spawn(Inbound::new(far, "server", server).unwrap().serve(listener, Drain::new()));
    let applications = applications(ip(2)).await;
    let mut entries = Vec::new();
    for application in [applications.sink, applications.echo] {
        let listener = Listener::bind("127.0.0.1:0".parse().unwrap()).unwrap();
        entries.push(listener.local_addr().unwrap());
        let outbound = Outbound::new(near.clone(), "client");
        let way_in = WayIn::Fixed(Destination::Address(application));
        tokio::spawn(way_in.serve(near.clone(), outbound, listener, Drain::new()));
    }
    Way { sink: entries[0], echo: entries[1] }
}
