//! Settings of the control plane: a YAML file.

use std::net::SocketAddr;
use std::path::PathBuf;

use mesh_core::name::parse_trust_domain;
use mesh_host::telemetry::Log;
use serde::Deserialize;

use crate::source::settings::Sources;
use crate::translate::Place;

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
    /// Policies that have a say in what takes effect; absent, there are none.
    #[serde(default)]
    pub admission: Option<Admission>,
    /// Directory of what survives a restart: the last good states of sources, and copies of repositories. Only its owner may
    /// read it. None: nothing survives, and there can be no repositories.
    #[serde(default)]
    pub state_dir: Option<PathBuf>,
    /// Where webhooks of sources are answered, in plaintext; absent, they are not.
    #[serde(default)]
    pub webhooks: Option<SocketAddr>,
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
    /// Kubernetes clusters whose service accounts may call. Absent, none may.
    #[serde(default)]
    pub kubernetes: Vec<Kubernetes>,
    /// The admission webhook for API servers; absent, it is not served.
    #[cfg(feature = "kubernetes")]
    #[serde(default)]
    pub webhook: Option<Webhook>,
    /// SPIRE's server API for nodes that attest; absent, it is not served.
    #[serde(default)]
    pub spire: Option<Spire>,
    /// SPIFFE's Workload API for processes of this machine; absent, it is not served.
    #[serde(default)]
    pub workload_api: Option<WorkloadApi>,
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

/// A Kubernetes cluster whose service accounts may call. Of `jwks`, `jwks_url` and `token_review` one says how their tokens are
/// judged.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Kubernetes {
    /// Its name, by which callers name it in the metadata `clusterid`. Absent, the `cluster_id` of the resources.
    #[serde(default)]
    pub name: Option<String>,
    /// Issuer of its tokens, exactly. Needed but with `token_review`, where the API server knows it.
    #[serde(default)]
    pub issuer: Option<String>,
    /// Audiences of which a token must have one. Default: `istio-ca`.
    #[serde(default = "token_audiences")]
    pub audiences: Vec<String>,
    /// What its API server serves at `/openid/v1/jwks`, in a file. It is followed.
    #[serde(default)]
    pub jwks: Option<PathBuf>,
    /// The same at a URL, or the issuer's configuration that leads there.
    #[serde(default)]
    pub jwks_url: Option<String>,
    /// Its API server judges every token.
    #[serde(default)]
    pub token_review: Option<TokenReviews>,
    /// CA certificates (PEM) of the server of `jwks_url` or `token_review`; absent, those of the machine.
    #[serde(default)]
    pub roots: Option<PathBuf>,
    /// Service accounts of the proxies of nodes, as `<namespace>/<name>`: they may act for the workloads on the node of their own
    /// pod. Absent, `ztunnel` in the root namespace; empty, nobody.
    #[serde(default)]
    pub node_accounts: Option<Vec<String>>,
}

/// An API server that judges tokens.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenReviews {
    /// Where it is, such as `https://kubernetes.default.svc`.
    pub url: String,
    /// File of the token by which it is called. Its account needs `create` on `tokenreviews`.
    pub token_file: PathBuf,
}

/// Where the webhook is served, and how API servers know it.
#[cfg(feature = "kubernetes")]
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Webhook {
    /// Where it listens, over TLS.
    #[serde(default = "webhook_listen")]
    pub listen: SocketAddr,
    /// The names by which API servers call it: `<service>.<namespace>.svc`.
    #[serde(default = "webhook_names")]
    pub names: Vec<String>,
    /// Certificate and key in one PEM file, which is followed. Absent, the region's authority issues a certificate for the
    /// names, and its roots are those of `control-plane webhook-config`.
    #[serde(default)]
    pub certificate: Option<PathBuf>,
}

/// SPIFFE's Workload API, on a Unix socket.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WorkloadApi {
    /// The socket.
    pub socket: PathBuf,
    /// Which processes may have which identity: JSON in the form of SPIRE's entries, with selectors of kind `unix`. It is
    /// followed. Whoever runs here is on this node, so parents do not count; it is no file of `spire`.
    pub entries: PathBuf,
    /// Whether processes are also known by the path and the digest of their program, which is read for that.
    #[serde(default)]
    pub programs: bool,
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

/// Policies that have a say in what takes effect. Where both are given, all count.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Admission {
    /// Directory of policies in Rego. It is followed.
    #[serde(default)]
    pub rego: Option<PathBuf>,
    /// Directory of policies in Rego within the first directory of manifests: whoever may change these may change those.
    #[serde(default)]
    pub path: Option<PathBuf>,
}

impl Settings {
    /// Names of the place that is served.
    ///
    /// # Errors
    /// The trust domain is none.
    pub fn place(&self) -> Result<Place, mesh_core::name::Error> {
        Ok(Place {
            trust_domain: parse_trust_domain(&self.trust_domain)?,
            cluster_id: self.cluster_id.clone(),
            network: self.network.clone(),
            root_namespace: self.root_namespace.clone(),
            cluster_domain: self.cluster_domain.clone(),
            controller: self.sources.controller(),
        })
    }

    /// Names of the place that settings without any names have.
    ///
    /// # Errors
    /// None that can come about.
    pub fn default_place() -> Result<Place, mesh_core::name::Error> {
        Ok(Place::new(parse_trust_domain(&trust_domain())?, cluster_id()))
    }
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

#[cfg(feature = "kubernetes")]
fn webhook_listen() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 15017))
}

#[cfg(feature = "kubernetes")]
fn webhook_names() -> Vec<String> {
    vec!["control-plane.istio-system.svc".to_owned()]
}

fn spire_audience() -> String {
    "spire-server".to_owned()
}

fn token_audiences() -> Vec<String> {
    vec!["istio-ca".to_owned()]
}

fn svid_ttl_seconds() -> u64 {
    60 * 60
}

fn min_svid_ttl_seconds() -> u64 {
    30
}
