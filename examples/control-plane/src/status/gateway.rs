use mesh_core::name::NamespacedName;
use serde_json::{Value, json};

use super::addresses::Reached;
use super::condition::Said;
use super::context::{Context, Ours, id};
use super::{Statuses, class, listener};
use crate::attach::{Attachment, Listener, RefFault};
use crate::resource::{Gateway, Kind, ObjectId};
use crate::world::World;

/// The statuses of the Gateways that are ours.
pub(super) fn add(context: &Context<'_>, all: &mut Statuses) {
    for ours in context.gateways.values() {
        all.insert(id(Kind::Gateway, &ours.gateway.metadata), status(context, ours));
    }
}

/// Whether a Gateway can be served.
pub(super) fn accepted(world: &World, gateway: &Gateway, attachment: &Attachment) -> Said {
    let namespace = gateway.metadata.namespace.as_str();
    let parameters = gateway.spec.infrastructure.parameters_ref.as_ref();
    if let Some(fault) = parameters.and_then(|parameters| class::parameters_fault(world, parameters, Some(namespace))) {
        return Said::no("InvalidParameters", fault);
    }
    let is_supported = |kind: &str| matches!(kind, "IPAddress" | "Hostname");
    let types = gateway.spec.addresses.iter().filter_map(|address| address.r#type.as_deref());
    if let Some(kind) = types.into_iter().find(|kind| !is_supported(kind)) {
        return Said::no("UnsupportedAddress", format!("addresses of type `{kind}` are not supported"));
    }
    let own: Vec<&Listener> = own(attachment).collect();
    let bad: Vec<&str> = own.iter().filter(|one| !listener::is_accepted(one)).map(|one| one.name.as_str()).collect();
    match (own.len(), bad.len()) {
        (0, _) => Said::no("Invalid", "there is no listener"),
        (_, 0) => Said::yes("Accepted", "the Gateway is accepted"),
        (all, bad) if all == bad => Said::no("ListenersNotValid", "none of its listeners can be served"),
        _ => Said::yes("ListenersNotValid", format!("listeners that cannot be served: {}", bad.join(", "))),
    }
}

/// Whether a Gateway is served, or about to be.
pub(super) fn programmed(accepted: &Said, attachment: &Attachment, reached: &Reached) -> Said {
    if !accepted.is_true {
        return Said::no("Invalid", format!("the Gateway is not accepted: {}", accepted.message));
    }
    if let Some(fault) = &reached.fault {
        return fault.clone();
    }
    match attachment.listeners.iter().any(Listener::is_served) {
        true => Said::yes("Programmed", "its listeners are served"),
        false => Said::no("Invalid", "none of its listeners can be served"),
    }
}

/// The listeners of the Gateway itself.
fn own(attachment: &Attachment) -> impl Iterator<Item = &Listener> {
    attachment.listeners.iter().filter(|listener| listener.owner.kind == Kind::Gateway)
}

fn status(context: &Context<'_>, ours: &Ours<'_>) -> Value {
    let Ours { gateway, attachment, reached, accepted, programmed } = ours;
    let mut conditions = context.conditions(Kind::Gateway, &gateway.metadata);
    conditions.say("Accepted", accepted.clone());
    conditions.say("Programmed", programmed.clone());
    conditions.say("ResolvedRefs", resolved(attachment));
    let is_optional = |listener: &Listener| {
        let clients = listener.tls.as_ref().and_then(|tls| tls.clients.as_ref());
        clients.is_some_and(|clients| clients.is_optional)
    };
    if attachment.listeners.iter().any(is_optional) {
        let message = "clients are let in without a certificate that is believed";
        conditions.say("InsecureFrontendValidationMode", Said::yes("ConfigurationChanged", message));
    }
    let generation = context.generation(Kind::Gateway, &gateway.metadata);
    let listeners: Vec<Value> = own(attachment).map(|one| listener::status(one, generation, programmed)).collect();
    let mut status = json!({
        "conditions": conditions.finish(),
        "listeners": listeners,
        "attachedListenerSets": if accepted.is_true { attached_sets(attachment) } else { 0 },
    });
    let addresses = reached.addresses.as_ref();
    let addresses =
        addresses.map(|all| all.iter().map(|(kind, value)| json!({"type": kind, "value": value})).collect());
    if let (Some(addresses), Some(fields)) = (addresses, status.as_object_mut()) {
        fields.insert("addresses".to_owned(), Value::Array(addresses));
    }
    status
}

/// How many ListenerSets it lets add listeners, of which one can be served at least.
fn attached_sets(attachment: &Attachment) -> usize {
    let serves = |name: &NamespacedName| {
        let owner = ObjectId { kind: Kind::ListenerSet, name: name.clone() };
        attachment.listeners.iter().any(|listener| listener.owner == owner && listener.is_served())
    };
    attachment.sets.iter().filter(|set| set.is_allowed && serves(&set.name)).count()
}

fn resolved(attachment: &Attachment) -> Said {
    if let Some(Err(fault)) = &attachment.client_certificate {
        let reason = match fault {
            RefFault::NotPermitted(_) => "RefNotPermitted",
            _ => "InvalidClientCertificateRef",
        };
        return Said::no(reason, format!("tls.backend.clientCertificateRef: {fault}"));
    }
    let bad: Vec<&str> =
        own(attachment).filter(|one| !listener::resolved(one).is_true).map(|one| one.name.as_str()).collect();
    match bad.is_empty() {
        true => Said::yes("ResolvedRefs", "all references are resolved"),
        false => {
            Said::no("ListenersNotResolved", format!("listeners with references that are not: {}", bad.join(", ")))
        }
    }
}
