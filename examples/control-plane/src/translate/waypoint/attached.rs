//! Routes that are attached to services, and where their backends are.

use std::collections::{BTreeMap, BTreeSet};

use mesh_core::gateway::virtual_service::VirtualService;
use mesh_core::gateway::{Backend, GrpcRoute, HttpRoute};
use mesh_core::listener::TcpTarget;
use mesh_core::name::{NamespacedName, Text};
use mesh_core::route::HashPolicy;
use mesh_core::service::{AppProtocol, GatewayAddress, Service, ServicePort};

use super::cluster::{Spec, Specs, Spoken, inbound, outbound};
use super::destination::{self, Settings};
use super::{gateway_api, host, served, virtual_service};
use crate::attach::{self, MeshParent};
use crate::finding::Faults;
use crate::finding::Origin;
use crate::resource::virtual_service::{Destination, is_for_mesh};
use crate::resource::{self, BackendRef, Kind, ObjectId};
use crate::translate::facts::Reader;
use crate::translate::{clusterset, service};

/// The routes of one port.
#[derive(Default)]
pub(super) struct OfPort {
    pub(super) http: Vec<HttpRoute>,
    pub(super) grpc: Vec<GrpcRoute>,
    /// What counts where there are no others.
    pub(super) virtual_services: Vec<VirtualService>,
}

