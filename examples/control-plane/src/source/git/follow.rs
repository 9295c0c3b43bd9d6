use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use mesh_core::report::chain;
use mesh_identity::clock::{Clock, SystemClock};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::{Blob, Commit, Error, Repository};
use crate::admission::SourceFile;
use crate::admission::gate::Gate;
use crate::finding::{Code, Finding, Severity};
use crate::source::accepted::Accepted;
use crate::source::outlet::Outlet;
use crate::source::settings::{self, OnError};
use crate::source::{Said, Source, dir};

/// Looks that webhooks ask for are this far apart at least.
const REST: Duration = Duration::from_secs(1);

/// The first line of a file that stands for one in large file storage.
const POINTER: &str = "version https://git-lfs.github.com/spec/";

/// A repository that is looked at again and again. A commit is taken whole or not at all.
#[derive(Debug)]
pub struct Follow {
    repository: Repository,
    interval: Duration,
    wake: Arc<Notify>,
    accepted: Arc<Mutex<Accepted>>,
    clock: SystemClock,
    /// The commit that was read last, whether it was taken or not.
    tried: Option<Commit>,
    /// The blobs of files that were offered last.
    offered: HashMap<PathBuf, String>,
    /// What there is to say about the commit that was read last.
    beside: Vec<Finding>,
}

impl Follow {
    /// A repository, of which a copy is made in a directory. What was in force before a restart stands in it as well. Somebody
    /// else may have a say in what takes effect.
    ///
    /// # Errors
    /// [`Error::Setting`].
    pub fn new(
        name: Arc<str>,
        settings: &settings::Git,
        directory: &Path,
        gate: Option<Arc<Gate>>,
    ) -> Result<Self, Error> {
        let accepted = Accepted::open(name, OnError::Source, Some(&directory.join("kept")), gate);
        Ok(Self {
            repository: Repository::new(settings, &directory.join("copy"))?,
            interval: Duration::from_secs(settings.interval_seconds.max(1)),
            wake: Arc::new(Notify::new()),
            accepted: Arc::new(Mutex::new(accepted)),
            clock: SystemClock,
            tried: None,
            offered: HashMap::new(),
            beside: Vec::new(),
        })
    }

    /// Makes it look at once.
    #[must_use]
    pub fn wake(&self) -> Arc<Notify> {
        Arc::clone(&self.wake)
    }

    /// Looks once. Gives what is said from now on, if that is something else.
    async fn look(&mut self) -> Result<Option<Said>, Error> {
        let (in_force, is_incomplete, again) = {
            let accepted = self.accepted.lock();
            let again = accepted.files.are_to_be_judged_again();
            (Commit::parse(accepted.revision()), accepted.is_incomplete, again)
        };
        let offer = self.repository.fetch(in_force.as_ref()).await?;
        if self.tried.as_ref() == Some(&offer.commit) && !is_incomplete && !again {
            return Ok(None);
        }
        if is_incomplete {
            self.offered.clear();
        }
        let files = self.repository.list(&offer.commit, dir::is_read).await?;
        let (links, files): (Vec<_>, Vec<_>) = files.into_iter().partition(|file| file.is_link);
        let (long, files): (Vec<_>, Vec<_>) = files.into_iter().partition(|file| file.bytes > dir::MAX_FILE_BYTES);
        let is_new = |file: &&Blob| self.offered.get(&file.path) != Some(&file.id);
        let new: Vec<_> = files.iter().filter(is_new).collect();
        let contents = self.repository.read(&new).await?;
        let mut texts: Vec<_> = new.iter().zip(contents).map(|(file, content)| text(&file.path, content)).collect();
        texts.extend(long.iter().map(|file| {
            let reason = format!("{} bytes exceed the limit of {}", file.bytes, dir::MAX_FILE_BYTES);
            SourceFile { path: file.path.clone(), text: Err(reason) }
        }));
        let there = files.iter().chain(&long).map(|file| file.path.clone()).collect();
        // Until all of it was judged, what was offered is not known.
        self.offered.clear();
        self.judge(offer.commit.clone(), texts, there).await?;
        self.offered = files.into_iter().map(|file| (file.path, file.id)).collect();
        let rewritten = in_force.filter(|_| !offer.continues);
        self.settled(&offer.commit, rewritten, &links).await.map(Some)
    }

