//! What a change does beside access and routes.

use std::collections::{BTreeMap, BTreeSet};

use mesh_core::balance::Cluster;
use mesh_core::name::NamespacedHostname;
use mesh_core::service::{GatewayAddress, Service};
use mesh_core::workload::{Health, TunnelProtocol, Workload};

use super::super::mesh::Mesh;
use super::super::program::Program;
use super::super::route;
use super::super::waypoint;
use super::super::words::policy_in_words;
use super::effect::Effect;
use super::shift::Change;

/// Workloads, services and waypoints that come, go or change.
pub(super) fn effects(old: &Mesh, new: &Mesh) -> Vec<Effect> {
    let mut effects = Vec::new();
    workloads(old, new, &mut effects);
    let mut keys: Vec<&NamespacedHostname> =
        old.catalog.services().chain(new.catalog.services()).map(|service| &service.key).collect();
    keys.sort();
    keys.dedup();
    for key in keys {
        match (old.catalog.service(key), new.catalog.service(key)) {
            (Some(before), Some(after)) => {
                let mut details = service(before, after);
                details.extend(endpoints(old, new, key));
                if before.waypoint != after.waypoint {
                    details.extend(waypoint_change(old, new, before, after));
                }
                if !details.is_empty() {
                    effects.push(other(format!("service {}", key.hostname), "changes", details));
                }
            }
            (Some(_), None) => {
                effects.push(other(
                    format!("service {}", key.hostname),
                    "is removed: its name and addresses are nobody's",
                    Vec::new(),
                ));
            }
            (None, _) => effects.push(other(format!("service {}", key.hostname), "is added", Vec::new())),
        }
    }
    for program in &old.programs {
        match new.programs.iter().find(|other| other.key == program.key) {
            Some(after) => effects.extend(clusters(program, after)),
            None => effects.push(other(format!("waypoint {}", program.key), "is removed", Vec::new())),
        }
    }
    let added = new.programs.iter().filter(|program| !old.programs.iter().any(|before| before.key == program.key));
    effects.extend(added.map(|program| other(format!("waypoint {}", program.key), "is added", Vec::new())));
    effects
}

fn other(to: String, summary: &str, details: Vec<String>) -> Effect {
    Effect {
        change: Change::Other,
        clients: Vec::new(),
        to: vec![to],
        ports: String::new(),
        requests: Vec::new(),
        summary: summary.to_owned(),
        details,
        before: None,
        after: None,
    }
}

fn workloads(old: &Mesh, new: &Mesh, effects: &mut Vec<Effect>) {
    let mut by_summary: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut note = |summary: String, workload: &Workload| {
        let name = format!("workload {}/{}", workload.namespace, workload.name);
        by_summary.entry(summary).or_default().insert(name);
    };
    for before in old.catalog.workloads() {
        let Some(after) = new.catalog.workload(before.uid.as_str()) else {
            note("is removed".to_owned(), before);
            continue;
        };
        match (before.tunnel, after.tunnel) {
            (TunnelProtocol::Hbone, TunnelProtocol::None) => {
                note("leaves the mesh: in plaintext, and policies do not apply".to_owned(), after);
            }
            (TunnelProtocol::None, TunnelProtocol::Hbone) => note("joins the mesh".to_owned(), after),
            _ => {}
        }
        if before.identity != after.identity {
            note(format!("has another identity: {} -> {}", before.identity, after.identity), after);
        }
        if before.addresses != after.addresses {
            note("has another address: connections to the old one end".to_owned(), after);
        }
        if before.health != after.health {
            let health = if after.health == Health::Healthy { "takes traffic now" } else { "takes no traffic now" };
            note(health.to_owned(), after);
        }
        if before.waypoint != after.waypoint {
            let (old, new) = (gateway(old, before.waypoint.as_ref()), gateway(new, after.waypoint.as_ref()));
            note(format!("has another waypoint: {old} -> {new}"), after);
        }
    }
    for after in new.catalog.workloads().filter(|workload| old.catalog.workload(workload.uid.as_str()).is_none()) {
        note("is added".to_owned(), after);
    }
    effects.extend(by_summary.into_iter().map(|(summary, names)| Effect {
        to: names.into_iter().collect(),
        ..other(String::new(), &summary, Vec::new())
    }));
}

