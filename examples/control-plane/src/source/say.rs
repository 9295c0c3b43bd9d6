//! What somebody else says of the files of a source, before they count.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::Path;
use std::sync::Arc;

use serde_json::Value;

use crate::admission::gate::{Gate, Revision};
use crate::admission::inventory::{Inventory, Key};
use crate::admission::judge::{Operation, Review};
use crate::finding::{Finding, Origin, Severity};

/// Most rounds in which files are taken out because of what others say; then none of those that changed counts.
const MAX_ROUNDS: usize = 8;

/// Who has a say about a source, and what was said last.
pub(super) struct Say {
    gate: Arc<Gate>,
    source: Arc<str>,
    /// By which answers it was judged last.
    seen: Option<Revision>,
    said: BTreeMap<Key, Said>,
}

/// What was said of an object.
#[derive(Debug)]
struct Said {
    findings: Vec<Finding>,
    /// Whether it is about a change that does not count.
    of_change: bool,
}

/// What there would be: each object with the file in which it stands.
pub(super) type Offered<'f> = BTreeMap<&'f Key, (&'f Arc<Path>, &'f Origin, &'f Arc<Value>)>;

/// What files come to, as they are to be.
pub(super) trait Files {
    /// What there would be without the changes of some files.
    fn offered(&self, without: &BTreeSet<Arc<Path>>) -> Offered<'_>;

    /// The files that are to change.
    fn pending(&self) -> BTreeSet<Arc<Path>>;

    /// The files of these whose change is about an object.
    fn changing(&self, key: &Key) -> BTreeSet<Arc<Path>>;

    /// Where an object stood.
    fn origin(&self, key: &Key) -> Origin;
}

impl Say {
    pub(super) fn new(gate: Arc<Gate>, source: Arc<str>) -> Self {
        gate.join(&source);
        Self { gate, source, seen: None, said: BTreeMap::new() }
    }

    /// Whether the answers may be others than at the last judgement.
    pub(super) fn may_differ(&self) -> bool {
        self.seen != Some(self.gate.revision())
    }

    /// What is in force from now on.
    pub(super) fn take(&mut self, in_force: &Inventory) {
        let before = self.gate.revision();
        self.gate.take(&self.source, in_force);
        let now = self.gate.revision();
        // What it changed itself, it has judged.
        let is_own = now.judge == before.judge && now.generation.wrapping_sub(before.generation) <= 1;
        if is_own && self.seen == Some(before) {
            self.seen = Some(now);
        }
    }

    /// Whether nothing is denied.
    pub(super) fn is_good(&self) -> bool {
        self.findings().all(|finding| finding.severity != Severity::Error)
    }

    /// What was said.
    pub(super) fn findings(&self) -> impl Iterator<Item = &Finding> {
        self.said.values().flat_map(|said| &said.findings)
    }

    /// Judges what files come to, against what is in force, and gives the files whose changes do not count.
    ///
    /// A file counts whole or not at all, and what is left out may be what others need: it is judged again without, until
    /// nothing more is denied. Where what did not change is denied by what did, none of the changes counts.
    pub(super) fn judge(&mut self, files: &impl Files, in_force: &Inventory) -> BTreeSet<Arc<Path>> {
        let revision = self.gate.revision();
        let has_changed = self.seen != Some(revision);
        let all = has_changed || self.gate.sees_others();
        self.said.retain(|_, said| !said.of_change);
        let mut refused = BTreeSet::new();
        let pending = files.pending();
        for round in 0.. {
            let offered = files.offered(&refused);
            let changes = changes(&offered, in_force, all, |key| files.origin(key));
            let reviews: Vec<Review<'_>> = changes.iter().map(Change::review).collect();
            let answers = self.gate.judge(Some(&*self.source), &reviews);
            let mut more = BTreeSet::new();
            for (change, findings) in changes.iter().zip(answers) {
                let is_denied = findings.iter().any(|finding| finding.severity == Severity::Error);
                // Whether it is denied because of a change: of itself, or of others.
                let was_denied = self.said.get(change.key).is_some_and(Said::denies);
                let by_others = !change.differs && !has_changed && !was_denied;
                if is_denied {
                    more.extend(files.changing(change.key));
                    if by_others {
                        more.extend(pending.iter().cloned());
                    }
                }
                // What was denied of a change stays said, also where it is judged again without that.
                if !self.said.get(change.key).is_some_and(|said| said.of_change) {
                    let of_change = is_denied && (change.differs || by_others);
                    self.said.insert(change.key.clone(), Said { findings, of_change });
                }
            }
            let before = refused.len();
            refused.extend(more);
            if refused.len() == before {
                break;
            }
            if round == MAX_ROUNDS {
                refused.extend(pending.iter().cloned());
                break;
            }
        }
        let there = files.offered(&refused);
        self.said.retain(|key, said| !said.findings.is_empty() && (said.of_change || there.contains_key(key)));
        self.seen = Some(revision);
        refused
    }
}

impl Said {
    fn denies(&self) -> bool {
        self.findings.iter().any(|finding| finding.severity == Severity::Error)
    }
}

/// An object to be judged.
struct Change<'a> {
    key: &'a Key,
    origin: Origin,
    now: Option<&'a Arc<Value>>,
    before: Option<&'a Arc<Value>>,
    /// Whether it is one, and not an object that stays.
    differs: bool,
}

impl<'a> Change<'a> {
    fn new(key: &'a Key, origin: Origin, now: Option<&'a Arc<Value>>, before: Option<&'a Arc<Value>>) -> Self {
        let differs = match (now, before) {
            (Some(now), Some(before)) => !Arc::ptr_eq(now, before) && now != before,
            (now, before) => now.is_some() != before.is_some(),
        };
        Self { key, origin, now, before, differs }
    }

    fn review(&self) -> Review<'_> {
        let operation = match (self.now, self.before) {
            (None, _) => Operation::Delete,
            (Some(_), None) => Operation::Create,
            (Some(_), Some(_)) => Operation::Update,
        };
        let (object, old) = (self.now.map(|object| &**object), self.before.map(|object| &**object));
        Review { operation, object, old, user: None, origin: &self.origin }
    }
}

/// What is to be judged: what differs, or all that there would be and all that goes.
fn changes<'a>(
    offered: &Offered<'a>,
    in_force: &'a Inventory,
    all: bool,
    origin: impl Fn(&Key) -> Origin,
) -> Vec<Change<'a>> {
    let mut changes = Vec::new();
    for (key, (_, origin, object)) in offered {
        let change = Change::new(key, Origin::clone(origin), Some(*object), in_force.get(key));
        if all || change.differs {
            changes.push(change);
        }
    }
    let gone = in_force.iter().filter(|(key, _)| !offered.contains_key(*key));
    changes.extend(gone.map(|(key, object)| Change::new(key, origin(key), None, Some(object))));
    changes
}

impl fmt::Debug for Say {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Say").field("seen", &self.seen).field("said", &self.said.len()).finish_non_exhaustive()
    }
}
