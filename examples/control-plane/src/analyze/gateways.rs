//! Gateways that nobody reaches, or that answer nothing.

use std::collections::{BTreeMap, BTreeSet};

use mesh_core::name::NamespacedName;

use super::context::{Context, Report};
use crate::attach::Role;
use crate::finding::{Code, Origin};
use crate::resource::{Gateway, Kind, Listener, Metadata, ParentRef, Service};
use crate::translate::binding::GATEWAY_NAME;
use crate::world::{Lookup, World};

/// Gateways without address or instance, listeners that have no place, and routes that no listener takes.
///
/// What only a controller knows is asked for only where there are pods: a repository has neither the Services that are made for
/// Gateways, nor their addresses, nor certificates.
pub(super) fn analyze(context: &Context<'_>, report: &mut Report) {
    let world = context.world;
    let is_running = !world.pods.is_empty();
    let attached = attached(context, report);
    for (key, (origin, gateway)) in &world.gateways {
        let about = (Kind::Gateway, &gateway.metadata);
        let class = &gateway.spec.gateway_class_name;
        let Some(role) = context.input.place.controller.role_of(world, gateway) else {
            let message = format!("Gateways of class `{class}` are not served here, and routes of them have no effect");
            report.say(Code::CLASS_NOT_SERVED, about, origin, "spec.gatewayClassName", message);
            continue;
        };
        if role == Role::EastWest {
            let message = format!("Gateways of class `{class}` are not served here yet");
            report.say(Code::CLASS_NOT_SERVED, about, origin, "spec.gatewayClassName", message);
        }
        let listeners = listeners(world, key, origin, gateway);
        let service = service(world, key);
        let is_waypoint = role == Role::Waypoint;
        conflicts(&listeners, report);
        if let Some(service) = service {
            ports(&listeners, service, report);
        }
        if is_running {
            credentials(world, &listeners, report);
        }
        if is_waypoint {
            continue;
        }
        if is_running && let Some(reason) = unreachable(context, key, gateway, service) {
            report.say(Code::GATEWAY_UNREACHABLE, about, origin, "metadata.name", reason);
        }
        let takes_routes = listeners.iter().any(|one| one.listener.protocol != "HBONE");
        if takes_routes && role == Role::Gateway && !attached.contains(key) {
            let message = "no route is attached to any of them: whatever is asked is answered with an error";
            report.say(Code::WITHOUT_ROUTES, about, origin, "spec.listeners", message);
        }
    }
}

/// The Service of a Gateway: that of its name, or one that says to be its own.
fn service<'w>(world: &'w World, key: &NamespacedName) -> Option<&'w Service> {
    let by_name = world.services.get(key).map(|(_, service)| service);
    let mut labelled = world.services.in_namespace(key.namespace.as_str()).map(|(_, (_, service))| service);
    by_name
        .or_else(|| labelled.find(|one| one.metadata.labels.get(GATEWAY_NAME).is_some_and(|name| key.name == **name)))
}

/// Why nobody answers for a Gateway.
fn unreachable(
    context: &Context<'_>,
    key: &NamespacedName,
    gateway: &Gateway,
    service: Option<&Service>,
) -> Option<String> {
    let Some(service) = service else {
        let has_address = !gateway.spec.addresses.is_empty() || !gateway.status.addresses.is_empty();
        return (!has_address).then(|| {
            "it has no address, and there is no Service of its name or of its label: nobody reaches it".into()
        });
    };
    let by_label = BTreeMap::from([(GATEWAY_NAME.to_owned(), key.name.to_string())]);
    let selector = if service.spec.selector.is_empty() { &by_label } else { &service.spec.selector };
    let (mut count, mut ready) = (0, 0);
    for one in context.selected(key.namespace.as_str(), selector) {
        count += 1;
        ready += usize::from(one.is_ready);
    }
    let name = format!("Service {}/{}", service.metadata.namespace, service.metadata.name);
    match (count, ready) {
        (0, _) => Some(format!("{name} selects no pod: nobody answers for the Gateway")),
        (_, 0) => Some(format!("{name} selects {count} pods, of which none is ready: nobody answers for the Gateway")),
        _ => None,
    }
}

/// A listener, and where it stands.
struct Placed<'w> {
    listener: &'w Listener,
    kind: Kind,
    metadata: &'w Metadata,
    origin: &'w Origin,
    index: usize,
}

impl Placed<'_> {
    fn say(&self, report: &mut Report, code: Code, part: &str, message: String) {
        let field = format!("spec.listeners[{}].{part}", self.index);
        report.say(code, (self.kind, self.metadata), self.origin, field, message);
    }
}

