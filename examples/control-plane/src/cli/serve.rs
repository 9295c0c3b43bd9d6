use std::path::PathBuf;
use std::process::ExitCode;

use super::Outcome;
use crate::settings::Settings;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Settings file (YAML).
    #[arg(long, value_name = "FILE", env = "CONTROL_PLANE_CONFIG")]
    config: PathBuf,
}

pub(super) fn run(arguments: &Arguments) -> Outcome {
    let settings: Settings = mesh_host::settings::load(&arguments.config)?;
    let log = mesh_host::telemetry::start(&settings.log)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(crate::serve::run(settings, log))?;
    Ok(ExitCode::SUCCESS)
}
