use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use mesh_core::name::{Hostname, NamespacedHostname, NamespacedName, Text};
use mesh_core::service::{GatewayAddress, Service};

use super::{By, Fact, Facts, Labels, Located};
use crate::resource::{
    self, AuthorizationPolicy, BackendTlsPolicy, ConfigMap, DestinationRule, EndpointSlice, Gateway, GatewayClass,
    GrpcRoute, HttpRoute, Kind, ListenerSet, Namespace, Node, ObjectId, PeerAuthentication, Pod, ReferenceGrant,
    RequestAuthentication, Secret, ServiceEntry, ServiceExport, ServiceImport, TcpRoute, TlsRoute, VirtualService,
    WorkloadEntry,
};
use crate::translate::Place;
use crate::world::{Lookup, Objects};

/// Reads facts, and notes which.
#[derive(Debug)]
pub(in crate::translate) struct Reader<'a> {
    pub(super) facts: &'a Facts,
    read: RefCell<Vec<Fact>>,
}

macro_rules! objects {
    ($($name:ident: $kind:ident($type:ty) in $field:ident;)*) => {
        $(
            pub(in crate::translate) fn $name(&self, key: &NamespacedName) -> Option<&'a $type> {
                self.object(Kind::$kind, key, &self.facts.world.$field)
            }
        )*
    };
}

impl<'a> Reader<'a> {
    pub(in crate::translate) fn new(facts: &'a Facts) -> Self {
        Self { facts, read: RefCell::default() }
    }

    /// What was read.
    pub(in crate::translate) fn into_read(self) -> Vec<Fact> {
        self.read.into_inner()
    }

