#![allow(clippy::disallowed_methods, reason = "a start to count from; nothing waits")]

mod assignment;
mod circuit;
mod ejection;
mod hashing;
mod health;
mod locality;
mod picker;
mod priority;
mod service;
mod slow_start;
mod state;
mod subset;
mod zone;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use proptest::prelude::*;

use super::*;
use crate::name::Locality;
use crate::route::Priority;
use crate::tls::{UpstreamTls, ValidationSource};

fn at(index: usize) -> SocketAddr {
    SocketAddr::from(([10, 0, (index / 250) as u8, (index % 250) as u8], 80))
}

fn endpoint(index: usize, weight: u32) -> Endpoint {
    Endpoint { weight: NonZeroU32::new(weight).unwrap(), ..Endpoint::new(at(index)) }
}

fn locality(zone: &str, priority: u32, weight: u32, endpoints: Vec<Endpoint>) -> LocalityEndpoints {
    let locality = Locality::new("eu", zone, "");
    LocalityEndpoints { locality, priority, weight: NonZeroU32::new(weight), endpoints }
}

/// Endpoints of these weights in one locality.
fn flat(weights: &[u32]) -> Assignment {
    let endpoints = weights.iter().enumerate().map(|(index, weight)| endpoint(index, *weight)).collect();
    Assignment::new("c", vec![locality("a", 0, 1, endpoints)])
}

fn cluster(policy: Policy) -> Cluster {
    let circuit = Thresholds { max_requests: u32::MAX, ..Thresholds::default() };
    let circuit = CircuitSettings { default: circuit, ..CircuitSettings::default() };
    Cluster { policy, circuit, ..Cluster::new("c", Discovery::Eds { service_name: None }) }
}

struct Bench {
    balancer: Balancer,
    rng: fastrand::Rng,
    now: Instant,
}

impl Bench {
    fn new(cluster: Cluster, assignment: &Assignment) -> Self {
        Self::with(cluster, assignment, Setup { seed: 7, ..Setup::default() })
    }

    fn with(cluster: Cluster, assignment: &Assignment, setup: Setup) -> Self {
        let now = Instant::now();
        let balancer = Balancer::new(Arc::new(cluster), assignment, setup, now);
        Self { balancer, rng: fastrand::Rng::with_seed(42), now }
    }

    fn pick(&mut self, hash: Option<u64>) -> Result<Pick, PickError> {
        self.balancer.pick(&Request { hash, ..Request::default() }, &mut self.rng, self.now)
    }

    /// How often each endpoint is picked when requests end at once.
    fn counts(&mut self, picks: usize) -> BTreeMap<SocketAddr, usize> {
        let mut counts = BTreeMap::new();
        for _ in 0..picks {
            let pick = self.pick(None).unwrap();
            *counts.entry(pick.address()).or_default() += 1;
            pick.finish(Outcome::OK, self.now);
        }
        counts
    }

    /// The endpoint of each hash.
    fn by_hash(&mut self, hashes: impl IntoIterator<Item = u64>) -> HashMap<u64, SocketAddr> {
        hashes.into_iter().map(|hash| (hash, self.pick(Some(hash)).unwrap().address())).collect()
    }

    fn active(&self) -> u32 {
        self.balancer.status().iter().map(|status| status.active).sum()
    }
}

/// Pearson's statistic: how far counts are from what they are expected to be.
fn chi_square(counts: &BTreeMap<SocketAddr, usize>, expected: &[(usize, f64)], picks: usize) -> f64 {
    let term = |(index, share): &(usize, f64)| {
        let expected = share * picks as f64;
        (counts.get(&at(*index)).copied().unwrap_or_default() as f64 - expected).powi(2) / expected
    };
    expected.iter().map(term).sum()
}

/// What 0.1 % of fair experiments with so many shares are above (Wilson and Hilferty's approximation of the quantile).
fn far(shares: usize) -> f64 {
    let freedom = (shares - 1) as f64;
    let part = 2.0 / (9.0 * freedom);
    freedom * (1.0 - part + 3.0902 * part.sqrt()).powi(3)
}

/// Whether a count is as far from what is expected as 1 of 10,000 binomial ones is: four standard deviations.
fn is_binomial(count: usize, of: usize, share: f64) -> bool {
    let of = of as f64;
    (count as f64 - of * share).abs() <= 4.0 * (of * share * (1.0 - share)).sqrt().max(0.25)
}
