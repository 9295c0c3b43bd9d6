//! Trust domains that nobody has.

use super::context::{Context, Report};
use crate::finding::Code;
use crate::resource::Kind;

/// Principals and trust domains of policies that are neither of this trust domain nor of one that is federated with.
pub(super) fn analyze(context: &Context<'_>, report: &mut Report) {
    let own = context.input.place.trust_domain.to_string();
    let known = |name: &str| name == own || context.input.trust_domains.iter().any(|one| one == name);
    for (origin, policy) in context.world.policies.values() {
        let about = (Kind::AuthorizationPolicy, &policy.metadata);
        for (at, rule) in policy.spec.rules.iter().enumerate() {
            for (from, source) in rule.from.iter().flatten().map(|from| &from.source).enumerate() {
                let of_principal = source.principals.iter().map(|text| ("principals", text, text.split_once('/')));
                let domains = source.trust_domains.iter().map(|text| ("trustDomains", text, Some((text.as_str(), ""))));
                for (field, text, split) in of_principal.chain(domains) {
                    let Some((domain, _)) = split.filter(|(domain, _)| !domain.contains('*') && !domain.is_empty())
                    else {
                        continue;
                    };
                    if !known(domain) {
                        let message = format!(
                            "`{text}`: trust domain `{domain}` is neither ours (`{own}`) nor federated with; nobody matches it"
                        );
                        let field = format!("spec.rules[{at}].from[{from}].source.{field}");
                        report.say(Code::UNKNOWN_TRUST_DOMAIN, about, origin, field, message);
                    }
                }
            }
        }
    }
}
