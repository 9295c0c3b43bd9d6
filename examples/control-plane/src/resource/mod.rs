//! The resources that are read, as far as they are honoured.
//!
//! Core kinds may carry fields that are not listed here. Security kinds may not: a condition that is left out would make a
//! policy wider than it was written.

mod age;
mod backend_tls;
mod core;
mod gateway;
mod kind;
mod mesh_config;
mod multicluster;
mod networking;
mod node;
mod reference;
mod route;
mod secret;
mod security;
mod stream_route;
mod telemetry;
pub(crate) mod text;
mod traffic;
pub mod virtual_service;

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Deserialize;

pub use self::backend_tls::{BackendTlsPolicy, BackendTlsSpec, BackendTlsTarget, BackendTlsValidation, SubjectAltName};
pub use self::core::{
    Condition, Container, ContainerPort, Endpoint, EndpointConditions, EndpointPort, EndpointSlice, IntOrString,
    LoadBalancerIngress, LoadBalancerStatus, Namespace, Pod, PodIp, PodSpec, PodStatus, Service, ServiceAccount,
    ServicePort, ServiceSpec, ServiceStatus, TargetRef,
};
pub use gateway::{
    AddressValue, AllowedListeners, AllowedNamespaces, AllowedRoutes, BackendTls, ClientValidation, FrontendTls,
    Gateway, GatewayClass, GatewayClassSpec, GatewaySpec, GatewayStatus, GatewayTls, Infrastructure, LabelExpression,
    LabelSelector, Listener, ListenerSet, ListenerSetSpec, ListenerTls, ParametersRef, PortTls, PortValidation,
    RouteKind, WAYPOINT_CLASS,
};
pub use kind::{Kind, Object, ObjectId};
pub(crate) use kind::{Read, for_each_kind};
pub(crate) use mesh_config::{Authorizer, MESH_CONFIG};
pub use mesh_config::{
    BodyInCheck, ConfigMap, ExtensionProvider, GrpcAuthorizer, HttpAuthorizer, MeshConfig, ServiceScopeConfig,
};
pub use multicluster::{
    ContributingCluster, ImportPort, ServiceExport, ServiceExportSpec, ServiceImport, ServiceImportSpec,
    ServiceImportStatus,
};
pub(crate) use networking::HEALTHY;
pub use networking::{
    ServiceEntry, ServiceEntryEndpoint, ServiceEntryPort, ServiceEntrySpec, WorkloadEntry, WorkloadEntryStatus,
    WorkloadSelector,
};
pub use node::{Node, NodeAddress, NodeStatus};
pub use reference::{GrantFrom, GrantTo, LocalReference, ObjectReference, ReferenceGrant, ReferenceGrantSpec};
pub use route::{
    BackendRef, Cors, GrpcMatch, GrpcMethod, GrpcRoute, GrpcRouteSpec, GrpcRule, HeaderModifier, HeaderValue,
    HttpMatch, HttpRoute, HttpRouteSpec, HttpRule, MirrorFraction, NamedMatch, ParentRef, PathMatch, PathModifier,
    RequestMirror, RequestRedirect, RouteFilter, RuleRetry, RuleTimeouts, SessionCookie, SessionHeader,
    SessionPersistence, UrlRewrite,
};
pub use secret::{Bytes, Secret};
pub use security::{
    AuthorizationPolicy, AuthorizationRule, AuthorizationSpec, ClaimHeader, From, JwtHeader, JwtRule, Mtls, MtlsMode,
    Operation, PeerAuthentication, PeerAuthenticationSpec, PolicyTarget, Provider, RequestAuthentication,
    RequestAuthenticationSpec, Selector, SourceMatch, To, When,
};
pub use stream_route::{StreamRouteRule, TcpRoute, TcpRouteSpec, TlsRoute, TlsRouteSpec, UdpRoute};
pub use telemetry::{
    AccessLogging, Expression, LogSelection, MetricOverride, MetricSelection, Metrics, Named, TagOverride, Telemetry,
    TelemetrySpec, Tracing, TracingSelection,
};
pub use traffic::{
    ClientTls, ConnectionPool, ConsistentHash, DestinationRule, DestinationRuleSpec, Distribute, Failover, HashCookie,
    HttpPool, LoadBalancer, LocalityLb, Maglev, OutlierDetection, PortPolicy, PortSelector, RetryBudget, RingHash,
    Subset, TcpPool, TrafficPolicy, Warmup,
};
pub use virtual_service::VirtualService;

/// What every object has: name, labels, and what an API server keeps of it.
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
    /// When it was asked to go (RFC 3339); it stays until nothing holds it any more.
    #[serde(default)]
    pub deletion_timestamp: Option<String>,
    /// How often its specification changed, as an API server counts; 0 where there is none.
    #[serde(default)]
    pub generation: i64,
    /// What an API server tells objects of one name apart by, that were there one after the other.
    #[serde(default)]
    pub uid: Option<String>,
    /// Which version an API server gave. Equal or not equal is all that may be asked of it.
    #[serde(default)]
    pub resource_version: Option<String>,
    /// Objects that it goes with.
    #[serde(default)]
    pub owner_references: Vec<OwnerReference>,
}

/// An object that another goes with, of the same namespace or of none.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct OwnerReference {
    /// Its group and version.
    pub api_version: String,
    /// Its kind.
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// Whether it is the one that looks after the object.
    pub controller: bool,
    /// Whether it may only go when the object is gone.
    pub block_owner_deletion: bool,
}

impl Metadata {
    /// When it was made: time since 1970; zero where nobody says.
    #[must_use]
    pub fn created(&self) -> Duration {
        self.creation_timestamp.as_deref().and_then(age::since_1970).unwrap_or_default()
    }

    /// Without what an API server or `kubectl` adds.
    pub(crate) fn as_written(&self) -> Self {
        let mut written = Self { creation_timestamp: None, ..self.clone() };
        written.annotations.retain(|name, _| !name.starts_with("kubectl.kubernetes.io/"));
        written
    }
}

fn default_namespace() -> String {
    "default".to_owned()
}
