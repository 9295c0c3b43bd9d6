//! What the API server has told, object by object. Pure: objects come in, out goes a world.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use mesh_core::name::NamespacedName;
use serde_json::Value;

use super::collection::{COLLECTIONS, Collection};

use super::told::{Bad, Current, Good, Told, origin};
use crate::finding::{Code, Finding, Severity};
use crate::resource::{Kind, LabelSelector, ObjectId};
use crate::source::Said;
use crate::world::World;

/// Everything that was told.
pub(super) struct Store {
    name: Arc<str>,
    selectors: Vec<LabelSelector>,
    kinds: BTreeMap<Kind, Held>,
    /// The good versions of the objects in namespaces that are selected.
    world: World,
    revision: String,
}

/// The objects of one kind.
struct Held {
    collection: &'static Collection,
    state: State,
    objects: BTreeMap<NamespacedName, Entry>,
}

/// How far a kind is known.
#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    /// Not at all yet; why, where that is known.
    Waiting(Option<String>),
    /// All that there is, under this version.
    Known(&'static str),
    /// As it was last, for this reason. It was served under this version.
    Old(&'static str, String),
    /// It is not installed.
    Absent,
}

struct Entry {
    /// An object made anew under the name of another is another object.
    uid: String,
    current: Current,
    good: Option<Good>,
    faults: Vec<Finding>,
}

/// What a change was about.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Changed {
    /// The world is another, or what is wrong in it, or how far it is known.
    pub(super) world: bool,
    /// A status is another, or an object that may have one.
    pub(super) status: bool,
}

impl std::ops::BitOrAssign for Changed {
    fn bitor_assign(&mut self, other: Self) {
        self.world |= other.world;
        self.status |= other.status;
    }
}

