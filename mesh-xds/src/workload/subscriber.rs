use std::path::PathBuf;
use std::time::SystemTime;

use mesh_core::authz::{PolicyDelta, PolicySet};
use mesh_core::catalog::{Catalog, Delta};
use mesh_core::live::{Live, Publisher};
use mesh_core::name::NamespacedName;
use mesh_core::report::chain;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{
    ADDRESS_TYPE, Address, Error, LocalFile, POLICY_TYPE, decode_address, decode_policy, refusing_address,
    refusing_policy,
};
use crate::client::backoff::Backoff;
use crate::client::fallback::{Fallback, Ladder};
use crate::client::keep::{self, Kept};
use crate::client::machine::{Interest, Machine, Rejected, ServerTraits, Update, Variant};
use crate::client::persist::{self, Snapshot};
use crate::client::{Connect, Demand, Event, Handler, Status, Wish, run};
use crate::pb::Node;

/// What a subscriber needs to know.
#[derive(Clone)]
#[non_exhaustive]
pub struct Setup {
    /// Who we are to the server.
    pub node: Node,
    /// The servers, in the order in which they are preferred. One without a name by default, spoken to in delta, which is the
    /// only variant that Istio's control plane speaks for these types.
    pub servers: Vec<ServerTraits>,
    /// When the next server is asked.
    pub fallback: Fallback,
    /// Where the last good state is kept; nowhere by default.
    pub file: Option<PathBuf>,
    /// Pauses between streams.
    pub backoff: Backoff,
    /// Workloads, services and policies that are there whatever the server says, as from a file.
    pub fixed: LocalFile,
    /// Who asks for single workloads and services; everything is asked for when nobody does.
    pub demand: Option<Demand>,
    /// Reads the wall time, for the age of the state.
    pub now: fn() -> SystemTime,
}

impl std::fmt::Debug for Setup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Setup").field("node", &self.node.id).field("file", &self.file).finish_non_exhaustive()
    }
}

impl Setup {
    /// A setup for a node; `now` reads the wall time.
    #[must_use]
    pub fn new(node: Node, now: fn() -> SystemTime) -> Self {
        Self {
            node,
            servers: vec![ServerTraits::new("", Variant::Delta)],
            fallback: Fallback::default(),
            file: None,
            backoff: Backoff::default(),
            fixed: LocalFile::default(),
            demand: None,
            now,
        }
    }

    /// Follows these servers, in the order in which they are preferred.
    #[must_use]
    pub fn servers(mut self, servers: Vec<ServerTraits>) -> Self {
        self.servers = servers;
        self
    }

    /// Keeps the last good state in a file, and starts from it.
    #[must_use]
    pub fn file(mut self, file: PathBuf) -> Self {
        self.file = Some(file);
        self
    }

    /// Asks only for what is demanded.
    #[must_use]
    pub fn on_demand(mut self, demand: Demand) -> Self {
        self.demand = Some(demand);
        self
    }

    /// Other pauses between streams.
    #[must_use]
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }
}

/// What a subscriber has learned, live. Cheap to clone.
#[derive(Debug, Clone)]
pub struct State {
    /// Workloads and services.
    pub catalog: Live<Catalog>,
    /// Policies.
    pub policies: Live<PolicySet>,
    /// How the subscription stands.
    pub status: Live<Status>,
}

/// Subscribes to all workloads, services and policies of a server and publishes them.
#[derive(Debug)]
pub struct Subscriber {
    machine: Machine,
    ladder: Ladder,
    applier: Applier,
}

#[derive(Debug)]
struct Applier {
    catalog: Publisher<Catalog>,
    policies: Publisher<PolicySet>,
    status: Publisher<Status>,
    accepted: Kept,
    demand: Option<Demand>,
    writer: Option<Publisher<Option<Kept>>>,
    file: Option<PathBuf>,
    now: fn() -> SystemTime,
}

