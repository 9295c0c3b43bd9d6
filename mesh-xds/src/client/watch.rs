use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::future::join_all;
use mesh_core::live::{Changes, Closed, Live, Publisher};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::backoff::Backoff;
use super::fallback::{Fallback, Ladder};
use super::handler::{Event, Handler, Wish};
use super::keep::{self, Kept};
use super::known::{Known, OnDataError, WatchError};
use super::machine::{Machine, Rejected, ServerTraits, Update};
use super::persist::{self, Snapshot};
use super::registry::{AllValues, Registry};
use super::stream::run;
use super::transport::Connect;
use crate::pb::discovery::Resource as Wire;
use crate::pb::{Any, Node};
use crate::resource::{Resource, ResourceName};

/// How long what is on disk and watched by nobody is kept after a start: those who want it may come a little later.
const UNCLAIMED: Duration = Duration::from_secs(60);

/// Servers that know the same resources, in the order in which they are preferred.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Group {
    /// The servers.
    pub servers: Vec<ServerTraits>,
    /// When the next one is asked.
    pub fallback: Fallback,
    /// What becomes of a value when a server says something against it.
    pub on_data_error: OnDataError,
    /// Pauses between streams.
    pub backoff: Backoff,
    /// Where the last good state is kept; nowhere by default.
    pub file: Option<PathBuf>,
}

impl Group {
    /// Servers, in the order in which they are preferred.
    #[must_use]
    pub fn new(servers: Vec<ServerTraits>) -> Self {
        Self {
            servers,
            fallback: Fallback::default(),
            on_data_error: OnDataError::default(),
            backoff: Backoff::default(),
            file: None,
        }
    }

    /// Keeps the last good state in a file, and starts from it.
    #[must_use]
    pub fn file(mut self, file: PathBuf) -> Self {
        self.file = Some(file);
        self
    }
}

/// Watches resources at one or several groups of servers. Cheap to clone.
///
/// A name that says its authority is asked for at the servers of that authority, every other at the default ones.
#[derive(Debug, Clone)]
pub struct Client {
    registries: Arc<[Registry]>,
    authorities: Arc<BTreeMap<String, usize>>,
}

/// Speaks with the servers for a [`Client`].
#[derive(Debug)]
pub struct Driver {
    groups: Vec<Running>,
}

#[derive(Debug)]
struct Running {
    machine: Machine,
    ladder: Ladder,
    applier: Applier,
}

impl Client {
    /// A client for a node, and what speaks with the servers for it. The first group is the default; `authorities` says
    /// by index which group answers for the names of an authority. `now` reads the wall time.
    #[must_use]
    pub fn new(
        node: &Node,
        groups: Vec<Group>,
        authorities: BTreeMap<String, usize>,
        now: fn() -> SystemTime,
    ) -> (Self, Driver) {
        let mut running = Vec::new();
        for group in groups {
            let registry = Registry::new(group.on_data_error, now);
            let kept = Kept::new(&node.id, &group.servers, &[], group.file.is_some());
            let loaded = group.file.as_deref().and_then(|file| persist::load(file, &node.id));
            let ladder = Ladder::new(group.servers.len(), group.fallback, &group.backoff);
            let machine = Machine::new(node.clone(), group.servers);
            let names: Vec<String> = machine.servers().iter().map(|server| server.name.clone()).collect();
            let applier =
                Applier { registry, kept, loaded, names, file: group.file, writer: None, started: Instant::now() };
            running.push(Running { machine, ladder, applier });
        }
        let registries = running.iter().map(|running| running.applier.registry.clone()).collect();
        (Self { registries, authorities: Arc::new(authorities) }, Driver { groups: running })
    }

    /// Watches a resource by name, as long as the watch lives.
    #[must_use]
    pub fn watch<T: Resource>(&self, name: &str) -> Watch<T> {
        let found = self.registry(name, T::TYPE_URL);
        let (known, ticket) = match found {
            Ok((registry, name)) => {
                let known = registry.watch::<T>(&name);
                (known, Some(Ticket { registry: registry.clone(), type_url: T::TYPE_URL, name: Some(name) }))
            }
            Err(error) => (Live::constant(Known { error: Some(Arc::new(error)), ..Known::default() }), None),
        };
        Watch { changes: known.changes(), known, _ticket: ticket, of: PhantomData }
    }

