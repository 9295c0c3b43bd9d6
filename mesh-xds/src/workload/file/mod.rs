//! The local configuration file of Istio's ztunnel (`LOCAL_XDS_PATH`): workloads, services and policies in YAML, with its
//! field names.

mod shape;

use std::collections::BTreeMap;
use std::net::IpAddr;

use mesh_core::authz::{self, Action, Clause, Policy, Rule, Scope as PolicyScope};
use mesh_core::name::{
    Hostname, Locality, NamespacedHostname, NamespacedName, Network, ServiceAccount, parse_spiffe_id,
    parse_trust_domain,
};
use mesh_core::service::{self as service, GatewayAddress, GatewayDestination, PortMap, ServicePort};
use mesh_core::string_match::StringMatch;
use mesh_core::workload::{self as workload, Workload};

use shape::{
    File, HealthPolicy, IpFamilies, Kind, LocalAccount, LocalAction, LocalGateway, LocalLocality, LocalMatch,
    LocalPolicy, LocalScope, LocalService, LocalString, LocalWeighted, LocalWorkload, Mode, NetworkMode, Protocol,
    Scope, Status, TunnelProtocol, Visibility,
};

/// What a file declares.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct LocalFile {
    /// Workloads.
    pub workloads: Vec<Workload>,
    /// Services.
    pub services: Vec<service::Service>,
    /// Policies.
    pub policies: Vec<Policy>,
}

/// A file cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// It is no YAML of the right shape; the text names line and column.
    #[error("{0}")]
    Yaml(String),
    /// A value is none.
    #[error("{resource}: `{field}`: {message}")]
    Value {
        /// The workload, service or policy.
        resource: String,
        /// The field.
        field: &'static str,
        /// What is wrong, naming the value.
        message: String,
    },
}

/// Reads a local configuration file.
///
/// # Errors
/// [`FileError`]; a file is used whole or not at all.
pub fn parse_local_file(text: &str) -> Result<LocalFile, FileError> {
    let file: File = serde_saphyr::from_str(text).map_err(|error| {
        let message = error.to_string();
        let line = message.lines().next().unwrap_or_default();
        FileError::Yaml(line.strip_prefix("error: ").unwrap_or(line).to_owned())
    })?;
    Ok(LocalFile {
        workloads: file.workloads.into_iter().map(LocalWorkload::read).collect::<Result<_, _>>()?,
        services: file.services.into_iter().map(LocalService::read).collect::<Result<_, _>>()?,
        policies: file.policies.into_iter().map(LocalPolicy::read).collect::<Result<_, _>>()?,
    })
}

/// Names the resource and field in an error.
struct At<'a>(&'a str, &'static str);

impl At<'_> {
    fn bad(&self, field: &'static str, message: impl std::fmt::Display) -> FileError {
        FileError::Value { resource: format!("{} {}", self.1, self.0), field, message: message.to_string() }
    }
}

