//! What PeerAuthentications come to: policies that refuse peers without identity.

use std::collections::BTreeMap;

use mesh_core::authz::{Action, Clause, Match, Policy, Rule, Scope};
use mesh_core::name::{NamespacedName, Text};
use mesh_core::string_match::StringMatch;

use super::facts::{By, Reader};
use crate::resource::{MtlsMode, PeerAuthentication};

/// Name of the policy that refuses peers without identity. Istio's, so that both control planes say the same.
pub const STRICT_POLICY: &str = "istio_converted_static_strict";

/// The policy that a workload must name that is selected by some, if any.
pub(super) fn named(
    reader: &Reader<'_>,
    namespace: &Text,
    selecting: &[&PeerAuthentication],
) -> Option<NamespacedName> {
    let root = reader.place().root_namespace.as_str();
    let mut peers = of_all(reader, namespace);
    peers.extend(selecting.iter().map(|source| Peer::new(source, root)));
    // Workload before namespace before mesh; one that does not set a mode passes the question on.
    peers.sort_by_key(|peer| (!peer.selects, peer.everywhere));
    let first = peers.first().filter(|peer| peer.selects);
    if let Some(converted) = first.and_then(|peer| by_port(reader, peer.source)) {
        return Some(converted.name);
    }
    let mode = peers.iter().map(|peer| peer.source.spec.mtls.mode).find(|mode| *mode != MtlsMode::Unset);
    (mode == Some(MtlsMode::Strict)).then(|| strict_name(root))
}

/// The policy that refuses peers without identity.
pub(super) fn strict(root: &str) -> Policy {
    let rules = vec![rule(vec![without_identity()])];
    Policy::new(strict_name(root), Scope::WorkloadSelector, Action::Deny, rules)
}

/// The name of the policy that refuses peers without identity.
pub(super) fn strict_name(root: &str) -> NamespacedName {
    NamespacedName::new(root, STRICT_POLICY)
}

/// The name of the policy of a PeerAuthentication with modes per port.
pub(super) fn by_port_name(key: &NamespacedName) -> NamespacedName {
    NamespacedName::new(key.namespace.clone(), format!("converted_peer_authentication_{}", key.name))
}

/// The policy of a PeerAuthentication with modes per port; `None` when it has none.
pub(super) fn by_port(reader: &Reader<'_>, peer: &PeerAuthentication) -> Option<Policy> {
    if peer.spec.port_level_mtls.is_empty() {
        return None;
    }
    let mode = match peer.spec.mtls.mode {
        MtlsMode::Unset => parent_mode(reader, &peer.metadata.namespace),
        mode => mode,
    };
    let ports = |strict: bool| {
        let of = peer.spec.port_level_mtls.iter().filter(move |(_, mtls)| match mtls.mode {
            MtlsMode::Unset => strict == (mode == MtlsMode::Strict),
            port_mode => strict == (port_mode == MtlsMode::Strict),
        });
        of.filter_map(|(port, _)| port.parse::<u16>().ok()).collect::<Vec<_>>()
    };
    let rules = if mode == MtlsMode::Strict {
        // Refused everywhere but on the open ports. A deny cannot carry exceptions of another policy, so this one says it
        // all.
        let open = Match { not_destination_ports: ports(false), ..Match::default() };
        let mut clauses = vec![without_identity()];
        clauses.extend((!open.is_empty()).then_some(open));
        vec![rule(clauses)]
    } else {
        let closed = ports(true);
        if closed.is_empty() {
            return None;
        }
        vec![rule(vec![without_identity(), Match { destination_ports: closed, ..Match::default() }])]
    };
    let key = NamespacedName::new(peer.metadata.namespace.as_str(), peer.metadata.name.as_str());
    Some(Policy::new(by_port_name(&key), Scope::WorkloadSelector, Action::Deny, rules))
}

fn without_identity() -> Match {
    Match { not_principals: vec![StringMatch::Present], ..Match::default() }
}

/// A rule whose matches must all match.
fn rule(matches: Vec<Match>) -> Rule {
    Rule { clauses: matches.into_iter().map(|entry| Clause { matches: vec![entry] }).collect() }
}

/// A PeerAuthentication that a workload is in.
struct Peer<'a> {
    source: &'a PeerAuthentication,
    selects: bool,
    everywhere: bool,
}

impl<'a> Peer<'a> {
    fn new(source: &'a PeerAuthentication, root: &str) -> Self {
        Self { source, selects: selector(source).is_some(), everywhere: source.metadata.namespace == root }
    }
}

/// The labels of the workloads that it is for; `None` where it is for all.
pub(super) fn selector(peer: &PeerAuthentication) -> Option<&BTreeMap<String, String>> {
    peer.spec.selector.as_ref().map(|selector| &selector.match_labels).filter(|labels| !labels.is_empty())
}

/// The PeerAuthentications for all workloads of a namespace, or of the mesh.
fn of_all<'a>(reader: &Reader<'a>, namespace: &Text) -> Vec<Peer<'a>> {
    let found = [namespace.clone(), Text::default()].map(|scope| reader.index(By::Peers(scope)));
    let sources = found.into_iter().flatten().filter_map(|id| reader.peer(&id.name));
    sources.map(|source| Peer::new(source, &reader.place().root_namespace)).collect()
}

/// The mode of what is wider than a workload.
fn parent_mode(reader: &Reader<'_>, namespace: &str) -> MtlsMode {
    let mut wider = of_all(reader, &namespace.into());
    wider.sort_by_key(|peer| peer.everywhere);
    wider.iter().map(|peer| peer.source.spec.mtls.mode).find(|mode| *mode != MtlsMode::Unset).unwrap_or_default()
}
