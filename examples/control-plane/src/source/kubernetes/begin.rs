use std::path::PathBuf;
use std::sync::Arc;

use mesh_core::live::{Live, Publisher};
use mesh_identity::clock::{Clock, SystemClock};
use mesh_identity::task::Tasks;
use serde::Deserialize;

use super::{Access, Api, Candidate, Desired, Error, Kubernetes, Terms};
use crate::admission::gate::Gate;
use crate::resource::LabelSelector;
use crate::source::Said;

/// A cluster as a source.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Its name, under which findings have it.
    #[serde(default = "name")]
    pub name: String,
    /// A kubeconfig file. Absent, what a pod finds in its file system is used.
    #[serde(default)]
    pub kubeconfig: Option<PathBuf>,
    /// The context of the kubeconfig; absent, its current one.
    #[serde(default)]
    pub context: Option<String>,
    /// Which namespaces are read, by their labels: those that any of these selects. Absent, all. Istio's `discoverySelectors`.
    #[serde(default)]
    pub discovery_selectors: Vec<LabelSelector>,
    /// Statuses; absent, none is written.
    #[serde(default)]
    pub status: Option<StatusSettings>,
}

/// Statuses, and who of several replicas writes them.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StatusSettings {
    /// Our name among controllers: `controllerName` of GatewayClasses and in statuses.
    pub controller: String,
    /// Namespace of the Lease.
    #[serde(default = "namespace")]
    pub namespace: String,
    /// Name of the Lease.
    #[serde(default = "lease")]
    pub lease: String,
}

fn name() -> String {
    "kubernetes".to_owned()
}

fn namespace() -> String {
    "istio-system".to_owned()
}

fn lease() -> String {
    "mesh-status".to_owned()
}

/// Begins to read a cluster and, where it is to, to write the statuses of its objects. Both go on until `tasks` end; `end` ends
/// only the leadership, in peace, and comes before that.
///
/// # Errors
/// [`Error::Config`] when the settings lead to no API server, [`Error::Name`]. An API server that does not answer is none: it is
/// waited for.
pub async fn begin(
    settings: Settings,
    gate: Option<Arc<Gate>>,
    desired: Live<Desired>,
    end: impl Future<Output = ()> + Send + 'static,
    tasks: &Tasks,
) -> Result<Live<Said>, Error> {
    let Settings { name, kubeconfig, context, discovery_selectors, status } = settings;
    let api = Api::open(&Access { kubeconfig, context }).await?;
    let cluster = Kubernetes::new(&name, api.clone(), discovery_selectors).judged(gate);
    if let Some(StatusSettings { controller, namespace, lease }) = status {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        // Nobody else's, not even that of this replica before it was started anew.
        let identity = format!("control-plane-{:016x}", fastrand::u64(..));
        let terms = Terms::default();
        let (candidate, leadership) = Candidate::new(api, &namespace, &lease, identity, terms, Arc::clone(&clock))?;
        tasks.spawn(candidate.run(end));
        tasks.spawn(cluster.status_writer(&controller, leadership, clock).run(desired));
    }
    let (publisher, said) = Publisher::new(Said::default());
    let more = tasks.clone();
    tasks.spawn(async move { cluster.run(&more, &publisher).await });
    Ok(said)
}
