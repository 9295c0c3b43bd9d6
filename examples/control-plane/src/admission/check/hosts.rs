//! What objects of Istio refer to by host: services, and the subsets of DestinationRules.

use mesh_core::name::NamespacedName;

use crate::finding::{Code, Faults, Finding};
use crate::resource::virtual_service::{Destination, HttpRoute, VirtualService, is_for_mesh};
use crate::resource::{Authorizer, Kind, Metadata, ParentRef};
use crate::translate::binding::{self, Object, Traffic};
use crate::translate::clusterset;
use crate::world::World;

/// References of VirtualServices, and of what refers to authorizers.
pub(super) fn references(world: &World, findings: &mut Vec<Finding>) {
    for (key, (origin, service)) in &world.virtual_services {
        let faults = &mut Faults::new(origin, findings).of(Kind::VirtualService, key);
        if is_for_mesh(&service.spec.gateways) {
            virtual_service(world, service, faults);
        }
    }
    for (key, (origin, policy)) in &world.policies {
        let Some(provider) = &policy.spec.provider else { continue };
        let mut known = world.mesh_configs().flat_map(|(_, (_, config))| &config.extension_providers);
        let faults = &mut Faults::new(origin, findings).of(Kind::AuthorizationPolicy, key);
        let found = known.find(|known| known.name == provider.name);
        let effect = "what the policy matches is denied";
        match found.map(|provider| provider.authorizer()) {
            Some(Some(_)) => {}
            Some(None) => {
                faults.coded(
                    Code::NO_DECISION,
                    "provider.name",
                    format_args!("`{}` decides nothing; {effect}", provider.name),
                );
            }
            None => {
                let message = "is no extension provider of the ConfigMap `istio`";
                faults.coded(Code::NOT_FOUND, "provider.name", format_args!("`{}` {message}; {effect}", provider.name));
            }
        }
    }
    for (key, (origin, config)) in world.mesh_configs() {
        let faults = &mut Faults::at("data.mesh", origin, findings).of(Kind::ConfigMap, key);
        faults.each("extensionProviders", &config.extension_providers, |faults, provider| {
            if let Some(authorizer) = provider.authorizer() {
                self::authorizer(world, key, authorizer, faults);
            }
        });
    }
}

fn authorizer(world: &World, config: &NamespacedName, authorizer: Authorizer<'_>, faults: &mut Faults<'_>) {
    let (namespace, host) = authorizer.host();
    let effect = "what would be put to it is denied";
    let mut found = hosts(world, namespace.unwrap_or(config.namespace.as_str()), host).peekable();
    if found.peek().is_none() {
        faults.coded(Code::NOT_FOUND, "service", format_args!("`{host}` is not there; {effect}"));
    } else if !found.any(|host| host.ports.contains(&authorizer.port())) {
        faults.coded(Code::NO_SUCH_PORT, "port", format_args!("`{host}` has no port {}; {effect}", authorizer.port()));
    }
}

fn virtual_service(world: &World, service: &VirtualService, faults: &mut Faults<'_>) {
    let (spec, metadata) = (&service.spec, &service.metadata);
    for (index, name) in spec.hosts.iter().enumerate() {
        let field = format!("hosts[{index}]");
        let found: Vec<Host<'_>> = hosts(world, &metadata.namespace, name).collect();
        if found.is_empty() {
            faults.coded(Code::NOT_FOUND, &field, format_args!("`{name}` is no service that is there"));
        }
        for host in found {
            of_host(world, service, &host, &field, faults);
        }
    }
    let to = |faults: &mut Faults<'_>, destination: &Destination| {
        destination_of(world, metadata, destination, faults);
    };
    faults.each("http", &spec.http, |faults, route: &HttpRoute| {
        faults.each("route", &route.route, |faults, one| to(faults, &one.destination));
        faults.each("mirrors", &route.mirrors, |faults, one| to(faults, &one.destination));
        if let Some(mirror) = &route.mirror {
            faults.within("mirror", |faults| to(faults, mirror));
        }
    });
    for (field, routes) in [("tls", &spec.tls), ("tcp", &spec.tcp)] {
        faults.each(field, routes, |faults, route| {
            faults.each("route", &route.route, |faults, one| to(faults, &one.destination));
        });
    }
}

