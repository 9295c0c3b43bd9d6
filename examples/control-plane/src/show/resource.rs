//! Resources as JSON: those of workload discovery by their fields, as ztunnel shows them, those of Envoy as Protobuf JSON.

use std::collections::BTreeMap;

use mesh_core::workload::Workload;
use mesh_host::shown;
use mesh_xds::server::Cache;
use mesh_xds::workload::{ADDRESS_TYPE, Address, POLICY_TYPE, decode_address, decode_policy};
use serde_json::{Map, Value, json};

use super::protobuf;

/// Whether a resource is asked for: `type` is a type URL or the end of one, `name` a part of its name.
pub(super) fn is_meant(type_url: &str, name: &str, asked: &BTreeMap<String, String>) -> bool {
    asked.get("type").is_none_or(|wanted| {
        let short = type_url.rsplit('.').next().unwrap_or_default();
        type_url == wanted || short.eq_ignore_ascii_case(wanted)
    }) && asked.get("name").is_none_or(|wanted| name.contains(wanted.as_str()))
}

/// All that node proxies are served.
pub(super) fn all(cache: &Cache, asked: &BTreeMap<String, String>) -> Value {
    let snapshot = cache.live().snapshot();
    let of_type = |url: &str| -> Vec<Value> {
        let meant = snapshot.entries(url).filter(|(name, _)| is_meant(url, name, asked));
        let entry = |(name, entry): (&str, &mesh_xds::server::Entry)| {
            json!({
                "type": url,
                "name": name,
                "version": &*entry.version,
                "aliases": &*entry.aliases,
                "content": content(url, &entry.body),
            })
        };
        meant.map(entry).collect()
    };
    snapshot.types().flat_map(of_type).collect()
}

/// What a resource holds, without secrets.
pub(crate) fn content(type_url: &str, body: &[u8]) -> Value {
    match type_url {
        ADDRESS_TYPE => match decode_address(body) {
            Ok(Address::Workload(workload)) => json!({"workload": shown::workload(&workload)}),
            Ok(Address::Service(service)) => json!({"service": shown::service(&service, &Map::new())}),
            Err(error) => json!({"error": error.to_string()}),
        },
        POLICY_TYPE => match decode_policy(body) {
            Ok(policy) => shown::policy(&policy),
            Err(error) => json!({"error": error.to_string()}),
        },
        _ => protobuf::content(type_url, body),
    }
}

/// The endpoints of each service, by its key.
pub(super) fn endpoints(cache: &Cache) -> Value {
    let snapshot = cache.live().snapshot();
    let mut services: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for (name, entry) in snapshot.entries(ADDRESS_TYPE) {
        match decode_address(&entry.body) {
            Ok(Address::Service(_)) => drop(services.entry(name.to_owned()).or_default()),
            Ok(Address::Workload(workload)) => {
                for (key, ports) in &workload.services {
                    services.entry(key.to_string()).or_default().push(endpoint(&workload, ports));
                }
            }
            Err(_) => {}
        }
    }
    json!(services)
}

fn endpoint(workload: &Workload, ports: &mesh_core::service::PortMap) -> Value {
    json!({
        "uid": workload.uid.as_str(),
        "addresses": workload.addresses,
        "network": workload.network.as_str(),
        "node": workload.node.as_str(),
        "identity": workload.spiffe_id().to_string(),
        "healthy": workload.health == mesh_core::workload::Health::Healthy,
        "ports": shown::ports(ports),
    })
}

/// The policies in force.
pub(super) fn policies(cache: &Cache) -> Value {
    let snapshot = cache.live().snapshot();
    snapshot.entries(POLICY_TYPE).map(|(_, entry)| content(POLICY_TYPE, &entry.body)).collect()
}
