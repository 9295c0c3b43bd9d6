//! The YAML as it is written.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use mesh_core::service::HBONE_PORT;
use serde::Deserialize;
use serde::de::IgnoredAny;

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct File {
    pub(super) workloads: Vec<LocalWorkload>,
    pub(super) services: Vec<LocalService>,
    pub(super) policies: Vec<LocalPolicy>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct LocalWorkload {
    #[serde(default)]
    pub(super) uid: String,
    pub(super) name: String,
    pub(super) namespace: String,
    #[serde(default)]
    pub(super) service_account: String,
    #[serde(default)]
    pub(super) trust_domain: String,
    pub(super) workload_ips: Vec<IpAddr>,
    #[serde(default)]
    pub(super) protocol: Protocol,
    #[serde(default)]
    pub(super) network: String,
    #[serde(default)]
    pub(super) network_mode: NetworkMode,
    #[serde(default)]
    pub(super) node: String,
    #[serde(default = "kubernetes")]
    pub(super) cluster_id: String,
    #[serde(default)]
    pub(super) hostname: String,
    #[serde(default)]
    pub(super) canonical_name: String,
    #[serde(default)]
    pub(super) canonical_revision: String,
    #[serde(default)]
    pub(super) workload_name: String,
    #[serde(default)]
    pub(super) workload_type: Kind,
    #[serde(default)]
    pub(super) native_tunnel: bool,
    #[serde(default)]
    pub(super) status: Status,
    #[serde(default = "one")]
    pub(super) capacity: u32,
    #[serde(default)]
    pub(super) locality: LocalLocality,
    #[serde(default)]
    pub(super) application_tunnel: Option<LocalTunnel>,
    #[serde(default)]
    pub(super) waypoint: Option<LocalGateway>,
    #[serde(default)]
    pub(super) network_gateway: Option<LocalGateway>,
    #[serde(default)]
    pub(super) authorization_policies: Vec<String>,
    #[serde(default)]
    pub(super) services: BTreeMap<String, BTreeMap<u16, u16>>,
}

fn kubernetes() -> String {
    "Kubernetes".to_owned()
}

fn one() -> u32 {
    1
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
pub(super) enum Protocol {
    #[default]
    #[serde(rename = "TCP")]
    Tcp,
    #[serde(rename = "HBONE")]
    Hbone,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
pub(super) enum NetworkMode {
    #[default]
    Standard,
    HostNetwork,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    #[default]
    Deployment,
    CronJob,
    Pod,
    Job,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
pub(super) enum Status {
    #[default]
    Healthy,
    Unhealthy,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct LocalLocality {
    pub(super) region: String,
    pub(super) zone: String,
    pub(super) subzone: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LocalTunnel {
    pub(super) protocol: TunnelProtocol,
    #[serde(default)]
    pub(super) port: Option<u16>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum TunnelProtocol {
    None,
    Proxy,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct LocalGateway {
    pub(super) destination: String,
    #[serde(default = "hbone_port")]
    pub(super) hbone_mtls_port: u16,
}

fn hbone_port() -> u16 {
    HBONE_PORT
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct LocalService {
    pub(super) name: String,
    pub(super) namespace: String,
    pub(super) hostname: String,
    pub(super) vips: Vec<String>,
    pub(super) ports: BTreeMap<u16, u16>,
    #[serde(default)]
    pub(super) subject_alt_names: Vec<String>,
    #[serde(default)]
    pub(super) waypoint: Option<LocalGateway>,
    #[serde(default)]
    pub(super) weighted_waypoints: Vec<LocalWeighted>,
    #[serde(default)]
    pub(super) load_balancer: Option<LocalBalancer>,
    #[serde(default)]
    pub(super) ip_families: Option<IpFamilies>,
    #[serde(default)]
    pub(super) canonical: bool,
    #[serde(default)]
    pub(super) visibility: Visibility,
    #[serde(default)]
    pub(super) cidr_vips: Vec<LocalRange>,
    /// Derived from workloads.
    #[serde(default, rename = "endpoints")]
    pub(super) _endpoints: Option<IgnoredAny>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LocalWeighted {
    pub(super) destination: LocalGateway,
    pub(super) weight: u32,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct LocalBalancer {
    pub(super) routing_preferences: Vec<Scope>,
    pub(super) mode: Mode,
    #[serde(default)]
    pub(super) health_policy: HealthPolicy,
}

#[derive(Debug, Clone, Copy, Deserialize)]
pub(super) enum Scope {
    Region,
    Zone,
    Subzone,
    Node,
    Cluster,
    Network,
}

#[derive(Debug, Clone, Copy, Deserialize)]
pub(super) enum Mode {
    Standard,
    Strict,
    Failover,
    Passthrough,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
pub(super) enum HealthPolicy {
    #[default]
    OnlyHealthy,
    AllowAll,
}

#[derive(Debug, Clone, Copy, Deserialize)]
pub(super) enum IpFamilies {
    Dual,
    IPv4,
    IPv6,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
pub(super) enum Visibility {
    #[default]
    Public,
    Namespace,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LocalRange {
    #[serde(default)]
    pub(super) network: String,
    pub(super) cidr: IpNet,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct LocalPolicy {
    pub(super) name: String,
    pub(super) namespace: String,
    pub(super) scope: LocalScope,
    pub(super) action: LocalAction,
    #[serde(default)]
    pub(super) dry_run: bool,
    pub(super) rules: Vec<Vec<Vec<LocalMatch>>>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
pub(super) enum LocalScope {
    Global,
    Namespace,
    WorkloadSelector,
}

#[derive(Debug, Clone, Copy, Deserialize)]
pub(super) enum LocalAction {
    Allow,
    Deny,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct LocalMatch {
    pub(super) namespaces: Vec<LocalString>,
    pub(super) not_namespaces: Vec<LocalString>,
    pub(super) principals: Vec<LocalString>,
    pub(super) not_principals: Vec<LocalString>,
    pub(super) source_ips: Vec<IpNet>,
    pub(super) not_source_ips: Vec<IpNet>,
    pub(super) destination_ips: Vec<IpNet>,
    pub(super) not_destination_ips: Vec<IpNet>,
    pub(super) destination_ports: Vec<u16>,
    pub(super) not_destination_ports: Vec<u16>,
    pub(super) service_accounts: Vec<LocalAccount>,
    pub(super) not_service_accounts: Vec<LocalAccount>,
}

#[derive(Debug, Deserialize)]
pub(super) enum LocalString {
    Exact(String),
    Prefix(String),
    Suffix(String),
    Presence(IgnoredAny),
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct LocalAccount {
    pub(super) namespace: String,
    pub(super) service_account: String,
}
