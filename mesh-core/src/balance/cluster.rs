//! What a cluster is: where its endpoints come from, and how requests are spread, limited and protected.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use super::assignment::{Assignment, Endpoint};
use super::circuit::CircuitSettings;
use super::health::HealthCheck;
use super::outlier::OutlierSettings;
use super::policy::{Localities, Policy};
use super::subset::SubsetSettings;
use crate::name::{SpiffeId, Text};
use crate::tls::UpstreamTls;

/// A group of endpoints that serve the same, and how they are used (`envoy.config.cluster.v3.Cluster`).
#[derive(Debug, Clone, PartialEq)]
pub struct Cluster {
    /// Its name, by which routes refer to it.
    pub name: Text,
    /// Where its endpoints come from.
    pub discovery: Discovery,
    /// How long a new connection may take. Default 5 s.
    pub connect_timeout: Duration,
    /// How an endpoint is chosen. Default [`Policy::PeakEwma`].
    pub policy: Policy,
    /// What localities are to who chooses. Default: their weights do not count, and requests stay in their zone.
    pub localities: Localities,
    /// How endpoints are divided by their metadata. Default: not at all.
    pub subsets: Option<SubsetSettings>,
    /// Below this share of usable endpoints, in percent, a priority level uses all of its endpoints regardless of their
    /// health. Default 50; 0 turns it off.
    pub panic_threshold: u32,
    /// Whether endpoints that were not checked yet are left out of the arithmetic of priorities rather than counted as
    /// unhealthy. Default: counted.
    pub ignore_unchecked: bool,
    /// When an endpoint is ejected for what it answers. Default: never.
    pub outlier: Option<OutlierSettings>,
    /// How much may be under way at once.
    pub circuit: CircuitSettings,
    /// How endpoints are probed. Default: not at all.
    pub health_checks: Vec<HealthCheck>,
    /// What is spoken to its endpoints. Default HTTP/1.1.
    pub protocol: HttpProtocol,
    /// How many requests a connection serves before it is closed. Default: no limit.
    pub max_requests_per_connection: Option<NonZeroU32>,
    /// How connections are secured where no match says otherwise. Default: plaintext.
    pub tls: Option<UpstreamTls>,
    /// How connections to some endpoints are secured; the first match decides.
    pub transport_matches: Vec<TransportMatch>,
    /// Whether some endpoints may be reached through tunnels ([`Endpoint::tunnel`]); TLS, if there is any, is then within the
    /// tunnel. For proxies that must know before they see the endpoints.
    pub tunnels: bool,
}

impl Cluster {
    /// A cluster with the defaults.
    #[must_use]
    pub fn new(name: impl Into<Text>, discovery: Discovery) -> Self {
        Self {
            name: name.into(),
            discovery,
            connect_timeout: Duration::from_secs(5),
            policy: Policy::default(),
            localities: Localities::default(),
            subsets: None,
            panic_threshold: 50,
            ignore_unchecked: false,
            outlier: None,
            circuit: CircuitSettings::default(),
            health_checks: Vec::new(),
            protocol: HttpProtocol::default(),
            max_requests_per_connection: None,
            tls: None,
            transport_matches: Vec::new(),
            tunnels: false,
        }
    }

    /// How connections to an endpoint are secured; `None` for plaintext.
    #[must_use]
    pub fn tls_of<A>(&self, endpoint: &Endpoint<A>) -> Option<&UpstreamTls> {
        let found = self.transport_match_of(endpoint).and_then(|at| self.transport_matches.get(at));
        found.map_or(self.tls.as_ref(), |found| found.tls.as_ref())
    }

    /// Which of [`Cluster::transport_matches`] is for an endpoint; `None` if [`Cluster::tls`] counts.
    #[must_use]
    pub fn transport_match_of<A>(&self, endpoint: &Endpoint<A>) -> Option<usize> {
        let has = |(key, value): (&Text, &Text)| endpoint.transport_labels.get(key) == Some(value);
        self.transport_matches.iter().position(|one| one.labels.iter().all(has))
    }
}

/// How connections to endpoints with certain labels are secured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransportMatch {
    /// Its name, for people.
    pub name: Text,
    /// The endpoint must have all of these ([`Endpoint::transport_labels`]).
    pub labels: BTreeMap<Text, Text>,
    /// How its connections are secured; `None` for plaintext.
    pub tls: Option<UpstreamTls>,
}

/// Where the endpoints of a cluster come from.
#[derive(Debug, Clone, PartialEq)]
pub enum Discovery {
    /// They are subscribed to.
    Eds {
        /// The name of the assignment, if it is not that of the cluster.
        service_name: Option<Text>,
    },
    /// They stand in the cluster.
    Static(Assignment),
    /// Every address that DNS answers for a host is an endpoint.
    StrictDns(Dns),
    /// The first address that DNS answers is the one endpoint; there is one host.
    LogicalDns(Dns),
    /// Other clusters, most important first; each chooses by its own policy.
    Aggregate(Vec<Text>),
    /// The address that a captured connection was meant for.
    OriginalDst,
    /// The address that a tunnelled connection was meant for, through a tunnel to it ([`Tunnel`](super::Tunnel)). The key is
    /// the address, the value who may be at its end; an address without is no endpoint. Empty when the control plane does not
    /// say who is where, as that of Istio does not: then every address is one, and [`Tunnel::identities`](super::Tunnel)
    /// says who may be there.
    TunnelToOriginalDst(BTreeMap<IpAddr, SpiffeId>),
}

impl Discovery {
    /// The name of the assignment that is subscribed to.
    #[must_use]
    pub fn eds_name<'a>(&'a self, cluster: &'a str) -> Option<&'a str> {
        match self {
            Self::Eds { service_name } => Some(service_name.as_ref().map_or(cluster, Text::as_str)),
            _ => None,
        }
    }
}

/// Hosts whose addresses DNS knows.
#[derive(Debug, Clone, PartialEq)]
pub struct Dns {
    /// The hosts, with weights and priorities.
    pub hosts: Assignment<DnsHost>,
    /// Which families of addresses are asked for. Default: IPv6, and IPv4 if there is none.
    pub family: DnsFamily,
    /// How often DNS is asked. Default 5 s.
    pub refresh: Duration,
    /// Whether the life-time of the answer replaces `refresh`. Default: no.
    pub respect_ttl: bool,
}

impl Dns {
    /// Hosts that are asked for every 5 s.
    #[must_use]
    pub fn new(hosts: Assignment<DnsHost>) -> Self {
        Self { hosts, family: DnsFamily::default(), refresh: Duration::from_secs(5), respect_ttl: false }
    }
}

/// A host whose addresses DNS knows.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct DnsHost {
    /// What DNS is asked for; may be an IP address.
    pub name: Text,
    /// The port of each address.
    pub port: u16,
}

/// Which families of addresses DNS is asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum DnsFamily {
    /// IPv6, and IPv4 if there is none.
    #[default]
    Auto,
    /// IPv4 only.
    V4Only,
    /// IPv6 only.
    V6Only,
    /// IPv4, and IPv6 if there is none.
    V4Preferred,
    /// Both.
    All,
}

/// What is spoken to the endpoints of a cluster.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum HttpProtocol {
    /// HTTP/1.1.
    #[default]
    Http1,
    /// HTTP/2, without asking.
    Http2,
    /// What ALPN says; HTTP/1.1 if it says nothing.
    Auto,
    /// What the client of the request speaks.
    Downstream,
}
