//! The demo: a whole mesh on this machine, without root, Kubernetes or a network.
//!
//! One program in several roles. Without a role it lays the scene (`scene`), starts a control plane, two node proxies
//! and the workloads as processes of their own (`process`), drives the workloads as their users would (`client`), and
//! asserts each thing it shows (`steps`). The roles are the reference binaries themselves, embedded.

mod client;
mod keep;
mod load;
mod observe;
mod process;
mod report;
mod scene;
mod steps;
mod workload;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

/// Carries, protects and refuses real traffic on this machine, and shows each of it in one line.
///
/// Starts a control plane, two node proxies on two loopback "nodes" and four workloads as separate processes, then makes
/// allowed and refused calls, edits a policy under open connections, rotates certificates under load, kills the control
/// plane and restarts a node proxy while it is away. Every step asserts what it shows.
#[derive(Debug, Parser)]
#[command(version, name = "demo")]
struct Arguments {
    /// Leave everything running at the end and print what to try. Ctrl-C stops it. Killed processes are started again.
    #[arg(long)]
    keep: bool,
    /// Where manifests, keys, state and logs go. Default: a new directory that is removed at the end.
    #[arg(long, value_name = "DIR")]
    dir: Option<PathBuf>,
    /// Life of the workloads' certificates in seconds; they are renewed at half of it.
    #[arg(long, value_name = "SECONDS", default_value_t = 24, value_parser = clap::value_parser!(u64).range(10..=86_400))]
    svid_ttl: u64,
}

fn main() -> ExitCode {
    let mut arguments = std::env::args_os().skip(1);
    match arguments.next().as_deref().and_then(|role| role.to_str()) {
        Some("control-plane") => role(mesh_control_plane::main_with_args, "control-plane", arguments),
        Some("node-proxy") => role(mesh_node_proxy::main_with_args, "node-proxy", arguments),
        Some("workload") => role(workload::main_with_args, "workload", arguments),
        _ => show(Arguments::parse()),
    }
}

/// Runs an embedded binary. It dies with the demo, so that a killed demo leaves nothing behind.
fn role(
    main: impl FnOnce(std::vec::IntoIter<OsString>) -> ExitCode,
    name: &str,
    rest: impl Iterator<Item = OsString>,
) -> ExitCode {
    if let Err(error) = process::die_with_parent() {
        eprintln!("cannot tie this process to the demo: {error}");
        return ExitCode::FAILURE;
    }
    let arguments: Vec<OsString> = std::iter::once(OsString::from(name)).chain(rest).collect();
    main(arguments.into_iter())
}

fn show(arguments: Arguments) -> ExitCode {
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("cannot start: {error}");
            return ExitCode::FAILURE;
        }
    };
    let mut report = report::Report::new();
    let shown = runtime.block_on(async {
        let scene = scene::Scene::lay(arguments.dir.clone(), Duration::from_secs(arguments.svid_ttl))?;
        let mut cast = process::Cast::start(&scene)?;
        let outcome = tokio::select! {
            outcome = steps::play(&scene, &mut cast, &mut report) => outcome,
            _ = tokio::signal::ctrl_c() => Err("interrupted".into()),
        };
        report.finish();
        if outcome.is_err() {
            report.logs(&scene);
        } else if arguments.keep {
            keep::keep(&scene, &mut cast).await?;
        }
        cast.stop().await;
        outcome
    });
    match shown {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("\nThe demo failed: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What goes wrong is told to a person and ends the demo; nobody handles it.
type Error = Box<dyn std::error::Error + Send + Sync>;
