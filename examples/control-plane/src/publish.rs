//! From files to the xDS cache, again and again.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use mesh_core::authz::Policy;
use mesh_core::live::Publisher;
use mesh_core::name::{NamespacedHostname, Network, SpiffeId};
use mesh_core::service::{GatewayDestination, Service};
use mesh_core::workload::Workload;
use mesh_host::ready::Ready;
use mesh_xds::server::machine::node_key;
use mesh_xds::server::{CacheWriter, Entry};
use mesh_xds::workload::{ADDRESS_TYPE, POLICY_TYPE, encode_policy, encode_service, encode_workload};

use crate::admission::admit;
use crate::finding::{Finding, Origin};
use crate::source::dir::{self, SourceFile};
use crate::translate::{Place, Translation, translate};
use crate::view::Views;

/// Identities by the node on which their workloads run.
pub(crate) type Assignments = BTreeMap<String, BTreeSet<SpiffeId>>;

/// Reads, judges, translates and publishes.
pub(crate) struct Publish {
    pub(crate) directory: PathBuf,
    pub(crate) interval: Duration,
    pub(crate) place: Place,
    pub(crate) cache: CacheWriter,
    pub(crate) views: Arc<Views>,
    pub(crate) assignments: Publisher<Assignments>,
    pub(crate) findings: Publisher<Vec<Finding>>,
    pub(crate) ready: Ready,
}

impl Publish {
    /// Runs until dropped.
    pub(crate) async fn run(self) {
        let mut seen: Option<Vec<SourceFile>> = None;
        loop {
            let directory = self.directory.clone();
            match tokio::task::spawn_blocking(move || dir::read(&directory)).await {
                Ok(Ok(files)) => {
                    if seen.as_ref() != Some(&files) {
                        self.take(&files);
                        seen = Some(files);
                    }
                }
                Ok(Err(error)) => {
                    let origin = Origin { file: self.directory.clone(), line: 1 };
                    self.report(vec![origin.error(format!("the directory cannot be read: {error}"))]);
                    seen = None;
                }
                Err(error) => tracing::error!(%error, "reading the directory failed"),
            }
            tokio::time::sleep(self.interval).await;
        }
    }

    fn take(&self, files: &[SourceFile]) {
        match admit(files) {
            Ok((world, findings)) => {
                let translation = translate(&world, &self.place);
                // Who may have which identity first: a node asks as soon as it learns of a workload.
                self.assignments.publish(translation.identities_by_node());
                let changed = self.put(&translation) + self.views.publish(world, translation);
                tracing::info!(files = files.len(), changed, "configuration taken");
                self.report(findings);
                self.ready.set("configuration", true);
            }
            Err(findings) => {
                tracing::error!("configuration not taken; what was there before goes on");
                self.report(findings);
            }
        }
    }

    /// Puts everything into the cache at once. The stream's machine then sees to it that what is new arrives before what is
    /// gone; it could not if policies and workloads came one after the other.
    fn put(&self, translation: &Translation) -> usize {
        let policy = |policy: &Policy| (policy.name.to_string(), Entry::new(encode_policy(policy), Vec::new()));
        let workload = |workload: &Workload| {
            let aliases = workload.addresses.iter().map(|ip| format!("{}/{ip}", workload.network)).collect();
            let mut with: Vec<String> = workload.services.keys().map(ToString::to_string).collect();
            if !workload.node.is_empty() {
                with.push(node_key(workload.node.as_str()));
            }
            (workload.uid.to_string(), Entry::new(encode_workload(workload), aliases).coming_with(with))
        };
        // Proxies that ask for single services look their waypoints up in what they have: it must come along.
        let mut served: HashMap<NamespacedHostname, Vec<String>> = HashMap::new();
        for service in &translation.services {
            let weighted = service.weighted_waypoints.iter().map(|(reference, _)| reference);
            for reference in service.waypoint.iter().chain(weighted) {
                if let GatewayDestination::Hostname(waypoint) = &reference.destination {
                    served.entry(waypoint.clone()).or_default().push(service.key.to_string());
                }
            }
        }
        let service = |service: &Service| {
            let alias = |(network, range): &(Network, IpNet)| match range.prefix_len() == range.max_prefix_len() {
                true => format!("{network}/{}", range.addr()),
                false => format!("{network}/{range}"),
            };
            let aliases = service.vips.iter().map(alias).collect();
            let with = served.get(&service.key).cloned().unwrap_or_default();
            (service.key.to_string(), Entry::new(encode_service(service), aliases).coming_with(with))
        };
        let policies: Vec<_> = translation.policies.iter().map(policy).collect();
        let workloads = translation.workloads.iter().map(workload);
        let addresses: Vec<_> = workloads.chain(translation.services.iter().map(service)).collect();
        self.cache.replace([(POLICY_TYPE, policies), (ADDRESS_TYPE, addresses)])
    }

    fn report(&self, findings: Vec<Finding>) {
        for finding in &findings {
            match finding.severity {
                crate::finding::Severity::Error => tracing::error!("{finding}"),
                crate::finding::Severity::Warning => tracing::warn!("{finding}"),
            }
        }
        self.findings.publish(findings);
    }
}
