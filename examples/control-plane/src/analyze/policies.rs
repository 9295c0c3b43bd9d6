//! Policies that hide each other, and waypoints that they lock out.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use mesh_core::authz::{Action, Connection, Policy, PolicyDelta, PolicySet, Reason, Scope, Verdict, evaluate};
use mesh_core::name::{NamespacedHostname, NamespacedName, SpiffeId};
use mesh_core::service::GatewayDestination;
use mesh_core::workload::{TunnelProtocol, Workload};

use super::context::{Context, Report};
use crate::finding::Code;
use crate::resource::Kind;
use crate::translate::Waypoints;

/// Policies of node proxies.
pub(super) fn analyze(context: &Context<'_>, report: &mut Report) {
    hidden(context, report);
    locked_out(context, report);
}

/// What another policy says of everything that a policy could say something of.
fn hidden(context: &Context<'_>, report: &mut Report) {
    let enforced = || context.input.translation.policies.iter().filter(|policy| !policy.dry_run);
    let says_all =
        |policy: &&Policy| policy.rules.iter().any(|rule| rule.clauses.iter().all(|one| one.matches.is_empty()));
    let of_all: Vec<&Policy> = enforced().filter(says_all).collect();
    for policy in enforced() {
        let Some((origin, source)) = context.world.policies.get(&policy.name) else { continue };
        let hides = |other: &&&Policy| {
            // Of two that say the same of the same workloads, the first hides the other.
            let before = other.action != policy.action
                || !says_all(&policy)
                || !covers(context, policy, other)
                || other.name < policy.name;
            other.name != policy.name && before && covers(context, other, policy)
        };
        let about = (Kind::AuthorizationPolicy, &source.metadata);
        let denier = of_all.iter().find(|other| other.action == Action::Deny && hides(other));
        let allower = of_all.iter().find(|other| other.action == Action::Allow && hides(other));
        match (policy.action, denier, allower) {
            (Action::Allow, Some(other), _) if !policy.rules.is_empty() => {
                let message = format!(
                    "AuthorizationPolicy {} denies everything where this one allows: it has no effect",
                    other.name
                );
                report.say(Code::SHADOWED_POLICY, about, origin, "spec.rules", message);
            }
            (Action::Deny, Some(other), _) => {
                let message = format!(
                    "AuthorizationPolicy {} denies everything where this one denies: it adds nothing",
                    other.name
                );
                report.say(Code::SHADOWED_POLICY, about, origin, "spec.rules", message);
            }
            (Action::Allow, None, Some(other)) => {
                let message = format!(
                    "AuthorizationPolicy {} allows everything where this one allows: it restricts nothing",
                    other.name
                );
                report.say(Code::SHADOWED_POLICY, about, origin, "spec.rules", message);
            }
            _ => {}
        }
    }
}

fn wider(one: &Policy, other: &Policy) -> bool {
    let breadth = |scope: Scope| match scope {
        Scope::Global => 0,
        Scope::Namespace => 1,
        _ => 2,
    };
    breadth(one.scope) < breadth(other.scope)
}

/// Whether a policy is for all workloads that another one is for.
fn covers(context: &Context<'_>, one: &Policy, other: &Policy) -> bool {
    let root = context.input.place.root_namespace.as_str();
    let there = one.scope == Scope::Global || one.name.namespace == other.name.namespace || one.name.namespace == *root;
    let labels = |policy: &Policy| {
        let selector = context.world.policies.get(&policy.name).and_then(|(_, source)| source.spec.selector.as_ref());
        selector.map(|selector| selector.match_labels.clone()).unwrap_or_default()
    };
    there && !wider(other, one) && {
        let other = labels(other);
        labels(one).iter().all(|(key, value)| other.get(key) == Some(value))
    }
}

