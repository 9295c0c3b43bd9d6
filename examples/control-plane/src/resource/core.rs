//! Kubernetes' own kinds.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};

use super::Metadata;

/// `v1 Namespace`.
#[derive(Debug, Clone, Deserialize)]
pub struct Namespace {
    /// Name and labels.
    pub metadata: Metadata,
}

/// `v1 ServiceAccount`.
#[derive(Debug, Clone, Deserialize)]
pub struct ServiceAccount {
    /// Its name.
    pub metadata: Metadata,
}

/// `v1 Service`.
#[derive(Debug, Clone, Deserialize)]
pub struct Service {
    /// Name and annotations.
    pub metadata: Metadata,
    /// What it is.
    #[serde(default)]
    pub spec: ServiceSpec,
    /// What a controller found out about it.
    #[serde(default)]
    pub status: ServiceStatus,
}

/// Status of a service.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceStatus {
    /// Its load balancer, if it has one.
    pub load_balancer: LoadBalancerStatus,
}

/// Where a load balancer is found.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct LoadBalancerStatus {
    /// Its addresses.
    pub ingress: Vec<LoadBalancerIngress>,
}

/// An address of a load balancer.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct LoadBalancerIngress {
    /// As an IP address.
    pub ip: Option<String>,
    /// As a host name.
    pub hostname: Option<String>,
}

/// Specification of a service.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceSpec {
    /// `ClusterIP`, `ExternalName` and so on.
    pub r#type: Option<String>,
    /// Its first virtual address, or `None`.
    #[serde(rename = "clusterIP")]
    pub cluster_ip: Option<String>,
    /// All its virtual addresses.
    #[serde(rename = "clusterIPs")]
    pub cluster_ips: Vec<String>,
    /// Addresses beside, that nodes take traffic for.
    #[serde(rename = "externalIPs")]
    pub external_ips: Vec<String>,
    /// Its endpoints' labels.
    pub selector: BTreeMap<String, String>,
    /// Its ports.
    pub ports: Vec<ServicePort>,
    /// `Local` keeps traffic on the node.
    pub internal_traffic_policy: Option<String>,
    /// `PreferClose` and so on.
    pub traffic_distribution: Option<String>,
    /// Whether unready endpoints take traffic.
    pub publish_not_ready_addresses: bool,
    /// Families of its addresses and endpoints: `IPv4`, `IPv6` or both.
    pub ip_families: Vec<String>,
}

/// Port of a service.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServicePort {
    /// Its name.
    #[serde(default)]
    pub name: String,
    /// Its number.
    pub port: u16,
    /// The endpoints' port; the same number when absent.
    pub target_port: Option<IntOrString>,
    /// `TCP` or `UDP`.
    #[serde(default)]
    pub protocol: Option<String>,
    /// What is spoken on it.
    #[serde(default)]
    pub app_protocol: Option<String>,
}

/// `v1 Pod`.
#[derive(Debug, Clone, Deserialize)]
pub struct Pod {
    /// Name, labels and annotations.
    pub metadata: Metadata,
    /// Where it runs and as whom.
    #[serde(default)]
    pub spec: PodSpec,
    /// Its addresses and readiness.
    #[serde(default)]
    pub status: PodStatus,
}

/// Specification of a pod.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodSpec {
    /// Its node.
    pub node_name: String,
    /// Its service account; `default` when absent.
    pub service_account_name: Option<String>,
    /// Whether its address is the node's.
    pub host_network: bool,
    /// Its containers, for named ports.
    pub containers: Vec<Container>,
}

/// A container, as far as its ports go.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct Container {
    /// Its ports.
    pub ports: Vec<ContainerPort>,
}

/// Port of a container.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ContainerPort {
    /// Its name.
    #[serde(default)]
    pub name: String,
    /// Its number.
    pub container_port: u16,
}

/// Status of a pod.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct PodStatus {
    /// `Running` and so on.
    pub phase: String,
    /// Its first address.
    #[serde(rename = "podIP")]
    pub pod_ip: Option<String>,
    /// All its addresses.
    #[serde(rename = "podIPs")]
    pub pod_ips: Vec<PodIp>,
    /// `Ready` and others.
    pub conditions: Vec<Condition>,
}

/// Address of a pod.
#[derive(Debug, Clone, Deserialize)]
pub struct PodIp {
    /// The address.
    pub ip: String,
}

/// A condition.
#[derive(Debug, Clone, Deserialize)]
pub struct Condition {
    /// Its name.
    pub r#type: String,
    /// `True`, `False` or `Unknown`; also without quotes, which YAML takes for a truth value.
    #[serde(deserialize_with = "condition_status")]
    pub status: String,
}

fn condition_status<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Status {
        Truth(bool),
        Word(String),
    }
    Ok(match Status::deserialize(deserializer)? {
        Status::Truth(true) => "True".to_owned(),
        Status::Truth(false) => "False".to_owned(),
        Status::Word(word) => word,
    })
}

/// `discovery.k8s.io EndpointSlice`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EndpointSlice {
    /// Name, and the label that names the service.
    pub metadata: Metadata,
    /// `IPv4`, `IPv6` or `FQDN`.
    #[serde(default)]
    pub address_type: String,
    /// The endpoints.
    #[serde(default)]
    pub endpoints: Vec<Endpoint>,
    /// Their ports.
    #[serde(default)]
    pub ports: Vec<EndpointPort>,
}

/// An endpoint of a slice.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Endpoint {
    /// Its addresses.
    pub addresses: Vec<String>,
    /// Its readiness.
    pub conditions: EndpointConditions,
    /// What it is, when it is an object.
    pub target_ref: Option<TargetRef>,
    /// Its node.
    pub node_name: Option<String>,
    /// Its zone.
    pub zone: Option<String>,
}

/// Readiness of an endpoint.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct EndpointConditions {
    /// Whether it takes traffic; absent counts as ready.
    pub ready: Option<bool>,
    /// Whether it would, if it did not terminate; as `ready` when absent.
    pub serving: Option<bool>,
    /// Whether it is on its way out; absent counts as not.
    pub terminating: Option<bool>,
}

/// A reference to an object.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Deserialize)]
#[serde(default)]
pub struct TargetRef {
    /// Its kind.
    pub kind: String,
    /// Its name.
    pub name: String,
}

/// Port of a slice's endpoints.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct EndpointPort {
    /// Name, equal to the service port's.
    #[serde(default)]
    pub name: String,
    /// Number.
    pub port: Option<u16>,
    /// `TCP` when absent, `UDP` or `SCTP`.
    #[serde(default)]
    pub protocol: Option<String>,
}

/// A port number, or the name of a port.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum IntOrString {
    /// A number.
    Int(u16),
    /// A name.
    String(String),
}
