use std::collections::BTreeMap;
use std::time::Duration;

use http::HeaderName;

use super::table::FilterOverrides;
use super::{Fraction, HashPolicy, HeaderEdits, HostRewrite, PathRewrite, RateLimit, Redirect, RetryPolicy};
use crate::name::Text;
use crate::request::{Field, Request};

/// What a route does.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Sends the request to a cluster.
    Forward(Box<Forward>),
    /// Sends the client elsewhere.
    Redirect(Redirect),
    /// Answers.
    Respond(DirectResponse),
    /// Nothing: the route of a server that is the destination itself.
    NonForwarding,
}

/// An answer that needs no server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectResponse {
    /// Its status, 200 to 599.
    pub status: u16,
    /// Its body.
    pub body: Vec<u8>,
}

/// How a request is sent on. Envoy's `RouteAction`.
#[derive(Debug, Clone, PartialEq)]
pub struct Forward {
    /// Where to.
    pub cluster: ClusterChoice,
    /// What is answered if that cluster is not known.
    pub missing: MissingCluster,
    /// Only to endpoints with these values in their `envoy.lb` metadata; empty for all.
    pub subset: Subset,
    /// What becomes of the path.
    pub path: Option<PathRewrite>,
    /// What becomes of the authority.
    pub host: Option<HostRewrite>,
    /// Whether an authority that is rewritten is kept in `x-forwarded-host`.
    pub append_forwarded_host: bool,
    /// From the end of the request to the end of the response, all attempts together. `None` is 15 s; zero is none.
    pub timeout: Option<Duration>,
    /// How the deadline of a gRPC call takes the place of the timeout.
    pub grpc_timeout: Option<GrpcTimeout>,
    /// Longest silence on the stream. `None` is the listener's; zero is none.
    pub idle_timeout: Option<Duration>,
    /// Longest life of the stream.
    pub stream_duration: Option<StreamDuration>,
    /// When it is tried again. `None` is the virtual host's.
    pub retry: Option<RetryPolicy>,
    /// Whether it is sent twice. `None` is the virtual host's.
    pub hedge: Option<Hedge>,
    /// What its hash is made of, for clusters that choose endpoints by it.
    pub hash: Vec<HashPolicy>,
    /// Where it is copied to. Empty is the virtual host's.
    pub mirrors: Vec<Mirror>,
    /// Against which limits it counts.
    pub priority: Priority,
    /// By what its requests are counted.
    pub rate_limits: Vec<RateLimit>,
    /// Whether they are counted by what the virtual host says too, whatever the filter says of it.
    pub include_host_rate_limits: bool,
    /// Which protocols a connection may be upgraded to here, else than the listener says.
    pub upgrades: Vec<Upgrade>,
}

/// Values of `envoy.lb` metadata.
pub type Subset = BTreeMap<Text, MetadataValue>;

/// A value of metadata. Lists and structures are not compared with, so they have no place here.
#[derive(Debug, Clone, PartialEq)]
pub enum MetadataValue {
    /// A boolean.
    Bool(bool),
    /// A number.
    Number(f64),
    /// A text.
    Text(Text),
}

/// Where a request goes.
#[derive(Debug, Clone, PartialEq)]
pub enum ClusterChoice {
    /// To this cluster.
    Named(Text),
    /// To the cluster that a header names; without it, nowhere.
    Header(Field),
    /// To one of several.
    Weighted(WeightedClusters),
}

/// Several clusters that share the requests of a route.
#[derive(Debug, Clone, PartialEq)]
pub struct WeightedClusters {
    /// The clusters. The sum of their weights is more than zero and fits 32 bits.
    pub clusters: Vec<WeightedCluster>,
    /// What chooses.
    pub choice: WeightedChoice,
}

/// What chooses among weighted clusters.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum WeightedChoice {
    /// Chance.
    #[default]
    Random,
    /// The number in a header, so that several proxies choose alike; chance without it.
    Header(HeaderName),
    /// The hash of the request, so that it stays with its cluster; chance without one.
    Hash,
}

/// One of several clusters that share the requests of a route. Envoy's `ClusterWeight`.
#[derive(Debug, Clone, PartialEq)]
pub struct WeightedCluster {
    /// Which cluster.
    pub cluster: ClusterName,
    /// Its share.
    pub weight: u32,
    /// Beside the route's: only to endpoints with these values.
    pub subset: Subset,
    /// What is done to headers.
    pub headers: HeaderEdits,
    /// What the authority becomes, unless the route says something else.
    pub host: Option<Text>,
    /// Settings of filters.
    pub filters: FilterOverrides,
}

/// A cluster, by name or by a header that names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClusterName {
    /// This one.
    Named(Text),
    /// The one a header names.
    Header(Field),
}

