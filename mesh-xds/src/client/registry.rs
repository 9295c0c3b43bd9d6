//! What is watched and what is known of it: shared between those who watch and the one who applies what servers say.

use std::any::Any;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use imbl::OrdMap;
use mesh_core::live::{Live, Publisher};
use parking_lot::Mutex;
use tokio::sync::Notify;

use super::machine::{Interest, Rejected, Update};
use super::stream::Wish;
use crate::pb::discovery::Resource as Wire;
use crate::resource::Resource;

/// Why a resource is not as it is wanted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WatchError {
    /// The name itself is none.
    #[error("{0}")]
    Name(#[from] crate::resource::NameError),
    /// No servers are known for the authority of the name.
    #[error("no servers are known for the authority `{0}`")]
    Authority(String),
    /// What the server sent cannot be used.
    #[error("rejected: {0}")]
    Rejected(String),
    /// The server says that it does not exist, or nothing was heard of it in time.
    #[error("does not exist")]
    NotFound,
    /// The server has trouble with this resource.
    #[error("the server has an error with it: {message} (code {code})")]
    Server {
        /// The gRPC code.
        code: i32,
        /// What it says.
        message: String,
    },
    /// Nothing was heard of it in time, by a server that has trouble with itself.
    #[error("nothing was heard of it in time")]
    Silence,
    /// No server can be reached.
    #[error("no server can be reached: {0}")]
    Unreachable(String),
    /// It is the last good one from disk; no server has confirmed it yet.
    #[error("not confirmed by a server since {0:?}")]
    Stale(SystemTime),
}

impl WatchError {
    /// Whether it says something of the resource itself, and not of the way to it. gRFC A88's data errors.
    #[must_use]
    pub fn is_about_data(&self) -> bool {
        match self {
            Self::NotFound | Self::Rejected(_) | Self::Name(_) | Self::Authority(_) => true,
            // NOT_FOUND and PERMISSION_DENIED.
            Self::Server { code, .. } => matches!(code, 5 | 7),
            Self::Silence | Self::Unreachable(_) | Self::Stale(_) => false,
        }
    }
}

/// What becomes of a value when a server says something against it. gRFC A88.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum OnDataError {
    /// A value that is deleted or denied is gone; one whose successor is rejected stays. As proxies expect it.
    #[default]
    DropDeleted,
    /// Every value stays until another comes. As gRPC's clients do.
    Keep,
    /// The value is gone in all cases: gRPC's `fail_on_data_errors`.
    Drop,
}

impl OnDataError {
    fn drops(self, error: &WatchError) -> bool {
        match self {
            Self::Keep => false,
            Self::Drop => error.is_about_data(),
            Self::DropDeleted => error.is_about_data() && !matches!(error, WatchError::Rejected(_)),
        }
    }
}

pub(super) type AnyValue = Arc<dyn Any + Send + Sync>;

/// What is known of one resource.
#[derive(Debug, Clone, Default)]
pub(super) struct Known {
    pub(super) value: Option<AnyValue>,
    pub(super) error: Option<Arc<WatchError>>,
    pub(super) version: Arc<str>,
    pub(super) body: Bytes,
    /// When the value came.
    pub(super) received: Option<SystemTime>,
    /// The last rejection: what was rejected, when, and in which version.
    pub(super) refused: Option<Arc<Refused>>,
    pub(super) warnings: Arc<[String]>,
}

/// A version that was rejected.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) version: String,
    pub(super) at: SystemTime,
    pub(super) body: Bytes,
}

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
