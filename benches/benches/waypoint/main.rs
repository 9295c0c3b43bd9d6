//! Our L7 proxy beside Envoy, as a plain HTTP proxy, in one run: requests per second, CPU per request, latency at a fixed
//! load, memory. Both are programmed with the same resources over xDS: a route by a header, a policy that denies a path,
//! least-request over two backends, retries and outlier detection. Each is a process with one worker thread on a processor
//! that it shares with nobody but the other one, which rests meanwhile; those who ask and those who answer have the others.
//!
//! `MESH_ENVOY=path/of/envoy cargo bench -p mesh-benches --bench waypoint [-- --short]`
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a bench"
)]

mod backend;
mod load;
mod process;
mod program;

use std::ffi::{OsStr, OsString};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use mesh_benches::median;
use mesh_xds::server::CacheWriter;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use self::load::Client;
use self::process::{OF_PROXIES, Process};

/// Requests at a time, when as many as possible are asked.
const CLIENTS: usize = 64;

/// Connections whose memory is measured.
const CONNECTIONS: usize = 1_000;

/// The fixed load, as a share of what the slower one can bear.
const SHARE: f64 = 0.4;

struct Size {
    rounds: usize,
    span: Duration,
    warm_up: Duration,
}

/// What is spoken, to the proxy and by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Version {
    Http1,
    Http2,
}

impl Version {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Http1 => "HTTP/1.1",
            Self::Http2 => "HTTP/2",
        }
    }
}

impl From<&str> for Version {
    fn from(text: &str) -> Self {
        if text == Self::Http1.as_str() { Self::Http1 } else { Self::Http2 }
    }
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let strings: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match strings.as_slice() {
        ["--on", ..] => process::become_pinned(&arguments[1..]),
        ["--backend", version, addresses @ ..] => {
            let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
            one_worker().block_on(backend::serve(Version::from(*version), &addresses));
        }
        ["--proxy", control] => one_worker().block_on(program::serve(control.parse().unwrap())),
        _ => {
            process::keep_to(&process::others());
            let workers = process::others().len();
            let mut builder = tokio::runtime::Builder::new_multi_thread();
            let size = if strings.contains(&"--short") {
                Size { rounds: 1, span: Duration::from_millis(500), warm_up: Duration::from_millis(100) }
            } else {
                Size { rounds: 5, span: Duration::from_secs(4), warm_up: Duration::from_secs(1) }
            };
            builder.worker_threads(workers).enable_all().build().unwrap().block_on(async {
                // On a worker, and not on the thread that waits here.
                tokio::spawn(run(size)).await.unwrap();
            });
        }
    }
}

/// As Envoy with `--concurrency 1`.
fn one_worker() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

async fn run(size: Size) {
    let envoy = std::env::var_os("MESH_ENVOY");
    if envoy.is_none() {
        println!(
            "ENVOY WAS NOT MEASURED: MESH_ENVOY names none. What follows are figures without anything beside them."
        );
    }
    for version in [Version::Http1, Version::Http2] {
        measure(version, envoy.as_deref(), &size).await;
    }
}

/// A proxy at work.
struct Proxy {
    name: &'static str,
    process: Process,
    at: SocketAddr,
    _control: CacheWriter,
    _bootstrap: Option<tempfile::TempPath>,
}

/// What was measured of a proxy, a value per round.
#[derive(Default)]
struct Measured {
    per_second: Vec<f64>,
    busy: Vec<f64>,
    cpu_saturated: Vec<f64>,
    cpu_at_rate: Vec<f64>,
    p50: Vec<f64>,
    p99: Vec<f64>,
    memory_idle: Vec<f64>,
    memory_connections: Vec<f64>,
}

async fn measure(version: Version, envoy: Option<&OsStr>, size: &Size) {
    let backends = [free(), free()];
    let addresses: Vec<String> = backends.iter().map(ToString::to_string).collect();
    let mut arguments = vec!["--backend", version.as_str()];
    arguments.extend(addresses.iter().map(String::as_str));
    let mut serving = Process::role(&process::others(), &arguments);
    let mut proxies = vec![ours(version, &backends).await];
    if let Some(envoy) = envoy {
        proxies.push(beside(envoy, version, &backends).await);
    }
    let mut measured: Vec<Measured> = proxies.iter().map(|_| Measured::default()).collect();
    for (proxy, measured) in proxies.iter_mut().zip(&mut measured) {
        proxy.ready().await;
        measured.memory_idle.push(proxy.process.resident_mib());
    }
    for (proxy, measured) in proxies.iter().zip(&mut measured) {
        let mut connections = Vec::new();
        for _ in 0..CONNECTIONS {
            let mut client = Client::one(version, proxy.at).await;
            client.ask().await;
            connections.push(client);
        }
        measured.memory_connections.push(proxy.process.resident_mib());
    }
    let mut clients = Vec::new();
    for proxy in &proxies {
        let mut of_proxy = Client::many(version, proxy.at, CLIENTS).await;
        load::saturate(&mut of_proxy, size.warm_up).await;
        clients.push(of_proxy);
    }
    for _ in 0..size.rounds {
        // Interleaved, so that whatever else the machine does falls on both alike.
        for ((proxy, measured), clients) in proxies.iter().zip(&mut measured).zip(&mut clients) {
            let (cpu, begun) = (proxy.process.cpu(), Instant::now());
            let answered = load::saturate(clients, size.span).await as f64;
            let (cpu, took) = (proxy.process.cpu() - cpu, begun.elapsed());
            measured.per_second.push(answered / took.as_secs_f64());
            measured.busy.push(cpu.as_secs_f64() / took.as_secs_f64() * 100.0);
            measured.cpu_saturated.push(cpu.as_secs_f64() * 1e6 / answered);
        }
    }
    let slower = measured.iter().map(|one| median(&one.per_second)).min_by(f64::total_cmp).unwrap_or_default();
    let rate = slower * SHARE;
    for _ in 0..size.rounds {
        for ((proxy, measured), clients) in proxies.iter().zip(&mut measured).zip(&mut clients) {
            let cpu = proxy.process.cpu();
            let took = load::at_rate(clients, rate, size.span).await;
            let cpu = proxy.process.cpu() - cpu;
            let at = |share: f64| took[((took.len() - 1) as f64 * share) as usize].as_secs_f64() * 1e6;
            measured.cpu_at_rate.push(cpu.as_secs_f64() * 1e6 / took.len() as f64);
            measured.p50.push(at(0.5));
            measured.p99.push(at(0.99));
        }
    }
    serving.expect_alive();
    print(version, rate, &proxies, &measured);
}

