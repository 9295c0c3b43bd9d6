//! The whole configuration of a channel from its parts: listener, routes, clusters, endpoints. gRFC A74.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::SystemTime;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, select_all};
use mesh_core::balance::{Assignment, Cluster, Discovery};
use mesh_core::listener::{Listener, ListenerKind, RouteSource};
use mesh_core::live::Publisher;
use mesh_core::name::Text;
use mesh_core::route::{Action, ClusterChoice, ClusterName, RouteTable};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::connect::Dial;
use super::service::Channel;
use super::upstream::{Dialer, Endpoints, Upstream, dialer, now};
use crate::client::{Client, Watch, WatchError};
use crate::dns::Names;
use crate::resource::Resource;

/// How deep aggregates of aggregates may be. gRFC A37.
const DEPTH: usize = 16;

/// What calls are carried out by. Whole: every cluster that a route leads to is there, or the reason why it is not.
#[derive(Debug)]
pub(super) struct Config {
    pub(super) table: Arc<RouteTable>,
    pub(super) clusters: BTreeMap<String, Result<Arc<Upstream>, Arc<str>>>,
}

impl Config {
    /// Whether another is made of the same parts; clusters go on by themselves.
    fn is(&self, other: &Self) -> bool {
        let same = |(one, other): (&Result<Arc<Upstream>, _>, &Result<Arc<Upstream>, _>)| match (one, other) {
            (Ok(one), Ok(other)) => Arc::ptr_eq(one, other),
            (Err(one), Err(other)) => one == other,
            _ => false,
        };
        *self.table == *other.table
            && self.clusters.keys().eq(other.clusters.keys())
            && self.clusters.values().zip(other.clusters.values()).all(same)
    }
}

/// How far the configuration is.
#[derive(Debug)]
pub(super) enum State {
    /// Something is still to come.
    Pending,
    /// Calls can be carried out.
    Ready(Arc<Config>),
    /// They cannot.
    Failed(Arc<str>),
}

/// Keeps the configuration of a [`Channel`] up to date.
#[derive(Debug)]
pub struct Keeper {
    publisher: Publisher<State>,
    client: Client,
    listener: Watch<Listener>,
    routes: Option<Watched<RouteTable>>,
    clusters: BTreeMap<String, ClusterWatch>,
    authority: Arc<str>,
    dialer: DebugDialer,
}

struct DebugDialer(Dialer);

impl std::fmt::Debug for DebugDialer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Dialer")
    }
}

#[derive(Debug)]
struct Watched<T> {
    name: String,
    watch: Watch<T>,
}

impl<T: Resource> Watched<T> {
    /// A watch of this name: the one there is, if it is of it.
    fn keep(kept: Option<Self>, name: &str, client: &Client) -> Self {
        match kept {
            Some(kept) if kept.name == name => kept,
            _ => Self { name: name.to_owned(), watch: client.watch(name) },
        }
    }
}

#[derive(Debug)]
struct ClusterWatch {
    watch: Watch<Cluster>,
    assignment: Option<Watched<Assignment>>,
    names: Option<Names>,
    /// What was made of it, and goes on with what is learned.
    endpoints: Option<Arc<Upstream>>,
}

/// A part that is there, is still to come, or is missing for a reason.
#[derive(Clone)]
enum Part<T> {
    There(T),
    ToCome,
    Missing(Arc<str>),
}

impl<T> Part<T> {
    fn of<R: Resource>(watch: &Watch<R>, take: impl FnOnce(Arc<R>) -> T) -> Self {
        match watch.state() {
            (Some(value), _) => Self::There(take(value)),
            (None, None) => Self::ToCome,
            (None, Some(error)) => Self::Missing(reason(&error)),
        }
    }
}

fn reason(error: &WatchError) -> Arc<str> {
    error.to_string().into()
}

impl Channel {
    /// A channel to what a client knows by the name of a listener, and what keeps its configuration up to date. Calls are
    /// addressed to `authority`, by which their host is found among the routes. `now` reads the wall time.
    pub fn by_xds<D: Dial>(
        client: &Client,
        listener: &str,
        authority: &str,
        dial: D,
        now: fn() -> SystemTime,
    ) -> (Self, Keeper) {
        let (publisher, state) = Publisher::new(State::Pending);
        let authority: Arc<str> = authority.into();
        let keeper = Keeper {
            publisher,
            client: client.clone(),
            listener: client.watch(listener),
            routes: None,
            clusters: BTreeMap::new(),
            authority: Arc::clone(&authority),
            dialer: DebugDialer(dialer(dial)),
        };
        (Self::new(authority, state, now), keeper)
    }
}

