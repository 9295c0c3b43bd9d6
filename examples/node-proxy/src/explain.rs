//! Why does a workload reach a destination this way, and would it be allowed?

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use mesh_core::authz::{Connection, explain};
use mesh_core::catalog::Catalog;
use mesh_core::resolve::{self, Destination, Hop, Resolution};
use mesh_core::workload::Workload;
use mesh_host::admin::Page;
use mesh_transport::proxy::Inputs;
use serde_json::{Value, json};

/// `/explain?from=<workload>&to=<address:port or hostname:port>`. A workload is named by uid, by `namespace/name`, or by
/// address.
pub(crate) fn page(inputs: &Inputs) -> Page {
    let inputs = inputs.clone();
    Arc::new(move |asked| answer(&inputs, asked).unwrap_or_else(|error| json!({ "error": error })))
}

fn answer(inputs: &Inputs, asked: &BTreeMap<String, String>) -> Result<Value, String> {
    let usage = "ask /explain?from=<uid, namespace/name or address>&to=<address:port or hostname:port>";
    let (Some(from), Some(to)) = (asked.get("from"), asked.get("to")) else { return Err(usage.to_owned()) };
    let catalog = inputs.catalog.snapshot();
    let source = find(inputs, &catalog, from).ok_or_else(|| format!("no workload `{from}` is known here"))?;
    let destination: Destination = to.parse().map_err(|error: resolve::ParseDestinationError| error.to_string())?;
    let mut request = resolve::Outbound::new(&source, &inputs.network, &destination);
    request.unready_waypoint = inputs.options.unready_waypoint;
    let way = resolve::outbound(&catalog, &request, 0);
    let mut answer = json!({
        "from": describe(&source),
        "to": destination.to_string(),
        "missing": resolve::missing(&catalog, &request),
    });
    match way {
        Err(refusal) => {
            answer["verdict"] = json!("refused");
            answer["reason"] = json!(refusal.reason.as_str());
            answer["text"] = json!(refusal.to_string());
        }
        Ok(way) => {
            answer["reason"] = json!(way.reason.as_str());
            answer["text"] = json!(way.reason.to_string());
            answer["service"] = json!(way.service.as_ref().map(|service| service.key.to_string()));
            answer["workload"] = json!(way.workload.as_deref().map(describe));
            answer["candidates"] = candidates(&catalog, &way);
            answer["hop"] = hop(&way.hop);
            let policy = policy(inputs, &source, &way);
            answer["verdict"] = json!(policy.as_ref().map_or("unknown", |(verdict, _)| *verdict));
            answer["policy"] = policy.map_or_else(
                || json!("decided at the other end, by what is known there"),
                |(_, considered)| considered,
            );
        }
    }
    Ok(answer)
}

fn find(inputs: &Inputs, catalog: &Catalog, name: &str) -> Option<Arc<Workload>> {
    let by_address = || catalog.workload_at(&inputs.network, name.parse::<IpAddr>().ok()?);
    let by_name = || {
        let (namespace, name) = name.split_once('/')?;
        catalog.workloads().find(|workload| workload.namespace == *namespace && workload.name == *name)
    };
    catalog.workload(name).or_else(by_address).or_else(by_name).map(Arc::clone)
}

fn describe(workload: &Workload) -> Value {
    json!({
        "uid": workload.uid.as_str(),
        "name": format!("{}/{}", workload.namespace, workload.name),
        "identity": workload.identity.to_string(),
        "addresses": workload.addresses,
        "network": workload.network.as_str(),
        "node": workload.node.as_str(),
        "locality": workload.locality.to_string(),
        "health": format!("{:?}", workload.health),
    })
}

/// All endpoints that could have been chosen.
fn candidates(catalog: &Catalog, way: &Resolution) -> Value {
    let Some(service) = &way.service else { return Value::Null };
    catalog.endpoints(&service.key).map(|workload| describe(workload)).collect()
}

fn hop(hop: &Hop) -> Value {
    let ids = |ids: &[mesh_core::name::SpiffeId]| ids.iter().map(ToString::to_string).collect::<Vec<_>>();
    match hop {
        Hop::Plain { to } => json!({"kind": "plaintext", "to": to.to_string()}),
        Hop::Hbone(tunnel) => json!({
            "kind": "tunnel",
            "to": tunnel.to.to_string(),
            "authority": tunnel.authority.to_string(),
            "expected_identities": ids(&tunnel.expected),
        }),
        Hop::Nested { outer, inner } => json!({
            "kind": "tunnel within a tunnel",
            "to": outer.to.to_string(),
            "authority": inner.authority.to_string(),
            "expected_gateway": ids(&outer.expected),
            "expected_identities": ids(&inner.expected),
        }),
        _ => Value::Null,
    }
}

/// What the policies say that are known here, where the next hop is the destination itself.
fn policy(inputs: &Inputs, source: &Workload, way: &Resolution) -> Option<(&'static str, Value)> {
    let destination = way.workload.as_deref()?;
    let (to, peer): (SocketAddr, _) = match &way.hop {
        Hop::Hbone(tunnel) => match &tunnel.authority {
            Destination::Address(address) if destination.addresses.contains(&address.ip()) => {
                (*address, Some(source.spiffe_id()))
            }
            _ => return None,
        },
        Hop::Plain { to: Destination::Address(address) } => (*address, None),
        _ => return None,
    };
    let client = source.addresses.first().copied().unwrap_or(IpAddr::V4(std::net::Ipv4Addr::UNSPECIFIED));
    let connection = Connection { peer: peer.as_ref(), source: client, destination: to };
    let explanation = explain(&inputs.policies.snapshot(), destination, &connection);
    let verdict = match explanation.verdict {
        mesh_core::authz::Verdict::Allowed(_) => "allowed",
        mesh_core::authz::Verdict::Denied(_) => "denied",
    };
    let considered: Vec<Value> = explanation
        .considered
        .iter()
        .map(|one| {
            json!({
                "policy": one.policy.to_string(),
                "action": format!("{:?}", one.action),
                "dry_run": one.dry_run,
                "matching_rule": one.matching_rule,
            })
        })
        .collect();
    let missing: Vec<String> = explanation.missing.iter().map(ToString::to_string).collect();
    let text = explanation.verdict.to_string();
    Some((verdict, json!({"text": text, "considered": considered, "missing": missing})))
}
