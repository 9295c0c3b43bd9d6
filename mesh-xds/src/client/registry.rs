//! What is watched and what is known of it: shared between those who watch and the one who applies what servers say.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use imbl::OrdMap;
use mesh_core::live::{Live, Publisher};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::handler::Wish;
use super::known::{AnyValue, Known, OnDataError, Refused, WatchError};
use super::machine::{Interest, Rejected, Update};
use crate::pb::discovery::Resource as Wire;
use crate::resource::Resource;

/// All resources of a type, by name.
pub(super) type AllValues = OrdMap<Arc<str>, AnyValue>;

#[derive(Debug)]
struct Slot {
    known: Publisher<Known>,
    watchers: usize,
}

type Decode = fn(&[u8]) -> Result<(String, AnyValue, Vec<String>), String>;

/// One type.
#[derive(Debug)]
struct OfType {
    type_url: &'static str,
    decode: Decode,
    may_be_kept: bool,
    slots: HashMap<String, Slot>,
    /// Who watches all of it.
    all: Option<Publisher<AllValues>>,
    all_watchers: usize,
}

#[derive(Debug, Default)]
struct State {
    types: BTreeMap<&'static str, OfType>,
    wishes: Vec<Wish>,
    /// Why no server can be reached, if none can.
    cut_off: Option<String>,
}

/// What is watched at one list of servers. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Registry {
    state: Arc<Mutex<State>>,
    news: Arc<Notify>,
    on_error: OnDataError,
    now: fn() -> SystemTime,
}

/// What an update makes to be kept: type, resource, and of which nothing is kept any more.
pub(super) struct Outcome {
    pub(super) rejected: Vec<Rejected>,
    pub(super) keep: Option<&'static str>,
}

impl Registry {
    pub(super) fn new(on_error: OnDataError, now: fn() -> SystemTime) -> Self {
        Self { state: Arc::default(), news: Arc::default(), on_error, now }
    }

    pub(super) fn now(&self) -> SystemTime {
        (self.now)()
    }

    /// Begins to watch a resource; every call is to be ended by [`Registry::leave`].
    pub(super) fn watch<T: Resource>(&self, name: &str) -> Live<Known> {
        let mut state = self.state.lock();
        let error = state.cut_off.clone().map(|reason| Arc::new(WatchError::Unreachable(reason)));
        let of_type = state.of::<T>();
        let live = match of_type.slots.get_mut(name) {
            Some(slot) => {
                slot.watchers += 1;
                return slot.known.live();
            }
            None => {
                let (known, live) = Publisher::new(Known { error, ..Known::default() });
                of_type.slots.insert(name.to_owned(), Slot { known, watchers: 1 });
                live
            }
        };
        state.wishes.push(Wish::Subscribe(T::TYPE_URL, vec![name.to_owned()]));
        drop(state);
        self.news.notify_one();
        live
    }

    /// A watcher of a resource is gone.
    pub(super) fn leave(&self, type_url: &'static str, name: &str) {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        let Some(of_type) = state.types.get_mut(type_url) else { return };
        let Some(slot) = of_type.slots.get_mut(name) else { return };
        slot.watchers -= 1;
        if slot.watchers == 0 {
            of_type.slots.remove(name);
            state.wishes.push(Wish::Unsubscribe(type_url, vec![name.to_owned()]));
            drop(guard);
            self.news.notify_one();
        }
    }

    /// Begins to watch all resources of a type; every call is to be ended by [`Registry::leave_all`].
    pub(super) fn watch_all<T: Resource>(&self) -> Live<AllValues> {
        let mut state = self.state.lock();
        let of_type = state.of::<T>();
        of_type.all_watchers += 1;
        if let Some(all) = &of_type.all {
            return all.live();
        }
        // What is watched by name already is held, and is not sent again.
        let held = of_type
            .slots
            .iter()
            .filter_map(|(name, slot)| Some((Arc::from(name.as_str()), slot.known.live().load().value.clone()?)));
        let (all, live) = Publisher::new(held.collect());
        of_type.all = Some(all);
        state.wishes.push(Wish::Want(T::TYPE_URL, Interest::All));
        drop(state);
        self.news.notify_one();
        live
    }

    pub(super) fn leave_all(&self, type_url: &'static str) {
        let mut guard = self.state.lock();
        let state = &mut *guard;
        let Some(of_type) = state.types.get_mut(type_url) else { return };
        of_type.all_watchers -= 1;
        if of_type.all_watchers == 0 {
            of_type.all = None;
            state.wishes.push(Wish::Want(type_url, Interest::Named));
            drop(guard);
            self.news.notify_one();
        }
    }

