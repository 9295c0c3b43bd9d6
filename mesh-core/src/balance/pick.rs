use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use super::assignment::Endpoint;
use super::circuit::CircuitGuard;
use super::cluster::Cluster;
use super::member::Member;
use super::outlier::{Change, Outcome};
use super::policy::Policy;
use crate::name::{Locality, Text};
use crate::route::{Priority, Subset};

/// What a request says to who picks an endpoint for it.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Request<'a> {
    /// What requests that belong together have in common; without, it is random.
    pub hash: Option<u64>,
    /// How many times it was tried before. Consistent hashing then goes on to another endpoint.
    pub attempt: u32,
    /// Which limits it counts to.
    pub priority: Priority,
    /// The values that endpoints must have, if the cluster has subsets ([`Selected::subset`](crate::route::Selected)).
    pub subset: Option<&'a Subset>,
    /// The endpoint that it should go to if that is healthy, before anything else is considered.
    pub preferred: Option<Preferred>,
    /// Priorities that are left out as long as the others can bear anything: those that were tried, for instance.
    pub avoided_priorities: &'a [u32],
    /// The address that its connection was meant for: the endpoint of clusters that know no other
    /// ([`Discovery::OriginalDst`](super::Discovery)).
    pub original: Option<SocketAddr>,
}

/// An endpoint that a request should go to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Preferred {
    /// Where it is.
    pub address: SocketAddr,
    /// Whether no other will do.
    pub strict: bool,
}

/// Picks an endpoint that is not to be passed over, if one comes up among the first and so many others; the last of them
/// otherwise.
pub(crate) fn pick_another(
    request: &Request<'_>,
    others: u32,
    is_passed_over: impl Fn(&Pick) -> bool,
    mut pick: impl FnMut(&Request<'_>) -> Result<Pick, PickError>,
) -> Result<Pick, PickError> {
    let mut request = *request;
    let mut picked = pick(&request)?;
    for _ in 0..others {
        if !is_passed_over(&picked) {
            break;
        }
        // Not counted twice while another is looked for.
        drop(picked);
        // Consistent hashing goes on to the next endpoint.
        request.attempt = request.attempt.saturating_add(1);
        picked = pick(&request)?;
    }
    Ok(picked)
}

/// An endpoint that was picked for a request. The request counts as in flight until this is dropped. When nothing was
/// reported by then, it was cancelled, and that says nothing about the endpoint.
#[derive(Debug)]
#[must_use = "the request counts as in flight as long as its pick lives"]
pub struct Pick {
    member: Arc<Member>,
    started: Instant,
    reported: bool,
    limits: Priority,
    _admitted: CircuitGuard,
}

impl Pick {
    pub(super) fn new(member: Arc<Member>, admitted: CircuitGuard, limits: Priority, now: Instant) -> Self {
        member.track.begin();
        Self { member, started: now, reported: false, limits, _admitted: admitted }
    }

    pub(super) fn member(&self) -> &Arc<Member> {
        &self.member
    }

    /// The endpoint.
    #[must_use]
    pub fn endpoint(&self) -> &Endpoint {
        &self.member.endpoint
    }

    /// Where the endpoint is.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.member.address()
    }

    /// The cluster that it was picked of.
    #[must_use]
    pub fn cluster(&self) -> &Arc<Cluster> {
        &self.member.cluster
    }

    /// Which limits the request counts to.
    #[must_use]
    pub fn limits(&self) -> Priority {
        self.limits
    }

    /// The locality of the endpoint.
    #[must_use]
    pub fn locality(&self) -> &Locality {
        &self.member.locality
    }

    /// The priority of the endpoint.
    #[must_use]
    pub fn priority(&self) -> u32 {
        self.member.priority
    }

    /// Says how it went as soon as that is known, which may be before the request ends: latency is measured to here. Only
    /// the first report counts. Tells when the endpoint is ejected for it.
    pub fn report(&mut self, outcome: Outcome, now: Instant) -> Option<Change> {
        if std::mem::replace(&mut self.reported, true) {
            return None;
        }
        let Member { cluster, track, .. } = &*self.member;
        if let Policy::PeakEwma { decay } = cluster.policy {
            track.record(now.saturating_duration_since(self.started), outcome.is_failure(), decay, now);
        }
        self.detect(outcome, now)
    }

    fn detect(&self, outcome: Outcome, now: Instant) -> Option<Change> {
        let Member { cluster, track, balancer, .. } = &*self.member;
        let detection = track.monitor.handle_result(outcome, cluster.outlier.as_ref()?)?;
        balancer.upgrade()?.handle_detection(self.member.address(), detection, now)
    }

    /// The endpoint broke off an answer that had begun well. Counts as a failure beside what was reported.
    pub fn report_broken(&mut self, now: Instant) -> Option<Change> {
        match self.reported {
            true => self.detect(Outcome::Unreachable, now),
            false => self.report(Outcome::Unreachable, now),
        }
    }

    /// The request has ended so. As [`report`](Self::report), and it is not in flight any more.
    pub fn finish(mut self, outcome: Outcome, now: Instant) -> Option<Change> {
        self.report(outcome, now)
    }
}

impl Drop for Pick {
    fn drop(&mut self) {
        self.member.track.end();
    }
}

/// Why there is no endpoint for a request.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PickError {
    /// It is one of those that are dropped on purpose.
    #[error("dropped under category `{category}`")]
    Dropped {
        /// What it is counted under.
        category: Text,
    },
    /// The cluster has no endpoints.
    #[error("the cluster has no endpoints")]
    NoEndpoints,
    /// The cluster has endpoints, and none that may be used.
    #[error("the cluster has no healthy endpoint")]
    NoHealthyEndpoint,
    /// The cluster has no subset of endpoints with the values that the request asks for, and nothing to fall back to.
    #[error("the cluster has no endpoints with the metadata that the request asks for")]
    NoSubset,
    /// Too many requests are in flight.
    #[error("too many requests are in flight to the cluster")]
    CircuitOpen,
}

impl PickError {
    /// Whether the cluster has nobody for the request, so that the next of an aggregate is asked; otherwise it must not be sent.
    #[must_use]
    pub const fn is_absence(&self) -> bool {
        matches!(self, Self::NoEndpoints | Self::NoHealthyEndpoint | Self::NoSubset)
    }

    /// The reason in logs, metrics and headers.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Dropped { .. } => "dropped",
            Self::NoEndpoints => "no_endpoints",
            Self::NoHealthyEndpoint => "no_healthy_endpoint",
            Self::NoSubset => "no_subset",
            Self::CircuitOpen => "circuit_open",
        }
    }
}
