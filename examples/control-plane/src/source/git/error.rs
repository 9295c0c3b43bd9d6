use std::path::PathBuf;
use std::time::Duration;

use super::Commit;

/// A repository could not be used, or not what it offers.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting cannot be used.
    #[error("{setting}: {reason}")]
    Setting {
        /// The setting.
        setting: &'static str,
        /// What is wrong with it, and what would be right.
        reason: String,
    },
    /// A file that a setting names cannot be read.
    #[error("{setting}: cannot read {}", path.display())]
    File {
        /// The setting.
        setting: &'static str,
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The program `git` cannot be run, or there is no place for the repository.
    #[error("cannot {what}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// Why it failed.
        source: std::io::Error,
    },
    /// It took too long and was ended.
    #[error("it took more than {} s to {what}", limit.as_secs_f64())]
    TimedOut {
        /// What was tried.
        what: &'static str,
        /// How long it might take.
        limit: Duration,
    },
    /// The remote or the repository has more than is taken.
    #[error("more than {limit} {unit}; see the setting `{setting}`")]
    TooMuch {
        /// How much is taken.
        limit: u64,
        /// Of what.
        unit: &'static str,
        /// The setting by which it can be helped.
        setting: &'static str,
    },
    /// `git` failed.
    #[error("git could not {what}: {said}")]
    Git {
        /// What was tried.
        what: &'static str,
        /// The end of what it said, on one line. It comes from the remote in part.
        said: String,
    },
    /// What `git` printed is not what it prints.
    #[error("git printed something else than {0}")]
    Garbled(&'static str),
    /// The commit has no such directory.
    #[error("commit {commit} has no directory `{path}`")]
    NoPath {
        /// The commit.
        commit: Commit,
        /// The setting `path`.
        path: String,
    },
    /// The commit is not signed by one of those who may.
    #[error("commit {commit} is not taken: it is not signed by any of `signed`: {said}")]
    Unsigned {
        /// The commit.
        commit: Commit,
        /// The end of what was said about its signature, on one line.
        said: String,
    },
    /// The history was rewritten, and that is refused.
    #[error("commit {offered} is not taken: it does not continue {in_force}, and `rewrites` is `refuse`")]
    Rewritten {
        /// What the remote offers.
        offered: Commit,
        /// What is in force.
        in_force: Commit,
    },
}
