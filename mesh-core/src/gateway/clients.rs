use crate::name::Text;
use crate::string_match::{Pattern, Regex};

/// The SPIFFE identities of the workloads of a namespace, in any trust domain.
pub(super) fn clients_of(namespace: &Text) -> Option<Pattern> {
    let namespace = regex::escape(namespace.as_str());
    Regex::new(&format!("spiffe://[^/]+/ns/{namespace}/sa/[^/]+")).ok().map(Pattern::Regex)
}
