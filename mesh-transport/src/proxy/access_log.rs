//! One line per connection, with the field names of Istio's ztunnel. Target `access`.

use std::time::Duration;

use mesh_core::name::NamespacedName;

use super::flow::{Direction, Facts, Flow, Outcome};

/// A connection was opened.
pub(super) fn opened(facts: &Facts) {
    tracing::event!(
        target: "access",
        tracing::Level::DEBUG,
        src.addr = %facts.source,
        dst.requested = facts.requested,
        dst.addr = facts.tunnel.or(facts.destination).map(display),
        direction = facts.direction.as_str(),
        trace_id = facts.trace.map(display),
        "connection opened"
    );
}

/// A connection that was open has ended. `cut_by` is the policy that ended it: it is named instead of the one that once
/// allowed it.
pub(super) fn ended(flow: &Flow, outcome: &Outcome, cut_by: Option<&NamespacedName>) {
    let bytes = (flow.counts.sent(), flow.counts.received());
    let (facts, policy) = (&flow.facts, cut_by.or(flow.facts.policy.as_ref()));
    line(facts, outcome, policy, bytes, Some(flow.begun.elapsed()));
}

/// A connection was refused.
pub(super) fn refused(facts: &Facts, outcome: &Outcome) {
    line(facts, outcome, facts.policy.as_ref(), (0, 0), None);
}

/// `bytes`: client to server, and back. `took` is `None` for a connection that was never open.
fn line(facts: &Facts, outcome: &Outcome, policy: Option<&NamespacedName>, bytes: (u64, u64), took: Option<Duration>) {
    let source = facts.source_workload.as_deref();
    let destination = facts.destination_workload.as_deref();
    // As seen from the workload whose proxy this is.
    let (sent, received) = match facts.direction {
        Direction::Outbound => bytes,
        Direction::Inbound => (bytes.1, bytes.0),
    };
    // The level must be known where the event stands; a macro writes it three times.
    macro_rules! event {
        ($level:ident, $message:literal) => {
            tracing::event!(
                target: "access",
                tracing::Level::$level,
                src.addr = %facts.source,
                src.workload = source.map(|workload| workload.name.as_str()),
                src.namespace = source.map(|workload| workload.namespace.as_str()),
                src.identity = facts.source_identity.as_ref().map(|id| display(id.to_string())),
                src.cluster = source.map(|workload| workload.cluster_id.as_str()),
                dst.addr = facts.tunnel.or(facts.destination).map(display),
                dst.hbone_addr = facts.tunnel.and(facts.authority()),
                dst.requested = facts.requested,
                dst.service = facts.service.as_ref().map(|service| service.key.hostname.as_str()),
                dst.workload = destination.map(|workload| workload.name.as_str()),
                dst.namespace = destination.map(|workload| workload.namespace.as_str()),
                dst.identity = facts.destination_identity.as_ref().map(|id| display(id.to_string())),
                dst.cluster = destination.map(|workload| workload.cluster_id.as_str()),
                direction = facts.direction.as_str(),
                reason = facts.reason,
                policy = policy.map(|policy| display(policy.to_string())),
                response_flags = outcome.flag(),
                trace_id = facts.trace.map(display),
                bytes_sent = sent,
                bytes_recv = received,
                duration = took.map(|took| display(format!("{}ms", took.as_millis()))),
                error = outcome.error(),
                $message
            )
        };
    }
    match (took, outcome.error()) {
        (Some(_), None) => event!(INFO, "connection complete"),
        (Some(_), Some(_)) => event!(ERROR, "connection complete"),
        (None, _) => event!(WARN, "connection failed"),
    }
}
