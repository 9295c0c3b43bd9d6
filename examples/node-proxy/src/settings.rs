//! Settings of the node proxy: a YAML file, overruled by environment variables and flags. Without a file the defaults are
//! those of Istio's ztunnel, and so are the names of the variables; see `--help`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use mesh_host::telemetry::Log;
use mesh_transport::capture::PACKET_MARK;
use mesh_transport::socket::{KeepAlive, SourceAddress};
use serde::Deserialize;

/// All settings. What has no default must be given.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Whom the proxy serves.
    pub mode: Mode,
    /// The workload that a dedicated proxy serves: `namespace/name/service-account`.
    pub workload: Option<String>,
    /// Name of this node: the workloads that it serves are those scheduled here.
    pub node: String,
    /// The trust domain of the control plane, and of workloads whose records name none.
    pub trust_domain: String,
    /// The network that this node is in. Empty is the default network.
    pub network: String,
    /// Id of the Kubernetes cluster, told to the control plane.
    pub cluster_id: String,
    /// Address of the control plane for discovery: `host:port`, or a URL (`http://` is plaintext). None: no control plane.
    pub control_plane: Option<String>,
    /// Further control planes for discovery, those of other regions: asked in this order while those before cannot be
    /// reached, and left when one of them is back. They must prove the same identity as the first.
    pub fallback_control_planes: Vec<String>,
    /// Address of the certificate service, where it is another than that of discovery.
    pub certificate_service: Option<String>,
    /// SPIFFE id that the control plane must prove. Default, unless a name is given:
    /// `spiffe://<trust domain>/ns/istio-system/sa/control-plane`.
    pub control_plane_id: Option<String>,
    /// DNS name that the control plane must prove instead, as istiod does.
    pub control_plane_name: Option<String>,
    /// PEM file of the trust domain's roots, for the first contact.
    pub trust_bundle: Option<PathBuf>,
    /// File of the token that proves which node this is; read anew for every call.
    pub token_file: Option<PathBuf>,
    /// Directory of an authority that signs here instead of a certificate service: for tests and for machines without one.
    /// Either others put its files there (`root-cert.pem`, `ca-key.pem`, …), which are followed, or an empty directory gets a
    /// new root in `authority.json`, whose keys change by themselves while the proxy runs, with `root-cert.pem` beside it.
    pub local_authority: Option<PathBuf>,
    /// Directory of what survives a restart: catalog, policies, certificates, bundle. Only its owner may read it. None:
    /// nothing survives.
    pub state_dir: Option<PathBuf>,
    /// A file of workloads, services and policies in the form of ztunnel's local configuration, beside the control plane
    /// or instead of it.
    pub local_file: Option<PathBuf>,
    /// The same as text.
    pub local_text: Option<String>,
    /// Asks the control plane only for what is used.
    pub on_demand: bool,
    /// File of certificate revocation lists, followed as it changes.
    pub crl_file: Option<PathBuf>,
    /// Where the admin endpoint listens.
    pub admin: SocketAddr,
    /// Where metrics are served as well, for scrapers outside; none by default.
    pub stats: Option<SocketAddr>,
    /// Where readiness is served as well, for a kubelet; none by default.
    pub readiness: Option<SocketAddr>,
    /// Port on which tunnels arrive, at each local workload's address.
    pub hbone_port: u16,
    /// Port of the SOCKS5 way in, at each local workload's address; 0 for none. For machines without capture, and only
    /// where nobody but the workload reaches its address: workloads on other than loopback addresses get none unless
    /// `socks5_anywhere` is set.
    pub socks5_port: u16,
    /// Opens the SOCKS5 way in on addresses other than loopback as well. Whoever reaches it speaks as the workload.
    pub socks5_anywhere: bool,
    /// Explicit ways in: one destination per listener.
    pub listeners: Vec<FixedListener>,
    /// Capture by the kernel.
    pub capture: Capture,
    /// The DNS proxy.
    pub dns: DnsSettings,
    /// What becomes of traffic whose waypoint is not ready.
    pub unready_waypoint: Unready,
    /// Whether applications behind a PROXY protocol tunnel are reached over loopback.
    pub localhost_app_tunnel: bool,
    /// Whether answers to tunnels describe the workload behind them.
    pub response_baggage: bool,
    /// Whether a namespace or name that appears late is waited for, in milliseconds.
    pub record_wait_ms: u64,
    /// Life of certificates to ask for; the control plane decides.
    pub svid_ttl_seconds: u64,
    /// How long open connections may go on after SIGTERM.
    pub drain_seconds: u64,
    /// A tunnel connection without streams is closed after this.
    pub pool_idle_seconds: u64,
    /// Threads that carry traffic; 0 for one per core.
    pub worker_threads: usize,
    /// Who this proxy is to the control plane.
    pub instance: Instance,
    /// Further headers of calls to the control plane.
    pub control_plane_headers: Vec<(String, String)>,
    /// The log.
    pub log: Log,
}

