//! What discovery costs: a client that takes a whole mesh (time, memory), one change in meshes of different sizes, one change to
//! a thousand clients, and a thousand clients that come back. Client and server are ours, over gRPC on loopback.
//!
//! `cargo bench -p mesh-benches --bench discovery [-- --short]`
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a bench"
)]

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use mesh_core::live::Live;
use mesh_core::name::{NamespacedHostname, parse_trust_domain};
use mesh_core::service::Service as MeshService;
use mesh_core::workload::Workload;
use mesh_xds::client::backoff::Backoff;
use mesh_xds::pb::Node;
use mesh_xds::pb::discovery::aggregated_discovery_service_client::AggregatedDiscoveryServiceClient;
use mesh_xds::pb::discovery::{DeltaDiscoveryRequest, DeltaDiscoveryResponse};
use mesh_xds::server::{Access, Cache, CacheWriter, Change, Entry, Service};
use mesh_xds::workload::{ADDRESS_TYPE, POLICY_TYPE, Setup, State, Subscriber, encode_service, encode_workload};
use prost::Message as _;
use tokio::net::TcpSocket;
use tokio::sync::mpsc;
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tokio_util::sync::CancellationToken;
use tonic::metadata::MetadataMap;
use tonic::transport::{Endpoint, Server};
use tonic::{Extensions, Status, Streaming};

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    if let Some(at) = arguments.iter().position(|argument| argument == "--take") {
        return runtime.block_on(take(arguments[at + 1].parse().unwrap(), arguments[at + 2].parse().unwrap()));
    }
    let short = arguments.iter().any(|argument| argument == "--short");
    runtime.block_on(async {
        whole(if short { &[1_000] } else { &[10_000, 100_000] }).await;
        one_change(if short { &[100, 1_000] } else { &[1_000, 10_000, 100_000] }, if short { 20 } else { 200 }).await;
        many_clients(if short { 20 } else { 1_000 }, if short { 100 } else { 2_000 }).await;
    });
}

#[derive(Debug)]
struct Anyone;

impl Access for Anyone {
    fn admit(&self, _: &MetadataMap, _: &Extensions) -> Result<String, Status> {
        Ok("anyone".to_owned())
    }
}

fn workload(index: usize, version: usize) -> (String, Change) {
    let trust_domain = parse_trust_domain("cluster.local").unwrap();
    let namespace = format!("namespace-{}", index % 100);
    let uid = format!("cluster-1//Pod/{namespace}/application-{index}-5d4f8c7b9-x2x9z");
    let mut workload =
        Workload::new(uid.as_str(), trust_domain, &namespace, &format!("account-{}", index % 500)).unwrap();
    let [_, a, b, c] = u32::try_from(index).unwrap().to_be_bytes();
    workload.addresses = vec![[10, a, b, c].into()];
    workload.name = format!("application-{index}-{version}").into();
    let entry = Entry::new(encode_workload(&workload), vec![format!("/10.{a}.{b}.{c}")]);
    (uid, Change::Put(workload.uid.to_string(), entry))
}

fn service(index: usize) -> (String, Change) {
    let namespace = format!("namespace-{}", index % 100);
    let key: NamespacedHostname = format!("{namespace}/service-{index}.{namespace}.svc.cluster.local").parse().unwrap();
    let name = key.to_string();
    let service = MeshService::new(key, format!("service-{index}"));
    (name.clone(), Change::Put(name, Entry::new(encode_service(&service), vec![])))
}

/// A server of a mesh, one service for five workloads.
async fn serve(workloads: usize) -> (CacheWriter, Service, SocketAddr) {
    let (writer, cache) = Cache::new(&[POLICY_TYPE, ADDRESS_TYPE]);
    let all = (0..workloads).map(|index| workload(index, 0)).chain((0..workloads / 5).map(service));
    writer.apply(all.map(|(_, change)| (ADDRESS_TYPE, change)));
    let service = Service::new(cache, Arc::new(Anyone), &[POLICY_TYPE, ADDRESS_TYPE]);
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    // A thousand clients come at once: as the control plane does.
    let listener = socket.listen(4096).unwrap();
    let address = listener.local_addr().unwrap();
    let server = Server::builder().add_service(service.server());
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    (writer, service, address)
}

