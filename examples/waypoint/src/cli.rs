use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use mesh_host::member::Error;

use crate::settings::Settings;
use crate::wire;

/// The mesh's waypoint: routing, policy and resilience for HTTP and TCP between HBONE tunnels, programmed by a control plane
/// over xDS, or by a file of manifests without one.
///
/// It takes the place of Istio's waypoint, and of an Envoy that listens in plaintext.
#[derive(Debug, Parser)]
#[command(name = "waypoint", version)]
struct Arguments {
    /// Settings file (YAML).
    #[arg(long, value_name = "FILE", env = "WAYPOINT_CONFIG")]
    config: PathBuf,
}

/// Runs the program.
#[must_use]
pub fn main_with_args(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    mesh_host::exit::with("waypoint", run(&Arguments::parse_from(arguments)))
}

fn run(arguments: &Arguments) -> Result<(), Error> {
    let settings: Settings = mesh_host::settings::load(&arguments.config)?;
    settings.check().map_err(|problem| format!("{}: {problem}", arguments.config.display()))?;
    let log = mesh_host::telemetry::start(&settings.log)?;
    mesh_host::runtime::with_threads(settings.worker_threads)?.block_on(wire::run(settings, log))
}
