//! Selectors that select nothing, or nothing that they have an effect on.

use super::context::{Context, Report};
use crate::finding::{Code, Origin};
use crate::resource::{Kind, Metadata, Selector};
use crate::translate::binding::GATEWAY_NAME;

/// Policies whose selector selects no workload, or instances of Gateways only.
pub(super) fn analyze(context: &Context<'_>, report: &mut Report) {
    let mut look = |kind: Kind, metadata: &Metadata, origin: &Origin, selector: Option<&Selector>| {
        let Some(labels) = selector.map(|selector| &selector.match_labels).filter(|labels| !labels.is_empty()) else {
            return;
        };
        let mut governed = context.governed(&metadata.namespace, labels).peekable();
        let field = "spec.selector.matchLabels";
        if governed.peek().is_some() {
            if kind == Kind::AuthorizationPolicy && governed.all(|one| one.labels.contains_key(GATEWAY_NAME)) {
                let message = "selects nothing but instances of Gateways, which do not ask it about what they forward; name the Gateway by targetRefs";
                report.say(Code::SELECTOR_INEFFECTIVE, (kind, metadata), origin, field, message);
            }
        } else {
            let said: Vec<String> = labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
            let message = format!("{} selects no workload: the policy protects nothing", said.join(","));
            report.say(Code::NOTHING_SELECTED, (kind, metadata), origin, field, message);
        }
    };
    for (origin, policy) in context.world.policies.values() {
        look(Kind::AuthorizationPolicy, &policy.metadata, origin, policy.spec.selector.as_ref());
    }
    for (origin, policy) in context.world.peers.values() {
        look(Kind::PeerAuthentication, &policy.metadata, origin, policy.spec.selector.as_ref());
    }
}
