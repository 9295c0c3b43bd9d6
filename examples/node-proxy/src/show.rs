//! What the admin endpoint shows of a node proxy. The keys of the dump are those of Istio's ztunnel, so that
//! `istioctl ztunnel-config` reads it; what ztunnel has no word for stands under `mesh`.

use std::sync::Arc;
use std::time::SystemTime;

use base64::Engine as _;
use mesh_core::authz::{Match, Policy};
use mesh_core::catalog::Catalog;
use mesh_core::service::{GatewayAddress, GatewayDestination, IpFamilies, Mode, Service};
use mesh_core::string_match::StringMatch;
use mesh_core::workload::{ApplicationProtocol, Health, NetworkMode, TunnelProtocol, Workload};
use mesh_host::admin::Dump;
use mesh_transport::proxy::{ConnectionInfo, Direction, Inputs};
use mesh_xds::workload::State;
use serde_json::{Map, Value, json};

use crate::pods::Served;
use crate::settings::Settings;

/// Everything the proxy believes, and how old it is.
pub(crate) fn dump(settings: &Settings, state: &State, inputs: &Inputs, served: Option<Served>) -> Dump {
    let (settings, state, inputs) = (settings.clone(), state.clone(), inputs.clone());
    Arc::new(move || {
        let (catalog, policies) = (state.catalog.snapshot(), state.policies.snapshot());
        let status = state.status.snapshot();
        let (connections, streams) = inputs.pool.usage();
        let mut dump = json!({
            "workloads": catalog.workloads().map(|one| workload(one)).collect::<Vec<_>>(),
            "services": catalog.services().map(|one| service(&catalog, one)).collect::<Vec<_>>(),
            "policies": policies.iter().map(|one| policy(one)).collect::<Vec<_>>(),
            "stagedServices": {},
            "certificates": certificates(&inputs),
            "version": {"version": env!("CARGO_PKG_VERSION"), "gitTag": "", "buildStatus": "", "gitRevision": ""},
            "config": {
                "proxyMode": format!("{:?}", settings.mode),
                "localNode": settings.node,
                "network": settings.network,
                "clusterId": settings.cluster_id,
                "trustDomain": settings.trust_domain,
                "xdsAddress": settings.control_plane,
                "onDemand": settings.on_demand,
            },
            "mesh": {
                "node": settings.node,
                "xds": {
                    "connected": status.connected,
                    "loaded_from_disk": status.loaded_from_disk,
                    "stale_since": status.stale_since.map(seconds),
                    "responses": status.responses,
                    "rejections": status.rejections,
                    "last_error": status.last_error,
                },
                "bundles": inputs.identities.bundles().load().iter().map(|bundle| json!({
                    "trust_domain": bundle.trust_domain().to_string(),
                    "authorities": bundle.authorities().len(),
                })).collect::<Vec<_>>(),
                "revocation_lists": inputs.identities.bundles().load().revocations().len(),
                "identities": identities(&inputs),
                "connections": list(&inputs),
                "pool": {"connections": connections, "streams": streams},
            },
        });
        if let Some(served) = &served {
            dump["workloadState"] = workload_state(&catalog, &inputs, served);
        }
        dump
    })
}

/// Open connections.
pub(crate) fn connections(inputs: &Inputs) -> Dump {
    let inputs = inputs.clone();
    Arc::new(move || list(&inputs))
}

fn list(inputs: &Inputs) -> Value {
    Value::Array(inputs.tracker.connections().iter().map(connection).collect())
}

fn connection(info: &ConnectionInfo) -> Value {
    let facts = &info.facts;
    json!({
        "direction": facts.direction.as_str(),
        "src.addr": facts.source.to_string(),
        "src.identity": facts.source_identity.as_ref().map(ToString::to_string),
        "src.workload": facts.source_workload.as_ref().map(|workload| workload.name.to_string()),
        "dst.requested": facts.requested,
        "dst.addr": facts.tunnel.or(facts.destination).map(|address| address.to_string()),
        "dst.hbone_addr": facts.tunnel.and_then(|_| facts.authority()),
        "application": facts.destination.map(|address| address.to_string()),
        "dst.identity": facts.destination_identity.as_ref().map(ToString::to_string),
        "dst.workload": facts.destination_workload.as_ref().map(|workload| workload.name.to_string()),
        "dst.service": facts.service_name().map(|name| name.to_string()),
        "reason": facts.reason,
        "policy": facts.policy.as_ref().map(ToString::to_string),
        "trace_id": facts.trace.map(|trace| trace.to_string()),
        "bytes_sent": info.sent,
        "bytes_received": info.received,
        "age_seconds": info.age.as_secs_f64(),
    })
}

