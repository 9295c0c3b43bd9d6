use std::path::PathBuf;
use std::time::SystemTime;

use bytes::Bytes;
use http_body::Body as HttpBody;
use mesh_core::authz::{PolicyDelta, PolicySet};
use mesh_core::catalog::{Catalog, Delta};
use mesh_core::live::{Live, Publisher};
use mesh_core::name::NamespacedName;
use mesh_core::report::chain;
use tokio_util::sync::CancellationToken;
use tonic::client::GrpcService;

use super::{
    ADDRESS_TYPE, Address, Error, LocalFile, POLICY_TYPE, decode_address, decode_policy, refusing_address,
    refusing_policy,
};
use crate::client::backoff::Backoff;
use crate::client::keep::{self, Kept};
use crate::client::machine::{Machine, Rejected, Update};
use crate::client::persist::{self, Snapshot};
use crate::client::{Connect, Demand, Handler, Status, run};
use crate::pb::Node;

/// What a subscriber needs to know.
#[derive(Clone)]
#[non_exhaustive]
pub struct Setup {
    /// Who we are to the server.
    pub node: Node,
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
        Self { node, file: None, backoff: Backoff::default(), fixed: LocalFile::default(), demand: None, now }
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
    backoff: Backoff,
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
        let mut machine = Machine::new(setup.node, &[POLICY_TYPE, ADDRESS_TYPE]);
        if setup.demand.is_some() {
            machine = machine.on_demand(ADDRESS_TYPE);
        }
        let accepted = Kept::new(&node, &[POLICY_TYPE, ADDRESS_TYPE], setup.file.is_some());
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
        (Self { machine, backoff: setup.backoff, applier }, state)
    }

    /// Follows a server until cancelled. Whatever becomes of the server, the last good state stays in use.
    ///
    /// # Cancel safety
    /// Dropping the future ends the stream; a state not yet written is lost with it, the one before is not.
    pub async fn run<C>(self, connect: C, cancel: CancellationToken)
    where
        C: Connect,
        C::Service: GrpcService<
                tonic::body::Body,
                ResponseBody: HttpBody<Data = Bytes, Error: Into<tonic::codegen::StdError> + Send> + Send + 'static,
            >,
    {
        let Self { machine, backoff, mut applier } = self;
        let Some(file) = applier.file.clone() else {
            return run(connect, machine, &mut applier, backoff, cancel).await;
        };
        let (publisher, states) = Publisher::new(None);
        applier.writer = Some(publisher);
        // The writer ends after the client, when nobody publishes any more, so that the last state reaches the disk.
        let client = async move { run(connect, machine, &mut applier, backoff, cancel).await };
        tokio::join!(client, keep::write(states, file));
    }
}

impl Applier {
    fn restore(&mut self, snapshot: &Snapshot, machine: &mut Machine) {
        for kept in &snapshot.types {
            let mut update = Applied::default();
            for entry in &kept.resources {
                match update.upsert(&kept.type_url, &entry.name, &entry.body) {
                    Ok(()) => {
                        if self.accepted.knows(&kept.type_url) {
                            self.accepted.insert(&kept.type_url, &entry.name, &entry.version, &entry.body);
                            machine.restore(&kept.type_url, [(entry.name.clone(), entry.version.clone())]);
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
            match body.and_then(|body| applied.upsert(&update.type_url, &resource.name, body).map(|()| body)) {
                Ok(body) => self.accepted.insert(&update.type_url, &resource.name, &resource.version, body),
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
        rejected
    }

    fn demand(&self) -> Option<(&'static str, Demand)> {
        self.demand.clone().map(|demand| (ADDRESS_TYPE, demand))
    }

    fn observe(&mut self, machine: &Machine, connected: bool, error: Option<String>) {
        let before = self.status.live().snapshot();
        let synced = machine.is_synced();
        let confirmed = connected && synced;
        self.status.publish(Status {
            connected,
            loaded_from_disk: before.loaded_from_disk && !confirmed,
            stale_since: before.stale_since.filter(|_| !confirmed),
            ready: before.ready || synced,
            rejections: before.rejections + u64::from(connected && error.is_some()),
            responses: before.responses + u64::from(connected),
            last_error: error,
        });
        if synced
            && connected
            && let Some(writer) = &self.writer
        {
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
