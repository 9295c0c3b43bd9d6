use mesh_core::authz::{Connection, Verdict, evaluate};
use mesh_core::catalog::Catalog;
use mesh_identity::clock::Clock;
use mesh_identity::verify::{self, Purpose};
use rustls::pki_types::CertificateDer;

use super::Inputs;
use super::flow::Facts;
use super::track::{Cause, Watched};

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
    loop {
        let changed = tokio::select! {
            changed = policies.changed() => changed.map(drop),
            changed = catalog.changed() => changed.map(drop),
            changed = bundles.changed() => changed.map(drop),
        };
        if changed.is_err() {
            return;
        }
        let closed = judge_all(&inputs, &clock);
        if closed > 0 {
            tracing::info!(closed, "connections closed that are no longer allowed");
        }
    }
}

fn judge_all(inputs: &Inputs, clock: &impl Clock) -> usize {
    let (policies, catalog) = (inputs.policies.snapshot(), inputs.catalog.snapshot());
    let bundles = inputs.identities.bundles().snapshot();
    let now = clock.now();
    let distrust =
        |chain: &[CertificateDer<'static>], purpose| verify::still_trusted(chain, &bundles, purpose, now).err();
    inputs.tracker.judge(|facts: &Facts, watched: &Watched| match watched {
        Watched::Outbound { chains } => {
            chains.iter().find_map(|chain| distrust(chain, Purpose::Server)).map(Cause::Trust)
        }
        Watched::Inbound { local, chain } => {
            let distrusted = chain.as_ref().and_then(|chain| distrust(chain, Purpose::Client));
            distrusted.map(Cause::Trust).or_else(|| forbidden(&catalog, &policies, local.as_str(), facts))
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
