//! What those are served who do not see workload discovery: each waypoint and each other Gateway its own resources, clients
//! without a proxy what they ask for, and nobody anything else.

mod gateway;
mod node;
mod proxyless;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use mesh_core::name::{ServiceAccount, SpiffeId};
use mesh_xds::envoy::{CLUSTER_TYPE, LISTENER_TYPE};
use mesh_xds::pb::Node;
use mesh_xds::server::{self, Cache, CacheWriter, Change, Entry};
use parking_lot::{Mutex, MutexGuard};
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::time::Instant;

use self::gateway::{claimed, flavour, resources};
use self::proxyless::Scopes;
use crate::idle::Idle;
use crate::translate::Place;
use crate::translate::engine::{Differs, Engine, Role, View};
use crate::translate::waypoint::Flavour;
use crate::world::World;

/// How long a view is kept that nobody uses: longer than an instance takes that is replaced, or whose machine restarts.
const UNUSED: Duration = Duration::from_secs(600);

/// The views, and the translation that they are views of.
pub(crate) struct Views {
    place: Place,
    state: Mutex<State>,
    /// Views of Gateways that no stream follows. Locked after the state.
    idle: Mutex<Idle<View>>,
}

#[derive(Default)]
struct State {
    /// From the first configuration on.
    engine: Option<Engine>,
    caches: BTreeMap<View, Vec<(Flavour, CacheWriter, Cache)>>,
    scopes: Scopes,
}

impl Views {
    /// Nothing to see yet.
    pub(crate) fn new(place: Place) -> Self {
        Self { place, state: Mutex::default(), idle: Mutex::default() }
    }

    /// Takes another world, at some time before. `tell` is told what differs for node proxies; then waypoints
    /// and clients without a proxy are shown theirs. Gives the number of resources of these that changed, and how many values
    /// were computed.
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
        let State { engine: Some(engine), caches, scopes } = &mut *state else { return (0, 0) };
        let before = if first.is_some() { 0 } else { engine.computations() };
        let changes = first.unwrap_or_else(|| engine.apply(world));
        tell(engine, &changes.differs);
        let mut changed = 0;
        for (view, change) in &changes.views {
            for (flavour, writer, _) in caches.get(view).into_iter().flatten() {
                changed += writer.taken_at(taken).apply(resources(*flavour, change));
            }
        }
        changed += scopes.publish(engine, &changes, taken);
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

    /// What a client is served that proved an identity, and is no proxy of a node.
    ///
    /// # Errors
    /// Why there is nothing to see for it.
    pub(crate) fn view(self: &Arc<Self>, client: &SpiffeId, node: &Node) -> Result<server::View, String> {
        if node::is_proxyless(node) {
            return proxyless::view(self, client, node);
        }
        Ok(server::View { cache: Some(self.of(client, node)?), ..server::View::default() })
    }

    /// The view of a client that proved an identity and says to be an instance of a waypoint, or of another Gateway.
    ///
    /// Which it is follows from its pod, else from its labels, else from its account. It must be one that the client's
    /// identity is meant for.
    ///
    /// # Errors
    /// Why there is nothing to see for it.
    pub(crate) fn of(&self, client: &SpiffeId, node: &Node) -> Result<Cache, String> {
        let mut state = self.wait();
        let State { engine, caches, .. } = &mut *state;
        let engine = engine.as_mut().ok_or("there is no configuration yet")?;
        let account = ServiceAccount::from_spiffe_id(client).ok_or("the identity is no service account")?;
        let (role, instance) =
            node::gateway(&node.id).ok_or_else(|| format!("`{}` is no node id of a Gateway", node.id))?;
        let waypoint = claimed(engine, &account, client, (role, instance), node)?;
        let is_instance = role.fits(engine, &waypoint) && engine.identities(&waypoint).contains(client);
        if waypoint.namespace != *account.namespace() || !is_instance {
            return Err(format!("{client} is no instance of {role} `{waypoint}`"));
        }
        let (view, flavour) = (View { waypoint, locality: node::locality(node), role }, flavour(node));
        // Whoever asks is about to follow it.
        self.idle.lock().used(&view);
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

    /// Closes views that nobody has used for some time, for as long as it runs. An instance that comes back finds the same
    /// versions: they are hashes of what is served.
    pub(crate) async fn close_unused(self: Arc<Self>) {
        loop {
            tokio::time::sleep(UNUSED / 10).await;
            let closed = self.close_idle(Instant::now());
            if closed > 0 {
                tracing::info!(closed, "views of Gateways closed that nobody used");
            }
        }
    }

    /// Closes those that nobody uses now and nobody has used since then for [`UNUSED`]. Gives how many.
    fn close_idle(&self, now: Instant) -> usize {
        let mut state = self.state.lock();
        let State { engine: Some(engine), caches, .. } = &mut *state else { return 0 };
        let unused = caches.iter().filter(|(_, all)| all.iter().all(|(_, writer, _)| writer.followers() == 0));
        let expired = self.idle.lock().expired(unused.map(|(view, _)| view.clone()), now, UNUSED);
        for view in &expired {
            caches.remove(view);
            engine.close(view);
        }
        expired.len()
    }
}

impl fmt::Debug for Views {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state.lock();
        f.debug_set().entries(state.caches.keys()).entries(state.scopes.clients()).finish()
    }
}

#[cfg(test)]
mod tests;
