//! | field | how it is taken |
//! | --- | --- |
//! | **ExtAuthz** `grpc_service`, `http_service` | honoured; the timeout of gRPC is 200 ms where it is not said; none of them: NACK |
//! | `transport_api_version` V3 or unset | honoured; V2: NACK |
//! | `failure_mode_allow`, `failure_mode_allow_header_add`, `status_on_error` 200 to 599 | honoured |
//! | `with_request_body` with `max_request_bytes` above 0 | honoured; 0: NACK |
//! | `clear_route_cache`, `validate_mutations`, `max_denied_response_body_bytes`, `encode_raw_headers` | honoured |
//! | `metadata_context_namespaces`, `enable_dynamic_metadata_ingestion`, `filter_enabled_metadata` | honoured |
//! | `filter_enabled`, `deny_at_disable` | honoured; their `runtime_key` gives a warning: there is no runtime that could hold it |
//! | `include_peer_certificate`, `include_tls_session`, `allowed_headers`, `disallowed_headers` | honoured |
//! | `decoder_header_mutation_rules` | honoured, but for `allow_all_routing`, which gives a warning: host and pseudo-headers are never changed |
//! | `enforce_response_header_limits` | without effect: limits are always kept |
//! | `stat_prefix`, `bootstrap_metadata_labels_key`, `charge_cluster_response_stats`, `filter_metadata`, `emit_filter_state_stats`, `emit_client_span` | warning |
//! | `typed_metadata_context_namespaces`, `route_metadata_context_namespaces`, `route_typed_metadata_context_namespaces`, `shadow_mode` | NACK |
//! | **ExtAuthzPerRoute** `disabled`, `check_settings` | honoured; neither: NACK |
//! | **CheckSettings** `context_extensions`, `disable_request_body_buffering`, `with_request_body` | honoured; both of the last: NACK |
//! | `emit_client_span` | warning |
//! | `grpc_service`, `http_service` | NACK |

use std::time::Duration;

use envoy_types::pb::envoy::config::common::mutation_rules::v3::HeaderMutationRules;
use envoy_types::pb::envoy::config::core::v3::{ApiVersion, RuntimeFeatureFlag};
use envoy_types::pb::envoy::extensions::filters::http::ext_authz::v3 as wire;
use envoy_types::pb::envoy::extensions::filters::http::ext_authz::v3::check_settings::ServiceOverride;
use envoy_types::pb::envoy::extensions::filters::http::ext_authz::v3::ext_authz::Services;
use envoy_types::pb::envoy::extensions::filters::http::ext_authz::v3::ext_authz_per_route::Override;
use envoy_types::pb::google::protobuf::BoolValue;
use mesh_core::companion::EditRules;
use mesh_core::companion::ext_authz::{ExternalAuthz, Failure, HeaderChoice, Service};
use mesh_core::name::Text;
use mesh_core::route::{BodyOverride, CheckBody, CheckOverride, FilterOverride};

use super::http_service::{http_service, wire_http_service};
use super::service::{
    grpc_service, limit, patterns, patterns_or_none, texts, wire_grpc_service, wire_patterns, wire_some_patterns,
};
use crate::envoy::config_source::v3;
use crate::envoy::error::{Error, Report};
use crate::envoy::metadata_matcher::{metadata_match, wire_metadata_match};
use crate::envoy::route::{fraction, wire_fraction};
use crate::envoy::string_matcher::{regex, wire_regex};
use crate::envoy::wire::{boolean, status, wire_status};

/// Timeout of gRPC where nothing is said.
const TIMEOUT: Duration = Duration::from_millis(200);

