//! Routes that are attached to services, and where their backends are.

use std::collections::BTreeMap;

use mesh_core::balance::HttpProtocol;
use mesh_core::gateway::virtual_service::VirtualService;
use mesh_core::gateway::{Backend, GrpcRoute, HttpRoute};
use mesh_core::listener::TcpTarget;
use mesh_core::name::{NamespacedHostname, NamespacedName};
use mesh_core::route::HashPolicy;
use mesh_core::service::{AppProtocol, Service, ServicePort};

use super::cluster::{Made, Maker, Spoken, inbound, outbound};
use super::served::{Index, Served};
use super::{gateway_api, host, virtual_service};
use crate::admission::check::Faults;
use crate::admission::schema::virtual_service::{Destination, is_for_mesh};
use crate::admission::schema::{self, BackendRef, Metadata, ParentRef};
use crate::finding::Origin;
use crate::translate::{Place, service};
use crate::world::World;

/// The routes of all services.
pub(super) struct Attached<'a> {
    by_service: BTreeMap<NamespacedHostname, Vec<(Part<'a>, Source<'a>)>>,
}

/// Which part of a service a route is for.
#[derive(Debug, Clone, Copy)]
struct Part<'a> {
    port: Option<u16>,
    section: Option<&'a str>,
}

/// A route as it was read.
#[derive(Debug, Clone, Copy)]
enum Source<'a> {
    Http(&'a schema::HttpRoute),
    Grpc(&'a schema::GrpcRoute),
}

/// The routes of one port.
#[derive(Default)]
pub(super) struct OfPort {
    pub(super) http: Vec<HttpRoute>,
    pub(super) grpc: Vec<GrpcRoute>,
    /// What counts where there are no others.
    pub(super) virtual_services: Vec<VirtualService>,
}

impl<'a> Attached<'a> {
    pub(super) fn new(world: &'a World, place: &Place) -> Self {
        let mut attached = Self { by_service: BTreeMap::new() };
        let http = world
            .http_routes
            .values()
            .map(|(_, route)| (&route.metadata, &route.spec.parent_refs, Source::Http(route)));
        let grpc = world
            .grpc_routes
            .values()
            .map(|(_, route)| (&route.metadata, &route.spec.parent_refs, Source::Grpc(route)));
        for (metadata, parents, source) in http.chain(grpc) {
            for parent in parents {
                let part = Part { port: parent.port, section: parent.section_name.as_deref() };
                for key in parent_keys(world, place, metadata, parent) {
                    attached.by_service.entry(key).or_default().push((part, source));
                }
            }
        }
        attached
    }

    /// The routes of a port of a service. A route that names it twice counts once.
    pub(super) fn of(&self, backends: &mut Backends<'a, '_>, service: &Service, port: &ServicePort) -> OfPort {
        let mut routes = OfPort::default();
        let name = port_name(backends.maker.index.world, &service.key, port.service_port);
        for (part, source) in self.by_service.get(&service.key).into_iter().flatten() {
            let fits = part.port.is_none_or(|wanted| wanted == port.service_port)
                && part.section.is_none_or(|section| name == Some(section));
            if !fits {
                continue;
            }
            match source {
                Source::Http(source) => {
                    let route = gateway_api::http_route(source, backends);
                    if !routes.http.iter().any(|known| known.id == route.id) {
                        routes.http.push(route);
                    }
                }
                Source::Grpc(source) => {
                    let route = gateway_api::grpc_route(source, backends);
                    if !routes.grpc.iter().any(|known| known.id == route.id) {
                        routes.grpc.push(route);
                    }
                }
            }
        }
        if routes.http.is_empty() && routes.grpc.is_empty() {
            let about_requests =
                virtual_services(backends.maker, service).filter(|source| !source.spec.http.is_empty());
            routes.virtual_services = about_requests
                .map(|source| {
                    let namespace = source.metadata.namespace.as_str();
                    let mut resolve =
                        |to: &Destination| backends.destination(namespace, to, port.service_port, Spoken::Http);
                    // What is wrong with it was found when it was read.
                    virtual_service::read(source, &mut resolve, &mut Faults::new(&Origin::default(), &mut Vec::new()))
                })
                .collect();
        }
        routes
    }
}

/// Where TCP connections to a port of a service go, if a VirtualService says so; the older before the younger.
pub(super) fn tcp_target<'a>(
    backends: &mut Backends<'a, '_>,
    service: &'a Service,
    port: &ServicePort,
) -> Option<TcpTarget> {
    let mut sources: Vec<_> = virtual_services(backends.maker, service).collect();
    sources.sort_by_key(|source| (source.metadata.created(), &source.metadata.namespace, &source.metadata.name));
    sources.into_iter().find_map(|source| {
        let namespace = source.metadata.namespace.as_str();
        let mut resolve = |to: &Destination| backends.destination(namespace, to, port.service_port, Spoken::Tcp);
        let is_tls = port.protocol == AppProtocol::Tls;
        let host = service.key.hostname.as_str();
        virtual_service::target(&source.spec, host, port.service_port, is_tls, &mut resolve)
    })
}

