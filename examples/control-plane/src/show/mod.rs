//! What the admin endpoint shows of discovery.

mod client;
mod protobuf;
mod resource;
mod skew;

use std::collections::BTreeMap;
use std::sync::Arc;

use mesh_core::live::Live;
use mesh_host::admin::{Dump, Page, page};
use mesh_xds::server::{Cache, Service};
use serde_json::{Value, json};

use crate::analyze::Analyzed;
use crate::caller::Assignments;
use crate::drift;
use crate::finding::Finding;
use crate::source::Places;
use crate::status::{self, Statuses};
use crate::world::World;

/// What the pages are made of.
#[derive(Clone)]
pub(crate) struct Shown {
    pub(crate) cache: Cache,
    pub(crate) service: Service,
    pub(crate) assignments: Live<Assignments>,
    pub(crate) findings: Live<Vec<Finding>>,
    pub(crate) analyzed: Live<Analyzed>,
    pub(crate) statuses: Live<Statuses>,
    /// Where the manifests of each source stand.
    pub(crate) places: Places,
    pub(crate) sources: Dump,
}

#[cfg(test)]
pub(crate) use resource::content;

/// A page: where it is, what it is for, what it shows.
type Entry = (&'static str, &'static str, Page);

impl Shown {
    /// The pages beside those that every admin endpoint has.
    pub(crate) fn pages(self, explain: Page) -> Arc<[Entry]> {
        let all = Arc::new(self);
        let simple = |make: fn(&Self) -> Value| -> Page {
            let all = Arc::clone(&all);
            page(Arc::new(move || make(&all)))
        };
        let asked = |make: fn(&Self, &BTreeMap<String, String>) -> Value| -> Page {
            let all = Arc::clone(&all);
            Arc::new(move |parameters| make(&all, parameters))
        };
        Arc::from([
            (
                "/findings",
                "what is wrong in the configuration",
                simple(|all| {
                    let (read, analyzed) = (all.findings.load(), all.analyzed.load());
                    let skew = skew::skew(&all.service.clients());
                    let findings: Vec<&Finding> = read.iter().chain(&*analyzed.findings).chain(&skew).collect();
                    serde_json::to_value(findings).unwrap_or_default()
                }),
            ),
            (
                "/debug/world",
                "digests of the objects in force, for `drift`; ?object=Kind namespace/name for one with its content",
                asked(|all, asked| {
                    let in_force = all.assignments.snapshot();
                    match asked.get("object") {
                        Some(object) => drift::object(in_force.world(), &all.places, object),
                        None => drift::world(in_force.world(), all.analyzed.load().since, &all.findings.load()),
                    }
                }),
            ),
            ("/explain", "whether ?from= would reach ?to=, by which way, and why", explain),
            (
                "/status",
                "what is said of each object: conditions, attached routes, parents; ?object=Kind namespace/name for one",
                asked(|all, asked| match asked.get("object") {
                    Some(object) => status::one(&all.statuses.load(), object),
                    None => status::list(&all.statuses.load()),
                }),
            ),
            ("/sources", "where the configuration comes from, and how that fares", simple(|all| (all.sources)())),
            ("/clients", "who is connected, and how far they are", simple(|all| client::progress(&all.service))),
            (
                "/debug/syncz",
                "how all that each client should have stands with it; ?proxyID= for one",
                asked(|all, asked| client::standing(&all.service, asked.get("proxyID").map(String::as_str))),
            ),
            (
                "/debug/config_dump",
                "what one client is served, with what it holds of it: ?proxyID=, ?type=, ?name=",
                asked(|all, asked| client::served(&all.service, asked)),
            ),
            (
                "/debug/resources",
                "what is served to node proxies, with contents: ?type=, ?name=",
                asked(|all, asked| resource::all(&all.cache, asked)),
            ),
            (
                "/debug/configz",
                "the objects in force, and where they stand",
                simple(|all| objects(all.assignments.load().world())),
            ),
            ("/debug/endpointz", "the endpoints of each service", simple(|all| resource::endpoints(&all.cache))),
            ("/debug/authorizationz", "the policies in force", simple(|all| resource::policies(&all.cache))),
            ("/debug/connections", "open discovery streams", simple(|all| client::connections(&all.service))),
        ])
    }
}

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

fn objects(world: &World) -> Value {
    let all = world.changed_since(&World::default());
    let object = |id: &crate::resource::ObjectId| {
        let (origin, digest) = world.origin(id)?;
        Some(json!({
            "kind": id.kind.to_string(),
            "namespace": id.name.namespace.as_str(),
            "name": id.name.name.as_str(),
            "origin": origin,
            "digest": format!("{digest:032x}"),
        }))
    };
    all.iter().filter_map(object).collect()
}