/// The routes of a port of a service. A route that names it twice counts once.
pub(super) fn of(backends: &mut Backends<'_, '_>, service: &Service, port: &ServicePort) -> OfPort {
    let reader = backends.reader;
    let mut routes = OfPort::default();
    let declaring = reader.declaring(&service.key);
    let parents = declaring.filter_map(|id| clusterset::parent(reader, id, &service.key));
    let counts = |parent: &MeshParent| parent.ports.contains(&port.service_port);
    let attached = parents.flat_map(|id| attach::of_service(reader, &id)).filter(counts);
    let attached: BTreeSet<ObjectId> = attached.map(|parent| parent.route).collect();
    for id in attached {
        if id.kind == Kind::HttpRoute {
            routes.http.extend(reader.http_route(&id.name).map(|route| gateway_api::http_route(route, backends)));
        } else {
            routes.grpc.extend(reader.grpc_route(&id.name).map(|route| gateway_api::grpc_route(route, backends)));
        }
    }
    if routes.http.is_empty() && routes.grpc.is_empty() {
        let sources = virtual_services(backends, service);
        let about_requests = sources.into_iter().filter(|source| !source.spec.http.is_empty());
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

/// Where TCP connections to a port of a service go, if a VirtualService says so; the older before the younger.
pub(super) fn tcp_target(backends: &mut Backends<'_, '_>, service: &Service, port: &ServicePort) -> Option<TcpTarget> {
    let mut sources = virtual_services(backends, service);
    sources.sort_by_key(|source| (source.metadata.created(), &source.metadata.namespace, &source.metadata.name));
    sources.into_iter().find_map(|source| {
        let namespace = source.metadata.namespace.as_str();
        let mut resolve = |to: &Destination| backends.destination(namespace, to, port.service_port, Spoken::Tcp);
        let is_tls = port.protocol == AppProtocol::Tls;
        let host = service.key.hostname.as_str();
        virtual_service::target(&source.spec, host, port.service_port, is_tls, &mut resolve)
    })
}

/// The VirtualServices that are for a service, as seen in a namespace: of this and of the service's, in the order of their
/// names.
fn virtual_services<'a>(backends: &Backends<'a, '_>, service: &Service) -> Vec<&'a resource::VirtualService> {
    let own = backends.namespace;
    let domain = backends.reader.place().cluster_domain.as_str();
    let namespaces = BTreeSet::from([own, service.key.namespace.as_str()]);
    let sources = namespaces.into_iter().flat_map(|namespace| backends.reader.virtual_services(namespace));
    let applies = |source: &&resource::VirtualService| {
        let (spec, namespace) = (&source.spec, source.metadata.namespace.as_str());
        is_for_mesh(&spec.gateways)
            && host::is_exported(&spec.export_to, namespace, own)
            && spec.hosts.iter().any(|name| host::fit(name, namespace, service, domain).is_some())
    };
    sources.filter(applies).collect()
}

/// Finds the clusters that routes lead to, and notes those that there must be.
pub(in crate::translate) struct Backends<'a, 'r> {
    pub(in crate::translate) reader: &'r Reader<'a>,
    /// The namespace of those who are programmed.
    namespace: &'r str,
    /// Where they are found, if they are instances of a waypoint.
    address: Option<&'r GatewayAddress>,
    /// Where routes are not those of the mesh: whether a backend may be used.
    pub(in crate::translate) permits: Option<Permits<'r, 'a>>,
    /// What the routes speak that are looked at.
    pub(in crate::translate) spoken: Spoken,
    /// The clusters that there must be.
    pub(in crate::translate) specs: Specs,
    /// What the requests to each cluster are hashed by.
    pub(in crate::translate) hashes: BTreeMap<Text, Vec<HashPolicy>>,
}

/// Whether a route of a namespace may use a service, by the group, kind and name of the reference, and a port of it.
pub(in crate::translate) type Permits<'r, 'a> = &'r dyn Fn(&str, &BackendRef, &'a Service, &'a ServicePort) -> bool;

impl<'a, 'r> Backends<'a, 'r> {
    /// For the instances of a waypoint that is found at an address.
    pub(super) fn of_waypoint(
        reader: &'r Reader<'a>,
        waypoint: &'r NamespacedName,
        address: &'r GatewayAddress,
    ) -> Self {
        Self { address: Some(address), ..Self::within(reader, waypoint.namespace.as_str()) }
    }

    /// For others in a namespace: Gateways where traffic enters, and clients without a proxy.
    pub(in crate::translate) fn within(reader: &'r Reader<'a>, namespace: &'r str) -> Self {
        Self {
            reader,
            namespace,
            address: None,
            permits: None,
            spoken: Spoken::Http,
            specs: Specs::new(),
            hashes: BTreeMap::new(),
        }
    }

    /// What is said of a port of a service.
    pub(super) fn settings(&self, service: &Service, port: u16, subset: Option<&str>) -> Settings<'a> {
        Settings::of(destination::rule(self.reader, self.namespace, service), port, subset)
    }

    /// What a reference of a route of a namespace comes to.
    pub(super) fn resolve(&mut self, namespace: &str, reference: &BackendRef) -> Backend {
        self.backend(namespace, reference, self.spoken)
    }

    /// What a reference of a route of a namespace comes to, where this is spoken.
    pub(in crate::translate) fn backend(&mut self, namespace: &str, reference: &BackendRef, spoken: Spoken) -> Backend {
        let Some((service, port)) = find(self.reader, self.namespace, namespace, reference) else {
            return Backend::Invalid;
        };
        if self.permits.is_some_and(|permits| !permits(namespace, reference, service, port)) {
            return Backend::Invalid;
        }
        Backend::Cluster(self.part(service, port, spoken, None))
    }

    /// What a destination in a VirtualService of a namespace comes to, for connections that come in by a port.
    fn destination(&mut self, namespace: &str, to: &Destination, entry: u16, spoken: Spoken) -> Backend {
        let reader = self.reader;
        let own = self.namespace;
        let found = || {
            let service = host::service(reader, namespace, &to.host)?;
            let port = match (&to.port, service.ports.iter().as_slice()) {
                (Some(port), _) => service.ports.get(port.number),
                (None, [only]) => Some(only),
                (None, _) => service.ports.get(entry),
            };
            let port = port.filter(|_| service.is_visible_to(own))?;
            let subset = to.subset.as_deref().filter(|name| !name.is_empty());
            if let Some(wanted) = subset {
                let rule = destination::rule(reader, own, service)?;
                rule.spec.subsets.iter().find(|subset| subset.name == wanted)?;
            }
            Some((service, port, subset))
        };
        let Some((service, port, subset)) = found() else { return Backend::Invalid };
        Backend::Cluster(self.part(service, port, spoken, subset))
    }

    /// The cluster for the HTTP of a port of a service.
    pub(super) fn cluster(&mut self, service: &Service, port: &ServicePort) -> Text {
        self.part(service, port, Spoken::Http, None)
    }

    /// The cluster for a port of a service, or of a subset of it.
    fn part(&mut self, service: &Service, port: &ServicePort, spoken: Spoken, subset: Option<&str>) -> Text {
        let port = port.service_port;
        let is_own = self.address.is_some_and(|address| served::is_bound(service, address));
        let name: Text = match is_own {
            true => inbound(service, port, spoken, subset).into(),
            false => outbound(service, port, spoken, subset).into(),
        };
        if !self.specs.contains_key(&name) {
            self.hashes.insert(name.clone(), self.settings(service, port, subset).hash());
            self.specs.insert(name.clone(), Spec::of(service, port, spoken, subset));
        }
        name
    }

    /// The cluster in which a companion is asked, at a port of a service.
    pub(super) fn companion(&mut self, namespace: &str, host: &str, port: u16, by_grpc: bool) -> Option<Text> {
        let service = host::service(self.reader, namespace, host)?;
        let port = service.ports.get(port)?.service_port;
        let kind = if by_grpc { "grpc" } else { "http" };
        let name: Text = format!("companion|{port}|{kind}|{}", service.key.hostname).into();
        let spec = Spec::Companion { service: service.key.clone(), port, by_grpc };
        self.specs.entry(name.clone()).or_insert(spec);
        Some(name)
    }
}

/// The service and the port that a reference of a route of a namespace means, if it is there and may be used in one's own.
fn find<'a>(
    reader: &Reader<'a>,
    own: &str,
    namespace: &str,
    reference: &BackendRef,
) -> Option<(&'a Service, &'a ServicePort)> {
    let group = reference.group.as_deref().unwrap_or_default();
    let service = match (group, reference.kind.as_deref().unwrap_or("Service")) {
        ("" | "core", "Service") => {
            let namespace = reference.namespace.as_deref().unwrap_or(namespace);
            let source = reader.service_object(&NamespacedName::new(namespace, reference.name.as_str()))?;
            reader.service(&service::key(source, reader.place())?)?
        }
        (clusterset::GROUP, "ServiceImport") => {
            let namespace = reference.namespace.as_deref().unwrap_or(namespace);
            let name = NamespacedName::new(namespace, reference.name.as_str());
            reader.import(&name)?;
            reader.service(&clusterset::key(&name)?)?
        }
        ("networking.istio.io", "Hostname") => {
            // It is one in full.
            Some(&reference.name)
                .filter(|name| name.contains('.'))
                .and_then(|name| host::service(reader, namespace, name))?
        }
        _ => return None,
    };
    let visible = service.is_visible_to(own);
    service.ports.get(reference.port?).filter(|_| visible).map(|port| (service, port))
}
