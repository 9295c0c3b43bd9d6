//! Selectors that select nothing.

use super::context::{Context, Report};
use crate::finding::{Code, Origin};
use crate::resource::{Kind, Metadata, Selector};

/// Policies whose selector selects no workload.
pub(super) fn analyze(context: &Context<'_>, report: &mut Report) {
    let mut look = |kind: Kind, metadata: &Metadata, origin: &Origin, selector: Option<&Selector>| {
        let Some(labels) = selector.map(|selector| &selector.match_labels).filter(|labels| !labels.is_empty()) else {
            return;
        };
        if context.governed(&metadata.namespace, labels).next().is_none() {
            let said: Vec<String> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
            let message = format!("{} selects no workload: the policy protects nothing", said.join(","));
            report.say(Code::NOTHING_SELECTED, (kind, metadata), origin, "spec.selector.matchLabels", message);
        }
    };
    for (origin, policy) in context.world.policies.values() {
        look(Kind::AuthorizationPolicy, &policy.metadata, origin, policy.spec.selector.as_ref());
    }
    for (origin, policy) in context.world.peers.values() {
        look(Kind::PeerAuthentication, &policy.metadata, origin, policy.spec.selector.as_ref());
    }
}
