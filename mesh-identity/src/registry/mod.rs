//! Who may have which identity: entries that bind selectors, which attestation found, to a SPIFFE ID.
//!
//! An entry matches a workload, or a node, when *all* of its selectors were found. The words are SPIRE's.

mod file;

use std::collections::{BTreeMap, BTreeSet, HashMap};
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
    /// Whether it is for a server below ours. It is carried for SPIRE's sake: no signing certificates are given out.
    pub downstream: bool,
    /// From when on it does not count.
    pub expires: Option<SystemTime>,
    /// Another number with every change of the entry, by which nodes see that theirs is old. Never negative.
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
        !self.selectors.is_empty() && self.selectors.is_subset(found) && self.is_alive(now)
    }

    fn is_alive(&self, now: SystemTime) -> bool {
        self.expires.is_none_or(|end| now < end)
    }
}

/// All entries. Immutable and cheap to clone; a change costs as much as making it anew.
#[derive(Debug, Clone, Default)]
pub struct Entries(Arc<Index>);

/// Entries by what is asked for.
#[derive(Debug, Default)]
struct Index {
    by_name: BTreeMap<String, Arc<Entry>>,
    /// Oldest first; of the same age, by name. The others are places in it.
    by_age: Vec<Arc<Entry>>,
    /// The oldest of each.
    by_identity: HashMap<SpiffeId, usize>,
    by_parent: HashMap<SpiffeId, Vec<usize>>,
    /// Those that name nodes: their parent is the server.
    of_nodes: Vec<usize>,
}

impl Index {
    fn new(by_name: BTreeMap<String, Arc<Entry>>) -> Self {
        let mut by_age: Vec<_> = by_name.values().map(Arc::clone).collect();
        by_age.sort_by_key(|entry| entry.created);
        let mut index = Self { by_name, ..Self::default() };
        for (place, entry) in by_age.iter().enumerate() {
            index.by_identity.entry(entry.spiffe_id.clone()).or_insert(place);
            index.by_parent.entry(entry.parent_id.clone()).or_default().push(place);
            if entry.parent_id.path() == "/spire/server" {
                index.of_nodes.push(place);
            }
        }
        index.by_age = by_age;
        index
    }

    fn at<'a>(&'a self, places: &'a [usize]) -> impl Iterator<Item = &'a Arc<Entry>> {
        places.iter().filter_map(|place| self.by_age.get(*place))
    }
}

impl Entries {
    /// An entry by its name.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<&Arc<Entry>> {
        self.0.by_name.get(id)
    }

    /// All entries, oldest first; of the same age, by name.
    #[must_use]
    pub fn all(&self) -> Vec<&Arc<Entry>> {
        self.0.by_age.iter().collect()
    }

    /// An entry for an identity, the oldest.
    #[must_use]
    pub fn of(&self, id: &SpiffeId) -> Option<&Arc<Entry>> {
        self.0.by_identity.get(id).and_then(|place| self.0.by_age.get(*place))
    }

    /// The entries that fit what was found of a workload, oldest first.
    #[must_use]
    pub fn matching(&self, found: &BTreeSet<Selector>, now: SystemTime) -> Vec<Arc<Entry>> {
        self.0.by_age.iter().filter(|entry| entry.matches(found, now)).map(Arc::clone).collect()
    }

    /// The entries of what may run on a node, by name: below its own ID, below the IDs that its selectors give it, and below
    /// those in turn.
    #[must_use]
    pub fn authorized(&self, node: &SpiffeId, found: &BTreeSet<Selector>, now: SystemTime) -> Vec<Arc<Entry>> {
        let aliases = self.0.at(&self.0.of_nodes).filter(|entry| entry.matches(found, now));
        let mut parents: Vec<&SpiffeId> = aliases.map(|entry| &entry.spiffe_id).collect();
        parents.push(node);
        let mut authorized: BTreeMap<&str, &Arc<Entry>> = BTreeMap::new();
        while let Some(parent) = parents.pop() {
            let below = self.0.by_parent.get(parent).map(Vec::as_slice).unwrap_or_default();
            for entry in self.0.at(below) {
                if entry.is_alive(now) && authorized.insert(&entry.id, entry).is_none() {
                    parents.push(&entry.spiffe_id);
                }
            }
        }
        authorized.into_values().map(Arc::clone).collect()
    }

    /// These entries with one added or replaced.
    #[must_use]
    pub fn with(&self, entry: Entry) -> Self {
        let mut all = self.0.by_name.clone();
        all.insert(entry.id.clone(), Arc::new(entry));
        Self(Arc::new(Index::new(all)))
    }

    /// These entries without one.
    #[must_use]
    pub fn without(&self, id: &str) -> Self {
        let mut all = self.0.by_name.clone();
        all.remove(id);
        Self(Arc::new(Index::new(all)))
    }
}

