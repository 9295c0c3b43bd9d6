//! Environment variables and flags, by the names that users of Istio's ztunnel know.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use crate::settings::{Mode, Settings, Source, Unready};
use mesh_host::member::Error;

/// Everything that may stand in the environment. Each also is a flag.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Environment {
    /// shared (the pods that a node agent tells of) or dedicated (one workload, in this network namespace).
    #[arg(long, env = "PROXY_MODE", value_name = "MODE", help_heading = "What is served")]
    proxy_mode: Option<String>,
    /// The workload of a dedicated proxy: namespace/name/service-account.
    #[arg(long, env = "PROXY_WORKLOAD_INFO", value_name = "WORKLOAD", help_heading = "What is served")]
    workload: Option<String>,
    /// Name of this node.
    #[arg(long, env = "NODE_NAME", value_name = "NAME", help_heading = "What is served")]
    node: Option<String>,
    /// The network that this node is in.
    #[arg(long, env = "NETWORK", value_name = "NAME", help_heading = "What is served")]
    network: Option<String>,
    /// A file of workloads, services and policies.
    #[arg(long, env = "LOCAL_XDS_PATH", value_name = "FILE", help_heading = "What is served")]
    local_file: Option<PathBuf>,
    /// Workloads, services and policies as text.
    #[arg(long, env = "LOCAL_XDS", value_name = "YAML", help_heading = "What is served")]
    local_text: Option<String>,

    /// Address of the control plane: host:port or a URL; empty for none.
    #[arg(long, env = "XDS_ADDRESS", value_name = "ADDRESS", help_heading = "Control plane")]
    control_plane: Option<String>,
    /// PEM file of the roots by which the control plane is verified.
    #[arg(long, env = "XDS_ROOT_CA", value_name = "FILE", help_heading = "Control plane")]
    trust_bundle: Option<PathBuf>,
    /// DNS name that the control plane must prove.
    #[arg(long, env = "ALT_XDS_HOSTNAME", value_name = "NAME", help_heading = "Control plane")]
    control_plane_name: Option<String>,
    /// Asks only for what is used.
    #[arg(long, env = "XDS_ON_DEMAND", value_name = "BOOL", help_heading = "Control plane")]
    on_demand: Option<bool>,
    /// Id of the Kubernetes cluster.
    #[arg(long, env = "CLUSTER_ID", value_name = "ID", help_heading = "Control plane")]
    cluster_id: Option<String>,
    /// The same; wins over CLUSTER_ID.
    #[arg(long, env = "ISTIO_META_CLUSTER_ID", value_name = "ID", help_heading = "Control plane")]
    meta_cluster_id: Option<String>,
    /// Name of this proxy's pod.
    #[arg(long, env = "POD_NAME", value_name = "NAME", help_heading = "Control plane")]
    pod_name: Option<String>,
    /// Namespace of this proxy's pod.
    #[arg(long, env = "POD_NAMESPACE", value_name = "NAMESPACE", help_heading = "Control plane")]
    pod_namespace: Option<String>,
    /// Address of this proxy's pod.
    #[arg(long, env = "INSTANCE_IP", value_name = "ADDRESS", help_heading = "Control plane")]
    instance_ip: Option<std::net::IpAddr>,
    /// Where this runs in Kubernetes, a control plane is expected at istiod's address.
    #[arg(long, env = "KUBERNETES_SERVICE_HOST", hide = true)]
    kubernetes: Option<String>,

    /// Address of the certificate service, where it is not the control plane.
    #[arg(long, env = "CA_ADDRESS", value_name = "ADDRESS", help_heading = "Identity")]
    certificate_service: Option<String>,
    /// File of the token that proves which node this is.
    #[arg(long, env = "AUTH_TOKEN", value_name = "FILE", help_heading = "Identity")]
    token_file: Option<PathBuf>,
    /// Directory of an authority that signs here, instead of a certificate service.
    #[arg(long, env = "LOCAL_CA_DIR", value_name = "DIRECTORY", help_heading = "Identity")]
    local_authority: Option<PathBuf>,
    /// Signs here; needs LOCAL_CA_DIR, as no key is compiled in.
    #[arg(long, env = "FAKE_CA", value_name = "BOOL", help_heading = "Identity")]
    fake_ca: Option<bool>,
    /// The trust domain.
    #[arg(long, env = "TRUST_DOMAIN", value_name = "DOMAIN", help_heading = "Identity")]
    trust_domain: Option<String>,
    /// Life of certificates to ask for, such as 24h.
    #[arg(long, env = "SECRET_TTL", value_name = "DURATION", value_parser = duration, help_heading = "Identity")]
    secret_ttl: Option<Duration>,
    /// File of certificate revocation lists.
    #[arg(long, env = "CRL_PATH", value_name = "FILE", help_heading = "Identity")]
    crl_file: Option<PathBuf>,
    /// Directory of what survives a restart.
    #[arg(long, env = "STATE_DIR", value_name = "DIRECTORY", help_heading = "Identity")]
    state_dir: Option<PathBuf>,

    /// Socket of the node agent.
    #[arg(long, env = "INPOD_UDS", value_name = "PATH", help_heading = "Capture")]
    agent_socket: Option<PathBuf>,
    /// Whether a second proxy may listen beside this one.
    #[arg(long, env = "INPOD_PORT_REUSE", value_name = "BOOL", help_heading = "Capture")]
    port_reuse: Option<bool>,
    /// Puts redirection rules into the network namespaces that are served.
    #[arg(long, env = "CAPTURE_RULES", value_name = "BOOL", help_heading = "Capture")]
    install_rules: Option<bool>,
    /// Mark on the proxy's own packets.
    #[arg(long, env = "PACKET_MARK", value_name = "NUMBER", help_heading = "Capture")]
    packet_mark: Option<u32>,
    /// Applications see their client's address: true, false, or where the process may.
    #[arg(long, env = "ENABLE_ORIG_SRC", value_name = "BOOL", help_heading = "Capture")]
    original_source: Option<bool>,
    /// Serves IPv6.
    #[arg(long, env = "IPV6_ENABLED", value_name = "BOOL", help_heading = "Capture")]
    ipv6: Option<bool>,
    /// Opens SOCKS5 on 127.0.0.1:15080.
    #[arg(long, env = "UNSTABLE_ENABLE_SOCKS5", value_name = "BOOL", help_heading = "Capture")]
    socks5: Option<bool>,
    /// Answers DNS questions of captured workloads.
    #[arg(long, env = "ISTIO_META_DNS_CAPTURE", value_name = "BOOL", help_heading = "Capture")]
    dns_capture: Option<String>,
    /// Where DNS questions arrive: localhost:port.
    #[arg(long, env = "ISTIO_META_DNS_PROXY_ADDR", value_name = "ADDRESS", help_heading = "Capture")]
    dns_address: Option<String>,
    /// Domain of the Kubernetes cluster.
    #[arg(long, env = "CLUSTER_DOMAIN", value_name = "DOMAIN", help_heading = "Capture")]
    cluster_domain: Option<String>,
    /// The namespace that wins among services of one name.
    #[arg(long, env = "PREFERED_SERVICE_NAMESPACE", value_name = "NAMESPACE", help_heading = "Capture")]
    preferred_namespace: Option<String>,

    /// What becomes of traffic whose waypoint is not ready: refuse or direct.
    #[arg(long, env = "UNREADY_WAYPOINT", value_name = "WHAT", help_heading = "Traffic")]
    unready_waypoint: Option<String>,
    /// Reaches applications behind a PROXY protocol tunnel over loopback.
    #[arg(long, env = "LOCALHOST_APP_TUNNEL", value_name = "BOOL", help_heading = "Traffic")]
    localhost_app_tunnel: Option<bool>,
    /// Describes the workload in answers to tunnels.
    #[arg(long, env = "ENABLE_RESPONSE_BAGGAGE", value_name = "BOOL", help_heading = "Traffic")]
    response_baggage: Option<bool>,
    /// How long open connections may go on after SIGTERM, such as 5s.
    #[arg(long, env = "CONNECTION_TERMINATION_DEADLINE", value_name = "DURATION", value_parser = duration, help_heading = "Traffic")]
    termination_deadline: Option<Duration>,
    /// Grace period of the pod in seconds: most of it is used to drain, where no deadline is given.
    #[arg(long, env = "TERMINATION_GRACE_PERIOD_SECONDS", value_name = "SECONDS", help_heading = "Traffic")]
    termination_grace: Option<u64>,
    /// A tunnel connection without streams is closed after this, such as 5m.
    #[arg(long, env = "POOL_UNUSED_RELEASE_TIMEOUT", value_name = "DURATION", value_parser = duration, help_heading = "Traffic")]
    pool_release: Option<Duration>,
    /// Asks silent TCP peers whether they are there.
    #[arg(long, env = "KEEPALIVE_ENABLED", value_name = "BOOL", help_heading = "Traffic")]
    keep_alive: Option<bool>,
    /// Silence before the first question.
    #[arg(long, env = "KEEPALIVE_TIME", value_name = "DURATION", value_parser = duration, help_heading = "Traffic")]
    keep_alive_time: Option<Duration>,
    /// Pause between questions.
    #[arg(long, env = "KEEPALIVE_INTERVAL", value_name = "DURATION", value_parser = duration, help_heading = "Traffic")]
    keep_alive_interval: Option<Duration>,
    /// Questions without an answer before a peer counts as gone.
    #[arg(long, env = "KEEPALIVE_RETRIES", value_name = "NUMBER", help_heading = "Traffic")]
    keep_alive_retries: Option<u32>,
    /// Counts sent bytes without an acknowledgement as silence.
    #[arg(long, env = "USER_TIMEOUT_ENABLED", value_name = "BOOL", help_heading = "Traffic")]
    user_timeout: Option<bool>,
    /// Threads that carry traffic: a number, a share of the cores such as 25%, or 0 for all cores.
    #[arg(long, env = "ZTUNNEL_WORKER_THREADS", value_name = "NUMBER", help_heading = "Traffic")]
    worker_threads: Option<String>,
    /// Limit of processor time, such as 2 or 500m: as many threads.
    #[arg(long, env = "ZTUNNEL_CPU_LIMIT", value_name = "CPUS", help_heading = "Traffic")]
    cpu_limit: Option<String>,

    /// Where the admin endpoint listens.
    #[arg(long, env = "ADMIN_ADDR", value_name = "ADDRESS", help_heading = "Observation")]
    admin: Option<std::net::SocketAddr>,
    /// Where metrics are served as well.
    #[arg(long, env = "STATS_ADDR", value_name = "ADDRESS", help_heading = "Observation")]
    stats: Option<std::net::SocketAddr>,
    /// Where readiness is served as well.
    #[arg(long, env = "READINESS_ADDR", value_name = "ADDRESS", help_heading = "Observation")]
    readiness: Option<std::net::SocketAddr>,
    /// Log filter, such as info or info,mesh_xds=debug.
    #[arg(long, env = "RUST_LOG", value_name = "FILTER", help_heading = "Observation")]
    log_level: Option<String>,
    /// plain or json.
    #[arg(long, env = "LOG_FORMAT", value_name = "FORMAT", help_heading = "Observation")]
    log_format: Option<String>,
}

