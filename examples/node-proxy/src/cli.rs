use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

use crate::settings::Settings;
use crate::wire;

/// The mesh's node proxy: carries, protects and refuses the L4 traffic of one node's workloads over HBONE, by what a
/// control plane says, and by the last good state when there is none.
#[derive(Debug, Parser)]
#[command(name = "node-proxy", version)]
struct Arguments {
    /// Settings file (YAML).
    #[arg(long, value_name = "FILE", env = "NODE_PROXY_CONFIG")]
    config: PathBuf,
    /// Name of this node; overrules `node` of the file.
    #[arg(long, value_name = "NAME", env = "NODE_NAME")]
    node: Option<String>,
    /// Address of the control plane; overrules `control_plane` of the file.
    #[arg(long, value_name = "ADDRESS", env = "XDS_ADDRESS")]
    control_plane: Option<std::net::SocketAddr>,
    /// Address of the admin endpoint; overrules `admin` of the file.
    #[arg(long, value_name = "ADDRESS", env = "ADMIN_ADDR")]
    admin: Option<std::net::SocketAddr>,
    /// Log filter, such as info or info,mesh_xds=debug; overrules `log.level` of the file.
    #[arg(long, value_name = "FILTER", env = "RUST_LOG")]
    log_level: Option<String>,
}

/// Runs the program.
#[must_use]
pub fn main_with_args(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    mesh_host::exit::with("node-proxy", run(Arguments::parse_from(arguments)))
}

fn run(arguments: Arguments) -> Result<(), wire::Error> {
    let mut settings: Settings = mesh_host::settings::load(&arguments.config)?;
    settings.node = arguments.node.unwrap_or(settings.node);
    settings.control_plane = arguments.control_plane.unwrap_or(settings.control_plane);
    settings.admin = arguments.admin.unwrap_or(settings.admin);
    settings.log.level = arguments.log_level.unwrap_or(settings.log.level);
    let log = mesh_host::telemetry::start(&settings.log)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(wire::run(settings, log))
}
