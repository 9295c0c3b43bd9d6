//! From one world after the other to what is served of it: to node proxies, to waypoints and clients without a
//! proxy, and to those who ask for identities.

use std::sync::Arc;

use ipnet::IpNet;
use mesh_core::authz::Policy;
use mesh_core::live::{Live, Publisher};
use mesh_core::name::{Network, SpiffeId, Text};
use mesh_core::service::Service;
use mesh_core::workload::Workload;
use mesh_xds::pb::Node;
use mesh_xds::server::machine::node_key;
use mesh_xds::server::{Cache, CacheWriter, Change, Entry, View};
use mesh_xds::workload::{ADDRESS_TYPE, POLICY_TYPE, encode_policy, encode_service, encode_workload};
use tokio::time::Instant;

use crate::caller::Assignments;
use crate::translate::Place;
use crate::translate::engine::{Differs, Engine};
use crate::view::Views;
use crate::world::World;

/// Keeps what is served in step with a world. After a change the cost is that of what differs, however large the world is.
#[derive(Debug)]
pub struct Projection {
    cache: CacheWriter,
    views: Arc<Views>,
    assignments: Publisher<Assignments>,
}

/// What came of a publication.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Published {
    /// How many resources changed.
    pub changed: usize,
    /// How many values were computed for that.
    pub computed: u64,
}

impl Projection {
    /// Nothing yet. With it comes what is served to node proxies, and which identities belong where.
    #[must_use]
    pub fn new(place: Place) -> (Self, Cache, Live<Assignments>) {
        let (cache, served) = Cache::new(&[POLICY_TYPE, ADDRESS_TYPE]);
        let (assignments, assigned) = Publisher::new(Assignments::default());
        (Self { cache, views: Arc::new(Views::new(place)), assignments }, served, assigned)
    }

    /// Publishes another world, which was taken at some time before. What is wrong in it is somebody else's to find.
    pub fn publish(&self, world: World, taken: Instant) -> Published {
        let mut told = 0;
        let (shown, computed) = self.views.publish(world, taken, |engine, differs| {
            let before = Assignments::clone(&self.assignments.live().load());
            let on_nodes = differs.nodes.iter().map(|node| (node.to_string(), engine.on_node(node.as_str())));
            let now = before.with(on_nodes, engine.world().clone());
            // A node asks for an identity as soon as it learns of a workload, and until it learns that one has gone. So before
            // anything is told, it may have those of both states.
            let nodes = differs.nodes.iter().map(Text::as_str);
            self.assignments.publish(now.and_before(&before, nodes));
            told = self.cache.taken_at(taken).apply(resources(engine, differs));
            self.assignments.publish(now);
        });
        Published { changed: told + shown, computed }
    }

    /// What is served to a client that proved an identity and says to be an instance of a waypoint.
    ///
    /// # Errors
    /// Why there is nothing to see for it.
    pub fn of_waypoint(&self, client: &SpiffeId, node: &Node) -> Result<Cache, String> {
        self.views.of(client, node)
    }

    /// What a client is served that proved an identity: an instance of a waypoint, or a client without a proxy.
    ///
    /// # Errors
    /// Why there is nothing to see for it.
    pub fn view(&self, client: &SpiffeId, node: &Node) -> Result<View, String> {
        self.views.view(client, node)
    }

    pub(crate) fn views(&self) -> &Arc<Views> {
        &self.views
    }
}

/// What differs for node proxies, as it is served. All of it goes into the cache at once: the stream's machine then sees to it
/// that what is new arrives before what is gone; it could not if policies and workloads came one after the other.
fn resources(engine: &Engine, differs: &Differs) -> Vec<(&'static str, Change)> {
    let policies = differs.policies.iter().map(|name| (POLICY_TYPE, change(name, engine.policy(name).map(policy))));
    let workloads = differs.workloads.iter();
    let workloads = workloads.map(|uid| (ADDRESS_TYPE, change(uid, engine.workload(uid).map(workload))));
    let services = differs.services.iter().map(|key| {
        let found =
            engine.service(key).map(|(found, served)| service(found, served.map(ToString::to_string).collect()));
        (ADDRESS_TYPE, change(key, found))
    });
    policies.chain(workloads).chain(services).collect()
}

fn change(name: &impl ToString, entry: Option<Entry>) -> Change {
    let name = name.to_string();
    match entry {
        Some(entry) => Change::Put(name, entry),
        None => Change::Remove(name),
    }
}

fn policy(policy: &Policy) -> Entry {
    Entry::new(encode_policy(policy), Vec::new())
}

fn workload(workload: &Workload) -> Entry {
    let aliases = workload.addresses.iter().map(|ip| format!("{}/{ip}", workload.network)).collect();
    let mut with: Vec<String> = workload.services.keys().map(ToString::to_string).collect();
    if !workload.node.is_empty() {
        with.push(node_key(workload.node.as_str()));
    }
    Entry::new(encode_workload(workload), aliases).coming_with(with)
}

/// Proxies that ask for single services look their waypoints up in what they have: a waypoint comes along with those that it
/// serves.
fn service(service: &Service, served: Vec<String>) -> Entry {
    let alias = |(network, range): &(Network, IpNet)| match range.prefix_len() == range.max_prefix_len() {
        true => format!("{network}/{}", range.addr()),
        false => format!("{network}/{range}"),
    };
    let aliases = service.vips.iter().map(alias).collect();
    Entry::new(encode_service(service), aliases).coming_with(served)
}
