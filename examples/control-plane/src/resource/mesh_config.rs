//! Istio's MeshConfig: the key `mesh` of the ConfigMap `istio`.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{LabelSelector, Metadata};

/// Name of the ConfigMap that holds the settings of the mesh.
pub(crate) const MESH_CONFIG: &str = "istio";

/// `v1 ConfigMap`.
#[derive(Debug, Clone, Deserialize)]
pub struct ConfigMap {
    /// Name.
    pub metadata: Metadata,
    /// Texts by key.
    #[serde(default)]
    pub data: BTreeMap<String, String>,
    /// The settings of the mesh, if it holds them.
    #[serde(skip)]
    pub mesh: Option<Box<MeshConfig>>,
}

/// Settings of the mesh.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct MeshConfig {
    /// Services that extend what proxies do.
    pub extension_providers: Vec<ExtensionProvider>,
    /// Which services are for clients of which networks. When absent their label `istio.io/global` says it.
    pub service_scope_configs: Option<Vec<ServiceScopeConfig>>,
    /// What has no effect here.
    #[serde(flatten)]
    pub other: BTreeMap<String, serde_json::Value>,
}

/// For clients of which networks some services are.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct ServiceScopeConfig {
    /// Labels of the namespaces of the services; all when absent.
    pub namespace_selector: Option<LabelSelector>,
    /// Labels of the services; all when absent.
    pub services_selector: Option<LabelSelector>,
    /// `LOCAL` or `GLOBAL`.
    pub scope: String,
}

/// A service that extends what proxies do.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ExtensionProvider {
    /// Its name, by which policies refer to it.
    pub name: String,
    /// It decides, and is asked by HTTP.
    pub envoy_ext_authz_http: Option<HttpAuthorizer>,
    /// It decides, and is asked by gRPC.
    pub envoy_ext_authz_grpc: Option<GrpcAuthorizer>,
    /// What else it may be has no effect here.
    #[serde(flatten)]
    pub other: BTreeMap<String, serde_json::Value>,
}

/// An authorizer that is asked by HTTP.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct HttpAuthorizer {
    /// Its host, in full: `[namespace/]host`.
    pub service: String,
    /// Its port.
    pub port: u16,
    /// How long it may take; 10 minutes when absent.
    pub timeout: Option<String>,
    /// What stands before the path that it is asked about.
    pub path_prefix: Option<String>,
    /// Whether what it gives no answer about passes.
    pub fail_open: bool,
    /// Whether a route is chosen again for what it changed.
    pub clear_route_cache: bool,
    /// The status of what it gives no answer about; 403 when absent.
    pub status_on_error: Option<String>,
    /// `includeRequestHeadersInCheck`, as it was called before.
    pub include_headers_in_check: Vec<String>,
    /// Headers of the request that it sees; `a*` and `*a` are beginnings and ends.
    pub include_request_headers_in_check: Vec<String>,
    /// Headers that it gets beside these.
    pub include_additional_headers_in_check: BTreeMap<String, String>,
    /// Whether it sees the body.
    pub include_request_body_in_check: Option<BodyInCheck>,
    /// Headers of its answer that take the place of the request's.
    pub headers_to_upstream_on_allow: Vec<String>,
    /// Headers of its answer that the client gets where it refuses; all when absent.
    pub headers_to_downstream_on_deny: Vec<String>,
    /// Headers of its answer that the client gets where it allows.
    pub headers_to_downstream_on_allow: Vec<String>,
}

/// An authorizer that is asked by gRPC.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct GrpcAuthorizer {
    /// Its host, in full: `[namespace/]host`.
    pub service: String,
    /// Its port.
    pub port: u16,
    /// How long it may take; 10 minutes when absent.
    pub timeout: Option<String>,
    /// Whether what it gives no answer about passes.
    pub fail_open: bool,
    /// Whether a route is chosen again for what it changed.
    pub clear_route_cache: bool,
    /// The status of what it gives no answer about; 403 when absent.
    pub status_on_error: Option<String>,
    /// Whether it sees the body.
    pub include_request_body_in_check: Option<BodyInCheck>,
}

/// How much of a body an authorizer sees.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields, default)]
pub struct BodyInCheck {
    /// So many bytes at most.
    pub max_request_bytes: u32,
    /// Whether it sees the beginning of a longer one; otherwise the request is refused.
    pub allow_partial_message: bool,
    /// Whether it gets bytes rather than text. Of gRPC only.
    pub pack_as_bytes: bool,
}

/// Who decides.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Authorizer<'a> {
    /// Asked by HTTP.
    Http(&'a HttpAuthorizer),
    /// Asked by gRPC.
    Grpc(&'a GrpcAuthorizer),
}

impl ExtensionProvider {
    /// Who decides, if it is one who does.
    pub(crate) fn authorizer(&self) -> Option<Authorizer<'_>> {
        let http = self.envoy_ext_authz_http.as_ref().map(Authorizer::Http);
        http.or_else(|| self.envoy_ext_authz_grpc.as_ref().map(Authorizer::Grpc))
    }
}

impl<'a> Authorizer<'a> {
    /// Its namespace, if it is said, and its host.
    pub(crate) fn host(self) -> (Option<&'a str>, &'a str) {
        let service = match self {
            Self::Http(authorizer) => &authorizer.service,
            Self::Grpc(authorizer) => &authorizer.service,
        };
        service.split_once('/').map_or((None, service.as_str()), |(namespace, host)| (Some(namespace), host))
    }

    /// Its port.
    pub(crate) fn port(self) -> u16 {
        match self {
            Self::Http(authorizer) => authorizer.port,
            Self::Grpc(authorizer) => authorizer.port,
        }
    }
}