impl LocalWorkload {
    fn read(self) -> Result<Workload, FileError> {
        let name = format!("{}/{}", self.namespace, self.name);
        let at = At(&name, "workload");
        let domain = if self.trust_domain.is_empty() { "cluster.local" } else { &self.trust_domain };
        let domain = parse_trust_domain(domain).map_err(|error| at.bad("trustDomain", error))?;
        let account = if self.service_account.is_empty() { "default" } else { &self.service_account };
        let uid = if self.uid.is_empty() { format!("//local/{name}") } else { self.uid };
        let mut workload = Workload::new(uid, domain.clone(), &self.namespace, &self.name)
            .map_err(|error| at.bad("namespace", error))?;
        workload.identity =
            ServiceAccount::new(domain, &self.namespace, account).map_err(|error| at.bad("serviceAccount", error))?;
        workload.addresses = self.workload_ips.iter().map(IpAddr::to_canonical).collect();
        workload.tunnel = match self.protocol {
            Protocol::Tcp => workload::TunnelProtocol::None,
            Protocol::Hbone => workload::TunnelProtocol::Hbone,
        };
        workload.network = Network::from(self.network);
        workload.network_mode = match self.network_mode {
            NetworkMode::Standard => workload::NetworkMode::Standard,
            NetworkMode::HostNetwork => workload::NetworkMode::HostNetwork,
        };
        workload.hostname = match self.hostname.as_str() {
            "" => None,
            text => Some(Hostname::parse(text).map_err(|error| at.bad("hostname", error))?),
        };
        workload.kind = match self.workload_type {
            Kind::Deployment => workload::WorkloadKind::Deployment,
            Kind::CronJob => workload::WorkloadKind::CronJob,
            Kind::Pod => workload::WorkloadKind::Pod,
            Kind::Job => workload::WorkloadKind::Job,
        };
        workload.health = match self.status {
            Status::Healthy => workload::Health::Healthy,
            Status::Unhealthy => workload::Health::Unhealthy,
        };
        workload.application_tunnel = self.application_tunnel.map(|tunnel| workload::ApplicationTunnel {
            protocol: match tunnel.protocol {
                TunnelProtocol::None => workload::ApplicationProtocol::None,
                TunnelProtocol::Proxy => workload::ApplicationProtocol::Proxy,
            },
            port: tunnel.port.filter(|port| *port != 0),
        });
        let LocalLocality { region, zone, subzone } = self.locality;
        workload.locality = Locality { region: region.into(), zone: zone.into(), subzone: subzone.into() };
        workload.node = self.node.into();
        workload.cluster_id = self.cluster_id.into();
        workload.canonical_name = self.canonical_name.into();
        workload.canonical_revision = self.canonical_revision.into();
        workload.workload_name = self.workload_name.into();
        workload.native_tunnel = self.native_tunnel;
        workload.capacity = self.capacity;
        workload.waypoint = self.waypoint.map(|gateway| gateway.read(&at, "waypoint")).transpose()?;
        workload.network_gateway =
            self.network_gateway.map(|gateway| gateway.read(&at, "networkGateway")).transpose()?;
        for policy in &self.authorization_policies {
            let name: NamespacedName = policy.parse().map_err(|error| at.bad("authorizationPolicies", error))?;
            workload.policies.push(name);
        }
        for (key, ports) in self.services {
            let key: NamespacedHostname = key.parse().map_err(|error| at.bad("services", error))?;
            workload.services.insert(key, read_ports(&at, ports)?);
        }
        Ok(workload)
    }
}

fn read_ports(at: &At<'_>, ports: BTreeMap<u16, u16>) -> Result<PortMap, FileError> {
    let port = |(service_port, target): (u16, u16)| {
        if service_port == 0 {
            return Err(at.bad("ports", "0 is no service port"));
        }
        let target_port = (target != 0).then_some(target);
        Ok(ServicePort { service_port, target_port, protocol: service::AppProtocol::Unknown })
    };
    ports.into_iter().map(port).collect()
}

impl LocalGateway {
    fn read(self, at: &At<'_>, field: &'static str) -> Result<GatewayAddress, FileError> {
        let bad = || at.bad(field, format!("`{}` is neither namespace/hostname nor network/address", self.destination));
        let (left, right) = self.destination.split_once('/').ok_or_else(bad)?;
        let destination = match right.parse::<IpAddr>() {
            Ok(ip) => GatewayDestination::Address(Network::from(left), ip.to_canonical()),
            Err(_) => GatewayDestination::Hostname(self.destination.parse().map_err(|_| bad())?),
        };
        if self.hbone_mtls_port == 0 {
            return Err(at.bad(field, "hboneMtlsPort 0"));
        }
        Ok(GatewayAddress { destination, hbone_port: self.hbone_mtls_port })
    }
}