impl Keeper {
    /// Follows the configuration until cancelled.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the channel with what it has; calls that wait for a configuration fail.
    pub async fn run(mut self, cancel: CancellationToken) {
        loop {
            self.look();
            let tick = self.tick();
            let asked = self.clusters.values_mut().filter_map(|cluster| cluster.names.as_mut());
            let due = asked.filter(|names| names.next <= Instant::now());
            let mut looked_up = false;
            for names in due {
                names.look_up().await;
                looked_up = true;
            }
            if looked_up {
                continue;
            }
            tokio::select! {
                biased;
                () = cancel.cancelled() => return,
                () = self.changed() => {}
                () = sleep_until(tick) => {}
            }
        }
    }

    /// A change of anything that is watched.
    async fn changed(&mut self) {
        fn change<T: Resource>(watch: &mut Watch<T>) -> BoxFuture<'_, bool> {
            async { watch.changed().await.is_ok() }.boxed()
        }
        let mut waits = vec![change(&mut self.listener)];
        waits.extend(self.routes.as_mut().map(|routes| change(&mut routes.watch)));
        for cluster in self.clusters.values_mut() {
            waits.push(change(&mut cluster.watch));
            waits.extend(cluster.assignment.as_mut().map(|assignment| change(&mut assignment.watch)));
        }
        // One whose publisher is gone says nothing any more; the others still do.
        while !waits.is_empty() {
            let (alive, _, left) = select_all(waits).await;
            if alive {
                return;
            }
            waits = left;
        }
        std::future::pending().await
    }

    /// When a balancer or DNS wants to be looked after next.
    fn tick(&self) -> Option<Instant> {
        let names = self.clusters.values().filter_map(|cluster| cluster.names.as_ref().map(|names| names.next));
        let balancers = self.clusters.values().filter_map(|cluster| match cluster.endpoints.as_deref()? {
            Upstream::Endpoints(endpoints) => {
                let now = now();
                if endpoints.balancer().next_tick().is_some_and(|tick| tick <= now) {
                    endpoints.balancer().handle_tick(now);
                }
                endpoints.balancer().next_tick().map(Instant::from_std)
            }
            Upstream::Aggregate(_) => None,
        });
        names.chain(balancers).min()
    }

    /// Looks at all parts, watches what they refer to, and publishes the whole when nothing is to come any more.
    fn look(&mut self) {
        let before = self.publisher.live().snapshot();
        match (self.assemble(), &*before) {
            // What is there goes on until the new whole is.
            (Part::ToCome, _) => {}
            (Part::There(config), State::Ready(same)) if config.is(same) => {}
            (Part::Missing(reason), State::Failed(same)) if reason == *same => {}
            (Part::There(config), _) => self.publisher.publish(State::Ready(Arc::new(config))),
            (Part::Missing(reason), _) => self.publisher.publish(State::Failed(reason)),
        }
    }

    fn assemble(&mut self) -> Part<Config> {
        let table = match self.table() {
            Part::There(table) => table,
            Part::ToCome => return Part::ToCome,
            Part::Missing(reason) => return Part::Missing(reason),
        };
        let wanted: BTreeSet<String> = clusters_of(&table).collect();
        let mut looked = Looked::default();
        let mut clusters = BTreeMap::new();
        let mut to_come = false;
        for name in wanted {
            match self.cluster(&name, &mut looked) {
                Part::There(upstream) => drop(clusters.insert(name, Ok(upstream))),
                Part::Missing(reason) => drop(clusters.insert(name, Err(reason))),
                Part::ToCome => to_come = true,
            }
        }
        if to_come {
            return Part::ToCome;
        }
        self.clusters.retain(|name, _| looked.done.contains_key(name));
        Part::There(Config { table, clusters })
    }

    fn table(&mut self) -> Part<Arc<RouteTable>> {
        let listener = match Part::of(&self.listener, |listener| listener) {
            Part::There(listener) => listener,
            Part::ToCome => return Part::ToCome,
            Part::Missing(reason) => return Part::Missing(format!("listener: {reason}").into()),
        };
        let ListenerKind::Api(manager) = &listener.kind else {
            return Part::Missing("the listener accepts connections, and is none for clients".into());
        };
        // What would hold requests back must not be passed over.
        if let Some(filter) = manager.filters.iter().find(|filter| !filter.disabled) {
            return Part::Missing(format!("the filter `{}` is not carried out by clients", filter.name).into());
        }
        match &manager.routes {
            RouteSource::Inline(table) => {
                self.routes = None;
                Part::There(Arc::new(RouteTable::clone(table)))
            }
            RouteSource::Rds(name) => {
                let routes = Watched::keep(self.routes.take(), name.as_str(), &self.client);
                let table = Part::of(&routes.watch, |table| table);
                self.routes = Some(routes);
                match table {
                    Part::Missing(reason) => Part::Missing(format!("routes `{name}`: {reason}").into()),
                    other => other,
                }
            }
        }
    }

    /// A cluster, looked at once however many others it is a member of.
    fn cluster(&mut self, name: &str, looked: &mut Looked) -> Part<Arc<Upstream>> {
        if let Some(part) = looked.done.get(name) {
            return part.clone();
        }
        if looked.path.len() == DEPTH || looked.path.iter().any(|above| above == name) {
            return Part::Missing("aggregates of clusters are a circle, or too deep".into());
        }
        looked.path.push(name.to_owned());
        let part = self.look_at(name, looked);
        looked.path.pop();
        looked.done.insert(name.to_owned(), part.clone());
        part
    }

    fn look_at(&mut self, name: &str, looked: &mut Looked) -> Part<Arc<Upstream>> {
        let client = &self.client;
        let watched = self.clusters.entry(name.to_owned()).or_insert_with(|| ClusterWatch {
            watch: client.watch(name),
            assignment: None,
            names: None,
            endpoints: None,
        });
        let cluster = match Part::of(&watched.watch, |cluster| cluster) {
            Part::There(cluster) => cluster,
            Part::ToCome => return Part::ToCome,
            Part::Missing(reason) => return Part::Missing(reason),
        };
        let assignment = match &cluster.discovery {
            Discovery::Aggregate(members) => {
                watched.endpoints = None;
                return self.aggregate(members, looked);
            }
            Discovery::Static(assignment) => Arc::new(assignment.clone()),
            Discovery::StrictDns(dns) | Discovery::LogicalDns(dns) => {
                let names = watched.names.take().filter(|names| names.dns == *dns);
                let single = matches!(cluster.discovery, Discovery::LogicalDns(_));
                let names = names.unwrap_or_else(|| Names::new(dns.clone(), single));
                let assignment = names.assignment.clone();
                watched.names = Some(names);
                let Some(assignment) = assignment else { return Part::ToCome };
                assignment
            }
            Discovery::OriginalDst | Discovery::TunnelToOriginalDst(_) => {
                return Part::Missing("a cluster of original destinations is none for clients".into());
            }
            Discovery::Eds { .. } => {
                let service = cluster.discovery.eds_name(cluster.name.as_str()).unwrap_or_default();
                let assignment = Watched::keep(watched.assignment.take(), service, client);
                let part = Part::of(&assignment.watch, |assignment| assignment);
                watched.assignment = Some(assignment);
                match part {
                    Part::There(assignment) => assignment,
                    Part::ToCome => return Part::ToCome,
                    Part::Missing(reason) => return Part::Missing(format!("endpoints: {reason}").into()),
                }
            }
        };
        match watched.endpoints.as_deref() {
            Some(Upstream::Endpoints(endpoints)) => endpoints.update(&cluster, &assignment),
            _ => {
                let endpoints =
                    Endpoints::new(cluster, assignment, Arc::clone(&self.authority), Arc::clone(&self.dialer.0));
                watched.endpoints = Some(Arc::new(Upstream::Endpoints(endpoints)));
            }
        }
        watched.endpoints.clone().map_or(Part::ToCome, Part::There)
    }

    /// Members that are missing are passed over, unless all are.
    fn aggregate(&mut self, members: &[Text], looked: &mut Looked) -> Part<Arc<Upstream>> {
        let (mut there, mut last, mut to_come) = (Vec::new(), None, false);
        for member in members {
            match self.cluster(member.as_str(), looked) {
                Part::There(upstream) => there.push(upstream),
                Part::Missing(reason) => last = Some(format!("`{member}`: {reason}")),
                Part::ToCome => to_come = true,
            }
        }
        match last {
            _ if to_come => Part::ToCome,
            Some(reason) if there.is_empty() => Part::Missing(reason.into()),
            _ => Part::There(Arc::new(Upstream::Aggregate(there))),
        }
    }
}

/// The clusters that were looked at for one configuration, and those that lead to the one that is looked at.
#[derive(Default)]
struct Looked {
    done: BTreeMap<String, Part<Arc<Upstream>>>,
    path: Vec<String>,
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// The clusters that the routes of a table lead to by name.
fn clusters_of(table: &RouteTable) -> impl Iterator<Item = String> {
    let routes = table.config().hosts.iter().flat_map(|host| &host.routes);
    routes.flat_map(|route| {
        let Action::Forward(forward) = &route.action else { return Vec::new() };
        match &forward.cluster {
            ClusterChoice::Named(name) => vec![name.to_string()],
            ClusterChoice::Header(_) => Vec::new(),
            ClusterChoice::Weighted(weighted) => {
                let names = weighted.clusters.iter().filter_map(|one| match &one.cluster {
                    ClusterName::Named(name) => Some(name.to_string()),
                    ClusterName::Header(_) => None,
                });
                names.collect()
            }
        }
    })
}