    /// The place, which does not change.
    pub(in crate::translate) fn place(&self) -> &'a Place {
        &self.facts.place
    }

    objects! {
        service_object: Service(resource::Service) in services;
        service_entry: ServiceEntry(ServiceEntry) in service_entries;
        pod: Pod(Pod) in pods;
        entry: WorkloadEntry(WorkloadEntry) in entries;
        slice: EndpointSlice(EndpointSlice) in slices;
        policy: AuthorizationPolicy(AuthorizationPolicy) in policies;
        peer: PeerAuthentication(PeerAuthentication) in peers;
        tokens: RequestAuthentication(RequestAuthentication) in tokens;
        http_route: HttpRoute(HttpRoute) in http_routes;
        grpc_route: GrpcRoute(GrpcRoute) in grpc_routes;
        tls_route: TlsRoute(TlsRoute) in tls_routes;
        tcp_route: TcpRoute(TcpRoute) in tcp_routes;
        backend_tls: BackendTlsPolicy(BackendTlsPolicy) in backend_tls;
        listener_set: ListenerSet(ListenerSet) in listener_sets;
        secret: Secret(Secret) in secrets;
        config_map: ConfigMap(ConfigMap) in config_maps;
        gateway_object: Gateway(Gateway) in gateways;
        node: Node(Node) in nodes;
        export: ServiceExport(ServiceExport) in exports;
        import: ServiceImport(ServiceImport) in imports;
    }

    /// The labels of the workload that a pod or WorkloadEntry is.
    pub(in crate::translate) fn labels(&self, id: &ObjectId) -> Labels {
        self.note(|| Fact::Object(id.clone()));
        let world = &self.facts.world;
        let pod = || world.pods.placed(&id.name).map(|placed| Labels::Pod(Arc::clone(&placed.object)));
        let entry = || world.entries.placed(&id.name).map(|placed| Labels::Entry(Arc::clone(&placed.object)));
        let found = if id.kind == Kind::Pod { pod() } else { entry() };
        found.unwrap_or(Labels::None)
    }

    /// The slices with a pod among their endpoints. Of these, only what concerns all of their pods is noted.
    pub(in crate::translate) fn slices_of(&self, pod: NamespacedName) -> Vec<&'a EndpointSlice> {
        let ids = self.index(By::Slices(pod));
        ids.filter_map(|id| self.facts.world.slices.get(&id.name)).map(|(_, slice)| slice).collect()
    }

    /// A slice that [`By::Endpoints`] gave. What that index shows of it is noted there.
    pub(in crate::translate) fn slice_of_index(&self, key: &NamespacedName) -> Option<&'a EndpointSlice> {
        self.facts.world.slices.get(key).map(|(_, slice)| slice)
    }

    /// The automatic virtual addresses of a service; none if it has none.
    pub(in crate::translate) fn vips(&self, service: &NamespacedHostname) -> Vec<IpAddr> {
        self.note(|| Fact::Vips(service.clone()));
        self.facts.vips.get(service).into_iter().flatten().collect()
    }

    /// The DestinationRules of a namespace.
    pub(in crate::translate) fn destination_rules(
        &self,
        namespace: &str,
    ) -> Vec<(&'a NamespacedName, &'a DestinationRule)> {
        self.note(|| Fact::InNamespace(Kind::DestinationRule, namespace.into()));
        let rules = self.facts.world.destination_rules.in_namespace(namespace);
        rules.map(|(key, (_, rule))| (key, rule)).collect()
    }

    /// The VirtualServices of a namespace.
    pub(in crate::translate) fn virtual_services(&self, namespace: &str) -> Vec<&'a VirtualService> {
        self.note(|| Fact::InNamespace(Kind::VirtualService, namespace.into()));
        self.facts.world.virtual_services.in_namespace(namespace).map(|(_, (_, service))| service).collect()
    }

    /// Whether a reference from an object of a namespace to one of another, or of the same, is permitted.
    pub(in crate::translate) fn permits(&self, from: (Kind, &str), to: (&str, &str, &NamespacedName)) -> bool {
        let (kind, namespace) = from;
        let (to_group, to_kind, to) = to;
        if to.namespace == *namespace {
            return true;
        }
        self.note(|| Fact::InNamespace(Kind::ReferenceGrant, to.namespace.clone()));
        let refers = |grant: &ReferenceGrant| {
            let mut from = grant.spec.from.iter();
            from.any(|from| from.group == kind.group() && from.kind == kind.name() && from.namespace == namespace)
        };
        let referred = |grant: &ReferenceGrant| {
            let named = |name: Option<&str>| name.is_none_or(|name| name.is_empty() || to.name == *name);
            grant.spec.to.iter().any(|one| one.group == to_group && one.kind == to_kind && named(one.name.as_deref()))
        };
        let mut grants = self.facts.world.grants.in_namespace(to.namespace.as_str());
        grants.any(|(_, (_, grant))| refers(grant) && referred(grant))
    }

    /// The AuthorizationPolicies and RequestAuthentications of a namespace.
    pub(in crate::translate) fn policies_in(&self, namespace: &str) -> Vec<ObjectId> {
        let world = &self.facts.world;
        self.note(|| Fact::InNamespace(Kind::AuthorizationPolicy, namespace.into()));
        self.note(|| Fact::InNamespace(Kind::RequestAuthentication, namespace.into()));
        let id = |kind: Kind, name: &NamespacedName| ObjectId { kind, name: name.clone() };
        let policies = world.policies.in_namespace(namespace).map(|(key, _)| id(Kind::AuthorizationPolicy, key));
        let tokens = world.tokens.in_namespace(namespace).map(|(key, _)| id(Kind::RequestAuthentication, key));
        policies.chain(tokens).collect()
    }

    /// The objects that an index gives, in their order.
    pub(in crate::translate) fn index(&self, by: By) -> impl Iterator<Item = &'a ObjectId> + use<'a> {
        let found: Vec<_> = self.facts.index.get(&by).collect();
        self.note(|| Fact::Index(by));
        found.into_iter()
    }

    /// The objects that may select a workload of these labels, in their order; they may still demand further ones.
    pub(in crate::translate) fn selecting(
        &self,
        namespace: &Text,
        labels: &BTreeMap<String, String>,
    ) -> BTreeSet<&'a ObjectId> {
        let everywhere = Text::default();
        let scopes = [namespace, &everywhere];
        let keys = labels.iter().flat_map(|label| scopes.map(|scope| By::label(scope, label.0, label.1)));
        keys.flat_map(|by| self.index(by)).collect()
    }

    /// The service of a key.
    pub(in crate::translate) fn service(&self, key: &NamespacedHostname) -> Option<&'a Service> {
        self.note(|| Fact::Service(key.clone()));
        self.facts.service(key)
    }

    /// The objects that declare the service of a key, in their order.
    pub(in crate::translate) fn declaring(
        &self,
        key: &NamespacedHostname,
    ) -> impl Iterator<Item = &'a ObjectId> + use<'a> {
        self.note(|| Fact::Service(key.clone()));
        self.facts.declaring(key).collect::<Vec<_>>().into_iter()
    }

    /// The service of a host name: of the namespace, else of the first that has one.
    pub(in crate::translate) fn service_of_host(&self, namespace: &str, host: &Hostname) -> Option<&'a Service> {
        self.note(|| Fact::Host(host.clone()));
        let own = NamespacedHostname::new(namespace, host.clone());
        let key = match self.facts.service(&own) {
            Some(service) => &service.key,
            None => self.facts.of_host(host).next()?,
        };
        self.service(key)
    }

    /// The endpoints of a service, in the order of their uids.
    pub(in crate::translate) fn endpoints(
        &self,
        service: &NamespacedHostname,
    ) -> impl Iterator<Item = &'a Located> + use<'a> {
        self.note(|| Fact::Endpoints(service.clone()));
        self.facts.endpoints(service).collect::<Vec<_>>().into_iter()
    }

    /// The keys of the services that are bound to a waypoint, in their order.
    pub(in crate::translate) fn bound_services(&self, waypoint: &GatewayAddress) -> Vec<NamespacedHostname> {
        self.note(|| Fact::BoundServices(waypoint.clone()));
        self.facts.bound_services(waypoint).cloned().collect()
    }

    /// The workloads that are bound to a waypoint, in the order of their uids.
    pub(in crate::translate) fn bound_workloads(&self, waypoint: &GatewayAddress) -> Vec<&'a Located> {
        self.note(|| Fact::BoundWorkloads(waypoint.clone()));
        self.facts.bound_workloads(waypoint).collect()
    }

    pub(super) fn object<T>(&self, kind: Kind, key: &NamespacedName, objects: &'a Objects<T>) -> Option<&'a T> {
        self.note(|| Fact::Object(ObjectId { kind, name: key.clone() }));
        objects.get(key).map(|(_, object)| object)
    }

    pub(super) fn note(&self, fact: impl FnOnce() -> Fact) {
        self.read.borrow_mut().push(fact());
    }
}

impl Lookup for Reader<'_> {
    fn namespace(&self, name: &str) -> Option<&Namespace> {
        self.object(Kind::Namespace, &NamespacedName::new("", name), &self.facts.world.namespaces)
    }

    fn gateway(&self, key: &NamespacedName) -> Option<&Gateway> {
        self.gateway_object(key)
    }

    fn class(&self, name: &str) -> Option<&GatewayClass> {
        self.object(Kind::GatewayClass, &NamespacedName::new("", name), &self.facts.world.classes)
    }
}
