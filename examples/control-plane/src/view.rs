//! What each waypoint is served: its own resources, and nobody else's.

use std::collections::BTreeMap;
use std::fmt;

use mesh_core::name::{Locality, NamespacedName, ServiceAccount, SpiffeId};
use mesh_xds::envoy::endpoint::encode_assignment;
use mesh_xds::envoy::{CLUSTER_TYPE, ENDPOINT_TYPE, LISTENER_TYPE};
use mesh_xds::pb::Node;
use mesh_xds::server::{Cache, CacheWriter, Change, Entry};
use parking_lot::{Mutex, MutexGuard};
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::time::Instant;

use crate::translate::Place;
use crate::translate::binding::GATEWAY_NAME;
use crate::translate::engine::{Differs, Engine, View, ViewChange};
use crate::translate::waypoint::{Flavour, MAIN};
use crate::world::World;

/// The views of waypoints, and the translation that they are views of.
pub(crate) struct Views {
    place: Place,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// From the first configuration on.
    engine: Option<Engine>,
    caches: BTreeMap<View, Vec<(Flavour, CacheWriter, Cache)>>,
}

impl Views {
    /// Nothing to see yet.
    pub(crate) fn new(place: Place) -> Self {
        Self { place, state: Mutex::default() }
    }

    /// Takes another world, at some time before. `tell` is told what differs for node proxies; then waypoints are shown
    /// theirs. Gives the number of resources of waypoints that changed, and how many values were computed.
    pub(crate) fn publish(&self, world: World, taken: Instant, tell: impl FnOnce(&Engine, &Differs)) -> (usize, u64) {
        let mut state = self.state.lock();
        let first = match state.engine {
            Some(_) => None,
            None => {
                // The first world is large. Nobody waits for it here: who comes before is told that there is nothing yet.
                drop(state);
                let mut engine = Engine::new(self.place.clone());
                let changes = engine.apply(world.clone());
                state = self.state.lock();
                state.engine = Some(engine);
                Some(changes)
            }
        };
        let State { engine: Some(engine), caches } = &mut *state else { return (0, 0) };
        let before = if first.is_some() { 0 } else { engine.computations() };
        let changes = first.unwrap_or_else(|| engine.apply(world));
        tell(engine, &changes.differs);
        let mut changed = 0;
        for (view, change) in &changes.views {
            for (flavour, writer, _) in caches.get(view).into_iter().flatten() {
                changed += writer.taken_at(taken).apply(resources(*flavour, change));
            }
        }
        (changed, engine.computations() - before)
    }

    /// The state, when nobody else is at it. A large change is at it for seconds: a thread of the runtime that waits for it
    /// hands what else it has to do to another.
    fn wait(&self) -> MutexGuard<'_, State> {
        if let Some(state) = self.state.try_lock() {
            return state;
        }
        match Handle::try_current().map(|runtime| runtime.runtime_flavor()) {
            Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(|| self.state.lock()),
            _ => self.state.lock(),
        }
    }

    /// The view of a client that proved an identity and says to be an instance of a waypoint.
    ///
    /// Which waypoint follows from its pod, else from its labels, else from its account. It must be one that the client's
    /// identity is meant for.
    ///
    /// # Errors
    /// Why there is nothing to see for it.
    pub(crate) fn of(&self, client: &SpiffeId, node: &Node) -> Result<Cache, String> {
        let mut state = self.wait();
        let State { engine, caches } = &mut *state;
        let engine = engine.as_mut().ok_or("there is no configuration yet")?;
        let account = ServiceAccount::from_spiffe_id(client).ok_or("the identity is no service account")?;
        let waypoint = claimed(engine, &account, client, node)?;
        if waypoint.namespace != *account.namespace() || !engine.identities(&waypoint).contains(client) {
            return Err(format!("{client} is no instance of waypoint `{waypoint}`"));
        }
        let (view, flavour) = (View { waypoint, locality: locality(node) }, flavour(node));
        let known = caches.get(&view).into_iter().flatten().find(|(of, ..)| *of == flavour);
        if let Some((.., cache)) = known {
            return Ok(cache.clone());
        }
        let (writer, cache) = Cache::new(&[CLUSTER_TYPE, ENDPOINT_TYPE, LISTENER_TYPE]);
        let (clusters, listeners) = flavour.around(&self.place.trust_domain);
        let around = [(CLUSTER_TYPE, clusters), (LISTENER_TYPE, listeners)].into_iter().flat_map(|(url, all)| {
            all.into_iter().map(move |(name, bytes)| (url, Change::Put(name, Entry::new(bytes, Vec::new()))))
        });
        writer.apply(around.chain(resources(flavour, &engine.open(&view))));
        caches.entry(view).or_default().push((flavour, writer, cache.clone()));
        Ok(cache)
    }
}

