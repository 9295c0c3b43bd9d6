//! Where keys of tokens come from.

use super::context::{Context, Report};
use crate::finding::Code;
use crate::resource::Kind;

/// Keys that are fetched in plaintext by a name outside: whoever is in between may give others.
pub(super) fn analyze(context: &Context<'_>, report: &mut Report) {
    for (origin, tokens) in context.world.tokens.values() {
        for (index, rule) in tokens.spec.jwt_rules.iter().enumerate() {
            let Some(uri) = rule.jwks_uri.as_deref().filter(|uri| uri.starts_with("http://")) else { continue };
            let authority = uri["http://".len()..].split('/').next().unwrap_or_default();
            let host = authority.rsplit_once(':').map_or(authority, |(host, _)| host);
            let own = context.hosts(&tokens.metadata.namespace, host);
            if own.iter().all(|host| host.kind != Kind::Service) {
                let message = format!(
                    "`{uri}` is fetched without TLS from outside the mesh: whoever is in between may give other keys"
                );
                let field = format!("spec.jwtRules[{index}].jwksUri");
                report.say(
                    Code::KEYS_FROM_AFAR,
                    (Kind::RequestAuthentication, &tokens.metadata),
                    origin,
                    field,
                    message,
                );
            }
        }
    }
}
