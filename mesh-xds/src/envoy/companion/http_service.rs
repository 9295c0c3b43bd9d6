//! | field | how it is taken |
//! | --- | --- |
//! | **HttpService** `server_uri` with `cluster`, `uri` and `timeout`, zero is none | honoured; without a cluster or a timeout: NACK |
//! | `path_prefix` that begins with a slash, `path_override` | honoured; both: NACK |
//! | `authorization_response` all of it | honoured |
//! | **AuthorizationRequest** `headers_to_add` | honoured; operators: those of [`Template`] |
//! | the deprecated `allowed_headers` | honoured, and written as that of the filter; beside it: NACK |
//! | `retry_policy` | warning: without an answer the filter's settings decide |

use envoy_types::pb::envoy::config::core::v3::http_uri::HttpUpstreamType;
use envoy_types::pb::envoy::config::core::v3::{HeaderValue as WireValue, HttpUri};
use envoy_types::pb::envoy::extensions::filters::http::ext_authz::v3 as wire;
use http::HeaderName;
use mesh_core::companion::ext_authz::{CheckPath, HttpService};
use mesh_core::route::Template;
use mesh_core::string_match::Pattern;

use super::service::{patterns, patterns_or_none, wire_some_patterns};
use crate::envoy::error::{Error, Report};
use crate::envoy::route::header_value;
use crate::envoy::wire::{duration, span};

/// The service, and the headers that are allowed at this old place.
pub(super) fn http_service(
    report: &mut Report,
    wire: &wire::HttpService,
) -> Result<(HttpService, Option<Vec<Pattern>>), Error> {
    let wire::HttpService {
        server_uri,
        path_prefix,
        path_override,
        authorization_request,
        authorization_response,
        retry_policy,
    } = wire;
    report.ignored("retry_policy", retry_policy);
    let server = report.required("server_uri", server_uri.as_ref())?;
    let mut service = report.within("server_uri", |report| {
        let HttpUri { uri, timeout, http_upstream_type } = server;
        let HttpUpstreamType::Cluster(cluster) = report.required("cluster", http_upstream_type.as_ref())?;
        let timeout = report.required("timeout", timeout.as_ref())?;
        let timeout = Some(duration(report, "timeout", timeout)?).filter(|timeout| !timeout.is_zero());
        Ok(HttpService { uri: uri.as_str().into(), ..HttpService::new(report.named("cluster", cluster)?, timeout) })
    })?;
    service.path = match (path_prefix.as_str(), path_override.as_str()) {
        ("", "") => CheckPath::Prefix("".into()),
        (prefix, "") if prefix.starts_with('/') => CheckPath::Prefix(prefix.into()),
        ("", path) if path.starts_with('/') => CheckPath::Whole(path.into()),
        (_, "") => return Err(report.invalid("path_prefix", "does not begin with a slash")),
        ("", _) => return Err(report.invalid("path_override", "does not begin with a slash")),
        _ => return Err(report.invalid("path_override", "stands beside `path_prefix`")),
    };
    let mut allowed = None;
    if let Some(wire::AuthorizationRequest { allowed_headers, headers_to_add }) = authorization_request {
        report.within("authorization_request", |report| {
            allowed = report.optional("allowed_headers", allowed_headers.as_ref(), patterns)?;
            service.add = report.each("headers_to_add", headers_to_add, header_value)?;
            Ok(())
        })?;
    }
    if let Some(response) = authorization_response {
        report.within("authorization_response", |report| answer(report, response, &mut service))?;
    }
    Ok((service, allowed))
}

fn answer(report: &mut Report, wire: &wire::AuthorizationResponse, service: &mut HttpService) -> Result<(), Error> {
    let wire::AuthorizationResponse {
        allowed_upstream_headers,
        allowed_upstream_headers_to_append,
        allowed_client_headers,
        allowed_client_headers_on_success,
        dynamic_metadata_from_headers,
    } = wire;
    let mut list = |field, list: &Option<_>| patterns_or_none(report, field, list.as_ref());
    service.upstream = list("allowed_upstream_headers", allowed_upstream_headers)?;
    service.upstream_append = list("allowed_upstream_headers_to_append", allowed_upstream_headers_to_append)?;
    service.client = list("allowed_client_headers", allowed_client_headers)?;
    service.client_on_success = list("allowed_client_headers_on_success", allowed_client_headers_on_success)?;
    service.metadata = list("dynamic_metadata_from_headers", dynamic_metadata_from_headers)?;
    Ok(())
}

pub(super) fn wire_http_service(service: &HttpService) -> wire::HttpService {
    let HttpService {
        cluster,
        uri,
        timeout,
        path,
        add,
        upstream,
        upstream_append,
        client,
        client_on_success,
        metadata,
    } = service;
    let server = HttpUri {
        uri: uri.to_string(),
        timeout: Some(span(timeout.unwrap_or_default())),
        http_upstream_type: Some(HttpUpstreamType::Cluster(cluster.to_string())),
    };
    let (path_prefix, path_override) = match path {
        CheckPath::Prefix(prefix) => (prefix.to_string(), String::new()),
        CheckPath::Whole(path) => (String::new(), path.to_string()),
    };
    let one = |(name, value): &(HeaderName, Template)| WireValue {
        key: name.to_string(),
        value: value.as_str().to_owned(),
        raw_value: Vec::new(),
    };
    let request = wire::AuthorizationRequest { headers_to_add: add.iter().map(one).collect(), allowed_headers: None };
    let response = wire::AuthorizationResponse {
        allowed_upstream_headers: wire_some_patterns(upstream),
        allowed_upstream_headers_to_append: wire_some_patterns(upstream_append),
        allowed_client_headers: wire_some_patterns(client),
        allowed_client_headers_on_success: wire_some_patterns(client_on_success),
        dynamic_metadata_from_headers: wire_some_patterns(metadata),
    };
    wire::HttpService {
        server_uri: Some(server),
        path_prefix,
        path_override,
        authorization_request: (!add.is_empty()).then_some(request),
        authorization_response: Some(response),
        retry_policy: None,
    }
}
