use std::io::Write as _;
use std::process::{Command, Output, Stdio};
use std::thread;

use super::Rules;
use super::rules::Route;
use crate::socket::NetNamespace;

/// Puts rules into a network namespace (that of the process when `None`), in place of what an earlier call put there. An
/// interrupted call is completed by the next.
///
/// Needs the programs `nft` and `ip`, and `CAP_NET_ADMIN` in the namespace. Waits for them: call it where blocking is
/// allowed.
///
/// # Errors
/// [`Error`].
pub fn install(rules: &Rules, namespace: Option<&NetNamespace>) -> Result<(), Error> {
    // Routes first: traffic that is redirected before its answers find back would hang.
    inside(namespace, || {
        routes(&rules.routes())?;
        nft(&rules.nft())
    })
}

/// Takes away what [`install`] put there, if anything.
///
/// # Errors
/// [`Error`].
pub fn remove(namespace: Option<&NetNamespace>) -> Result<(), Error> {
    inside(namespace, || {
        nft(&Rules::nft_remove(true))?;
        routes(&Rules::routes_remove())
    })
}

/// Runs in a thread of its own that is in the namespace: programs are started where the thread that starts them is.
fn inside(namespace: Option<&NetNamespace>, work: impl FnOnce() -> Result<(), Error> + Send) -> Result<(), Error> {
    let Some(namespace) = namespace else { return work() };
    thread::scope(|scope| {
        let entered = scope.spawn(|| namespace.run(work));
        match entered.join() {
            Ok(Ok(result)) => result,
            Ok(Err(error)) => Err(Error::Namespace(error)),
            Err(_) => Err(Error::Namespace(std::io::Error::other("the thread in the namespace panicked"))),
        }
    })
}

fn nft(script: &str) -> Result<(), Error> {
    let mut child = Command::new("nft")
        .args(["-f", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|source| Error::Start { program: "nft", source })?;
    if let Some(mut input) = child.stdin.take() {
        // A program that ends early says why itself.
        let _ = input.write_all(script.as_bytes());
    }
    let output = child.wait_with_output().map_err(|source| Error::Start { program: "nft", source })?;
    check("nft", "-f -", &output)
}

fn routes(calls: &[Route]) -> Result<(), Error> {
    for call in calls {
        let output = Command::new("ip").args(call.arguments.split(' ')).output();
        let output = output.map_err(|source| Error::Start { program: "ip", source })?;
        if !call.may_fail {
            check("ip", &call.arguments, &output)?;
        }
    }
    Ok(())
}

fn check(program: &'static str, arguments: &str, output: &Output) -> Result<(), Error> {
    if output.status.success() {
        return Ok(());
    }
    let message = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(Error::Refused { command: format!("{program} {arguments}"), message })
}

/// Rules could not be put in place or taken away.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The namespace cannot be entered.
    #[error("cannot enter the network namespace")]
    Namespace(#[source] std::io::Error),
    /// A program is not there.
    #[error("cannot run `{program}`")]
    Start {
        /// The program.
        program: &'static str,
        /// Why not.
        source: std::io::Error,
    },
    /// A program refused.
    #[error("`{command}`: {message}")]
    Refused {
        /// What was run.
        command: String,
        /// What it said.
        message: String,
    },
}
