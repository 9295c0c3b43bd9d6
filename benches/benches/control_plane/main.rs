//! What the control plane costs, as a process that serves from a directory: from its start to ready, memory, one changed
//! endpoint and one changed policy from the file to the stream of a client, and to a thousand; in a large mesh and in one of a
//! quarter of its size; with manifests in one file, in one for each namespace and in one for each service. And what it costs to
//! tell what a change would do.
//!
//! Clients are in the process of the bench, over TLS on loopback; nothing of what they use counts as the control plane's. The
//! directory is looked at every 10 ms, which is half of that in a time from a file to a stream.
//!
//! `cargo bench -p mesh-benches --bench control_plane [-- --short]`
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods,
    missing_docs,
    unreachable_pub,
    reason = "a bench"
)]

mod preview;
mod region;
mod subscriber;
mod world;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use mesh_xds::envoy::{ENDPOINT_TYPE, LISTENER_TYPE};
use mesh_xds::workload::ADDRESS_TYPE;

use self::region::Region;
use self::subscriber::Subscriber;
use self::world::{Changed, Layout, Size};

/// The workload that changes.
const WORKLOAD: &str = "Kubernetes//Pod/n0/s0-0";
/// What its waypoint has of its service.
const ENDPOINTS: &str = "inbound-vip|80|http|s0.n0.svc.cluster.local";
const WAYPOINT: &str = "spiffe://cluster.local/ns/n0/sa/w";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    if let Some(at) = arguments.iter().position(|argument| argument == region::ROLE) {
        let program = std::iter::once("control-plane".into());
        return mesh_control_plane::main_with_args(program.chain(std::env::args_os().skip(at + 1)));
    }
    let short = arguments.iter().any(|argument| argument == "--short");
    let (size, rounds, subscribers) = if short { (Size::LARGE.part(20), 6, 100) } else { (Size::LARGE, 20, 1_000) };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let small = measure(size.part(4), rounds, 0).await;
        let large = measure(size, rounds, subscribers).await;
        println!("a mesh four times as large:");
        for (what, small, large) in [
            ("cold start, CPU for each object", small.cold, large.cold),
            ("memory, for each object", small.memory, large.memory),
            ("one changed endpoint to a node proxy", small.endpoint, large.endpoint),
            ("one changed endpoint to a waypoint", small.at_waypoint, large.at_waypoint),
            ("one changed policy to a waypoint", small.policy, large.policy),
        ] {
            println!("    {what}: {:.2} times", large / small);
        }
        for layout in [Layout::OneFile, Layout::Services] {
            laid_out(layout, size, if short { 3 } else { 5 }).await;
        }
    });
    preview::measure(if short { 100 } else { 500 });
    ExitCode::SUCCESS
}

/// What is compared with a mesh of another size.
struct Figures {
    cold: f64,
    memory: f64,
    endpoint: f64,
    at_waypoint: f64,
    policy: f64,
}

fn mib(bytes: usize) -> usize {
    bytes / (1024 * 1024)
}

