use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use super::Statuses;
use super::condition::Said;
use super::context::Context;
use crate::attach::{Backend, BackendFault, BackendUse, Refusal, Route, RuleFaults, of_service};
use crate::resource::{Kind, ObjectId, ParentRef};
use crate::translate::binding::{self, Object, Traffic};

/// What is to be said of a reference to a parent.
struct Entry {
    index: usize,
    parent: ObjectId,
    outcome: Result<(), Refusal>,
}

/// The statuses of the routes that have a parent of ours.
pub(super) fn add(context: &Context<'_>, all: &mut Statuses) {
    let mut entries: BTreeMap<ObjectId, Vec<Entry>> = BTreeMap::new();
    for ours in context.gateways.values() {
        for (route, parents) in &ours.attachment.routes {
            let of_route = entries.entry(route.clone()).or_default();
            of_route.extend(parents.iter().map(|one| Entry {
                index: one.index,
                parent: one.parent.clone(),
                outcome: one.outcome.clone(),
            }));
        }
    }
    let world = context.input.world;
    let services = world.services.iter().map(|(key, _)| ObjectId { kind: Kind::Service, name: key.clone() });
    let hosts = world.service_entries.iter().map(|(key, _)| ObjectId { kind: Kind::ServiceEntry, name: key.clone() });
    for parent in services.chain(hosts) {
        for one in of_service(&context.read, &parent) {
            let entry = Entry { index: one.index, parent: parent.clone(), outcome: one.outcome };
            entries.entry(one.route).or_default().push(entry);
        }
    }
    for (route, mut entries) in entries {
        let Some(found) = Route::find(&context.read, &route) else { continue };
        entries.sort_by_key(|entry| entry.index);
        let parents = Parents { context, route: &found, faults: found.rule_faults(), resolved: [None, None] };
        all.insert(route, parents.status(&entries));
    }
}

/// The entries of a route, as they come about.
struct Parents<'c, 'a> {
    context: &'c Context<'a>,
    route: &'c Route<'c>,
    faults: RuleFaults,
    /// Whether its backends are resolved: in the mesh, and at Gateways.
    resolved: [Option<Said>; 2],
}

impl Parents<'_, '_> {
    fn status(mut self, entries: &[Entry]) -> Value {
        let one = |entry: &Entry| self.entry(entry);
        json!({"parents": entries.iter().filter_map(one).collect::<Vec<Value>>()})
    }

    fn entry(&mut self, entry: &Entry) -> Option<Value> {
        let route = self.route;
        let reference = route.parents.get(entry.index)?;
        let mut conditions = self.context.conditions(route.id.kind, route.metadata);
        conditions.say(
            "Accepted",
            match &entry.outcome {
                Ok(()) => Said::yes("Accepted", "the route is accepted"),
                Err(refusal) => Said::no(refusal.reason(), refusal.to_string()),
            },
        );
        let is_mesh = matches!(entry.parent.kind, Kind::Service | Kind::ServiceEntry);
        conditions.say("ResolvedRefs", self.resolved(!is_mesh));
        if entry.outcome.is_ok()
            && let Some(said) = self.partly_invalid()
        {
            conditions.say("PartiallyInvalid", said);
        }
        if is_mesh {
            conditions.say("ResolvedWaypoints", self.waypoint(&entry.parent));
        }
        Some(json!({"parentRef": written(reference), "conditions": conditions.finish()}))
    }

    /// What is wrong with a part of it, whose requests are answered with errors, or with its newest version.
    fn partly_invalid(&self) -> Option<Said> {
        if let Some(finding) = self.context.refused(&self.route.id) {
            let message = format!("Fall Back to the last good version of the route: {}", finding.text());
            return Some(Said::yes("UnsupportedValue", message));
        }
        let texts = self.faults.faults.iter().map(|(rule, fault)| format!("rules[{rule}]: {fault}"));
        let texts: Vec<String> = texts.collect();
        let message = format!("Dropped Rule, its requests are answered with an error: {}", texts.join("; "));
        (!texts.is_empty()).then(|| Said::yes("UnsupportedValue", message))
    }

    fn resolved(&mut self, at_gateway: bool) -> Said {
        let (context, route) = (self.context, self.route);
        let place = &mut self.resolved[usize::from(at_gateway)];
        place.get_or_insert_with(|| resolved(route.backends(&context.read, at_gateway))).clone()
    }

    /// Whether somebody applies the route to what is addressed to its parent.
    fn waypoint(&self, parent: &ObjectId) -> Said {
        let world = self.context.input.world;
        let service = world.services.get(&parent.name).map(|(_, service)| &service.metadata);
        let entry = world.service_entries.get(&parent.name).map(|(_, entry)| &entry.metadata);
        let found = if parent.kind == Kind::Service { service } else { entry };
        let bound = found.and_then(|one| binding::bound(world, Object::new(Traffic::Service, one)).waypoint);
        match bound {
            Some(waypoint) => Said::yes("ResolvedWaypoints", format!("Gateway {waypoint} is the waypoint")),
            None => {
                let message =
                    format!("{parent} has no waypoint (label `istio.io/use-waypoint`); the route has no effect");
                Said::no("MissingUseWaypointLabel", message)
            }
        }
    }
}

/// Whether all backends are resolved. Of several faults the one with the gravest reason is named first, and all of them are.
fn resolved(backends: Vec<(usize, BackendUse, Result<Backend, BackendFault>)>) -> Said {
    let faults = backends.into_iter().filter_map(|(rule, used, found)| Some((found.err()?, rule, used)));
    let mut faults: Vec<(BackendFault, usize, BackendUse)> = faults.collect();
    faults.sort_by(|(one, a, _), (other, b, _)| (one, a).cmp(&(other, b)));
    let Some((first, ..)) = faults.first() else {
        return Said::yes("ResolvedRefs", "all references are resolved");
    };
    let text = |(fault, rule, used): &(BackendFault, usize, BackendUse)| match used {
        BackendUse::Traffic => format!("rules[{rule}]: {fault}"),
        BackendUse::Mirror => format!("rules[{rule}], mirror: {fault}"),
    };
    let texts: Vec<String> = faults.iter().map(text).collect();
    Said::no(first.reason(), texts.join("; "))
}

/// A reference as it was written, with its group and kind, which may have been left out.
fn written(reference: &ParentRef) -> Value {
    let ParentRef { group, kind, namespace, name, section_name, port } = reference;
    let mut fields = Map::new();
    fields.insert("group".to_owned(), group.as_deref().unwrap_or("gateway.networking.k8s.io").into());
    fields.insert("kind".to_owned(), kind.as_deref().unwrap_or("Gateway").into());
    let optional = [("namespace", namespace.clone().map(Value::from)), ("name", Some(name.clone().into()))];
    let more = [("sectionName", section_name.clone().map(Value::from)), ("port", port.map(Value::from))];
    for (field, value) in optional.into_iter().chain(more) {
        if let Some(value) = value {
            fields.insert(field.to_owned(), value);
        }
    }
    Value::Object(fields)
}
