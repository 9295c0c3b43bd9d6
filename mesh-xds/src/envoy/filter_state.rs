//! Envoy's `FilterStateMatcher` ↔ [`Pattern`]: the peer's principal is the only object of the filter state that there is here.

use envoy_types::pb::envoy::r#type::matcher::v3::FilterStateMatcher;
use envoy_types::pb::envoy::r#type::matcher::v3::filter_state_matcher::Matcher;
use mesh_core::authz::rbac::PEER_PRINCIPAL;
use mesh_core::string_match::Pattern;

use super::error::{Error, Report};
use super::string_matcher::{pattern, wire_pattern};

pub(super) fn peer_principal(report: &mut Report, wire: &FilterStateMatcher) -> Result<Pattern, Error> {
    let FilterStateMatcher { key, matcher } = wire;
    if key != PEER_PRINCIPAL {
        return Err(report.invalid("key", format_args!("`{key}` is not `{PEER_PRINCIPAL}`")));
    }
    match report.required("matcher", matcher.as_ref())? {
        Matcher::StringMatch(matcher) => report.within("string_match", |report| pattern(report, matcher)),
        Matcher::AddressMatch(_) => Err(Error::Unsupported { field: report.at("address_match") }),
    }
}

pub(super) fn wire_peer_principal(name: &Pattern) -> FilterStateMatcher {
    FilterStateMatcher { key: PEER_PRINCIPAL.to_owned(), matcher: Some(Matcher::StringMatch(wire_pattern(name))) }
}
