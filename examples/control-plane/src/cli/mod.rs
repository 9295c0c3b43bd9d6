//! The command line: a file for each command, and one for what they share.

mod check;
mod completions;
mod diff;
mod drift;
mod dump;
mod explain;
mod in_force;
mod issue;
mod join_token;
mod manifests;
mod output;
mod proxies;
mod serve;
mod status;
mod table;
mod token;
#[cfg(feature = "kubernetes")]
mod webhook_config;

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use mesh_host::member::Error;

/// How commands end, beside what each says of itself.
const EXIT_STATUS: &str = "\
Exit status:
  0  it was done
  1  it failed, or what it looks for is wrong: errors (check), a difference (drift)
  2  the command line is wrong; of `explain`: it is refused; of `diff`: the change does something";

/// The mesh's control plane: reads Kubernetes, Istio and Gateway API resources from directories, git and clusters, judges
/// them, and serves workload discovery, Envoy's resources and certificates to proxies.
///
/// Commands that ask a running control plane find its admin endpoint by --address or CONTROL_PLANE_ADMIN. Those that show
/// something speak JSON with -o json.
#[derive(Debug, Parser)]
#[command(name = "control-plane", version, after_help = EXIT_STATUS)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

/// All commands. What each takes and does stands in its own file.
#[derive(Debug, Subcommand)]
enum Command {
    /// Serve until SIGTERM.
    Serve(serve::Arguments),
    /// Check manifests. Prints file:line: what is wrong. Exit status 1 when they could not be served.
    Check(check::Arguments),
    /// Compare what regions run with a repository, or with the first of them. Exit status 1 when they differ.
    Drift(drift::Arguments),
    /// Say whether somebody would reach something, by which way, and why. Exit status 2 if it is refused.
    Explain(explain::Arguments),
    /// Say what a change does to traffic, before it is applied: between two directories, since a revision of git, or against
    /// what a running control plane has in force. Exit status 2 if it does something.
    Diff(diff::Arguments),
    /// Show what is said of each object: conditions with their reasons, of Gateways, routes, policies and exports.
    Status(status::Arguments),
    /// Show who is connected to a control plane, what each holds, and how far behind it is.
    Proxies(proxies::Arguments),
    /// Show what a control plane serves, to all or to one proxy.
    Dump(dump::Arguments),
    /// Issue a certificate for tests from the files of an authority. The control plane need not run.
    Issue(issue::Arguments),
    /// Make a join token: whoever brings it to SPIRE's API first is let in, once. Prints it.
    JoinToken(join_token::Arguments),
    /// Make the token by which a node joins, in a file that only its owner reads.
    Token(token::Arguments),
    /// Print the ValidatingWebhookConfiguration by which API servers ask the admission webhook (YAML, for kubectl apply).
    #[cfg(feature = "kubernetes")]
    WebhookConfig(webhook_config::Arguments),
    /// Print the completions of a shell.
    Completions(completions::Arguments),
}

/// Runs the program. `control-plane --help` lists its commands.
#[must_use]
pub fn main_with_args(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let outcome = match Arguments::parse_from(arguments).command {
        Command::Serve(arguments) => serve::run(&arguments),
        Command::Check(arguments) => check::run(&arguments),
        Command::Drift(arguments) => drift::run(&arguments),
        Command::Explain(arguments) => explain::run(arguments),
        Command::Diff(arguments) => diff::run(&arguments),
        Command::Status(arguments) => status::run(&arguments),
        Command::Proxies(arguments) => proxies::run(&arguments),
        Command::Dump(arguments) => dump::run(&arguments),
        Command::Issue(arguments) => issue::run(&arguments),
        Command::JoinToken(arguments) => join_token::run(arguments),
        Command::Token(arguments) => token::run(arguments),
        #[cfg(feature = "kubernetes")]
        Command::WebhookConfig(arguments) => webhook_config::run(&arguments),
        Command::Completions(arguments) => completions::run(&arguments),
    };
    outcome.unwrap_or_else(|error| mesh_host::exit::with("control-plane", Err(error)))
}

/// What a command ends with: its exit status, or why it failed.
type Outcome = Result<ExitCode, Error>;

fn print(text: &str) {
    // A closed pipe is no reason to fail.
    let _ = write!(std::io::stdout(), "{text}");
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_whole() {
        Arguments::command().debug_assert();
        for command in Arguments::command().get_subcommands() {
            assert!(command.get_about().is_some(), "{}", command.get_name());
            for argument in command.get_arguments() {
                assert!(argument.get_help().is_some(), "{} {}", command.get_name(), argument.get_id());
            }
        }
    }

    #[test]
    fn what_a_join_token_may_say() {
        let parse =
            |ttl: &str| Arguments::try_parse_from(["control-plane", "join-token", "--config", "c", "--ttl", ttl]);
        for (ttl, good) in
            [("1", true), ("2592000", true), ("0", false), ("2592001", false), ("18446744073709551615", false)]
        {
            assert_eq!(parse(ttl).is_ok(), good, "{ttl}");
        }
    }
}