impl Environment {
    /// Overrules settings.
    pub(crate) fn apply(self, settings: &mut Settings, from_file: bool) -> Result<(), Error> {
        fn set<T>(place: &mut T, value: Option<T>) {
            if let Some(value) = value {
                *place = value;
            }
        }
        fn some<T>(place: &mut Option<T>, value: Option<T>) {
            if value.is_some() {
                *place = value;
            }
        }
        if let Some(mode) = &self.proxy_mode {
            settings.mode = match mode.as_str() {
                "shared" => Mode::Shared,
                "dedicated" => Mode::Dedicated,
                "addresses" => Mode::Addresses,
                other => return Err(format!("PROXY_MODE: `{other}` is none of shared, dedicated, addresses").into()),
            };
        }
        let seconds = |duration: Option<Duration>| duration.map(|duration| duration.as_secs());
        some(&mut settings.workload, self.workload);
        set(&mut settings.node, self.node);
        set(&mut settings.network, self.network);
        some(&mut settings.local_file, self.local_file);
        some(&mut settings.local_text, self.local_text);
        set(&mut settings.on_demand, self.on_demand);
        set(&mut settings.cluster_id, self.meta_cluster_id.or(self.cluster_id));
        set(&mut settings.instance.pod, self.pod_name);
        set(&mut settings.instance.namespace, self.pod_namespace);
        set(&mut settings.instance.ip, self.instance_ip);
        some(&mut settings.trust_bundle, self.trust_bundle);
        some(&mut settings.control_plane_name, self.control_plane_name);
        some(&mut settings.certificate_service, self.certificate_service);
        some(&mut settings.token_file, self.token_file);
        some(&mut settings.local_authority, self.local_authority);
        set(&mut settings.trust_domain, self.trust_domain);
        set(&mut settings.svid_ttl_seconds, seconds(self.secret_ttl));
        some(&mut settings.crl_file, self.crl_file);
        some(&mut settings.state_dir, self.state_dir);
        if self.fake_ca == Some(true) && settings.local_authority.is_none() {
            return Err(
                "FAKE_CA: no key is compiled into this program; name the directory of an authority by LOCAL_CA_DIR"
                    .into(),
            );
        }
        match self.control_plane {
            Some(address) => settings.control_plane = Some(address).filter(|address| !address.is_empty()),
            // ztunnel's default, where nothing else says what there is.
            None if !from_file => {
                let host = if self.kubernetes.is_some() { "istiod.istio-system.svc" } else { "localhost" };
                settings.control_plane.get_or_insert_with(|| format!("https://{host}:15012"));
            }
            None => {}
        }
        if !from_file {
            let control_plane = settings.control_plane.is_some();
            if control_plane && settings.control_plane_name.is_none() && settings.control_plane_id.is_none() {
                settings.control_plane_name = settings.control_plane.as_deref().and_then(host);
            }
            settings.trust_bundle.get_or_insert_with(|| "./var/run/secrets/istio/root-cert.pem".into());
            let token = PathBuf::from("./var/run/secrets/tokens/istio-token");
            if settings.token_file.is_none() && token.exists() {
                settings.token_file = Some(token);
            }
        }

        let capture = &mut settings.capture;
        set(&mut capture.agent_socket, self.agent_socket);
        set(&mut capture.reuse_port, self.port_reuse);
        set(&mut capture.install_rules, self.install_rules);
        some(&mut capture.mark, self.packet_mark);
        set(&mut capture.source, self.original_source.map(|client| if client { Source::Client } else { Source::Own }));
        set(&mut capture.ipv6, self.ipv6);
        set(&mut capture.keep_alive.enabled, self.keep_alive);
        set(&mut capture.keep_alive.time_seconds, seconds(self.keep_alive_time));
        set(&mut capture.keep_alive.interval_seconds, seconds(self.keep_alive_interval));
        set(&mut capture.keep_alive.retries, self.keep_alive_retries);
        set(&mut capture.keep_alive.user_timeout, self.user_timeout);
        if let Some(socks5) = self.socks5 {
            settings.socks5_port = if socks5 { 15080 } else { 0 };
        }
        set(&mut settings.dns.enabled, self.dns_capture.map(|value| value == "true"));
        if let Some(address) = &self.dns_address {
            let port = address.rsplit_once(':').and_then(|(_, port)| port.parse().ok());
            settings.dns.port = port.ok_or_else(|| format!("ISTIO_META_DNS_PROXY_ADDR: `{address}` has no port"))?;
        }
        set(&mut settings.dns.cluster_domain, self.cluster_domain);
        some(&mut settings.dns.preferred_namespace, self.preferred_namespace);

        if let Some(what) = &self.unready_waypoint {
            settings.unready_waypoint = match what.as_str() {
                "refuse" => Unready::Refuse,
                "direct" => Unready::Direct,
                other => return Err(format!("UNREADY_WAYPOINT: `{other}` is neither refuse nor direct").into()),
            };
        }
        set(&mut settings.localhost_app_tunnel, self.localhost_app_tunnel);
        set(&mut settings.response_baggage, self.response_baggage);
        // Time for the rest of the shutdown is left, as ztunnel leaves it.
        let grace = self.termination_grace.map(|all| if all > 10 { all - 5 } else { all.saturating_sub(1).max(1) });
        set(&mut settings.drain_seconds, seconds(self.termination_deadline).or(grace));
        set(&mut settings.pool_idle_seconds, seconds(self.pool_release));
        if let Some(threads) = threads(self.worker_threads.as_deref(), self.cpu_limit.as_deref())? {
            settings.worker_threads = threads;
        }

        set(&mut settings.admin, self.admin);
        some(&mut settings.stats, self.stats);
        some(&mut settings.readiness, self.readiness);
        set(&mut settings.log.level, self.log_level);
        if let Some(format) = &self.log_format {
            settings.log.format = match format.as_str() {
                "json" => mesh_host::telemetry::Format::Json,
                _ => mesh_host::telemetry::Format::Plain,
            };
        }
        Ok(())
    }
}

