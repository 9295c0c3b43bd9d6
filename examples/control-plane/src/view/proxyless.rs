//! What clients without a proxy are served: those of one namespace that are at one place share what any of them asks for.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;

use mesh_core::name::{ServiceAccount, SpiffeId, Uid};
use mesh_core::workload::{TunnelProtocol, Workload};
use mesh_xds::envoy::{CLUSTER_TYPE, ENDPOINT_TYPE, LISTENER_TYPE, ROUTE_TYPE};
use mesh_xds::pb::Node;
use mesh_xds::server::{self, Cache, CacheWriter, Demand};
use parking_lot::Mutex;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::Views;
use super::node::{locality, pod};
use crate::translate::engine::{Changes, Engine};
use crate::translate::proxyless::{Clients, Named, changes};

/// The caches of clients, and the streams that they are for.
#[derive(Default)]
pub(super) struct Scopes {
    scopes: BTreeMap<Clients, Scope>,
    /// Streams of pods, by pod: what a pod is may change.
    pods: HashMap<Uid, Vec<PodStream>>,
    streams: u64,
}

/// What some clients are served.
struct Scope {
    writer: CacheWriter,
    cache: Cache,
    streams: usize,
    /// By how many streams and types each is asked for.
    asked: HashMap<Named, usize>,
}

/// A stream of a pod.
struct PodStream {
    number: u64,
    client: SpiffeId,
    is_captured: bool,
    end: CancellationToken,
}

impl Scopes {
    /// Shows clients what changed for them. Gives the number of resources that did.
    pub(super) fn publish(&self, engine: &Engine, changed: &Changes, taken: Instant) -> usize {
        let streams = changed.differs.workloads.iter().filter_map(|uid| Some((uid, self.pods.get(uid)?)));
        for (uid, streams) in streams {
            let pod = engine.workload(uid);
            for stream in streams.iter().filter(|stream| is_captured(pod, &stream.client) != stream.is_captured) {
                stream.end.cancel();
            }
        }
        let mut count = 0;
        for (clients, asked) in &changed.clients {
            let Some(scope) = self.scopes.get(clients) else { continue };
            let resources = asked.iter().flat_map(|(named, value)| changes(named, value.as_ref()));
            count += scope.writer.taken_at(taken).apply(resources);
        }
        count
    }

    pub(super) fn clients(&self) -> impl Iterator<Item = &Clients> {
        self.scopes.keys()
    }

    /// Another stream of some clients.
    fn join(&mut self, clients: &Clients) -> Cache {
        let scope = self.scopes.entry(clients.clone()).or_insert_with(|| {
            let (writer, cache) = Cache::new(&[CLUSTER_TYPE, ENDPOINT_TYPE, LISTENER_TYPE, ROUTE_TYPE]);
            Scope { writer, cache, streams: 0, asked: HashMap::new() }
        });
        scope.streams += 1;
        scope.cache.clone()
    }

    /// One stream less.
    fn leave(&mut self, clients: &Clients) {
        let Some(scope) = self.scopes.get_mut(clients) else { return };
        scope.streams -= 1;
        if scope.streams == 0 {
            self.scopes.remove(clients);
        }
    }

    /// A stream asks for these from now on, and for those no more.
    fn ask(&mut self, engine: &mut Engine, clients: &Clients, come: Vec<Named>, gone: Vec<Named>) {
        let Some(Scope { writer, asked, .. }) = self.scopes.get_mut(clients) else { return };
        let mut new = Vec::new();
        for named in come {
            let count = asked.entry(named.clone()).or_default();
            *count += 1;
            if *count == 1 {
                new.push(named);
            }
        }
        if !new.is_empty() {
            let made = engine.demand(clients, new);
            writer.apply(made.iter().flat_map(|(named, value)| changes(named, value.as_ref())));
        }
        let mut unasked = Vec::new();
        for named in gone {
            let Some(count) = asked.get_mut(&named) else { continue };
            *count -= 1;
            if *count == 0 {
                asked.remove(&named);
                unasked.extend(changes(&named, None));
                engine.release(clients, named);
            }
        }
        if !unasked.is_empty() {
            writer.apply(unasked);
        }
    }
}

