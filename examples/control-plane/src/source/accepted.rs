use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use mesh_core::report::chain;

use super::Said;
use super::files::Files;
use super::kept::Kept;
use super::settings::OnError;
use crate::admission::SourceFile;
use crate::admission::gate::Gate;
use crate::admission::inventory::Inventory;
use crate::finding::{Code, Finding, Origin, Severity};
use crate::world::World;

/// What of the files of a source is in force, and on disk.
#[derive(Debug)]
pub(super) struct Accepted {
    pub(super) files: Files,
    source: Arc<str>,
    rule: OnError,
    world: World,
    /// The same as it was written, where somebody else has a say.
    manifests: Inventory,
    revision: Arc<str>,
    kept: Option<Kept>,
    /// Why the last good state is not on disk as it should be.
    unkept: Option<String>,
    /// Whether texts are to be offered again, as some are not on disk.
    pub(super) is_incomplete: bool,
    /// When what is in force was kept, as long as it comes from there.
    restored: Option<SystemTime>,
}

impl Accepted {
    /// Nothing, or what was in force before a restart, from a directory.
    pub(super) fn open(source: Arc<str>, rule: OnError, directory: Option<&Path>, gate: Option<Arc<Gate>>) -> Self {
        let mut accepted = Self {
            files: Files::new(Arc::clone(&source), gate),
            source,
            rule,
            world: World::default(),
            manifests: Inventory::default(),
            revision: "".into(),
            kept: None,
            unkept: None,
            is_incomplete: false,
            restored: None,
        };
        let Some(directory) = directory else { return accepted };
        match Kept::open(directory) {
            Ok(mut kept) => {
                match kept.restore() {
                    Ok(Some(restored)) => {
                        accepted.files.restore(&restored.files);
                        accepted.count();
                        accepted.revision = restored.revision.into();
                        accepted.restored = Some(restored.saved);
                    }
                    Ok(None) => {}
                    Err(error) => accepted.unkept = Some(chain(&error)),
                }
                accepted.kept = Some(kept);
            }
            Err(error) => accepted.unkept = Some(chain(&error)),
        }
        accepted
    }

    /// Which state is in force; empty as long as none is.
    pub(super) fn revision(&self) -> &Arc<str> {
        &self.revision
    }

    /// When what is in force was kept, as long as nothing newer could be taken.
    pub(super) fn restored(&self) -> Option<SystemTime> {
        self.restored
    }

    /// Files were found, each with its text or why it has none. Gives whether anything is different now.
    pub(super) fn offer_all(&mut self, files: &[SourceFile]) -> bool {
        let changed = self.files.offer_all(files);
        let Some(kept) = &mut self.kept else { return changed };
        for SourceFile { path, text } in files {
            let Ok(text) = text else { continue };
            if self.files.may_hold(path, text)
                && let Err(error) = kept.put(text)
            {
                self.unkept = Some(chain(&error));
                self.is_incomplete = true;
            }
        }
        changed
    }

    /// Has what was offered judged by who else has a say. Files that are not denied have their last good state from now on.
    pub(super) fn admit(&mut self) {
        self.files.admit(&self.manifests);
    }

    /// What the files say is in force.
    fn count(&mut self) {
        self.world = self.files.world().clone();
        self.manifests = self.files.manifests();
        self.files.taken(&self.manifests);
    }

    /// Takes what was offered and admitted, as far as the rule allows, and gives what is said from now on.
    pub(super) fn settle(&mut self, revision: &str, now: SystemTime) -> Said {
        let is_taken = match self.rule {
            OnError::File => !self.revision.is_empty() || !self.files.has_unknown(),
            OnError::Source => self.files.is_good(),
        };
        if is_taken {
            self.count();
            self.revision = revision.into();
            self.restored = None;
            self.keep(now);
        }
        self.said(Vec::new())
    }

    fn keep(&mut self, now: SystemTime) {
        let Some(kept) = &mut self.kept else { return };
        match kept.commit(self.files.good(), self.files.candidates(), &self.revision, now) {
            Ok(()) => {
                self.unkept = None;
                self.is_incomplete = false;
            }
            Err(error) => {
                self.unkept = Some(chain(&error));
                self.is_incomplete = true;
            }
        }
    }

    /// What is in force, with what is wrong in what was offered and more.
    pub(super) fn said(&self, more: Vec<Finding>) -> Said {
        let mut findings = self.files.findings();
        findings.extend(more);
        let origin = self.origin("");
        if self.restored.is_some() {
            let message = "what was in force before the restart goes on until something newer can be taken";
            findings.push(Code::RESTORED.at(&origin, Severity::Warning, message));
        }
        if let Some(reason) = &self.unkept {
            let message = format!("the last good state is not on disk for a restart: {reason}");
            findings.push(Code::NOT_KEPT.at(&origin, Severity::Warning, message));
        }
        findings.sort();
        findings.dedup();
        Said { world: self.world.clone(), findings: findings.into(), revision: Arc::clone(&self.revision) }
    }

    /// A place in the source.
    pub(super) fn origin(&self, file: &str) -> Origin {
        Origin { source: Arc::clone(&self.source), ..Origin::file(file) }
    }
}
