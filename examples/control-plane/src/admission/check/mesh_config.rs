use http::HeaderName;
use mesh_core::route::Template;

use crate::finding::Faults;
use crate::resource::text::error_status;
use crate::resource::{BodyInCheck, ExtensionProvider, GrpcAuthorizer, HttpAuthorizer, MeshConfig};

/// The settings of the mesh by themselves.
pub(crate) fn mesh_config(config: &MeshConfig, faults: &mut Faults<'_>) {
    let MeshConfig { extension_providers, service_scope_configs, other } = config;
    if !other.is_empty() {
        let fields: Vec<_> = other.keys().map(String::as_str).collect();
        faults.warning("(other)", format_args!("{} have no effect here", fields.join(", ")));
    }
    faults.each("serviceScopeConfigs", service_scope_configs.as_deref().unwrap_or_default(), |faults, config| {
        faults.one_of("scope", Some(&config.scope), &["LOCAL", "GLOBAL"]);
        for (field, selector) in
            [("namespaceSelector", &config.namespace_selector), ("servicesSelector", &config.services_selector)]
        {
            let conditions = selector.iter().flat_map(|selector| &selector.match_expressions);
            for condition in conditions {
                let operators = ["In", "NotIn", "Exists", "DoesNotExist"];
                faults.within(field, |faults| {
                    faults.one_of("matchExpressions.operator", Some(&condition.operator), &operators);
                });
            }
        }
    });
    faults.distinct("extensionProviders", extension_providers.iter().map(|provider| &provider.name), "name");
    faults.each("extensionProviders", extension_providers, |faults, provider| extension_provider(provider, faults));
}

fn extension_provider(provider: &ExtensionProvider, faults: &mut Faults<'_>) {
    let ExtensionProvider { name, envoy_ext_authz_http, envoy_ext_authz_grpc, other } = provider;
    let label = |label: &str| {
        let good = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        !label.is_empty() && label.bytes().all(good)
    };
    if !name.split('.').all(label) {
        faults.error("name", format_args!("`{name}` is no DNS name in lower case"));
    }
    let given = usize::from(envoy_ext_authz_http.is_some()) + usize::from(envoy_ext_authz_grpc.is_some());
    if given + other.len() != 1 {
        faults.error("(kind)", "a provider is of one kind, such as `envoyExtAuthzGrpc`");
    }
    if let Some(HttpAuthorizer {
        service,
        port,
        timeout,
        path_prefix,
        fail_open: _,
        clear_route_cache: _,
        status_on_error,
        include_headers_in_check: _,
        include_request_headers_in_check: _,
        include_additional_headers_in_check,
        include_request_body_in_check,
        headers_to_upstream_on_allow: _,
        headers_to_downstream_on_deny: _,
        headers_to_downstream_on_allow: _,
    }) = envoy_ext_authz_http
    {
        faults.within("envoyExtAuthzHttp", |faults| {
            common(service, *port, timeout.as_deref(), status_on_error.as_deref(), faults);
            body(*include_request_body_in_check, faults);
            if path_prefix.as_ref().is_some_and(|prefix| !prefix.is_empty() && !prefix.starts_with('/')) {
                faults.error("pathPrefix", "does not begin with /");
            }
            for (name, value) in include_additional_headers_in_check {
                if HeaderName::from_bytes(name.as_bytes()).is_err() {
                    faults.error("includeAdditionalHeadersInCheck", format_args!("`{name}` is no header"));
                }
                if let Err(error) = Template::new(value) {
                    faults.error("includeAdditionalHeadersInCheck", format_args!("`{name}`: {error}"));
                }
            }
        });
    }
    if let Some(GrpcAuthorizer {
        service,
        port,
        timeout,
        fail_open: _,
        clear_route_cache: _,
        status_on_error,
        include_request_body_in_check,
    }) = envoy_ext_authz_grpc
    {
        faults.within("envoyExtAuthzGrpc", |faults| {
            common(service, *port, timeout.as_deref(), status_on_error.as_deref(), faults);
            body(*include_request_body_in_check, faults);
        });
    }
}

fn common(service: &str, port: u16, timeout: Option<&str>, status: Option<&str>, faults: &mut Faults<'_>) {
    let host = service.rsplit('/').next().unwrap_or_default();
    if host.is_empty() || service.matches('/').count() > 1 {
        faults.error("service", format_args!("`{service}` is not `[namespace/]host`"));
    }
    if port == 0 {
        faults.error("port", "is missing");
    }
    faults.duration("timeout", timeout);
    if let Some(text) = status.filter(|text| !text.is_empty() && error_status(text).is_none()) {
        faults.error("statusOnError", format_args!("`{text}` is no status such as 503"));
    }
}

fn body(body: Option<BodyInCheck>, faults: &mut Faults<'_>) {
    if body.is_some_and(|body| body.max_request_bytes == 0) {
        faults.error("includeRequestBodyInCheck.maxRequestBytes", "must be above 0");
    }
}
