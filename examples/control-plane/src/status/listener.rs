//! A listener's entry in the status of its Gateway or ListenerSet.

use serde_json::{Value, json};

use super::condition::{Conditions, Said};
use crate::attach::{Conflict, Listener, ListenerFault, RefFault};
use crate::resource::Kind;

/// Whether a listener can be served, its certificates aside.
pub(super) fn is_accepted(listener: &Listener) -> bool {
    listener.accepted.is_ok() && listener.conflict.is_none()
}

/// The entry, given whether its Gateway or ListenerSet is served.
pub(super) fn status(listener: &Listener, generation: Option<i64>, parent: &Said) -> Value {
    let mut conditions = Conditions::of(generation);
    let accepted = accepted(listener);
    let resolved = resolved(listener);
    conditions.say("Programmed", programmed(listener, &accepted, parent));
    conditions.say("Accepted", accepted);
    conditions.say("ResolvedRefs", resolved);
    conditions.say("Conflicted", conflicted(listener));
    if listener.overlaps {
        let message = "another listener of the port ends TLS for hosts within its own, or around it";
        conditions.say("OverlappingTLSConfig", Said::yes("OverlappingHostnames", message));
    }
    let kinds: Vec<Value> =
        listener.kinds.iter().map(|kind| json!({"group": kind.group(), "kind": kind.name()})).collect();
    json!({
        "name": listener.name,
        "supportedKinds": kinds,
        "attachedRoutes": listener.accepted_routes(),
        "conditions": conditions.finish(),
    })
}

fn in_set(listener: &Listener) -> bool {
    listener.owner.kind == Kind::ListenerSet
}

fn accepted(listener: &Listener) -> Said {
    if let Err(fault) = &listener.accepted {
        let reason = match fault {
            ListenerFault::Value(_) | ListenerFault::NoAuthority if in_set(listener) => "Invalid",
            fault => fault.reason(),
        };
        return Said::no(reason, fault.to_string());
    }
    match listener.conflict {
        Some(conflict) => Said::no(of_conflict(conflict), text_of(conflict)),
        None => Said::yes("Accepted", "the listener is accepted"),
    }
}

fn programmed(listener: &Listener, accepted: &Said, parent: &Said) -> Said {
    if !accepted.is_true {
        let of_set = in_set(listener) && (listener.conflict.is_some() || accepted.reason == "PortUnavailable");
        return Said::no(if of_set { accepted.reason } else { "Invalid" }, accepted.message.clone());
    }
    if let Some(fault) = listener.certificate_fault() {
        return Said::no("Invalid", fault.to_string());
    }
    match parent.is_true {
        true => Said::yes("Programmed", "the listener is served"),
        false => Said::no("Pending", parent.message.clone()),
    }
}

/// Whether all that a listener refers to is there and may be used.
pub(super) fn resolved(listener: &Listener) -> Said {
    if let Some(fault) = listener.certificate_fault() {
        let reason = match fault {
            RefFault::NotPermitted(_) => "RefNotPermitted",
            _ => "InvalidCertificateRef",
        };
        return Said::no(reason, fault.to_string());
    }
    if let Some(fault) = listener.authority_fault() {
        let reason = match fault {
            RefFault::NotPermitted(_) => "RefNotPermitted",
            RefFault::Kind(_) => "InvalidCACertificateKind",
            _ => "InvalidCACertificateRef",
        };
        return Said::no(reason, fault.to_string());
    }
    match listener.invalid_kinds.is_empty() {
        true => Said::yes("ResolvedRefs", "all references are resolved"),
        false => {
            let message = format!("kinds that its protocol does not have: {}", listener.invalid_kinds.join(", "));
            Said::no("InvalidRouteKinds", message)
        }
    }
}

fn conflicted(listener: &Listener) -> Said {
    match listener.conflict {
        Some(Conflict::Both) if in_set(listener) => Said::yes("ListenerConflict", text_of(Conflict::Both)),
        Some(conflict) => Said::yes(of_conflict(conflict), text_of(conflict)),
        None => Said::no("NoConflicts", "it can be told from all other listeners"),
    }
}

const fn of_conflict(conflict: Conflict) -> &'static str {
    match conflict {
        Conflict::Hostname => "HostnameConflict",
        Conflict::Protocol | Conflict::Both => "ProtocolConflict",
    }
}

const fn text_of(conflict: Conflict) -> &'static str {
    match conflict {
        Conflict::Hostname => "another listener is for the same host and port",
        Conflict::Protocol => "another listener speaks something else on the port",
        Conflict::Both => "other listeners are for the same host and port, or speak something else on the port",
    }
}