/// Workloads whose services have a waypoint that they do not let in. Decided as node proxies decide.
fn locked_out(context: &Context<'_>, report: &mut Report) {
    let translation = context.input.translation;
    if translation.policies.is_empty() {
        return;
    }
    let mut delta = PolicyDelta::replace_all();
    translation.policies.iter().for_each(|policy| delta.upsert(policy.clone()));
    let policies = PolicySet::default().apply(delta);
    let gateways = Gateways::new(context);
    let mut asked: BTreeSet<(&str, &[NamespacedName], &NamespacedHostname)> = BTreeSet::new();
    for workload in translation.workloads.iter().filter(|workload| workload.tunnel == TunnelProtocol::Hbone) {
        for (service, ports) in &workload.services {
            let Some((waypoint, identities)) = gateways.of.get(service) else { continue };
            if !asked.insert((workload.namespace.as_str(), &workload.policies, service)) {
                continue;
            }
            let refused =
                |port: u16| identities.iter().find(|identity| is_omitted(&policies, workload, identity, port));
            let mut refused = ports.iter().map(|port| refused(port.target_port.unwrap_or(port.service_port)));
            // Where some ports are open to it, the others may be meant to be closed.
            if let Some(Some(identity)) = refused.next()
                && refused.all(|one| one.is_some())
            {
                say(context, report, workload, service, (waypoint, identity));
            }
        }
    }
}

/// Whether there are allow lists, and none has the peer.
fn is_omitted(policies: &PolicySet, workload: &Workload, peer: &SpiffeId, port: u16) -> bool {
    let unknown = IpAddr::from(Ipv4Addr::UNSPECIFIED);
    let address = workload.addresses.first().copied().unwrap_or(unknown);
    let connection = Connection { peer: Some(peer), source: unknown, destination: SocketAddr::new(address, port) };
    let verdict = evaluate(policies, workload, &connection);
    matches!(verdict, Verdict::Denied(denial) if denial.reason == Reason::NoAllowPolicyMatches)
}

fn say(
    context: &Context<'_>,
    report: &mut Report,
    workload: &Workload,
    service: &NamespacedHostname,
    (waypoint, identity): (&NamespacedName, &SpiffeId),
) {
    let (world, root) = (context.world, context.input.place.root_namespace.as_str());
    let wide =
        [workload.namespace.as_str(), root].into_iter().flat_map(|namespace| world.policies.in_namespace(namespace));
    let wide = wide.filter(|(_, (_, policy))| {
        let spec = &policy.spec;
        spec.selector.is_none() && spec.target_ref.is_none() && spec.target_refs.is_empty()
    });
    let named = workload.policies.iter().filter_map(|name| world.policies.get(name));
    // One without rules is meant to let nobody in.
    let mut lists = named.chain(wide.map(|(_, policy)| policy)).filter(|(_, policy)| {
        policy.spec.action.as_deref().unwrap_or("ALLOW") == "ALLOW" && !policy.spec.rules.is_empty()
    });
    let Some((origin, policy)) = lists.next() else { return };
    let message = format!(
        "what is addressed to `{}` comes through waypoint `{waypoint}` ({identity}), which is not let in to {}/{}: all of it is refused; allow the waypoint here, and who may come to it by targetRefs",
        service.hostname, workload.namespace, workload.name
    );
    report.say(
        Code::WAYPOINT_NOT_ALLOWED,
        (Kind::AuthorizationPolicy, &policy.metadata),
        origin,
        "spec.rules",
        message,
    );
}

/// Waypoints of services, and who they are.
struct Gateways<'a> {
    of: BTreeMap<&'a NamespacedHostname, (&'a NamespacedName, BTreeSet<SpiffeId>)>,
}

impl<'a> Gateways<'a> {
    fn new(context: &Context<'a>) -> Self {
        let super::Input { world, place, translation, .. } = context.input;
        let waypoints = Waypoints::new(world, place);
        let by_host: BTreeMap<String, &NamespacedName> = world
            .gateways
            .iter()
            .map(|(key, _)| (format!("{}.{}.svc.{}", key.name, key.namespace, place.cluster_domain), key))
            .collect();
        let mut of = BTreeMap::new();
        for service in &translation.services {
            let Some(GatewayDestination::Hostname(host)) = service.waypoint.as_ref().map(|one| &one.destination) else {
                continue;
            };
            if let Some(key) = by_host.get(host.hostname.as_str()) {
                of.insert(&service.key, (*key, waypoints.identities(key)));
            }
        }
        Self { of }
    }
}
