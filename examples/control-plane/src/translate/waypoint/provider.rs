//! External authorizers, as the settings of the mesh declare them, as filters that ask them.

use std::time::Duration;

use http::HeaderName;
use mesh_core::companion::GrpcService;
use mesh_core::companion::ext_authz::{CheckPath, ExternalAuthz, Failure, HeaderChoice, HttpService, Service};
use mesh_core::name::NamespacedName;
use mesh_core::route::{CheckBody, Template};
use mesh_core::string_match::Pattern;

use super::attached::Backends;
use crate::resource::MESH_CONFIG;
use crate::resource::text::{duration, error_status};
use crate::resource::{Authorizer, BodyInCheck, GrpcAuthorizer, HttpAuthorizer};

/// How long an authorizer may take where nobody says. It is Istio's.
const TIMEOUT: Duration = Duration::from_secs(10 * 60);

/// The filter that asks the authorizer of a name about all requests, and the cluster it is in; `None` if it is not there. Of
/// several of one name the last counts.
pub(super) fn asked(name: &str, backends: &mut Backends<'_, '_>) -> Option<ExternalAuthz> {
    let root = backends.reader.place().root_namespace.as_str();
    let mesh = backends.reader.config_map(&NamespacedName::new(root, MESH_CONFIG))?.mesh.as_deref()?;
    let of_name = mesh.extension_providers.iter().filter(|provider| provider.name == name);
    let authorizer = of_name.rev().find_map(|provider| provider.authorizer())?;
    let (namespace, host) = authorizer.host();
    let by_grpc = matches!(authorizer, Authorizer::Grpc(_));
    let cluster = backends.companion(namespace.unwrap_or(root), host, authorizer.port(), by_grpc)?;
    let cluster = cluster.to_string();
    Some(match authorizer {
        Authorizer::Http(authorizer) => by_http(authorizer, host, cluster),
        Authorizer::Grpc(authorizer) => grpc(authorizer, host, cluster),
    })
}

fn grpc(source: &GrpcAuthorizer, host: &str, cluster: String) -> ExternalAuthz {
    let GrpcAuthorizer {
        service: _,
        port: _,
        timeout,
        fail_open,
        clear_route_cache,
        status_on_error,
        include_request_body_in_check,
    } = source;
    let service = GrpcService { authority: host.into(), ..GrpcService::new(cluster, Some(time(timeout.as_deref()))) };
    ExternalAuthz {
        failure: failure(*fail_open, status_on_error.as_deref()),
        body: include_request_body_in_check.map(body),
        clear_route_cache: *clear_route_cache,
        ..ExternalAuthz::new(Service::Grpc(service))
    }
}

fn by_http(source: &HttpAuthorizer, host: &str, cluster: String) -> ExternalAuthz {
    let HttpAuthorizer {
        service: _,
        port: _,
        timeout,
        path_prefix,
        fail_open,
        clear_route_cache,
        status_on_error,
        include_headers_in_check,
        include_request_headers_in_check,
        include_additional_headers_in_check,
        include_request_body_in_check,
        headers_to_upstream_on_allow,
        headers_to_downstream_on_deny,
        headers_to_downstream_on_allow,
    } = source;
    let added = |(name, value): (&String, &String)| {
        Some((HeaderName::from_bytes(name.as_bytes()).ok()?, Template::new(value).ok()?))
    };
    let service = HttpService {
        uri: format!("http://{host}").into(),
        path: CheckPath::Prefix(path_prefix.as_deref().unwrap_or_default().into()),
        add: include_additional_headers_in_check.iter().filter_map(added).collect(),
        upstream: patterns(headers_to_upstream_on_allow),
        client: patterns(headers_to_downstream_on_deny),
        client_on_success: patterns(headers_to_downstream_on_allow),
        ..HttpService::new(cluster, Some(time(timeout.as_deref())))
    };
    let seen = if include_request_headers_in_check.is_empty() {
        patterns(include_headers_in_check)
    } else {
        patterns(include_request_headers_in_check)
    };
    ExternalAuthz {
        failure: failure(*fail_open, status_on_error.as_deref()),
        body: include_request_body_in_check.map(body),
        headers: HeaderChoice { allowed: Some(seen).filter(|seen| !seen.is_empty()), disallowed: Vec::new() },
        clear_route_cache: *clear_route_cache,
        ..ExternalAuthz::new(Service::Http(Box::new(service)))
    }
}

fn time(text: Option<&str>) -> Duration {
    text.and_then(duration).filter(|time| !time.is_zero()).unwrap_or(TIMEOUT)
}

fn failure(open: bool, status: Option<&str>) -> Failure {
    let default = Failure::default();
    Failure { allow: open, status: status.and_then(error_status).unwrap_or(default.status), ..default }
}

fn body(body: BodyInCheck) -> CheckBody {
    let BodyInCheck { max_request_bytes, allow_partial_message, pack_as_bytes } = body;
    CheckBody { max_bytes: max_request_bytes, allow_partial: allow_partial_message, as_bytes: pack_as_bytes }
}

/// Names of headers; `a*` and `*a` are beginnings and ends.
fn patterns(names: &[String]) -> Vec<Pattern> {
    let one = |name: &String| match (name.strip_prefix('*'), name.strip_suffix('*')) {
        (Some(end), _) => Pattern::Suffix { text: end.into(), ignore_case: true },
        (None, Some(start)) => Pattern::Prefix { text: start.into(), ignore_case: true },
        (None, None) => Pattern::Exact { text: name.as_str().into(), ignore_case: true },
    };
    names.iter().map(one).collect()
}
