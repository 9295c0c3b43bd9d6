//! Istio's conditions of an ambient mesh: which waypoint an object has, and who enforces a policy.

use mesh_core::name::NamespacedName;
use serde_json::json;

use super::Statuses;
use super::condition::Said;
use super::context::{Context, id};
use crate::finding::Severity;
use crate::resource::{AuthorizationPolicy, Kind, Metadata, PolicyTarget};
use crate::translate;
use crate::translate::binding::{self, Object, Traffic};

/// Label of a service or namespace: whether traffic that comes in by a gateway goes by the waypoint too.
const INGRESS: &str = "istio.io/ingress-use-waypoint";

/// The statuses of what a waypoint may be asked for, and of policies.
pub(super) fn add(context: &Context<'_>, all: &mut Statuses) {
    let world = context.input.world;
    for (_, service) in world.services.values() {
        bind(context, all, Kind::Service, Traffic::Service, &service.metadata);
    }
    for (_, entry) in world.service_entries.values() {
        bind(context, all, Kind::ServiceEntry, Traffic::Service, &entry.metadata);
    }
    for (_, entry) in world.entries.values() {
        bind(context, all, Kind::WorkloadEntry, Traffic::Workload, &entry.metadata);
    }
    for (key, (_, policy)) in &world.policies {
        let (kind, said) = of_policy(context, key, policy);
        let mut conditions = context.conditions(Kind::AuthorizationPolicy, &policy.metadata);
        conditions.say(kind, said);
        let status = json!({"conditions": conditions.finish()});
        all.insert(id(Kind::AuthorizationPolicy, &policy.metadata), status);
    }
}

/// Says which waypoint an object has; nothing where none is asked for.
fn bind(context: &Context<'_>, all: &mut Statuses, kind: Kind, traffic: Traffic, metadata: &Metadata) {
    let bound = binding::bound(context.input.world, Object::new(traffic, metadata));
    let said = match (bound.faults.first(), &bound.waypoint) {
        (Some(fault), _) => Said::no(fault.reason, fault.to_string()),
        (None, Some(waypoint)) => match context.gateways.get(waypoint).map(|ours| &ours.programmed) {
            Some(programmed) if !programmed.is_true => {
                let message = format!("Gateway {waypoint} is not ready: {}", programmed.message);
                Said::no("WaypointIsNotReady", message)
            }
            _ => Said::yes("WaypointAccepted", attached(waypoint, metadata)),
        },
        (None, None) => return,
    };
    let mut conditions = context.conditions(kind, metadata);
    conditions.say("istio.io/WaypointBound", said);
    all.insert(id(kind, metadata), json!({"conditions": conditions.finish()}));
}

fn attached(waypoint: &NamespacedName, metadata: &Metadata) -> String {
    let also = match metadata.labels.get(INGRESS).map(String::as_str) {
        Some("true") => "; traffic that comes in by gateways goes by it too",
        Some(_) => "; traffic that comes in by gateways does not go by it",
        None => "",
    };
    format!("bound to waypoint {waypoint}{also}")
}

/// Who enforces a policy.
fn of_policy(context: &Context<'_>, key: &NamespacedName, policy: &AuthorizationPolicy) -> (&'static str, Said) {
    let targets: Vec<&PolicyTarget> = policy.spec.target_ref.iter().chain(&policy.spec.target_refs).collect();
    if targets.is_empty() {
        let (made, faults) = translate::policy(key, policy, &context.input.place.root_namespace);
        let texts = faults.into_iter().filter(|(severity, _)| *severity != Severity::Note).map(|(_, text)| text);
        let texts: Vec<String> = texts.collect();
        let said = match (made.is_some(), texts.is_empty()) {
            (true, true) => Said::yes("Accepted", "enforced by the node proxies"),
            (true, false) => Said::yes("UnsupportedValue", texts.join("; ")),
            (false, _) => Said::no("UnsupportedValue", texts.join("; ")),
        };
        return ("ZtunnelAccepted", said);
    }
    let judged: Vec<Result<(), (&'static str, String)>> =
        targets.iter().map(|target| bound_target(context, key, target)).collect();
    let is_bound = judged.iter().any(Result::is_ok);
    let faults: Vec<&(&'static str, String)> = judged.iter().filter_map(|one| one.as_ref().err()).collect();
    let texts: Vec<&str> = faults.iter().map(|(_, text)| text.as_str()).collect();
    let said = match (is_bound, faults.as_slice()) {
        (true, []) => Said::yes("Accepted", "enforced by the waypoints of its targets"),
        (true, _) => Said::yes("PartiallyInvalid", texts.join("; ")),
        (false, [(reason, text)]) => Said::no(reason, text.clone()),
        (false, _) => Said::no("Invalid", texts.join("; ")),
    };
    ("WaypointAccepted", said)
}

/// Whether somebody enforces a policy for one of its targets.
fn bound_target(
    context: &Context<'_>,
    key: &NamespacedName,
    target: &PolicyTarget,
) -> Result<(), (&'static str, String)> {
    let world = context.input.world;
    let name = NamespacedName::new(key.namespace.clone(), target.name.as_str());
    let called = format!("{} {name}", target.kind);
    let missing = || ("TargetNotFound", format!("{called} is not there"));
    let by_waypoint =
        |metadata: &Metadata| match binding::bound(world, Object::new(Traffic::Service, metadata)).waypoint {
            Some(_) => Ok(()),
            None => Err(("AncestorNotBound", format!("{called} has no waypoint"))),
        };
    match target.kind.as_str() {
        "Service" => by_waypoint(&world.services.get(&name).ok_or_else(missing)?.1.metadata),
        "ServiceEntry" => by_waypoint(&world.service_entries.get(&name).ok_or_else(missing)?.1.metadata),
        "Gateway" => world.gateways.get(&name).map(|_| ()).ok_or_else(missing),
        "GatewayClass" => {
            let is_root = key.namespace == *context.input.place.root_namespace;
            let known = context.input.place.controller.role(world, &target.name).is_some();
            let reason = || {
                ("TargetNotFound", format!("GatewayClass {}: a policy for it is of the root namespace", target.name))
            };
            (is_root && known).then_some(()).ok_or_else(reason)
        }
        _ => Err(("TargetNotFound", format!("`{}` is no kind for this", target.kind))),
    }
}
