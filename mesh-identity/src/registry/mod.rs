//! Who may have which identity: entries that bind selectors, which attestation found, to a SPIFFE ID.
//!
//! An entry matches a workload, or a node, when *all* of its selectors were found. The words are SPIRE's.

mod file;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

pub use file::EntriesError;
use mesh_core::name::{SpiffeId, TrustDomain};

/// Something that attestation found out, such as `unix:uid:1000`: a type and a value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Selector {
    /// Who found it: `unix`, `x509pop`, `k8s_psat`.
    pub kind: String,
    /// What it found: `uid:1000`.
    pub value: String,
}

impl Selector {
    /// A selector.
    #[must_use]
    pub fn new(kind: &str, value: impl Into<String>) -> Self {
        Self { kind: kind.to_owned(), value: value.into() }
    }
}

impl fmt::Display for Selector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind, self.value)
    }
}

/// A text is no selector.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no selector: a type, a colon and a value are needed")]
pub struct SelectorError(String);

impl FromStr for Selector {
    type Err = SelectorError;

    fn from_str(text: &str) -> Result<Self, SelectorError> {
        match text.split_once(':') {
            Some((kind, value)) if !kind.is_empty() && !value.is_empty() => Ok(Self::new(kind, value)),
            _ => Err(SelectorError(text.to_owned())),
        }
    }
}

/// Who may have an identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its name, unique in a registry.
    pub id: String,
    /// The identity.
    pub spiffe_id: SpiffeId,
    /// The node that it may run on, or the server itself for an entry that names nodes.
    pub parent_id: SpiffeId,
    /// What must have been found, all of it.
    pub selectors: BTreeSet<Selector>,
    /// Life of its X.509-SVIDs; that of the authority's rules, when there is none.
    pub x509_life: Option<Duration>,
    /// Life of its JWT-SVIDs; that of the authority's rules, when there is none.
    pub jwt_life: Option<Duration>,
    /// Foreign trust domains whose members it verifies.
    pub federates_with: BTreeSet<TrustDomain>,
    /// DNS names in its X.509-SVIDs.
    pub dns_names: Vec<String>,
    /// Tells one of several identities of a workload from the others.
    pub hint: String,
    /// Whether it may have signing certificates below ours.
    pub downstream: bool,
    /// From when on it does not count.
    pub expires: Option<SystemTime>,
    /// Grows with every change of the entry.
    pub revision: i64,
    /// When it was made.
    pub created: SystemTime,
}

impl Entry {
    /// An entry that says nothing but who may have what.
    #[must_use]
    pub fn new(
        id: &str,
        spiffe_id: SpiffeId,
        parent_id: SpiffeId,
        selectors: impl IntoIterator<Item = Selector>,
    ) -> Self {
        Self {
            id: id.to_owned(),
            spiffe_id,
            parent_id,
            selectors: selectors.into_iter().collect(),
            x509_life: None,
            jwt_life: None,
            federates_with: BTreeSet::new(),
            dns_names: Vec::new(),
            hint: String::new(),
            downstream: false,
            expires: None,
            revision: 0,
            created: SystemTime::UNIX_EPOCH,
        }
    }

    fn matches(&self, found: &BTreeSet<Selector>, now: SystemTime) -> bool {
        // An entry without selectors would match everybody.
        !self.selectors.is_empty() && self.selectors.is_subset(found) && self.expires.is_none_or(|end| now < end)
    }
}

/// All entries. Immutable and cheap to clone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Entries(Arc<BTreeMap<String, Arc<Entry>>>);

