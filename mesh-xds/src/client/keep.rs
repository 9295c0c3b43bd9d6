//! The resources that a client has accepted, and their way to the disk: one more change costs the same in a small mesh and in a
//! large one, and the file is rewritten for a small share of the time only.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use imbl::OrdMap;
use mesh_core::live::Live;
use tokio::time::Instant;

use super::machine::ServerTraits;
use super::persist::{self, Entry, Snapshot, TypeSnapshot};
use crate::pb::discovery::Resource;

/// Quiet time after an update before the state is written, so that a burst costs one write.
const QUIET: Duration = Duration::from_millis(200);

/// How long updates that never cease may delay a write.
const LATEST: Duration = Duration::from_secs(5);

/// Pause after a write, in times of what it took: a large state is not written all the time.
const REST: u32 = 20;

/// What was accepted, as it was received, so that fields unknown to this release survive. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Kept {
    node: Arc<str>,
    servers: Arc<[String]>,
    types: BTreeMap<String, OrdMap<Arc<str>, Accepted>>,
    /// Whether the bodies will be wanted.
    whole: bool,
    changed: SystemTime,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Accepted {
    version: Arc<str>,
    body: Bytes,
    server: Option<u32>,
    expires_ms: u64,
}

impl Kept {
    /// Nothing yet, of these types. `whole`: for the disk; otherwise only names and versions are held.
    pub(crate) fn new(node: &str, servers: &[ServerTraits], types: &[&str], whole: bool) -> Self {
        let types = types.iter().map(|url| ((*url).to_owned(), OrdMap::new())).collect();
        let servers = servers.iter().map(|server| server.name.clone()).collect();
        Self { node: node.into(), servers, types, whole, changed: SystemTime::UNIX_EPOCH }
    }

    /// Keeps this type as well.
    pub(crate) fn learn(&mut self, type_url: &str) {
        if !self.knows(type_url) {
            self.types.insert(type_url.to_owned(), OrdMap::new());
        }
    }

    /// The same, and what was on disk and is not claimed yet.
    pub(crate) fn joined_by(&self, loaded: &Snapshot, servers: &[String]) -> Self {
        let mut joined = self.clone();
        for of_type in &loaded.types {
            joined.learn(&of_type.type_url);
            for entry in &of_type.resources {
                if !joined.contains(&of_type.type_url, &entry.name) {
                    let server = loaded.server_of(entry, servers.iter().map(String::as_str));
                    joined.restore(&of_type.type_url, entry, server);
                }
            }
        }
        joined
    }

    /// Whether a type is one of those kept.
    pub(crate) fn knows(&self, type_url: &str) -> bool {
        self.types.contains_key(type_url)
    }

    pub(crate) fn contains(&self, type_url: &str, name: &str) -> bool {
        self.types.get(type_url).is_some_and(|of_type| of_type.contains_key(name))
    }

    /// Takes a resource that a server sent just now.
    pub(crate) fn insert(&mut self, type_url: &str, resource: &Resource, server: Option<usize>, now: SystemTime) {
        let body = resource.resource.as_ref().map(|body| body.value.as_slice()).unwrap_or_default();
        let ttl = resource.ttl.as_ref().and_then(|ttl| u64::try_from(ttl.seconds).ok()).map(Duration::from_secs);
        let expires_ms = ttl.and_then(|ttl| now.checked_add(ttl)).map(persist::millis).unwrap_or_default();
        self.put(type_url, &resource.name, &resource.version, body, server, expires_ms);
    }

    /// Takes back what was kept.
    pub(crate) fn restore(&mut self, type_url: &str, entry: &Entry, server: Option<usize>) {
        self.put(type_url, &entry.name, &entry.version, &entry.body, server, entry.expires_ms);
    }