    pub(super) fn wishes(&self) -> Vec<Wish> {
        std::mem::take(&mut self.state.lock().wishes)
    }

    pub(super) async fn news(&self) {
        self.news.notified().await;
    }

    /// Applies what a server says. Gives what is rejected of it, and the type if it may be kept on disk.
    pub(super) fn apply(&self, update: &Update) -> Outcome {
        let mut state = self.state.lock();
        let Some(of_type) = state.types.get_mut(update.type_url.as_str()) else {
            return Outcome { rejected: Vec::new(), keep: None };
        };
        let mut all = of_type.all.as_ref().map(|all| AllValues::clone(&all.live().load()));
        for name in &update.removed {
            of_type.fault(name, WatchError::NotFound, self.on_error, &mut all);
        }
        for (name, status) in &update.errors {
            let error = WatchError::Server { code: status.code, message: status.message.clone() };
            of_type.fault(name, error, self.on_error, &mut all);
        }
        let mut rejected = Vec::new();
        for resource in &update.upserts {
            if let Err(reason) = of_type.take(resource, (self.now)(), &mut all) {
                of_type.refuse(resource, &reason, (self.now)());
                of_type.fault(&resource.name, WatchError::Rejected(reason.clone()), self.on_error, &mut all);
                rejected.push(Rejected { name: resource.name.clone(), reason });
            }
        }
        if let (Some(publisher), Some(all)) = (&of_type.all, all)
            && !all.ptr_eq(&publisher.live().load())
        {
            publisher.publish(all);
        }
        Outcome { rejected, keep: of_type.may_be_kept.then_some(of_type.type_url) }
    }

    /// Takes a resource from disk: it is used until a server says otherwise.
    pub(super) fn restore(&self, type_url: &str, resource: &Wire, since: SystemTime) {
        let mut state = self.state.lock();
        let Some(of_type) = state.types.get_mut(type_url) else { return };
        let mut all = of_type.all.as_ref().map(|all| AllValues::clone(&all.live().load()));
        match of_type.take(resource, since, &mut all) {
            Ok(()) => of_type.note(&resource.name, Some(WatchError::Stale(since))),
            Err(error) => tracing::warn!(name = resource.name, error, "resource on disk is not used"),
        }
        if let (Some(publisher), Some(all)) = (&of_type.all, all) {
            publisher.publish(all);
        }
    }

    /// Nothing was heard of resources in time.
    pub(super) fn missing(&self, type_url: &str, names: &[String], transient: bool) {
        let mut state = self.state.lock();
        let Some(of_type) = state.types.get_mut(type_url) else { return };
        for name in names {
            let error = if transient { WatchError::Silence } else { WatchError::NotFound };
            of_type.note(name, Some(error));
        }
    }

    /// No server can be reached, or one can again: said of every resource, whose value stays.
    pub(super) fn reached(&self, error: Option<&str>) {
        let mut state = self.state.lock();
        if state.cut_off.is_some() == error.is_some() {
            return;
        }
        state.cut_off = error.map(str::to_owned);
        for slot in state.types.values().flat_map(|of_type| of_type.slots.values()) {
            let known = slot.known.live().snapshot();
            match (error, known.error.as_deref()) {
                // What is known of the resource itself says more.
                (Some(reason), None) => slot.note(Some(WatchError::Unreachable(reason.to_owned()))),
                (None, Some(WatchError::Unreachable(_))) => slot.note(None),
                _ => {}
            }
        }
    }

    /// Whether somebody watches a resource.
    pub(super) fn is_watched(&self, type_url: &str, name: &str) -> bool {
        let state = self.state.lock();
        state.types.get(type_url).is_some_and(|of_type| of_type.all.is_some() || of_type.slots.contains_key(name))
    }

    /// All that is watched by name: type, name, and what is known.
    pub(super) fn dump(&self) -> Vec<(&'static str, String, Arc<Known>)> {
        let state = self.state.lock();
        let slots = state.types.values().flat_map(|of_type| {
            of_type.slots.iter().map(|(name, slot)| (of_type.type_url, name.clone(), slot.known.live().snapshot()))
        });
        slots.collect()
    }
}