fn follow(address: SocketAddr, file: Option<PathBuf>, cancel: CancellationToken) -> State {
    let mut setup = Setup::new(Node { id: "node".into(), ..Node::default() }, SystemTime::now)
        .backoff(Backoff::new(Duration::from_millis(20), Duration::from_millis(100)));
    setup.file = file;
    let (subscriber, state) = Subscriber::new(setup);
    let channel = Endpoint::from_shared(format!("http://{address}")).unwrap().connect_lazy();
    let connect =
        move || -> Result<_, Box<dyn std::error::Error + Send + Sync>> { Ok((channel.clone(), MetadataMap::new())) };
    tokio::spawn(subscriber.run(vec![connect], cancel));
    state
}

async fn until<T>(live: &Live<T>, what: impl Fn(&T) -> bool) {
    let mut changes = live.changes();
    while !what(&live.load()) {
        changes.changed().await.unwrap();
    }
}

/// Waits for what nobody tells of.
async fn until_seen(what: impl Fn() -> bool) {
    let mut looks = tokio::time::interval(Duration::from_millis(5));
    while !what() {
        looks.tick().await;
    }
}

/// Whether the one client has accepted all that it was sent.
fn accepted(service: &Service) -> bool {
    let clients = service.clients();
    let [client] = clients.as_slice() else { return false };
    client.types.contains_key(ADDRESS_TYPE)
        && client.types.values().all(|progress| progress.sent.is_some() && progress.sent == progress.acknowledged)
}

/// The size of this process in KiB: now, and at its largest.
fn memory() -> (u64, u64) {
    let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let of = |name: &str| {
        let line = text.lines().find(|line| line.starts_with(name))?;
        line.split_whitespace().nth(1)?.parse().ok()
    };
    (of("VmRSS:").unwrap_or(0), of("VmHWM:").unwrap_or(0))
}

/// A process that takes a mesh and says what that cost it, when its input ends.
async fn take(address: SocketAddr, workloads: usize) {
    let (before, _) = memory();
    let start = Instant::now();
    let state = follow(address, None, CancellationToken::new());
    until(&state.catalog, |catalog| catalog.workloads().count() == workloads).await;
    let taken = start.elapsed();
    tokio::task::spawn_blocking(|| std::io::copy(&mut std::io::stdin(), &mut std::io::sink())).await.unwrap().unwrap();
    let (steady, peak) = memory();
    println!("{} {} {}", taken.as_millis(), steady.saturating_sub(before), peak.saturating_sub(before));
}

async fn whole(sizes: &[usize]) {
    println!("a client takes a whole mesh (a fifth as many services)");
    println!("    workloads        ms   steady MiB     peak MiB   steady bytes per workload");
    for &size in sizes {
        let (_writer, service, address) = serve(size).await;
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--take", &address.to_string(), &size.to_string()]);
        let mut client = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        // It is measured when nothing is left to be done.
        until_seen(|| accepted(&service)).await;
        drop(client.stdin.take());
        let output = tokio::task::spawn_blocking(move || client.wait_with_output()).await.unwrap().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let figures: Vec<f64> = text.split_whitespace().map(|figure| figure.parse().unwrap()).collect();
        let [taken, steady, peak] = figures[..] else { panic!("the client said: {text}") };
        let each = steady * 1024.0 / f64::from(u32::try_from(size).unwrap());
        println!("    {size:>9} {taken:>9.0} {:>12.1} {:>12.1} {each:>27.0}", steady / 1024.0, peak / 1024.0);
    }
}

async fn one_change(sizes: &[usize], rounds: usize) {
    println!("one workload changes: from the server's publication to the client's catalog, with a state on disk");
    println!("    workloads   median us   CPU us per change (both sides)");
    let mut medians = Vec::new();
    for &size in sizes {
        let directory = tempfile::tempdir().unwrap();
        let (writer, service, address) = serve(size).await;
        let cancel = CancellationToken::new();
        let file = directory.path().join("state");
        let state = follow(address, Some(file.clone()), cancel.clone());
        until(&state.catalog, |catalog| catalog.workloads().count() == size).await;
        // The first state is on disk before anything is measured.
        until_seen(|| accepted(&service) && file.exists()).await;
        let mut took = Vec::with_capacity(rounds);
        let cpu = cpu_time();
        for round in 1..=rounds {
            let (uid, change) = workload(round % size, round);
            let name = format!("application-{}-{round}", round % size);
            let start = Instant::now();
            writer.apply([(ADDRESS_TYPE, change)]);
            until(&state.catalog, |catalog| catalog.workload(&uid).is_some_and(|found| found.name.as_str() == name))
                .await;
            took.push(start.elapsed());
        }
        let cpu = (cpu_time() - cpu).as_secs_f64() * 1e6 / f64::from(u32::try_from(rounds).unwrap());
        took.sort();
        let median = took[rounds / 2].as_secs_f64() * 1e6;
        println!("    {size:>9} {median:>11.0} {cpu:>32.0}");
        medians.push(median);
        cancel.cancel();
    }
    println!("ratio of one change in the largest mesh to the smallest: {:.2}", medians[medians.len() - 1] / medians[0]);
}