pub(in crate::envoy) fn ext_authz(report: &mut Report, wire: &wire::ExtAuthz) -> Result<ExternalAuthz, Error> {
    let wire::ExtAuthz {
        transport_api_version,
        failure_mode_allow,
        failure_mode_allow_header_add,
        with_request_body,
        clear_route_cache,
        status_on_error,
        validate_mutations,
        metadata_context_namespaces,
        typed_metadata_context_namespaces,
        route_metadata_context_namespaces,
        route_typed_metadata_context_namespaces,
        filter_enabled,
        filter_enabled_metadata,
        deny_at_disable,
        include_peer_certificate,
        stat_prefix,
        bootstrap_metadata_labels_key,
        allowed_headers,
        disallowed_headers,
        include_tls_session,
        charge_cluster_response_stats,
        encode_raw_headers,
        decoder_header_mutation_rules,
        enable_dynamic_metadata_ingestion,
        filter_metadata,
        emit_filter_state_stats,
        max_denied_response_body_bytes,
        // Limits are kept whoever answers.
        enforce_response_header_limits: _,
        shadow_mode,
        emit_client_span,
        services,
    } = wire;
    v3(report, "transport_api_version", *transport_api_version)?;
    report.refused("typed_metadata_context_namespaces", typed_metadata_context_namespaces)?;
    report.refused("route_metadata_context_namespaces", route_metadata_context_namespaces)?;
    report.refused("route_typed_metadata_context_namespaces", route_typed_metadata_context_namespaces)?;
    report.refused("shadow_mode", shadow_mode)?;
    report.ignored("stat_prefix", stat_prefix);
    report.ignored("bootstrap_metadata_labels_key", bootstrap_metadata_labels_key);
    report.ignored("charge_cluster_response_stats", charge_cluster_response_stats);
    report.ignored("filter_metadata", filter_metadata);
    report.ignored("emit_filter_state_stats", emit_filter_state_stats);
    report.ignored("emit_client_span", emit_client_span);
    let (service, of_service) = service(report, services.as_ref())?;
    let allowed = report.optional("allowed_headers", allowed_headers.as_ref(), patterns)?;
    if allowed.is_some() && of_service.is_some() {
        return Err(report.invalid("allowed_headers", "stands beside that of the service"));
    }
    let status_on_error = status(report, "status_on_error", status_on_error.as_ref())?;
    let disabled = report.optional("deny_at_disable", deny_at_disable.as_ref(), |report, flag| {
        let RuntimeFeatureFlag { default_value, runtime_key } = flag;
        report.ignored("runtime_key", runtime_key);
        Ok(report.required("default_value", default_value.as_ref())?.value)
    })?;
    let rules = decoder_header_mutation_rules.as_ref();
    Ok(ExternalAuthz {
        failure: Failure {
            allow: *failure_mode_allow,
            mark: *failure_mode_allow_header_add,
            status: status_on_error.unwrap_or_else(|| Failure::default().status),
        },
        body: report.optional("with_request_body", with_request_body.as_ref(), body)?,
        headers: HeaderChoice {
            allowed: allowed.or(of_service),
            disallowed: patterns_or_none(report, "disallowed_headers", disallowed_headers.as_ref())?,
        },
        raw_headers: *encode_raw_headers,
        include_peer_certificate: *include_peer_certificate,
        include_tls_session: *include_tls_session,
        metadata: texts(metadata_context_namespaces),
        clear_route_cache: *clear_route_cache,
        validate_mutations: *validate_mutations,
        edit_rules: report.optional("decoder_header_mutation_rules", rules, edit_rules)?,
        take_metadata: enable_dynamic_metadata_ingestion.is_none_or(|enable| enable.value),
        max_denied_body: Some(*max_denied_response_body_bytes).filter(|most| *most > 0),
        enabled: report.optional("filter_enabled", filter_enabled.as_ref(), fraction)?,
        enabled_metadata: report.optional(
            "filter_enabled_metadata",
            filter_enabled_metadata.as_ref(),
            metadata_match,
        )?,
        deny_at_disable: disabled.unwrap_or_default(),
        ..ExternalAuthz::new(service)
    })
}

/// The service, and the headers that are allowed where it stands.
fn service(
    report: &mut Report,
    services: Option<&Services>,
) -> Result<(Service, Option<Vec<mesh_core::string_match::Pattern>>), Error> {
    match report.required("services", services)? {
        Services::GrpcService(wire) => {
            let (mut service, said) = report.within("grpc_service", |report| grpc_service(report, wire))?;
            service.timeout = limit(said, TIMEOUT);
            Ok((Service::Grpc(service), None))
        }
        Services::HttpService(wire) => {
            let (service, allowed) = report.within("http_service", |report| http_service(report, wire))?;
            Ok((Service::Http(Box::new(service)), allowed))
        }
    }
}

fn body(report: &mut Report, wire: &wire::BufferSettings) -> Result<CheckBody, Error> {
    let wire::BufferSettings { max_request_bytes, allow_partial_message, pack_as_bytes } = wire;
    match *max_request_bytes {
        0 => Err(Error::Missing { field: report.at("max_request_bytes") }),
        max_bytes => Ok(CheckBody { max_bytes, allow_partial: *allow_partial_message, as_bytes: *pack_as_bytes }),
    }
}

fn wire_body(body: CheckBody) -> wire::BufferSettings {
    let CheckBody { max_bytes, allow_partial, as_bytes } = body;
    wire::BufferSettings { max_request_bytes: max_bytes, allow_partial_message: allow_partial, pack_as_bytes: as_bytes }
}

fn edit_rules(report: &mut Report, wire: &HeaderMutationRules) -> Result<EditRules, Error> {
    let HeaderMutationRules {
        allow_all_routing,
        allow_envoy,
        // It is as if it were set.
        disallow_system: _,
        disallow_all,
        allow_expression,
        disallow_expression,
        disallow_is_error,
    } = wire;
    let set = |flag: &Option<BoolValue>| flag.is_some_and(|flag| flag.value);
    report.ignored("allow_all_routing", &set(allow_all_routing));
    Ok(EditRules {
        allow_envoy: set(allow_envoy),
        disallow_all: set(disallow_all),
        allow: report.optional("allow_expression", allow_expression.as_ref(), regex)?,
        disallow: report.optional("disallow_expression", disallow_expression.as_ref(), regex)?,
        disallow_is_error: set(disallow_is_error),
    })
}