/// What changed, as it is served.
fn resources(flavour: Flavour, change: &ViewChange) -> Vec<(&'static str, Change)> {
    let put = |name: &str, bytes: Vec<u8>| Change::Put(name.to_owned(), Entry::new(bytes, Vec::new()));
    let remove = |name: &str| Change::Remove(name.to_owned());
    let mut resources = Vec::new();
    for (name, made) in &change.clusters {
        let name = name.as_str();
        let cluster = made.as_ref().map(|made| put(name, flavour.cluster(&made.cluster)));
        resources.push((CLUSTER_TYPE, cluster.unwrap_or_else(|| remove(name))));
        let assignment = made.as_ref().and_then(|made| made.assignment.as_ref());
        let assignment = assignment.map(|assignment| put(name, encode_assignment(assignment)));
        resources.push((ENDPOINT_TYPE, assignment.unwrap_or_else(|| remove(name))));
    }
    if let Some(listener) = &change.listener {
        let listener = listener.as_ref().map(|listener| put(listener.name.as_str(), flavour.listener(listener)));
        resources.push((LISTENER_TYPE, listener.unwrap_or_else(|| remove(MAIN))));
    }
    resources
}

impl fmt::Debug for Views {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.state.lock().caches.keys()).finish()
    }
}

/// The waypoint that a client says to be an instance of.
fn claimed(
    engine: &Engine,
    account: &ServiceAccount,
    client: &SpiffeId,
    node: &Node,
) -> Result<NamespacedName, String> {
    let instance = instance(&node.id).ok_or_else(|| format!("`{}` is no node id of a waypoint", node.id))?;
    let world = engine.world();
    let pod = world.pods.get(&instance).map(|(_, pod)| &pod.metadata.labels);
    let entry = world.entries.get(&instance).map(|(_, entry)| &entry.metadata.labels);
    let known = pod.or(entry).and_then(|labels| labels.get(GATEWAY_NAME).cloned());
    if let Some(name) = known.or_else(|| label(node)) {
        return Ok(NamespacedName::new(instance.namespace, name));
    }
    let of_namespace = world.gateways.in_namespace(account.namespace().as_str()).map(|(key, _)| key);
    let mut by_account = of_namespace.filter(|key| engine.identities(key).contains(client));
    match (by_account.next(), by_account.next()) {
        (Some(key), None) => Ok(key.clone()),
        (None, _) => Err(format!("{client} is an instance of no waypoint")),
        (Some(_), Some(_)) => {
            Err(format!("{client} may be an instance of several waypoints; its label must say of which"))
        }
    }
}

/// Namespace and name of the instance in `waypoint~<ip>~<name>.<namespace>~<domain>`.
fn instance(id: &str) -> Option<NamespacedName> {
    let mut parts = id.split('~');
    if parts.next() != Some("waypoint") {
        return None;
    }
    let (name, namespace) = parts.nth(1)?.rsplit_once('.')?;
    (!name.is_empty() && !namespace.is_empty()).then(|| NamespacedName::new(namespace, name))
}

/// The label by which the node says of which Gateway it is an instance.
fn label(node: &Node) -> Option<String> {
    use mesh_xds::pb::Kind::{StringValue, StructValue};
    let StructValue(labels) = node.metadata.as_ref()?.fields.get("LABELS")?.kind.as_ref()? else { return None };
    match labels.fields.get(GATEWAY_NAME)?.kind.as_ref()? {
        StringValue(name) if !name.is_empty() => Some(name.clone()),
        _ => None,
    }
}

fn locality(node: &Node) -> Locality {
    node.locality.as_ref().map(|at| Locality::new(&at.region, &at.zone, &at.sub_zone)).unwrap_or_default()
}

/// Envoy says who it is.
fn flavour(node: &Node) -> Flavour {
    if node.user_agent_name == "envoy" { Flavour::Envoy } else { Flavour::Mesh }
}
