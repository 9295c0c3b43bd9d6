//! The resources that are read, as far as they are honoured.
//!
//! Core kinds may carry fields that are not listed here. Security kinds may not: a condition that is left out would make a
//! policy wider than it was written.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};

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

/// A port number, or the name of a port.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged)]
pub enum IntOrString {
    /// A number.
    Int(u16),
    /// A name.
    String(String),
}

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
#[derive(Debug, Clone, Default, Deserialize)]
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
}

/// Readiness of an endpoint.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct EndpointConditions {
    /// Absent counts as ready.
    pub ready: Option<bool>,
}

/// A reference to an object.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct TargetRef {
    /// Its kind.
    pub kind: String,
    /// Its name.
    pub name: String,
}

/// Port of a slice's endpoints.
#[derive(Debug, Clone, Deserialize)]
pub struct EndpointPort {
    /// Name, equal to the service port's.
    #[serde(default)]
    pub name: String,
    /// Number.
    pub port: Option<u16>,
}

/// `networking.istio.io WorkloadEntry`.
#[derive(Debug, Clone, Deserialize)]
pub struct WorkloadEntry {
    /// Name, labels and annotations.
    pub metadata: Metadata,
    /// What it is.
    pub spec: ServiceEntryEndpoint,
}

/// `networking.istio.io ServiceEntry`.
#[derive(Debug, Clone, Deserialize)]
pub struct ServiceEntry {
    /// Name and annotations.
    pub metadata: Metadata,
    /// What it is.
    pub spec: ServiceEntrySpec,
}

/// Specification of a ServiceEntry.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceEntrySpec {
    /// Its host names.
    pub hosts: Vec<String>,
    /// Its virtual addresses, which may be ranges.
    #[serde(default)]
    pub addresses: Vec<String>,
    /// Its ports.
    #[serde(default)]
    pub ports: Vec<ServiceEntryPort>,
    /// How endpoints are found: `NONE`, `STATIC`, `DNS` and so on.
    #[serde(default)]
    pub resolution: Option<String>,
    /// Its endpoints.
    #[serde(default)]
    pub endpoints: Vec<ServiceEntryEndpoint>,
    /// Labels of pods and WorkloadEntries that are its endpoints.
    #[serde(default)]
    pub workload_selector: Option<WorkloadSelector>,
    /// Who sees it: `.` is its own namespace.
    #[serde(default)]
    pub export_to: Vec<String>,
    /// Identities accepted from its endpoints.
    #[serde(default)]
    pub subject_alt_names: Vec<String>,
}

/// Port of a ServiceEntry.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceEntryPort {
    /// Its number.
    pub number: u16,
    /// Its name.
    #[serde(default)]
    pub name: String,
    /// What is spoken on it.
    #[serde(default)]
    pub protocol: Option<String>,
    /// The endpoints' port; the same number when absent.
    #[serde(default)]
    pub target_port: Option<u16>,
}

/// Labels of workloads.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct WorkloadSelector {
    /// The labels.
    pub labels: BTreeMap<String, String>,
}

/// An endpoint outside Kubernetes.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceEntryEndpoint {
    /// Address or host name.
    pub address: String,
    /// Its ports by name of the service port.
    pub ports: BTreeMap<String, u16>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its network.
    pub network: Option<String>,
    /// `region/zone/subzone`.
    pub locality: Option<String>,
    /// Its share of traffic.
    pub weight: Option<u32>,
    /// Its service account.
    pub service_account: Option<String>,
}

/// `security.istio.io AuthorizationPolicy`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct AuthorizationPolicy {
    /// API version.
    #[serde(rename = "apiVersion")]
    pub api_version: String,
    /// Kind.
    pub kind: String,
    /// Name and annotations.
    pub metadata: Metadata,
    /// What it says.
    #[serde(default)]
    pub spec: AuthorizationSpec,
    /// Written by others.
    #[serde(default)]
    pub status: Option<serde_json::Value>,
}

