//! What listeners and routes refer to, as facts that are noted.

use mesh_core::name::{Hostname, NamespacedName};

use super::{By, Fact, Reader};
use crate::attach::{HostPorts, Read};
use crate::resource::{
    self, BackendTlsPolicy, ConfigMap, GrpcRoute, HttpRoute, Kind, ListenerSet, ObjectId, ReferenceGrant, Secret,
    ServiceEntry, ServiceImport, TcpRoute, TlsRoute,
};

macro_rules! objects {
    ($($name:ident: $kind:ident($type:ty) in $field:ident;)*) => {
        $(fn $name(&self, key: &NamespacedName) -> Option<&$type> {
            self.object(Kind::$kind, key, &self.facts.world.$field)
        })*
    };
}

impl Read for Reader<'_> {
    objects! {
        listener_set: ListenerSet(ListenerSet) in listener_sets;
        http_route: HttpRoute(HttpRoute) in http_routes;
        grpc_route: GrpcRoute(GrpcRoute) in grpc_routes;
        tls_route: TlsRoute(TlsRoute) in tls_routes;
        tcp_route: TcpRoute(TcpRoute) in tcp_routes;
        service: Service(resource::Service) in services;
        service_entry: ServiceEntry(ServiceEntry) in service_entries;
        import: ServiceImport(ServiceImport) in imports;
        secret: Secret(Secret) in secrets;
        config_map: ConfigMap(ConfigMap) in config_maps;
    }

    fn naming(&self, parent: &ObjectId) -> Vec<ObjectId> {
        self.index(By::Parent(parent.clone())).cloned().collect()
    }

    fn grants(&self, namespace: &str) -> Vec<&ReferenceGrant> {
        self.note(|| Fact::InNamespace(Kind::ReferenceGrant, namespace.into()));
        self.facts.world.grants.in_namespace(namespace).map(|(_, (_, grant))| grant).collect()
    }

    fn backend_tls(&self, namespace: &str) -> Vec<&BackendTlsPolicy> {
        self.note(|| Fact::InNamespace(Kind::BackendTlsPolicy, namespace.into()));
        self.facts.world.backend_tls.in_namespace(namespace).map(|(_, (_, policy))| policy).collect()
    }

    fn host(&self, namespace: &str, host: &str) -> HostPorts {
        let found = self.service_of_host(namespace, &Hostname::parse(host).ok()?)?;
        Some(found.ports.iter().map(|port| port.service_port).collect())
    }
}
