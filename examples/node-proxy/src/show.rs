//! What the admin endpoint shows of a node proxy.

use std::sync::Arc;
use std::time::SystemTime;

use mesh_host::admin::Dump;
use mesh_transport::proxy::{ConnectionInfo, Inputs};
use mesh_xds::workload::State;
use serde_json::{Value, json};

use crate::settings::Settings;

/// Everything the proxy believes, and how old it is.
pub(crate) fn dump(settings: &Settings, state: &State, inputs: &Inputs) -> Dump {
    let (node, state, inputs) = (settings.node.clone(), state.clone(), inputs.clone());
    Arc::new(move || {
        let (catalog, policies) = (state.catalog.snapshot(), state.policies.snapshot());
        let status = state.status.snapshot();
        let (connections, streams) = inputs.pool.usage();
        json!({
            "node": node,
            "xds": {
                "connected": status.connected,
                "loaded_from_disk": status.loaded_from_disk,
                "stale_since": status.stale_since.map(seconds),
                "responses": status.responses,
                "rejections": status.rejections,
                "last_error": status.last_error,
            },
            "identities": identities(&inputs),
            "bundles": inputs.identities.bundles().load().iter().map(|bundle| json!({
                "trust_domain": bundle.trust_domain().to_string(),
                "authorities": bundle.authorities().len(),
            })).collect::<Vec<_>>(),
            "workloads": catalog.workloads().map(|workload| json!({
                "uid": workload.uid.as_str(),
                "identity": workload.identity.to_string(),
                "addresses": workload.addresses,
                "node": workload.node.as_str(),
                "tunnel": format!("{:?}", workload.tunnel),
                "health": format!("{:?}", workload.health),
                "policies": workload.policies.iter().map(ToString::to_string).collect::<Vec<_>>(),
                "services": workload.services.keys().map(ToString::to_string).collect::<Vec<_>>(),
            })).collect::<Vec<_>>(),
            "services": catalog.services().map(|service| json!({
                "key": service.key.to_string(),
                "vips": service.vips.iter().map(|(_, range)| range.to_string()).collect::<Vec<_>>(),
                "ports": service.ports.iter().map(|port| json!({
                    "port": port.service_port, "target": port.target_port,
                })).collect::<Vec<_>>(),
                "endpoints": catalog.endpoints(&service.key).map(|endpoint| endpoint.uid.to_string()).collect::<Vec<_>>(),
            })).collect::<Vec<_>>(),
            "policies": policies.iter().map(|policy| json!({
                "name": policy.name.to_string(),
                "scope": format!("{:?}", policy.scope),
                "action": format!("{:?}", policy.action),
                "dry_run": policy.dry_run,
                "rules": policy.rules.len(),
            })).collect::<Vec<_>>(),
            "connections": list(&inputs),
            "pool": {"connections": connections, "streams": streams},
        })
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
        "dst.addr": facts.destination.map(|address| address.to_string()),
        "dst.hbone_addr": facts.tunnel.map(|address| address.to_string()),
        "dst.identity": facts.destination_identity.as_ref().map(ToString::to_string),
        "dst.workload": facts.destination_workload.as_ref().map(|workload| workload.name.to_string()),
        "dst.service": facts.service_name().map(|name| name.to_string()),
        "reason": facts.reason,
        "policy": facts.policy.as_ref().map(ToString::to_string),
        "bytes_sent": info.sent,
        "bytes_received": info.received,
        "age_seconds": info.age.as_secs_f64(),
    })
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
