use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use super::OriginalDestination;
use crate::balance::{Assignment, Balancer, Cluster, Pick, PickError, Request};
use crate::name::Text;

/// The clusters that requests are sent to, by name.
pub type Clusters = BTreeMap<Text, Arc<Upstream>>;

/// A cluster at work.
#[derive(Debug)]
pub enum Upstream {
    /// One with endpoints.
    Endpoints {
        /// Its settings.
        cluster: Arc<Cluster>,
        /// Its endpoints as they were assigned.
        assignment: Arc<Assignment>,
        /// Who picks among them; it lives on through changes of both.
        balancer: Balancer,
    },
    /// Others, the most important first.
    Aggregate(Vec<Arc<Self>>),
    /// The address that a connection was meant for is the endpoint.
    OriginalDestination(OriginalDestination),
}

impl Upstream {
    /// An endpoint for a request, and the cluster it is of. Of an aggregate, from the first cluster that has one.
    ///
    /// # Errors
    /// [`PickError`]
    pub fn pick(
        &self,
        request: &Request<'_>,
        rng: &mut fastrand::Rng,
        now: Instant,
    ) -> Result<(Pick, &Arc<Cluster>), PickError> {
        match self {
            Self::Endpoints { cluster, balancer, .. } => Ok((balancer.pick(request, rng, now)?, cluster)),
            Self::Aggregate(members) => {
                let mut last = PickError::NoEndpoints;
                for member in members {
                    match member.pick(request, rng, now) {
                        Err(error) if error.is_absence() => last = error,
                        decided => return decided,
                    }
                }
                Err(last)
            }
            Self::OriginalDestination(original) => Ok((original.pick(request, rng, now)?, original.cluster())),
        }
    }

    /// The balancers below it, the most important first.
    pub fn balancers(&self) -> Box<dyn Iterator<Item = &Balancer> + '_> {
        match self {
            Self::Endpoints { balancer, .. } => Box::new(std::iter::once(balancer)),
            Self::Aggregate(members) => Box::new(members.iter().flat_map(|member| member.balancers())),
            Self::OriginalDestination(original) => Box::new(std::iter::once(original.balancer())),
        }
    }
}