/// What one of its hosts makes of an object.
fn of_host(world: &World, service: &VirtualService, host: &Host<'_>, field: &str, faults: &mut Faults<'_>) {
    let (of, own) = (&host.metadata.namespace, &service.metadata.namespace);
    let named = format!("{of}/{}", host.metadata.name);
    let Some(waypoint) = binding::bound(world, Object::new(Traffic::Service, host.metadata)).waypoint else {
        return faults.coded(
            Code::NO_WAYPOINT,
            field,
            format_args!("`{named}` has no waypoint; the object has no effect on it"),
        );
    };
    if own != of && waypoint.namespace != **own {
        let message = "is in another namespace, and so is its waypoint; the object has no effect on it";
        return faults.coded(Code::OTHER_NAMESPACE, field, format_args!("`{named}` {message}"));
    }
    let parents = |parents: &[ParentRef], route: &Metadata| {
        parents.iter().any(|parent| {
            let kind = if host.is_entry { "ServiceEntry" } else { "Service" };
            parent.kind.as_deref() == Some(kind)
                && parent.name == host.metadata.name
                && parent.namespace.as_deref().unwrap_or(&route.namespace) == of
        })
    };
    let http = world.http_routes.iter().map(|(key, (_, route))| (key, &route.spec.parent_refs, &route.metadata));
    let grpc = world.grpc_routes.iter().map(|(key, (_, route))| (key, &route.spec.parent_refs, &route.metadata));
    let attached = http.chain(grpc).find(|(_, refs, metadata)| parents(refs, metadata));
    if let Some((route, ..)) = attached.filter(|_| !service.spec.http.is_empty()) {
        let message = "is attached to it; where it is, `http` of this object has no effect";
        faults.coded(
            Code::ROUTES_MIXED,
            field,
            format_args!("`{named}`: route `{route}` of the Gateway API {message}"),
        );
    }
}

fn destination_of(world: &World, from: &Metadata, to: &Destination, faults: &mut Faults<'_>) {
    let effect = "its share is answered with 503";
    let mut found = hosts(world, &from.namespace, &to.host).peekable();
    let Some(first) = found.peek() else {
        return faults.coded(Code::NOT_FOUND, "destination.host", format_args!("`{}` is not there; {effect}", to.host));
    };
    if to.port.is_none() && first.ports.len() > 1 {
        let message = "has several ports; without one here, that by which requests came in is meant";
        faults.coded(Code::PORT_NEEDED, "destination.port", format_args!("`{}` {message}", to.host));
    }
    let has = |host: Host<'_>| to.port.as_ref().is_none_or(|port| host.ports.contains(&port.number));
    if !found.any(has) {
        faults.coded(Code::NO_SUCH_PORT, "destination.port", format_args!("`{}` has no such port; {effect}", to.host));
    }
    if let Some(subset) = to.subset.as_deref().filter(|subset| !subset.is_empty()) {
        let rules = world.destination_rules.values().map(|(_, rule)| &rule.spec);
        if !rules.flat_map(|spec| &spec.subsets).any(|known| known.name == subset) {
            faults.coded(
                Code::NOT_FOUND,
                "destination.subset",
                format_args!("`{subset}` is in no DestinationRule; {effect}"),
            );
        }
    }
}

/// A service that a host means.
struct Host<'w> {
    metadata: &'w Metadata,
    ports: Vec<u16>,
    is_entry: bool,
}

/// The services that a host means in an object of a namespace.
fn hosts<'w>(world: &'w World, namespace: &str, host: &str) -> impl Iterator<Item = Host<'w>> + use<'w> {
    let (of, host) = (namespace.to_owned(), host.to_ascii_lowercase());
    let (also, entry_host, import_host) = (of.clone(), host.clone(), host.clone());
    let services = world.services.values().map(|(_, service)| service);
    let services = services.filter(move |service| means(&host, &of, &service.metadata)).map(|service| Host {
        metadata: &service.metadata,
        ports: service.spec.ports.iter().map(|port| port.port).collect(),
        is_entry: false,
    });
    let entries = world.service_entries.values().map(|(_, entry)| entry);
    let entries = entries.filter(move |entry| {
        let whole = |name: &String| match entry_host.strip_prefix('*') {
            Some(end) => name.to_ascii_lowercase().ends_with(end),
            None => name.eq_ignore_ascii_case(&entry_host),
        };
        let visible = entry.spec.export_to.is_empty()
            || entry.metadata.namespace == also
            || entry.spec.export_to.iter().any(|scope| *scope == "*" || *scope == also);
        visible && entry.spec.hosts.iter().any(whole)
    });
    let imports = world.imports.iter().filter(|(key, _)| !world.services.contains_key(key));
    let imports = imports
        .filter(move |(key, _)| clusterset::key(key).is_some_and(|service| service.hostname.as_str() == import_host));
    let imports = imports.map(|(_, (_, import))| Host {
        metadata: &import.metadata,
        ports: import.spec.ports.iter().map(|port| port.port).collect(),
        is_entry: false,
    });
    services.chain(imports).chain(entries.map(|entry| Host {
        metadata: &entry.metadata,
        ports: entry.spec.ports.iter().map(|port| port.number).collect(),
        is_entry: true,
    }))
}

/// Whether a host means a service of Kubernetes; nobody says here what domain they are in.
fn means(host: &str, namespace: &str, service: &Metadata) -> bool {
    let name = format!("{}.{}", service.name, service.namespace);
    match host.strip_prefix('*') {
        Some("") => true,
        Some(end) => end.split_once(".svc").is_some_and(|(end, _)| name.ends_with(end)),
        None if host.contains('.') => host.split_once(".svc.").is_some_and(|(head, _)| head == name),
        None => host == service.name && namespace == service.namespace,
    }
}
