//! How well good clients are served while hostile ones are at the same listener: new tunnels per second and their latency,
//! in quiet and in each flood, in one run, with the memory that the flood has taken.
//!
//! `cargo bench -p mesh-benches --bench flood [-- --short]`
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
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use mesh_core::authz::PolicySet;
use mesh_core::catalog::{Catalog, Delta};
use mesh_core::live::Live;
use mesh_core::name::{ServiceAccount, SpiffeId, TrustDomain};
use mesh_core::resolve::Destination;
use mesh_core::workload::{TunnelProtocol, Workload};
use mesh_identity::authority::{Authority, Names, Rules};
use mesh_identity::bundle::BundleSet;
use mesh_identity::clock::SystemClock;
use mesh_identity::source::{Identities, LocalSource};
use mesh_identity::tls::Identity;
use mesh_identity::verify::Expected;
use mesh_transport::hbone::pool::{Key, Pool};
use mesh_transport::proxy::{Drain, Inbound, Inputs};
use mesh_transport::socket::Listener;
use rustls::pki_types::ServerName;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsConnector;

/// Hostile clients at a time.
const ATTACKERS: usize = 8;

fn main() {
    let short = std::env::args().any(|argument| argument == "--short");
    let span = if short { Duration::from_millis(500) } else { Duration::from_secs(5) };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(run(span));
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flood {
    Quiet,
    HalfOpen,
    Random,
    Settings,
    RapidReset,
}

async fn run(span: Duration) {
    let ip = IpAddr::V4(Ipv4Addr::new(127, 251, u8::try_from(std::process::id() % 200).unwrap(), 2));
    let (identities, to, application) = server(ip).await;
    let client = identities.identity(&id("client")).await.unwrap();
    println!(
        "{:<14} {:>12} {:>10} {:>10} {:>14} {:>12}",
        "flood", "tunnels/s", "p50 ms", "p99 ms", "attacks/s", "memory MiB"
    );
    let mut quiet = None;
    for flood in [Flood::Quiet, Flood::HalfOpen, Flood::Random, Flood::Settings, Flood::RapidReset] {
        let before = resident();
        let attacks = Arc::new(AtomicU64::new(0));
        let attackers: Vec<_> = (0..if flood == Flood::Quiet { 0 } else { ATTACKERS })
            .map(|_| tokio::spawn(attack(flood, to, client.clone(), application, Arc::clone(&attacks))))
            .collect();
        let (rate, latencies) = good(span, &client, to, application).await;
        let grown = resident().saturating_sub(before) >> 20;
        for attacker in attackers {
            attacker.abort();
        }
        let at = |share: f64| latencies[((latencies.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e3;
        let attacked = attacks.load(Ordering::Relaxed) as f64 / span.as_secs_f64();
        println!(
            "{:<14} {rate:>12.0} {:>10.2} {:>10.2} {attacked:>14.0} {grown:>12}",
            format!("{flood:?}"),
            at(0.5),
            at(0.99)
        );
        match quiet {
            None => quiet = Some(rate),
            Some(quiet) => println!("ratio of new tunnels in the flood to quiet, {flood:?}: {:.2}", rate / quiet),
        }
    }
}

/// New connections with a tunnel each, one after the other, by two good clients.
async fn good(span: Duration, client: &Identity, to: SocketAddr, application: SocketAddr) -> (f64, Vec<Duration>) {
    let begun = Instant::now();
    let one = || {
        let client = client.clone();
        tokio::spawn(async move {
            let mut latencies = Vec::new();
            while begun.elapsed() < span {
                let started = Instant::now();
                // A pool of its own each time, so that each has a handshake.
                let pool = Pool::new();
                let key = Key { source: id("client"), expected: Expected::Ids(vec![id("server")]), to };
                let destination = Destination::Address(application);
                pool.connect(&client, key, &destination, &Default::default()).await.expect("a good client is served");
                latencies.push(started.elapsed());
                pool.shutdown().await;
            }
            latencies
        })
    };
    let (first, second) = (one(), one());
    let mut latencies = first.await.unwrap();
    latencies.extend(second.await.unwrap());
    latencies.sort();
    (latencies.len() as f64 / begun.elapsed().as_secs_f64(), latencies)
}

async fn attack(flood: Flood, to: SocketAddr, client: Identity, application: SocketAddr, attacks: Arc<AtomicU64>) {
    let mut held = std::collections::VecDeque::new();
    loop {
        match flood {
            Flood::Quiet => return,
            Flood::HalfOpen => {
                let Ok(mut tcp) = TcpStream::connect(to).await else { continue };
                let _ = tcp.write_all(&[22, 3, 1, 2, 0, 1]).await;
                held.push_back(tcp);
                if held.len() > 1000 {
                    held.pop_front();
                }
                attacks.fetch_add(1, Ordering::Relaxed);
            }
            Flood::Random => {
                let Ok(mut tcp) = TcpStream::connect(to).await else { continue };
                tcp.set_zero_linger().unwrap();
                let _ = tcp.write_all(&[0xa5; 512]).await;
                attacks.fetch_add(1, Ordering::Relaxed);
            }
            Flood::Settings | Flood::RapidReset => {
                let config = client.client_config(Expected::Anyone, &[b"h2"]).unwrap();
                let Ok(tcp) = TcpStream::connect(to).await else { continue };
                let name = ServerName::IpAddress(to.ip().into());
                let Ok(mut tls) = TlsConnector::from(config).connect(name, tcp).await else { continue };
                let _ = tls.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await;
                for round in 0..10_000_u32 {
                    let frames = if flood == Flood::Settings {
                        b"\0\0\x06\x04\0\0\0\0\0\0\x04\0\0\xff\xff".to_vec()
                    } else {
                        opened_and_reset(round * 2 + 1, application)
                    };
                    if tls.write_all(&frames).await.is_err() {
                        break;
                    }
                    attacks.fetch_add(1, Ordering::Relaxed);
                }
            }
        }
    }
}

fn opened_and_reset(stream: u32, application: SocketAddr) -> Vec<u8> {
    let mut block = b"\0\x07:method\x07CONNECT\0\x0a:authority".to_vec();
    let authority = application.to_string();
    block.push(u8::try_from(authority.len()).unwrap());
    block.extend(authority.as_bytes());
    let mut frames = vec![0, 0, u8::try_from(block.len()).unwrap(), 1, 4];
    frames.extend(stream.to_be_bytes());
    frames.extend(block);
    frames.extend([0, 0, 4, 3, 0]);
    frames.extend(stream.to_be_bytes());
    frames.extend([0, 0, 0, 8]);
    frames
}

fn id(name: &str) -> SpiffeId {
    SpiffeId::new(format!("spiffe://cluster.local/ns/bench/sa/{name}")).unwrap()
}

async fn server(ip: IpAddr) -> (Identities, SocketAddr, SocketAddr) {
    let domain = TrustDomain::new("cluster.local").unwrap();
    let authority = Arc::new(Authority::ephemeral(domain.clone(), Rules::default(), Arc::new(SystemClock)).unwrap());
    let bundles = BundleSet::default().with(authority.bundle());
    let source = LocalSource::new(authority, Duration::from_secs(3600), Names::default());
    let identities = Identities::builder(Arc::new(source), bundles).build();
    let mut workload = Workload::new("server", domain.clone(), "bench", "server").unwrap();
    workload.identity = ServiceAccount::new(domain, "bench", "server").unwrap();
    workload.addresses = vec![ip];
    workload.tunnel = TunnelProtocol::Hbone;
    let mut delta = Delta::new();
    delta.upsert_workload(workload);
    let catalog = Live::constant(Catalog::default().apply(delta));
    let inputs = Inputs::new(catalog, Live::constant(PolicySet::default()), identities.clone());
    let identity = identities.identity(&id("server")).await.unwrap();
    let to = SocketAddr::new(ip, 15008);
    let inbound = Inbound::new(inputs, "server", identity).unwrap();
    tokio::spawn(inbound.serve(Listener::bind(to).unwrap(), Drain::new()));
    let application = TcpListener::bind((ip, 0)).await.unwrap();
    let address = application.local_addr().unwrap();
    tokio::spawn(async move { while application.accept().await.is_ok() {} });
    (identities, to, address)
}

/// Resident memory of this process in bytes.
fn resident() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    text.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0) * 4096
}
