//! The kinds of objects that are read, in one list: what there is one of per kind is made from it.

use std::fmt;
use std::sync::Arc;

use mesh_core::name::NamespacedName;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::{
    AuthorizationPolicy, BackendTlsPolicy, ConfigMap, DestinationRule, EndpointSlice, Gateway, GatewayClass, GrpcRoute,
    HttpRoute, ListenerSet, Metadata, Namespace, Node, PeerAuthentication, Pod, ReferenceGrant, RequestAuthentication,
    Secret, Service, ServiceAccount, ServiceEntry, ServiceExport, ServiceImport, TcpRoute, Telemetry, TlsRoute,
    UdpRoute, VirtualService, WorkloadEntry,
};

/// Calls a macro with all kinds: `Variant(Type), field, "group", "Kind", namespaced?;` each. `field` is that of the world.
macro_rules! for_each_kind {
    ($callback:ident) => {
        $callback! {
            Namespace(Namespace), namespaces, "", "Namespace", false;
            Node(Node), nodes, "", "Node", false;
            ServiceAccount(ServiceAccount), accounts, "", "ServiceAccount", true;
            ConfigMap(ConfigMap), config_maps, "", "ConfigMap", true;
            Secret(Secret), secrets, "", "Secret", true;
            Service(Service), services, "", "Service", true;
            Pod(Pod), pods, "", "Pod", true;
            EndpointSlice(EndpointSlice), slices, "discovery.k8s.io", "EndpointSlice", true;
            WorkloadEntry(WorkloadEntry), entries, "networking.istio.io", "WorkloadEntry", true;
            ServiceEntry(ServiceEntry), service_entries, "networking.istio.io", "ServiceEntry", true;
            DestinationRule(DestinationRule), destination_rules, "networking.istio.io", "DestinationRule", true;
            VirtualService(VirtualService), virtual_services, "networking.istio.io", "VirtualService", true;
            AuthorizationPolicy(AuthorizationPolicy), policies, "security.istio.io", "AuthorizationPolicy", true;
            PeerAuthentication(PeerAuthentication), peers, "security.istio.io", "PeerAuthentication", true;
            RequestAuthentication(RequestAuthentication), tokens, "security.istio.io", "RequestAuthentication", true;
            Telemetry(Telemetry), telemetries, "telemetry.istio.io", "Telemetry", true;
            GatewayClass(GatewayClass), classes, "gateway.networking.k8s.io", "GatewayClass", false;
            Gateway(Gateway), gateways, "gateway.networking.k8s.io", "Gateway", true;
            ListenerSet(ListenerSet), listener_sets, "gateway.networking.k8s.io", "ListenerSet", true;
            HttpRoute(HttpRoute), http_routes, "gateway.networking.k8s.io", "HTTPRoute", true;
            GrpcRoute(GrpcRoute), grpc_routes, "gateway.networking.k8s.io", "GRPCRoute", true;
            TlsRoute(TlsRoute), tls_routes, "gateway.networking.k8s.io", "TLSRoute", true;
            TcpRoute(TcpRoute), tcp_routes, "gateway.networking.k8s.io", "TCPRoute", true;
            UdpRoute(UdpRoute), udp_routes, "gateway.networking.k8s.io", "UDPRoute", true;
            ReferenceGrant(ReferenceGrant), grants, "gateway.networking.k8s.io", "ReferenceGrant", true;
            BackendTlsPolicy(BackendTlsPolicy), backend_tls, "gateway.networking.k8s.io", "BackendTLSPolicy", true;
            ServiceExport(ServiceExport), exports, "multicluster.x-k8s.io", "ServiceExport", true;
            ServiceImport(ServiceImport), imports, "multicluster.x-k8s.io", "ServiceImport", true;
        }
    };
}
pub(crate) use for_each_kind;

