//! Settings of the node proxy: a YAML file, overruled by environment variables and flags.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use mesh_host::telemetry::Log;
use serde::Deserialize;

/// All settings. What has no default must be given.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Name of this node: the workloads that it serves are those scheduled here.
    pub node: String,
    /// The trust domain of the control plane.
    #[serde(default = "trust_domain")]
    pub trust_domain: String,
    /// The network that this node is in. Empty is the default network.
    #[serde(default)]
    pub network: String,
    /// Address of the control plane: discovery and certificates.
    pub control_plane: SocketAddr,
    /// Identity that the control plane must prove. Default:
    /// `spiffe://<trust domain>/ns/istio-system/sa/control-plane`.
    #[serde(default)]
    pub control_plane_id: Option<String>,
    /// PEM file of the trust domain's roots, for the first contact.
    pub trust_bundle: PathBuf,
    /// File of the token that proves which node this is; read anew for every call.
    pub token_file: PathBuf,
    /// Directory of what survives a restart: catalog, policies, certificates, bundle. Only its owner may read it.
    pub state_dir: PathBuf,
    /// Where the admin endpoint listens.
    #[serde(default = "admin")]
    pub admin: SocketAddr,
    /// Port on which tunnels arrive, at each local workload's address.
    #[serde(default = "hbone_port")]
    pub hbone_port: u16,
    /// Port of the SOCKS5 way in, at each local workload's address; 0 for none. For machines without capture, and only
    /// where nobody but the workload reaches its address: workloads on other than loopback addresses get none unless
    /// `socks5_anywhere` is set.
    #[serde(default)]
    pub socks5_port: u16,
    /// Opens the SOCKS5 way in on addresses other than loopback as well. Whoever reaches it speaks as the workload.
    #[serde(default)]
    pub socks5_anywhere: bool,
    /// Explicit ways in: one destination per listener.
    #[serde(default)]
    pub listeners: Vec<FixedListener>,
    /// Life of certificates to ask for; the control plane decides.
    #[serde(default = "svid_ttl_seconds")]
    pub svid_ttl_seconds: u64,
    /// How long open connections may go on after SIGTERM.
    #[serde(default = "drain_seconds")]
    pub drain_seconds: u64,
    /// The log.
    #[serde(default)]
    pub log: Log,
}

/// An explicit way in: whoever connects is led to one destination, as one workload.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FixedListener {
    /// Where it listens.
    pub listen: SocketAddr,
    /// Address of the local workload as which it connects.
    pub workload: IpAddr,
    /// Where it leads: `address:port` or `hostname:port`.
    pub destination: String,
}

fn trust_domain() -> String {
    "cluster.local".to_owned()
}

fn admin() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 15000))
}

fn hbone_port() -> u16 {
    15008
}

fn svid_ttl_seconds() -> u64 {
    24 * 60 * 60
}

fn drain_seconds() -> u64 {
    5
}
