//! How a program ends.

use std::error::Error;
use std::io::Write;
use std::process::ExitCode;

/// The exit status for an outcome; an error is told on standard error with all its causes.
#[must_use]
pub fn with(program: &str, outcome: Result<(), Box<dyn Error + Send + Sync>>) -> ExitCode {
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "{program}: {}", mesh_core::report::chain(&*error));
            ExitCode::FAILURE
        }
    }
}
