//! What the admin endpoint shows of a node proxy. The keys of the dump are those of Istio's ztunnel, so that
//! `istioctl ztunnel-config` reads it; what ztunnel has no word for stands under `mesh`.

use std::sync::Arc;
use std::time::SystemTime;

use base64::Engine as _;
use mesh_core::catalog::Catalog;
use mesh_core::service::Service;
use mesh_core::workload::Health;
use mesh_host::admin::Dump;
use mesh_host::shown;
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
            "workloads": catalog.workloads().map(|one| shown::workload(one)).collect::<Vec<_>>(),
            "services": catalog.services().map(|one| service(&catalog, one)).collect::<Vec<_>>(),
            "policies": policies.iter().map(|one| shown::policy(one)).collect::<Vec<_>>(),
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

fn service(catalog: &Catalog, service: &Service) -> Value {
    let endpoints: Map<String, Value> = catalog
        .endpoints(&service.key)
        .map(|workload| {
            let own = workload.services.get(&service.key).map(shown::ports).unwrap_or_default();
            let value = json!({
                "workloadUid": workload.uid.as_str(),
                "port": own,
                "status": match workload.health { Health::Healthy => "Healthy", _ => "Unhealthy" },
            });
            (workload.uid.to_string(), value)
        })
        .collect();
    shown::service(service, &endpoints)
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