/// What the process has computed so far.
fn cpu_time() -> Duration {
    let text = std::fs::read_to_string("/proc/self/schedstat").unwrap_or_default();
    let tasks = std::fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let of = |text: &str| text.split_whitespace().next().and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
    let all: u64 =
        tasks.map(|task| of(&std::fs::read_to_string(task.path().join("schedstat")).unwrap_or_default())).sum();
    Duration::from_nanos(all.max(of(&text)))
}

/// A client that only counts.
struct Counting {
    requests: mpsc::Sender<DeltaDiscoveryRequest>,
    answers: Streaming<DeltaDiscoveryResponse>,
    held: Vec<(String, String)>,
}

impl Counting {
    async fn open(address: SocketAddr, held: Vec<(String, String)>) -> Self {
        let channel = Endpoint::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap();
        let (requests, stream) = mpsc::channel(4);
        let first = DeltaDiscoveryRequest {
            node: Some(Node::default()),
            type_url: ADDRESS_TYPE.to_owned(),
            initial_resource_versions: held.iter().cloned().collect(),
            ..DeltaDiscoveryRequest::default()
        };
        requests.send(first).await.unwrap();
        let mut client = AggregatedDiscoveryServiceClient::new(channel).max_decoding_message_size(usize::MAX);
        let answers = client.delta_aggregated_resources(ReceiverStream::new(stream)).await.unwrap().into_inner();
        Self { requests, answers, held }
    }

    /// Takes one answer and accepts it. Gives its size.
    async fn take(&mut self) -> usize {
        let answer = self.answers.message().await.unwrap().unwrap();
        let size = answer.encoded_len();
        if self.held.is_empty() {
            self.held = answer.resources.into_iter().map(|resource| (resource.name, resource.version)).collect();
        }
        let accepted = DeltaDiscoveryRequest {
            type_url: ADDRESS_TYPE.to_owned(),
            response_nonce: answer.nonce,
            ..DeltaDiscoveryRequest::default()
        };
        self.requests.send(accepted).await.unwrap();
        size
    }
}

async fn many_clients(clients: usize, workloads: usize) {
    let (writer, _service, address) = serve(workloads).await;
    let mut all = Vec::with_capacity(clients);
    let mut full = 0;
    for _ in 0..clients {
        let mut client = Counting::open(address, Vec::new()).await;
        full = client.take().await;
        all.push(client);
    }
    let mut took = Vec::new();
    let mut cpu = Duration::ZERO;
    for round in 1..=5 {
        let (start, before) = (Instant::now(), cpu_time());
        writer.apply([(ADDRESS_TYPE, workload(0, round).1)]);
        let taking = all.into_iter().map(|mut client| {
            tokio::spawn(async move {
                client.take().await;
                client
            })
        });
        let taking: Vec<_> = taking.collect();
        all = Vec::with_capacity(clients);
        for task in taking {
            all.push(task.await.unwrap());
        }
        took.push(start.elapsed());
        cpu += cpu_time() - before;
    }
    took.sort();
    let count = f64::from(u32::try_from(clients).unwrap());
    println!(
        "one change to {clients} clients of {workloads} workloads: the last has it after {:.1} ms (median of 5), CPU {:.0} us per client (both sides)",
        took[2].as_secs_f64() * 1e3,
        cpu.as_secs_f64() * 1e6 / 5.0 / count
    );
    // They come back, and nothing but the last change is new to them.
    let held: Vec<_> = all.drain(..).map(|client| client.held).collect();
    let start = Instant::now();
    let coming: Vec<_> = held
        .into_iter()
        .map(|held| tokio::spawn(async move { Counting::open(address, held).await.take().await }))
        .collect();
    let mut sent = 0;
    for task in coming {
        sent += task.await.unwrap();
    }
    let share = f64::from(u32::try_from(sent / clients).unwrap()) / f64::from(u32::try_from(full).unwrap());
    println!(
        "{clients} clients come back at once: {:.0} ms, {} bytes sent to each; ratio to the whole state: {share:.5}",
        start.elapsed().as_secs_f64() * 1e3,
        sent / clients
    );
}
