use std::num::NonZeroU32;
use std::ops::Range;
use std::time::Duration;

use crate::name::Text;
use crate::string_match::Pattern;

/// An active health check (`envoy.config.core.v3.HealthCheck`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HealthCheck {
    /// What is asked, and what is a good answer.
    pub probe: Probe,
    /// How long an answer may take.
    pub timeout: Duration,
    /// Time between two probes.
    pub interval: Duration,
    /// So many failures in a row make a healthy endpoint unhealthy. The first probe of an endpoint decides at once.
    pub unhealthy_threshold: NonZeroU32,
    /// So many successes in a row make an unhealthy endpoint healthy.
    pub healthy_threshold: NonZeroU32,
    /// Up to this much is added before the first probe. Default 0.
    pub initial_jitter: Duration,
    /// Up to this much is added to each interval. Default 0.
    pub interval_jitter: Duration,
    /// Up to this percentage of the interval is added to it. Default 0.
    pub interval_jitter_percent: u32,
    /// The port that is probed, if it is not that of the endpoint.
    pub port: Option<u16>,
    /// Whether a connection serves more than one probe. Default: yes.
    pub reuse_connection: bool,
    /// Interval while the cluster has not had any traffic. Default 60 s.
    pub no_traffic_interval: Duration,
    /// As `no_traffic_interval`, for endpoints that are healthy.
    pub no_traffic_healthy_interval: Option<Duration>,
    /// Interval of endpoints that are unhealthy, if it is another.
    pub unhealthy_interval: Option<Duration>,
    /// Interval after the first failure of a healthy endpoint.
    pub unhealthy_edge_interval: Option<Duration>,
    /// Interval after the first success of an unhealthy endpoint.
    pub healthy_edge_interval: Option<Duration>,
    /// What ALPN offers, if it is not what requests offer.
    pub alpn: Vec<Text>,
}

impl HealthCheck {
    /// A check with the defaults, and both thresholds 1.
    #[must_use]
    pub const fn new(probe: Probe, timeout: Duration, interval: Duration) -> Self {
        Self {
            probe,
            timeout,
            interval,
            unhealthy_threshold: NonZeroU32::MIN,
            healthy_threshold: NonZeroU32::MIN,
            initial_jitter: Duration::ZERO,
            interval_jitter: Duration::ZERO,
            interval_jitter_percent: 0,
            port: None,
            reuse_connection: true,
            no_traffic_interval: Duration::from_secs(60),
            no_traffic_healthy_interval: None,
            unhealthy_interval: None,
            unhealthy_edge_interval: None,
            healthy_edge_interval: None,
            alpn: Vec::new(),
        }
    }
}

/// What is asked, and what is a good answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// An HTTP request.
    Http(HttpProbe),
    /// A connection, and bytes.
    Tcp(TcpProbe),
    /// `grpc.health.v1.Health/Check`; `SERVING` is good.
    Grpc(GrpcProbe),
}

/// An HTTP request as a probe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpProbe {
    /// Its authority; that of the endpoint or cluster if empty.
    pub host: Text,
    /// Its path and query.
    pub path: Text,
    /// Its method. Default GET.
    pub method: ProbeMethod,
    /// Headers that are added.
    pub headers: Vec<(Text, Text)>,
    /// Headers that are removed.
    pub remove_headers: Vec<Text>,
    /// The body of the request. Default: none.
    pub send: Vec<u8>,
    /// What must stand in the body of the answer, in this order, with anything between: a *deep* check, which a server that
    /// answers without being of any use does not pass. Default: nothing.
    pub receive: Vec<Vec<u8>>,
    /// So many bytes of the body of the answer are looked at. `None` is all. Default 1,024.
    pub body_limit: Option<u64>,
    /// What the endpoint must say that it is, in `x-envoy-upstream-healthchecked-cluster`. Default: anything.
    pub service_name: Option<Pattern>,
    /// Statuses that are good; 200 only if empty.
    pub expected_statuses: Vec<Range<u16>>,
    /// Statuses that count to the threshold rather than fail at once.
    pub retriable_statuses: Vec<Range<u16>>,
    /// Whether HTTP/2 is spoken. Default: HTTP/1.1.
    pub http2: bool,
}

impl HttpProbe {
    /// A GET request.
    #[must_use]
    pub fn new(path: impl Into<Text>) -> Self {
        Self {
            host: Text::default(),
            path: path.into(),
            method: ProbeMethod::default(),
            headers: Vec::new(),
            remove_headers: Vec::new(),
            send: Vec::new(),
            receive: Vec::new(),
            body_limit: Some(1024),
            service_name: None,
            expected_statuses: Vec::new(),
            retriable_statuses: Vec::new(),
            http2: false,
        }
    }
}

/// Method of an HTTP request as a probe.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum ProbeMethod {
    /// GET.
    #[default]
    Get,
    /// HEAD.
    Head,
    /// POST.
    Post,
    /// PUT.
    Put,
    /// DELETE.
    Delete,
    /// OPTIONS.
    Options,
    /// TRACE.
    Trace,
    /// PATCH.
    Patch,
}

/// A connection as a probe. Without bytes to send and receive, it is enough that it comes about.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TcpProbe {
    /// What is sent.
    pub send: Vec<u8>,
    /// What must come back, in this order, with anything between.
    pub receive: Vec<Vec<u8>>,
}

/// A call of gRPC's health service as a probe.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GrpcProbe {
    /// The service that is asked about; the whole server if empty.
    pub service: Text,
    /// Authority of the call; that of the endpoint or cluster if empty.
    pub authority: Text,
    /// Metadata that is added.
    pub metadata: Vec<(Text, Text)>,
}
