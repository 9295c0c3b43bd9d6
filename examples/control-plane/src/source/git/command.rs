use std::ffi::OsStr;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, Command};

use super::Error;

/// The most that is kept of what a command says beside its output.
const MAX_SAID: usize = 4096;

/// How often it is looked how much a fetch has brought.
const LOOK: Duration = Duration::from_millis(100);

/// Runs `git` on one bare repository, apart from everything else: no configuration but ours, no hooks, no questions, one
/// protocol. Each command is the leader of a process group, which is killed when it takes too long or is not waited for.
#[derive(Debug)]
pub(super) struct Git {
    program: PathBuf,
    repository: PathBuf,
    limit: Duration,
}

/// One command.
#[derive(Debug)]
pub(super) struct Task<'a> {
    /// What it is to do, for errors.
    pub(super) what: &'static str,
    pub(super) arguments: &'a [&'a OsStr],
    /// Configuration beside that which all commands have. It may hold secrets: it is handed over in the environment.
    pub(super) configuration: &'a [(String, String)],
    /// Environment beside that which all commands have.
    pub(super) environment: &'a [(&'static str, String)],
    pub(super) input: Vec<u8>,
    /// The longest output, and what is to be said when there is more.
    pub(super) longest: (u64, fn(u64) -> Error),
    /// The most that packs may grow meanwhile, in bytes.
    pub(super) growth: Option<u64>,
}

/// What holds for all commands.
const CONFIGURATION: &[(&str, &str)] = &[
    ("core.hooksPath", "/dev/null"),
    ("core.fsmonitor", "false"),
    ("core.attributesFile", "/dev/null"),
    // Larger blobs pass through in pieces instead of through memory.
    ("core.bigFileThreshold", "16m"),
    ("core.logAllRefUpdates", "false"),
    ("credential.helper", ""),
    ("fetch.fsckObjects", "true"),
    ("transfer.fsckObjects", "true"),
    // One pack for each fetch: its size is what the fetch brought.
    ("fetch.unpackLimit", "1"),
    ("fetch.recurseSubmodules", "false"),
    ("fetch.writeCommitGraph", "false"),
    ("submodule.recurse", "false"),
    ("gc.auto", "0"),
    ("maintenance.auto", "false"),
    ("pack.threads", "1"),
    ("protocol.version", "2"),
    ("http.followRedirects", "false"),
    ("http.sslVerify", "true"),
    ("gpg.program", "false"),
    ("gpg.ssh.program", "false"),
    ("gpg.x509.program", "false"),
];

impl Git {
    pub(super) fn new(program: &Path, repository: &Path, limit: Duration) -> Self {
        Self { program: program.to_owned(), repository: repository.to_owned(), limit }
    }

    pub(super) fn repository(&self) -> &Path {
        &self.repository
    }

    /// Runs a command and gives what it printed.
    ///
    /// # Cancel safety
    /// Dropping the future kills the command and all that it started.
    pub(super) async fn run(&self, task: Task<'_>) -> Result<Vec<u8>, Error> {
        let what = task.what;
        let child = self.command(&task).spawn().map_err(|source| Error::Io { what: "run git", source })?;
        let mut group = Group(child);
        // Killed as soon as it is known that the output is not wanted, before anybody waits for the leader.
        match tokio::time::timeout(self.limit, self.follow(&mut group.0, task)).await {
            Ok(followed) => followed,
            Err(_) => Err(Error::TimedOut { what, limit: self.limit }),
        }
    }

