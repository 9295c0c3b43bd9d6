//! References between objects that lead nowhere. What refers is used all the same, as by the Gateway API: the other object may
//! come later.

use std::collections::BTreeMap;

use mesh_core::name::NamespacedName;

use super::hosts;
use crate::attach;
use crate::finding::{Code, Faults, Finding};
use crate::resource::{BackendRef, Kind, Metadata, ParentRef, PolicyTarget, RouteFilter, WAYPOINT_CLASS};
use crate::translate::binding::{self, Object, Traffic};
use crate::translate::clusterset;
use crate::world::World;

/// All references of routes and policies.
pub(crate) fn references(world: &World, findings: &mut Vec<Finding>) {
    for (key, (origin, route)) in &world.http_routes {
        let (metadata, faults) = (&route.metadata, &mut Faults::new(origin, findings).of(Kind::HttpRoute, key));
        faults.each("parentRefs", &route.spec.parent_refs, |faults, parent| parent_of(world, metadata, parent, faults));
        faults.each("rules", route.spec.rules.as_deref().unwrap_or_default(), |faults, rule| {
            backends(world, metadata, &rule.backend_refs, &rule.filters, faults);
        });
    }
    for (key, (origin, route)) in &world.grpc_routes {
        let (metadata, faults) = (&route.metadata, &mut Faults::new(origin, findings).of(Kind::GrpcRoute, key));
        faults.each("parentRefs", &route.spec.parent_refs, |faults, parent| parent_of(world, metadata, parent, faults));
        faults.each("rules", route.spec.rules.as_deref().unwrap_or_default(), |faults, rule| {
            backends(world, metadata, &rule.backend_refs, &rule.filters, faults);
        });
    }
    for (key, (origin, gateway)) in &world.gateways {
        let named = !gateway.spec.addresses.is_empty() || !gateway.status.addresses.is_empty();
        if gateway.spec.gateway_class_name == WAYPOINT_CLASS && !named && !world.services.contains_key(key) {
            let message = "there are none, and no Service of this name; what is bound to the waypoint is refused";
            Faults::new(origin, findings).of(Kind::Gateway, key).coded(Code::NO_ADDRESS, "addresses", message);
        }
    }
    shared_addresses(world, findings);
    for (key, (origin, policy)) in &world.policies {
        let (metadata, faults) =
            (&policy.metadata, &mut Faults::new(origin, findings).of(Kind::AuthorizationPolicy, key));
        targets(world, metadata, policy.spec.target_ref.as_ref(), &policy.spec.target_refs, faults);
    }
    for (key, (origin, tokens)) in &world.tokens {
        let (metadata, faults) =
            (&tokens.metadata, &mut Faults::new(origin, findings).of(Kind::RequestAuthentication, key));
        targets(world, metadata, tokens.spec.target_ref.as_ref(), &tokens.spec.target_refs, faults);
    }
    hosts::references(world, findings);
}

/// Hosts that have an address and a port in common. A waypoint tells services apart by where they are addressed.
fn shared_addresses(world: &World, findings: &mut Vec<Finding>) {
    let mut taken: BTreeMap<(&str, u16), &str> = BTreeMap::new();
    for (key, (origin, entry)) in &world.service_entries {
        if binding::bound(world, Object::new(Traffic::Service, &entry.metadata)).waypoint.is_none() {
            continue;
        }
        let places = entry
            .spec
            .addresses
            .iter()
            .flat_map(|address| entry.spec.ports.iter().map(move |port| (address.as_str(), port.number)));
        for place in places {
            for host in &entry.spec.hosts {
                let first = *taken.entry(place).or_insert(host.as_str());
                if first != host.as_str() {
                    let (address, port) = place;
                    let message =
                        format!("`{first}` has {address}:{port} too; at their waypoint `{host}` is not reached by it");
                    Faults::new(origin, findings).of(Kind::ServiceEntry, key).coded(
                        Code::SHARED_AT_WAYPOINT,
                        "addresses",
                        message,
                    );
                }
            }
        }
    }
}

fn parent_of(world: &World, route: &Metadata, parent: &ParentRef, faults: &mut Faults<'_>) {
    let namespace = parent.namespace.as_deref().unwrap_or(&route.namespace);
    let key = NamespacedName::new(namespace, parent.name.as_str());
    let ports: Vec<(u16, &str)> = match (parent.group.as_deref(), parent.kind.as_deref()) {
        (Some("" | "core"), Some("Service")) => {
            let Some((_, service)) = world.services.get(&key) else {
                return faults.coded(Code::NOT_FOUND, "name", format_args!("Service `{key}` is not there"));
            };
            waypoint_of(world, &service.metadata, "the route has no effect", faults);
            service.spec.ports.iter().map(|port| (port.port, port.name.as_str())).collect()
        }
        (Some(clusterset::GROUP), Some("ServiceImport")) => {
            let Some((_, import)) = world.imports.get(&key) else {
                return faults.coded(Code::NOT_FOUND, "name", format_args!("ServiceImport `{key}` is not there"));
            };
            let exported = world.services.get(&key).filter(|_| world.exports.contains_key(&key));
            let bound = exported.map_or(&import.metadata, |(_, service)| &service.metadata);
            waypoint_of(world, bound, "the route has no effect", faults);
            import.spec.ports.iter().map(|port| (port.port, port.name.as_str())).collect()
        }
        (Some("networking.istio.io"), Some("ServiceEntry")) => {
            let Some((_, entry)) = world.service_entries.get(&key) else {
                return faults.coded(Code::NOT_FOUND, "name", format_args!("ServiceEntry `{key}` is not there"));
            };
            waypoint_of(world, &entry.metadata, "the route has no effect", faults);
            entry.spec.ports.iter().map(|port| (port.number, port.name.as_str())).collect()
        }
        (_, kind) => {
            let kind = kind.unwrap_or("Gateway");
            match attach::parent(namespace, parent) {
                Some(id) if id.kind == Kind::Gateway => gateway_of(world, &id.name, faults),
                Some(id) => match world.listener_sets.get(&id.name).map(|(_, set)| &set.spec.parent_ref) {
                    Some(parent) => {
                        let of = parent.namespace.as_deref().unwrap_or(id.name.namespace.as_str());
                        gateway_of(world, &NamespacedName::new(of, parent.name.as_str()), faults);
                    }
                    None => faults.coded(Code::NOT_FOUND, "name", format_args!("ListenerSet `{key}` is not there")),
                },
                None => {
                    faults.coded(Code::NOT_A_PARENT, "kind", format_args!("routes of a {kind} have no effect here"))
                }
            }
            return;
        }
    };
    let selected = |(port, name): &(u16, &str)| {
        parent.port.is_none_or(|wanted| wanted == *port)
            && parent.section_name.as_deref().is_none_or(|wanted| wanted == *name)
    };
    if !ports.iter().any(selected) {
        faults.coded(Code::NO_SUCH_PORT, "port", format_args!("`{key}` has no such port"));
    }
}

