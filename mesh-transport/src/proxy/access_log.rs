//! One line per connection, with the field names of Istio's ztunnel. Target `access`.

use std::time::Duration;

use mesh_core::name::NamespacedName;

use super::flow::{Facts, Flow, Outcome};

/// A connection that was open has ended. `cut_by` is the policy that ended it: it is named instead of the one that once
/// allowed it.
pub(super) fn ended(flow: &Flow, outcome: &Outcome, cut_by: Option<&NamespacedName>) {
    let (sent, received) = (flow.counts.sent(), flow.counts.received());
    line(&flow.facts, outcome, cut_by.or(flow.facts.policy.as_ref()), sent, received, flow.begun.elapsed());
}

/// A connection was refused.
pub(super) fn refused(facts: &Facts, outcome: &Outcome) {
    line(facts, outcome, facts.policy.as_ref(), 0, 0, Duration::ZERO);
}

fn line(facts: &Facts, outcome: &Outcome, policy: Option<&NamespacedName>, sent: u64, received: u64, took: Duration) {
    let source = facts.source_workload.as_deref();
    let destination = facts.destination_workload.as_deref();
    tracing::event!(
        target: "access",
        tracing::Level::INFO,
        src.addr = %facts.source,
        src.workload = source.map(|workload| workload.name.as_str()),
        src.namespace = source.map(|workload| workload.namespace.as_str()),
        src.identity = facts.source_identity.as_ref().map(|id| tracing::field::display(id.to_string())),
        dst.addr = facts.destination.map(|address| tracing::field::display(address.to_string())),
        dst.hbone_addr = facts.tunnel.map(|address| tracing::field::display(address.to_string())),
        dst.requested = facts.requested,
        dst.service = facts.service.as_ref().map(|service| service.key.hostname.as_str()),
        dst.workload = destination.map(|workload| workload.name.as_str()),
        dst.namespace = destination.map(|workload| workload.namespace.as_str()),
        dst.identity = facts.destination_identity.as_ref().map(|id| tracing::field::display(id.to_string())),
        direction = facts.direction.as_str(),
        reason = facts.reason,
        policy = policy.map(|policy| tracing::field::display(policy.to_string())),
        response_flags = outcome.flag(),
        error = outcome.error(),
        // As seen from the client, whichever side reports.
        bytes_sent = received,
        bytes_recv = sent,
        duration_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        "connection"
    );
}