async fn measure(size: Size, rounds: usize, subscribers: usize) -> Figures {
    println!("{} objects, a file for each of {} namespaces: {size:?}", size.objects(), size.namespaces);
    let region = Region::start(Layout::Namespaces, size).await;
    let cold = region.cpu().as_secs_f64() / size.objects() as f64;
    println!(
        "    cold start: ready after {:.2} s, with {:.0} us of CPU for each object",
        region.cold.as_secs_f64(),
        cold * 1e6
    );
    let start = Instant::now();
    let one = Subscriber::node(&region, ADDRESS_TYPE, &[]).await.take(size.addresses()).await;
    println!("    a node proxy has all {} addresses after {:.2} s", size.addresses(), start.elapsed().as_secs_f64());
    let quiet = region.quiet().await;
    let (now, peak) = region.memory();
    let memory = now as f64 / size.objects() as f64;
    println!(
        "    memory: {} MiB, {:.1} KiB for each object; {} MiB at its largest; background work ended {:.0} s later, with {:.1} s of CPU in all",
        mib(now),
        memory / 1024.0,
        mib(peak),
        quiet.as_secs_f64(),
        region.cpu().as_secs_f64()
    );
    println!(
        "    a look at the directory in which nothing changed: {:.2} ms of CPU",
        milliseconds(region.look().await)
    );

    let change = |endpoint| Changed { endpoint, ..Changed::default() };
    let endpoint = one_by_one(&region, one, rounds, "one changed endpoint to a node proxy", change).await;
    let channel = region.of(WAYPOINT).await;
    let mut one = Subscriber::waypoint(channel.clone(), ENDPOINT_TYPE, &[ENDPOINTS]).await;
    one.next().await;
    let at_waypoint = one_by_one(&region, one, rounds, "one changed endpoint to a waypoint", change).await;
    let mut one = Subscriber::waypoint(channel, LISTENER_TYPE, &["main_internal"]).await;
    one.next().await;
    let change = |policy| Changed { policy, ..Changed::default() };
    let policy = one_by_one(&region, one, rounds, "one changed policy to a waypoint", change).await;
    if subscribers > 0 {
        many(&region, subscribers).await;
    }
    Figures { cold, memory, endpoint, at_waypoint, policy }
}

/// The median of the times from a changed file to a subscriber, in seconds.
async fn one_by_one(
    region: &Region,
    mut subscriber: Subscriber,
    rounds: usize,
    what: &str,
    change: impl Fn(bool) -> Changed,
) -> f64 {
    let mut took = Vec::new();
    let cpu = region.cpu();
    for round in 0..rounds {
        let prepared = region.prepare(change(round % 2 == 0));
        let start = prepared.take_place();
        subscriber.next().await;
        took.push(start.elapsed());
    }
    let cpu = (region.cpu() - cpu) / u32::try_from(rounds).unwrap();
    took.sort();
    let (median, worst) = (took[took.len() / 2], took[took.len() - 1]);
    println!(
        "    {what}: {:.1} ms, at most {:.1} ms; {:.0} ms of CPU with the looks in between",
        milliseconds(median),
        milliseconds(worst),
        milliseconds(cpu)
    );
    median.as_secs_f64()
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

async fn many(region: &Region, subscribers: usize) {
    let start = Instant::now();
    let mut all = Vec::with_capacity(subscribers);
    for _ in 0..subscribers {
        let mut one = Subscriber::node(region, ADDRESS_TYPE, &[WORKLOAD]).await;
        one.next().await;
        all.push(one);
    }
    let came = start.elapsed();
    let mut took = Vec::new();
    for round in 0..5 {
        let prepared = region.prepare(Changed { endpoint: round % 2 == 0, ..Changed::default() });
        let start = prepared.take_place();
        let taking = all.drain(..).map(|mut subscriber| {
            tokio::spawn(async move {
                subscriber.next().await;
                subscriber
            })
        });
        let taking: Vec<_> = taking.collect();
        for task in taking {
            all.push(task.await.unwrap());
        }
        took.push(start.elapsed());
    }
    took.sort();
    println!(
        "    {subscribers} node proxies come one after the other in {:.1} s; one changed endpoint that all ask for: the last has it after {:.1} ms",
        came.as_secs_f64(),
        milliseconds(took[2])
    );
}

/// What the layout of manifests costs.
async fn laid_out(layout: Layout, size: Size, rounds: usize) {
    let region = Region::start(layout, size).await;
    println!("{} objects, {layout:?}", size.objects());
    println!("    cold start: ready after {:.2} s", region.cold.as_secs_f64());
    region.quiet().await;
    println!(
        "    a look at the directory in which nothing changed: {:.2} ms of CPU",
        milliseconds(region.look().await)
    );
    let mut one = Subscriber::node(&region, ADDRESS_TYPE, &[WORKLOAD]).await;
    one.next().await;
    let change = |endpoint| Changed { endpoint, ..Changed::default() };
    one_by_one(&region, one, rounds, "one changed endpoint to a node proxy", change).await;
}
