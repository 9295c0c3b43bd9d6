//! Where the endpoints of a cluster come from.

use envoy_types::pb::envoy::config::cluster::v3::Cluster as WireCluster;
use envoy_types::pb::envoy::config::cluster::v3::cluster::{
    ClusterDiscoveryType, CustomClusterType, DiscoveryType, DnsLookupFamily, EdsClusterConfig, LbPolicy,
};
use envoy_types::pb::envoy::config::core::v3::address::Address as Place;
use envoy_types::pb::envoy::config::core::v3::socket_address::PortSpecifier;
use envoy_types::pb::envoy::config::core::v3::{Address, SocketAddress};
use envoy_types::pb::envoy::extensions::clusters::aggregate::v3::ClusterConfig;
use mesh_core::balance::{Discovery, Dns, DnsFamily, DnsHost};
use mesh_core::name::Text;

use super::tunnel;
use crate::envoy::config_source::{same_server, wire_same_server};
use crate::envoy::endpoint::{assignment, wire_assignment};
use crate::envoy::error::{Error, Report};
use crate::envoy::wire::{any, duration, holds, socket_address, span, tcp_address, unpack, wire_address};

/// Name by which Envoy knows clusters of clusters.
const AGGREGATE: &str = "envoy.clusters.aggregate";

/// Reads the fields of a cluster that say where its endpoints come from; the caller has looked at all others.
pub(super) fn discovery(report: &mut Report, message: &WireCluster) -> Result<Discovery, Error> {
    let kind = match &message.cluster_discovery_type {
        None => DiscoveryType::Static,
        Some(ClusterDiscoveryType::Type(kind)) => {
            DiscoveryType::try_from(*kind).map_err(|_| report.invalid("type", format_args!("unknown type {kind}")))?
        }
        Some(ClusterDiscoveryType::ClusterType(custom)) => {
            report.ignored("eds_cluster_config", &message.eds_cluster_config);
            report.ignored("load_assignment", &message.load_assignment);
            return report.within("cluster_type", |report| aggregate(report, custom));
        }
    };
    if kind != DiscoveryType::Eds {
        report.ignored("eds_cluster_config", &message.eds_cluster_config);
    }
    if matches!(kind, DiscoveryType::Eds | DiscoveryType::OriginalDst) {
        // Endpoints in two places: only those that are subscribed to would count.
        report.refused("load_assignment", &message.load_assignment)?;
    }
    match kind {
        DiscoveryType::Eds => eds(report, message.eds_cluster_config.as_ref()),
        DiscoveryType::OriginalDst => Ok(Discovery::OriginalDst),
        DiscoveryType::Static => {
            let endpoints = report.required("load_assignment", message.load_assignment.as_ref())?;
            if let Some(identities) = tunnel::to_original_dst(report, endpoints, message.metadata.as_ref())? {
                return Ok(Discovery::TunnelToOriginalDst(identities));
            }
            let read = |report: &mut Report| assignment(report, endpoints, socket_address);
            Ok(Discovery::Static(report.within("load_assignment", read)?))
        }
        DiscoveryType::StrictDns => Ok(Discovery::StrictDns(dns(report, message)?)),
        DiscoveryType::LogicalDns => {
            let dns = dns(report, message)?;
            match dns.hosts.endpoints().count() {
                1 => Ok(Discovery::LogicalDns(dns)),
                count => Err(report.invalid("load_assignment", format_args!("{count} hosts instead of one"))),
            }
        }
    }
}

/// Fills in the fields that say where the endpoints come from.
pub(super) fn wire_discovery(discovery: &Discovery, message: &mut WireCluster) {
    let kind = |kind: DiscoveryType| Some(ClusterDiscoveryType::Type(kind.into()));
    match discovery {
        Discovery::Eds { service_name } => {
            message.cluster_discovery_type = kind(DiscoveryType::Eds);
            message.eds_cluster_config = Some(EdsClusterConfig {
                eds_config: Some(wire_same_server()),
                service_name: service_name.as_ref().map(Text::to_string).unwrap_or_default(),
            });
        }
        Discovery::Static(assignment) => {
            message.cluster_discovery_type = kind(DiscoveryType::Static);
            message.load_assignment = Some(wire_assignment(assignment, |at| wire_address(*at)));
        }
        Discovery::StrictDns(dns) => {
            message.cluster_discovery_type = kind(DiscoveryType::StrictDns);
            wire_dns(dns, message);
        }
        Discovery::LogicalDns(dns) => {
            message.cluster_discovery_type = kind(DiscoveryType::LogicalDns);
            wire_dns(dns, message);
        }
        Discovery::Aggregate(clusters) => {
            let config = ClusterConfig { clusters: clusters.iter().map(Text::to_string).collect() };
            let custom = CustomClusterType { name: AGGREGATE.to_owned(), typed_config: Some(any(&config)) };
            message.cluster_discovery_type = Some(ClusterDiscoveryType::ClusterType(custom));
        }
        Discovery::TunnelToOriginalDst(identities) => {
            message.cluster_discovery_type = kind(DiscoveryType::Static);
            tunnel::wire_to_original_dst(identities, message);
        }
        Discovery::OriginalDst => {
            message.cluster_discovery_type = kind(DiscoveryType::OriginalDst);
            // Envoy looks there, whatever `load_balancing_policy` says.
            message.lb_policy = LbPolicy::ClusterProvided.into();
        }
    }
}

