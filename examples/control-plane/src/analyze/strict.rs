//! Plaintext that is to be refused where nobody refuses it.

use std::collections::BTreeMap;

use super::context::{Context, Labelled, Report, some_of};
use crate::finding::Code;
use crate::resource::{Kind, MtlsMode};
use crate::world::Lookup;

/// PeerAuthentications that are strict about workloads outside the mesh, as a whole or on single ports, and ports that they name
/// and that nobody has.
pub(super) fn analyze(context: &Context<'_>, report: &mut Report) {
    for (origin, peer) in context.world.peers.values() {
        let about = (Kind::PeerAuthentication, &peer.metadata);
        let all = BTreeMap::new();
        let labels = peer.spec.selector.as_ref().map_or(&all, |selector| &selector.match_labels);
        let everywhere = peer.metadata.namespace == context.input.place.root_namespace;
        let governed = || context.governed(&peer.metadata.namespace, labels);
        for port in peer.spec.port_level_mtls.keys() {
            let has =
                |one: &&Labelled<'_>| one.ports.is_empty() || one.ports.iter().any(|known| port.parse() == Ok(*known));
            if governed().next().is_some() && !governed().any(|one| has(&one)) {
                let message = format!("none of the workloads that are selected has port {port}");
                report.say(Code::NO_SUCH_PORT, about, origin, port_field(port), message);
            }
        }
        let strict = |mode: MtlsMode| mode == MtlsMode::Strict;
        let field = match strict(peer.spec.mtls.mode) {
            true => "spec.mtls.mode".to_owned(),
            false => match peer.spec.port_level_mtls.iter().find(|(_, one)| strict(one.mode)) {
                Some((port, _)) => port_field(port),
                None => continue,
            },
        };
        // Who is strict everywhere means everything that is in the mesh, and only that which was taken out of it is worth a word.
        let outside = governed().filter(|one| !one.in_mesh);
        let outside = outside.filter(|one| !everywhere || context.world.is_ambient(one.namespace));
        let names: Vec<String> = outside.map(|one| format!("{}/{}", one.namespace, one.name)).collect();
        if !names.is_empty() {
            let message = format!(
                "{} {} outside the mesh: no proxy refuses their plaintext",
                some_of(&names),
                if names.len() == 1 { "is" } else { "are" }
            );
            report.say(Code::STRICT_OUTSIDE_MESH, about, origin, field, message);
        }
    }
}

fn port_field(port: &str) -> String {
    format!("spec.portLevelMtls[\"{port}\"]")
}
