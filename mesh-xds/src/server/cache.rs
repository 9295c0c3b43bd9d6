use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use imbl::{HashMap, OrdMap, OrdSet, Vector};
use mesh_core::live::{Live, Publisher};
use tokio::time::Instant;
use twox_hash::XxHash3_64;

use super::publication::Followers;
use crate::limits::CHANGE_LOG;

/// One resource as it is served: encoded once, however many clients take it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// A hash of the body: the same on every replica and after every restart.
    pub version: Arc<str>,
    /// The encoded message.
    pub body: Bytes,
    /// Other names by which clients may ask for it.
    pub aliases: Arc<[String]>,
    /// Names whose subscribers are given this resource as well: a service brings its endpoints, a node its workloads.
    pub comes_with: Arc<[String]>,
    /// How long a client may use the resource without hearing of it again; `None`: for ever. The server says every third of
    /// that time that it lives on, so a client that lost the server drops the resource, and no other does. State-of-the-world
    /// clients are given it only when they say that they understand it (`xds.config.resource-in-sotw`).
    pub ttl: Option<Duration>,
}

impl Entry {
    /// An entry for an encoded message.
    #[must_use]
    pub fn new(body: impl Into<Bytes>, aliases: Vec<String>) -> Self {
        let body = body.into();
        let version = format!("{:016x}", XxHash3_64::oneshot(&body)).into();
        Self { version, body, aliases: aliases.into(), comes_with: Arc::from([]), ttl: None }
    }

    /// The same, given to the subscribers of other names as well.
    #[must_use]
    pub fn coming_with(mut self, names: Vec<String>) -> Self {
        self.comes_with = names.into();
        self
    }

    /// The same, to be dropped by clients that have not heard of it for so long.
    #[must_use]
    pub fn living_for(mut self, ttl: Duration) -> Self {
        // Part of the version: a client that has the content must still be told of another time.
        let content = format!("{} {}", self.version, ttl.as_nanos());
        self.version = format!("{:016x}", XxHash3_64::oneshot(content.as_bytes())).into();
        self.ttl = Some(ttl);
        self
    }
}

/// All resources of all types at one moment. Immutable and cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Snapshot {
    types: BTreeMap<Arc<str>, Arc<TypeSnapshot>>,
    /// The publication that made it, and when what it brought was taken; 0 is the empty one at the beginning.
    pub(super) publication: u64,
    pub(super) taken: Option<Instant>,
}

/// The resources of one type.
#[derive(Debug, Clone, Default)]
pub(super) struct TypeSnapshot {
    pub(super) entries: OrdMap<Arc<str>, Entry>,
    /// Resources by alias, and by the names with which they come: derived from `entries`.
    aliases: HashMap<Arc<str>, OrdSet<Arc<str>>>,
    companions: HashMap<Arc<str>, OrdSet<Arc<str>>>,
    /// Number of changes so far; the last ones are in the log.
    pub(super) changes: u64,
    log: Vector<Arc<str>>,
}

impl Snapshot {
    pub(super) fn of(&self, type_url: &str) -> Option<&TypeSnapshot> {
        self.types.get(type_url).map(Arc::as_ref)
    }

    /// The resources of a type, by name.
    pub fn entries(&self, type_url: &str) -> impl Iterator<Item = (&str, &Entry)> {
        let entries = self.of(type_url).into_iter().flat_map(|of_type| of_type.entries.iter());
        entries.map(|(name, entry)| (name.as_ref(), entry))
    }

    /// The types that are served.
    pub fn types(&self) -> impl Iterator<Item = &str> {
        self.types.keys().map(AsRef::as_ref)
    }
}

impl TypeSnapshot {
    /// Names changed since a number of changes; `None` when the log does not go back that far.
    pub(super) fn changed_since(&self, seen: u64) -> Option<impl Iterator<Item = &Arc<str>>> {
        let missed = usize::try_from(self.changes.checked_sub(seen)?).ok()?;
        let skipped = self.log.len().checked_sub(missed)?;
        Some(self.log.iter().skip(skipped))
    }

    /// The names of the resources that have an alias.
    pub(super) fn named(&self, alias: &str) -> impl Iterator<Item = &Arc<str>> {
        self.aliases.get(alias).into_iter().flatten()
    }

    /// The names of the resources that come with a name.
    pub(super) fn companions(&self, name: &str) -> impl Iterator<Item = &Arc<str>> {
        self.companions.get(name).into_iter().flatten()
    }

    fn put(&mut self, name: &Arc<str>, entry: Entry) {
        self.unindex(name);
        for (index, keys) in [(&mut self.aliases, &entry.aliases), (&mut self.companions, &entry.comes_with)] {
            for key in keys.iter() {
                index.entry(Arc::from(key.as_str())).or_default().insert(Arc::clone(name));
            }
        }
        self.entries.insert(Arc::clone(name), entry);
    }

    fn remove(&mut self, name: &str) -> bool {
        self.unindex(name);
        self.entries.remove(name).is_some()
    }