fn aggregate(report: &mut Report, custom: &CustomClusterType) -> Result<Discovery, Error> {
    let CustomClusterType { name: _, typed_config } = custom;
    let config = report.required("typed_config", typed_config.as_ref())?;
    if !holds::<ClusterConfig>(config) {
        return Err(Error::UnsupportedType { field: report.at("typed_config"), type_url: config.type_url.clone() });
    }
    let ClusterConfig { clusters } = unpack(report, "typed_config", config)?;
    match clusters.is_empty() {
        true => Err(Error::Missing { field: report.at("typed_config.clusters") }),
        false => Ok(Discovery::Aggregate(clusters.into_iter().map(Text::from).collect())),
    }
}

fn eds(report: &mut Report, config: Option<&EdsClusterConfig>) -> Result<Discovery, Error> {
    let EdsClusterConfig { eds_config, service_name } = report.required("eds_cluster_config", config)?;
    report.within("eds_cluster_config", |report| same_server(report, "eds_config", eds_config.as_ref()))?;
    let service_name = (!service_name.is_empty()).then(|| service_name.as_str().into());
    Ok(Discovery::Eds { service_name })
}

fn dns(report: &mut Report, message: &WireCluster) -> Result<Dns, Error> {
    // Names may mean something else to other servers.
    report.refused("typed_dns_resolver_config", &message.typed_dns_resolver_config)?;
    let endpoints = report.required("load_assignment", message.load_assignment.as_ref())?;
    let hosts = report.within("load_assignment", |report| assignment(report, endpoints, host))?;
    let default = Dns::new(hosts);
    let family = match DnsLookupFamily::try_from(message.dns_lookup_family) {
        Ok(DnsLookupFamily::Auto) => DnsFamily::Auto,
        Ok(DnsLookupFamily::V4Only) => DnsFamily::V4Only,
        Ok(DnsLookupFamily::V6Only) => DnsFamily::V6Only,
        Ok(DnsLookupFamily::V4Preferred) => DnsFamily::V4Preferred,
        Ok(DnsLookupFamily::All) => DnsFamily::All,
        Err(_) => return Err(report.invalid("dns_lookup_family", "unknown family")),
    };
    let refresh = match &message.dns_refresh_rate {
        None => default.refresh,
        Some(rate) => match duration(report, "dns_refresh_rate", rate)? {
            zero if zero.is_zero() => return Err(report.invalid("dns_refresh_rate", "must not be 0")),
            rate => rate,
        },
    };
    Ok(Dns { family, refresh, respect_ttl: message.respect_dns_ttl, ..default })
}

fn wire_dns(dns: &Dns, message: &mut WireCluster) {
    let Dns { hosts, family, refresh, respect_ttl } = dns;
    let family = match family {
        DnsFamily::Auto => DnsLookupFamily::Auto,
        DnsFamily::V4Only => DnsLookupFamily::V4Only,
        DnsFamily::V6Only => DnsLookupFamily::V6Only,
        DnsFamily::V4Preferred => DnsLookupFamily::V4Preferred,
        DnsFamily::All => DnsLookupFamily::All,
    };
    message.load_assignment = Some(wire_assignment(hosts, wire_host));
    message.dns_lookup_family = family.into();
    message.dns_refresh_rate = Some(span(*refresh));
    message.respect_dns_ttl = *respect_ttl;
}

fn host(report: &mut Report, address: &Address) -> Result<DnsHost, Error> {
    let name = |report: &Report, text: &str| match text {
        "" => Err(Error::Missing { field: report.at("address") }),
        name => Ok(name.into()),
    };
    tcp_address(report, address, name).map(|(name, port)| DnsHost { name, port })
}

fn wire_host(host: &DnsHost) -> Address {
    let DnsHost { name, port } = host;
    let socket = SocketAddress {
        address: name.to_string(),
        port_specifier: Some(PortSpecifier::PortValue((*port).into())),
        ..SocketAddress::default()
    };
    Address { address: Some(Place::SocketAddress(socket)) }
}
