//! All that a proxy is told, as it follows its control plane.
//!
//! [`Keeper`] watches every listener and every cluster, and the routes and endpoints that these name, and publishes the
//! whole ([`mesh_core::config`]). A name that DNS knows is looked up; balancers are looked after when their time comes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures_util::future::{AbortHandle, Abortable, BoxFuture};
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use mesh_core::balance::{Assignment, Cluster, Discovery};
use mesh_core::config::{Assembly, Config, Resources, Upstream, Whereabouts};
use mesh_core::listener::Listener;
use mesh_core::live::{Live, Publisher};
use mesh_core::name::Text;
use mesh_core::route::RouteTable;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::client::{Client, Watch, WatchAll};
use crate::dns::Names;
use crate::resource::Resource;

/// Follows all that a control plane tells a proxy.
#[derive(Debug)]
pub struct Keeper {
    publisher: Publisher<Config>,
    client: Client,
    listeners: WatchAll<Listener>,
    clusters: WatchAll<Cluster>,
    resources: Resources,
    assembly: Assembly,
    routes: BTreeMap<Text, Watching>,
    assignments: BTreeMap<Text, Watching>,
    names: BTreeMap<Text, Names>,
    /// One per watch by name: it ends with the watch, changed.
    changes: FuturesUnordered<Abortable<BoxFuture<'static, Changed>>>,
}

/// A resource that is watched by name. Dropping this ends the watch.
#[derive(Debug)]
struct Watching(AbortHandle);

impl Drop for Watching {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A watch that has changed.
enum Changed {
    Routes(Text, Watch<RouteTable>),
    Assignment(Text, Watch<Assignment>),
    /// There will be no more changes.
    Gone,
}

impl Keeper {
    /// What follows all that `client`'s default servers say, and the configuration that it keeps.
    #[must_use]
    pub fn new(client: &Client) -> (Self, Live<Config>) {
        let (publisher, config) = Publisher::new(Config::default());
        let keeper = Self {
            publisher,
            client: client.clone(),
            listeners: client.watch_all(),
            clusters: client.watch_all(),
            resources: Resources::default(),
            assembly: Assembly::probing(),
            routes: BTreeMap::new(),
            assignments: BTreeMap::new(),
            names: BTreeMap::new(),
            changes: FuturesUnordered::new(),
        };
        (keeper, config)
    }

    /// The same for a proxy that is there: requests may stay in their zone, as clusters say.
    #[must_use]
    pub fn at(mut self, whereabouts: Whereabouts) -> Self {
        self.assembly = self.assembly.at(whereabouts);
        self
    }

    /// Follows until cancelled.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the configuration as it is.
    pub async fn run(mut self, cancel: CancellationToken) {
        loop {
            self.look();
            let names = self.names.values().map(|names| names.next).min();
            let due = self.tick().into_iter().chain(names).min();
            tokio::select! {
                biased;
                () = cancel.cancelled() => return,
                Ok(()) = self.listeners.changed() => {}
                Ok(()) = self.clusters.changed() => {}
                Some(changed) = self.changes.next() => self.note(changed),
                () = until(due) => self.look_up().await,
            }
            // What comes together is taken together.
            while let Some(Some(changed)) = self.changes.next().now_or_never() {
                self.note(changed);
            }
        }
    }

    /// Takes what is known, watches what it names, and publishes the whole.
    fn look(&mut self) {
        let by_name = |(name, value): (Arc<str>, _)| (Text::from(&*name), value);
        self.resources.listeners = self.listeners.values().into_iter().map(by_name).collect();
        self.resources.clusters =
            self.clusters.values().into_iter().map(|(name, value)| (Text::from(&*name), value)).collect();
        let wanted = self.resources.wanted_routes();
        follow(&mut self.routes, &mut self.resources.routes, &wanted, &self.client, &self.changes, Changed::Routes);
        let wanted = self.resources.wanted_assignments();
        let dns: BTreeMap<&Text, _> = self
            .resources
            .clusters
            .iter()
            .filter_map(|(name, cluster)| match &cluster.discovery {
                Discovery::StrictDns(dns) => Some((name, (dns, false))),
                Discovery::LogicalDns(dns) => Some((name, (dns, true))),
                _ => None,
            })
            .collect();
        self.names.retain(|name, names| dns.get(name).is_some_and(|(dns, _)| names.dns == **dns));
        for (name, (dns, single)) in dns {
            if !self.names.contains_key(name) {
                self.names.insert(name.clone(), Names::new(dns.clone(), single));
            }
        }
        let mut assignments = std::mem::take(&mut self.resources.assignments);
        assignments.retain(|name, _| wanted.contains(name));
        follow(&mut self.assignments, &mut assignments, &wanted, &self.client, &self.changes, Changed::Assignment);
        let looked_up = self.names.iter().filter_map(|(name, names)| Some((name.clone(), names.assignment.clone()?)));
        assignments.extend(looked_up);
        self.resources.assignments = assignments;
        let config = self.assembly.assemble(&self.resources, Instant::now().into_std());
        if !config.is(&self.publisher.live().snapshot()) {
            self.publisher.publish(config);
        }
    }