    fn unindex(&mut self, name: &str) {
        let Some(entry) = self.entries.get(name) else { return };
        for (index, keys) in [(&mut self.aliases, &entry.aliases), (&mut self.companions, &entry.comes_with)] {
            for key in keys.iter() {
                let Some(names) = index.get_mut(key.as_str()) else { continue };
                names.remove(name);
                if names.is_empty() {
                    index.remove(key.as_str());
                }
            }
        }
    }

    fn record(&mut self, name: Arc<str>) {
        self.changes += 1;
        self.log.push_back(name);
        while self.log.len() > CHANGE_LOG {
            self.log.pop_front();
        }
    }
}

/// What becomes of one resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// It is there, with this content.
    Put(String, Entry),
    /// It is gone.
    Remove(String),
}

/// The reading side of the cache. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Cache {
    live: Live<Snapshot>,
    pub(super) followers: Arc<Followers>,
}

impl Cache {
    /// An empty cache that serves these types, and its writing side.
    #[must_use]
    pub fn new(types: &[&str]) -> (CacheWriter, Self) {
        let types = types.iter().map(|url| (Arc::from(*url), Arc::default())).collect();
        let (publisher, live) = Publisher::new(Snapshot { types, ..Snapshot::default() });
        let followers = Arc::<Followers>::default();
        (CacheWriter { publisher, followers: Arc::clone(&followers) }, Self { live, followers })
    }

    /// The resources as they are now.
    #[must_use]
    pub fn live(&self) -> &Live<Snapshot> {
        &self.live
    }
}

/// The writing side of the cache.
#[derive(Debug)]
pub struct CacheWriter {
    publisher: Publisher<Snapshot>,
    followers: Arc<Followers>,
}

impl CacheWriter {
    /// A publication of a change that was taken at some time before: how long it takes to reach clients
    /// ([`Observe`](super::Observe)) is counted from then on.
    #[must_use]
    pub fn taken_at(&self, taken: Instant) -> Publication<'_> {
        Publication { writer: self, taken }
    }

    /// How many streams follow what is written here.
    #[must_use]
    pub fn followers(&self) -> usize {
        self.followers.count()
    }

    /// As [`Publication::apply`], for changes that are taken now.
    pub fn apply(&self, changes: impl IntoIterator<Item = (impl AsRef<str>, Change)>) -> usize {
        self.taken_at(Instant::now()).apply(changes)
    }

    /// As [`Publication::replace`], for changes that are taken now.
    pub fn replace<'a>(
        &self,
        types: impl IntoIterator<Item = (&'a str, impl IntoIterator<Item = (String, Entry)>)>,
    ) -> usize {
        self.taken_at(Instant::now()).replace(types)
    }
}

/// A change on its way into a cache.
#[derive(Debug)]
pub struct Publication<'a> {
    writer: &'a CacheWriter,
    taken: Instant,
}

impl Publication<'_> {
    /// Applies changes of several types at once. What is equal to what is there is no change and reaches no client. Gives
    /// the number of real changes.
    pub fn apply(&self, changes: impl IntoIterator<Item = (impl AsRef<str>, Change)>) -> usize {
        let CacheWriter { publisher, followers } = self.writer;
        let mut snapshot = Snapshot::clone(&publisher.live().load());
        let mut count = 0;
        for (type_url, change) in changes {
            let of_type = Arc::make_mut(snapshot.types.entry(Arc::from(type_url.as_ref())).or_default());
            match change {
                Change::Put(name, entry) => {
                    if of_type.entries.get(name.as_str()) != Some(&entry) {
                        let name: Arc<str> = name.into();
                        of_type.put(&name, entry);
                        of_type.record(name);
                        count += 1;
                    }
                }
                Change::Remove(name) => {
                    if of_type.remove(&name) {
                        of_type.record(name.into());
                        count += 1;
                    }
                }
            }
        }
        if count > 0 {
            snapshot.publication = followers.publish(self.taken);
            snapshot.taken = Some(self.taken);
            publisher.publish(snapshot);
        }
        count
    }

    /// Makes the resources of several types exactly these, at once: no client sees one type changed and another not yet.
    /// Gives the number of real changes.
    pub fn replace<'a>(
        &self,
        types: impl IntoIterator<Item = (&'a str, impl IntoIterator<Item = (String, Entry)>)>,
    ) -> usize {
        let current = self.writer.publisher.live().snapshot();
        let mut changes = Vec::new();
        for (type_url, all) in types {
            let all: BTreeMap<String, Entry> = all.into_iter().collect();
            let gone = current.entries(type_url).filter(|(name, _)| !all.contains_key(*name));
            changes.extend(gone.map(|(name, _)| (type_url, Change::Remove(name.to_owned()))));
            changes.extend(all.into_iter().map(|(name, entry)| (type_url, Change::Put(name, entry))));
        }
        self.apply(changes)
    }
}