    fn put(&mut self, type_url: &str, name: &str, version: &str, body: &[u8], server: Option<usize>, expires_ms: u64) {
        let body = if self.whole { Bytes::copy_from_slice(body) } else { Bytes::new() };
        let server = server.and_then(|server| u32::try_from(server).ok());
        if let Some(of_type) = self.types.get_mut(type_url) {
            of_type.insert(name.into(), Accepted { version: version.into(), body, server, expires_ms });
        }
    }

    pub(crate) fn remove(&mut self, type_url: &str, name: &str) {
        if let Some(of_type) = self.types.get_mut(type_url) {
            of_type.remove(name);
        }
    }

    /// The same, confirmed by a server at this time.
    pub(crate) fn at(&self, now: SystemTime) -> Self {
        Self { changed: now, ..self.clone() }
    }

    fn snapshot(&self) -> Snapshot {
        let entry = |(name, accepted): (&Arc<str>, &Accepted)| Entry {
            name: name.as_ref().to_owned(),
            version: accepted.version.as_ref().to_owned(),
            body: accepted.body.clone(),
            // A place that no server has, when it is not known.
            server: accepted.server.unwrap_or(u32::MAX),
            expires_ms: accepted.expires_ms,
        };
        let types = self.types.iter().map(|(url, resources)| TypeSnapshot {
            type_url: url.clone(),
            resources: resources.iter().map(entry).collect(),
        });
        Snapshot {
            node: self.node.as_ref().to_owned(),
            written_ms: persist::millis(self.changed),
            types: types.collect(),
            servers: self.servers.to_vec(),
        }
    }
}

/// Writes the newest state until nobody publishes any more; the last one in any case.
pub(crate) async fn write(states: Live<Option<Kept>>, file: PathBuf) {
    let mut changes = states.changes();
    let mut rested = Instant::now();
    while changes.changed().await.is_ok() {
        let began = Instant::now();
        let latest = (began + LATEST).max(rested);
        loop {
            let now = Instant::now();
            let due = (now + QUIET).max(rested).min(latest);
            match tokio::time::timeout_at(due, changes.changed()).await {
                Ok(Ok(_)) if now < latest => {}
                _ => break,
            }
        }
        let (state, file, began) = (states.snapshot(), file.clone(), Instant::now());
        let written = tokio::task::spawn_blocking(move || match &*state {
            Some(state) => persist::write(&file, &state.snapshot()),
            None => Ok(()),
        });
        match written.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "state not kept on disk"),
            Err(error) => tracing::warn!(%error, "state not kept on disk"),
        }
        rested = Instant::now() + began.elapsed() * REST;
    }
}

#[cfg(test)]
mod tests {
    use mesh_core::live::Publisher;

    use super::*;

    fn kept(version: &str) -> Kept {
        let mut kept = Kept::new("n", &[], &["t"], true);
        kept.put("t", "a", version, b"body", None, 0);
        kept
    }

    fn version(file: &std::path::Path) -> Option<String> {
        Some(persist::load(file, "n")?.types.first()?.resources.first()?.version.clone())
    }

    #[tokio::test(start_paused = true)]
    async fn changes_that_never_cease_are_written_all_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("state");
        let (publisher, states) = Publisher::new(None);
        let seen = file.clone();
        let client = async move {
            for version in 0..80 {
                publisher.publish(Some(kept(&version.to_string())));
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            let early: u32 = version(&seen).expect("it was written while changes went on").parse().unwrap();
            assert!(early < 79, "{early}");
            drop(publisher);
        };
        tokio::join!(client, write(states, file.clone()));
        assert_eq!(version(&file).as_deref(), Some("79"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_is_one_write_and_the_last_state_is_never_lost() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("state");
        let (publisher, states) = Publisher::new(None);
        let seen = file.clone();
        let client = async move {
            for version in 0..10 {
                publisher.publish(Some(kept(&version.to_string())));
                tokio::task::yield_now().await;
            }
            assert_eq!(version(&seen), None);
            drop(publisher);
        };
        tokio::join!(client, write(states, file.clone()));
        assert_eq!(version(&file).as_deref(), Some("9"));
    }
}