impl Store {
    /// An empty one. Objects of namespaces that no selector selects are left out; without selectors, none is.
    pub(super) fn new(name: Arc<str>, selectors: Vec<LabelSelector>) -> Self {
        let held = |collection: &'static Collection| {
            let held = Held { collection, state: State::Waiting(None), objects: BTreeMap::new() };
            collection.kind().map(|kind| (kind, held))
        };
        let kinds = COLLECTIONS.iter().filter_map(held).collect();
        Self { name, selectors, kinds, world: World::default(), revision: String::new() }
    }

    /// A kind was listed: what is not in the list is gone.
    pub(super) fn replace(&mut self, kind: Kind, served: &'static str, version: &str, objects: Vec<Told>) -> Changed {
        self.reach(version);
        let mut changed = self.set_state(kind, State::Known(served));
        let mut gone = self.names(kind);
        for told in objects {
            gone.remove(&told.name);
            changed |= self.put(kind, told);
        }
        for name in gone {
            changed |= self.remove(kind, &name);
        }
        changed
    }

    /// A kind is not installed.
    pub(super) fn absent(&mut self, kind: Kind) -> Changed {
        let mut changed = self.set_state(kind, State::Absent);
        for name in self.names(kind) {
            changed |= self.remove(kind, &name);
        }
        changed
    }

    /// Nobody knows what happens to a kind at present; what was known goes on.
    pub(super) fn lost(&mut self, kind: Kind, reason: String) -> Changed {
        let state = match self.kinds.get(&kind).map(|held| &held.state) {
            Some(State::Known(served) | State::Old(served, _)) => State::Old(served, reason),
            Some(State::Absent) => State::Absent,
            _ => State::Waiting(Some(reason)),
        };
        self.set_state(kind, state)
    }

    /// It is known again, and nothing was missed.
    pub(super) fn found(&mut self, kind: Kind) -> Changed {
        match self.kinds.get(&kind).map(|held| &held.state) {
            Some(State::Old(served, _)) => self.set_state(kind, State::Known(served)),
            _ => Changed::default(),
        }
    }

    /// What is known: until every kind was read, or found not to be installed, only what is wrong.
    pub(super) fn said(&self) -> Said {
        let findings = self.findings().into();
        if self.kinds.values().any(|held| matches!(held.state, State::Waiting(_))) {
            return Said { findings, ..Said::default() };
        }
        Said { world: self.world.clone(), findings, revision: self.revision.as_str().into() }
    }

    /// The API server's state is this one. Its versions are numbers that grow, over all kinds of one cluster; one that is none
    /// is taken as it comes.
    pub(super) fn reach(&mut self, version: &str) {
        let number = |version: &str| version.parse::<u128>().ok();
        if number(version).is_none() || number(version) > number(&self.revision) {
            version.clone_into(&mut self.revision);
        }
    }

    /// What is wrong with single objects, and which kinds are not known at present.
    fn findings(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        for held in self.kinds.values() {
            let faulty = held.objects.iter().filter(|(name, _)| self.is_selected(held.collection, name));
            findings.extend(faulty.flat_map(|(_, entry)| entry.faults.clone()));
            let origin = origin(&self.name, held.collection, None);
            match &held.state {
                State::Old(_, reason) => {
                    let message = format!("what was read before goes on: {reason}");
                    findings.push(Code::SOURCE_UNREADABLE.at(&origin, Severity::Warning, message));
                }
                State::Waiting(Some(reason)) => {
                    let message = format!("not read yet: {reason}");
                    findings.push(Code::SOURCE_UNREADABLE.at(&origin, Severity::Warning, message));
                }
                State::Waiting(None) | State::Known(_) | State::Absent => {}
            }
        }
        findings
    }

    /// Whether no object of a kind is known.
    pub(super) fn is_empty(&self, kind: Kind) -> bool {
        self.kinds.get(&kind).is_none_or(|held| held.objects.is_empty())
    }

    /// An object as it stands in the API server.
    pub(super) fn current(&self, id: &ObjectId) -> Option<&Current> {
        self.kinds.get(&id.kind)?.objects.get(&id.name).map(|entry| &entry.current)
    }

    /// What a write of a status answered: the next one builds on it, before a watch tells of it.
    pub(super) fn written(&mut self, id: &ObjectId, version: String, status: Value) {
        let entry = self.kinds.get_mut(&id.kind).and_then(|held| held.objects.get_mut(&id.name));
        if let Some(entry) = entry {
            entry.current = Current { served: entry.current.served, version, status };
        }
    }

    fn names(&self, kind: Kind) -> BTreeSet<NamespacedName> {
        self.kinds.get(&kind).map(|held| held.objects.keys().cloned().collect()).unwrap_or_default()
    }

    fn set_state(&mut self, kind: Kind, state: State) -> Changed {
        let Some(held) = self.kinds.get_mut(&kind).filter(|held| held.state != state) else {
            return Changed::default();
        };
        held.state = state;
        Changed { world: true, status: false }
    }

    /// An object is new, or otherwise than before.
    pub(super) fn put(&mut self, kind: Kind, told: Told) -> Changed {
        let Some(held) = self.kinds.get_mut(&kind) else { return Changed::default() };
        let Told { name, uid, current, parsed } = told;
        let before = held.objects.remove(&name).filter(|entry| entry.uid == uid);
        let is_same_status = before.as_ref().is_some_and(|entry| entry.current.status == current.status);
        let (good, faults) = match parsed {
            Ok(good) => (good, Vec::new()),
            Err(Bad { faults, stand_in }) => {
                (before.as_ref().and_then(|entry| entry.good.clone()).or(stand_in), faults)
            }
        };
        let is_same = before.is_some_and(|entry| {
            let digest = |good: &Option<Good>| good.as_ref().map(|good| good.digest);
            digest(&entry.good) == digest(&good) && entry.faults == faults
        });
        held.objects.insert(name.clone(), Entry { uid, current, good, faults });
        let status = held.collection.has_status && !is_same_status;
        if !is_same {
            self.show(kind, &name);
        }
        Changed { world: !is_same, status }
    }

    /// An object is gone.
    pub(super) fn remove(&mut self, kind: Kind, name: &NamespacedName) -> Changed {
        let Some(held) = self.kinds.get_mut(&kind) else { return Changed::default() };
        if held.objects.remove(name).is_none() {
            return Changed::default();
        }
        let status = held.collection.has_status;
        self.show(kind, name);
        Changed { world: true, status }
    }

    /// Brings an object into the world as it is held here; with a namespace, all objects in it.
    fn show(&mut self, kind: Kind, name: &NamespacedName) {
        let Some(held) = self.kinds.get(&kind) else { return };
        let id = ObjectId { kind, name: name.clone() };
        let was_there = self.world.origin(&id).is_some();
        let good = held.objects.get(name).and_then(|entry| entry.good.clone());
        let good = good.filter(|_| kind == Kind::Namespace || self.is_selected(held.collection, name));
        match good {
            Some(Good { origin, digest, object }) => self.world.put(origin, digest, object),
            None if was_there => self.world.remove(&id),
            None => {}
        }
        if kind == Kind::Namespace && !self.selectors.is_empty() {
            for id in self.of_namespace(name.name.as_str()) {
                self.show(id.kind, &id.name);
            }
        }
    }

    fn of_namespace(&self, namespace: &str) -> Vec<ObjectId> {
        let first = NamespacedName::new(namespace, "");
        let of_kind = |(kind, held): (&Kind, &Held)| {
            let kind = *kind;
            let names = held.objects.range(first.clone()..).map(|(name, _)| name);
            let names = names.take_while(|name| name.namespace == *namespace).cloned();
            names.map(|name| ObjectId { kind, name }).collect::<Vec<_>>()
        };
        self.kinds.iter().filter(|(kind, _)| kind.is_namespaced()).flat_map(of_kind).collect()
    }

    fn is_selected(&self, collection: &Collection, name: &NamespacedName) -> bool {
        if self.selectors.is_empty() || !collection.is_namespaced {
            return true;
        }
        let name = NamespacedName::new("", name.namespace.as_str());
        let namespace = self.kinds.get(&Kind::Namespace).and_then(|held| held.objects.get(&name)?.good.as_ref());
        let Some(Good { object, .. }) = namespace else { return false };
        self.selectors.iter().any(|selector| selector.selects(&object.metadata().labels))
    }
}
