//! Workloads, services and policies as JSON, with the keys of the configuration dump of Istio's ztunnel.

use mesh_core::authz::{Match, Policy};
use mesh_core::service::{GatewayAddress, GatewayDestination, IpFamilies, Mode, PortMap, Service};
use mesh_core::string_match::StringMatch;
use mesh_core::workload::{ApplicationProtocol, Health, NetworkMode, TunnelProtocol, Workload};
use serde_json::{Map, Value, json};

/// A workload.
#[must_use]
pub fn workload(workload: &Workload) -> Value {
    let mut value = json!({
        "workloadIps": workload.addresses,
        "protocol": match workload.tunnel { TunnelProtocol::Hbone => "HBONE", _ => "TCP" },
        "network": workload.network.as_str(),
        "networkMode": match workload.network_mode {
            NetworkMode::HostNetwork => "HostNetwork",
            _ => "Standard",
        },
        "uid": workload.uid.as_str(),
        "name": workload.name.as_str(),
        "namespace": workload.namespace.as_str(),
        "trustDomain": workload.identity.trust_domain().to_string(),
        "serviceAccount": workload.identity.name().as_str(),
        "workloadName": workload.workload_name.as_str(),
        "workloadType": workload.kind.as_str(),
        "canonicalName": workload.canonical_name.as_str(),
        "canonicalRevision": workload.canonical_revision.as_str(),
        "node": workload.node.as_str(),
        "nativeTunnel": workload.native_tunnel,
        "authorizationPolicies": workload.policies.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "status": match workload.health { Health::Healthy => "Healthy", _ => "Unhealthy" },
        "clusterId": workload.cluster_id.as_str(),
        "capacity": workload.capacity,
        "locality": {
            "region": workload.locality.region.as_str(),
            "zone": workload.locality.zone.as_str(),
            "subzone": workload.locality.subzone.as_str(),
        },
        "services": workload.services.keys().map(ToString::to_string).collect::<Vec<_>>(),
    });
    if let Some(hostname) = &workload.hostname {
        value["hostname"] = json!(hostname.as_str());
    }
    if let Some(reference) = &workload.waypoint {
        value["waypoint"] = gateway(reference);
    }
    if let Some(reference) = &workload.network_gateway {
        value["networkGateway"] = gateway(reference);
    }
    if let Some(tunnel) = &workload.application_tunnel {
        let protocol = match tunnel.protocol {
            ApplicationProtocol::Proxy => "PROXY",
            _ => "NONE",
        };
        value["applicationTunnel"] = json!({"protocol": protocol, "port": tunnel.port});
    }
    value
}

fn gateway(reference: &GatewayAddress) -> Value {
    let destination = match &reference.destination {
        GatewayDestination::Hostname(key) => key.to_string(),
        GatewayDestination::Address(network, ip) => format!("{network}/{ip}"),
        _ => String::new(),
    };
    json!({"destination": destination, "hboneMtlsPort": reference.hbone_port})
}

