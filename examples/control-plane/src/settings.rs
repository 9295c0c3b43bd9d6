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
    /// SPIRE's server API for nodes that attest; absent, it is not served.
    #[serde(default)]
    pub spire: Option<Spire>,
    /// Other trust domains; absent, none is trusted.
    #[serde(default)]
    pub federation: Option<Federation>,
    /// The longest partition, in days, that must be survived. How long bundles count, how far ahead authorities are published,
    /// how long revocation lists count and how long SVIDs may live follow from it. Absent, each has its own default.
    #[serde(default)]
    pub survive_partition_days: Option<u64>,
    /// The log.
    #[serde(default)]
    pub log: Log,
}

/// Other trust domains, and what they need to federate with this one.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Federation {
    /// Where this region's trust bundle is served; absent, it is not.
    #[serde(default)]
    pub listen: Option<SocketAddr>,
    /// Certificate and key of a web server, in one PEM file: profile `https_web`. Absent, the identity `/spire/server` serves:
    /// profile `https_spiffe`.
    #[serde(default)]
    pub certificate: Option<PathBuf>,
    /// The other trust domains.
    #[serde(default)]
    pub peers: Vec<Peer>,
}

/// A trust domain to federate with.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Peer {
    /// Its name.
    pub trust_domain: String,
    /// Where its bundle is served.
    pub url: String,
    /// SPIFFE ID of that endpoint (profile `https_spiffe`); absent, its host name counts (`https_web`).
    #[serde(default)]
    pub endpoint_id: Option<String>,
    /// Its bundle to begin with, a SPIFFE document.
    #[serde(default)]
    pub bundle: Option<PathBuf>,
    /// Roots (PEM) that may sign for the host; absent, those of the machine.
    #[serde(default)]
    pub roots: Option<PathBuf>,
    /// Whether its certificates are refused when no fresh revocation list tells of them.
    #[serde(default)]
    pub require_revocation_lists: bool,
}

/// SPIRE's server API: agents of SPIRE, and nodes of ours, join by evidence and get the identities of their workloads.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spire {
    /// Where it is served, over TLS with the identity `/spire/server`.
    #[serde(default = "spire_listen")]
    pub listen: SocketAddr,
    /// Directory of the nodes that joined and of the join tokens that wait.
    pub dir: PathBuf,
    /// Who may have which identity: JSON in the form of SPIRE's entries. It is followed.
    pub entries: PathBuf,
    /// SPIFFE IDs that may make join tokens and ban nodes over the API.
    #[serde(default)]
    pub administrators: Vec<String>,
    /// CA certificates (PEM) of machines that join by `x509pop`.
    #[serde(default)]
    pub x509pop: Option<PathBuf>,
    /// EC2 instances that join by `aws_iid`.
    #[serde(default)]
    pub aws_iid: Option<Aws>,
    /// Clusters whose pods join by `k8s_psat`.
    #[serde(default)]
    pub k8s_psat: Vec<Cluster>,
    /// Devices with a TPM 2.0 that join by `tpm_devid` (feature `tpm`).
    #[cfg(feature = "tpm")]
    #[serde(default)]
    pub tpm_devid: Option<Tpm>,
}

/// Devices with a TPM that may join.
#[cfg(feature = "tpm")]
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tpm {
    /// CA certificates (PEM) of the devices' own identities.
    pub devices: PathBuf,
    /// CA certificates (PEM) of makers of TPMs.
    pub makers: PathBuf,
}

/// EC2 instances that may join.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Aws {
    /// Accounts.
    pub accounts: Vec<String>,
    /// Regions; all whose keys are known, when there are none.
    #[serde(default)]
    pub regions: Vec<String>,
    /// Seconds after the start of an instance in which it may join.
    #[serde(default = "aws_window_seconds")]
    pub window_seconds: u64,
    /// Keys of regions beside those that AWS has published so far: `region <name>` and a certificate, each.
    #[serde(default)]
    pub keys: Option<PathBuf>,
}

/// A Kubernetes cluster whose pods may join.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cluster {
    /// Its name.
    pub name: String,
    /// What its API server serves at `/openid/v1/jwks`, in a file.
    pub jwks: PathBuf,
    /// Issuer of its tokens.
    pub issuer: String,
    /// Audience that the tokens must have.
    #[serde(default = "spire_audience")]
    pub audience: String,
    /// Service accounts of nodes, as `<namespace>:<name>`.
    pub accounts: Vec<String>,
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
    /// `ca.crt`. They are followed as others replace them. An empty one gets a new root, whose keys stand in
    /// `authority.json`, with `root-cert.pem` beside it for those who need the roots; these keys change by themselves, the
    /// next one published long before it signs.
    pub dir: PathBuf,
    /// Life of a certificate when none is asked for. No longer than the longest.
    #[serde(default = "svid_ttl_seconds")]
    pub svid_ttl_seconds: u64,
    /// Longest life that may be asked for. Absent, a day; with `survive_partition_days`, what that takes, and less is refused.
    #[serde(default)]
    pub max_svid_ttl_seconds: Option<u64>,
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

fn spire_listen() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 8081))
}

fn aws_window_seconds() -> u64 {
    10 * 60
}

fn spire_audience() -> String {
    "spire-server".to_owned()
}

fn poll_interval_ms() -> u64 {
    300
}

fn svid_ttl_seconds() -> u64 {
    60 * 60
}

fn min_svid_ttl_seconds() -> u64 {
    30
}