/// Specification of an AuthorizationPolicy.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct AuthorizationSpec {
    /// The workloads that it is for; all of its namespace when absent.
    pub selector: Option<Selector>,
    /// Gateways and services that it is for.
    pub target_ref: Option<serde_json::Value>,
    /// Gateways and services that it is for.
    pub target_refs: Vec<serde_json::Value>,
    /// `ALLOW` when absent.
    pub action: Option<String>,
    /// Its rules; absent means none.
    pub rules: Vec<AuthorizationRule>,
}

/// Labels that select workloads.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Selector {
    /// The labels.
    pub match_labels: BTreeMap<String, String>,
}

/// One rule.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AuthorizationRule {
    /// Who; any of these. Absent is anybody; present and empty says nothing, and is refused.
    #[serde(deserialize_with = "present")]
    pub from: Option<Vec<From>>,
    /// What; any of these. As above.
    #[serde(deserialize_with = "present")]
    pub to: Option<Vec<To>>,
    /// Conditions; all of these. As above.
    #[serde(deserialize_with = "present")]
    pub when: Option<Vec<When>>,
}

/// A list that is written down: `from:` without items is an empty list, not an absent one.
fn present<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<Vec<T>>, D::Error> {
    Option::<Vec<T>>::deserialize(deserializer).map(|list| Some(list.unwrap_or_default()))
}

/// A `from` entry.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct From {
    /// The source.
    pub source: SourceMatch,
}

/// A source; all fields that are given must match.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct SourceMatch {
    /// Identities without `spiffe://`.
    pub principals: Vec<String>,
    /// Identities that it must not have.
    pub not_principals: Vec<String>,
    /// Namespaces.
    pub namespaces: Vec<String>,
    /// Namespaces that it must not be of.
    pub not_namespaces: Vec<String>,
    /// Addresses.
    pub ip_blocks: Vec<String>,
    /// Addresses that it must not have.
    pub not_ip_blocks: Vec<String>,
    /// `namespace/account`, or an account of the policy's namespace.
    pub service_accounts: Vec<String>,
    /// Accounts that it must not be.
    pub not_service_accounts: Vec<String>,
    /// L7 only.
    pub request_principals: Vec<String>,
    /// L7 only.
    pub not_request_principals: Vec<String>,
    /// L7 only.
    pub remote_ip_blocks: Vec<String>,
    /// L7 only.
    pub not_remote_ip_blocks: Vec<String>,
}

/// A `to` entry.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct To {
    /// The operation.
    pub operation: Operation,
}

/// An operation; all fields that are given must match.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct Operation {
    /// Ports.
    pub ports: Vec<String>,
    /// Ports that it must not be.
    pub not_ports: Vec<String>,
    /// L7 only.
    pub hosts: Vec<String>,
    /// L7 only.
    pub not_hosts: Vec<String>,
    /// L7 only.
    pub methods: Vec<String>,
    /// L7 only.
    pub not_methods: Vec<String>,
    /// L7 only.
    pub paths: Vec<String>,
    /// L7 only.
    pub not_paths: Vec<String>,
}

/// A `when` entry.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct When {
    /// What is looked at.
    pub key: String,
    /// Values that it may have.
    #[serde(default)]
    pub values: Vec<String>,
    /// Values that it must not have.
    #[serde(default)]
    pub not_values: Vec<String>,
}

/// `security.istio.io PeerAuthentication`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PeerAuthentication {
    /// API version.
    #[serde(rename = "apiVersion")]
    pub api_version: String,
    /// Kind.
    pub kind: String,
    /// Name and namespace.
    pub metadata: Metadata,
    /// What it says.
    #[serde(default)]
    pub spec: PeerAuthenticationSpec,
    /// Written by others.
    #[serde(default)]
    pub status: Option<serde_json::Value>,
}

/// Specification of a PeerAuthentication.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct PeerAuthenticationSpec {
    /// The workloads that it is for.
    pub selector: Option<Selector>,
    /// The mode.
    pub mtls: Mtls,
    /// Modes of single ports.
    pub port_level_mtls: BTreeMap<String, Mtls>,
}

/// A mode of mutual TLS.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Mtls {
    /// The mode.
    pub mode: MtlsMode,
}

/// Whether plaintext is accepted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum MtlsMode {
    /// As the next wider scope says.
    #[default]
    Unset,
    /// Accepted.
    Disable,
    /// Accepted.
    Permissive,
    /// Refused.
    Strict,
}
