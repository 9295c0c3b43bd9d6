use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use crate::balance::{
    Assignment, Balancer, Cluster, Discovery, Endpoint, LocalityEndpoints, Pick, PickError, Preferred, Request, Setup,
    Tunnel,
};
use crate::name::Locality;

/// No more addresses are known at a time; the one that was met first is forgotten first.
const MOST: usize = 4096;

/// A cluster whose endpoint is the address that a connection was meant for.
#[derive(Debug)]
pub struct OriginalDestination {
    cluster: Arc<Cluster>,
    balancer: Balancer,
    /// The addresses that were met.
    met: Mutex<VecDeque<SocketAddr>>,
}

impl OriginalDestination {
    pub(super) fn new(cluster: Arc<Cluster>, now: Instant) -> Self {
        let nobody = Assignment::new(cluster.name.clone(), Vec::new());
        let setup = Setup { seed: fastrand::u64(..), ..Setup::default() };
        let balancer = Balancer::new(Arc::clone(&cluster), &nobody, setup, now);
        Self { cluster, balancer, met: Mutex::default() }
    }

    /// Its settings.
    #[must_use]
    pub fn cluster(&self) -> &Arc<Cluster> {
        &self.cluster
    }

    /// Who picks; it knows the addresses that were met.
    #[must_use]
    pub fn balancer(&self) -> &Balancer {
        &self.balancer
    }

    pub(super) fn pick(&self, request: &Request<'_>, rng: &mut fastrand::Rng, now: Instant) -> Result<Pick, PickError> {
        let address = request.original.filter(|address| self.is_endpoint(*address)).ok_or(PickError::NoEndpoints)?;
        self.meet(address, now);
        let request = Request { preferred: Some(Preferred { address, strict: true }), ..*request };
        self.balancer.pick(&request, rng, now)
    }

    /// Of an address that is nobody's, nobody may be at its end.
    fn is_endpoint(&self, address: SocketAddr) -> bool {
        match &self.cluster.discovery {
            Discovery::TunnelToOriginalDst(identities) => {
                identities.is_empty() || identities.contains_key(&address.ip())
            }
            _ => true,
        }
    }

    fn meet(&self, address: SocketAddr, now: Instant) {
        let mut met = self.met.lock().unwrap_or_else(PoisonError::into_inner);
        if met.contains(&address) {
            return;
        }
        if met.len() == MOST {
            met.pop_front();
        }
        met.push_back(address);
        let endpoints = met.iter().map(|address| self.endpoint(*address)).collect();
        let place = LocalityEndpoints::new(Locality::default(), endpoints);
        let assignment = Assignment::new(self.cluster.name.clone(), vec![place]);
        self.balancer.update(Arc::clone(&self.cluster), &assignment, now);
    }

    fn endpoint(&self, address: SocketAddr) -> Endpoint {
        let mut endpoint = Endpoint::new(address);
        if let Discovery::TunnelToOriginalDst(identities) = &self.cluster.discovery {
            let identities = identities.get(&address.ip()).into_iter().cloned().collect();
            endpoint.tunnel = Some(Tunnel { identities, ..Tunnel::default() });
        }
        endpoint
    }
}
