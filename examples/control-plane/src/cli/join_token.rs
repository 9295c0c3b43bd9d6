use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use mesh_host::member::Error;
use mesh_identity::clock::{Clock, SystemClock};

use super::{Outcome, print};
use crate::settings::Settings;

/// As over SPIRE's API.
const MAX_SECONDS: u64 = 30 * 24 * 60 * 60;

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Settings file (YAML), as for `serve`.
    #[arg(long, value_name = "FILE", env = "CONTROL_PLANE_CONFIG")]
    config: PathBuf,
    /// Seconds in which it may be used: 30 days at most.
    #[arg(long, default_value_t = 600, value_parser = clap::value_parser!(u64).range(1..=MAX_SECONDS))]
    ttl: u64,
    /// A further identity for the node, as a path: /fleet/edge
    #[arg(long)]
    path: Option<String>,
}

pub(super) fn run(arguments: Arguments) -> Outcome {
    let Arguments { config, ttl, path } = arguments;
    let settings: Settings = mesh_host::settings::load(&config)?;
    let spire = settings.spire.ok_or("the settings have no section `spire`: nodes cannot attest")?;
    if let Some(path) = &path {
        check_path(path, &settings.trust_domain)?;
    }
    let minted = crate::spire::open_tokens(&spire)?.mint(None, Duration::from_secs(ttl), path, SystemClock.now())?;
    print(&format!("{}\n", minted.token));
    Ok(ExitCode::SUCCESS)
}

fn check_path(path: &str, trust_domain: &str) -> Result<(), Error> {
    // Without the slash, the path would be read as a part of the trust domain's name.
    if !path.starts_with('/') {
        return Err(format!("`{path}` is no path of an identity: it does not begin with /").into());
    }
    mesh_core::name::parse_spiffe_id(&format!("spiffe://{trust_domain}{path}"))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_path_may_say() {
        for (path, good) in [
            ("/fleet/edge", true),
            ("fleet/edge", false),
            (".evil/edge", false),
            ("/fleet//edge", false),
            ("", false),
            ("/", false),
        ] {
            assert_eq!(check_path(path, "td.test").is_ok(), good, "{path:?}");
        }
    }
}
