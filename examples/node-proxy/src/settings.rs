//! Settings of the node proxy: a YAML file, overruled by environment variables and flags. Without a file the defaults are
//! those of Istio's ztunnel, and so are the names of the variables; see `--help`.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use mesh_transport::capture::PACKET_MARK;
use mesh_transport::socket::{KeepAlive, SourceAddress};
use serde::Deserialize;

mesh_host::member_settings! {
    /// All settings. What has no default must be given.
    pub struct Settings {
        /// Whom the proxy serves.
        pub mode: Mode = Mode::Addresses,
        /// The workload that a dedicated proxy serves: `namespace/name/service-account`.
        pub workload: Option<String> = None,
        /// Name of this node: the workloads that it serves are those scheduled here.
        pub node: String = String::new(),
        /// A file of workloads, services and policies in the form of ztunnel's local configuration, beside the control plane
        /// or instead of it.
        pub local_file: Option<PathBuf> = None,
        /// The same as text.
        pub local_text: Option<String> = None,
        /// Asks the control plane only for what is used.
        pub on_demand: bool = false,
        /// File of certificate revocation lists, followed as it changes.
        pub crl_file: Option<PathBuf> = None,
        /// Port on which tunnels arrive, at each local workload's address.
        pub hbone_port: u16 = 15008,
        /// Port of the SOCKS5 way in, at each local workload's address; 0 for none. For machines without capture, and only
        /// where nobody but the workload reaches its address: workloads on other than loopback addresses get none unless
        /// `socks5_anywhere` is set.
        pub socks5_port: u16 = 0,
        /// Opens the SOCKS5 way in on addresses other than loopback as well. Whoever reaches it speaks as the workload.
        pub socks5_anywhere: bool = false,
        /// Explicit ways in: one destination per listener.
        pub listeners: Vec<FixedListener> = Vec::new(),
        /// Capture by the kernel.
        pub capture: Capture = Capture::default(),
        /// The DNS proxy.
        pub dns: DnsSettings = DnsSettings::default(),
        /// What becomes of traffic whose waypoint is not ready.
        pub unready_waypoint: Unready = Unready::Refuse,
        /// Whether applications behind a PROXY protocol tunnel are reached over loopback.
        pub localhost_app_tunnel: bool = true,
        /// Whether answers to tunnels describe the workload behind them.
        pub response_baggage: bool = true,
        /// Whether a namespace or name that appears late is waited for, in milliseconds.
        pub record_wait_ms: u64 = 5000,
        /// A tunnel connection without streams is closed after this.
        pub pool_idle_seconds: u64 = 300,
        /// Who this proxy is to the control plane.
        pub instance: Instance = Instance::default(),
        /// Further headers of calls to the control plane.
        pub control_plane_headers: Vec<(String, String)> = Vec::new(),
    }
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

impl Settings {
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
