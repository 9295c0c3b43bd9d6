//! One Gateway with its ListenerSets and routes.

use std::collections::{BTreeMap, BTreeSet};

use mesh_core::gateway::intersection;
use mesh_core::name::{Hostname, NamespacedName};

use super::certificate::certificate;
use super::conflict::settle;
use super::listener::{Attached, Listener, ListenerFault};
use super::{Controller, Read, RefFault, Referrer, Refusal, Role, Route, parent};
use crate::resource::{self, AllowedNamespaces, Gateway, Kind, ListenerSet, ObjectId, ParentRef};

/// A Gateway has so many listeners at most, with those of its ListenerSets.
const MOST_LISTENERS: usize = 1024;

/// A Gateway, and all that belongs to it.
#[derive(Debug, Clone, PartialEq)]
pub struct Attachment {
    /// What it is.
    pub role: Role,
    /// Its own listeners, then those of its ListenerSets, the one that counts before the other first.
    pub listeners: Vec<Listener>,
    /// The ListenerSets that name it, in the same order.
    pub sets: Vec<Set>,
    /// The routes that name it or one of its ListenerSets, with what becomes of each reference that does.
    pub routes: BTreeMap<ObjectId, Vec<Parent>>,
    /// The Secret with the certificate that backends are shown.
    pub client_certificate: Option<Result<NamespacedName, RefFault>>,
}

/// A ListenerSet that names a Gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Set {
    /// Its name.
    pub name: NamespacedName,
    /// Whether the Gateway lets it add listeners.
    pub is_allowed: bool,
}

/// What becomes of a reference from a route to a parent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parent {
    /// Which of the route's `parentRefs` it is, counted from 0.
    pub index: usize,
    /// The Gateway or ListenerSet.
    pub parent: ObjectId,
    /// Whether the route attaches to a listener of it.
    pub outcome: Result<(), Refusal>,
}

/// All that belongs to a Gateway; `None` if it is not there or of a class that is not ours.
#[must_use]
pub fn attach(read: &impl Read, controller: &Controller, key: &NamespacedName) -> Option<Attachment> {
    let gateway = read.gateway(key)?;
    let role = controller.role_of(read, gateway)?;
    let own = ObjectId { kind: Kind::Gateway, name: key.clone() };
    let naming = read.naming(&own);
    let sets = sets(read, gateway, role, &naming);

    let mut sources: Vec<&resource::Listener> = gateway.spec.listeners.iter().collect();
    let mut owners = vec![own.clone(); sources.len()];
    for (set, source) in sets.iter().filter(|(set, _)| set.is_allowed) {
        let id = ObjectId { kind: Kind::ListenerSet, name: set.name.clone() };
        sources.extend(&source.spec.listeners);
        owners.resize(sources.len(), id);
    }
    let one = |(owner, source): (&ObjectId, &&resource::Listener)| {
        Listener::new(read, role, (key, owner), source, &gateway.spec.tls.frontend)
    };
    let mut listeners: Vec<Listener> = owners.iter().zip(&sources).map(one).collect();
    for listener in listeners.iter_mut().skip(MOST_LISTENERS).filter(|listener| listener.accepted.is_ok()) {
        listener.accepted = Err(ListenerFault::TooMany(MOST_LISTENERS));
    }
    settle(&mut listeners, gateway.spec.listeners.len());

    let sets: Vec<Set> = sets.into_iter().map(|(set, _)| set).collect();
    let mut parents = BTreeMap::from([(own.clone(), true)]);
    let mut named: BTreeSet<ObjectId> = naming.into_iter().filter(|id| id.kind != Kind::ListenerSet).collect();
    for set in &sets {
        let id = ObjectId { kind: Kind::ListenerSet, name: set.name.clone() };
        named.extend(read.naming(&id));
        parents.insert(id, set.is_allowed);
    }
    let mut found: Vec<Route<'_>> = named.iter().filter_map(|id| Route::find(read, id)).collect();
    found.sort_by(|one, other| one.rank().cmp(&other.rank()));
    let mut routes = BTreeMap::new();
    for route in &found {
        let of_route = join(read, route, &parents, &sources, &mut listeners);
        routes.insert(route.id.clone(), of_route);
    }
    let from = Referrer { kind: Kind::Gateway, namespace: key.namespace.as_str() };
    let client_certificate = gateway.spec.tls.backend.client_certificate_ref.as_ref();
    let client_certificate = client_certificate.map(|one| certificate(read, from, one));
    Some(Attachment { role, listeners, sets, routes, client_certificate })
}

/// The ListenerSets among those that name a Gateway, the older before the younger.
fn sets<'a>(read: &'a impl Read, gateway: &Gateway, role: Role, naming: &[ObjectId]) -> Vec<(Set, &'a ListenerSet)> {
    let allowed = &gateway.spec.allowed_listeners.namespaces;
    let may_any = role == Role::Gateway && allowed.from.as_deref().is_some_and(|from| from != "None");
    let found = naming.iter().filter(|id| id.kind == Kind::ListenerSet).filter_map(|id| {
        let source = read.listener_set(&id.name)?;
        let is_allowed = may_any && admits(read, allowed, &gateway.metadata.namespace, id.name.namespace.as_str());
        Some((Set { name: id.name.clone(), is_allowed }, source))
    });
    let mut found: Vec<_> = found.collect();
    found.sort_by(|(one, a), (other, b)| (a.metadata.created(), &one.name).cmp(&(b.metadata.created(), &other.name)));
    found
}