    /// Watches all resources of a type at the default servers, as long as the watch lives.
    #[must_use]
    pub fn watch_all<T: Resource>(&self) -> WatchAll<T> {
        let found = self.registries.first();
        let known = found.map_or_else(|| Live::constant(AllValues::new()), Registry::watch_all::<T>);
        let ticket = found.map(|registry| Ticket { registry: registry.clone(), type_url: T::TYPE_URL, name: None });
        WatchAll { changes: known.changes(), known, _ticket: ticket, of: PhantomData }
    }

    /// All that is watched by name, and what is known of it.
    pub(super) fn registries(&self) -> &[Registry] {
        &self.registries
    }

    fn registry(&self, name: &str, type_url: &str) -> Result<(&Registry, String), WatchError> {
        let name = ResourceName::of_type(name, type_url)?;
        let unknown = || WatchError::Authority(name.authority().unwrap_or_default().to_owned());
        let index = match name.authority() {
            None => 0,
            Some(authority) => *self.authorities.get(authority).ok_or_else(unknown)?,
        };
        Ok((self.registries.get(index).ok_or_else(unknown)?, name.to_string()))
    }
}

impl Driver {
    /// Speaks with the servers until cancelled: for each group one connect a server, in their order. Whatever becomes of the
    /// servers, the last good state stays in use.
    ///
    /// # Cancel safety
    /// Dropping the future ends the streams; a state not yet written is lost with it, the one before is not.
    pub async fn run<C: Connect>(self, connects: Vec<Vec<C>>, cancel: CancellationToken) {
        let groups = self.groups.into_iter().zip(connects).map(|(running, connects)| {
            let Running { machine, ladder, mut applier } = running;
            let cancel = cancel.clone();
            async move {
                let Some(file) = applier.file.clone() else {
                    return run(connects, machine, ladder, &mut applier, cancel).await;
                };
                let (publisher, states) = Publisher::new(None);
                applier.writer = Some(publisher);
                // The writer ends after the client, when nobody publishes any more, so that the last state reaches the disk.
                let client = async move { run(connects, machine, ladder, &mut applier, cancel).await };
                tokio::join!(client, keep::write(states, file));
            }
        });
        join_all(groups).await;
    }
}

/// Ends a watch when it is dropped.
#[derive(Debug)]
struct Ticket {
    registry: Registry,
    type_url: &'static str,
    /// Of all resources, when there is none.
    name: Option<String>,
}

impl Drop for Ticket {
    fn drop(&mut self) {
        match &self.name {
            Some(name) => self.registry.leave(self.type_url, name),
            None => self.registry.leave_all(self.type_url),
        }
    }
}

/// A resource that is watched: its value as it is now, and what is wrong with it.
///
/// | value | error | meaning |
/// | --- | --- | --- |
/// | no | no | nothing was heard of it yet |
/// | yes | no | it is as the server says |
/// | yes | yes | use it; the error says why it may not be the newest |
/// | no | yes | there is none to use |
#[derive(Debug)]
pub struct Watch<T> {
    known: Live<Known>,
    changes: Changes<Known>,
    _ticket: Option<Ticket>,
    of: PhantomData<fn() -> T>,
}

impl<T: Resource> Watch<T> {
    /// The value to use.
    #[must_use]
    pub fn value(&self) -> Option<Arc<T>> {
        self.state().0
    }

    /// What is wrong.
    #[must_use]
    pub fn error(&self) -> Option<Arc<WatchError>> {
        self.state().1
    }

    /// The value to use and what is wrong, of one moment.
    #[must_use]
    pub fn state(&self) -> (Option<Arc<T>>, Option<Arc<WatchError>>) {
        let known = self.known.load();
        (known.value.clone().and_then(|value| value.downcast().ok()), known.error.clone())
    }

    /// Waits for the next change of either.
    ///
    /// # Errors
    /// [`Closed`]: the client is gone, and there will be no change.
    ///
    /// # Cancel safety
    /// Safe: a change is not lost.
    pub async fn changed(&mut self) -> Result<(), Closed> {
        self.changes.changed().await.map(|_| ())
    }
}

/// All resources of a type.
#[derive(Debug)]
pub struct WatchAll<T> {
    known: Live<AllValues>,
    changes: Changes<AllValues>,
    _ticket: Option<Ticket>,
    of: PhantomData<fn() -> T>,
}

impl<T: Resource> WatchAll<T> {
    /// The resources as they are now, by name.
    #[must_use]
    pub fn values(&self) -> BTreeMap<Arc<str>, Arc<T>> {
        let known = self.known.snapshot();
        let values = known.iter().map(|(name, value)| (Arc::clone(name), Arc::clone(value)));
        values.filter_map(|(name, value)| Some((name, value.downcast().ok()?))).collect()
    }