/// A Gateway that routes attach to.
fn gateway_of(world: &World, key: &NamespacedName, faults: &mut Faults<'_>) {
    if !world.gateways.contains_key(key) {
        faults.coded(Code::NOT_FOUND, "name", format_args!("Gateway `{key}` is not there"));
    }
}

fn backends(world: &World, route: &Metadata, refs: &[BackendRef], filters: &[RouteFilter], faults: &mut Faults<'_>) {
    let answered = "its share of the requests is answered with an error";
    faults.each("backendRefs", refs, |faults, one| backend(world, route, one, answered, faults));
    faults.each("filters", filters, |faults, filter| {
        if let Some(mirror) = &filter.request_mirror {
            let dropped = "nothing is copied there";
            let part = "requestMirror.backendRef";
            faults.within(part, |faults| backend(world, route, &mirror.backend_ref, dropped, faults));
        }
    });
}

fn backend(world: &World, route: &Metadata, backend: &BackendRef, effect: &str, faults: &mut Faults<'_>) {
    let namespace = backend.namespace.as_deref().unwrap_or(&route.namespace);
    let key = NamespacedName::new(namespace, backend.name.as_str());
    let has = match (backend.group.as_deref().unwrap_or_default(), backend.kind.as_deref().unwrap_or("Service")) {
        ("" | "core", "Service") => match world.services.get(&key) {
            Some((_, service)) if service.spec.r#type.as_deref() == Some("ExternalName") => {
                return faults.coded(Code::NOT_A_BACKEND, "name", format_args!("`{key}` is an ExternalName; {effect}"));
            }
            Some((_, service)) => service.spec.ports.iter().any(|port| Some(port.port) == backend.port),
            None => {
                return faults.coded(Code::NOT_FOUND, "name", format_args!("Service `{key}` is not there; {effect}"));
            }
        },
        (clusterset::GROUP, "ServiceImport") => match world.imports.get(&key) {
            Some((_, import)) => import.spec.ports.iter().any(|port| Some(port.port) == backend.port),
            None => {
                return faults.coded(
                    Code::NOT_FOUND,
                    "name",
                    format_args!("ServiceImport `{key}` is not there; {effect}"),
                );
            }
        },
        ("networking.istio.io", "Hostname") => return,
        (group, kind) => {
            return faults.coded(Code::NOT_A_BACKEND, "kind", format_args!("`{group}/{kind}` is no backend; {effect}"));
        }
    };
    if !has {
        faults.coded(Code::NO_SUCH_PORT, "port", format_args!("`{key}` has no such port; {effect}"));
    }
}

fn targets(
    world: &World,
    policy: &Metadata,
    one: Option<&PolicyTarget>,
    several: &[PolicyTarget],
    faults: &mut Faults<'_>,
) {
    if let Some(target) = one {
        faults.within("targetRef", |faults| target_of(world, policy, target, faults));
    }
    faults.each("targetRefs", several, |faults, target| target_of(world, policy, target, faults));
}

fn target_of(world: &World, policy: &Metadata, target: &PolicyTarget, faults: &mut Faults<'_>) {
    let key = NamespacedName::new(policy.namespace.as_str(), target.name.as_str());
    let effect = "the policy is not enforced";
    match target.kind.as_str() {
        "Service" => match world.services.get(&key) {
            Some((_, service)) => waypoint_of(world, &service.metadata, effect, faults),
            None => faults.coded(Code::NOT_FOUND, "name", format_args!("Service `{key}` is not there; {effect}")),
        },
        "ServiceEntry" => match world.service_entries.get(&key) {
            Some((_, entry)) => waypoint_of(world, &entry.metadata, effect, faults),
            None => faults.coded(Code::NOT_FOUND, "name", format_args!("ServiceEntry `{key}` is not there; {effect}")),
        },
        "Gateway" if !world.gateways.contains_key(&key) => {
            faults.coded(Code::NOT_FOUND, "name", format_args!("Gateway `{key}` is not there; {effect}"));
        }
        _ => {}
    }
}

/// What is for a service is done by its waypoint.
fn waypoint_of(world: &World, service: &Metadata, effect: &str, faults: &mut Faults<'_>) {
    if binding::bound(world, Object::new(Traffic::Service, service)).waypoint.is_none() {
        let Metadata { namespace, name, .. } = service;
        faults.coded(Code::NO_WAYPOINT, "name", format_args!("`{namespace}/{name}` has no waypoint; {effect}"));
    }
}