/// Headers for the control plane (`XDS_HEADER_<name>`), and metadata of the xDS node (`ISTIO_META_<name>`): variables whose
/// names are not known beforehand.
pub(crate) fn open_ended(settings: &mut Settings, variables: impl Iterator<Item = (String, String)>) {
    for (name, value) in variables {
        if let Some(header) = name.strip_prefix("XDS_HEADER_") {
            settings.control_plane_headers.push((header.to_ascii_lowercase(), value));
        } else if let Some(key) = name.strip_prefix("ISTIO_META_") {
            settings.instance.metadata.push((key.to_owned(), value));
        }
    }
}

/// The host of `host:port` or of a URL.
fn host(address: &str) -> Option<String> {
    let rest = address.split_once("://").map_or(address, |(_, rest)| rest);
    let (host, _) = rest.rsplit_once(':')?;
    Some(host.to_owned())
}

fn threads(given: Option<&str>, limit: Option<&str>) -> Result<Option<usize>, Error> {
    let cores = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    if let Some(given) = given {
        let bad = || format!("ZTUNNEL_WORKER_THREADS: `{given}` is neither a number nor a share such as 25%");
        return Ok(Some(match given.strip_suffix('%') {
            Some(share) => {
                let share: usize = share.parse().map_err(|_| bad())?;
                (cores * share).div_ceil(100).max(1)
            }
            None => match given.parse().map_err(|_| bad())? {
                0 => cores,
                number => number,
            },
        }));
    }
    let Some(limit) = limit else { return Ok(None) };
    let bad = || format!("ZTUNNEL_CPU_LIMIT: `{limit}` is no quantity such as 2, 1.5 or 500m");
    let thousandths: f64 = match limit.strip_suffix('m') {
        Some(number) => number.parse().map_err(|_| bad())?,
        None => limit.parse::<f64>().map_err(|_| bad())? * 1000.0,
    };
    if !thousandths.is_finite() || !(0.0..=1e9).contains(&thousandths) {
        return Err(bad().into());
    }
    let whole = (1..=cores.max(1024)).find(|threads| *threads as f64 * 1000.0 >= thousandths);
    Ok(whole.map(|threads| threads.max(1)))
}

