use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use mesh_transport::capture;
use mesh_transport::socket::NetNamespace;

use crate::environment::{Environment, open_ended};
use crate::settings::Settings;
use crate::{pods, wire};

/// The mesh's node proxy: carries, protects and refuses the L4 traffic of one node's workloads over HBONE, by what a
/// control plane says, and by the last good state when there is none.
///
/// Without a settings file it takes the place of Istio's ztunnel: same variables, same ports, same node agent protocol.
#[derive(Debug, Parser)]
#[command(name = "node-proxy", version)]
struct Arguments {
    /// Settings file (YAML). Without one the defaults are ztunnel's.
    #[arg(long, value_name = "FILE", env = "NODE_PROXY_CONFIG", global = true)]
    config: Option<PathBuf>,
    #[command(flatten)]
    environment: Environment,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Redirection of a network namespace into the proxy, without running it.
    Capture {
        #[command(subcommand)]
        what: Capture,
    },
}

#[derive(Debug, Subcommand)]
enum Capture {
    /// Prints the rules and routes, and changes nothing.
    Print,
    /// Puts them in place; what an earlier call put there is replaced.
    Install {
        /// File of the network namespace, such as /run/netns/name; by default that of this process.
        #[arg(long, value_name = "FILE")]
        namespace: Option<PathBuf>,
    },
    /// Takes them away.
    Remove {
        /// File of the network namespace, such as /run/netns/name; by default that of this process.
        #[arg(long, value_name = "FILE")]
        namespace: Option<PathBuf>,
    },
}

/// Runs the program.
#[must_use]
pub fn main_with_args(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    mesh_host::exit::with("node-proxy", run(Arguments::parse_from(arguments)))
}

fn run(arguments: Arguments) -> Result<(), wire::Error> {
    let mut settings = match &arguments.config {
        Some(path) => mesh_host::settings::load(path)?,
        None => Settings::ambient(),
    };
    open_ended(&mut settings, std::env::vars());
    arguments.environment.apply(&mut settings, arguments.config.is_some())?;
    if let Some(Command::Capture { what }) = arguments.command {
        return capture(&settings, what);
    }
    let log = mesh_host::telemetry::start(&settings.log)?;
    let threads = match settings.worker_threads {
        0 => std::thread::available_parallelism()?.get(),
        number => number,
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build()?;
    runtime.block_on(wire::run(settings, log))
}

fn capture(settings: &Settings, what: Capture) -> Result<(), wire::Error> {
    let rules = pods::rules(settings);
    let open = |path: Option<PathBuf>| path.map(|path| NetNamespace::open(&path)).transpose();
    match what {
        Capture::Print => {
            use std::io::Write as _;
            std::io::stdout().write_all(rules.script().as_bytes())?;
        }
        Capture::Install { namespace } => capture::install(&rules, open(namespace)?.as_ref())?,
        Capture::Remove { namespace } => capture::remove(open(namespace)?.as_ref())?,
    }
    Ok(())
}