impl PartialEq for Entries {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.0.by_name == other.0.by_name
    }
}

impl Eq for Entries {}

impl FromIterator<Entry> for Entries {
    fn from_iter<I: IntoIterator<Item = Entry>>(entries: I) -> Self {
        let all = entries.into_iter().map(|entry| (entry.id.clone(), Arc::new(entry))).collect();
        Self(Arc::new(Index::new(all)))
    }
}

#[cfg(test)]
mod tests {
    use mesh_core::name::parse_spiffe_id;
    use proptest::prelude::*;

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

    proptest! {
        /// Against the definition, entry by entry.
        #[test]
        fn what_may_run_on_a_node_however_entries_hang_together(
            hanging in proptest::collection::vec((0_usize..8, 0_usize..9, any::<bool>(), 0_u64..3), 0..14),
            node in 0_usize..8,
        ) {
            let name = |number: usize| if number == 8 { id("/spire/server") } else { id(&format!("/{number}")) };
            let now = SystemTime::UNIX_EPOCH + Duration::from_secs(10);
            let all: Vec<Entry> = hanging.iter().enumerate().map(|(index, (own, parent, alive, created))| Entry {
                expires: (!alive).then_some(now),
                created: SystemTime::UNIX_EPOCH + Duration::from_secs(*created),
                ..Entry::new(&format!("{index:02}"), name(*own), name(*parent), selectors(&["unix:uid:1"]))
            }).collect();
            let mut reached: BTreeSet<SpiffeId> = [name(node)].into();
            reached.extend(all.iter().filter(|e| e.parent_id == name(8) && e.expires.is_none()).map(|e| e.spiffe_id.clone()));
            for _ in 0..all.len() {
                let more: Vec<_> = all.iter().filter(|e| e.expires.is_none() && reached.contains(&e.parent_id)).collect();
                reached.extend(more.into_iter().map(|entry| entry.spiffe_id.clone()));
            }
            let wanted: Vec<_> = all.iter().filter(|e| e.expires.is_none() && reached.contains(&e.parent_id)).collect();
            let entries: Entries = all.iter().cloned().collect();
            let found = selectors(&["unix:uid:1"]);
            let authorized = entries.authorized(&name(node), &found, now);
            prop_assert_eq!(authorized.iter().map(|entry| &**entry).collect::<Vec<_>>(), wanted);
            let mut by_age: Vec<_> = all.iter().collect();
            by_age.sort_by_key(|entry| (entry.created, entry.id.clone()));
            prop_assert_eq!(entries.all().into_iter().map(|entry| &**entry).collect::<Vec<_>>(), by_age.clone());
            let oldest = by_age.iter().find(|entry| entry.spiffe_id == name(node)).copied();
            prop_assert_eq!(entries.of(&name(node)).map(|entry| &**entry), oldest);
            if let Some(first) = all.first() {
                prop_assert_eq!(entries.without(&first.id).with(first.clone()), entries);
            }
        }
    }
}
