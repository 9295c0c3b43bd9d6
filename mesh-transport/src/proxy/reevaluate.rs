use std::collections::HashMap;
use std::sync::Arc;

use mesh_core::authz::{Connection, Verdict, evaluate};
use mesh_core::catalog::Catalog;
use mesh_identity::bundle::BundleSet;
use mesh_identity::clock::Clock;
use mesh_identity::verify;

use super::Inputs;
use super::flow::Facts;
use super::track::{Cause, Chain, Watched};

/// Judges all open connections again whenever policies, workload records, trust bundles or revocation lists change, and
/// closes those that would now be refused: inbound ones by policy and by the peer's certificates, outbound ones by the
/// certificates of the other end. Runs until the live values have no publisher any more.
///
/// # Cancel safety
/// Safe; nothing is judged any more.
pub async fn reevaluate(inputs: Inputs, clock: impl Clock) {
    let mut policies = inputs.policies.changes();
    let mut catalog = inputs.catalog.changes();
    let mut bundles = inputs.identities.bundles().changes();
    // None: connections that stand already were judged by nobody knows what.
    let mut judged_by: Option<Arc<BundleSet>> = None;
    loop {
        let changed = tokio::select! {
            changed = policies.changed() => changed.map(drop),
            changed = catalog.changed() => changed.map(drop),
            changed = bundles.changed() => changed.map(drop),
        };
        if changed.is_err() {
            return;
        }
        let trusted = bundles.current();
        let distrusted = if judged_by.as_ref().is_some_and(|last| Arc::ptr_eq(last, &trusted)) {
            HashMap::new()
        } else {
            judge_chains(&inputs, &trusted, &clock).await
        };
        judged_by = Some(trusted);
        let closed = close(&inputs, &distrusted);
        if closed > 0 {
            tracing::info!(closed, "connections closed that are no longer allowed");
        }
    }
}

/// Chains that are not trusted any more, by where they stand in memory: tunnels of one connection share theirs.
type Distrusted = HashMap<usize, (Chain, verify::Error)>;

/// Judges each chain once. Signatures take their time: between one chain and the next, other tasks run.
async fn judge_chains(inputs: &Inputs, trusted: &BundleSet, clock: &impl Clock) -> Distrusted {
    let now = clock.now();
    let mut distrusted = HashMap::new();
    for (chain, purpose) in inputs.tracker.chains() {
        if let Err(error) = verify::still_trusted(&chain, trusted, purpose, now) {
            distrusted.insert(chain.as_ptr().addr(), (chain, error));
        }
        tokio::task::yield_now().await;
    }
    distrusted
}

fn close(inputs: &Inputs, distrusted: &Distrusted) -> usize {
    let (policies, catalog) = (inputs.policies.snapshot(), inputs.catalog.snapshot());
    let distrust = |chain: &Chain| distrusted.get(&chain.as_ptr().addr()).map(|(_, error)| Cause::Trust(error.clone()));
    inputs.tracker.judge(|facts: &Facts, watched: &Watched| match watched {
        Watched::Outbound { chains } => chains.iter().find_map(distrust),
        Watched::Terminated { chain } => distrust(chain),
        Watched::Inbound { local, chain } => {
            chain.as_ref().and_then(distrust).or_else(|| forbidden(&catalog, &policies, local.as_str(), facts))
        }
    })
}

/// Why a connection into a local workload would be refused now.
pub(super) fn forbidden(
    catalog: &Catalog,
    policies: &mesh_core::authz::PolicySet,
    local: &str,
    facts: &Facts,
) -> Option<Cause> {
    let Some(local) = catalog.workload(local) else { return Some(Cause::WorkloadGone) };
    let destination = facts.destination?;
    let connection = Connection { peer: facts.source_identity.as_ref(), source: facts.source.ip(), destination };
    match evaluate(policies, local, &connection) {
        Verdict::Allowed(_) => None,
        Verdict::Denied(denial) => Some(Cause::Policy(denial)),
    }
}
