use envoy_types::pb::envoy::config::route::v3 as wire;
use envoy_types::pb::envoy::config::route::v3::route::Action as WireAction;
use envoy_types::pb::envoy::config::route::v3::virtual_host::TlsRequirementType;
use envoy_types::pb::google::protobuf::{UInt32Value, UInt64Value};
use mesh_core::route::{Action, Route, VirtualHost};

use super::action::{forward, wire_forward};
use super::answer::{direct_response, redirect, wire_direct_response, wire_redirect};
use super::cluster::{mirror, wire_mirror};
use super::filters::{overrides, wire_overrides};
use super::matcher::{route_match, wire_route_match};
use super::mutation::{Edits, edits};
use super::rate_limit::{rate_limits_of_route, wire_rate_limit};
use super::retry::{hedge, retry, wire_hedge, wire_retry};
use crate::envoy::error::{Error, Report};

/// Reads a host. The body of a direct response must not be longer than `largest`.
pub(super) fn host(report: &mut Report, wire: &wire::VirtualHost, largest: u32) -> Result<VirtualHost, Error> {
    let wire::VirtualHost {
        name,
        domains,
        routes,
        matcher,
        require_tls,
        virtual_clusters,
        rate_limits,
        request_headers_to_add,
        request_headers_to_remove,
        response_headers_to_add,
        response_headers_to_remove,
        cors,
        typed_per_filter_config,
        include_request_attempt_count,
        include_attempt_count_in_response,
        retry_policy,
        retry_policy_typed_config,
        hedge_policy,
        include_is_timeout_retry_header,
        per_request_buffer_limit_bytes,
        request_body_buffer_limit,
        request_mirror_policies,
        metadata,
        route_specifiers,
    } = wire;
    report.refused("matcher", matcher)?;
    report.refused("cors", cors)?;
    report.refused("retry_policy_typed_config", retry_policy_typed_config)?;
    report.refused("route_specifiers", route_specifiers)?;
    report.ignored("virtual_clusters", virtual_clusters);
    report.ignored("include_is_timeout_retry_header", include_is_timeout_retry_header);
    report.ignored("metadata", metadata);
    if domains.is_empty() {
        return Err(Error::Missing { field: report.at("domains") });
    }
    let headers = Edits {
        request_add: request_headers_to_add,
        request_remove: request_headers_to_remove,
        response_add: response_headers_to_add,
        response_remove: response_headers_to_remove,
    };
    Ok(VirtualHost {
        name: report.named("name", name)?,
        domains: domains.iter().map(|domain| domain.as_str().into()).collect(),
        routes: report.each("routes", routes, |report, wire| route(report, wire, largest))?,
        require_tls: tls_required(report, *require_tls)?,
        headers: edits(report, &headers)?,
        attempt_count_in_request: *include_request_attempt_count,
        attempt_count_in_response: *include_attempt_count_in_response,
        retry: report.optional("retry_policy", retry_policy.as_ref(), retry)?,
        hedge: report.optional("hedge_policy", hedge_policy.as_ref(), hedge)?,
        mirrors: report.each("request_mirror_policies", request_mirror_policies, mirror)?,
        body_buffer: body_buffer(request_body_buffer_limit.as_ref(), per_request_buffer_limit_bytes.as_ref()),
        rate_limits: rate_limits_of_route(report, rate_limits)?,
        filters: overrides(report, typed_per_filter_config)?,
    })
}

pub(super) fn wire_host(host: &VirtualHost) -> wire::VirtualHost {
    let VirtualHost {
        name,
        domains,
        routes,
        require_tls,
        headers,
        attempt_count_in_request,
        attempt_count_in_response,
        retry,
        hedge,
        mirrors,
        body_buffer,
        rate_limits,
        filters,
    } = host;
    let Edits { request_add, request_remove, response_add, response_remove } = Edits::from(headers);
    let tls = if *require_tls { TlsRequirementType::All } else { TlsRequirementType::None };
    wire::VirtualHost {
        name: name.to_string(),
        domains: domains.iter().map(ToString::to_string).collect(),
        routes: routes.iter().map(wire_route).collect(),
        require_tls: tls.into(),
        request_headers_to_add: request_add,
        request_headers_to_remove: request_remove,
        response_headers_to_add: response_add,
        response_headers_to_remove: response_remove,
        rate_limits: rate_limits.iter().map(wire_rate_limit).collect(),
        typed_per_filter_config: wire_overrides(filters),
        include_request_attempt_count: *attempt_count_in_request,
        include_attempt_count_in_response: *attempt_count_in_response,
        retry_policy: retry.as_ref().map(wire_retry),
        hedge_policy: hedge.map(wire_hedge),
        request_body_buffer_limit: body_buffer.map(|value| UInt64Value { value }),
        request_mirror_policies: mirrors.iter().map(wire_mirror).collect(),
        ..wire::VirtualHost::default()
    }
}