fn admits(read: &impl Read, allowed: &AllowedNamespaces, own: &str, namespace: &str) -> bool {
    allowed.admit(own, namespace, || read.namespace_labels(namespace))
}

/// Attaches a route to the listeners that it is for.
fn join(
    read: &impl Read,
    route: &Route<'_>,
    parents: &BTreeMap<ObjectId, bool>,
    sources: &[&resource::Listener],
    listeners: &mut [Listener],
) -> Vec<Parent> {
    let namespace = route.metadata.namespace.as_str();
    let unservable = route.rule_faults().refusal();
    let mut of_route = Vec::new();
    for (index, reference) in route.parents.iter().enumerate() {
        let Some(to) = parent(namespace, reference) else { continue };
        let Some(is_allowed) = parents.get(&to) else { continue };
        let found = match is_allowed {
            true => choose(read, route, (&to, reference), sources, listeners),
            false => Err(Refusal::NoMatchingParent(format!("{to} is not attached to its Gateway"))),
        };
        let outcome = found.and_then(|chosen| {
            for (at, hostnames) in chosen {
                let Some(listener) = listeners.get_mut(at) else { continue };
                // Its references come one after the other.
                if listener.routes.last().is_none_or(|last| last.route != route.id) {
                    let is_accepted = unservable.is_none();
                    listener.routes.push(Attached { route: route.id.clone(), hostnames, is_accepted });
                }
            }
            unservable.clone().map_or(Ok(()), Err)
        });
        of_route.push(Parent { index, parent: to, outcome });
    }
    of_route
}

/// The listeners of a parent that a route attaches to, each with the hosts that both are for.
fn choose(
    read: &impl Read,
    route: &Route<'_>,
    (to, reference): (&ObjectId, &ParentRef),
    sources: &[&resource::Listener],
    listeners: &[Listener],
) -> Result<Vec<(usize, Vec<Hostname>)>, Refusal> {
    let selected: Vec<(usize, &Listener)> = listeners
        .iter()
        .enumerate()
        .filter(|(_, one)| one.owner == *to)
        .filter(|(_, one)| reference.section_name.as_ref().is_none_or(|section| *section == one.name))
        .filter(|(_, one)| reference.port.is_none_or(|port| port == one.port))
        .collect();
    if selected.is_empty() {
        return Err(Refusal::NoMatchingParent(format!("{to} has no listener of this name and port")));
    }
    let own = to.name.namespace.as_str();
    let allows = |at: usize, one: &Listener| {
        let allowed = sources.get(at).map(|source| &source.allowed_routes.namespaces);
        one.kinds.contains(&route.id.kind)
            && allowed.is_some_and(|allowed| admits(read, allowed, own, &route.metadata.namespace))
    };
    let allowed: Vec<_> = selected.into_iter().filter(|(at, one)| allows(*at, one)).collect();
    if allowed.is_empty() {
        let (kind, namespace) = (route.id.kind, &route.metadata.namespace);
        let message = format!("no listener of {to} admits routes of kind {kind} and namespace {namespace}");
        return Err(Refusal::NotAllowed(message));
    }
    let common = |one: &Listener| {
        let common: Vec<_> =
            route.hostnames.iter().filter_map(|host| intersection(one.hostname.as_ref(), host)).collect();
        (route.hostnames.is_empty() || !common.is_empty()).then_some(common)
    };
    let matching = allowed.into_iter().filter_map(|(at, one)| Some((at, one, common(one)?)));
    let matching: Vec<_> = matching.collect();
    if matching.is_empty() {
        return Err(Refusal::NoMatchingHostname);
    }
    let mut rival = None;
    let mut chosen = Vec::new();
    for (at, one, hostnames) in matching {
        match rival_of(route, &hostnames, one) {
            Some(found) => rival = Some(found),
            None => chosen.push((at, hostnames)),
        }
    }
    match rival.filter(|_| chosen.is_empty()) {
        Some(rival) => Err(Refusal::Conflicted(format!("{rival} has the same hosts; the two kinds are not merged"))),
        None => Ok(chosen),
    }
}

/// A route that is attached already, and with which another is not merged: one of the other kind for requests, for a host that
/// both are for.
fn rival_of<'a>(route: &Route<'_>, hostnames: &[Hostname], listener: &'a Listener) -> Option<&'a ObjectId> {
    let other = match route.id.kind {
        Kind::HttpRoute => Kind::GrpcRoute,
        Kind::GrpcRoute => Kind::HttpRoute,
        _ => return None,
    };
    let meets = |attached: &&Attached| {
        let theirs = &attached.hostnames;
        let any = |host: &Hostname| theirs.iter().any(|their| intersection(Some(host), their).is_some());
        hostnames.is_empty() || theirs.is_empty() || hostnames.iter().any(any)
    };
    let rivals = listener.routes.iter().filter(|attached| attached.route.kind == other);
    rivals.filter(|attached| attached.route != route.id).find(meets).map(|attached| &attached.route)
}