/// Captured workloads by uid, with their connections.
fn workload_state(catalog: &Catalog, inputs: &Inputs, served: &Served) -> Value {
    let open = inputs.tracker.connections();
    let mut state = Map::new();
    for (uid, (info, local)) in served.lock().iter() {
        let record = local.find(catalog).map(|workload| workload.uid.clone());
        let of = |direction: Direction| -> Vec<Value> {
            let own = |connection: &&ConnectionInfo| {
                let facts = &connection.facts;
                let side = match direction {
                    Direction::Inbound => &facts.destination_workload,
                    Direction::Outbound => &facts.source_workload,
                };
                facts.direction == direction && side.as_ref().map(|workload| &workload.uid) == record.as_ref()
            };
            let brief = |connection: &ConnectionInfo| {
                let facts = &connection.facts;
                let actual = facts.tunnel.or(facts.destination).map(|address| address.to_string());
                json!({
                    "src": facts.source.to_string(),
                    "originalDst": facts.requested,
                    "actualDst": actual.unwrap_or_default(),
                    "protocol": if facts.tunnel.is_some() { "HBONE" } else { "TCP" },
                })
            };
            open.iter().filter(own).map(brief).collect()
        };
        let entry = json!({
            "state": "Up",
            "connections": {"inbound": of(Direction::Inbound), "outbound": of(Direction::Outbound)},
            "info": {"name": info.name, "namespace": info.namespace, "serviceAccount": info.service_account},
        });
        state.insert(uid.clone(), entry);
    }
    Value::Object(state)
}

fn workload(workload: &Workload) -> Value {
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

fn service(catalog: &Catalog, service: &Service) -> Value {
    let ports = |ports: &mesh_core::service::PortMap| -> Map<String, Value> {
        ports.iter().map(|port| (port.service_port.to_string(), json!(port.target_port.unwrap_or(0)))).collect()
    };
    let host = |vip: &&(mesh_core::name::Network, ipnet::IpNet)| vip.1.prefix_len() == vip.1.max_prefix_len();
    let endpoints: Map<String, Value> = catalog
        .endpoints(&service.key)
        .map(|workload| {
            let own = workload.services.get(&service.key).map(&ports).unwrap_or_default();
            let value = json!({
                "workloadUid": workload.uid.as_str(),
                "port": own,
                "status": match workload.health { Health::Healthy => "Healthy", _ => "Unhealthy" },
            });
            (workload.uid.to_string(), value)
        })
        .collect();
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

fn policy(policy: &Policy) -> Value {
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

/// One entry per identity, as `istioctl ztunnel-config certificates` wants it.
fn certificates(inputs: &Inputs) -> Vec<Value> {
    let base64 = |der: &[u8]| {
        let pem = mesh_identity::pem::encode("CERTIFICATE", der);
        base64::engine::general_purpose::STANDARD.encode(pem)
    };
    let one = |summary: &mesh_identity::source::Summary| {
        let state = match (&summary.serial, &summary.last_error) {
            (Some(_), _) => "Available".to_owned(),
            (None, Some(error)) => format!("Unavailable: {error}"),
            (None, None) => "Initializing".to_owned(),
        };
        let chain: Vec<Value> = summary
            .chain
            .iter()
            .enumerate()
            .map(|(index, der)| {
                let leaf = index == 0;
                json!({
                    "pem": base64(der),
                    "serialNumber": summary.serial.as_ref().filter(|_| leaf),
                    "validFrom": summary.not_before.filter(|_| leaf).and_then(timestamp),
                    "expirationTime": summary.not_after.filter(|_| leaf).and_then(timestamp),
                })
            })
            .collect();
        let bundles = inputs.identities.bundles().load();
        let roots: Vec<Value> = bundles
            .get(summary.id.trust_domain())
            .into_iter()
            .flat_map(|bundle| bundle.authorities())
            .map(|authority| json!({"pem": base64(authority.certificate())}))
            .collect();
        json!({"identity": summary.id.to_string(), "state": state, "certChain": chain, "rootCerts": roots})
    };
    inputs.identities.summaries().iter().map(one).collect()
}

fn identities(inputs: &Inputs) -> Vec<Value> {
    let one = |summary: &mesh_identity::source::Summary| {
        json!({
            "id": summary.id.to_string(),
            "serial": summary.serial,
            "not_after": summary.not_after.map(seconds),
            "rotations": summary.rotations,
            "last_error": summary.last_error,
        })
    };
    inputs.identities.summaries().iter().map(one).collect()
}

fn seconds(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// RFC 3339 in UTC.
fn timestamp(time: SystemTime) -> Option<String> {
    time::OffsetDateTime::from(time).format(&time::format_description::well_known::Rfc3339).ok()
}
