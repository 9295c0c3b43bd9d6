use serde_json::{Value, json};

use super::condition::Said;
use super::context::{Context, Ours};
use super::{Statuses, listener};
use crate::attach::{Listener, Set};
use crate::resource::{Kind, ObjectId};

/// The statuses of the ListenerSets that name a Gateway of ours.
pub(super) fn add(context: &Context<'_>, all: &mut Statuses) {
    for ours in context.gateways.values() {
        for set in &ours.attachment.sets {
            let Some((_, source)) = context.input.world.listener_sets.get(&set.name) else { continue };
            let id = ObjectId { kind: Kind::ListenerSet, name: set.name.clone() };
            let listeners: Vec<&Listener> = ours.attachment.listeners.iter().filter(|one| one.owner == id).collect();
            let (accepted, programmed) = judge(set, ours, &listeners);
            let mut conditions = context.conditions(Kind::ListenerSet, &source.metadata);
            conditions.say("Accepted", accepted);
            conditions.say("Programmed", programmed.clone());
            let generation = context.generation(Kind::ListenerSet, &source.metadata);
            let listeners: Vec<Value> =
                listeners.into_iter().map(|one| listener::status(one, generation, &programmed)).collect();
            all.insert(id, json!({"conditions": conditions.finish(), "listeners": listeners}));
        }
    }
}

/// Whether a ListenerSet is accepted, and whether it is served. One whose certificates cannot be used is as one that cannot be
/// served.
fn judge(set: &Set, ours: &Ours<'_>, listeners: &[&Listener]) -> (Said, Said) {
    if !set.is_allowed {
        let said = Said::no("NotAllowed", "the Gateway does not admit it (allowedListeners)");
        return (said.clone(), said);
    }
    if !ours.accepted.is_true {
        let accepted = Said::no("ParentNotAccepted", ours.accepted.message.clone());
        return (accepted, Said::no("ParentNotProgrammed", ours.programmed.message.clone()));
    }
    let bad: Vec<&str> = listeners.iter().filter(|one| !one.is_served()).map(|one| one.name.as_str()).collect();
    if bad.len() == listeners.len() {
        let message = "none of its listeners can be served";
        let ports = listeners.iter().filter_map(|one| one.accepted.as_ref().err());
        let is_for_ports =
            !listeners.is_empty() && ports.filter(|fault| fault.reason() == "PortUnavailable").count() == bad.len();
        let reason = if is_for_ports { "PortUnavailable" } else { "ListenersNotValid" };
        return (Said::no("ListenersNotValid", message), Said::no(reason, message));
    }
    let accepted = match bad.is_empty() {
        true => Said::yes("Accepted", "the ListenerSet is accepted"),
        false => Said::yes("ListenersNotValid", format!("listeners that cannot be served: {}", bad.join(", "))),
    };
    let programmed = match ours.reached.fault.as_ref() {
        None => Said::yes("Programmed", "its listeners are served"),
        Some(fault) => Said::no("ParentNotProgrammed", fault.message.clone()),
    };
    (accepted, programmed)
}