impl State {
    fn of<T: Resource>(&mut self) -> &mut OfType {
        self.types.entry(T::TYPE_URL).or_insert_with(|| OfType {
            type_url: T::TYPE_URL,
            decode: decode::<T>,
            may_be_kept: T::MAY_BE_KEPT,
            slots: HashMap::new(),
            all: None,
            all_watchers: 0,
        })
    }
}

fn decode<T: Resource>(bytes: &[u8]) -> Result<(String, AnyValue, Vec<String>), String> {
    let read = T::decode(bytes).map_err(|error| mesh_core::report::chain(&*error))?;
    let warnings = read.warnings.iter().map(ToString::to_string).collect();
    Ok((read.name, Arc::new(read.value), warnings))
}

impl Slot {
    /// Publishes another error beside the value.
    fn note(&self, error: Option<WatchError>) {
        let known = self.known.live().snapshot();
        if known.error.as_deref() != error.as_ref() {
            self.known.publish(Known { error: error.map(Arc::new), ..Known::clone(&known) });
        }
    }
}

impl OfType {
    /// Takes a resource as a server sends it.
    fn take(&mut self, resource: &Wire, now: SystemTime, all: &mut Option<AllValues>) -> Result<(), String> {
        let body = resource.resource.as_ref().ok_or("there is no resource")?;
        if body.type_url != self.type_url {
            return Err(format!("type `{}` where another was expected", body.type_url));
        }
        let names = || std::iter::once(&resource.name).chain(&resource.aliases);
        // What is held already in the same bytes needs no second reading.
        let known = names().find_map(|name| self.slots.get(name)).map(|slot| slot.known.live().snapshot());
        let same = known.filter(|known| known.value.is_some() && known.body == body.value.as_slice());
        let (value, warnings, bytes) = match same {
            Some(known) => match &known.value {
                Some(value) => (Arc::clone(value), Arc::clone(&known.warnings), known.body.clone()),
                None => return Ok(()),
            },
            None => {
                let (name, value, warnings) = (self.decode)(&body.value)?;
                if name != resource.name {
                    return Err(format!("the resource is named `{}`, its content says `{name}`", resource.name));
                }
                for warning in &warnings {
                    tracing::warn!(type_url = self.type_url, name, warning, "a part of a resource has no effect");
                }
                (value, warnings.into(), Bytes::copy_from_slice(&body.value))
            }
        };
        for slot in names().filter_map(|name| self.slots.get(name)) {
            let before = slot.known.live().snapshot();
            let version = resource.version.as_str();
            if before.error.is_none() && *before.version == *version && before.body == bytes && before.value.is_some() {
                continue;
            }
            slot.known.publish(Known {
                value: Some(Arc::clone(&value)),
                error: None,
                version: version.into(),
                body: bytes.clone(),
                received: Some(now),
                refused: None,
                warnings: Arc::clone(&warnings),
            });
        }
        if let Some(all) = all {
            let there = all.get(resource.name.as_str()).is_some_and(|there| Arc::ptr_eq(there, &value));
            if !there {
                all.insert(resource.name.as_str().into(), value);
            }
        }
        Ok(())
    }

    fn refuse(&self, resource: &Wire, reason: &str, at: SystemTime) {
        let Some(slot) = self.slots.get(&resource.name) else { return };
        let known = slot.known.live().snapshot();
        let body = resource.resource.as_ref().map(|body| Bytes::copy_from_slice(&body.value)).unwrap_or_default();
        let refused = Refused { version: resource.version.clone(), at, body };
        tracing::debug!(name = resource.name, reason, "a resource is rejected");
        slot.known.publish(Known { refused: Some(Arc::new(refused)), ..Known::clone(&known) });
    }

    /// Something was said against a resource: its value is gone, or stays beside the error.
    fn fault(&self, name: &str, error: WatchError, on_error: OnDataError, all: &mut Option<AllValues>) {
        let drops = on_error.drops(&error);
        if let Some(all) = all
            && drops
        {
            all.remove(name);
        }
        let Some(slot) = self.slots.get(name) else { return };
        if !drops {
            return slot.note(Some(error));
        }
        let known = slot.known.live().snapshot();
        if known.value.is_some() || known.error.as_deref() != Some(&error) {
            let refused = known.refused.clone();
            slot.known.publish(Known { error: Some(Arc::new(error)), refused, ..Known::default() });
        }
    }

    fn note(&self, name: &str, error: Option<WatchError>) {
        if let Some(slot) = self.slots.get(name) {
            slot.note(error);
        }
    }
}