/// Whom a proxy serves.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// All workloads of the node, at their own addresses, without capture.
    #[default]
    Addresses,
    /// The pods that a node agent tells of, each in its own network namespace.
    Shared,
    /// One workload, in the network namespace of this process.
    Dedicated,
}

/// What becomes of traffic whose waypoint is not ready.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Unready {
    /// It is refused: a policy may be bound to the waypoint.
    #[default]
    Refuse,
    /// It goes to the destination directly, past the waypoint's policies.
    Direct,
}

/// Capture by the kernel.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Capture {
    /// Socket of the node agent.
    pub agent_socket: PathBuf,
    /// Whether this proxy puts redirection rules into the namespaces that it serves; otherwise the agent does.
    pub install_rules: bool,
    /// Mark on the proxy's own packets.
    pub mark: Option<u32>,
    /// Whether a second proxy may listen beside this one, for upgrades.
    pub reuse_port: bool,
    /// Whether applications see their client's address.
    pub source: Source,
    /// Whether IPv6 is served.
    pub ipv6: bool,
    /// Keep-alive of TCP.
    pub keep_alive: KeepAliveSettings,
    /// Destination ports that applications reach without the proxy, where this proxy puts in the rules.
    pub exclude_outbound_ports: Vec<u16>,
    /// Destinations that applications reach without the proxy, where this proxy puts in the rules.
    pub exclude_outbound_ranges: Vec<ipnet::IpNet>,
    /// Local ports that are reached without the proxy, where this proxy puts in the rules.
    pub exclude_inbound_ports: Vec<u16>,
}

impl Default for Capture {
    fn default() -> Self {
        Self {
            agent_socket: PathBuf::from("/var/run/ztunnel/ztunnel.sock"),
            install_rules: false,
            mark: None,
            reuse_port: true,
            source: Source::Auto,
            ipv6: true,
            keep_alive: KeepAliveSettings::default(),
            exclude_outbound_ports: Vec::new(),
            exclude_outbound_ranges: Vec::new(),
            exclude_inbound_ports: Vec::new(),
        }
    }
}

/// Whether applications see their client's address.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// Where the process may.
    #[default]
    Auto,
    /// Always.
    Client,
    /// Never.
    Own,
}

/// Keep-alive of TCP.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KeepAliveSettings {
    /// Whether silent peers are asked at all.
    pub enabled: bool,
    /// Silence before the first question.
    pub time_seconds: u64,
    /// Pause between questions.
    pub interval_seconds: u64,
    /// Questions without an answer before a peer counts as gone.
    pub retries: u32,
    /// Whether sent bytes without an acknowledgement count as well.
    pub user_timeout: bool,
}

impl Default for KeepAliveSettings {
    fn default() -> Self {
        Self { enabled: true, time_seconds: 180, interval_seconds: 180, retries: 9, user_timeout: false }
    }
}

/// The DNS proxy.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DnsSettings {
    /// Whether it runs. Only captured workloads ask it.
    pub enabled: bool,
    /// Port on loopback.
    pub port: u16,
    /// Domain of the Kubernetes cluster.
    pub cluster_domain: String,
    /// The namespace that wins among services of one name.
    pub preferred_namespace: Option<String>,
    /// Whose servers are asked for everything else.
    pub resolv_conf: PathBuf,
}