    async fn follow(&self, child: &mut Child, task: Task<'_>) -> Result<Vec<u8>, Error> {
        let failed = |source| Error::Io { what: "talk to git", source };
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(mut stdin), Some(stdout), Some(stderr)) = (stdin, stdout, stderr) else {
            return Err(failed(io::ErrorKind::BrokenPipe.into()));
        };
        let feed = async move {
            // Who ends early has said why elsewhere.
            let _ = stdin.write_all(&task.input).await;
            Ok(())
        };
        let (limit, too_long) = task.longest;
        let printed = async {
            let mut printed = Vec::new();
            stdout.take(limit.saturating_add(1)).read_to_end(&mut printed).await.map_err(failed)?;
            if printed.len() as u64 > limit { Err(too_long(limit)) } else { Ok(printed) }
        };
        let said = async { tail(stderr).await.map_err(failed) };
        let growth = Growth::new(&self.repository, task.growth);
        let work = async { tokio::try_join!(feed, printed, said) };
        let ((), printed, said) = tokio::select! {
            done = work => done?,
            error = growth.watch() => return Err(error),
        };
        let status = child.wait().await.map_err(failed)?;
        growth.check()?;
        if status.success() {
            return Ok(printed);
        }
        let said = if said.is_empty() { status.to_string() } else { said };
        Err(Error::Git { what: task.what, said })
    }

    fn command(&self, task: &Task<'_>) -> Command {
        let mut command = Command::new(&self.program);
        command.args(task.arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.current_dir(&self.repository).process_group(0).env_clear();
        // Where git finds its own helpers: nothing else of our environment is its business.
        if let Some(path) = std::env::var_os("PATH") {
            command.env("PATH", path);
        }
        command.env("GIT_DIR", &self.repository).env("HOME", &self.repository).env("LC_ALL", "C");
        for (name, value) in [
            ("GIT_CONFIG_NOSYSTEM", "1"),
            ("GIT_CONFIG_SYSTEM", "/dev/null"),
            ("GIT_CONFIG_GLOBAL", "/dev/null"),
            ("GIT_ATTR_NOSYSTEM", "1"),
            ("GIT_TERMINAL_PROMPT", "0"),
            ("GIT_ASKPASS", "false"),
            ("SSH_ASKPASS_REQUIRE", "never"),
            ("GIT_NO_REPLACE_OBJECTS", "1"),
            ("GIT_NO_LAZY_FETCH", "1"),
            ("GIT_OPTIONAL_LOCKS", "0"),
            ("GIT_LITERAL_PATHSPECS", "1"),
            // None, unless the command says which.
            ("GIT_ALLOW_PROTOCOL", ""),
        ] {
            command.env(name, value);
        }
        for (name, value) in task.environment {
            command.env(name, value);
        }
        let more = task.configuration.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        let mut count = 0_usize;
        for (key, value) in CONFIGURATION.iter().copied().chain(more) {
            command.env(format!("GIT_CONFIG_KEY_{count}"), key).env(format!("GIT_CONFIG_VALUE_{count}"), value);
            count += 1;
        }
        command.env("GIT_CONFIG_COUNT", count.to_string());
        command
    }
}

/// How much packs may grow.
struct Growth {
    packs: PathBuf,
    limit: Option<u64>,
    before: u64,
}

impl Growth {
    fn new(repository: &Path, limit: Option<u64>) -> Self {
        let packs = repository.join("objects/pack");
        let before = if limit.is_some() { size(&packs) } else { 0 };
        Self { packs, limit, before }
    }

    fn check(&self) -> Result<(), Error> {
        match self.limit {
            Some(limit) if size(&self.packs).saturating_sub(self.before) > limit => {
                Err(Error::TooMuch { limit, unit: "bytes from the remote", setting: "max_bytes" })
            }
            _ => Ok(()),
        }
    }

    /// Ends when they have grown by more.
    async fn watch(&self) -> Error {
        loop {
            tokio::time::sleep(LOOK).await;
            if let Err(error) = self.check() {
                return error;
            }
        }
    }
}

/// A command and all that it started.
struct Group(Child);

impl Drop for Group {
    fn drop(&mut self) {
        // `id` is there until the leader was waited for: until then its number is nobody else's.
        let leader = self.0.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        if let Some(leader) = leader {
            let _ = kill_process_group(leader, Signal::KILL);
        }
    }
}

/// Reads to the end and keeps the last lines, made one and harmless.
async fn tail(mut from: impl AsyncRead + Unpin) -> io::Result<String> {
    let mut kept = Vec::new();
    let mut piece = [0; 1024];
    loop {
        let length = from.read(&mut piece).await?;
        if length == 0 {
            return Ok(one_line(&String::from_utf8_lossy(&kept)));
        }
        kept.extend_from_slice(&piece[..length]);
        let excess = kept.len().saturating_sub(MAX_SAID);
        kept.drain(..excess);
    }
}

fn one_line(said: &str) -> String {
    let lines = said.split(['\n', '\r']).map(str::trim).filter(|line| !line.is_empty());
    let line = lines.collect::<Vec<_>>().join("; ");
    line.chars().map(|letter| if letter.is_control() { '?' } else { letter }).collect()
}

/// Bytes of the files in a directory.
fn size(directory: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(directory) else { return 0 };
    entries.flatten().filter_map(|entry| entry.metadata().ok()).map(|metadata| metadata.len()).sum()
}