/// A service with its endpoints, which are those of whoever shows it.
#[must_use]
pub fn service(service: &Service, endpoints: &Map<String, Value>) -> Value {
    let host = |vip: &&(mesh_core::name::Network, ipnet::IpNet)| vip.1.prefix_len() == vip.1.max_prefix_len();
    let mut value = json!({
        "name": service.name.as_str(),
        "namespace": service.key.namespace.as_str(),
        "hostname": service.key.hostname.as_str(),
        "vips": service.vips.iter().filter(host).map(|(network, vip)| format!("{network}/{}", vip.addr())).collect::<Vec<_>>(),
        "cidrVips": service.vips.iter().filter(|vip| !host(vip)).map(|(network, vip)| json!({
            "network": network.as_str(), "cidr": vip.to_string(),
        })).collect::<Vec<_>>(),
        "ports": ports(&service.ports),
        "endpoints": endpoints,
        "subjectAltNames": service.subject_alt_names.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "ipFamilies": match service.ip_families {
            IpFamilies::Ipv4Only => json!("IPv4"),
            IpFamilies::Ipv6Only => json!("IPv6"),
            IpFamilies::Dual => json!("Dual"),
            _ => Value::Null,
        },
        "canonical": service.canonical,
        "visibility": format!("{:?}", service.visibility),
    });
    if service.load_balancing != Default::default() {
        value["loadBalancer"] = json!({
            "routingPreferences": service.load_balancing.preference.iter().map(|scope| format!("{scope:?}")).collect::<Vec<_>>(),
            "mode": match service.load_balancing.mode {
                Mode::Any => "Standard".to_owned(),
                other => format!("{other:?}"),
            },
            "healthPolicy": format!("{:?}", service.load_balancing.health_policy),
        });
    }
    if let Some(reference) = &service.waypoint {
        value["waypoint"] = gateway(reference);
    }
    if !service.weighted_waypoints.is_empty() {
        let one =
            |(reference, weight): &(GatewayAddress, u32)| json!({"destination": gateway(reference), "weight": weight});
        value["weightedWaypoints"] = service.weighted_waypoints.iter().map(one).collect();
    }
    value
}

/// A policy.
#[must_use]
pub fn policy(policy: &Policy) -> Value {
    let rule = |rule: &mesh_core::authz::Rule| -> Value {
        let clause = |clause: &mesh_core::authz::Clause| clause.matches.iter().map(matching).collect::<Value>();
        rule.clauses.iter().map(clause).collect()
    };
    json!({
        "name": policy.name.name.as_str(),
        "namespace": policy.name.namespace.as_str(),
        "scope": format!("{:?}", policy.scope),
        "action": format!("{:?}", policy.action),
        "dryRun": policy.dry_run,
        "rules": policy.rules.iter().map(rule).collect::<Vec<_>>(),
    })
}

/// Only the fields that hold something.
fn matching(one: &Match) -> Value {
    let texts = |texts: &[StringMatch]| -> Value {
        let text = |text: &StringMatch| match text {
            StringMatch::Exact(text) => json!({"Exact": text.as_str()}),
            StringMatch::Prefix(text) => json!({"Prefix": text.as_str()}),
            StringMatch::Suffix(text) => json!({"Suffix": text.as_str()}),
            _ => json!({"Presence": []}),
        };
        texts.iter().map(text).collect()
    };
    let accounts = |accounts: &[mesh_core::authz::ServiceAccountMatch]| -> Value {
        let account = |account: &mesh_core::authz::ServiceAccountMatch| json!({"namespace": account.namespace.as_str(), "serviceAccount": account.name.as_str()});
        accounts.iter().map(account).collect()
    };
    let fields = [
        ("namespaces", texts(&one.namespaces)),
        ("notNamespaces", texts(&one.not_namespaces)),
        ("principals", texts(&one.principals)),
        ("notPrincipals", texts(&one.not_principals)),
        ("sourceIps", json!(one.source_ips)),
        ("notSourceIps", json!(one.not_source_ips)),
        ("destinationIps", json!(one.destination_ips)),
        ("notDestinationIps", json!(one.not_destination_ips)),
        ("destinationPorts", json!(one.destination_ports)),
        ("notDestinationPorts", json!(one.not_destination_ports)),
        ("serviceAccounts", accounts(&one.service_accounts)),
        ("notServiceAccounts", accounts(&one.not_service_accounts)),
    ];
    let held = fields.into_iter().filter(|(_, value)| value.as_array().is_some_and(|values| !values.is_empty()));
    Value::Object(held.map(|(key, value)| (key.to_owned(), value)).collect())
}

/// The ports of a service, or those of one of its endpoints.
#[must_use]
pub fn ports(ports: &PortMap) -> Map<String, Value> {
    ports.iter().map(|port| (port.service_port.to_string(), json!(port.target_port.unwrap_or(0)))).collect()
}
