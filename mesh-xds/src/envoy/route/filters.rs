//! | field | how it is taken |
//! | --- | --- |
//! | `RBACPerRoute` | honoured; without `rbac` the filter is disabled |
//! | `CorsPolicy`, `HTTPFault`, `LocalRateLimit`, `HeaderMutationPerRoute` | honoured |
//! | `BufferPerRoute` | honoured; one that is `disabled` disables the filter |
//! | `StatefulSessionPerRoute` | honoured; one that is `disabled` disables the filter |
//! | `jwt_authn.PerRouteConfig` | honoured; whether the name leads somewhere shows only where it is used, and is refused there (403) |
//! | `ExtAuthzPerRoute`, `RateLimitPerRoute` | honoured |
//! | an override of any other type | NACK, unless it is wrapped in a `FilterConfig` that says it is optional: warning |
//! | **FilterConfig** `disabled`, `is_optional`, `config` | honoured; neither `disabled` nor a `config`: NACK |

use std::collections::{BTreeMap, HashMap};

use envoy_types::pb::envoy::config::route::v3::FilterConfig;
use envoy_types::pb::envoy::extensions::filters::http::buffer::v3::BufferPerRoute;
use envoy_types::pb::envoy::extensions::filters::http::cors::v3::CorsPolicy;
use envoy_types::pb::envoy::extensions::filters::http::ext_authz::v3::ExtAuthzPerRoute;
use envoy_types::pb::envoy::extensions::filters::http::fault::v3::HttpFault;
use envoy_types::pb::envoy::extensions::filters::http::header_mutation::v3::HeaderMutationPerRoute;
use envoy_types::pb::envoy::extensions::filters::http::jwt_authn::v3::PerRouteConfig as JwtPerRoute;
use envoy_types::pb::envoy::extensions::filters::http::local_ratelimit::v3::LocalRateLimit;
use envoy_types::pb::envoy::extensions::filters::http::ratelimit::v3::RateLimitPerRoute;
use envoy_types::pb::envoy::extensions::filters::http::rbac::v3::RbacPerRoute;
use envoy_types::pb::envoy::extensions::filters::http::stateful_session::v3::StatefulSessionPerRoute;
use envoy_types::pb::google::protobuf::Any;
use mesh_core::authz::rbac::FilterRules;
use mesh_core::name::Text;
use mesh_core::route::{FilterOverride, FilterOverrides};

use super::cors::{cors_policy, wire_cors_policy};
use super::edits::{
    body_limit_per_route, header_mutation_per_route, wire_body_limit_per_route, wire_header_mutation_per_route,
};
use super::fault::{fault, wire_fault};
use super::local_rate_limit::{own_rate_limit, wire_local_rate_limit};
use super::session::{session_per_route, wire_session_per_route};
use crate::envoy::authn::{authn_per_route, wire_authn_per_route};
use crate::envoy::companion::{
    ext_authz_per_route, rate_limit_per_route, wire_ext_authz_per_route, wire_rate_limit_per_route,
};
use crate::envoy::error::{Error, Report};
use crate::envoy::rbac::{rbac_per_route, wire_rbac_per_route};
use crate::envoy::wire::{any, holds, unpack};

const FIELD: &str = "typed_per_filter_config";

pub(super) fn overrides(report: &mut Report, wire: &HashMap<String, Any>) -> Result<FilterOverrides, Error> {
    // In order, so that the same resource gives the same first error and the same warnings.
    let wire: BTreeMap<_, _> = wire.iter().collect();
    let mut overrides = FilterOverrides::new();
    for (name, config) in wire {
        if let Some(setting) = setting(report, &format!("{FIELD}[{name}]"), config)? {
            overrides.insert(Text::from(name.as_str()), setting);
        }
    }
    Ok(overrides)
}

/// `None` for a setting that has no effect.
fn setting(report: &mut Report, field: &str, config: &Any) -> Result<Option<FilterOverride>, Error> {
    if !holds::<FilterConfig>(config) {
        return filter(report, field, config)?.map(Some).ok_or_else(|| unknown(report, field, config));
    }
    let FilterConfig { config, is_optional, disabled } = unpack(report, field, config)?;
    if disabled {
        return Ok(Some(FilterOverride::Disabled));
    }
    let config = report.within(field, |report| report.required("config", config))?;
    // Optional is the kind of filter. Settings of a known kind that cannot be used are refused all the same.
    match filter(report, field, &config)? {
        None if is_optional => {
            report.ignored(field, &true);
            Ok(None)
        }
        setting => setting.map(Some).ok_or_else(|| unknown(report, field, &config)),
    }
}