    fn note(&mut self, changed: Result<Changed, futures_util::future::Aborted>) {
        match changed {
            Ok(Changed::Routes(name, watch)) => {
                take(&mut self.resources.routes, &name, &watch);
                if let Some(watching) = self.routes.get_mut(&name) {
                    *watching = await_change(&self.changes, name, watch, Changed::Routes);
                }
            }
            Ok(Changed::Assignment(name, watch)) => {
                take(&mut self.resources.assignments, &name, &watch);
                if let Some(watching) = self.assignments.get_mut(&name) {
                    *watching = await_change(&self.changes, name, watch, Changed::Assignment);
                }
            }
            Ok(Changed::Gone) | Err(_) => {}
        }
    }

    /// Looks after balancers whose time has come; says when the next one's will.
    fn tick(&self) -> Option<Instant> {
        let config = self.publisher.live().snapshot();
        let now = Instant::now().into_std();
        let balancers = config.clusters.values().filter_map(|upstream| match &**upstream {
            Upstream::Endpoints { balancer, .. } => Some(balancer),
            Upstream::Aggregate(_) | Upstream::OriginalDestination(_) => None,
        });
        let next = balancers.filter_map(|balancer| {
            if balancer.next_tick().is_some_and(|tick| tick <= now) {
                balancer.handle_tick(now);
            }
            balancer.next_tick()
        });
        next.min().map(Instant::from_std)
    }

    /// Asks DNS for what is due.
    async fn look_up(&mut self) {
        let due = self.names.values_mut().filter(|names| names.next <= Instant::now());
        futures_util::future::join_all(due.map(Names::look_up)).await;
    }
}

async fn until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Begins the watches that are wanted and ends the others.
fn follow<T: Resource>(
    watching: &mut BTreeMap<Text, Watching>,
    values: &mut BTreeMap<Text, Arc<T>>,
    wanted: &BTreeSet<Text>,
    client: &Client,
    changes: &FuturesUnordered<Abortable<BoxFuture<'static, Changed>>>,
    changed: fn(Text, Watch<T>) -> Changed,
) {
    watching.retain(|name, _| wanted.contains(name));
    values.retain(|name, _| wanted.contains(name));
    for name in wanted {
        if watching.contains_key(name) {
            continue;
        }
        let watch = client.watch::<T>(name.as_str());
        take(values, name, &watch);
        watching.insert(name.clone(), await_change(changes, name.clone(), watch, changed));
    }
}

/// What a watch says now. A value that is gone stays in use: routes and endpoints leave with who names them.
fn take<T: Resource>(values: &mut BTreeMap<Text, Arc<T>>, name: &Text, watch: &Watch<T>) {
    if let Some(value) = watch.value() {
        values.insert(name.clone(), value);
    }
}

fn await_change<T: Resource>(
    changes: &FuturesUnordered<Abortable<BoxFuture<'static, Changed>>>,
    name: Text,
    mut watch: Watch<T>,
    changed: fn(Text, Watch<T>) -> Changed,
) -> Watching {
    let (abort, registration) = AbortHandle::new_pair();
    let waiting = async move {
        match watch.changed().await {
            Ok(()) => changed(name, watch),
            Err(_) => Changed::Gone,
        }
    };
    changes.push(Abortable::new(waiting.boxed(), registration));
    Watching(abort)
}