impl Default for DnsSettings {
    fn default() -> Self {
        Self {
            enabled: false,
            port: 15053,
            cluster_domain: "cluster.local".to_owned(),
            preferred_namespace: None,
            resolv_conf: PathBuf::from("/etc/resolv.conf"),
        }
    }
}

/// Who this proxy is to the control plane.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Instance {
    /// Name of its pod.
    pub pod: String,
    /// Namespace of its pod.
    pub namespace: String,
    /// Its address.
    pub ip: IpAddr,
    /// Further metadata of its xDS node.
    pub metadata: Vec<(String, String)>,
}

impl Default for Instance {
    fn default() -> Self {
        Self {
            pod: String::new(),
            namespace: "istio-system".to_owned(),
            ip: Ipv4Addr::new(1, 1, 1, 1).into(),
            metadata: Vec::new(),
        }
    }
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

impl Default for Settings {
    fn default() -> Self {
        Self {
            mode: Mode::Addresses,
            workload: None,
            node: String::new(),
            trust_domain: "cluster.local".to_owned(),
            network: String::new(),
            cluster_id: "Kubernetes".to_owned(),
            control_plane: None,
            fallback_control_planes: Vec::new(),
            certificate_service: None,
            control_plane_id: None,
            control_plane_name: None,
            trust_bundle: None,
            token_file: None,
            local_authority: None,
            state_dir: None,
            local_file: None,
            local_text: None,
            on_demand: false,
            crl_file: None,
            admin: SocketAddr::from((Ipv4Addr::LOCALHOST, 15000)),
            stats: None,
            readiness: None,
            hbone_port: 15008,
            socks5_port: 0,
            socks5_anywhere: false,
            listeners: Vec::new(),
            capture: Capture::default(),
            dns: DnsSettings::default(),
            unready_waypoint: Unready::Refuse,
            localhost_app_tunnel: true,
            response_baggage: true,
            record_wait_ms: 5000,
            svid_ttl_seconds: 24 * 60 * 60,
            drain_seconds: 5,
            pool_idle_seconds: 300,
            worker_threads: 2,
            instance: Instance::default(),
            control_plane_headers: Vec::new(),
            log: Log::default(),
        }
    }
}

impl Settings {
    /// The control planes for discovery, in the order in which they are preferred.
    pub(crate) fn control_planes(&self) -> impl Iterator<Item = &str> {
        let further = self.control_plane.iter().flat_map(|_| &self.fallback_control_planes);
        self.control_plane.iter().chain(further).map(String::as_str)
    }

    /// What a proxy without a settings file begins with: ztunnel's defaults.
    #[must_use]
    pub fn ambient() -> Self {
        let any = IpAddr::from(Ipv6Addr::UNSPECIFIED);
        let mut settings = Self {
            mode: Mode::Shared,
            stats: Some(SocketAddr::new(any, 15020)),
            readiness: Some(SocketAddr::new(any, 15021)),
            ..Self::default()
        };
        settings.dns.enabled = true;
        settings
    }

    /// The mark on the proxy's packets: given, or by mode.
    #[must_use]
    pub fn mark(&self) -> Option<u32> {
        let default = self.mode == Mode::Shared || self.capture.install_rules;
        self.capture.mark.or_else(|| default.then_some(PACKET_MARK))
    }

    /// How sockets are made.
    #[must_use]
    pub fn sockets(&self) -> mesh_transport::socket::Sockets {
        let mut sockets = mesh_transport::socket::Sockets::new();
        let keep = self.capture.keep_alive;
        sockets.keep_alive = keep.enabled.then(|| KeepAlive {
            time: Duration::from_secs(keep.time_seconds),
            interval: Duration::from_secs(keep.interval_seconds),
            probes: keep.retries,
            user_timeout: keep.user_timeout,
        });
        sockets.mark = self.mark();
        sockets.reuse_port = self.mode == Mode::Shared && self.capture.reuse_port;
        sockets.source = match self.capture.source {
            // Without capture nothing would bring the answers back.
            _ if self.mode == Mode::Addresses => SourceAddress::Own,
            Source::Auto => SourceAddress::Auto,
            Source::Client => SourceAddress::Client,
            Source::Own => SourceAddress::Own,
        };
        sockets
    }
}
