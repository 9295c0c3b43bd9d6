use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use super::super::assignment::Endpoint;
use super::super::balancer::Balancer;
use super::super::cluster::Cluster;
use super::super::member::Member;
use super::super::outlier::Outcome;

/// Makes the service of an endpoint, such as a pool of connections. A function of the cluster and the endpoint is one.
///
/// It is called once for an endpoint, as long as the endpoint stays and is to be reached in the same way.
pub trait MakeEndpoint {
    /// What requests to the endpoint are handed to.
    type Service: Clone;

    /// Makes the service. It connects when it is used, not here.
    fn make(&self, cluster: &Cluster, endpoint: &Endpoint) -> Self::Service;
}

impl<F, S> MakeEndpoint for F
where
    F: Fn(&Cluster, &Endpoint) -> S,
    S: Clone,
{
    type Service = S;

    fn make(&self, cluster: &Cluster, endpoint: &Endpoint) -> S {
        self(cluster, endpoint)
    }
}

/// Says what the errors of endpoints' services say of the endpoints. A function of the error is one.
pub trait Classify<E> {
    /// How a request ended that ended in this error.
    fn outcome(&self, error: &E) -> Outcome;
}

impl<F, E> Classify<E> for F
where
    F: Fn(&E) -> Outcome,
{
    fn outcome(&self, error: &E) -> Outcome {
        self(error)
    }
}

/// Takes every error for an endpoint that was not reached.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Unreached;

impl<E> Classify<E> for Unreached {
    fn outcome(&self, _: &E) -> Outcome {
        Outcome::Unreachable
    }
}

/// The services of the endpoints that were used.
#[derive(Debug)]
pub(super) struct Services<S> {
    kept: Mutex<Kept<S>>,
}

#[derive(Debug)]
struct Kept<S> {
    /// Which state of the balancer the services are of.
    generation: u64,
    by_address: HashMap<SocketAddr, (Arc<Member>, S)>,
}

impl<S: Clone> Services<S> {
    pub(super) fn new() -> Self {
        Self { kept: Mutex::new(Kept { generation: 0, by_address: HashMap::new() }) }
    }

    /// The service of an endpoint, made if there is none.
    pub(super) fn get(&self, balancer: &Balancer, member: &Arc<Member>, make: impl FnOnce() -> S) -> S {
        let generation = balancer.generation();
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.generation < generation {
            kept.generation = generation;
            let members: HashMap<_, _> =
                balancer.members().into_iter().map(|member| (member.address(), member)).collect();
            kept.by_address
                .retain(|address, (before, _)| members.get(address).is_some_and(|now| same_way(before, now)));
        }
        let (_, service) = kept.by_address.entry(member.address()).or_insert_with(|| (Arc::clone(member), make()));
        service.clone()
    }
}

/// Whether an endpoint is reached in the same way as before.
fn same_way(before: &Member, now: &Member) -> bool {
    let of_cluster = |member: &Member| {
        let Cluster { connect_timeout, protocol, max_requests_per_connection, .. } = *member.cluster;
        (connect_timeout, protocol, max_requests_per_connection)
    };
    let (one, other) = (&before.endpoint, &now.endpoint);
    of_cluster(before) == of_cluster(now)
        && one.additional_addresses == other.additional_addresses
        && one.hostname == other.hostname
        && one.transport_labels == other.transport_labels
        && one.tunnel == other.tunnel
        && before.cluster.tls_of(&before.endpoint) == now.cluster.tls_of(&now.endpoint)
}
