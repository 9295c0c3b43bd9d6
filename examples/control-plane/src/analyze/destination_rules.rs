//! DestinationRules whose host, or whose subsets, are nothing.

use super::context::{Context, Report};
use crate::finding::Code;
use crate::resource::Kind;

/// Hosts that are no service, and subsets that select none of its workloads.
pub(super) fn analyze(context: &Context<'_>, report: &mut Report) {
    for (origin, rule) in context.world.destination_rules.values() {
        let (spec, about) = (&rule.spec, (Kind::DestinationRule, &rule.metadata));
        let hosts = context.hosts(&rule.metadata.namespace, &spec.host);
        if hosts.is_empty() {
            let message = format!("`{}` is no service that is there; the rule has no effect", spec.host);
            report.say(Code::UNKNOWN_RULE_HOST, about, origin, "spec.host", message);
            continue;
        }
        for (index, subset) in spec.subsets.iter().enumerate().filter(|(_, subset)| !subset.labels.is_empty()) {
            let selects = hosts.iter().any(|host| {
                // Who has no selector has endpoints whose labels nobody knows.
                host.selector.is_none_or(|selector| {
                    let mut labels = selector.clone();
                    labels.extend(subset.labels.clone());
                    let contradicts = selector.iter().any(|(key, value)| labels.get(key) != Some(value));
                    !contradicts && context.selected(&host.metadata.namespace, &labels).next().is_some()
                })
            });
            if !selects {
                let message = format!("subset `{}` selects no endpoint of `{}`", subset.name, spec.host);
                let field = format!("spec.subsets[{index}].labels");
                report.say(Code::SUBSET_SELECTS_NOTHING, about, origin, field, message);
            }
        }
    }
}
