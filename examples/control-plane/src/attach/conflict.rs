//! Listeners that cannot be told apart.

use std::collections::BTreeMap;

use super::listener::{Listener, Protocol};

/// Why a listener cannot be told from another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Conflict {
    /// They are for the same host.
    Hostname,
    /// They speak different things on one port.
    Protocol,
    /// Both, with different other listeners.
    Both,
}

/// Says of each listener whether it is in conflict. The first `own` are those of the Gateway itself: of two of these, none
/// wins. Of the others, which come from ListenerSets, the earlier one wins.
pub(super) fn settle(listeners: &mut [Listener], own: usize) {
    // Only those of one port can be in conflict.
    let mut by_port: BTreeMap<u16, Vec<usize>> = BTreeMap::new();
    for (index, listener) in listeners.iter().enumerate().filter(|(_, listener)| listener.accepted.is_ok()) {
        by_port.entry(listener.port).or_default().push(index);
    }
    for of_port in by_port.into_values() {
        for (place, index) in of_port.iter().enumerate() {
            let is_rival = |other: &&usize| {
                if *index < own {
                    return **other < own && *other != index;
                }
                // One that has lost takes nothing from those after it; what the Gateway itself has counts all the same.
                **other < own || (*other < index && listeners.get(**other).is_some_and(|one| one.conflict.is_none()))
            };
            let candidates = if *index < own { of_port.as_slice() } else { of_port.get(..place).unwrap_or_default() };
            let rivals = candidates.iter().filter(is_rival).filter_map(|other| listeners.get(*other));
            let conflict =
                listeners.get(*index).and_then(|one| rivals.filter_map(|rival| clash(one, rival)).reduce(both));
            if let Some(listener) = listeners.get_mut(*index) {
                listener.conflict = conflict;
            }
        }
        mark_overlaps(listeners, &of_port);
    }
}

/// Why two listeners of one port cannot be told apart; `None` if they can.
fn clash(one: &Listener, other: &Listener) -> Option<Conflict> {
    use Protocol::{Http, Https, Tls};
    let is_one_host = one.hostname == other.hostname;
    match (one.protocol, other.protocol) {
        (Http, Http) | (Https, Https) | (Tls, Tls) => is_one_host.then_some(Conflict::Hostname),
        // By server name.
        (Https, Tls) | (Tls, Https) => is_one_host.then_some(Conflict::Protocol),
        _ => Some(Conflict::Protocol),
    }
}

fn both(one: Conflict, other: Conflict) -> Conflict {
    if one == other { one } else { Conflict::Both }
}

/// Listeners that end TLS for names of which one is within the other: a client may use a connection of one for the other.
fn mark_overlaps(listeners: &mut [Listener], of_port: &[usize]) {
    let of_tls = |listener: &Listener| {
        listener.conflict.is_none() && matches!(listener.protocol, Protocol::Https | Protocol::Tls)
    };
    for index in of_port {
        let Some(one) = listeners.get(*index).filter(|one| of_tls(one)) else { continue };
        let within = |other: &Listener| match (&one.hostname, &other.hostname) {
            (Some(one), Some(other)) => mesh_core::gateway::intersection(Some(one), other).is_some(),
            _ => true,
        };
        let others = of_port.iter().filter(|other| *other != index).filter_map(|other| listeners.get(*other));
        let overlaps = others.filter(|other| of_tls(other)).any(within);
        if let Some(listener) = listeners.get_mut(*index) {
            listener.overlaps = overlaps;
        }
    }
}