fn tls_required(report: &Report, number: i32) -> Result<bool, Error> {
    match TlsRequirementType::try_from(number) {
        Ok(TlsRequirementType::None) => Ok(false),
        Ok(TlsRequirementType::All) => Ok(true),
        Ok(TlsRequirementType::ExternalOnly) | Err(_) => Err(Error::Unsupported { field: report.at("require_tls") }),
    }
}

/// The deprecated field counts where the other is not set.
fn body_buffer(limit: Option<&UInt64Value>, deprecated: Option<&UInt32Value>) -> Option<u64> {
    limit.map(|limit| limit.value).or_else(|| deprecated.map(|limit| limit.value.into()))
}

fn route(report: &mut Report, wire: &wire::Route, largest: u32) -> Result<Route, Error> {
    let wire::Route {
        name,
        r#match,
        metadata,
        decorator,
        typed_per_filter_config,
        request_headers_to_add,
        request_headers_to_remove,
        response_headers_to_add,
        response_headers_to_remove,
        tracing,
        per_request_buffer_limit_bytes,
        stat_prefix,
        request_body_buffer_limit,
        route_specifiers,
        action,
    } = wire;
    report.refused("route_specifiers", route_specifiers)?;
    report.ignored("metadata", metadata);
    report.ignored("decorator", decorator);
    report.ignored("tracing", tracing);
    report.ignored("stat_prefix", stat_prefix);
    let matcher = report.required("match", r#match.as_ref())?;
    let headers = Edits {
        request_add: request_headers_to_add,
        request_remove: request_headers_to_remove,
        response_add: response_headers_to_add,
        response_remove: response_headers_to_remove,
    };
    Ok(Route {
        name: name.as_str().into(),
        matcher: report.within("match", |report| route_match(report, matcher))?,
        action: route_action(report, action.as_ref(), largest)?,
        headers: edits(report, &headers)?,
        body_buffer: body_buffer(request_body_buffer_limit.as_ref(), per_request_buffer_limit_bytes.as_ref()),
        filters: overrides(report, typed_per_filter_config)?,
    })
}

fn route_action(report: &mut Report, wire: Option<&WireAction>, largest: u32) -> Result<Action, Error> {
    match report.required("action", wire)? {
        WireAction::Route(wire) => {
            report.within("route", |report| forward(report, wire)).map(|forward| Action::Forward(Box::new(forward)))
        }
        WireAction::Redirect(wire) => report.within("redirect", |report| redirect(report, wire)).map(Action::Redirect),
        WireAction::DirectResponse(wire) => {
            report.within("direct_response", |report| direct_response(report, wire, largest)).map(Action::Respond)
        }
        WireAction::FilterAction(_) => Err(Error::Unsupported { field: report.at("filter_action") }),
        WireAction::NonForwardingAction(wire::NonForwardingAction {}) => Ok(Action::NonForwarding),
    }
}

fn wire_route(route: &Route) -> wire::Route {
    let Route { name, matcher, action, headers, body_buffer, filters } = route;
    let Edits { request_add, request_remove, response_add, response_remove } = Edits::from(headers);
    let action = match action {
        Action::Forward(forward) => WireAction::Route(wire_forward(forward)),
        Action::Redirect(redirect) => WireAction::Redirect(wire_redirect(redirect)),
        Action::Respond(response) => WireAction::DirectResponse(wire_direct_response(response)),
        Action::NonForwarding => WireAction::NonForwardingAction(wire::NonForwardingAction {}),
    };
    wire::Route {
        name: name.to_string(),
        r#match: Some(wire_route_match(matcher)),
        typed_per_filter_config: wire_overrides(filters),
        request_headers_to_add: request_add,
        request_headers_to_remove: request_remove,
        response_headers_to_add: response_add,
        response_headers_to_remove: response_remove,
        request_body_buffer_limit: body_buffer.map(|value| UInt64Value { value }),
        action: Some(action),
        ..wire::Route::default()
    }
}
