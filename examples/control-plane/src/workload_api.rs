//! The Workload API for processes beside the control plane, such as a dashboard or a bastion: SVIDs without a node's proxy.

use std::sync::Arc;

use mesh_core::report::chain;
use mesh_host::member::Error;
use mesh_identity::authority::{Authority, Names};
use mesh_identity::clock::{Clock, SystemClock};
use mesh_identity::source::{Identities, JwtCache, LocalSource};
use mesh_identity::task::Tasks;
use mesh_identity::trust::TrustStore;
use mesh_identity::workload_api::{Listener, Parts, UnixAttestor, WorkloadApi};

use crate::settings::WorkloadApi as Settings;
use crate::spire::{OWN_LIFE, entries};

/// Begins to serve. It goes on until the tasks are stopped.
pub(crate) fn serve(
    settings: &Settings,
    authority: &Arc<Authority>,
    trust: &TrustStore,
    tasks: &Tasks,
) -> Result<(), Error> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let entries = entries(&settings.entries, tasks)?;
    let life = OWN_LIFE.min(authority.rules().max_life);
    let source = LocalSource::new(Arc::clone(authority), life, Names::default()).by_entries(entries.clone());
    let api = WorkloadApi::new(Parts {
        entries,
        identities: Identities::builder(Arc::new(source), trust.bundles().load().clone()).build(),
        bundles: trust.bundles(),
        tokens: Arc::new(JwtCache::new(Arc::<Authority>::clone(authority), Arc::clone(&clock))),
        attestor: Arc::new(UnixAttestor { program: settings.programs }),
        clock,
    });
    let listener = Listener::bind(&settings.socket)?;
    tasks.spawn(async move {
        if let Err(error) = api.serve(listener).await {
            tracing::error!(error = chain(&error), "the Workload API is not served any more");
        }
    });
    Ok(())
}
