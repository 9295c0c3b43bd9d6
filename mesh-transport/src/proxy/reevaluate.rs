use mesh_core::authz::{Connection, Verdict, evaluate};
use mesh_identity::clock::Clock;
use mesh_identity::verify::{self, Purpose};

use super::Inputs;
use super::flow::Facts;
use super::track::{Cause, InboundPeer};

/// Judges all open inbound connections again whenever policies, workload records or trust bundles change, and closes those
/// that would now be refused. Runs until the live values have no publisher any more.
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
    inputs.tracker.judge(|facts: &Facts, peer: &InboundPeer| {
        let Some(local) = catalog.workload(peer.local.as_str()) else { return Some(Cause::WorkloadGone) };
        match verify::peer(Some(&peer.chain), &bundles, Purpose::Client, now) {
            // A certificate that has run out since ends no connection by itself: the peer has been who it was.
            Ok(_) | Err(verify::Error::Expired(_)) => {}
            Err(error) => return Some(Cause::Trust(error)),
        }
        let destination = facts.destination?;
        let connection = Connection { peer: facts.source_identity.as_ref(), source: facts.source.ip(), destination };
        match evaluate(&policies, local, &connection) {
            Verdict::Allowed(_) => None,
            Verdict::Denied(denial) => Some(Cause::Policy(denial)),
        }
    })
}
