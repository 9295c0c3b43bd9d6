//! What each waypoint and each other Gateway is served: its own resources, and nobody else's.

use std::collections::BTreeMap;
use std::fmt;

use mesh_core::name::{Locality, NamespacedName, ServiceAccount, SpiffeId};
use mesh_xds::envoy::endpoint::encode_assignment;
use mesh_xds::envoy::route::encode_route_table;
use mesh_xds::envoy::tls::encode_secret;
use mesh_xds::envoy::{CLUSTER_TYPE, ENDPOINT_TYPE, LISTENER_TYPE, ROUTE_TYPE, SECRET_TYPE};
use mesh_xds::pb::Node;
use mesh_xds::server::{Cache, CacheWriter, Change, Entry};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::translate::Place;
use crate::translate::binding::GATEWAY_NAME;
use crate::translate::engine::{Differs, Engine, Role, View, ViewChange};
use crate::translate::waypoint::Flavour;
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

    /// The view of a client that proved an identity and says to be an instance of a waypoint, or of another Gateway.
    ///
    /// Which it is follows from its pod, else from its labels, else from its account. It must be one that the client's
    /// identity is meant for.
    ///
    /// # Errors
    /// Why there is nothing to see for it.
    pub(crate) fn of(&self, client: &SpiffeId, node: &Node) -> Result<Cache, String> {
        let mut state = self.state.lock();
        let State { engine, caches } = &mut *state;
        let engine = engine.as_mut().ok_or("there is no configuration yet")?;
        let account = ServiceAccount::from_spiffe_id(client).ok_or("the identity is no service account")?;
        let (role, instance) = instance(&node.id).ok_or_else(|| format!("`{}` is no node id of a Gateway", node.id))?;
        let waypoint = claimed(engine, &account, client, (role, instance), node)?;
        let is_instance = role.fits(engine, &waypoint) && engine.identities(&waypoint).contains(client);
        if waypoint.namespace != *account.namespace() || !is_instance {
            return Err(format!("{client} is no instance of {role} `{waypoint}`"));
        }
        let (view, flavour) = (View { waypoint, locality: locality(node), role }, flavour(node));
        let known = caches.get(&view).into_iter().flatten().find(|(of, ..)| *of == flavour);
        if let Some((.., cache)) = known {
            return Ok(cache.clone());
        }
        let (writer, cache) = Cache::new(role.types());
        let (clusters, listeners) = match role {
            Role::Waypoint => flavour.around(&self.place.trust_domain),
            Role::Gateway => flavour.beside_gateway(&self.place.trust_domain),
        };
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
    let change_of = |name: &str, bytes: Option<Vec<u8>>| bytes.map_or_else(|| remove(name), |bytes| put(name, bytes));
    for (name, listener) in &change.listeners {
        let bytes = listener.as_ref().map(|listener| flavour.listener(listener));
        resources.push((LISTENER_TYPE, change_of(name.as_str(), bytes)));
    }
    for (name, table) in &change.routes {
        let bytes = table.as_ref().map(|table| encode_route_table(table));
        resources.push((ROUTE_TYPE, change_of(name.as_str(), bytes)));
    }
    for (name, secret) in &change.secrets {
        resources.push((SECRET_TYPE, change_of(name.as_str(), secret.as_ref().map(encode_secret))));
    }
    resources
}

impl fmt::Debug for Views {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.state.lock().caches.keys()).finish()
    }
}

impl Role {
    /// Whether a Gateway is one of the kind.
    fn fits(self, engine: &Engine, key: &NamespacedName) -> bool {
        engine.is_gateway(key) == (self == Self::Gateway)
    }

    /// The types of the resources that there are for it.
    fn types(self) -> &'static [&'static str] {
        match self {
            Self::Waypoint => &[CLUSTER_TYPE, ENDPOINT_TYPE, LISTENER_TYPE],
            Self::Gateway => &[CLUSTER_TYPE, ENDPOINT_TYPE, LISTENER_TYPE, ROUTE_TYPE, SECRET_TYPE],
        }
    }
}

/// The Gateway that a client says to be an instance of.
fn claimed(
    engine: &Engine,
    account: &ServiceAccount,
    client: &SpiffeId,
    (role, instance): (Role, NamespacedName),
    node: &Node,
) -> Result<NamespacedName, String> {
    let world = engine.world();
    let pod = world.pods.get(&instance).map(|(_, pod)| &pod.metadata.labels);
    let entry = world.entries.get(&instance).map(|(_, entry)| &entry.metadata.labels);
    let known = pod.or(entry).and_then(|labels| labels.get(GATEWAY_NAME).cloned());
    if let Some(name) = known.or_else(|| label(node)) {
        return Ok(NamespacedName::new(instance.namespace, name));
    }
    let of_namespace = world.gateways.in_namespace(account.namespace().as_str()).map(|(key, _)| key);
    let mut by_account = of_namespace.filter(|key| role.fits(engine, key) && engine.identities(key).contains(client));
    match (by_account.next(), by_account.next()) {
        (Some(key), None) => Ok(key.clone()),
        (None, _) => Err(format!("{client} is an instance of no {role}")),
        (Some(_), Some(_)) => {
            Err(format!("{client} may be an instance of several {role}s; its label must say of which"))
        }
    }
}

/// What `<role>~<ip>~<name>.<namespace>~<domain>` is an instance of, and namespace and name of the instance.
fn instance(id: &str) -> Option<(Role, NamespacedName)> {
    let mut parts = id.split('~');
    let role = match parts.next()? {
        "waypoint" => Role::Waypoint,
        "router" => Role::Gateway,
        _ => return None,
    };
    let (name, namespace) = parts.nth(1)?.rsplit_once('.')?;
    (!name.is_empty() && !namespace.is_empty()).then(|| (role, NamespacedName::new(namespace, name)))
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
