//! What the admin endpoint shows of discovery.

use mesh_xds::server::{Cache, Service};
use serde_json::{Value, json};

/// What is served, by type and name.
pub(crate) fn dump(cache: &Cache) -> Value {
    let snapshot = cache.live().snapshot();
    let of_type = |url: &str| {
        let entries = snapshot.entries(url).map(|(name, entry)| {
            json!({"name": name, "version": &*entry.version, "bytes": entry.body.len(), "aliases": &*entry.aliases})
        });
        (url.to_owned(), Value::Array(entries.collect()))
    };
    json!({"resources": snapshot.types().map(of_type).collect::<serde_json::Map<_, _>>()})
}

/// Who is connected.
pub(crate) fn clients(service: &Service) -> Value {
    let client = |status: &mesh_xds::server::ClientStatus| {
        let types = status.types.iter().map(|(url, progress)| {
            let progress = json!({
                "sent": progress.sent, "acknowledged": progress.acknowledged, "rejected": progress.rejected,
            });
            (url.clone(), progress)
        });
        json!({"client": status.client, "node": status.node, "types": types.collect::<serde_json::Map<_, _>>()})
    };
    Value::Array(service.clients().iter().map(client).collect())
}
