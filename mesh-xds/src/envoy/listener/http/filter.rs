//! | field of **HttpFilter** | how it is taken |
//! | --- | --- |
//! | `name`, `disabled` | honoured; names that are empty or not different, a router that is disabled: NACK |
//! | `typed_config` | honoured: access control, authentication by tokens, external authorizers, the rate limit service, CORS, faults, sessions, local rate limits, edits of headers, buffers, and the router, which must be there and last |
//! | `is_optional` | honoured: an unsupported type that is optional is left out with a warning, any other: NACK |
//! | `config_discovery` | NACK |
//! | **Router** `strict_check_headers`, `upstream_http_filters`, `reject_connect_request_early_data` | NACK |
//! | everything else of it | warning |

use std::collections::BTreeSet;

use envoy_types::pb::envoy::extensions::filters::http::ext_authz::v3::ExtAuthz;
use envoy_types::pb::envoy::extensions::filters::http::jwt_authn::v3::JwtAuthentication;
use envoy_types::pb::envoy::extensions::filters::http::ratelimit::v3::RateLimit;
use envoy_types::pb::envoy::extensions::filters::http::rbac::v3::Rbac;
use envoy_types::pb::envoy::extensions::filters::http::router::v3::Router;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3 as wire;
use envoy_types::pb::envoy::extensions::filters::network::http_connection_manager::v3::http_filter::ConfigType;
use mesh_core::listener::{HttpFilter, HttpFilterKind};
use mesh_core::name::Text;

use super::traffic::{traffic_filter, wire_cors, wire_session};
use crate::envoy::authn::{authentication, wire_authentication};
use crate::envoy::companion::{ext_authz, global_rate_limit, wire_ext_authz, wire_global_rate_limit};
use crate::envoy::error::{Error, Report};
use crate::envoy::rbac::{http_rbac, wire_http_rbac};
use crate::envoy::route::{wire_body_limit, wire_fault, wire_header_mutation, wire_local_rate_limit};
use crate::envoy::wire::{any, holds, unpack};

enum Kind {
    Router,
    Filter(HttpFilterKind),
    LeftOut,
}

/// The filters, and the name of the router behind them.
pub(super) fn filters(report: &mut Report, list: &[wire::HttpFilter]) -> Result<(Vec<HttpFilter>, Text), Error> {
    let mut names = BTreeSet::new();
    if let Some(twice) = list.iter().find(|filter| !names.insert(&filter.name)) {
        return Err(report.invalid("http_filters", format_args!("`{}` stands there twice", twice.name)));
    }
    let decoded = report.each("http_filters", list, one)?;
    let (mut filters, mut router) = (Vec::new(), None);
    for (at, (name, kind, disabled)) in decoded.into_iter().enumerate() {
        if router.is_some() {
            return Err(report.invalid(&format!("http_filters[{at}]"), "stands behind the router"));
        }
        match kind {
            Kind::Router if disabled => {
                return Err(report.invalid(&format!("http_filters[{at}].disabled"), "disables the router"));
            }
            Kind::Router => router = Some(name),
            Kind::Filter(kind) => filters.push(HttpFilter { name, kind, disabled }),
            Kind::LeftOut => {}
        }
    }
    let router = router.ok_or_else(|| report.invalid("http_filters", "have no router at their end"))?;
    Ok((filters, router))
}