/// The settings of one filter; `None` if the kind of filter is not known.
fn filter(report: &mut Report, field: &str, config: &Any) -> Result<Option<FilterOverride>, Error> {
    if holds::<RbacPerRoute>(config) {
        let wire = unpack(report, field, config)?;
        let rbac = report.within(field, |report| rbac_per_route(report, &wire))?;
        return Ok(Some(
            rbac.map_or(FilterOverride::Disabled, |rbac| FilterOverride::Rbac(Box::new(FilterRules::new(rbac)))),
        ));
    }
    if holds::<CorsPolicy>(config) {
        let wire = unpack(report, field, config)?;
        return report.within(field, |report| cors_policy(report, &wire)).map(FilterOverride::Cors).map(Some);
    }
    if holds::<HttpFault>(config) {
        let wire = unpack(report, field, config)?;
        return report.within(field, |report| fault(report, &wire)).map(FilterOverride::Fault).map(Some);
    }
    if holds::<StatefulSessionPerRoute>(config) {
        let wire = unpack(report, field, config)?;
        let session = report.within(field, |report| session_per_route(report, &wire))?;
        return Ok(Some(session.map_or(FilterOverride::Disabled, FilterOverride::Session)));
    }
    if holds::<LocalRateLimit>(config) {
        let wire = unpack(report, field, config)?;
        let limit = report.within(field, |report| own_rate_limit(report, &wire))?;
        return Ok(Some(FilterOverride::LocalRateLimit(limit)));
    }
    if holds::<HeaderMutationPerRoute>(config) {
        let wire = unpack(report, field, config)?;
        let mutation = report.within(field, |report| header_mutation_per_route(report, &wire))?;
        return Ok(Some(FilterOverride::HeaderMutation(mutation)));
    }
    if holds::<BufferPerRoute>(config) {
        let wire = unpack(report, field, config)?;
        let limit = report.within(field, |report| body_limit_per_route(report, &wire))?;
        return Ok(Some(limit.map_or(FilterOverride::Disabled, FilterOverride::BodyLimit)));
    }
    if holds::<JwtPerRoute>(config) {
        let wire = unpack(report, field, config)?;
        let name = report.within(field, |report| authn_per_route(report, &wire))?;
        return Ok(Some(FilterOverride::Authn(name)));
    }
    if holds::<ExtAuthzPerRoute>(config) {
        let wire = unpack(report, field, config)?;
        return report.within(field, |report| ext_authz_per_route(report, &wire)).map(Some);
    }
    if holds::<RateLimitPerRoute>(config) {
        let wire = unpack(report, field, config)?;
        let setting = report.within(field, |report| rate_limit_per_route(report, &wire))?;
        return Ok(Some(FilterOverride::RateLimit(setting)));
    }
    Ok(None)
}

fn unknown(report: &Report, field: &str, config: &Any) -> Error {
    Error::UnsupportedType { field: report.at(field), type_url: config.type_url.clone() }
}

pub(super) fn wire_overrides(overrides: &FilterOverrides) -> HashMap<String, Any> {
    overrides.iter().map(|(name, setting)| (name.to_string(), wire_setting(setting))).collect()
}

fn wire_setting(setting: &FilterOverride) -> Any {
    match setting {
        FilterOverride::Disabled => any(&FilterConfig { disabled: true, ..FilterConfig::default() }),
        FilterOverride::Rbac(filter) => any(&wire_rbac_per_route(&filter.to_filter())),
        FilterOverride::Cors(policy) => any(&wire_cors_policy(policy)),
        FilterOverride::Fault(fault) => any(&wire_fault(fault)),
        FilterOverride::Session(session) => any(&wire_session_per_route(session)),
        FilterOverride::LocalRateLimit(own) => any(&wire_local_rate_limit(own.settings())),
        FilterOverride::HeaderMutation(mutation) => any(&wire_header_mutation_per_route(mutation)),
        FilterOverride::BodyLimit(max_bytes) => any(&wire_body_limit_per_route(*max_bytes)),
        FilterOverride::Authn(name) => any(&wire_authn_per_route(name.as_ref())),
        FilterOverride::ExternalAuthz(check) => any(&wire_ext_authz_per_route(check)),
        FilterOverride::RateLimit(setting) => any(&wire_rate_limit_per_route(setting)),
    }
}