fn wire_edit_rules(rules: &EditRules) -> HeaderMutationRules {
    let EditRules { allow_envoy, disallow_all, allow, disallow, disallow_is_error } = rules;
    HeaderMutationRules {
        allow_envoy: Some(boolean(*allow_envoy)),
        disallow_all: Some(boolean(*disallow_all)),
        allow_expression: allow.as_ref().map(|regex| wire_regex(regex.as_str())),
        disallow_expression: disallow.as_ref().map(|regex| wire_regex(regex.as_str())),
        disallow_is_error: Some(boolean(*disallow_is_error)),
        ..HeaderMutationRules::default()
    }
}

pub(in crate::envoy) fn wire_ext_authz(filter: &ExternalAuthz) -> wire::ExtAuthz {
    let ExternalAuthz {
        service,
        failure: Failure { allow, mark, status },
        body,
        headers: HeaderChoice { allowed, disallowed },
        raw_headers,
        include_peer_certificate,
        include_tls_session,
        metadata,
        clear_route_cache,
        validate_mutations,
        edit_rules,
        take_metadata,
        max_denied_body,
        enabled,
        enabled_metadata,
        deny_at_disable,
    } = filter;
    let services = match service {
        Service::Grpc(service) => {
            Services::GrpcService(wire_grpc_service(service, Some(service.timeout.unwrap_or_default())))
        }
        Service::Http(service) => Services::HttpService(wire_http_service(service)),
    };
    let flag = RuntimeFeatureFlag { default_value: Some(boolean(true)), runtime_key: String::new() };
    wire::ExtAuthz {
        transport_api_version: ApiVersion::V3.into(),
        failure_mode_allow: *allow,
        failure_mode_allow_header_add: *mark,
        with_request_body: body.map(wire_body),
        clear_route_cache: *clear_route_cache,
        status_on_error: Some(wire_status(*status)),
        validate_mutations: *validate_mutations,
        metadata_context_namespaces: metadata.iter().map(Text::to_string).collect(),
        filter_enabled: enabled.map(wire_fraction),
        filter_enabled_metadata: enabled_metadata.as_ref().map(wire_metadata_match),
        deny_at_disable: deny_at_disable.then_some(flag),
        include_peer_certificate: *include_peer_certificate,
        allowed_headers: allowed.as_ref().map(|allowed| wire_patterns(allowed)),
        disallowed_headers: wire_some_patterns(disallowed),
        include_tls_session: *include_tls_session,
        encode_raw_headers: *raw_headers,
        decoder_header_mutation_rules: edit_rules.as_ref().map(wire_edit_rules),
        enable_dynamic_metadata_ingestion: (!take_metadata).then(|| boolean(false)),
        max_denied_response_body_bytes: max_denied_body.unwrap_or_default(),
        services: Some(services),
        ..wire::ExtAuthz::default()
    }
}

pub(in crate::envoy) fn ext_authz_per_route(
    report: &mut Report,
    wire: &wire::ExtAuthzPerRoute,
) -> Result<FilterOverride, Error> {
    match report.required("override", wire.r#override.as_ref())? {
        Override::Disabled(true) => Ok(FilterOverride::Disabled),
        // The filter runs, even where it does not otherwise.
        Override::Disabled(false) => Ok(FilterOverride::ExternalAuthz(CheckOverride::default())),
        Override::CheckSettings(wire) => {
            report.within("check_settings", |report| check_settings(report, wire)).map(FilterOverride::ExternalAuthz)
        }
    }
}

fn check_settings(report: &mut Report, wire: &wire::CheckSettings) -> Result<CheckOverride, Error> {
    let wire::CheckSettings {
        context_extensions,
        disable_request_body_buffering,
        with_request_body,
        emit_client_span,
        service_override,
    } = wire;
    report.ignored("emit_client_span", emit_client_span);
    match service_override {
        None => {}
        Some(ServiceOverride::GrpcService(_)) => return Err(Error::Unsupported { field: report.at("grpc_service") }),
        Some(ServiceOverride::HttpService(_)) => return Err(Error::Unsupported { field: report.at("http_service") }),
    }
    let shown = report.optional("with_request_body", with_request_body.as_ref(), body)?;
    let body = match (disable_request_body_buffering, shown) {
        (true, Some(_)) => {
            return Err(report.invalid("with_request_body", "stands beside `disable_request_body_buffering`"));
        }
        (true, None) => BodyOverride::Hidden,
        (false, Some(body)) => BodyOverride::Shown(body),
        (false, None) => BodyOverride::Inherit,
    };
    let context = context_extensions.iter().map(|(key, value)| (key.as_str().into(), value.as_str().into())).collect();
    Ok(CheckOverride { context, body })
}

pub(in crate::envoy) fn wire_ext_authz_per_route(check: &CheckOverride) -> wire::ExtAuthzPerRoute {
    let CheckOverride { context, body } = check;
    let settings = wire::CheckSettings {
        context_extensions: context.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect(),
        disable_request_body_buffering: *body == BodyOverride::Hidden,
        with_request_body: match *body {
            BodyOverride::Shown(body) => Some(wire_body(body)),
            BodyOverride::Inherit | BodyOverride::Hidden => None,
        },
        ..wire::CheckSettings::default()
    };
    wire::ExtAuthzPerRoute { r#override: Some(Override::CheckSettings(settings)) }
}