/// The view of a client without a proxy: what its namespace may see.
///
/// The namespace is that of its identity. Whether it is behind a node proxy follows from the pod that its node id names, which
/// must be one of that identity; a client that names none is not.
pub(super) fn view(views: &Arc<Views>, client: &SpiffeId, node: &Node) -> Result<server::View, String> {
    if *client.trust_domain() != views.place.trust_domain {
        return Err(format!("{client} is of another trust domain"));
    }
    let account = ServiceAccount::from_spiffe_id(client).ok_or("the identity is no service account")?;
    let said = pod(&node.id);
    if let Some(pod) = said.as_ref().filter(|pod| pod.namespace != *account.namespace()) {
        return Err(format!("{client} is no pod of namespace `{}`", pod.namespace));
    }
    let mut state = views.wait();
    let super::State { engine, scopes, .. } = &mut *state;
    let engine = engine.as_mut().ok_or("there is no configuration yet")?;
    let uid = said.map(|pod| engine.pod_uid(&pod));
    let pod = uid.as_ref().and_then(|uid| engine.workload(uid));
    if let Some(pod) = pod.filter(|pod| pod.spiffe_id() != *client) {
        return Err(format!("pod `{}` runs as {}, not as {client}", pod.name, pod.spiffe_id()));
    }
    let is_captured = is_captured(pod, client);
    let clients =
        Clients { namespace: account.namespace().clone(), locality: locality(node), are_captured: is_captured };
    let (end, number) = (CancellationToken::new(), scopes.streams);
    scopes.streams += 1;
    if let Some(pod) = &uid {
        let stream = PodStream { number, client: client.clone(), is_captured, end: end.clone() };
        scopes.pods.entry(pod.clone()).or_default().push(stream);
    }
    let cache = scopes.join(&clients);
    drop(state);
    let asking = Asking { views: Arc::clone(views), clients, pod: uid, number, asked: Mutex::default() };
    Ok(server::View { cache: Some(cache), permissions: None, demand: Some(Arc::new(asking)), end })
}

/// Whether the connections of a pod that runs as this client go through a node proxy.
fn is_captured(pod: Option<&Workload>, client: &SpiffeId) -> bool {
    pod.is_some_and(|pod| pod.tunnel == TunnelProtocol::Hbone && !pod.native_tunnel && pod.spiffe_id() == *client)
}

/// What one stream asks for.
struct Asking {
    views: Arc<Views>,
    clients: Clients,
    pod: Option<Uid>,
    number: u64,
    /// By type.
    asked: Mutex<BTreeMap<String, BTreeSet<String>>>,
}

impl Demand for Asking {
    fn asked(&self, type_url: &str, names: &BTreeSet<String>) {
        let mut asked = self.asked.lock();
        if asked.get(type_url).map_or(names.is_empty(), |before| before == names) {
            return;
        }
        let before = asked.insert(type_url.to_owned(), names.clone()).unwrap_or_default();
        let named = |names: Vec<&String>| names.into_iter().filter_map(|name| Named::new(type_url, name)).collect();
        let come: Vec<Named> = named(names.difference(&before).collect());
        let gone: Vec<Named> = named(before.difference(names).collect());
        let mut state = self.views.wait();
        if let super::State { engine: Some(engine), scopes, .. } = &mut *state {
            scopes.ask(engine, &self.clients, come, gone);
        }
    }
}

impl Drop for Asking {
    fn drop(&mut self) {
        let asked = std::mem::take(self.asked.get_mut());
        let named = |(url, names): (&String, &BTreeSet<String>)| -> Vec<Named> {
            names.iter().filter_map(|name| Named::new(url, name)).collect()
        };
        let gone = asked.iter().flat_map(named).collect();
        let mut state = self.views.state.lock();
        let super::State { engine, scopes, .. } = &mut *state;
        if let Some(engine) = engine {
            scopes.ask(engine, &self.clients, Vec::new(), gone);
        }
        scopes.leave(&self.clients);
        let Some(pod) = &self.pod else { return };
        if let Some(streams) = scopes.pods.get_mut(pod) {
            streams.retain(|stream| stream.number != self.number);
            if streams.is_empty() {
                scopes.pods.remove(pod);
            }
        }
    }
}

impl fmt::Debug for Asking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Asking").field("clients", &self.clients).finish_non_exhaustive()
    }
}