macro_rules! kinds {
    ($($variant:ident($type:ty), $field:ident, $group:literal, $kind:literal, $namespaced:literal;)*) => {
        /// A kind of objects. Versions of one kind are the same kind.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Kind {
            $(#[doc = concat!("`", $group, " ", $kind, "`.")] $variant,)*
        }

        /// An object of a kind that is read.
        #[derive(Debug, Clone)]
        pub enum Object {
            $(#[doc = concat!("`", $group, " ", $kind, "`.")] $variant(Arc<$type>),)*
        }

        impl Kind {
            /// All kinds.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            /// The kind of this name in this API group; the group of Kubernetes' own kinds is empty.
            #[must_use]
            pub fn of(group: &str, kind: &str) -> Option<Self> {
                match (group, kind) {
                    ("gateway.networking.x-k8s.io", "XListenerSet") => Some(Self::ListenerSet),
                    $(($group, $kind) => Some(Self::$variant),)*
                    _ => None,
                }
            }

            /// Its API group; empty for Kubernetes' own kinds.
            #[must_use]
            pub const fn group(self) -> &'static str {
                match self { $(Self::$variant => $group,)* }
            }

            /// Its name.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => $kind,)* }
            }

            /// Whether its objects are in namespaces.
            #[must_use]
            pub const fn is_namespaced(self) -> bool {
                match self { $(Self::$variant => $namespaced,)* }
            }
        }

        impl Object {
            /// Its kind.
            #[must_use]
            pub fn kind(&self) -> Kind {
                match self { $(Self::$variant(_) => Kind::$variant,)* }
            }

            /// Its name, namespace and labels.
            #[must_use]
            pub fn metadata(&self) -> &Metadata {
                match self { $(Self::$variant(object) => &object.metadata,)* }
            }

            /// Whether both are one.
            pub(crate) fn is_one(&self, other: &Self) -> bool {
                match (self, other) {
                    $((Self::$variant(a), Self::$variant(b)) => Arc::ptr_eq(a, b),)*
                    _ => false,
                }
            }

            /// Whether both say the same, wherever and by whom they were written: what an API server or `kubectl` adds to
            /// the metadata does not count.
            #[must_use]
            pub fn is_like(&self, other: &Self) -> bool {
                match (self, other) {
                    $((Self::$variant(a), Self::$variant(b)) => {
                        let (mut a, mut b) = (<$type>::clone(a), <$type>::clone(b));
                        a.metadata = a.metadata.as_written();
                        b.metadata = b.metadata.as_written();
                        format!("{a:?}") == format!("{b:?}")
                    })*
                    _ => false,
                }
            }

            /// Whether both say the same beside their metadata: what an API server counts in `metadata.generation`.
            #[must_use]
            pub fn is_specified_like(&self, other: &Self) -> bool {
                match (self, other) {
                    $((Self::$variant(a), Self::$variant(b)) => {
                        let (mut a, mut b) = (<$type>::clone(a), <$type>::clone(b));
                        a.metadata = Metadata::default();
                        b.metadata = Metadata::default();
                        format!("{a:?}") == format!("{b:?}")
                    })*
                    _ => false,
                }
            }

            /// Reads an object of a kind.
            pub(crate) fn read<E>(kind: Kind, reader: &impl Read<E>) -> Result<Self, E> {
                Ok(match kind { $(Kind::$variant => Self::$variant(Arc::new(reader.read::<$type>()?)),)* })
            }
        }
    };
}
for_each_kind!(kinds);

impl Kind {
    /// An object of the kind, as it is written in texts: `Kind namespace/name`, or `Kind name`.
    pub(crate) fn called(self, name: &NamespacedName) -> String {
        match self.is_namespaced() {
            true => format!("{self} {name}"),
            false => format!("{self} {}", name.name),
        }
    }

    /// The versions that are read. They are names for the same object.
    #[must_use]
    pub const fn versions(self) -> &'static [&'static str] {
        match self {
            Self::Namespace
            | Self::Node
            | Self::ServiceAccount
            | Self::ConfigMap
            | Self::Secret
            | Self::Service
            | Self::Pod
            | Self::EndpointSlice
            | Self::GrpcRoute => &["v1"],
            Self::WorkloadEntry | Self::ServiceEntry | Self::DestinationRule | Self::VirtualService => {
                &["v1", "v1beta1", "v1alpha3"]
            }
            Self::AuthorizationPolicy
            | Self::PeerAuthentication
            | Self::RequestAuthentication
            | Self::GatewayClass
            | Self::Gateway
            | Self::HttpRoute
            | Self::ReferenceGrant => &["v1", "v1beta1"],
            Self::Telemetry | Self::ListenerSet => &["v1", "v1alpha1"],
            Self::TlsRoute => &["v1", "v1alpha3", "v1alpha2"],
            Self::TcpRoute | Self::UdpRoute => &["v1", "v1alpha2"],
            Self::BackendTlsPolicy => &["v1", "v1alpha3"],
            Self::ServiceExport | Self::ServiceImport => &["v1alpha1", "v1beta1"],
        }
    }
}

/// Something in which an object stands.
pub(crate) trait Read<E> {
    /// Reads it as an object of one type.
    fn read<T: DeserializeOwned>(&self) -> Result<T, E>;
}

/// Which object: its kind and name. What is in no namespace has an empty one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectId {
    /// The kind.
    pub kind: Kind,
    /// The name.
    pub name: NamespacedName,
}

impl Object {
    /// Which object it is.
    #[must_use]
    pub fn id(&self) -> ObjectId {
        let (kind, metadata) = (self.kind(), self.metadata());
        let namespace = if kind.is_namespaced() { metadata.namespace.as_str() } else { "" };
        ObjectId { kind, name: NamespacedName::new(namespace, metadata.name.as_str()) }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// As `Kind namespace/name`, or `Kind name`.
impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.kind.called(&self.name))
    }
}

impl Serialize for ObjectId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}
