use std::collections::BTreeSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use mesh_core::live::{Live, Publisher};
use mesh_identity::clock::{Clock, SystemClock};
use mesh_identity::task::Tasks;
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::hooks::Hooks;
#[cfg(feature = "kubernetes")]
use super::kubernetes::Cluster;
use super::merge::{Merge, Merged, Rules};
use super::outlet::{Inlet, Outlet, Progress};
use super::settings::{self, Entry};
use super::state::State;
use super::{Directory, Source, git};
use crate::admission::gate::Gate;

/// What a directory is called that is the only source, and has no name.
pub const DIRECTORY: &str = "directory";

/// All sources, at work.
#[derive(Debug)]
pub struct Sources {
    sources: Vec<Named>,
    changed: Arc<Notify>,
    tasks: Tasks,
    hooks: Hooks,
}

/// A source from the outside.
#[derive(Debug, Clone)]
pub(super) struct Named {
    pub(super) name: Arc<str>,
    /// Its type: `directory`, `git`.
    pub(super) kind: &'static str,
    /// Where it is.
    pub(super) place: String,
    pub(super) rules: Rules,
    pub(super) inlet: Inlet,
}

/// What sources need beside their settings.
#[derive(Clone, Default)]
pub struct Beside {
    /// Who else has a say in what takes effect.
    pub gate: Option<Arc<Gate>>,
    /// Cancelled when the process begins to end: who leads gives that up.
    pub ending: CancellationToken,
    /// Statuses that are to be written.
    #[cfg(feature = "kubernetes")]
    pub statuses: Option<Live<super::kubernetes::Desired>>,
}

impl fmt::Debug for Beside {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Beside").field("gate", &self.gate).finish_non_exhaustive()
    }
}

/// The settings of sources cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// There is none.
    #[error("sources: there is none")]
    None,
    /// It is not said what a source is, or said twice.
    #[error("sources[{index}]: give one of `directory`, `git` and `kubernetes`")]
    Kind {
        /// Which it is in the list, counted from 0.
        index: usize,
    },
    /// A name cannot be used.
    #[error("sources[{index}].name: `{name}` {reason}")]
    Name {
        /// Which it is in the list, counted from 0.
        index: usize,
        /// The name.
        name: String,
        /// Why not.
        reason: &'static str,
    },
    /// There is no place for the copy of a repository.
    #[error("sources[{index}].git: a repository needs `state_dir`")]
    NoStateDir {
        /// Which it is in the list, counted from 0.
        index: usize,
    },
    /// The settings of a repository cannot be used.
    #[error("sources[{index}].git")]
    Git {
        /// Which it is in the list, counted from 0.
        index: usize,
        /// Why not.
        source: git::Error,
    },
}

impl Sources {
    /// None yet. Those that are added run among the tasks given, and end with them.
    #[must_use]
    pub fn new(tasks: &Tasks) -> Self {
        Self { sources: Vec::new(), changed: Arc::new(Notify::new()), tasks: tasks.clone(), hooks: Hooks::default() }
    }

    /// Starts those of the settings. What survives a restart is in the state directory.
    ///
    /// # Errors
    /// [`Error`]; none is started then.
    pub fn start(
        settings: &settings::Sources,
        state: Option<&Path>,
        beside: &Beside,
        tasks: &Tasks,
    ) -> Result<Self, Error> {
        let entries = named(&settings.0)?;
        // In the order in which they take precedence, whenever each begins.
        for (name, _) in &entries {
            beside.gate.iter().for_each(|gate| gate.join(name));
        }
        let mut repositories = Vec::new();
        for (index, (name, entry)) in entries.iter().enumerate() {
            let Some(settings) = &entry.git else { continue };
            let state = place(state, name).ok_or(Error::NoStateDir { index })?;
            let follow = git::Follow::new(Arc::clone(name), settings, &state, beside.gate.clone());
            repositories.push(follow.map_err(|source| Error::Git { index, source })?);
        }
        let mut repositories = repositories.into_iter();
        let mut sources = Self::new(tasks);
        for (name, entry) in entries {
            let rules =
                Rules { required: entry.required, authoritative: entry.authoritative.then_some(entry.divergence) };
            if let Some(path) = &entry.directory {
                let interval = Duration::from_millis(entry.poll_interval_ms.max(10));
                let kept = place(state, &name).map(|state| state.join("kept"));
                let gate = beside.gate.clone();
                let (named, path_too, kept) = (Arc::clone(&name), path.clone(), kept.as_deref());
                let directory = Directory::judged(named, path_too, interval, entry.on_error, kept, gate);
                sources.add(Arc::clone(&name), (DIRECTORY, path.display().to_string()), rules, directory);
            } else if let (Some(settings), Some(follow)) = (&entry.git, repositories.next()) {
                if let Some(secret) = &settings.webhook_secret_file {
                    sources.hooks.add(&name, secret.clone(), follow.wake());
                }
                sources.add(Arc::clone(&name), ("git", settings.url.clone()), rules, follow);
            }
            #[cfg(feature = "kubernetes")]
            if let Some(settings) = &entry.kubernetes {
                let place = settings
                    .kubeconfig
                    .as_ref()
                    .map_or_else(|| "the cluster of this pod".to_owned(), |path| path.display().to_string());
                let cluster = Cluster::new(Arc::clone(&name), settings.clone(), beside, tasks);
                sources.add(name, ("kubernetes", place), rules, cluster);
            }
        }
        Ok(sources)
    }

