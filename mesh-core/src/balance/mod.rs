//! Which endpoint of a cluster a request goes to: clusters, their endpoints, and the decisions about them, as Envoy makes
//! them.
//!
//! A [`Balancer`] is made of a [`Cluster`] and an [`Assignment`]. Of a request it is told the hash, if the cluster hashes;
//! random numbers and the time are handed in. What it answers is the endpoint, and counts the request as in flight until
//! it is dropped:
//!
//! ```
//! use std::sync::Arc;
//! use std::time::Instant;
//!
//! use mesh_core::balance::{
//!     Assignment, Balancer, Cluster, Discovery, Endpoint, LocalityEndpoints, Outcome, Request, Setup,
//! };
//! use mesh_core::name::Locality;
//!
//! let endpoints = vec![Endpoint::new("10.0.0.1:80".parse()?), Endpoint::new("10.0.0.2:80".parse()?)];
//! let assignment = Assignment::new("shop", vec![LocalityEndpoints::new(Locality::default(), endpoints)]);
//! let cluster = Arc::new(Cluster::new("shop", Discovery::Eds { service_name: None }));
//!
//! # #[allow(clippy::disallowed_methods, reason = "an example")]
//! let now = Instant::now();
//! let balancer = Balancer::new(cluster, &assignment, Setup::default(), now);
//! let mut rng = fastrand::Rng::with_seed(1);
//! let first = balancer.pick(&Request::default(), &mut rng, now)?;
//! first.finish(Outcome::OK, now);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! In this order it is decided who gets a request: categories that are dropped; the subset of endpoints, if the cluster has
//! subsets ([`SubsetSettings`]); the level of priority, by the health of all levels
//! ([`Assignment::overprovisioning_factor`], [`Cluster::panic_threshold`]); the locality, if their weights count or requests
//! stay in their zone ([`Localities`]); the endpoint, by the [`Policy`]; and whether the [`Circuit`] admits it.
//!
//! Who takes part is said by the control plane ([`Health`]), by probes ([`Checker`], [`Balancer::handle_probes`]) and by the answers of
//! the endpoints themselves ([`Detector`]); an endpoint must be healthy by all of them.

mod assignment;
mod balancer;
mod circuit;
mod cluster;
mod connection;
mod control;
mod hash;
mod health;
mod load;
mod member;
mod outlier;
mod pick;
mod picker;
mod policy;
mod priority;
pub mod service;
mod slow_start;
mod snapshot;
mod spread;
mod subset;
mod tunnel;
mod zone;

pub use assignment::{
    Assignment, Drop, Endpoint, EndpointProbe, EndpointValue, Health, InvalidAssignment, LocalityEndpoints, PerMillion,
};
pub use balancer::{Balancer, Probed, Probing, Setup, Status};
pub use circuit::{Circuit, CircuitGuard, CircuitSettings, RetryLimit, Thresholds};
pub use cluster::{Cluster, Discovery, Dns, DnsFamily, DnsHost, HttpProtocol, TransportMatch};
pub use connection::ConnectionGuard;
pub use health::{Checker, Due, GrpcProbe, HealthCheck, HttpProbe, Probe, ProbeId, ProbeMethod, ProbeResult, TcpProbe};
pub use outlier::{Change, Detection, Detector, InvalidOutlierSettings, Monitor, Outcome, OutlierSettings};
pub(crate) use pick::pick_another;
pub use pick::{Pick, PickError, Preferred, Request};
pub use policy::{
    Choice, HashFunction, Hashing, InvalidTableSize, LeastRequest, Localities, LocalityBasis, Maglev, OnPanic, Policy,
    RingHash, SlowStart, TableSize, ZoneAware,
};
pub use subset::{
    InvalidSubsetSettings, LocalityWeights, SelectorFallback, SubsetFallback, SubsetSelector, SubsetSettings,
};
pub use tunnel::{InnerTunnel, Tunnel};
pub use zone::LocalCluster;

#[cfg(test)]
mod tests;