impl Subscriber {
    /// A subscriber that starts from its file, if it has one and the file is whole. The state may be read at once.
    #[must_use]
    pub fn new(setup: Setup) -> (Self, State) {
        let (mut delta, mut policy_delta) = (Delta::new(), PolicyDelta::new());
        let LocalFile { workloads, services, policies } = setup.fixed;
        workloads.into_iter().for_each(|workload| delta.upsert_workload(workload));
        services.into_iter().for_each(|service| delta.upsert_service(service));
        policies.into_iter().for_each(|policy| policy_delta.upsert(policy));
        let (catalog, live_catalog) = Publisher::new(Catalog::default().apply(delta));
        let (policies, live_policies) = Publisher::new(PolicySet::default().apply(policy_delta));
        let (status, live_status) = Publisher::new(Status::default());
        let node = setup.node.id.clone();
        // Policies first: a policy that a workload names must be there before the workload.
        let accepted = Kept::new(&node, &setup.servers, &[POLICY_TYPE, ADDRESS_TYPE], setup.file.is_some());
        let ladder = Ladder::new(setup.servers.len(), setup.fallback, &setup.backoff);
        let mut machine = Machine::new(setup.node, setup.servers);
        machine.want(POLICY_TYPE, Interest::All);
        machine.want(ADDRESS_TYPE, if setup.demand.is_some() { Interest::OnDemand } else { Interest::All });
        let mut applier = Applier {
            catalog,
            policies,
            status,
            accepted,
            demand: setup.demand,
            writer: None,
            file: setup.file,
            now: setup.now,
        };
        if let Some(snapshot) = applier.file.as_deref().and_then(|file| persist::load(file, &node)) {
            applier.restore(&snapshot, &mut machine);
        }
        let state = State { catalog: live_catalog, policies: live_policies, status: live_status };
        (Self { machine, ladder, applier }, state)
    }

    /// Follows the servers of the setup until cancelled, one connect each. Whatever becomes of them, the last good state stays
    /// in use.
    ///
    /// # Cancel safety
    /// Dropping the future ends the stream; a state not yet written is lost with it, the one before is not.
    pub async fn run<C: Connect>(self, connects: Vec<C>, cancel: CancellationToken) {
        let Self { machine, ladder, mut applier } = self;
        let Some(file) = applier.file.clone() else {
            return run(connects, machine, ladder, &mut applier, cancel).await;
        };
        let (publisher, states) = Publisher::new(None);
        applier.writer = Some(publisher);
        // The writer ends after the client, when nobody publishes any more, so that the last state reaches the disk.
        let client = async move { run(connects, machine, ladder, &mut applier, cancel).await };
        tokio::join!(client, keep::write(states, file));
    }
}

impl Applier {
    fn restore(&mut self, snapshot: &Snapshot, machine: &mut Machine) {
        let now = (self.now)();
        for kept in &snapshot.types {
            let mut update = Applied::default();
            for entry in &kept.resources {
                let left = entry.left(now);
                if left.is_some_and(|left| left.is_zero()) {
                    continue;
                }
                match update.upsert(&kept.type_url, &entry.name, &entry.body) {
                    Ok(()) => {
                        if self.accepted.knows(&kept.type_url) {
                            let server =
                                snapshot.server_of(entry, machine.servers().iter().map(|server| &*server.name));
                            self.accepted.restore(&kept.type_url, entry, server);
                            let expires = left.map(|left| Instant::now().into_std() + left);
                            machine.restore(&kept.type_url, &entry.name, &entry.version, server, expires);
                        }
                    }
                    Err(error) => tracing::warn!(name = entry.name, %error, "resource on disk is not used"),
                }
            }
            self.publish(update);
        }
        tracing::info!(written = ?snapshot.written_at(), "serving the last good state from disk");
        self.status.publish(Status {
            loaded_from_disk: true,
            stale_since: Some(snapshot.written_at()),
            ready: true,
            ..Status::default()
        });
    }

    /// One answer is one new catalog and one new policy set, each whole.
    fn publish(&self, applied: Applied) {
        if !applied.policies.is_empty() {
            self.policies.publish(self.policies.live().load().apply(applied.policies));
        }
        if !applied.catalog.is_empty() {
            self.catalog.publish(self.catalog.live().load().apply(applied.catalog));
        }
    }
}

