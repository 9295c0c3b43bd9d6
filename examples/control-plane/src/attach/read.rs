use std::collections::{BTreeMap, BTreeSet};

use mesh_core::name::NamespacedName;

use super::reference::parent;
use crate::resource::{
    BackendTlsPolicy, ConfigMap, Gateway, GatewayClass, GrpcRoute, HttpRoute, Kind, ListenerSet, Namespace, ObjectId,
    ParentRef, ReferenceGrant, Secret, Service, ServiceEntry, ServiceImport, TcpRoute, TlsRoute,
};
use crate::world::{Lookup, World};

/// Finds what listeners, routes and policies refer to.
pub trait Read: Lookup {
    /// The routes and ListenerSets that name an object as parent, in the order of their ids.
    fn naming(&self, parent: &ObjectId) -> Vec<ObjectId>;

    /// A ListenerSet.
    fn listener_set(&self, key: &NamespacedName) -> Option<&ListenerSet>;

    /// An HTTPRoute.
    fn http_route(&self, key: &NamespacedName) -> Option<&HttpRoute>;

    /// A GRPCRoute.
    fn grpc_route(&self, key: &NamespacedName) -> Option<&GrpcRoute>;

    /// A TLSRoute.
    fn tls_route(&self, key: &NamespacedName) -> Option<&TlsRoute>;

    /// A TCPRoute.
    fn tcp_route(&self, key: &NamespacedName) -> Option<&TcpRoute>;

    /// A Service.
    fn service(&self, key: &NamespacedName) -> Option<&Service>;

    /// A ServiceEntry.
    fn service_entry(&self, key: &NamespacedName) -> Option<&ServiceEntry>;

    /// A ServiceImport.
    fn import(&self, key: &NamespacedName) -> Option<&ServiceImport>;

    /// A Secret.
    fn secret(&self, key: &NamespacedName) -> Option<&Secret>;

    /// A ConfigMap.
    fn config_map(&self, key: &NamespacedName) -> Option<&ConfigMap>;

    /// The ReferenceGrants of a namespace.
    fn grants(&self, namespace: &str) -> Vec<&ReferenceGrant>;

    /// The BackendTLSPolicies of a namespace.
    fn backend_tls(&self, namespace: &str) -> Vec<&BackendTlsPolicy>;

    /// The ports of the service of a host name in full: of the namespace, else of any.
    fn host(&self, namespace: &str, host: &str) -> HostPorts;
}

/// The ports of the service that a host name means; `None` if there is no such service.
pub type HostPorts = Option<BTreeSet<u16>>;

/// A whole world, with the indexes that it takes.
#[derive(Debug)]
pub struct Whole<'a> {
    world: &'a World,
    naming: BTreeMap<ObjectId, BTreeSet<ObjectId>>,
    /// The ports of services, by host name and namespace.
    hosts: BTreeMap<String, BTreeMap<&'a str, BTreeSet<u16>>>,
}

impl<'a> Whole<'a> {
    /// A world, where Kubernetes services are in a domain. It costs a look at each route and service.
    #[must_use]
    pub fn new(world: &'a World, cluster_domain: &str) -> Self {
        let mut whole = Self { world, naming: BTreeMap::new(), hosts: BTreeMap::new() };
        whole.index(Kind::HttpRoute, world.http_routes.iter().map(|(key, (_, one))| (key, &*one.spec.parent_refs)));
        whole.index(Kind::GrpcRoute, world.grpc_routes.iter().map(|(key, (_, one))| (key, &*one.spec.parent_refs)));
        whole.index(Kind::TlsRoute, world.tls_routes.iter().map(|(key, (_, one))| (key, &*one.spec.parent_refs)));
        whole.index(Kind::TcpRoute, world.tcp_routes.iter().map(|(key, (_, one))| (key, &*one.spec.parent_refs)));
        let sets = world.listener_sets.iter();
        whole.index(Kind::ListenerSet, sets.map(|(key, (_, one))| (key, std::slice::from_ref(&one.spec.parent_ref))));
        for (key, (_, service)) in &world.services {
            let host = format!("{}.{}.svc.{cluster_domain}", key.name, key.namespace);
            let ports = service.spec.ports.iter().map(|port| port.port);
            whole.hosts.entry(host).or_default().entry(key.namespace.as_str()).or_default().extend(ports);
        }
        for (key, (_, entry)) in &world.service_entries {
            for host in &entry.spec.hosts {
                let ports = entry.spec.ports.iter().map(|port| port.number);
                let of_host = whole.hosts.entry(host.to_ascii_lowercase()).or_default();
                of_host.entry(key.namespace.as_str()).or_default().extend(ports);
            }
        }
        whole
    }

    /// The world.
    #[must_use]
    pub fn world(&self) -> &'a World {
        self.world
    }

    fn index(&mut self, kind: Kind, objects: impl Iterator<Item = (&'a NamespacedName, &'a [ParentRef])>) {
        for (key, parents) in objects {
            for to in parents.iter().filter_map(|one| parent(key.namespace.as_str(), one)) {
                self.naming.entry(to).or_default().insert(ObjectId { kind, name: key.clone() });
            }
        }
    }
}

impl Lookup for Whole<'_> {
    fn namespace(&self, name: &str) -> Option<&Namespace> {
        self.world.namespace(name)
    }

    fn gateway(&self, key: &NamespacedName) -> Option<&Gateway> {
        self.world.gateway(key)
    }

    fn class(&self, name: &str) -> Option<&GatewayClass> {
        self.world.class(name)
    }
}

macro_rules! objects {
    ($($name:ident -> $type:ty, $field:ident;)*) => {
        $(fn $name(&self, key: &NamespacedName) -> Option<&$type> {
            self.world.$field.get(key).map(|(_, object)| object)
        })*
    };
}

impl Read for Whole<'_> {
    objects! {
        listener_set -> ListenerSet, listener_sets;
        http_route -> HttpRoute, http_routes;
        grpc_route -> GrpcRoute, grpc_routes;
        tls_route -> TlsRoute, tls_routes;
        tcp_route -> TcpRoute, tcp_routes;
        service -> Service, services;
        service_entry -> ServiceEntry, service_entries;
        import -> ServiceImport, imports;
        secret -> Secret, secrets;
        config_map -> ConfigMap, config_maps;
    }

    fn naming(&self, parent: &ObjectId) -> Vec<ObjectId> {
        self.naming.get(parent).into_iter().flatten().cloned().collect()
    }

    fn grants(&self, namespace: &str) -> Vec<&ReferenceGrant> {
        self.world.grants.in_namespace(namespace).map(|(_, (_, grant))| grant).collect()
    }

    fn backend_tls(&self, namespace: &str) -> Vec<&BackendTlsPolicy> {
        self.world.backend_tls.in_namespace(namespace).map(|(_, (_, policy))| policy).collect()
    }

    fn host(&self, namespace: &str, host: &str) -> HostPorts {
        let of_host = self.hosts.get(&host.to_ascii_lowercase())?;
        of_host.get(namespace).or_else(|| of_host.values().next()).cloned()
    }
}