/// The listeners of a Gateway, its own before those of ListenerSets, of which the older come first.
fn listeners<'w>(world: &'w World, key: &NamespacedName, origin: &'w Origin, gateway: &'w Gateway) -> Vec<Placed<'w>> {
    let placed = |kind, metadata: &'w Metadata, origin: &'w Origin, list: &'w [Listener]| {
        let one = move |(index, listener)| Placed { listener, kind, metadata, origin, index };
        list.iter().enumerate().map(one).collect::<Vec<_>>()
    };
    let mut all = placed(Kind::Gateway, &gateway.metadata, origin, &gateway.spec.listeners);
    let names = |metadata: &Metadata, parent: &ParentRef| {
        parent.name == key.name.as_str()
            && key.namespace.as_str() == parent.namespace.as_deref().unwrap_or(&metadata.namespace)
    };
    let mut sets: Vec<_> =
        world.listener_sets.values().filter(|(_, set)| names(&set.metadata, &set.spec.parent_ref)).collect();
    sets.sort_by_key(|(_, set)| (set.metadata.created(), &set.metadata.namespace, &set.metadata.name));
    for (origin, set) in sets {
        all.extend(placed(Kind::ListenerSet, &set.metadata, origin, &set.spec.listeners));
    }
    all
}

/// Listeners that cannot have their port because an earlier one has it.
fn conflicts(listeners: &[Placed<'_>], report: &mut Report) {
    let family = |protocol: &str| match protocol {
        "HTTPS" | "TLS" => "TLS".to_owned(),
        other => other.to_owned(),
    };
    for (at, later) in listeners.iter().enumerate() {
        let earlier = listeners.iter().take(at).find(|earlier| {
            let (one, other) = (&earlier.listener, &later.listener);
            let is_udp = |listener: &Listener| listener.protocol == "UDP";
            let same = family(&one.protocol) == family(&other.protocol);
            let host = |listener: &Listener| listener.hostname.as_deref().unwrap_or_default().to_ascii_lowercase();
            one.port == other.port && is_udp(one) == is_udp(other) && (!same || host(one) == host(other))
        });
        if let Some(earlier) = earlier {
            let Metadata { namespace, name, .. } = earlier.metadata;
            let message = format!(
                "port {} is that of listener `{}` ({}) of {} {namespace}/{name} already; this one is not served",
                later.listener.port, earlier.listener.name, earlier.listener.protocol, earlier.kind
            );
            later.say(report, Code::LISTENERS_CONFLICT, "port", message);
        }
    }
}

/// Ports that the Service of a Gateway does not have.
fn ports(listeners: &[Placed<'_>], service: &Service, report: &mut Report) {
    for one in listeners {
        let port = one.listener.port;
        if !service.spec.ports.iter().any(|of_service| of_service.port == port) {
            let Metadata { namespace, name, .. } = &service.metadata;
            let message = format!("Service {namespace}/{name} of the Gateway has no port {port}: nobody reaches it");
            one.say(report, Code::LISTENER_PORT, "port", message);
        }
    }
}

/// Certificates that are not there.
fn credentials(world: &World, listeners: &[Placed<'_>], report: &mut Report) {
    for one in listeners {
        let tls = one.listener.tls.iter().filter(|tls| tls.mode.as_deref() != Some("Passthrough"));
        for (index, reference) in tls.flat_map(|tls| tls.certificate_refs.iter().enumerate()) {
            let namespace = reference.namespace.as_deref().unwrap_or(&one.metadata.namespace);
            let key = NamespacedName::new(namespace, reference.name.as_str());
            if reference.kind.as_deref().unwrap_or("Secret") == "Secret" && !world.secrets.contains_key(&key) {
                let message = format!("Secret `{key}` is not there: connections are refused");
                one.say(report, Code::LISTENER_CREDENTIAL, &format!("tls.certificateRefs[{index}]"), message);
            }
        }
    }
}

/// A route, as far as it matters for what takes it.
struct Route<'w> {
    kind: Kind,
    metadata: &'w Metadata,
    origin: &'w Origin,
    parents: &'w [ParentRef],
    hosts: &'w [String],
}

/// The Gateways to which routes are attached.
fn attached(context: &Context<'_>, report: &mut Report) -> BTreeSet<NamespacedName> {
    let (world, controller) = (context.world, &context.input.place.controller);
    let route = |kind, origin, metadata, parents, hosts| Route { kind, metadata, origin, parents, hosts };
    let http = world.http_routes.values().map(|(origin, one)| {
        route(Kind::HttpRoute, origin, &one.metadata, &*one.spec.parent_refs, &*one.spec.hostnames)
    });
    let grpc = world.grpc_routes.values().map(|(origin, one)| {
        route(Kind::GrpcRoute, origin, &one.metadata, &*one.spec.parent_refs, &*one.spec.hostnames)
    });
    let tls = world.tls_routes.values().map(|(origin, one)| {
        route(Kind::TlsRoute, origin, &one.metadata, &*one.spec.parent_refs, &*one.spec.hostnames)
    });
    let tcp = world
        .tcp_routes
        .values()
        .map(|(origin, one)| route(Kind::TcpRoute, origin, &one.metadata, &*one.spec.parent_refs, &[][..]));
    let udp = world
        .udp_routes
        .values()
        .map(|(origin, one)| route(Kind::UdpRoute, origin, &one.metadata, &*one.spec.parent_refs, &[][..]));
    let mut attached = BTreeSet::new();
    for route in http.chain(grpc).chain(tls).chain(tcp).chain(udp) {
        for (index, parent) in route.parents.iter().enumerate() {
            if parent.kind.as_deref().unwrap_or("Gateway") != "Gateway" {
                continue;
            }
            let namespace = parent.namespace.as_deref().unwrap_or(&route.metadata.namespace);
            let key = NamespacedName::new(namespace, parent.name.as_str());
            let Some((origin, gateway)) =
                world.gateways.get(&key).filter(|(_, gateway)| controller.role_of(world, gateway).is_some())
            else {
                continue;
            };
            let listeners = listeners(world, &key, origin, gateway);
            match refusal(world, &route, parent, &listeners) {
                None => drop(attached.insert(key)),
                Some(reason) => {
                    let field = format!("spec.parentRefs[{index}]");
                    let message = format!("Gateway `{key}`: {reason}; the route is not attached");
                    report.say(Code::ROUTE_DETACHED, (route.kind, route.metadata), route.origin, field, message);
                }
            }
        }
    }
    attached
}

/// Why no listener takes a route; the last reason counts, as it was the closest.
fn refusal(world: &World, route: &Route<'_>, parent: &ParentRef, listeners: &[Placed<'_>]) -> Option<String> {
    let named: Vec<_> = listeners
        .iter()
        .filter(|one| parent.section_name.as_ref().is_none_or(|name| *name == one.listener.name))
        .filter(|one| parent.port.is_none_or(|port| port == one.listener.port))
        .collect();
    if named.is_empty() {
        return Some("it has no such listener".to_owned());
    }
    let fits: Vec<_> = named.into_iter().filter(|one| takes_kind(one.listener, route.kind)).collect();
    if fits.is_empty() {
        return Some(format!("none of its listeners is for {}s", route.kind));
    }
    let admitting: Vec<_> = fits.into_iter().filter(|one| admits(world, one, &route.metadata.namespace)).collect();
    if admitting.is_empty() {
        return Some(format!("it admits nothing of namespace `{}` (allowedRoutes)", route.metadata.namespace));
    }
    let of_hosts = admitting.iter().any(|one| match one.listener.hostname.as_deref().filter(|name| !name.is_empty()) {
        Some(host) if !route.hosts.is_empty() => route.hosts.iter().any(|own| meet(host, own)),
        _ => true,
    });
    (!of_hosts).then(|| "none of its listeners is for a host of the route".to_owned())
}

fn takes_kind(listener: &Listener, kind: Kind) -> bool {
    let by_protocol = match listener.protocol.as_str() {
        "HTTP" | "HTTPS" => matches!(kind, Kind::HttpRoute | Kind::GrpcRoute),
        "TLS" => matches!(kind, Kind::TlsRoute | Kind::TcpRoute),
        "TCP" => kind == Kind::TcpRoute,
        "UDP" => kind == Kind::UdpRoute,
        _ => false,
    };
    let kinds = &listener.allowed_routes.kinds;
    by_protocol && (kinds.is_empty() || kinds.iter().any(|one| one.kind == kind.name()))
}

fn admits(world: &World, one: &Placed<'_>, namespace: &str) -> bool {
    let allowed = &one.listener.allowed_routes.namespaces;
    match (allowed.from.as_deref(), &allowed.selector) {
        (Some("All"), _) => true,
        (Some("Selector"), Some(selector)) => selector.selects(&world.namespace_labels(namespace)),
        (Some("None"), _) => false,
        _ => one.metadata.namespace == namespace,
    }
}

/// Whether two host names, each of which may begin with `*.`, have one in common.
fn meet(one: &str, other: &str) -> bool {
    let (one, other) = (one.to_ascii_lowercase(), other.to_ascii_lowercase());
    let below = |name: &str, end: &str| name.strip_suffix(end).is_some_and(|start| start.ends_with('.'));
    match (one.strip_prefix("*."), other.strip_prefix("*.")) {
        (None, None) => one == other,
        (Some(end), None) => below(&other, end),
        (None, Some(end)) => below(&one, end),
        (Some(a), Some(b)) => a == b || below(a, b) || below(b, a),
    }
}

#[cfg(test)]
mod tests {
    use super::meet;

    #[test]
    fn hosts_that_meet() {
        for (one, other, wanted) in [
            ("a.example", "A.example", true),
            ("*.example", "a.example", true),
            ("*.example", "b.a.example", true),
            ("*.example", "example", false),
            ("*.example", "aexample", false),
            ("*.a.example", "*.example", true),
            ("*.a.example", "*.b.example", false),
        ] {
            assert_eq!((meet(one, other), meet(other, one)), (wanted, wanted), "{one} {other}");
        }
    }
}
