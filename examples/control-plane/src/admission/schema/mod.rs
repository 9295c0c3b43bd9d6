//! The resources that are read, as far as they are honoured.
//!
//! Core kinds may carry fields that are not listed here. Security kinds may not: a condition that is left out would make a
//! policy wider than it was written.

mod age;
mod core;
mod gateway;
mod mesh_config;
mod networking;
mod route;
mod security;
mod traffic;
pub mod virtual_service;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

pub use self::core::{
    Condition, Container, ContainerPort, Endpoint, EndpointConditions, EndpointPort, EndpointSlice, IntOrString,
    Namespace, Pod, PodIp, PodSpec, PodStatus, Service, ServiceAccount, ServicePort, ServiceSpec, TargetRef,
};
pub use gateway::{
    AddressValue, AllowedNamespaces, AllowedRoutes, Gateway, GatewayClass, GatewaySpec, GatewayStatus, LabelExpression,
    LabelSelector, Listener,
};
pub(crate) use mesh_config::Authorizer;
pub use mesh_config::{BodyInCheck, ConfigMap, ExtensionProvider, GrpcAuthorizer, HttpAuthorizer, MeshConfig};
pub use networking::{
    ServiceEntry, ServiceEntryEndpoint, ServiceEntryPort, ServiceEntrySpec, WorkloadEntry, WorkloadSelector,
};
pub use route::{
    BackendRef, Cors, GrpcMatch, GrpcMethod, GrpcRoute, GrpcRouteSpec, GrpcRule, HeaderModifier, HeaderValue,
    HttpMatch, HttpRoute, HttpRouteSpec, HttpRule, MirrorFraction, NamedMatch, ParentRef, PathMatch, PathModifier,
    RequestMirror, RequestRedirect, RouteFilter, RuleRetry, RuleTimeouts, SessionCookie, SessionHeader,
    SessionPersistence, UrlRewrite,
};
pub use security::{
    AuthorizationPolicy, AuthorizationRule, AuthorizationSpec, ClaimHeader, From, JwtHeader, JwtRule, Mtls, MtlsMode,
    Operation, PeerAuthentication, PeerAuthenticationSpec, PolicyTarget, Provider, RequestAuthentication,
    RequestAuthenticationSpec, Selector, SourceMatch, To, When,
};
pub use traffic::{
    ClientTls, ConnectionPool, ConsistentHash, DestinationRule, DestinationRuleSpec, Distribute, Failover, HashCookie,
    HttpPool, LoadBalancer, LocalityLb, Maglev, OutlierDetection, PortPolicy, PortSelector, RetryBudget, RingHash,
    Subset, TcpPool, TrafficPolicy, Warmup,
};
pub use virtual_service::VirtualService;

/// An object of a supported kind.
#[derive(Debug, Clone)]
pub enum Object {
    /// `v1 Namespace`.
    Namespace(Namespace),
    /// `v1 Service`.
    Service(Service),
    /// `v1 ServiceAccount`.
    ServiceAccount(ServiceAccount),
    /// `v1 Pod`.
    Pod(Pod),
    /// `discovery.k8s.io EndpointSlice`.
    EndpointSlice(EndpointSlice),
    /// `networking.istio.io WorkloadEntry`.
    WorkloadEntry(WorkloadEntry),
    /// `networking.istio.io ServiceEntry`.
    ServiceEntry(ServiceEntry),
    /// `security.istio.io AuthorizationPolicy`.
    AuthorizationPolicy(Box<AuthorizationPolicy>),
    /// `security.istio.io PeerAuthentication`.
    PeerAuthentication(PeerAuthentication),
    /// `security.istio.io RequestAuthentication`.
    RequestAuthentication(Box<RequestAuthentication>),
    /// `networking.istio.io DestinationRule`.
    DestinationRule(Box<DestinationRule>),
    /// `networking.istio.io VirtualService`.
    VirtualService(Box<VirtualService>),
    /// Istio's ConfigMap: its name, and the settings of the mesh.
    MeshConfig(Metadata, Box<MeshConfig>),
    /// `gateway.networking.k8s.io Gateway`.
    Gateway(Gateway),
    /// `gateway.networking.k8s.io GatewayClass`.
    GatewayClass(GatewayClass),
    /// `gateway.networking.k8s.io HTTPRoute`.
    HttpRoute(Box<HttpRoute>),
    /// `gateway.networking.k8s.io GRPCRoute`.
    GrpcRoute(Box<GrpcRoute>),
    /// Any other kind: without effect, by name.
    Other(String),
}

/// Name, namespace, labels and annotations.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Metadata {
    /// The name.
    pub name: String,
    /// The namespace; `default` when absent.
    #[serde(default = "default_namespace")]
    pub namespace: String,
    /// Labels.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Annotations.
    #[serde(default)]
    pub annotations: BTreeMap<String, String>,
    /// When it was made (RFC 3339), by which the older of two counts. What has none is older than what has one; two without
    /// are ordered by namespace and name alone.
    #[serde(default)]
    pub creation_timestamp: Option<String>,
}

impl Metadata {
    /// When it was made: time since 1970; zero where nobody says.
    #[must_use]
    pub fn created(&self) -> Duration {
        self.creation_timestamp.as_deref().and_then(age::since_1970).unwrap_or_default()
    }
}

fn default_namespace() -> String {
    "default".to_owned()
}