    /// Starts one more, after all others in precedence. Its type and its place are for people.
    pub fn add(&mut self, name: Arc<str>, about: (&'static str, String), rules: Rules, source: impl Source) {
        let (outlet, inlet) = Outlet::new(Arc::clone(&self.changed));
        self.sources.push(Named { name, kind: about.0, place: about.1, rules, inlet });
        self.tasks.spawn(source.run(outlet));
    }

    /// What they say together, as it changes.
    #[must_use]
    pub fn merged(&self) -> Live<Merged> {
        let mut merge = Merge::new(self.sources.iter().map(|source| (Arc::clone(&source.name), source.rules)));
        let (publisher, live) = Publisher::new(merge.merged());
        let changed = Arc::clone(&self.changed);
        let inlets: Vec<_> = self.sources.iter().map(|source| source.inlet.said.clone()).collect();
        let mut heard: Vec<_> = inlets.iter().map(Live::snapshot).collect();
        // What was said before this is told of as well.
        changed.notify_one();
        let mut is_first = true;
        self.tasks.spawn(async move {
            loop {
                changed.notified().await;
                for (index, (inlet, heard)) in inlets.iter().zip(&mut heard).enumerate() {
                    let said = inlet.snapshot();
                    if is_first || !Arc::ptr_eq(&said, heard) {
                        merge.take(index, (*said).clone());
                        *heard = said;
                    }
                }
                is_first = false;
                publisher.publish(merge.merged());
            }
        });
        live
    }

    /// The webhooks of those that have one.
    #[must_use]
    pub fn hooks(&self) -> Hooks {
        self.hooks.clone()
    }

    /// How they fare, for the page `/sources`.
    #[must_use]
    pub fn page(&self) -> Arc<dyn Fn() -> Value + Send + Sync> {
        let sources = self.sources.clone();
        Arc::new(move || Value::Array(sources.iter().map(Named::show).collect()))
    }

    pub(super) fn all(&self) -> &[Named] {
        &self.sources
    }
}

impl Named {
    /// Its name, also if it has none.
    pub(super) fn label(&self) -> &str {
        label(&self.name)
    }

    fn show(&self) -> Value {
        let now = SystemClock.now();
        let said = self.inlet.said.load();
        let progress = self.inlet.progress.lock().clone();
        let Progress { looked, succeeded, restored, failing_since, files } = &progress;
        let has_spoken = !said.revision.is_empty();
        let age = |time: &Option<std::time::SystemTime>| {
            time.map(|time| now.duration_since(time).unwrap_or_default().as_secs())
        };
        json!({
            "name": self.label(), "type": self.kind, "place": self.place, "ready": has_spoken,
            "required": self.rules.required, "state": State::of(&*said.findings, has_spoken).label(),
            "failing": failing_since.is_some(), "stale_seconds": progress.stale(now).as_secs(),
            "revision": &*said.revision, "objects": said.world.len(), "files": files,
            "look_age_seconds": age(looked), "success_age_seconds": age(succeeded),
            "restored_age_seconds": age(restored), "findings": &*said.findings,
        })
    }
}

/// The sources with their names. The only one may have none.
pub(super) fn named(entries: &[Entry]) -> Result<Vec<(Arc<str>, &Entry)>, Error> {
    let mut named: Vec<(Arc<str>, &Entry)> = Vec::new();
    let mut names = BTreeSet::new();
    for (index, entry) in entries.iter().enumerate() {
        let kinds = [
            entry.directory.is_some().then_some(DIRECTORY),
            entry.git.is_some().then_some("git"),
            #[cfg(feature = "kubernetes")]
            entry.kubernetes.is_some().then_some("kubernetes"),
        ];
        let mut given = kinds.into_iter().flatten();
        let (Some(kind), None) = (given.next(), given.next()) else { return Err(Error::Kind { index }) };
        let name = match &entry.name {
            Some(name) => name.as_str(),
            // Nobody needs to be told of which source a finding is.
            None if entries.len() == 1 && kind == DIRECTORY => "",
            None => kind,
        };
        let bad = |reason| Error::Name { index, name: name.to_owned(), reason };
        let is_letter = |letter: u8| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == b'-';
        if !name.bytes().all(is_letter) || name.len() > 63 || entry.name.as_deref() == Some("") {
            return Err(bad("is not made of small letters, digits and hyphens"));
        }
        if !names.insert(name) {
            return Err(bad("is the name of two"));
        }
        named.push((name.into(), entry));
    }
    if named.is_empty() { Err(Error::None) } else { Ok(named) }
}

/// Where a source has what survives a restart.
pub(super) fn place(state: Option<&Path>, name: &str) -> Option<PathBuf> {
    Some(state?.join("sources").join(label(name)))
}

fn label(name: &str) -> &str {
    if name.is_empty() { DIRECTORY } else { name }
}
