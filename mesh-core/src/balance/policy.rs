//! How an endpoint is chosen: the settings of each algorithm.

use std::num::NonZeroU32;
use std::time::Duration;

/// How an endpoint is chosen among those that take part.
#[derive(Debug, Clone, PartialEq)]
pub enum Policy {
    /// Two at random, and of them the one with the lower product of requests in flight and peak-sensitive average
    /// latency. What Mesh does for those who do not ask for something else; Envoy has no such policy of its own.
    PeakEwma {
        /// How fast old latency is forgotten: after this time it counts 1/e. Default 10 s.
        decay: Duration,
    },
    /// One after another, by weight.
    RoundRobin {
        /// Newcomers get less at first.
        slow_start: Option<SlowStart>,
    },
    /// The one with the fewest requests in flight among some.
    LeastRequest(LeastRequest),
    /// Uniformly at random.
    Random,
    /// By the hash of the request, on a ring.
    RingHash(RingHash),
    /// By the hash of the request, in a table.
    Maglev(Maglev),
    /// Always the first that is healthy.
    PickFirst {
        /// Whether each client has an order of its own, drawn by weight (gRPC A62, A113).
        shuffle: bool,
    },
    /// As the discovery says: members of an aggregate, or the original destination.
    ClusterProvided,
}

impl Policy {
    /// The latency policy with its default decay.
    pub const PEAK_EWMA: Self = Self::PeakEwma { decay: Duration::from_secs(10) };

    /// Whether requests may stay in their zone.
    pub(super) const fn is_zone_aware(&self) -> bool {
        !matches!(self, Self::RingHash(_) | Self::Maglev(_) | Self::PickFirst { .. } | Self::ClusterProvided)
    }

    /// Whether requests of the same hash go to the same endpoint.
    #[must_use]
    pub const fn hashes(&self) -> bool {
        matches!(self, Self::RingHash(_) | Self::Maglev(_))
    }
}

impl Default for Policy {
    fn default() -> Self {
        Self::PEAK_EWMA
    }
}

/// What localities are to who chooses an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Localities {
    /// A level of priority is one set of endpoints; where a local cluster is known
    /// ([`Balancer::set_local_cluster`](super::Balancer::set_local_cluster)), requests stay in their zone as far as it can
    /// bear them.
    ZoneAware(ZoneAware),
    /// First a locality by its weight and the share of it that is healthy, then an endpoint in it. A locality without a
    /// weight gets nothing. A level in panic uses all of its endpoints.
    Weighted,
}

impl Default for Localities {
    fn default() -> Self {
        Self::ZoneAware(ZoneAware::default())
    }
}

/// How requests stay in their zone. Policies that hash or always take the first do not: another endpoint would get a request
/// than the one its hash says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ZoneAware {
    /// What a level in panic does.
    pub on_panic: OnPanic,
    /// This percentage of the requests is meant to stay. Default 100; 0 turns it off.
    pub percent: u32,
    /// With fewer healthy endpoints than this in the first priority they go everywhere. Default 6.
    pub min_cluster_size: u64,
    /// With at least so many healthy endpoints in the own zone all requests stay, whether or not the zone can bear them.
    /// Default: never.
    pub force_local: Option<NonZeroU32>,
    /// What a zone is measured by.
    pub basis: LocalityBasis,
}

impl Default for ZoneAware {
    fn default() -> Self {
        Self {
            on_panic: OnPanic::default(),
            percent: 100,
            min_cluster_size: 6,
            force_local: None,
            basis: LocalityBasis::default(),
        }
    }
}

/// What a zone is measured by.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum LocalityBasis {
    /// Its healthy endpoints.
    #[default]
    Endpoints,
    /// Their weights.
    Weight,
}

/// What a level of priority in panic does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum OnPanic {
    /// Uses all endpoints regardless of their health.
    #[default]
    UseAll,
    /// Uses none.
    Fail,
}

impl OnPanic {
    pub(super) const fn fails(self) -> bool {
        matches!(self, Self::Fail)
    }
}