/// What a line of the table is about, and where its values are.
type Row = (String, fn(&Measured) -> &[f64]);

fn print(version: Version, rate: f64, proxies: &[Proxy], measured: &[Measured]) {
    println!("\n{}, {CLIENTS} clients; medians of {} rounds", version.as_str(), measured[0].per_second.len());
    let rows: [Row; 8] = [
        ("requests/s, as many as possible".into(), |one| one.per_second.as_slice()),
        ("    its processor is busy, %".into(), |one| one.busy.as_slice()),
        ("    CPU us/request".into(), |one| one.cpu_saturated.as_slice()),
        (format!("CPU us/request at {rate:.0}/s"), |one| one.cpu_at_rate.as_slice()),
        ("    p50 us".into(), |one| one.p50.as_slice()),
        ("    p99 us".into(), |one| one.p99.as_slice()),
        ("memory MiB, no connections".into(), |one| one.memory_idle.as_slice()),
        (format!("memory MiB, {CONNECTIONS} connections"), |one| one.memory_connections.as_slice()),
    ];
    let names: String = proxies.iter().map(|proxy| format!("{:>12}", proxy.name)).collect();
    println!("{:<36}{names}{:>16}", "", if proxies.len() > 1 { "ours to Envoy" } else { "" });
    for (name, of) in rows {
        let values: Vec<f64> = measured.iter().map(|one| median(of(one))).collect();
        let cells: String = values.iter().map(|value| format!("{value:>12.1}")).collect();
        let ratio = values.get(1).map_or_else(String::new, |envoy| format!("{:>16.2}", values[0] / envoy));
        println!("{name:<36}{cells}{ratio}");
    }
}

fn free() -> SocketAddr {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

async fn ours(version: Version, backends: &[SocketAddr]) -> Proxy {
    let at = free();
    let (writer, control) = program::control(version, at, backends).await;
    let process = Process::role(&[OF_PROXIES], &["--proxy", &control.to_string()]);
    Proxy { name: "Mesh", process, at, _control: writer, _bootstrap: None }
}

async fn beside(envoy: &OsStr, version: Version, backends: &[SocketAddr]) -> Proxy {
    let at = free();
    let (writer, control) = program::control(version, at, backends).await;
    let file = tempfile::Builder::new().suffix(".yaml").tempfile().unwrap().into_temp_path();
    std::fs::write(&file, program::envoy_bootstrap(control)).unwrap();
    let arguments = ["--concurrency", "1", "--disable-hot-restart", "--log-level", "error", "--config-path"];
    let mut arguments: Vec<OsString> = arguments.iter().map(OsString::from).collect();
    arguments.push(file.as_os_str().to_owned());
    let arguments: Vec<&OsStr> = arguments.iter().map(OsString::as_os_str).collect();
    let process = Process::start(&[OF_PROXIES], envoy, &arguments);
    Proxy { name: "Envoy", process, at, _control: writer, _bootstrap: Some(file) }
}

impl Proxy {
    /// Waits until it does what it is programmed with: another answer would make it another bench.
    async fn ready(&mut self) {
        let begun = Instant::now();
        for (path, headers, status) in [
            ("/", "x-tenant: gold\r\n", "HTTP/1.1 200 "),
            ("/", "", "HTTP/1.1 404 "),
            ("/admin/users", "x-tenant: gold\r\n", "HTTP/1.1 403 "),
        ] {
            loop {
                self.process.expect_alive();
                let answer = self.status(path, headers).await.unwrap_or_default();
                if answer == status {
                    break;
                }
                assert!(begun.elapsed() < program::PATIENCE, "{}: `{answer}` for {path} {headers}", self.name);
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }

    async fn status(&self, path: &str, headers: &str) -> std::io::Result<String> {
        let mut stream = TcpStream::connect(self.at).await?;
        let request = format!("GET {path} HTTP/1.1\r\nhost: shop.example\r\n{headers}\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut status = [0; 13];
        stream.read_exact(&mut status).await?;
        Ok(String::from_utf8_lossy(&status).into_owned())
    }
}
