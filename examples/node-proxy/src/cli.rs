use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::str::FromStr;

use clap::{Parser, Subcommand};
use mesh_host::member::Error;
use mesh_transport::capture;
use mesh_transport::capture::agent::{AgentSide, PodHandle, PodInfo};
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
    /// A node agent of fixed pods, for machines without Kubernetes: hands their network namespaces to the node proxy that
    /// connects, in Istio's node agent protocol.
    Agent {
        /// Where the node proxy connects to.
        #[arg(long, value_name = "PATH", default_value = "/var/run/ztunnel/ztunnel.sock")]
        socket: PathBuf,
        /// A pod: uid=namespace/name/service-account@/path/of/network/namespace. May be given again.
        #[arg(long, value_name = "POD", required = true)]
        pod: Vec<PodArgument>,
    },
    /// Redirection of a network namespace into the proxy, without running it.
    Capture {
        #[command(subcommand)]
        what: Capture,
    },
}

/// A pod for the agent: `uid=namespace/name/service-account@/run/netns/file`.
#[derive(Debug, Clone)]
struct PodArgument {
    uid: String,
    handle: PodHandle,
}

impl FromStr for PodArgument {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || format!("`{text}` is not uid=namespace/name/service-account@/path/of/network/namespace");
        let (uid, rest) = text.split_once('=').ok_or_else(bad)?;
        let (info, path) = rest.split_once('@').ok_or_else(bad)?;
        let info: PodInfo = info.parse().map_err(|_| bad())?;
        let namespace = NetNamespace::open(Path::new(path)).map_err(|error| format!("{path}: {error}"))?;
        Ok(Self { uid: uid.to_owned(), handle: PodHandle { info, namespace } })
    }
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

fn run(arguments: Arguments) -> Result<(), Error> {
    let mut settings = match &arguments.config {
        Some(path) => mesh_host::settings::load(path)?,
        None => Settings::ambient(),
    };
    open_ended(&mut settings, std::env::vars());
    arguments.environment.apply(&mut settings, arguments.config.is_some())?;
    match arguments.command {
        Some(Command::Capture { what }) => return capture(&settings, what),
        Some(Command::Agent { socket, pod }) => return agent(&settings, &socket, pod),
        None => {}
    }
    let log = mesh_host::telemetry::start(&settings.log)?;
    mesh_host::runtime::with_threads(settings.worker_threads)?.block_on(wire::run(settings, log))
}

fn agent(settings: &Settings, socket: &Path, pods: Vec<PodArgument>) -> Result<(), Error> {
    let _log = mesh_host::telemetry::start(&settings.log)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut agent = AgentSide::listen(socket).map_err(|error| format!("{}: {error}", socket.display()))?;
        for PodArgument { uid, handle } in pods {
            agent.announce(&uid, handle);
        }
        let quit = tokio_util::sync::CancellationToken::new();
        let ended = mesh_host::signal::shutdown(&quit);
        tokio::pin!(ended);
        loop {
            tokio::select! {
                cause = &mut ended => {
                    tracing::info!(cause = cause?, "node agent ends");
                    return Ok(());
                }
                accepted = agent.accept() => match accepted {
                    Ok(()) => tracing::info!("a node proxy was told of all pods"),
                    Err(error) => tracing::warn!(%error, "a node proxy went before it was told of all pods"),
                },
            }
        }
    })
}

fn capture(settings: &Settings, what: Capture) -> Result<(), Error> {
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
