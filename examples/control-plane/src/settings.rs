//! Settings of the control plane: a YAML file.

use std::net::SocketAddr;
use std::path::PathBuf;

use mesh_host::telemetry::Log;
use serde::Deserialize;

/// All settings. What has no default must be given.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The trust domain of this region.
    #[serde(default = "trust_domain")]
    pub trust_domain: String,
    /// Name of the cluster that the resources belong to; the first part of every workload's uid.
    #[serde(default = "cluster_id")]
    pub cluster_id: String,
    /// Network of the workloads. Empty is the default network.
    #[serde(default)]
    pub network: String,
    /// Namespace whose policies apply everywhere.
    #[serde(default = "root_namespace")]
    pub root_namespace: String,
    /// Domain of Kubernetes services.
    #[serde(default = "cluster_domain")]
    pub cluster_domain: String,
    /// Where resources are read.
    pub sources: Sources,
    /// The certificate authority.
    pub authority: Authority,
    /// Where discovery and certificates are served, over TLS.
    #[serde(default = "listen")]
    pub listen: SocketAddr,
    /// Where the admin endpoint listens.
    #[serde(default = "admin")]
    pub admin: SocketAddr,
    /// Nodes that may join.
    #[serde(default)]
    pub nodes: Vec<Node>,
    /// The log.
    #[serde(default)]
    pub log: Log,
}

/// Where resources are read.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sources {
    /// A directory of YAML files, read with all its subdirectories.
    pub directory: PathBuf,
    /// Milliseconds between two looks at it.
    #[serde(default = "poll_interval_ms")]
    pub poll_interval_ms: u64,
}

/// The certificate authority.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Authority {
    /// Directory of its files: `ca-cert.pem`, `ca-key.pem`, `cert-chain.pem`, `root-cert.pem`, or `tls.crt`, `tls.key`,
    /// `ca.crt`. An empty one gets a new root.
    pub dir: PathBuf,
    /// Life of a certificate when none is asked for.
    #[serde(default = "svid_ttl_seconds")]
    pub svid_ttl_seconds: u64,
    /// Longest life that may be asked for.
    #[serde(default = "max_svid_ttl_seconds")]
    pub max_svid_ttl_seconds: u64,
    /// Shortest life worth issuing.
    #[serde(default = "min_svid_ttl_seconds")]
    pub min_svid_ttl_seconds: u64,
}

/// A node that may join, and how it proves who it is.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Node {
    /// Its name, as `spec.nodeName` of its pods.
    pub name: String,
    /// File that holds its token, made by `control-plane token`.
    #[serde(default)]
    pub token_file: Option<PathBuf>,
    /// SHA-256 of its token in hexadecimal, instead of the file.
    #[serde(default)]
    pub token_sha256: Option<String>,
}

fn trust_domain() -> String {
    "cluster.local".to_owned()
}

fn cluster_id() -> String {
    "Kubernetes".to_owned()
}

fn root_namespace() -> String {
    "istio-system".to_owned()
}

fn cluster_domain() -> String {
    "cluster.local".to_owned()
}

fn listen() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 15012))
}

fn admin() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 15014))
}

fn poll_interval_ms() -> u64 {
    300
}

fn svid_ttl_seconds() -> u64 {
    60 * 60
}

fn max_svid_ttl_seconds() -> u64 {
    24 * 60 * 60
}

fn min_svid_ttl_seconds() -> u64 {
    30
}
