//! | field | how it is taken |
//! | --- | --- |
//! | **HashPolicy** `terminal`, `header`, `cookie`, `query_parameter`, `connection_properties.source_ip` | honoured |
//! | `filter_state` `io.grpc.channel_id` | honoured |
//! | other `filter_state` | warning: there is none, so it adds nothing to a hash |
//! | nothing that is hashed | NACK |

use envoy_types::pb::envoy::config::route::v3::route_action as wire;
use envoy_types::pb::envoy::config::route::v3::route_action::hash_policy::{
    ConnectionProperties, Cookie, CookieAttribute, FilterState, Header, PolicySpecifier, QueryParameter,
};
use mesh_core::route::{CookieKey, HashKey, HashPolicy};

use crate::envoy::error::{Error, Report};
use crate::envoy::header_matcher::field;
use crate::envoy::string_matcher::{substitution, wire_substitution};
use crate::envoy::wire::{optional_duration, span};

/// Name of the filter state that is the channel of a gRPC client.
const CHANNEL: &str = "io.grpc.channel_id";

/// Reads a policy; `None` if it never adds to a hash.
pub(super) fn hash_policy(report: &mut Report, wire: &wire::HashPolicy) -> Result<Option<HashPolicy>, Error> {
    let wire::HashPolicy { terminal, policy_specifier } = wire;
    let key = match report.required("policy_specifier", policy_specifier.as_ref())? {
        PolicySpecifier::Header(wire) => report.within("header", |report| header(report, wire))?,
        PolicySpecifier::Cookie(wire) => HashKey::Cookie(report.within("cookie", |report| cookie(report, wire))?),
        PolicySpecifier::ConnectionProperties(ConnectionProperties { source_ip: true }) => HashKey::Source,
        PolicySpecifier::ConnectionProperties(ConnectionProperties { source_ip: false }) => return Ok(None),
        PolicySpecifier::QueryParameter(QueryParameter { name }) => {
            HashKey::Query(report.within("query_parameter", |report| report.named("name", name))?)
        }
        PolicySpecifier::FilterState(FilterState { key }) if key == CHANNEL => HashKey::Channel,
        PolicySpecifier::FilterState(FilterState { key }) => {
            report.within("filter_state", |report| report.ignored("key", key));
            return Ok(None);
        }
    };
    Ok(Some(HashPolicy { key, terminal: *terminal }))
}

fn header(report: &mut Report, wire: &Header) -> Result<HashKey, Error> {
    let Header { header_name, regex_rewrite } = wire;
    let rewrite = report.optional("regex_rewrite", regex_rewrite.as_ref(), substitution)?;
    Ok(HashKey::Header { name: field(report, "header_name", header_name)?, rewrite })
}

fn cookie(report: &mut Report, wire: &Cookie) -> Result<CookieKey, Error> {
    let Cookie { name, ttl, path, attributes } = wire;
    Ok(CookieKey {
        name: report.named("name", name)?,
        lifetime: optional_duration(report, "ttl", ttl.as_ref())?,
        path: path.as_str().into(),
        attributes: report.each("attributes", attributes, |report, CookieAttribute { name, value }| {
            Ok((report.named("name", name)?, value.as_str().into()))
        })?,
    })
}

pub(super) fn wire_hash_policy(policy: &HashPolicy) -> wire::HashPolicy {
    let HashPolicy { key, terminal } = policy;
    let specifier = match key {
        HashKey::Header { name, rewrite } => PolicySpecifier::Header(Header {
            header_name: name.to_string(),
            regex_rewrite: rewrite.as_ref().map(wire_substitution),
        }),
        HashKey::Cookie(cookie) => PolicySpecifier::Cookie(wire_cookie(cookie)),
        HashKey::Source => PolicySpecifier::ConnectionProperties(ConnectionProperties { source_ip: true }),
        HashKey::Query(name) => PolicySpecifier::QueryParameter(QueryParameter { name: name.to_string() }),
        HashKey::Channel => PolicySpecifier::FilterState(FilterState { key: CHANNEL.to_owned() }),
    };
    wire::HashPolicy { terminal: *terminal, policy_specifier: Some(specifier) }
}

fn wire_cookie(cookie: &CookieKey) -> Cookie {
    let CookieKey { name, lifetime, path, attributes } = cookie;
    let attributes =
        attributes.iter().map(|(name, value)| CookieAttribute { name: name.to_string(), value: value.to_string() });
    Cookie { name: name.to_string(), ttl: lifetime.map(span), path: path.to_string(), attributes: attributes.collect() }
}