impl LocalService {
    fn read(self) -> Result<service::Service, FileError> {
        let name = format!("{}/{}", self.namespace, self.hostname);
        let at = At(&name, "service");
        let hostname = Hostname::parse(&self.hostname).map_err(|error| at.bad("hostname", error))?;
        let key = NamespacedHostname::new(self.namespace.as_str(), hostname);
        let mut service = service::Service::new(key, self.name.as_str());
        for vip in &self.vips {
            let (network, ip) = vip.split_once('/').unwrap_or(("", vip));
            let ip: IpAddr = ip.parse().map_err(|_| at.bad("vips", format!("`{vip}` is not network/address")))?;
            service.vips.push((Network::from(network), ip.to_canonical().into()));
        }
        service.vips.extend(self.cidr_vips.into_iter().map(|range| (Network::from(range.network), range.cidr)));
        service.ports = read_ports(&at, self.ports)?;
        for id in &self.subject_alt_names {
            service.subject_alt_names.push(parse_spiffe_id(id).map_err(|error| at.bad("subjectAltNames", error))?);
        }
        service.waypoint = self.waypoint.map(|gateway| gateway.read(&at, "waypoint")).transpose()?;
        for LocalWeighted { destination, weight } in self.weighted_waypoints {
            service.weighted_waypoints.push((destination.read(&at, "weightedWaypoints")?, weight));
        }
        if let Some(balancer) = self.load_balancer {
            let scope = |scope: &Scope| match scope {
                Scope::Region => service::Scope::Region,
                Scope::Zone => service::Scope::Zone,
                Scope::Subzone => service::Scope::Subzone,
                Scope::Node => service::Scope::Node,
                Scope::Cluster => service::Scope::Cluster,
                Scope::Network => service::Scope::Network,
            };
            service.load_balancing = service::LoadBalancing {
                preference: balancer.routing_preferences.iter().map(scope).collect(),
                mode: match balancer.mode {
                    Mode::Standard => service::Mode::Any,
                    Mode::Strict => service::Mode::Strict,
                    Mode::Failover => service::Mode::Failover,
                    Mode::Passthrough => service::Mode::Passthrough,
                },
                health_policy: match balancer.health_policy {
                    HealthPolicy::OnlyHealthy => service::HealthPolicy::OnlyHealthy,
                    HealthPolicy::AllowAll => service::HealthPolicy::AllowAll,
                },
            };
        }
        service.ip_families = match self.ip_families {
            None => service::IpFamilies::Automatic,
            Some(IpFamilies::Dual) => service::IpFamilies::Dual,
            Some(IpFamilies::IPv4) => service::IpFamilies::Ipv4Only,
            Some(IpFamilies::IPv6) => service::IpFamilies::Ipv6Only,
        };
        service.canonical = self.canonical;
        service.visibility = match self.visibility {
            Visibility::Public => service::Visibility::Public,
            Visibility::Namespace => service::Visibility::Namespace,
        };
        Ok(service)
    }
}

impl LocalPolicy {
    fn read(self) -> Result<Policy, FileError> {
        let name = format!("{}/{}", self.namespace, self.name);
        if self.name.is_empty() || self.name.contains('/') || self.namespace.contains('/') {
            return Err(At(&name, "policy").bad("name", "is no name"));
        }
        let scope = match self.scope {
            LocalScope::Global => PolicyScope::Global,
            LocalScope::Namespace => PolicyScope::Namespace,
            LocalScope::WorkloadSelector => PolicyScope::WorkloadSelector,
        };
        let action = match self.action {
            LocalAction::Allow => Action::Allow,
            LocalAction::Deny => Action::Deny,
        };
        let clause = |matches: Vec<LocalMatch>| Clause { matches: matches.into_iter().map(LocalMatch::read).collect() };
        let rule = |clauses: Vec<Vec<LocalMatch>>| Rule { clauses: clauses.into_iter().map(clause).collect() };
        let name = NamespacedName::new(self.namespace.as_str(), self.name.as_str());
        let mut policy = Policy::new(name, scope, action, self.rules.into_iter().map(rule).collect());
        policy.dry_run = self.dry_run;
        Ok(policy)
    }
}

impl LocalMatch {
    fn read(self) -> authz::Match {
        let texts = |texts: Vec<LocalString>| texts.into_iter().map(LocalString::read).collect();
        let accounts = |accounts: Vec<LocalAccount>| {
            let account = |account: LocalAccount| authz::ServiceAccountMatch {
                namespace: account.namespace.into(),
                name: account.service_account.into(),
            };
            accounts.into_iter().map(account).collect()
        };
        authz::Match {
            namespaces: texts(self.namespaces),
            not_namespaces: texts(self.not_namespaces),
            principals: texts(self.principals),
            not_principals: texts(self.not_principals),
            source_ips: self.source_ips,
            not_source_ips: self.not_source_ips,
            destination_ips: self.destination_ips,
            not_destination_ips: self.not_destination_ips,
            destination_ports: self.destination_ports,
            not_destination_ports: self.not_destination_ports,
            service_accounts: accounts(self.service_accounts),
            not_service_accounts: accounts(self.not_service_accounts),
        }
    }
}

impl LocalString {
    fn read(self) -> StringMatch {
        match self {
            Self::Exact(text) => StringMatch::Exact(text.into()),
            Self::Prefix(text) => StringMatch::Prefix(text.into()),
            Self::Suffix(text) => StringMatch::Suffix(text.into()),
            Self::Presence(_) => StringMatch::Present,
        }
    }
}

#[cfg(test)]
mod tests;