/// A duration as Go writes it: `10s`, `5m`, `24h`, `1h30m`, `250ms`.
fn duration(text: &str) -> Result<Duration, String> {
    let bad = || format!("`{text}` is no duration such as 10s, 5m or 24h");
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(bad)?;
        let (number, after) = rest.split_at(end);
        let number: u64 = number.parse().map_err(|_| bad())?;
        let unit_end = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, after) = after.split_at(unit_end);
        let seconds = |factor: u64| number.checked_mul(factor).map(Duration::from_secs).ok_or_else(bad);
        total += match unit {
            "ms" => Duration::from_millis(number),
            "s" => seconds(1)?,
            "m" => seconds(60)?,
            "h" => seconds(3600)?,
            _ => return Err(bad()),
        };
        rest = after;
    }
    if text.is_empty() { Err(bad()) } else { Ok(total) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations() {
        assert_eq!(duration("1h30m"), Ok(Duration::from_secs(5400)));
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        for bad in ["", "10", "h", "1d", "-1s", "99999999999999999999s", "18446744073709551615h"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn worker_threads() {
        let cores = std::thread::available_parallelism().unwrap().get();
        assert_eq!(threads(Some("3"), None).unwrap(), Some(3));
        assert_eq!(threads(Some("0"), None).unwrap(), Some(cores));
        assert_eq!(threads(Some("1%"), None).unwrap(), Some(1));
        assert_eq!(threads(None, Some("500m")).unwrap(), Some(1));
        assert_eq!(threads(None, Some("1.5")).unwrap(), Some(2));
        assert_eq!(threads(None, None).unwrap(), None);
        assert!(threads(Some("x"), None).is_err() && threads(None, Some("nan")).is_err());
    }

    #[test]
    fn ztunnels_variables_give_ztunnels_meaning() {
        let mut settings = Settings::ambient();
        let environment = Environment {
            proxy_mode: Some("dedicated".into()),
            control_plane: Some(String::new()),
            dns_capture: Some("false".into()),
            original_source: Some(false),
            socks5: Some(true),
            termination_grace: Some(30),
            ..Environment::default()
        };
        environment.apply(&mut settings, false).unwrap();
        assert_eq!((settings.mode, settings.control_plane.as_deref()), (Mode::Dedicated, None));
        assert_eq!((settings.dns.enabled, settings.socks5_port, settings.drain_seconds), (false, 15080, 25));
        let mut settings = Settings::ambient();
        Environment::default().apply(&mut settings, false).unwrap();
        assert_eq!(settings.control_plane.as_deref(), Some("https://localhost:15012"));
        assert_eq!(settings.control_plane_name.as_deref(), Some("localhost"));
        let fake = Environment { fake_ca: Some(true), ..Environment::default() };
        assert!(fake.apply(&mut settings, false).unwrap_err().to_string().contains("LOCAL_CA_DIR"));
    }
}