/// An endpoint that joins, or passes its first check, gets its weight little by little:
/// `weight * max(min_weight_percent, (time / window)^(1 / aggression))`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SlowStart {
    /// How long it lasts.
    pub window: Duration,
    /// 1 is linear; above, more comes early. Must be above 0. Default 1.
    pub aggression: f64,
    /// Least share of the weight, in percent. Default 10.
    pub min_weight_percent: f64,
}

impl SlowStart {
    /// A linear start over a window.
    #[must_use]
    pub const fn new(window: Duration) -> Self {
        Self { window, aggression: 1.0, min_weight_percent: 10.0 }
    }
}

/// Settings of [`Policy::LeastRequest`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LeastRequest {
    /// How many endpoints of equal weight are compared.
    pub choice: Choice,
    /// How much requests in flight lower the weight of endpoints of unequal weight: `weight / (active + 1)^bias`. Default 1.
    pub bias: f64,
    /// Newcomers get less at first.
    pub slow_start: Option<SlowStart>,
}

impl Default for LeastRequest {
    fn default() -> Self {
        Self { choice: Choice::Random(2), bias: 1.0, slow_start: None }
    }
}

/// How many endpoints are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Choice {
    /// So many, drawn with replacement; at least 2.
    Random(u32),
    /// All.
    All,
}

/// Settings of [`Policy::RingHash`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct RingHash {
    /// What places an endpoint on the ring.
    pub function: HashFunction,
    /// Least number of places. Default 1,024.
    pub min_size: u32,
    /// Greatest number of places, at most [`RingHash::SIZE_LIMIT`], which is the default.
    pub max_size: u32,
    /// What else consistent hashing does.
    pub hashing: Hashing,
}

impl RingHash {
    /// No ring has more places: 8,388,608.
    pub const SIZE_LIMIT: u32 = 8 << 20;
}

impl Default for RingHash {
    fn default() -> Self {
        Self {
            function: HashFunction::default(),
            min_size: 1024,
            max_size: Self::SIZE_LIMIT,
            hashing: Hashing::default(),
        }
    }
}

/// What places an endpoint on a ring.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum HashFunction {
    /// XXH64 with seed 0.
    #[default]
    XxHash,
    /// MurmurHash2, 64 bits, with the seed of libstdc++.
    Murmur2,
}

/// Settings of [`Policy::Maglev`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Maglev {
    /// The number of entries.
    pub table_size: TableSize,
    /// What else consistent hashing does.
    pub hashing: Hashing,
}

/// What ring and table have in common.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Hashing {
    /// Whether an endpoint without a key of its own is hashed by its host name rather than its address.
    pub by_hostname: bool,
    /// No endpoint has more requests in flight than this percentage of the average; what is too much goes elsewhere. At
    /// least 100. Default: no limit.
    pub balance_factor: Option<u32>,
}

/// A prime number of entries of a Maglev table, at most [`TableSize::LIMIT`]. Default 65,537.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct TableSize(u32);

impl TableSize {
    /// No table has more entries.
    pub const LIMIT: u32 = 5_000_011;

    /// A size.
    ///
    /// # Errors
    ///
    /// When it is not prime, or greater than [`LIMIT`](Self::LIMIT): with a size that is not prime an endpoint would not
    /// reach all entries.
    pub fn try_new(size: u32) -> Result<Self, InvalidTableSize> {
        let in_bounds = (2..=Self::LIMIT).contains(&size);
        let has_divisor = || (2..).take_while(|divisor| divisor * divisor <= size).any(|d| size.is_multiple_of(d));
        match in_bounds && !has_divisor() {
            true => Ok(Self(size)),
            false => Err(InvalidTableSize(size)),
        }
    }

    /// The number.
    #[must_use]
    pub const fn value(self) -> u32 {
        self.0
    }
}

impl Default for TableSize {
    fn default() -> Self {
        Self(65_537)
    }
}

/// A number that is no size of a Maglev table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0} is no prime number up to {limit}", limit = TableSize::LIMIT)]
pub struct InvalidTableSize(u32);
