//! What each waypoint is served: its own resources, and nobody else's.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use mesh_core::name::{Locality, NamespacedName, ServiceAccount, SpiffeId};
use mesh_xds::envoy::{CLUSTER_TYPE, ENDPOINT_TYPE, LISTENER_TYPE};
use mesh_xds::pb::Node;
use mesh_xds::server::{Cache, CacheWriter};
use parking_lot::Mutex;

use crate::translate::binding::GATEWAY_NAME;
use crate::translate::waypoint::{Flavour, Waypoints};
use crate::translate::{Place, Translation};
use crate::world::World;

/// The views of waypoints.
pub(crate) struct Views {
    place: Place,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    now: Option<Now>,
    caches: HashMap<Key, (CacheWriter, Cache)>,
}

/// What was taken last.
#[derive(Clone)]
struct Now {
    world: Arc<World>,
    translation: Arc<Translation>,
}

/// By what views differ.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Key {
    waypoint: NamespacedName,
    locality: Locality,
    flavour: Flavour,
}

impl Views {
    /// Nothing to see yet.
    pub(crate) fn new(place: Place) -> Self {
        Self { place, state: Mutex::default() }
    }

    /// Shows something else from now on. Gives the number of resources that changed.
    pub(crate) fn publish(&self, world: World, translation: Translation) -> usize {
        let now = Now { world: Arc::new(world), translation: Arc::new(translation) };
        let mut state = self.state.lock();
        let waypoints = Waypoints::new(&now.world, &self.place, &now.translation);
        let changed = state.caches.iter().map(|(key, (writer, _))| self.fill(writer, &waypoints, key)).sum();
        state.now = Some(now);
        changed
    }

    /// The view of a client that proved an identity and says to be an instance of a waypoint.
    ///
    /// Which waypoint follows from its pod, else from its labels, else from its account. It must be one that the client's
    /// identity is meant for.
    ///
    /// # Errors
    /// Why there is nothing to see for it.
    pub(crate) fn of(&self, client: &SpiffeId, node: &Node) -> Result<Cache, String> {
        let mut state = self.state.lock();
        let now = state.now.clone().ok_or("there is no configuration yet")?;
        let waypoints = Waypoints::new(&now.world, &self.place, &now.translation);
        let account = ServiceAccount::from_spiffe_id(client).ok_or("the identity is no service account")?;
        let waypoint = claimed(&now.world, &waypoints, &account, client, node)?;
        if waypoint.namespace != *account.namespace() || !waypoints.identities(&waypoint).contains(client) {
            return Err(format!("{client} is no instance of waypoint `{waypoint}`"));
        }
        let key = Key { waypoint, locality: locality(node), flavour: flavour(node) };
        if let Some((_, cache)) = state.caches.get(&key) {
            return Ok(cache.clone());
        }
        let (writer, cache) = Cache::new(&[CLUSTER_TYPE, ENDPOINT_TYPE, LISTENER_TYPE]);
        self.fill(&writer, &waypoints, &key);
        state.caches.insert(key, (writer, cache.clone()));
        Ok(cache)
    }

    fn fill(&self, writer: &CacheWriter, waypoints: &Waypoints<'_>, key: &Key) -> usize {
        let resources = waypoints.resources(&key.waypoint, &key.locality);
        writer.replace(resources.entries(key.flavour, &self.place.trust_domain))
    }
}

impl fmt::Debug for Views {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.state.lock().caches.keys()).finish()
    }
}

/// The waypoint that a client says to be an instance of.
fn claimed(
    world: &World,
    waypoints: &Waypoints<'_>,
    account: &ServiceAccount,
    client: &SpiffeId,
    node: &Node,
) -> Result<NamespacedName, String> {
    let instance = instance(&node.id).ok_or_else(|| format!("`{}` is no node id of a waypoint", node.id))?;
    let pod = world.pods.get(&instance).map(|(_, pod)| &pod.metadata.labels);
    let entry = world.entries.get(&instance).map(|(_, entry)| &entry.metadata.labels);
    let known = pod.or(entry).and_then(|labels| labels.get(GATEWAY_NAME).cloned());
    if let Some(name) = known.or_else(|| label(node)) {
        return Ok(NamespacedName::new(instance.namespace, name));
    }
    let mut by_account = waypoints
        .keys()
        .filter(|key| key.namespace == *account.namespace() && waypoints.identities(key).contains(client));
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
