//! Networks that some name and others do not.

use super::context::{Context, Report, some_of};
use crate::finding::Code;
use crate::resource::Kind;

const NETWORK: &str = "topology.istio.io/network";

/// The namespace of the control plane without a network, while others have one.
pub(super) fn analyze(context: &Context<'_>, report: &mut Report) {
    let (world, place) = (context.world, context.input.place);
    let Some((_, (origin, root))) = world.namespaces.iter().find(|(key, _)| key.name == *place.root_namespace) else {
        return;
    };
    if !place.network.is_empty() || root.metadata.labels.contains_key(NETWORK) {
        return;
    }
    let pods = world.pods.values().map(|(_, pod)| &pod.metadata);
    let gateways = world.gateways.values().map(|(_, gateway)| &gateway.metadata);
    let labelled = pods.chain(gateways).filter(|metadata| metadata.labels.contains_key(NETWORK));
    let entries =
        world.entries.values().filter(|(_, entry)| entry.spec.network.is_some()).map(|(_, entry)| &entry.metadata);
    let named: Vec<String> = labelled.chain(entries).map(|one| format!("{}/{}", one.namespace, one.name)).collect();
    if !named.is_empty() {
        let message = format!(
            "has no `{NETWORK}`, while {} name their network: those without a label are taken for reachable from everywhere",
            some_of(&named)
        );
        report.say(Code::NETWORK_MISSING, (Kind::Namespace, &root.metadata), origin, "metadata.labels", message);
    }
}
