//! `gateway.networking.k8s.io` TLSRoute, TCPRoute and UDPRoute.

use serde::Deserialize;

use super::{BackendRef, Metadata, ParentRef};

/// `gateway.networking.k8s.io TLSRoute`.
#[derive(Debug, Clone, Deserialize)]
pub struct TlsRoute {
    /// Name and age.
    pub metadata: Metadata,
    /// What it says.
    #[serde(default)]
    pub spec: TlsRouteSpec,
}

/// Specification of a TLSRoute.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TlsRouteSpec {
    /// What it attaches to.
    pub parent_refs: Vec<ParentRef>,
    /// Server names that it is for.
    pub hostnames: Vec<String>,
    /// Its rules, of which there is one.
    pub rules: Vec<StreamRouteRule>,
    /// `All`: it attaches to default Gateways too. Experimental.
    pub use_default_gateways: Option<String>,
}

/// `gateway.networking.k8s.io TCPRoute`.
#[derive(Debug, Clone, Deserialize)]
pub struct TcpRoute {
    /// Name and age.
    pub metadata: Metadata,
    /// What it says.
    #[serde(default)]
    pub spec: TcpRouteSpec,
}

/// `gateway.networking.k8s.io UDPRoute`.
#[derive(Debug, Clone, Deserialize)]
pub struct UdpRoute {
    /// Name and age.
    pub metadata: Metadata,
    /// What it says.
    #[serde(default)]
    pub spec: TcpRouteSpec,
}

/// Specification of a TCPRoute or UDPRoute.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct TcpRouteSpec {
    /// What it attaches to.
    pub parent_refs: Vec<ParentRef>,
    /// Its rules, of which there is one.
    pub rules: Vec<StreamRouteRule>,
    /// `All`: it attaches to default Gateways too. Experimental.
    pub use_default_gateways: Option<String>,
}

/// Where connections go.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct StreamRouteRule {
    /// Its name.
    pub name: Option<String>,
    /// Where they go, by weight.
    pub backend_refs: Vec<BackendRef>,
}
