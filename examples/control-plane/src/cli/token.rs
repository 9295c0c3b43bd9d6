use std::path::PathBuf;
use std::process::ExitCode;

use super::{Outcome, print};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Name of the node.
    node: String,
    /// Where to write it. Default: ./token-<node>
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

pub(super) fn run(arguments: Arguments) -> Outcome {
    let Arguments { node, out } = arguments;
    let path = out.unwrap_or_else(|| PathBuf::from(format!("token-{node}")));
    crate::token::make(&path)?;
    print(&format!("{}\n", path.display()));
    Ok(ExitCode::SUCCESS)
}