/// The VirtualServices that are for a service at a waypoint: of the namespace of either.
fn virtual_services<'a>(
    maker: Maker<'a, '_>,
    service: &Service,
) -> impl Iterator<Item = &'a schema::VirtualService> + use<'a> {
    let (own, of_service) = (maker.gateway.namespace.clone(), service.key.namespace.clone());
    let domain = maker.index.place.cluster_domain.as_str();
    let service = service.clone();
    maker.index.world.virtual_services.values().map(|(_, source)| source).filter(move |source| {
        let (spec, namespace) = (&source.spec, source.metadata.namespace.as_str());
        (own == *namespace || of_service == *namespace)
            && is_for_mesh(&spec.gateways)
            && host::is_exported(&spec.export_to, namespace, own.as_str())
            && spec.hosts.iter().any(|name| host::fit(name, namespace, &service, domain).is_some())
    })
}

/// The services that a parent reference means.
fn parent_keys(world: &World, place: &Place, route: &Metadata, parent: &ParentRef) -> Vec<NamespacedHostname> {
    let namespace = parent.namespace.as_deref().unwrap_or(&route.namespace);
    let key = NamespacedName::new(namespace, parent.name.as_str());
    match (parent.group.as_deref(), parent.kind.as_deref()) {
        (Some("" | "core"), Some("Service")) => {
            world.services.get(&key).and_then(|(_, parent)| service::key(parent, place)).into_iter().collect()
        }
        (Some("networking.istio.io"), Some("ServiceEntry")) => {
            world.service_entries.get(&key).map(|(_, entry)| service::entry_keys(entry).collect()).unwrap_or_default()
        }
        _ => Vec::new(),
    }
}

/// The name of a port of a service.
fn port_name<'a>(world: &'a World, service: &NamespacedHostname, port: u16) -> Option<&'a str> {
    let short = service.hostname.as_str().split('.').next().unwrap_or_default();
    let key = NamespacedName::new(service.namespace.clone(), short);
    let of_service = world.services.get(&key).into_iter().flat_map(|(_, service)| &service.spec.ports);
    let named = of_service.filter(|candidate| candidate.port == port).map(|port| port.name.as_str()).next();
    named.or_else(|| {
        let entries = world.service_entries.values().map(|(_, entry)| entry);
        let mut of_host = entries.filter(|entry| service::entry_keys(entry).any(|key| key == *service));
        let ports = of_host.next().map(|entry| entry.spec.ports.as_slice()).unwrap_or_default();
        ports.iter().find(|candidate| candidate.number == port).map(|port| port.name.as_str())
    })
}

/// Finds the clusters that routes lead to, and makes those that there are not yet.
pub(super) struct Backends<'a, 'i> {
    pub(super) maker: Maker<'a, 'i>,
    bound: &'i Served<'a>,
    /// What was made, by name.
    pub(super) made: BTreeMap<String, Made>,
    /// What the requests to each cluster are hashed by.
    pub(super) hashes: BTreeMap<String, Vec<HashPolicy>>,
}

impl<'a, 'i> Backends<'a, 'i> {
    pub(super) fn new(maker: Maker<'a, 'i>, bound: &'i Served<'a>) -> Self {
        Self { maker, bound, made: BTreeMap::new(), hashes: BTreeMap::new() }
    }

