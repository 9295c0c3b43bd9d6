//! The command line, and what the admin endpoint shows.

use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use mesh_host::member::Error;

use crate::admission::admit;
use crate::finding::Severity;
use crate::settings::Settings;
use crate::source::dir;
use crate::{serve, token};

/// As over SPIRE's API.
const MAX_JOIN_TOKEN_SECONDS: u64 = 30 * 24 * 60 * 60;

/// The mesh's control plane: reads a directory of Kubernetes-style YAML, watches and validates it, serves workload
/// discovery (delta xDS) and certificates (Istio's certificate service) to node proxies.
#[derive(Debug, Parser)]
#[command(name = "control-plane", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve until SIGTERM.
    Serve {
        /// Settings file (YAML).
        #[arg(long, value_name = "FILE", env = "CONTROL_PLANE_CONFIG")]
        config: PathBuf,
    },
    /// Check a directory of manifests. Prints file:line: what is wrong; exit status 1 when it could not be served.
    Check {
        /// The directory.
        directory: PathBuf,
    },
    /// Make a join token: whoever brings it to SPIRE's API first is let in, once. Prints it.
    JoinToken {
        /// Settings file (YAML), as for `serve`.
        #[arg(long, value_name = "FILE", env = "CONTROL_PLANE_CONFIG")]
        config: PathBuf,
        /// Seconds in which it may be used: 30 days at most.
        #[arg(long, default_value_t = 600, value_parser = clap::value_parser!(u64).range(1..=MAX_JOIN_TOKEN_SECONDS))]
        ttl: u64,
        /// A further identity for the node, as a path: /fleet/edge
        #[arg(long)]
        path: Option<String>,
    },
    /// Make the token by which a node joins, in a file that only its owner reads.
    Token {
        /// Name of the node.
        node: String,
        /// Where to write it. Default: ./token-<node>
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
}

/// Runs the program: `control-plane serve`, `check`, `join-token` or `token`.
#[must_use]
pub fn main_with_args(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let outcome = match Arguments::parse_from(arguments).command {
        Command::Serve { config } => serve(&config),
        Command::Check { directory } => return check(&directory),
        Command::JoinToken { config, ttl, path } => join_token(&config, ttl, path),
        Command::Token { node, out } => {
            let path = out.unwrap_or_else(|| PathBuf::from(format!("token-{node}")));
            token::make(&path).map_err(Error::from).map(|()| print(&format!("{}\n", path.display())))
        }
    };
    mesh_host::exit::with("control-plane", outcome)
}

fn serve(config: &std::path::Path) -> Result<(), Error> {
    let settings: Settings = mesh_host::settings::load(config)?;
    let log = mesh_host::telemetry::start(&settings.log)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(serve::run(settings, log))
}

fn join_token(config: &std::path::Path, ttl: u64, path: Option<String>) -> Result<(), Error> {
    let settings: Settings = mesh_host::settings::load(config)?;
    let spire = settings.spire.ok_or("the settings have no section `spire`: nodes cannot attest")?;
    if let Some(path) = &path {
        check_path(path, &settings.trust_domain)?;
    }
    let now = mesh_identity::clock::Clock::now(&mesh_identity::clock::SystemClock);
    let life = std::time::Duration::from_secs(ttl);
    let minted = crate::spire::open_tokens(&spire)?.mint(None, life, path, now)?;
    print(&format!("{}\n", minted.token));
    Ok(())
}

fn check_path(path: &str, trust_domain: &str) -> Result<(), Error> {
    // Without the slash, the path would be read as a part of the trust domain's name.
    if !path.starts_with('/') {
        return Err(format!("`{path}` is no path of an identity: it does not begin with /").into());
    }
    mesh_core::name::parse_spiffe_id(&format!("spiffe://{trust_domain}{path}"))?;
    Ok(())
}

fn check(directory: &std::path::Path) -> ExitCode {
    let files = match dir::read(directory) {
        Ok(files) => files,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "control-plane: cannot read {}: {error}", directory.display());
            return ExitCode::FAILURE;
        }
    };
    let (findings, good) = match admit(&files) {
        Ok((_, findings)) => (findings, true),
        Err(findings) => (findings, false),
    };
    for finding in &findings {
        print(&format!("{finding}\n"));
    }
    let errors = findings.iter().filter(|finding| finding.severity == Severity::Error).count();
    print(&format!("{} files, {errors} errors, {} warnings\n", files.len(), findings.len() - errors));
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn print(text: &str) {
    // A closed pipe is no reason to fail.
    let _ = write!(std::io::stdout(), "{text}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_join_token_may_say() {
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
        let parse =
            |ttl: &str| Arguments::try_parse_from(["control-plane", "join-token", "--config", "c", "--ttl", ttl]);
        for (ttl, good) in
            [("1", true), ("2592000", true), ("0", false), ("2592001", false), ("18446744073709551615", false)]
        {
            assert_eq!(parse(ttl).is_ok(), good, "{ttl}");
        }
    }
}