impl Entries {
    /// An entry by its name.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<&Arc<Entry>> {
        self.0.get(id)
    }

    /// All entries, oldest first; of the same age, by name.
    #[must_use]
    pub fn all(&self) -> Vec<&Arc<Entry>> {
        let mut all: Vec<_> = self.0.values().collect();
        all.sort_by_key(|entry| entry.created);
        all
    }

    /// An entry for an identity, the oldest.
    #[must_use]
    pub fn of(&self, id: &SpiffeId) -> Option<&Arc<Entry>> {
        self.all().into_iter().find(|entry| entry.spiffe_id == *id)
    }

    /// The entries that fit what was found of a workload, oldest first.
    #[must_use]
    pub fn matching(&self, found: &BTreeSet<Selector>, now: SystemTime) -> Vec<Arc<Entry>> {
        self.all().into_iter().filter(|entry| entry.matches(found, now)).map(Arc::clone).collect()
    }

    /// The entries of what may run on a node: below its own ID, below the IDs that its selectors give it, and below those
    /// in turn.
    #[must_use]
    pub fn authorized(&self, node: &SpiffeId, found: &BTreeSet<Selector>, now: SystemTime) -> Vec<Arc<Entry>> {
        let server = |id: &SpiffeId| id.path() == "/spire/server";
        let aliases = self.all().into_iter().filter(|entry| server(&entry.parent_id) && entry.matches(found, now));
        let mut parents: Vec<SpiffeId> = aliases.map(|entry| entry.spiffe_id.clone()).collect();
        parents.push(node.clone());
        let mut seen = BTreeSet::new();
        let mut authorized = Vec::new();
        while let Some(parent) = parents.pop() {
            for entry in self.all() {
                let alive = entry.expires.is_none_or(|end| now < end);
                if entry.parent_id == parent && alive && seen.insert(&entry.id) {
                    parents.push(entry.spiffe_id.clone());
                    authorized.push(Arc::clone(entry));
                }
            }
        }
        authorized.sort_by(|a, b| a.id.cmp(&b.id));
        authorized
    }

    /// These entries with one added or replaced.
    #[must_use]
    pub fn with(&self, entry: Entry) -> Self {
        let mut all = BTreeMap::clone(&self.0);
        all.insert(entry.id.clone(), Arc::new(entry));
        Self(Arc::new(all))
    }

    /// These entries without one.
    #[must_use]
    pub fn without(&self, id: &str) -> Self {
        let mut all = BTreeMap::clone(&self.0);
        all.remove(id);
        Self(Arc::new(all))
    }
}

impl FromIterator<Entry> for Entries {
    fn from_iter<I: IntoIterator<Item = Entry>>(entries: I) -> Self {
        Self(Arc::new(entries.into_iter().map(|entry| (entry.id.clone(), Arc::new(entry))).collect()))
    }
}

#[cfg(test)]
mod tests {
    use mesh_core::name::parse_spiffe_id;

    use super::*;

    fn id(path: &str) -> SpiffeId {
        parse_spiffe_id(&format!("spiffe://td.test{path}")).unwrap()
    }

    fn selectors(texts: &[&str]) -> BTreeSet<Selector> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn all_selectors_must_be_found() {
        let entry = |name: &str, wanted: &[&str]| Entry::new(name, id(name), id("/node"), selectors(wanted));
        let entries: Entries = [
            entry("/a", &["unix:uid:1"]),
            entry("/b", &["unix:uid:1", "unix:gid:2"]),
            entry("/c", &["unix:uid:2"]),
            entry("/d", &[]),
            Entry { expires: Some(SystemTime::UNIX_EPOCH), ..entry("/e", &["unix:uid:1"]) },
        ]
        .into_iter()
        .collect();
        let names = |found: &[&str]| {
            let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1);
            let matching = entries.matching(&selectors(found), now);
            matching.iter().map(|entry| entry.id.clone()).collect::<Vec<_>>()
        };
        assert_eq!(names(&["unix:uid:1"]), ["/a"]);
        assert_eq!(names(&["unix:uid:1", "unix:gid:2", "unix:path:/x"]), ["/a", "/b"]);
        assert_eq!(names(&[]), Vec::<String>::new());
        for bad in ["", "unix", ":x", "unix:"] {
            assert!(bad.parse::<Selector>().is_err());
        }
    }

    #[test]
    fn what_may_run_on_a_node() {
        let entry = |name: &str, parent: &str| Entry::new(name, id(name), id(parent), selectors(&["unix:uid:1"]));
        let entries: Entries = [
            entry("/web", "/spire/agent/x"),
            entry("/below-web", "/web"),
            entry("/db", "/spire/agent/y"),
            Entry::new("alias", id("/fleet"), id("/spire/server"), selectors(&["x509pop:cn:edge"])),
            entry("/of-fleet", "/fleet"),
        ]
        .into_iter()
        .collect();
        let names = |node: &str, found: &[&str]| {
            let authorized = entries.authorized(&id(node), &selectors(found), SystemTime::UNIX_EPOCH);
            authorized.iter().map(|entry| entry.id.clone()).collect::<Vec<_>>()
        };
        assert_eq!(names("/spire/agent/x", &[]), ["/below-web", "/web"]);
        assert_eq!(names("/spire/agent/y", &["x509pop:cn:edge"]), ["/db", "/of-fleet"]);
        assert!(names("/spire/agent/z", &[]).is_empty());
    }
}