/// What is answered for a cluster that is not known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum MissingCluster {
    /// 503.
    #[default]
    ServiceUnavailable,
    /// 404.
    NotFound,
    /// 500.
    InternalServerError,
}

/// A copy of a request, whose answer nobody awaits. Envoy's `RequestMirrorPolicy`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirror {
    /// Where to.
    pub cluster: ClusterName,
    /// Only this part of the requests; `None` for all.
    pub fraction: Option<Fraction>,
    /// Whether the authority stays as it is; otherwise its host ends in `-shadow`.
    pub keep_host: bool,
    /// What the authority becomes instead.
    pub host: Option<Text>,
}

/// Against which limits of a cluster a request counts.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Priority {
    /// The ordinary ones.
    #[default]
    Default,
    /// Those of important requests.
    High,
}

/// Another attempt while the first is still under way. Envoy's `HedgePolicy`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Hedge {
    /// Whether the timeout of an attempt starts another without ending the first.
    pub on_per_try_timeout: bool,
}

/// How the `grpc-timeout` of a call takes the place of the route's timeout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct GrpcTimeout {
    /// The longest; zero for any.
    pub max: Duration,
    /// How much earlier than the client the proxy gives up.
    pub offset: Option<Duration>,
}

/// The longest life of a stream. Envoy's `MaxStreamDuration`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct StreamDuration {
    /// The longest; zero for any. `None` is the listener's.
    pub max: Option<Duration>,
    /// If given, the `grpc-timeout` of a call counts, but not beyond this; zero for any.
    pub grpc_max: Option<Duration>,
    /// How much earlier than the client's deadline the stream ends.
    pub grpc_offset: Option<Duration>,
}

/// Whether connections may be upgraded to a protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upgrade {
    /// The protocol, such as `websocket` or `CONNECT`.
    pub protocol: Text,
    /// Whether they may.
    pub enabled: bool,
}

impl Forward {
    /// To one cluster, with every default.
    #[must_use]
    pub fn to(cluster: &str) -> Self {
        Self::new(ClusterChoice::Named(cluster.into()))
    }

    /// To this, with every default.
    #[must_use]
    pub fn new(cluster: ClusterChoice) -> Self {
        Self {
            cluster,
            missing: MissingCluster::default(),
            subset: Subset::new(),
            path: None,
            host: None,
            append_forwarded_host: false,
            timeout: None,
            grpc_timeout: None,
            idle_timeout: None,
            stream_duration: None,
            retry: None,
            hedge: None,
            hash: Vec::new(),
            mirrors: Vec::new(),
            priority: Priority::default(),
            rate_limits: Vec::new(),
            include_host_rate_limits: false,
            upgrades: Vec::new(),
        }
    }
}

impl WeightedClusters {
    /// Which cluster's share of the sum `value` falls into.
    pub(super) fn at(&self, value: u64) -> Option<usize> {
        let sum = self.clusters.iter().map(|cluster| u64::from(cluster.weight)).sum();
        let mut left = value.checked_rem(sum)?;
        self.clusters.iter().position(|cluster| {
            let weight = u64::from(cluster.weight);
            let found = left < weight;
            left = left.saturating_sub(weight);
            found
        })
    }
}

impl WeightedCluster {
    /// A cluster with its share and nothing else.
    #[must_use]
    pub fn new(cluster: &str, weight: u32) -> Self {
        let (headers, filters) = (HeaderEdits::default(), FilterOverrides::new());
        Self {
            cluster: ClusterName::Named(cluster.into()),
            weight,
            subset: Subset::new(),
            headers,
            host: None,
            filters,
        }
    }
}

impl ClusterName {
    /// The name, unless a header should tell it and does not.
    #[must_use]
    pub fn of<'a>(&'a self, request: &Request<'a>) -> Option<&'a str> {
        match self {
            Self::Named(name) => Some(name.as_str()),
            Self::Header(name) => cluster_in(request, name),
        }
    }
}

pub(super) fn cluster_in<'a>(request: &Request<'a>, field: &Field) -> Option<&'a str> {
    request.first(field).filter(|name| !name.is_empty())
}

impl MissingCluster {
    /// The status of the answer.
    #[must_use]
    pub const fn status(self) -> u16 {
        match self {
            Self::ServiceUnavailable => 503,
            Self::NotFound => 404,
            Self::InternalServerError => 500,
        }
    }
}

impl Mirror {
    /// The authority of the copy.
    #[must_use]
    pub fn authority(&self, authority: &str) -> String {
        if let Some(host) = &self.host {
            return host.to_string();
        }
        if self.keep_host {
            return authority.to_owned();
        }
        let host = super::host::without_port(authority);
        format!("{host}-shadow{}", authority.strip_prefix(host).unwrap_or_default())
    }
}
