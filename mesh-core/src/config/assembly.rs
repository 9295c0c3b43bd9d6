use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use crate::balance::{Assignment, Balancer, Cluster, Discovery, Probing, Setup};
use crate::listener::{FilterChain, HttpManager, Listener, ListenerKind, RouteSource, Terminal};
use crate::name::Text;
use crate::route::RouteTable;

use super::place::{Place, Whereabouts};
use super::{Clusters, OriginalDestination, Upstream};

/// How deep aggregates of aggregates may be. gRFC A37.
const DEPTH: usize = 16;

/// What a proxy is told, part by part.
#[derive(Debug, Clone, Default)]
pub struct Resources {
    /// Listeners by name.
    pub listeners: BTreeMap<Text, Arc<Listener>>,
    /// Route tables that listeners name.
    pub routes: BTreeMap<Text, Arc<RouteTable>>,
    /// Clusters by name.
    pub clusters: BTreeMap<Text, Arc<Cluster>>,
    /// Endpoints by the name that clusters ask for them; for clusters that DNS knows, by the cluster's own name.
    pub assignments: BTreeMap<Text, Arc<Assignment>>,
}

/// What a proxy serves: whole at any moment.
#[derive(Debug, Clone, Default)]
pub struct Config {
    /// The listeners whose routes are all there.
    pub listeners: BTreeMap<Text, Arc<Served>>,
    /// The clusters whose endpoints are known.
    pub clusters: Arc<Clusters>,
    /// How many clusters are told of beside these, which cannot serve yet.
    pub warming: usize,
}

impl Config {
    /// Whether another is made of the very same parts.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        same(&self.listeners, &other.listeners)
            && same(&self.clusters, &other.clusters)
            && self.warming == other.warming
    }
}

/// A listener and its routes.
#[derive(Debug, Clone)]
pub struct Served {
    /// The listener.
    pub listener: Arc<Listener>,
    named: BTreeMap<Text, Arc<RouteTable>>,
    /// Those that stand in the listener itself, in the order of its chains.
    inline: Vec<Arc<RouteTable>>,
}

impl Served {
    /// The routes of each of its HTTP managers, in the order of its chains, the default chain last.
    pub fn managers(&self) -> impl Iterator<Item = (&HttpManager, Arc<RouteTable>)> {
        let mut inline = self.inline.iter();
        managers(&self.listener).filter_map(move |manager| {
            let table = match &manager.routes {
                RouteSource::Rds(name) => self.named.get(name),
                RouteSource::Inline(_) => inline.next(),
            };
            Some((manager, Arc::clone(table?)))
        })
    }
}

/// The chains of a listener, the default one last.
fn chains(listener: &Listener) -> impl Iterator<Item = &FilterChain> {
    listener.socket().into_iter().flat_map(|socket| socket.chains.iter().chain(&socket.default_chain))
}

fn managers(listener: &Listener) -> impl Iterator<Item = &HttpManager> {
    let api = match &listener.kind {
        ListenerKind::Api(manager) => Some(&**manager),
        ListenerKind::Socket(_) | ListenerKind::Internal(_) => None,
    };
    let of_chains = chains(listener).filter_map(|chain| match &chain.terminal {
        Terminal::Http(manager) => Some(&**manager),
        Terminal::Tcp(_) | Terminal::Close => None,
    });
    api.into_iter().chain(of_chains)
}

impl Resources {
    /// The route tables that listeners name.
    #[must_use]
    pub fn wanted_routes(&self) -> BTreeSet<Text> {
        let managers = self.listeners.values().flat_map(|listener| managers(listener));
        let names = managers.filter_map(|manager| match &manager.routes {
            RouteSource::Rds(name) => Some(name.clone()),
            RouteSource::Inline(_) => None,
        });
        names.collect()
    }

    /// The assignments that clusters name.
    #[must_use]
    pub fn wanted_assignments(&self) -> BTreeSet<Text> {
        let named = |cluster: &Arc<Cluster>| Some(Text::from(cluster.discovery.eds_name(cluster.name.as_str())?));
        self.clusters.values().filter_map(named).collect()
    }
}

/// Makes a [`Config`] of [`Resources`], again and again: what is known of endpoints lives on from one to the next, and what
/// is not whole yet leaves in place what was.
#[derive(Debug, Default)]
pub struct Assembly {
    served: BTreeMap<Text, Arc<Served>>,
    clusters: Arc<Clusters>,
    probing: Probing,
    place: Option<Place>,
}

impl Assembly {
    /// For a proxy that probes the endpoints of clusters that ask for it: they are unhealthy until they have passed.
    #[must_use]
    pub fn probing() -> Self {
        Self { probing: Probing::Active, ..Self::default() }
    }

    /// The same for a proxy that is there: its balancers may keep requests in their zone
    /// ([`Localities::ZoneAware`](crate::balance::Localities)).
    #[must_use]
    pub fn at(self, whereabouts: Whereabouts) -> Self {
        Self { place: Some(Place::new(whereabouts)), ..self }
    }

    /// The whole, as far as it is one.
    pub fn assemble(&mut self, resources: &Resources, now: Instant) -> Config {
        let clusters = self.clusters(resources, now);
        if let Some(place) = &mut self.place {
            place.tell(&clusters, &self.clusters);
        }
        self.clusters = Arc::new(clusters);
        let served = resources.listeners.iter().filter_map(|(name, listener)| {
            let before = self.served.get(name);
            let served = serve(listener, &resources.routes, before);
            Some((name.clone(), served.or_else(|| before.cloned())?))
        });
        self.served = served.collect();
        let warming = resources.clusters.keys().filter(|name| !self.clusters.contains_key(*name)).count();
        Config { listeners: self.served.clone(), clusters: Arc::clone(&self.clusters), warming }
    }