    /// What a reference of a route of a namespace comes to.
    pub(super) fn resolve(&mut self, namespace: &str, reference: &BackendRef) -> Backend {
        let Some((service, port)) = find(self.maker.index, self.maker.gateway, namespace, reference) else {
            return Backend::Invalid;
        };
        Backend::Cluster(self.cluster(service, port).into())
    }

    /// What a destination in a VirtualService of a namespace comes to, for connections that come in by a port.
    fn destination(&mut self, namespace: &str, to: &Destination, entry: u16, spoken: Spoken) -> Backend {
        let maker = self.maker;
        let found = || {
            let service = host::service(maker.index, namespace, &to.host)?;
            let port = match (&to.port, service.ports.iter().as_slice()) {
                (Some(port), _) => service.ports.get(port.number),
                (None, [only]) => Some(only),
                (None, _) => service.ports.get(entry),
            };
            let port = port.filter(|_| service.is_visible_to(maker.gateway.namespace.as_str()))?;
            let subsets = maker.subsets(service);
            let subset = match to.subset.as_deref().filter(|name| !name.is_empty()) {
                None => None,
                Some(wanted) => Some(*subsets.iter().find(|(name, _)| *name == wanted)?),
            };
            Some((service, port, subset))
        };
        let Some((service, port, subset)) = found() else { return Backend::Invalid };
        Backend::Cluster(self.part(service, port, spoken, subset).into())
    }

    /// The cluster for the HTTP of a port of a service.
    pub(super) fn cluster(&mut self, service: &'a Service, port: &ServicePort) -> String {
        self.part(service, port, Spoken::Http, None)
    }

    /// The cluster for a port of a service, or of a subset of it.
    fn part(
        &mut self,
        service: &'a Service,
        port: &ServicePort,
        spoken: Spoken,
        subset: Option<(&str, &BTreeMap<String, String>)>,
    ) -> String {
        let is_bound = self.bound.services.iter().any(|bound| bound.key == service.key);
        let named = subset.map(|(name, _)| name);
        let name = match is_bound {
            true => inbound(service, port.service_port, spoken, named),
            false => outbound(service, port.service_port, spoken, named),
        };
        if !self.made.contains_key(&name) {
            let made = self.maker.make(name.clone(), service, port, spoken, subset);
            self.hashes.insert(name.clone(), self.maker.settings(service, port.service_port, named).hash());
            self.made.insert(name.clone(), made);
        }
        name
    }

    /// The cluster in which a companion is asked, at a port of a service.
    pub(super) fn companion(&mut self, namespace: &str, host: &str, port: u16, by_grpc: bool) -> Option<String> {
        let service = host::service(self.maker.index, namespace, host)?;
        let port = service.ports.get(port)?;
        let kind = if by_grpc { "grpc" } else { "http" };
        let name = format!("companion|{}|{kind}|{}", port.service_port, service.key.hostname);
        if !self.made.contains_key(&name) {
            let mut made = self.maker.make(name.clone(), service, port, Spoken::Http, None);
            // Whatever the port is called.
            if by_grpc {
                made.cluster.protocol = HttpProtocol::Http2;
            }
            self.made.insert(name.clone(), made);
        }
        Some(name)
    }
}

/// The service and the port that a reference means, if it is there and may be used.
fn find<'a>(
    index: &Index<'a>,
    gateway: &NamespacedName,
    namespace: &str,
    reference: &BackendRef,
) -> Option<(&'a Service, &'a ServicePort)> {
    let group = reference.group.as_deref().unwrap_or_default();
    let service = match (group, reference.kind.as_deref().unwrap_or("Service")) {
        ("" | "core", "Service") => {
            let namespace = reference.namespace.as_deref().unwrap_or(namespace);
            let (_, source) = index.world.services.get(&NamespacedName::new(namespace, reference.name.as_str()))?;
            *index.services.get(&service::key(source, index.place)?)?
        }
        ("networking.istio.io", "Hostname") => {
            // It is one in full.
            Some(&reference.name)
                .filter(|name| name.contains('.'))
                .and_then(|name| host::service(index, namespace, name))?
        }
        _ => return None,
    };
    let visible = service.is_visible_to(gateway.namespace.as_str());
    service.ports.get(reference.port?).filter(|_| visible).map(|port| (service, port))
}