    /// Waits for the next change.
    ///
    /// # Errors
    /// [`Closed`]: the client is gone, and there will be no change.
    ///
    /// # Cancel safety
    /// Safe: a change is not lost.
    pub async fn changed(&mut self) -> Result<(), Closed> {
        self.changes.changed().await.map(|_| ())
    }
}

/// Applies what servers say to what is watched, and keeps it.
#[derive(Debug)]
struct Applier {
    registry: Registry,
    kept: Kept,
    /// What was on disk and is not claimed yet.
    loaded: Option<Snapshot>,
    names: Vec<String>,
    file: Option<PathBuf>,
    writer: Option<Publisher<Option<Kept>>>,
    started: Instant,
}

impl Applier {
    /// What is on disk of what is wanted now: used until a server says otherwise.
    fn claim(&mut self, type_url: &'static str, wanted: impl Fn(&str) -> bool) -> Vec<Wish> {
        let Some(loaded) = &mut self.loaded else { return Vec::new() };
        let (since, now) = (loaded.written_at(), self.registry.now());
        let Some(of_type) = loaded.types.iter_mut().find(|of_type| of_type.type_url == type_url) else {
            return Vec::new();
        };
        let (claimed, left) = std::mem::take(&mut of_type.resources).into_iter().partition(|entry| wanted(&entry.name));
        of_type.resources = left;
        let claimed: Vec<persist::Entry> = claimed;
        let mut wishes = Vec::new();
        for entry in claimed {
            let left = entry.left(now);
            if left.is_some_and(|left| left.is_zero()) {
                continue;
            }
            let server = loaded.server_of(&entry, self.names.iter().map(String::as_str));
            self.kept.learn(type_url);
            self.kept.restore(type_url, &entry, server);
            let body = Some(Any { type_url: type_url.to_owned(), value: entry.body.to_vec() });
            let resource =
                Wire { name: entry.name.clone(), version: entry.version.clone(), resource: body, ..Wire::default() };
            self.registry.restore(type_url, &resource, since);
            wishes.push(Wish::Hold { type_url, name: entry.name, version: entry.version, server, left });
        }
        wishes
    }
}

impl Handler for Applier {
    fn apply(&mut self, update: &Update) -> Vec<Rejected> {
        let outcome = self.registry.apply(update);
        if let Some(type_url) = outcome.keep {
            self.kept.learn(type_url);
            for name in &update.removed {
                self.kept.remove(type_url, name);
            }
            for resource in &update.upserts {
                if outcome.rejected.iter().all(|rejected| rejected.name != resource.name) {
                    self.kept.insert(type_url, resource, update.server, self.registry.now());
                }
            }
        }
        outcome.rejected
    }

    fn missing(&mut self, type_url: &str, names: &[String], transient: bool) {
        self.registry.missing(type_url, names, transient);
    }

    fn wishes(&mut self) -> Vec<Wish> {
        let mut wishes = Vec::new();
        for wish in self.registry.wishes() {
            match &wish {
                Wish::Subscribe(type_url, names) => {
                    wishes.extend(self.claim(type_url, |name| names.iter().any(|one| one == name)))
                }
                Wish::Want(type_url, super::machine::Interest::All) => wishes.extend(self.claim(type_url, |_| true)),
                Wish::Unsubscribe(type_url, names) => {
                    names
                        .iter()
                        .filter(|name| !self.registry.is_watched(type_url, name))
                        .for_each(|name| self.kept.remove(type_url, name));
                }
                _ => {}
            }
            wishes.push(wish);
        }
        wishes
    }

    async fn news(&self) {
        self.registry.news().await;
    }

    fn observe(&mut self, machine: &Machine, event: Event<'_>) {
        match event {
            Event::Answered { .. } => self.registry.reached(None),
            Event::Ended { cut_off: true, error, .. } => self.registry.reached(Some(error)),
            Event::Ended { .. } => {}
        }
        if let (Event::Answered { .. }, Some(writer)) = (event, &self.writer)
            && machine.is_complete()
        {
            if self.started.elapsed() > UNCLAIMED {
                self.loaded = None;
            }
            // What may still be claimed must not be lost by another start.
            let state = self.kept.at(self.registry.now());
            writer.publish(Some(match &self.loaded {
                Some(loaded) => state.joined_by(loaded, &self.names),
                None => state,
            }));
        }
    }
}