    /// Judges the files of a commit, and takes it if there is nothing wrong.
    async fn judge(&self, commit: Commit, texts: Vec<SourceFile>, there: HashSet<PathBuf>) -> Result<(), Error> {
        let (accepted, now) = (Arc::clone(&self.accepted), self.clock.now());
        let judged = tokio::task::spawn_blocking(move || {
            let mut accepted = accepted.lock();
            accepted.offer_all(&texts);
            accepted.files.keep_only(&there);
            accepted.admit();
            accepted.settle(commit.as_str(), now);
        });
        judged.await.map_err(|error| Error::Io { what: "judge the files", source: std::io::Error::other(error) })
    }

    async fn settled(&mut self, commit: &Commit, rewritten: Option<Commit>, links: &[Blob]) -> Result<Said, Error> {
        self.tried = Some(commit.clone());
        let is_taken = {
            let accepted = self.accepted.lock();
            let link = |link: &Blob| {
                let origin = accepted.origin(&link.path.display().to_string());
                Code::LINK.at(&origin, Severity::Warning, "a symbolic link, which is not followed")
            };
            self.beside = links.iter().map(link).collect();
            let origin = accepted.origin(self.repository.url());
            if let Some(before) = rewritten {
                let message = format!("the history was rewritten: {commit} is not known to continue {before}");
                self.beside.push(Code::REWRITTEN.at(&origin, Severity::Warning, message));
            }
            let is_taken = **accepted.revision() == *commit.as_str();
            if !is_taken {
                let message = format!("commit {commit} is not taken, as there are errors in it");
                self.beside.push(Code::SOURCE_UNREADABLE.at(&origin, Severity::Error, message));
            }
            is_taken
        };
        if is_taken {
            // In force all the same; it may be fetched again to tell whether the next continues it.
            if let Err(error) = self.repository.take(commit).await {
                tracing::warn!(error = chain(&error), "the copy of a repository cannot be kept in order");
            }
        }
        Ok(self.said())
    }

    fn said(&self) -> Said {
        self.accepted.lock().said(self.beside.clone())
    }

    fn failed(&self, error: &Error) -> Said {
        let accepted = self.accepted.lock();
        let finding =
            Code::SOURCE_UNREADABLE.at(&accepted.origin(self.repository.url()), Severity::Error, chain(error));
        accepted.said(self.beside.iter().cloned().chain([finding]).collect())
    }

    fn tell(&self, outlet: &Outlet, has_succeeded: bool) {
        let (now, accepted) = (self.clock.now(), self.accepted.lock());
        outlet.progress(|progress| {
            progress.looked = Some(now);
            progress.restored = accepted.restored();
            if has_succeeded {
                (progress.succeeded, progress.files) = (Some(now), accepted.files.len());
                progress.failing_since = None;
            } else {
                progress.failed(now);
            }
        });
    }
}

impl Source for Follow {
    /// # Cancel safety
    /// Safe; what git was doing is ended.
    async fn run(mut self, outlet: Outlet) {
        let said = self.said();
        if !said.revision.is_empty() {
            outlet.progress(|progress| progress.restored = self.accepted.lock().restored());
            outlet.publish(said);
        }
        let wake = self.wake();
        let mut has_failed = false;
        loop {
            let looked = self.look().await;
            let is_good = looked.is_ok();
            self.tell(&outlet, is_good);
            match looked {
                Ok(Some(said)) => outlet.publish(said),
                // What was said of a failure is not so any more.
                Ok(None) if has_failed => outlet.publish(self.said()),
                Ok(None) => {}
                Err(error) => {
                    let said = self.failed(&error);
                    if outlet.said().findings != said.findings {
                        outlet.publish(said);
                    }
                }
            }
            has_failed = !is_good;
            tokio::time::sleep(REST.min(self.interval)).await;
            tokio::select! {
                () = tokio::time::sleep(self.interval.saturating_sub(REST)) => {}
                () = wake.notified() => {}
            }
        }
    }
}

/// A file, with its text or why it has none.
fn text(path: &Path, content: Vec<u8>) -> SourceFile {
    let text = match String::from_utf8(content) {
        _ if path.to_str().is_none() => Err("its name is no UTF-8".to_owned()),
        Err(_) => Err("it is no UTF-8".to_owned()),
        Ok(text) if text.starts_with(POINTER) => {
            Err("it stands for a file in large file storage, which is not read".to_owned())
        }
        Ok(text) => Ok(text),
    };
    SourceFile { path: path.to_owned(), text }
}
