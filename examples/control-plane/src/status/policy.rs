//! BackendTLSPolicies.

use mesh_core::name::NamespacedName;
use serde_json::{Value, json};

use super::Statuses;
use super::condition::Said;
use super::context::{Context, id};
use crate::attach::RefFault;
use crate::attach::backend_tls::{self, Judged, Outcome, Target};
use crate::resource::{BackendTlsPolicy, Kind};

/// So many Gateways are named at most.
const MOST_ANCESTORS: usize = 16;

/// The statuses of the policies that take effect at a Gateway of ours.
pub(super) fn add(context: &Context<'_>, all: &mut Statuses) {
    for (_, policy) in context.input.world.backend_tls.values() {
        let targets = backend_tls::targets(&context.read, policy);
        let mut gateways: Vec<&NamespacedName> =
            targets.iter().filter_map(|target| context.through.get(&target.service)).flatten().collect();
        gateways.sort();
        gateways.dedup();
        gateways.truncate(MOST_ANCESTORS);
        if gateways.is_empty() {
            continue;
        }
        let judged = backend_tls::judge(&context.read, policy);
        let ancestors: Vec<Value> =
            gateways.into_iter().map(|gateway| ancestor(context, policy, gateway, &judged, &targets)).collect();
        all.insert(id(Kind::BackendTlsPolicy, &policy.metadata), json!({ "ancestors": ancestors }));
    }
}

fn ancestor(
    context: &Context<'_>,
    policy: &BackendTlsPolicy,
    gateway: &NamespacedName,
    judged: &Judged,
    targets: &[Target],
) -> Value {
    let mut conditions = context.conditions(Kind::BackendTlsPolicy, &policy.metadata);
    // What becomes of the targets that are reached through other Gateways is said there.
    let reached = |target: &&Target| context.through.get(&target.service).is_some_and(|all| all.contains(gateway));
    let here: Vec<&Target> = targets.iter().filter(reached).collect();
    conditions.say("Accepted", accepted(judged, &here));
    conditions.say("ResolvedRefs", resolved(judged));
    let (group, kind) = (Kind::Gateway.group(), Kind::Gateway.name());
    let (namespace, name) = (gateway.namespace.as_str(), gateway.name.as_str());
    json!({
        "ancestorRef": {"group": group, "kind": kind, "namespace": namespace, "name": name},
        "conditions": conditions.finish(),
    })
}

fn accepted(judged: &Judged, targets: &[&Target]) -> Said {
    if let Some(text) = &judged.unsupported {
        return Said::no("Invalid", text.clone());
    }
    if let Some(fault) = judged.fault() {
        return Said::no("NoValidCACertificate", fault);
    }
    if targets.iter().any(|target| target.outcome == Outcome::Taken) {
        return Said::yes("Accepted", "the policy is accepted");
    }
    let conflict = targets.iter().find_map(|target| match &target.outcome {
        Outcome::Conflicted(first) => Some((&target.service, first)),
        _ => None,
    });
    match conflict {
        Some((service, first)) => {
            let message =
                format!("BackendTLSPolicy {first} is for Service {service} too, and is older or comes first by name");
            Said::no("Conflicted", message)
        }
        None => {
            let missing = targets.iter().find_map(|target| match &target.outcome {
                Outcome::NotFound(text) => Some(text.clone()),
                _ => None,
            });
            Said::no("TargetNotFound", missing.unwrap_or_else(|| "no target is there".to_owned()))
        }
    }
}

fn resolved(judged: &Judged) -> Said {
    match judged.authorities.iter().find_map(|one| one.as_ref().err()) {
        None => Said::yes("ResolvedRefs", "all references are resolved"),
        Some(fault @ RefFault::Kind(_)) => Said::no("InvalidKind", fault.to_string()),
        Some(fault) => Said::no("InvalidCACertificateRef", fault.to_string()),
    }
}
