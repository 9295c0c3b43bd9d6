use ipnet::IpNet;

use super::{QueryMatch, Template};
use crate::name::Text;
use crate::request::{Field, HeaderMatch};

/// One thing that requests are counted by: a descriptor, made of an entry of each action. Envoy's `RateLimit` of routes.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RateLimit {
    /// It is for the filters of this stage, 0 to 10.
    pub stage: u32,
    /// What the descriptor is made of, in this order. Where an action has no entry to give there is no descriptor.
    pub actions: Vec<DescriptorAction>,
    /// The limit, instead of the one the service knows.
    pub limit: Option<LimitOverride>,
    /// How much a request counts; `None` is one hit.
    pub hits: Option<Hits>,
    /// Whether the client is told of this limit in `x-ratelimit-` headers; `None` is as the filter says.
    pub headers: Option<bool>,
}

/// What gives an entry of a descriptor.
#[derive(Debug, Clone, PartialEq)]
pub enum DescriptorAction {
    /// `source_cluster`: the name of the cluster we belong to.
    SourceCluster,
    /// `destination_cluster`: the cluster the request goes to.
    DestinationCluster,
    /// The first value of a header, under this key.
    RequestHeader {
        /// The header.
        name: Field,
        /// The key.
        key: Text,
        /// Whether the descriptor is made without this entry where the header is missing.
        skip_if_absent: bool,
    },
    /// The first value of a query parameter, decoded, under this key.
    QueryParameter {
        /// The parameter.
        name: Text,
        /// The key.
        key: Text,
        /// Whether the descriptor is made without this entry where the parameter is missing.
        skip_if_absent: bool,
    },
    /// `remote_address`: the address of the client.
    RemoteAddress,
    /// `masked_remote_address`: the network of the client's address, by the length of its prefix.
    MaskedRemoteAddress {
        /// Of IPv4, at most 32.
        v4: u8,
        /// Of IPv6, at most 128.
        v6: u8,
    },
    /// This key with this value.
    GenericKey {
        /// The key.
        key: Text,
        /// The value.
        value: Text,
    },
    /// This key with this value, if headers look so.
    HeaderMatch {
        /// The key.
        key: Text,
        /// The value.
        value: Text,
        /// Whether all of the headers must look so (`true`), or must not all look so (`false`).
        expect: bool,
        /// The headers.
        headers: Vec<HeaderMatch>,
    },
    /// This key with this value, if query parameters look so.
    QueryMatch {
        /// The key.
        key: Text,
        /// The value.
        value: Text,
        /// Whether all of the parameters must look so (`true`), or must not all look so (`false`).
        expect: bool,
        /// The parameters; their values are compared decoded.
        query: Vec<QueryMatch>,
    },
    /// This key with this value, if the client's address is in one of these networks.
    RemoteAddressMatch {
        /// The key.
        key: Text,
        /// The value.
        value: Template,
        /// The value where the other is empty; without it there is no descriptor then.
        default: Option<Text>,
        /// The networks.
        ranges: Vec<IpNet>,
        /// Whether the address must be in none of them.
        invert: bool,
    },
    /// What a filter said of the request, if it is a text.
    Metadata {
        /// The key.
        key: Text,
        /// Where it is found.
        at: MetadataPath,
        /// The value where nothing is found or it is empty.
        default: Option<Text>,
        /// Whether the descriptor is made without this entry where there is no value.
        skip_if_absent: bool,
    },
}

/// Where a value stands among what filters said of a request.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct MetadataPath {
    /// The filter that said it.
    pub filter: Text,
    /// The keys that lead to it; at least one.
    pub keys: Vec<Text>,
}

/// The limit of a descriptor, instead of the one the service knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LimitOverride {
    /// This one.
    Fixed(Quota),
    /// The one a filter said: a structure with `requests_per_unit` and `unit`; none if it is not such.
    Metadata(MetadataPath),
}

/// So many requests in some time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Quota {
    /// So many.
    pub requests: u32,
    /// In so much time.
    pub unit: RateUnit,
}

/// A unit of time that requests are counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RateUnit {
    /// A second.
    Second,
    /// A minute.
    Minute,
    /// An hour.
    Hour,
    /// A day.
    Day,
    /// A week.
    Week,
    /// A month, 30 days.
    Month,
    /// A year, 365 days.
    Year,
}

impl RateUnit {
    /// All of them, with their names.
    const ALL: [(Self, &'static str); 7] = [
        (Self::Second, "SECOND"),
        (Self::Minute, "MINUTE"),
        (Self::Hour, "HOUR"),
        (Self::Day, "DAY"),
        (Self::Week, "WEEK"),
        (Self::Month, "MONTH"),
        (Self::Year, "YEAR"),
    ];

    /// The unit of a name, such as `HOUR`.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find_map(|(unit, known)| (known == name).then_some(unit))
    }

    /// Its length in seconds.
    #[must_use]
    pub const fn seconds(self) -> u64 {
        const DAY: u64 = 24 * 60 * 60;
        match self {
            Self::Second => 1,
            Self::Minute => 60,
            Self::Hour => 60 * 60,
            Self::Day => DAY,
            Self::Week => 7 * DAY,
            Self::Month => 30 * DAY,
            Self::Year => 365 * DAY,
        }
    }
}

/// How much a request counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Hits {
    /// So much.
    Number {
        /// How much, at most 1,000,000,000.
        number: u64,
        /// Whether it is given back rather than taken.
        negative: bool,
    },
    /// As much as this text says for the request; where it is no number there is no descriptor.
    Text {
        /// The text.
        text: Template,
        /// Whether it is given back rather than taken.
        negative: bool,
    },
}

impl Hits {
    /// Most that one request may count.
    pub const MOST: u64 = 1_000_000_000;
}

/// What a level of a route table says to a filter that asks the rate limit service. Envoy's `RateLimitPerRoute`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RateLimitOverride {
    /// What becomes of the limits of the virtual host.
    pub host: HostLimits,
    /// By what requests are counted; if there is any, the limits of routes, virtual hosts and the filter do not count.
    pub limits: Vec<RateLimit>,
    /// The domain, instead of the filter's.
    pub domain: Option<Text>,
}

/// What becomes of the rate limits of a virtual host where a route is chosen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum HostLimits {
    /// They count if the route has none.
    #[default]
    Override,
    /// They count beside those of the route.
    Include,
    /// They do not count.
    Ignore,
}
