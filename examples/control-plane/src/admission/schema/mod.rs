//! The resources that are read, as far as they are honoured.
//!
//! Core kinds may carry fields that are not listed here. Security kinds may not: a condition that is left out would make a
//! policy wider than it was written.

mod core;
mod networking;
mod security;

use std::collections::BTreeMap;

use serde::Deserialize;

pub use self::core::{
    Condition, Container, ContainerPort, Endpoint, EndpointConditions, EndpointPort, EndpointSlice, IntOrString,
    Namespace, Pod, PodIp, PodSpec, PodStatus, Service, ServiceAccount, ServicePort, ServiceSpec, TargetRef,
};
pub use networking::{
    ServiceEntry, ServiceEntryEndpoint, ServiceEntryPort, ServiceEntrySpec, WorkloadEntry, WorkloadSelector,
};
pub use security::{
    AuthorizationPolicy, AuthorizationRule, AuthorizationSpec, From, Mtls, MtlsMode, Operation, PeerAuthentication,
    PeerAuthenticationSpec, Selector, SourceMatch, To, When,
};

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
    /// Any other kind: without effect, by name.
    Other(String),
}

/// Name, namespace, labels and annotations.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
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
}

fn default_namespace() -> String {
    "default".to_owned()
}
