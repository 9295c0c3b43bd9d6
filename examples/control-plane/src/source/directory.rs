use std::collections::{HashMap, HashSet};
use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use mesh_identity::clock::{Clock, SystemClock};
use parking_lot::Mutex;

use super::accepted::Accepted;
use super::outlet::Outlet;
use super::settings::OnError;
use super::{Source, dir};
use crate::admission::gate::Gate;
use crate::finding::{Code, Severity};

/// For so long after a file was changed it may change again without that being seen: file systems tell time coarsely.
const SETTLING: Duration = Duration::from_secs(2);

/// So many bytes of text are read before they are judged.
const AT_ONCE: usize = 4 * 1024 * 1024;

/// A directory of files, looked at again and again. A look costs a system call for each file; only those that may have changed
/// are read, and only those that have are judged again.
#[derive(Debug)]
pub struct Directory {
    interval: Duration,
    watch: Watch,
}

#[derive(Debug)]
struct Watch {
    path: PathBuf,
    accepted: Accepted,
    stamps: HashMap<PathBuf, Stamp>,
    /// Whether the last look found the directory.
    has_looked: bool,
}

/// What a file has that changes when it is changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Directory {
    /// A directory, looked at in intervals. What was in force before a restart is found in another, if one is given.
    #[must_use]
    pub fn new(name: Arc<str>, path: PathBuf, interval: Duration, rule: OnError, kept: Option<&Path>) -> Self {
        Self::judged(name, path, interval, rule, kept, None)
    }

    /// The same, where somebody else has a say in what takes effect.
    #[must_use]
    pub fn judged(
        name: Arc<str>,
        path: PathBuf,
        interval: Duration,
        rule: OnError,
        kept: Option<&Path>,
        gate: Option<Arc<Gate>>,
    ) -> Self {
        let accepted = Accepted::open(name, rule, kept, gate);
        Self { interval, watch: Watch { path, accepted, stamps: HashMap::new(), has_looked: false } }
    }
}

impl Source for Directory {
    /// # Cancel safety
    /// Safe.
    async fn run(self, outlet: Outlet) {
        let Self { interval, watch } = self;
        let clock = SystemClock;
        let path = watch.path.display().to_string();
        if !watch.accepted.revision().is_empty() {
            outlet.progress(|progress| progress.restored = watch.accepted.restored());
            outlet.publish(watch.accepted.said(Vec::new()));
        }
        let watch = Arc::new(Mutex::new(watch));
        loop {
            let looking = Arc::clone(&watch);
            let looked = tokio::task::spawn_blocking(move || looking.lock().look(clock.now())).await;
            // Whatever a file did to who read it, the others go on.
            let looked = looked.unwrap_or_else(|error| Err(io::Error::other(error)));
            let (said, has_changed) = {
                let mut watch = watch.lock();
                let now = clock.now();
                outlet.progress(|progress| {
                    progress.looked = Some(now);
                    progress.restored = watch.accepted.restored();
                    if looked.is_ok() {
                        (progress.succeeded, progress.files) = (Some(now), watch.accepted.files.len());
                        progress.failing_since = None;
                    } else {
                        progress.failed(now);
                    }
                });
                match looked {
                    Ok(None) => (None, false),
                    Ok(Some(changed)) => (Some(watch.accepted.said(Vec::new())), changed),
                    Err(error) => {
                        watch.has_looked = false;
                        let message = format!("the directory cannot be read: {error}");
                        let finding =
                            Code::SOURCE_UNREADABLE.at(&watch.accepted.origin(&path), Severity::Error, message);
                        (Some(watch.accepted.said(vec![finding])), false)
                    }
                }
            };
            if let Some(said) = said.filter(|said| has_changed || *outlet.said().findings != *said.findings) {
                outlet.publish(said);
            }
            tokio::time::sleep(interval).await;
        }
    }
}

impl Watch {
    /// Whether the same files are there, and none can have changed. One that was too new for a stamp is among the files alone.
    fn is_as_it_was(&self, found: &[dir::Found]) -> bool {
        found.len() == self.accepted.files.len() && found.iter().all(|found| self.is_known(found))
    }

    /// Whether a file was read, and cannot have changed since.
    fn is_known(&self, found: &dir::Found) -> bool {
        let stamp = found.metadata.as_ref().ok().map(Stamp::of);
        stamp.is_some() && self.stamps.get(&found.path) == stamp.as_ref()
    }

    /// Looks at all files, and gives whether something else is in force now; nothing if there is nothing to say of it.
    fn look(&mut self, now: SystemTime) -> io::Result<Option<bool>> {
        let found = dir::find(&self.path)?;
        if self.accepted.is_incomplete {
            self.stamps.clear();
        }
        let is_judged_again = self.accepted.files.are_to_be_judged_again();
        if self.is_as_it_was(&found) && self.has_looked && !self.accepted.is_incomplete && !is_judged_again {
            return Ok(None);
        }
        let there: HashSet<_> = found.iter().map(|found| found.path.clone()).collect();
        self.stamps.retain(|path, _| there.contains(path));
        let mut has_changed = is_judged_again;
        let mut read = Vec::new();
        let mut bytes = 0;
        for found in found {
            if self.is_known(&found) {
                continue;
            }
            let stamp = found.metadata.as_ref().ok().map(Stamp::of);
            let file = found.read(&self.path);
            match stamp.filter(|stamp| stamp.is_settled(now)) {
                Some(stamp) => self.stamps.insert(file.path.clone(), stamp),
                None => self.stamps.remove(&file.path),
            };
            bytes += file.text.as_ref().map_or(0, String::len);
            read.push(file);
            if bytes > AT_ONCE {
                bytes = 0;
                has_changed |= self.accepted.offer_all(&std::mem::take(&mut read));
            }
        }
        has_changed |= self.accepted.offer_all(&read);
        has_changed |= self.accepted.files.keep_only(&there);
        let is_first = !std::mem::replace(&mut self.has_looked, true);
        if !has_changed && !is_first && !self.accepted.is_incomplete {
            return Ok(None);
        }
        let before = Arc::clone(self.accepted.revision());
        self.accepted.admit();
        let revision = self.accepted.files.revision();
        self.accepted.settle(&revision, now);
        Ok(Some(has_changed || before != *self.accepted.revision()))
    }
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            bytes: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// Whether a change from now on will be seen in it.
    fn is_settled(&self, now: SystemTime) -> bool {
        let latest = self.modified.0.max(self.changed.0);
        let latest = SystemTime::UNIX_EPOCH + Duration::from_secs(u64::try_from(latest).unwrap_or(0));
        now.duration_since(latest).is_ok_and(|since| since > SETTLING)
    }
}
