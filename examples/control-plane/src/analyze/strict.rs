//! Plaintext that is to be refused where nobody refuses it.

use std::collections::BTreeMap;

use super::context::{Context, Report, some_of};
use crate::finding::Code;
use crate::resource::{Kind, MtlsMode};
use crate::world::Lookup;

/// PeerAuthentications that are strict about workloads outside the mesh, and ports that they name and that nobody has.
pub(super) fn analyze(context: &Context<'_>, report: &mut Report) {
    for (origin, peer) in context.world.peers.values() {
        let about = (Kind::PeerAuthentication, &peer.metadata);
        let all = BTreeMap::new();
        let labels = peer.spec.selector.as_ref().map_or(&all, |selector| &selector.match_labels);
        let everywhere = peer.metadata.namespace == context.input.place.root_namespace;
        if peer.spec.mtls.mode != MtlsMode::Strict {
            continue;
        }
        // Who is strict everywhere means everything that is in the mesh, and only that which was taken out of it is worth a word.
        let outside = context.governed(&peer.metadata.namespace, labels).filter(|one| !one.in_mesh);
        let outside = outside.filter(|one| !everywhere || context.world.is_ambient(one.namespace));
        let names: Vec<String> = outside.map(|one| format!("{}/{}", one.namespace, one.name)).collect();
        if !names.is_empty() {
            let message = format!(
                "{} {} outside the mesh: no proxy refuses their plaintext",
                some_of(&names),
                if names.len() == 1 { "is" } else { "are" }
            );
            report.say(Code::STRICT_OUTSIDE_MESH, about, origin, "spec.mtls.mode", message);
        }
    }
}
