//! What the admin endpoint shows of a waypoint.

use std::sync::Arc;

use mesh_core::config::Upstream;
use mesh_host::admin::Dump;
use mesh_transport::l7::Proxy;
use mesh_transport::proxy::Tracker;
use serde_json::{Value, json};

use crate::settings::Settings;

/// Everything the waypoint believes.
pub(crate) fn dump(settings: &Settings, proxy: &Proxy, tracker: &Tracker) -> Dump {
    let (settings, proxy, tracker) = (settings.clone(), proxy.clone(), tracker.clone());
    Arc::new(move || {
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "waypoint": format!("{}/{}", settings.waypoint.namespace, settings.waypoint.name),
            "identity": settings.identity().map(|id| id.to_string()).unwrap_or_default(),
            "control_plane": settings.control_plane,
            "listeners": listeners(&proxy),
            "clusters": clusters(&proxy),
            "connections": tracker.len(),
        })
    })
}

fn listeners(proxy: &Proxy) -> Value {
    let all = proxy.listeners();
    let shown = all.iter().map(|(name, served)| {
        let socket = served.listener.socket();
        let chains = socket.into_iter().flat_map(|socket| socket.chains.iter().chain(&socket.default_chain));
        let routes = served.managers().map(|(_, table)| {
            let hosts = table.config().hosts.iter();
            json!({"name": table.config().name.to_string(), "routes": hosts.map(|host| host.routes.len()).sum::<usize>()})
        });
        let chains: Vec<String> = chains.map(|chain| chain.name.to_string()).collect();
        (name.to_string(), json!({"chains": chains, "routes": routes.collect::<Vec<_>>()}))
    });
    Value::Object(shown.collect())
}

/// Clusters and their endpoints as they are seen now.
pub(crate) fn clusters(proxy: &Proxy) -> Value {
    let all = proxy.clusters().all();
    let shown = all.iter().map(|(name, cluster)| {
        let endpoints = cluster.upstream().balancers().flat_map(|balancer| balancer.status());
        let endpoints = endpoints.map(|status| {
            json!({
                "address": status.address.to_string(),
                "locality": status.locality.to_string(),
                "priority": status.priority,
                "health": format!("{:?}", status.health),
                "probed": status.probed.map(|probed| format!("{probed:?}")),
                "ejected": status.ejected,
                "active": status.active,
            })
        });
        let kind = match &**cluster.upstream() {
            Upstream::Endpoints { .. } => "endpoints",
            Upstream::Aggregate(_) => "aggregate",
            Upstream::OriginalDestination(_) => "original_destination",
        };
        let shown = json!({
            "kind": kind,
            "connections": cluster.connections(),
            "endpoints": endpoints.collect::<Vec<_>>(),
        });
        (name.to_string(), shown)
    });
    Value::Object(shown.collect())
}