/// What differs in the record of a service.
fn service(before: &Service, after: &Service) -> Vec<String> {
    let mut details = Vec::new();
    let vips = |service: &Service| -> BTreeSet<String> {
        service.vips.iter().map(|(_, range)| range.addr().to_string()).collect()
    };
    let (old, new) = (vips(before), vips(after));
    let gone: Vec<&String> = old.difference(&new).collect();
    let come: Vec<&String> = new.difference(&old).collect();
    if !gone.is_empty() || !come.is_empty() {
        let list = |addresses: &[&String]| addresses.iter().map(|ip| ip.as_str()).collect::<Vec<_>>().join(", ");
        details.push(match (gone.as_slice(), come.as_slice()) {
            ([], come) => format!("virtual address {} is added", list(come)),
            (gone, []) => format!("virtual address {} is removed: connections to it have nowhere to go", list(gone)),
            (gone, come) => format!(
                "virtual address {} -> {}: connections to the old one have nowhere to go",
                list(gone),
                list(come)
            ),
        });
    }
    let ports = |service: &Service| -> BTreeMap<u16, String> {
        let target = |port: &mesh_core::service::ServicePort| {
            port.target_port.map_or_else(|| "as each endpoint says".to_owned(), |target| target.to_string())
        };
        let text = |port: &mesh_core::service::ServicePort| format!("{} ({:?})", target(port), port.protocol);
        service.ports.iter().map(|port| (port.service_port, text(port))).collect()
    };
    let (old, new) = (ports(before), ports(after));
    for port in old.keys().chain(new.keys()).collect::<BTreeSet<_>>() {
        match (old.get(port), new.get(port)) {
            (Some(before), Some(after)) if before != after => {
                details.push(format!("port {port} leads to {before} -> {after}"));
            }
            (Some(_), None) => details.push(format!("port {port} is removed")),
            (None, Some(_)) => details.push(format!("port {port} is added")),
            _ => {}
        }
    }
    if before.load_balancing != after.load_balancing {
        let old = &before.load_balancing;
        details.push(format!("endpoints are preferred otherwise: {old:?} -> {:?}", after.load_balancing));
    }
    if before.visibility != after.visibility {
        details.push(format!("visible to {:?} -> {:?}", before.visibility, after.visibility));
    }
    if before.subject_alt_names != after.subject_alt_names {
        details.push("other identities are accepted from its endpoints".to_owned());
    }
    details
}

/// Endpoints that come and go.
fn endpoints(old: &Mesh, new: &Mesh, key: &NamespacedHostname) -> Vec<String> {
    let names = |mesh: &Mesh| -> BTreeSet<String> {
        let endpoints = mesh.catalog.endpoints(key);
        endpoints.map(|workload| format!("{}/{}", workload.namespace, workload.name)).collect()
    };
    let (before, after) = (names(old), names(new));
    let list = |names: Vec<&String>| match names.as_slice() {
        many if many.len() > 5 => format!("{} endpoints", many.len()),
        some => some.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(", "),
    };
    let mut details = Vec::new();
    if !before.is_empty() && after.is_empty() {
        details.push(format!("loses all its endpoints: {}", list(before.iter().collect())));
        return details;
    }
    let (gone, come): (Vec<_>, Vec<_>) = (before.difference(&after).collect(), after.difference(&before).collect());
    if !gone.is_empty() {
        details.push(format!("loses {}", list(gone)));
    }
    if !come.is_empty() {
        details.push(format!("gains {}", list(come)));
    }
    details
}

