use std::ffi::OsStr;
use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use super::command::{Git, Task};
use super::remote::{Reach, Remote};
use super::signature::Signers;
use super::tree::{self, Blob};
use super::{Error, Rewrites};
use crate::source::settings;

const FETCH: &str = "fetch";
/// What is told when a signature is.
pub(super) const VERIFY: &str = "verify a signature";

/// What the remote offers.
const OFFERED: &str = "refs/mesh/offered";
/// What is in force: kept, so that it can be told whether what is offered continues it.
const TAKEN: &str = "refs/mesh/taken";

/// The longest that git prints about one object.
const MAX_LINE: u64 = 64 * 1024;
/// The longest list of all files of a commit, in bytes.
const MAX_LISTING: u64 = 64 * 1024 * 1024;
/// After how many commits the copy is packed anew.
const PACK_EVERY: u32 = 100;

/// A commit, by the hash that names it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Commit(String);

impl Commit {
    /// A commit by its whole hash in hexadecimal.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let is_hash = matches!(text.len(), 40 | 64) && text.bytes().all(|byte| b"0123456789abcdef".contains(&byte));
        is_hash.then(|| Self(text.to_owned()))
    }

    /// The hash.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Commit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl AsRef<OsStr> for Commit {
    fn as_ref(&self) -> &OsStr {
        self.0.as_ref()
    }
}

/// What the remote offers, after all that can be judged without reading it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// The commit.
    pub commit: Commit,
    /// Whether it continues what is in force. What is not known to continue it does not.
    pub continues: bool,
}

/// A copy of one branch of a remote, without a work tree. Everything in it can be fetched again.
#[derive(Debug)]
pub struct Repository {
    git: Git,
    remote: Remote,
    /// What is fetched, as git names it.
    pinned: String,
    /// The directory that is read, without slashes around; empty is all.
    path: String,
    signers: Option<Signers>,
    rewrites: Rewrites,
    max_bytes: u64,
    max_files: u64,
    taken: AtomicU32,
}

impl Repository {
    /// A copy in a directory, which is made when it is needed. Nothing is run yet.
    ///
    /// # Errors
    /// [`Error::Setting`].
    pub fn new(settings: &settings::Git, directory: &Path) -> Result<Self, Error> {
        let setting = |setting, reason: &str| Error::Setting { setting, reason: reason.to_owned() };
        let pinned = match (&settings.branch, &settings.tag, &settings.commit) {
            (Some(branch), None, None) if is_name(branch) => format!("refs/heads/{branch}"),
            (None, Some(tag), None) if is_name(tag) => format!("refs/tags/{tag}"),
            (None, None, Some(commit)) if Commit::parse(commit).is_some() => commit.clone(),
            (Some(_), None, None) => return Err(setting("branch", "it is no name of a branch")),
            (None, Some(_), None) => return Err(setting("tag", "it is no name of a tag")),
            (None, None, Some(_)) => return Err(setting("commit", "write the whole hash in small letters")),
            _ => return Err(setting("git", "give one of `branch`, `tag` and `commit`")),
        };
        let path = settings.path.trim_matches('/').to_owned();
        let is_step = |step: &str| !matches!(step, "" | "." | "..") && !step.chars().any(char::is_control);
        if !path.is_empty() && !path.split('/').all(is_step) {
            return Err(setting("path", "write a directory of the repository, without `.` and `..`"));
        }
        let limit = Duration::from_secs(settings.time_limit_seconds.max(1));
        Ok(Self {
            git: Git::new(&settings.program, directory, limit),
            remote: Remote::new(settings)?,
            pinned,
            path,
            signers: settings.signed.as_ref().map(Signers::new).transpose()?,
            rewrites: settings.rewrites,
            max_bytes: settings.max_bytes,
            max_files: settings.max_files,
            taken: AtomicU32::new(0),
        })
    }

    /// The URL of the remote. There is no secret in it.
    #[must_use]
    pub fn url(&self) -> &str {
        self.remote.url()
    }

    /// Asks the remote what it offers, and judges it: whether it is signed by whom it must be, and continues what is in force.
    ///
    /// # Errors
    /// [`Error`]; what is in force stays.
    ///
    /// # Cancel safety
    /// Safe; what git was doing is ended.
    pub async fn fetch(&self, in_force: Option<&Commit>) -> Result<Offer, Error> {
        self.open().await?;
        let offer = self.fetch_offer(in_force).await?;
        if in_force == Some(&offer.commit) {
            return Ok(offer);
        }
        if let Some(signers) = &self.signers {
            signers.verify(&self.git, &offer.commit).await?;
        }
        match in_force {
            Some(in_force) if !offer.continues && self.rewrites == Rewrites::Refuse => {
                Err(Error::Rewritten { offered: offer.commit, in_force: in_force.clone() })
            }
            _ => Ok(offer),
        }
    }