    fn clusters(&self, resources: &Resources, now: Instant) -> Clusters {
        let mut made = Making {
            resources,
            before: &self.clusters,
            probing: self.probing,
            now,
            done: BTreeMap::new(),
            path: Vec::new(),
        };
        for name in resources.clusters.keys() {
            made.cluster(name);
        }
        made.done.into_iter().filter_map(|(name, upstream)| Some((name, upstream?))).collect()
    }
}

/// A listener with all of its routes; `before` if it is the same.
fn serve(
    listener: &Arc<Listener>,
    routes: &BTreeMap<Text, Arc<RouteTable>>,
    before: Option<&Arc<Served>>,
) -> Option<Arc<Served>> {
    let kept = before.filter(|before| Arc::ptr_eq(&before.listener, listener));
    let mut named = BTreeMap::new();
    let mut inline = Vec::new();
    for manager in managers(listener) {
        match &manager.routes {
            RouteSource::Rds(name) => drop(named.insert(name.clone(), Arc::clone(routes.get(name)?))),
            // A table is large: of a listener that stays it is not copied again.
            RouteSource::Inline(_) if kept.is_some() => {}
            RouteSource::Inline(table) => inline.push(Arc::new(RouteTable::clone(table))),
        }
    }
    match kept {
        Some(before) if same(&before.named, &named) => Some(Arc::clone(before)),
        Some(before) => Some(Arc::new(Served { listener: Arc::clone(listener), named, inline: before.inline.clone() })),
        None => Some(Arc::new(Served { listener: Arc::clone(listener), named, inline })),
    }
}

/// Whether both hold the very same values.
fn same<T>(one: &BTreeMap<Text, Arc<T>>, other: &BTreeMap<Text, Arc<T>>) -> bool {
    one.len() == other.len() && one.iter().all(|(name, value)| other.get(name).is_some_and(|it| Arc::ptr_eq(it, value)))
}

/// The clusters of one configuration while they are made.
struct Making<'a> {
    resources: &'a Resources,
    before: &'a Clusters,
    probing: Probing,
    now: Instant,
    /// `None` for what cannot serve.
    done: BTreeMap<Text, Option<Arc<Upstream>>>,
    /// The aggregates that lead to the one that is looked at.
    path: Vec<Text>,
}

impl Making<'_> {
    /// A cluster, made once however many others it is a member of.
    fn cluster(&mut self, name: &Text) -> Option<Arc<Upstream>> {
        if let Some(done) = self.done.get(name) {
            return done.clone();
        }
        if self.path.len() == DEPTH || self.path.contains(name) {
            return None;
        }
        self.path.push(name.clone());
        let made = self.make(name);
        self.path.pop();
        self.done.insert(name.clone(), made.clone());
        made
    }

    fn make(&mut self, name: &Text) -> Option<Arc<Upstream>> {
        let cluster = self.resources.clusters.get(name)?;
        let assignments = &self.resources.assignments;
        let assignment = match &cluster.discovery {
            Discovery::Aggregate(members) => {
                let members: Vec<_> = members.iter().filter_map(|member| self.cluster(member)).collect();
                return match self.before.get(name) {
                    Some(before) if matches!(&**before, Upstream::Aggregate(them) if same_members(them, &members)) => {
                        Some(Arc::clone(before))
                    }
                    _ => (!members.is_empty()).then(|| Arc::new(Upstream::Aggregate(members))),
                };
            }
            Discovery::OriginalDst | Discovery::TunnelToOriginalDst(_) => {
                return match self.before.get(name) {
                    Some(before) if matches!(&**before, Upstream::OriginalDestination(it) if Arc::ptr_eq(it.cluster(), cluster)) => {
                        Some(Arc::clone(before))
                    }
                    _ => {
                        let original = OriginalDestination::new(Arc::clone(cluster), self.now);
                        Some(Arc::new(Upstream::OriginalDestination(original)))
                    }
                };
            }
            Discovery::Static(assignment) => match self.before.get(name).map(|before| &**before) {
                Some(Upstream::Endpoints { assignment: before, .. }) if **before == *assignment => {
                    Some(Arc::clone(before))
                }
                _ => Some(Arc::new(assignment.clone())),
            },
            Discovery::Eds { .. } => {
                let wanted = cluster.discovery.eds_name(name.as_str()).unwrap_or_default();
                assignments.get(wanted).cloned()
            }
            Discovery::StrictDns(_) | Discovery::LogicalDns(_) => assignments.get(name).cloned(),
        };
        let before = self.before.get(name);
        // Endpoints that are still to come leave in place what was.
        let Some(assignment) = assignment else { return before.cloned() };
        match before.map(|before| &**before) {
            Some(Upstream::Endpoints { cluster: same_cluster, assignment: same_assignment, balancer }) => {
                if Arc::ptr_eq(same_cluster, cluster) && Arc::ptr_eq(same_assignment, &assignment) {
                    return before.cloned();
                }
                balancer.update(Arc::clone(cluster), &assignment, self.now);
                let (cluster, balancer) = (Arc::clone(cluster), balancer.clone());
                Some(Arc::new(Upstream::Endpoints { cluster, assignment, balancer }))
            }
            _ => {
                let setup = Setup { seed: fastrand::u64(..), probing: self.probing };
                let balancer = Balancer::new(Arc::clone(cluster), &assignment, setup, self.now);
                Some(Arc::new(Upstream::Endpoints { cluster: Arc::clone(cluster), assignment, balancer }))
            }
        }
    }
}

fn same_members(one: &[Arc<Upstream>], other: &[Arc<Upstream>]) -> bool {
    one.len() == other.len() && one.iter().zip(other).all(|(one, other)| Arc::ptr_eq(one, other))
}