fn gateway(mesh: &Mesh, address: Option<&GatewayAddress>) -> String {
    address.map_or_else(|| "none".to_owned(), |address| mesh.gateway_name(address))
}

/// What it means that another waypoint serves, or none.
fn waypoint_change(old: &Mesh, new: &Mesh, before: &Service, after: &Service) -> Vec<String> {
    let (was, is) = (gateway(old, before.waypoint.as_ref()), gateway(new, after.waypoint.as_ref()));
    let mut details = vec![format!("waypoint {was} -> {is}")];
    let applied = |mesh: &Mesh, service: &Service| -> BTreeSet<String> {
        let host = format!("|{}", service.key.hostname);
        let chains = mesh.programs.iter().flat_map(Program::chains).filter(|(name, _)| name.as_str().ends_with(&host));
        let policies = chains.flat_map(|(_, http)| waypoint::policies(http));
        policies.map(|policy| policy_in_words(mesh, &policy, &BTreeSet::new())).collect()
    };
    let (was, is) = (applied(old, before), applied(new, after));
    details.extend(was.difference(&is).map(|policy| format!("no longer applies to it: {policy}")));
    details.extend(is.difference(&was).map(|policy| format!("applies to it now: {policy}")));
    details
}

/// Settings of clusters.
fn clusters(before: &Program, after: &Program) -> Vec<Effect> {
    let mut names: Vec<_> = before.clusters.keys().filter(|name| after.clusters.contains_key(*name)).collect();
    names.sort();
    let mut by_details: BTreeMap<Vec<String>, BTreeSet<String>> = BTreeMap::new();
    for name in names {
        if let (Some(old), Some(new)) = (before.clusters.get(name), after.clusters.get(name)) {
            let details = cluster(old, new);
            if !details.is_empty() {
                by_details.entry(details).or_default().insert(route::cluster(name.as_str()));
            }
        }
    }
    let effect = |(details, names): (Vec<String>, BTreeSet<String>)| Effect {
        to: names.into_iter().collect(),
        ..other(String::new(), &format!("is reached otherwise by the waypoint {}", before.key), details)
    };
    by_details.into_iter().map(effect).collect()
}

fn cluster(old: &Cluster, new: &Cluster) -> Vec<String> {
    let mut details = Vec::new();
    let mut note = |what: &str, same: bool, before: String, after: String| {
        if !same {
            let short = before.len().max(after.len()) <= 80;
            details.push(if short { format!("{what}: {before} -> {after}") } else { format!("{what} changes") });
        }
    };
    let debug = |value: &dyn std::fmt::Debug| format!("{value:?}");
    note("load balancing", old.policy == new.policy, debug(&old.policy), debug(&new.policy));
    note("localities", old.localities == new.localities, debug(&old.localities), debug(&new.localities));
    note("outlier detection", old.outlier == new.outlier, debug(&old.outlier), debug(&new.outlier));
    note("circuit breakers", old.circuit == new.circuit, debug(&old.circuit), debug(&new.circuit));
    note("health checks", old.health_checks == new.health_checks, debug(&old.health_checks), debug(&new.health_checks));
    let (before, after) = (old.connect_timeout, new.connect_timeout);
    note("time to connect", before == after, debug(&before), debug(&after));
    let (before, after) = (old.max_requests_per_connection, new.max_requests_per_connection);
    note("requests per connection", before == after, debug(&before), debug(&after));
    note("protocol", old.protocol == new.protocol, debug(&old.protocol), debug(&new.protocol));
    note("TLS", old.tls == new.tls, debug(&old.tls), debug(&new.tls));
    let (before, after) = (&old.transport_matches, &new.transport_matches);
    note("TLS of single endpoints", before == after, debug(before), debug(after));
    note(
        "panic threshold",
        old.panic_threshold == new.panic_threshold,
        debug(&old.panic_threshold),
        debug(&new.panic_threshold),
    );
    details
}