    /// The files of a commit that are for us, as `wanted` says of their paths, in the order of their paths.
    ///
    /// # Errors
    /// [`Error`]: also when there are too many.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn list(&self, commit: &Commit, wanted: impl Fn(&Path) -> bool) -> Result<Vec<Blob>, Error> {
        let directory = format!("{commit}:{}", self.path);
        let tree = self.line("find the directory", &["rev-parse", "--verify", "--quiet", &directory]).await;
        let tree = match tree {
            Err(Error::Git { .. }) => Err(Error::NoPath { commit: commit.clone(), path: self.path.clone() }),
            tree => tree,
        }?;
        let printed = self
            .local(
                "list files",
                &["ls-tree", "-r", "-z", "-l", "--full-tree", &tree],
                Vec::new(),
                (MAX_LISTING, |limit| Error::TooMuch { limit, unit: "bytes of file names", setting: "path" }),
            )
            .await?;
        let mut files = tree::listed(&printed)?;
        files.retain(|file| wanted(&file.path));
        if files.len() as u64 > self.max_files {
            return Err(Error::TooMuch { limit: self.max_files, unit: "files", setting: "max_files" });
        }
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(files)
    }

    /// The contents of files, in their order.
    ///
    /// # Errors
    /// [`Error`]: also when they are too long together.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn read(&self, files: &[&Blob]) -> Result<Vec<Vec<u8>>, Error> {
        let bytes = files.iter().fold(0_u64, |sum, file| sum.saturating_add(file.bytes));
        if bytes > self.max_bytes {
            return Err(Error::TooMuch { limit: self.max_bytes, unit: "bytes of files", setting: "max_bytes" });
        }
        let asked = files.iter().map(|file| format!("{}\n", file.id)).collect::<String>().into_bytes();
        // What is printed about each is shorter than this.
        let longest = bytes.saturating_add(128 * files.len() as u64);
        let longest = (longest, (|_| Error::Garbled("the contents of files")) as fn(u64) -> Error);
        let printed = self.local("read files", &["cat-file", "--batch"], asked, longest).await?;
        tree::contents(&printed, files)
    }

    /// Remembers what is in force from now on.
    ///
    /// # Errors
    /// [`Error`]; it is then not known whether the next commit continues this one.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn take(&self, commit: &Commit) -> Result<(), Error> {
        self.line("remember a commit", &["update-ref", TAKEN, commit.as_str()]).await?;
        if self.taken.fetch_add(1, Relaxed) % PACK_EVERY == PACK_EVERY - 1 {
            self.line("pack", &["gc", "--quiet", "--prune=now"]).await?;
        }
        Ok(())
    }

    async fn fetch_offer(&self, in_force: Option<&Commit>) -> Result<Offer, Error> {
        let known = match in_force {
            Some(commit) => self.knows(commit).await?,
            None => false,
        };
        let known = match self.fetch_pinned(!known).await {
            // All of another history was coming. Its end is enough, where it may be taken.
            Err(Error::TooMuch { .. }) if known && self.rewrites == Rewrites::Accept => {
                self.fetch_pinned(true).await?;
                false
            }
            fetched => fetched.map(|()| known)?,
        };
        let offered = format!("{OFFERED}^{{commit}}");
        let commit = self.line("find the commit", &["rev-parse", "--verify", "--quiet", &offered]).await?;
        let commit = Commit::parse(&commit).ok_or(Error::Garbled("a commit"))?;
        let continues = match in_force {
            Some(in_force) if known => self.continues(in_force, &commit).await?,
            Some(_) => false,
            None => true,
        };
        Ok(Offer { commit, continues })
    }

    /// Whether a commit is here, or can be had.
    async fn knows(&self, commit: &Commit) -> Result<bool, Error> {
        let name = format!("{commit}^{{commit}}");
        let here = self.line("find a commit", &["cat-file", "-e", &name]).await;
        match here {
            Ok(_) => return Ok(true),
            Err(Error::Git { .. }) => {}
            Err(error) => return Err(error),
        }
        match self.fetch_by_name(&format!("+{commit}:{TAKEN}"), true).await {
            Ok(()) => Ok(true),
            // A remote may have forgotten it, or not give single commits away.
            Err(Error::Git { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn continues(&self, before: &Commit, after: &Commit) -> Result<bool, Error> {
        let arguments = ["merge-base", "--is-ancestor", before.as_str(), after.as_str()];
        match self.line("compare histories", &arguments).await {
            Ok(_) => Ok(true),
            Err(Error::Git { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn fetch_pinned(&self, end_only: bool) -> Result<(), Error> {
        self.fetch_by_name(&format!("+{}:{OFFERED}", self.pinned), end_only).await
    }

    async fn fetch_by_name(&self, names: &str, end_only: bool) -> Result<(), Error> {
        let Reach { configuration, environment } = self.remote.reach()?;
        let mut arguments: Vec<&OsStr> = [
            "fetch",
            "--quiet",
            "--no-tags",
            "--no-write-fetch-head",
            "--no-auto-maintenance",
            "--no-recurse-submodules",
            "--refmap=",
        ]
        .map(OsStr::new)
        .to_vec();
        if end_only {
            arguments.push("--depth=1".as_ref());
        }
        arguments.extend(["--", self.remote.url(), names].map(OsStr::new));
        let task = Task {
            what: FETCH,
            arguments: &arguments,
            configuration: &configuration,
            environment: &environment,
            input: Vec::new(),
            longest: (MAX_LINE, |_| Error::Garbled("what was fetched")),
            growth: Some(self.max_bytes),
        };
        match self.git.run(task).await {
            Ok(_) => Ok(()),
            Err(error @ Error::TooMuch { .. }) => {
                // What came is not kept: it would count as known the next time.
                self.forget()?;
                self.open().await?;
                Err(error)
            }
            Err(error) => {
                self.clear();
                Err(self.remote.explained(error))
            }
        }
    }

    /// Makes the copy if there is none, or none that is of use.
    async fn open(&self) -> Result<(), Error> {
        self.clear();
        if self.git.repository().join("HEAD").exists() {
            match self.line("look at the copy", &["rev-list", "--max-count=1", "--all"]).await {
                Ok(_) => return Ok(()),
                Err(Error::Git { .. } | Error::Garbled(_)) => {}
                Err(error) => return Err(error),
            }
        }
        self.forget()?;
        let made = |source| Error::Io { what: "make the directory of the repository", source };
        std::fs::create_dir_all(self.git.repository()).map_err(made)?;
        self.line("make a repository", &["init", "--quiet", "--bare", "--template="]).await.map(drop)
    }

    fn forget(&self) -> Result<(), Error> {
        match std::fs::remove_dir_all(self.git.repository()) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::Io { what: "remove the copy of the repository", source })
            }
            _ => Ok(()),
        }
    }

    /// Removes what a command that was killed leaves behind. Nobody else works on the copy.
    fn clear(&self) {
        let repository = self.git.repository();
        let of_locks = |name: &str| name.ends_with(".lock");
        remove(repository, of_locks);
        remove(&repository.join("refs/mesh"), of_locks);
        remove(&repository.join("objects/pack"), |name| name.starts_with("tmp_"));
    }

    /// Runs a command that prints one line, or nothing.
    async fn line(&self, what: &'static str, arguments: &[&str]) -> Result<String, Error> {
        let longest = (MAX_LINE, (|_| Error::Garbled("one line")) as fn(u64) -> Error);
        let printed = self.local(what, arguments, Vec::new(), longest).await?;
        let line = String::from_utf8(printed).map_err(|_| Error::Garbled("text"))?;
        Ok(line.trim_end().to_owned())
    }

    /// Runs a command that reaches nobody.
    async fn local(
        &self,
        what: &'static str,
        arguments: &[&str],
        input: Vec<u8>,
        longest: (u64, fn(u64) -> Error),
    ) -> Result<Vec<u8>, Error> {
        let arguments: Vec<&OsStr> = arguments.iter().map(OsStr::new).collect();
        let task =
            Task { what, arguments: &arguments, configuration: &[], environment: &[], input, longest, growth: None };
        self.git.run(task).await
    }
}

fn remove(directory: &Path, is_left_behind: impl Fn(&str) -> bool) {
    let Ok(entries) = std::fs::read_dir(directory) else { return };
    for entry in entries.flatten().filter(|entry| entry.file_name().to_str().is_some_and(&is_left_behind)) {
        let _ = std::fs::remove_file(entry.path());
    }
}

/// Whether git takes it for the name of a branch or a tag, and for nothing else: see `git check-ref-format`.
fn is_name(name: &str) -> bool {
    let is_part = |part: &str| !part.is_empty() && !part.starts_with('.') && !part.ends_with(".lock");
    let is_letter = |letter: char| !letter.is_control() && !" ~^:?*[\\".contains(letter);
    name.split('/').all(is_part)
        && name.chars().all(is_letter)
        && !name.starts_with('-')
        && !name.ends_with('.')
        && !name.contains("..")
        && !name.contains("@{")
        && name != "@"
}
