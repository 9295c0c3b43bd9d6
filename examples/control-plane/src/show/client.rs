//! Who is connected, and how what it should have stands with it.

use std::collections::BTreeMap;
use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256};
use mesh_xds::server::{ClientStatus, Holding, Service, Standing};
use serde_json::{Map, Value, json};

use super::resource;
use crate::kind::kind;

/// Who is connected, and how far they are.
pub(super) fn progress(service: &Service) -> Value {
    let client = |status: &ClientStatus| {
        let types = status.types.iter().map(|(url, progress)| {
            let progress = json!({
                "sent": progress.sent, "acknowledged": progress.acknowledged, "rejected": progress.rejected,
            });
            (url.clone(), progress)
        });
        json!({"client": status.client, "node": status.node, "types": types.collect::<Map<_, _>>()})
    };
    Value::Array(service.clients().iter().map(client).collect())
}

/// Open streams, in the order of their age.
pub(super) fn connections(service: &Service) -> Value {
    let mut all = service.clients();
    all.sort_by_key(|client| std::cmp::Reverse(client.age));
    all.iter().map(head).collect()
}

fn head(status: &ClientStatus) -> Value {
    json!({
        "stream": status.stream,
        "client": status.client,
        "proxy": status.node,
        "kind": kind(&status.node),
        "agent": status.agent,
        "proxy_version": status.version,
        "connected_seconds": status.age.as_secs_f64(),
        "behind_seconds": status.behind.map(|behind| behind.as_secs_f64()),
    })
}

/// How one type stands with a client.
#[derive(Default)]
struct Tally {
    held: usize,
    by_standing: BTreeMap<Standing, usize>,
    /// Of names and versions, each by itself: in whichever order they come, what is equal has one value.
    content: [u8; 32],
    reason: Option<Arc<str>>,
}

impl Tally {
    fn add(&mut self, holding: &Holding<'_>) {
        *self.by_standing.entry(holding.standing).or_default() += 1;
        if let Some(version) = holding.accepted {
            self.held += 1;
            let mut context = Context::new(&SHA256);
            [holding.name, "\0", version].into_iter().for_each(|text| context.update(text.as_bytes()));
            let digest = context.finish();
            self.content.iter_mut().zip(digest.as_ref()).for_each(|(sum, byte)| *sum ^= byte);
        }
        if holding.reason.is_some() {
            self.reason.clone_from(&holding.reason);
        }
    }

    fn show(&self) -> Map<String, Value> {
        let count = |standing: Standing| self.by_standing.get(&standing).copied().unwrap_or_default();
        let version: String = self.content.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        let shown = json!({
            "status": self.status(),
            "held": self.held,
            "version": version,
            "synced": count(Standing::Synced),
            "not_sent": count(Standing::NotSent),
            "not_answered": count(Standing::Stale),
            "rejected": count(Standing::Rejected),
            "reason": self.reason.as_deref(),
        });
        if let Value::Object(shown) = shown { shown } else { Map::new() }
    }

    /// In istiod's words.
    fn status(&self) -> &'static str {
        let some = |standing: Standing| self.by_standing.contains_key(&standing);
        match () {
            () if some(Standing::Rejected) => "ERROR",
            () if some(Standing::Stale) => "STALE",
            () if some(Standing::NotSent) => "NOT SENT",
            () => "SYNCED",
        }
    }
}

/// How what clients should have stands with them, in numbers; of one proxy, or of all.
pub(super) fn standing(service: &Service, proxy: Option<&str>) -> Value {
    let clients = service.clients();
    let clients = clients.iter().filter(|client| proxy.is_none_or(|proxy| is_named(client, proxy)));
    let client = |status: &ClientStatus| {
        let mut tallies: BTreeMap<String, Tally> = BTreeMap::new();
        service.visit(status.stream, &mut |holding| match tallies.get_mut(holding.type_url) {
            Some(tally) => tally.add(&holding),
            None => tallies.entry(holding.type_url.to_owned()).or_default().add(&holding),
        });
        let types = status.types.iter().map(|(url, progress)| {
            let mut shown = tallies.get(url).map_or_else(|| Tally::default().show(), Tally::show);
            shown.insert("sent".to_owned(), json!(progress.sent));
            shown.insert("acknowledged".to_owned(), json!(progress.acknowledged));
            if let Some(reason) = &progress.rejected {
                shown.insert("reason".to_owned(), json!(reason));
            }
            (url.clone(), Value::Object(shown))
        });
        let mut shown = head(status);
        shown["types"] = Value::Object(types.collect());
        shown
    };
    clients.map(client).collect()
}

/// What one client is served, and what it holds of it.
pub(super) fn served(service: &Service, asked: &BTreeMap<String, String>) -> Value {
    let Some(proxy) = asked.get("proxyID") else {
        return json!({"error": "which one? ?proxyID=, as /debug/connections names them"});
    };
    let clients = service.clients();
    // A proxy that has come back may have its last stream still.
    let Some(status) = clients.iter().filter(|client| is_named(client, proxy)).min_by_key(|client| client.age) else {
        return json!({"error": format!("`{proxy}` is not connected")});
    };
    let mut resources = Vec::new();
    service.visit(status.stream, &mut |holding| {
        if !resource::is_meant(holding.type_url, holding.name, asked) {
            return;
        }
        let Holding { type_url, name, entry, standing, sent, accepted, reason, .. } = &holding;
        resources.push(json!({
            "type": type_url,
            "name": name,
            "standing": format!("{standing:?}"),
            "version": entry.map(|entry| &*entry.version),
            "sent": sent,
            "accepted": accepted,
            "reason": reason.as_deref(),
            "content": entry.map(|entry| resource::content(type_url, &entry.body)),
        }));
    });
    resources.sort_by_cached_key(|one| (one["type"].to_string(), one["name"].to_string()));
    let mut shown = head(status);
    shown["resources"] = Value::Array(resources);
    shown
}

/// By its node id, the `<name>.<namespace>` in it as istioctl says it, or by what it has proved to be.
fn is_named(client: &ClientStatus, name: &str) -> bool {
    client.node == name || client.client == name || client.node.split('~').nth(2).is_some_and(|short| short == name)
}
