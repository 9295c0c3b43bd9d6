//! | field | how it is taken |
//! | --- | --- |
//! | **CorsPolicy** `allow_origin_string_match`, `allow_methods`, `allow_headers`, `expose_headers` | honoured |
//! | `max_age` | honoured; anything but a number of seconds: NACK |
//! | `allow_credentials`, `allow_private_network_access`, `forward_not_matching_preflights` | honoured |
//! | `filter_enabled`, `shadow_enabled` | honoured; a `runtime_key` gives a warning |

use std::time::Duration;

use envoy_types::pb::envoy::extensions::filters::http::cors::v3 as wire;
use mesh_core::route::CorsPolicy;

use super::matcher::{fraction, wire_fraction};
use crate::envoy::error::{Error, Report};
use crate::envoy::string_matcher::{pattern, wire_pattern};
use crate::envoy::wire::boolean;

pub(super) fn cors_policy(report: &mut Report, wire: &wire::CorsPolicy) -> Result<CorsPolicy, Error> {
    let wire::CorsPolicy {
        allow_origin_string_match,
        allow_methods,
        allow_headers,
        expose_headers,
        max_age,
        allow_credentials,
        filter_enabled,
        shadow_enabled,
        allow_private_network_access,
        forward_not_matching_preflights,
    } = wire;
    let default = CorsPolicy::default();
    Ok(CorsPolicy {
        origins: report.each("allow_origin_string_match", allow_origin_string_match, pattern)?,
        methods: allow_methods.as_str().into(),
        headers: allow_headers.as_str().into(),
        expose: expose_headers.as_str().into(),
        max_age: seconds(report, max_age)?,
        credentials: allow_credentials.map_or(default.credentials, |allowed| allowed.value),
        private_network: allow_private_network_access.map_or(default.private_network, |allowed| allowed.value),
        forward_unmatched_preflights: forward_not_matching_preflights
            .map_or(default.forward_unmatched_preflights, |forwarded| forwarded.value),
        enabled: report.optional("filter_enabled", filter_enabled.as_ref(), fraction)?,
        shadow: report.optional("shadow_enabled", shadow_enabled.as_ref(), fraction)?,
    })
}

fn seconds(report: &Report, max_age: &str) -> Result<Option<Duration>, Error> {
    if max_age.is_empty() {
        return Ok(None);
    }
    let seconds = max_age.parse().map_err(|_| report.invalid("max_age", format_args!("`{max_age}` is no number")))?;
    Ok(Some(Duration::from_secs(seconds)))
}

pub(super) fn wire_cors_policy(policy: &CorsPolicy) -> wire::CorsPolicy {
    let CorsPolicy {
        origins,
        methods,
        headers,
        expose,
        max_age,
        credentials,
        private_network,
        forward_unmatched_preflights,
        enabled,
        shadow,
    } = policy;
    wire::CorsPolicy {
        allow_origin_string_match: origins.iter().map(wire_pattern).collect(),
        allow_methods: methods.to_string(),
        allow_headers: headers.to_string(),
        expose_headers: expose.to_string(),
        max_age: max_age.map(|age| age.as_secs().to_string()).unwrap_or_default(),
        allow_credentials: Some(boolean(*credentials)),
        filter_enabled: enabled.map(wire_fraction),
        shadow_enabled: shadow.map(wire_fraction),
        allow_private_network_access: Some(boolean(*private_network)),
        forward_not_matching_preflights: Some(boolean(*forward_unmatched_preflights)),
    }
}