fn one(report: &mut Report, wire: &wire::HttpFilter) -> Result<(Text, Kind, bool), Error> {
    let wire::HttpFilter { name, is_optional, disabled, config_type } = wire;
    let name = report.named("name", name)?;
    let any = match report.required("typed_config", config_type.as_ref())? {
        ConfigType::TypedConfig(any) => any,
        ConfigType::ConfigDiscovery(_) => return Err(Error::Unsupported { field: report.at("config_discovery") }),
    };
    let kind = if holds::<Router>(any) {
        let wire = unpack(report, "typed_config", any)?;
        report.within("typed_config", |report| router(report, &wire))?;
        Kind::Router
    } else if holds::<Rbac>(any) {
        let rbac = unpack(report, "typed_config", any)?;
        let rbac = report.within("typed_config", |report| http_rbac(report, &rbac))?;
        Kind::Filter(HttpFilterKind::Rbac(rbac))
    } else if holds::<JwtAuthentication>(any) {
        let wire = unpack(report, "typed_config", any)?;
        let authn = report.within("typed_config", |report| authentication(report, &wire))?;
        Kind::Filter(HttpFilterKind::Authn(Box::new(authn)))
    } else if holds::<ExtAuthz>(any) {
        let wire = unpack(report, "typed_config", any)?;
        let filter = report.within("typed_config", |report| ext_authz(report, &wire))?;
        Kind::Filter(HttpFilterKind::ExternalAuthz(Box::new(filter)))
    } else if holds::<RateLimit>(any) {
        let wire = unpack(report, "typed_config", any)?;
        let filter = report.within("typed_config", |report| global_rate_limit(report, &wire))?;
        Kind::Filter(HttpFilterKind::RateLimit(Box::new(filter)))
    } else if let Some(kind) = traffic_filter(report, any)? {
        Kind::Filter(kind)
    } else if *is_optional {
        report.ignored("typed_config", &true);
        Kind::LeftOut
    } else {
        return Err(Error::UnsupportedType { field: report.at("typed_config"), type_url: any.type_url.clone() });
    };
    Ok((name, kind, *disabled))
}

fn router(report: &mut Report, router: &Router) -> Result<(), Error> {
    let Router {
        dynamic_stats,
        start_child_span,
        upstream_log,
        upstream_log_options,
        suppress_envoy_headers,
        strict_check_headers,
        respect_expected_rq_timeout,
        suppress_grpc_request_failure_code_stats,
        upstream_http_filters,
        reject_connect_request_early_data,
    } = router;
    report.refused("strict_check_headers", strict_check_headers)?;
    report.refused("upstream_http_filters", upstream_http_filters)?;
    let early = reject_connect_request_early_data.filter(|reject| reject.value);
    report.refused("reject_connect_request_early_data", &early)?;
    report.ignored("dynamic_stats", dynamic_stats);
    report.ignored("start_child_span", start_child_span);
    report.ignored("upstream_log", upstream_log);
    report.ignored("upstream_log_options", upstream_log_options);
    report.ignored("suppress_envoy_headers", suppress_envoy_headers);
    report.ignored("respect_expected_rq_timeout", respect_expected_rq_timeout);
    report.ignored("suppress_grpc_request_failure_code_stats", suppress_grpc_request_failure_code_stats);
    Ok(())
}

pub(super) fn wire_filters(filters: &[HttpFilter], router: &Text) -> Vec<wire::HttpFilter> {
    let one = |HttpFilter { name, kind, disabled }: &HttpFilter| {
        let config = match kind {
            HttpFilterKind::Rbac(filter) => any(&wire_http_rbac(filter)),
            HttpFilterKind::Authn(authn) => any(&wire_authentication(authn)),
            HttpFilterKind::ExternalAuthz(filter) => any(&wire_ext_authz(filter)),
            HttpFilterKind::RateLimit(filter) => any(&wire_global_rate_limit(filter)),
            HttpFilterKind::Cors => wire_cors(),
            HttpFilterKind::Fault(fault) => any(&wire_fault(fault)),
            HttpFilterKind::Session(session) => wire_session(session.as_ref()),
            HttpFilterKind::LocalRateLimit(limit) => any(&wire_local_rate_limit(limit)),
            HttpFilterKind::HeaderMutation(mutation) => any(&wire_header_mutation(mutation)),
            HttpFilterKind::BodyLimit(max_bytes) => any(&wire_body_limit(*max_bytes)),
        };
        wire::HttpFilter {
            name: name.to_string(),
            is_optional: false,
            disabled: *disabled,
            config_type: Some(ConfigType::TypedConfig(config)),
        }
    };
    let end = wire::HttpFilter {
        name: router.to_string(),
        config_type: Some(ConfigType::TypedConfig(any(&Router::default()))),
        ..wire::HttpFilter::default()
    };
    filters.iter().map(one).chain([end]).collect()
}