impl Handler for Applier {
    fn apply(&mut self, update: &Update) -> Vec<Rejected> {
        let mut applied = Applied::default();
        let mut rejected = Vec::new();
        if !self.accepted.knows(&update.type_url) {
            return rejected;
        }
        for name in &update.removed {
            self.accepted.remove(&update.type_url, name);
            applied.remove(&update.type_url, name);
        }
        for resource in &update.upserts {
            let body = resource.resource.as_ref().ok_or(Error::Missing("resource")).and_then(|body| {
                if body.type_url == update.type_url { Ok(&body.value) } else { Err(Error::Type(body.type_url.clone())) }
            });
            match body.and_then(|body| applied.upsert(&update.type_url, &resource.name, body)) {
                Ok(()) => self.accepted.insert(&update.type_url, resource, update.server, (self.now)()),
                Err(error) => {
                    let unknown = !self.accepted.contains(&update.type_url, &resource.name);
                    let reason = chain(&error);
                    // With an earlier version that one stays; without one nothing would protect what this was to protect.
                    if update.type_url == POLICY_TYPE
                        && unknown
                        && let Ok(name) = resource.name.parse::<NamespacedName>()
                    {
                        let body = resource.resource.as_ref().map(|body| body.value.as_slice()).unwrap_or_default();
                        applied.policies.upsert(refusing_policy(&name, body));
                    }
                    // Nor would anybody know that the addresses are part of the mesh: plaintext would go to them.
                    if update.type_url == ADDRESS_TYPE && unknown {
                        let body = resource.resource.as_ref().map(|body| body.value.as_slice()).unwrap_or_default();
                        match refusing_address(&resource.name, body) {
                            Some(Address::Workload(workload)) => applied.catalog.upsert_workload(*workload),
                            Some(Address::Service(service)) => applied.catalog.upsert_service(*service),
                            None => {}
                        }
                    }
                    rejected.push(Rejected { name: resource.name.clone(), reason });
                }
            }
        }
        self.publish(applied);
        if let Some(demand) = self.demand.as_ref().filter(|_| update.type_url == ADDRESS_TYPE) {
            demand.answered(update, &rejected);
        }
        rejected
    }

    fn name(&self, type_url: &str, body: &[u8]) -> Option<String> {
        match type_url {
            ADDRESS_TYPE => Some(match decode_address(body).ok()? {
                Address::Workload(workload) => workload.uid.to_string(),
                Address::Service(service) => service.key.to_string(),
            }),
            _ => decode_policy(body).ok().map(|policy| policy.name.to_string()),
        }
    }

    fn wishes(&mut self) -> Vec<Wish> {
        let Some(demand) = &self.demand else { return Vec::new() };
        let (wanted, released) = demand.take();
        let mut wishes = Vec::new();
        if !released.is_empty() {
            wishes.push(Wish::Unsubscribe(ADDRESS_TYPE, released));
        }
        if !wanted.is_empty() {
            wishes.push(Wish::Subscribe(ADDRESS_TYPE, wanted));
        }
        wishes
    }

    async fn news(&self) {
        match &self.demand {
            Some(demand) => demand.news().await,
            None => std::future::pending().await,
        }
    }

    fn observe(&mut self, machine: &Machine, event: Event<'_>) {
        let before = self.status.live().snapshot();
        let synced = machine.is_synced();
        let (connected, answered, server, error) = match event {
            Event::Answered { server, rejected } => (true, true, Some(server), rejected),
            Event::Ended { connected, error, .. } => (connected, false, before.server, Some(error)),
        };
        let confirmed = answered && synced;
        self.status.publish(Status {
            connected,
            server,
            loaded_from_disk: before.loaded_from_disk && !confirmed,
            stale_since: before.stale_since.filter(|_| !confirmed),
            ready: before.ready || synced,
            rejections: before.rejections + u64::from(answered && error.is_some()),
            responses: before.responses + u64::from(answered),
            last_error: error.map(str::to_owned),
        });
        if confirmed && let Some(writer) = &self.writer {
            writer.publish(Some(self.accepted.at((self.now)())));
        }
    }
}

/// The part of an update that was accepted.
#[derive(Debug, Default)]
struct Applied {
    catalog: Delta,
    policies: PolicyDelta,
}

impl Applied {
    fn upsert(&mut self, type_url: &str, name: &str, body: &[u8]) -> Result<(), Error> {
        let named = |content: String| match content == name {
            true => Ok(()),
            false => Err(Error::ResourceName { name: name.to_owned(), content }),
        };
        match type_url {
            ADDRESS_TYPE => match decode_address(body)? {
                Address::Workload(workload) => {
                    named(workload.uid.to_string())?;
                    self.catalog.upsert_workload(*workload);
                }
                Address::Service(service) => {
                    named(service.key.to_string())?;
                    self.catalog.upsert_service(*service);
                }
            },
            POLICY_TYPE => {
                let policy = decode_policy(body)?;
                named(policy.name.to_string())?;
                self.policies.upsert(policy);
            }
            other => return Err(Error::Type(other.to_owned())),
        }
        Ok(())
    }

    fn remove(&mut self, type_url: &str, name: &str) {
        if type_url == ADDRESS_TYPE {
            self.catalog.remove(name);
        } else if let Some((namespace, name)) = name.split_once('/') {
            self.policies.remove(NamespacedName::new(namespace, name));
        }
    }
}
