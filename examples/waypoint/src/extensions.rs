//! Whom filters ask.

use std::fmt;
use std::sync::Arc;

use mesh_core::authn::Verifier;
use mesh_core::companion::ext_authz::{Authorizer, ExternalAuthz, HttpService, Service};
use mesh_core::companion::rate_limit::{GlobalRateLimit, RateLimiter};
use mesh_core::name::Text;
use mesh_identity::clock::{Clock, SystemClock};
use mesh_transport::l7::{ClustersAtWork, Extensions};
use mesh_xds::companion::{GrpcAuthorizer, GrpcRateLimiter, HttpAuthorizer};

/// Whom the filters of a waypoint ask: authorizers and the rate limit service are reached as any other endpoint, in the clusters
/// that the filters name.
pub(crate) struct Asked {
    verifier: Arc<dyn Verifier>,
    own: Text,
}

impl Asked {
    /// Tokens are verified by `verifier`; `own` is the cluster that the waypoint is of.
    pub(crate) fn new(verifier: Arc<dyn Verifier>, own: Text) -> Self {
        Self { verifier, own }
    }
}

impl fmt::Debug for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Asked").field("own", &self.own).finish_non_exhaustive()
    }
}

impl Extensions for Asked {
    fn verifier(&self) -> Option<Arc<dyn Verifier>> {
        Some(Arc::clone(&self.verifier))
    }

    fn authorizer(&self, settings: &ExternalAuthz, clusters: &ClustersAtWork) -> Option<Arc<dyn Authorizer>> {
        Some(match &settings.service {
            Service::Grpc(service) => {
                let client = clusters.client(service.cluster.as_str());
                Arc::new(GrpcAuthorizer::new(client, service, || SystemClock.now()))
            }
            Service::Http(service) => {
                let client = clusters.client(service.cluster.as_str());
                Arc::new(HttpAuthorizer::new(client, HttpService::clone(service)))
            }
        })
    }

    fn rate_limiter(&self, settings: &GlobalRateLimit, clusters: &ClustersAtWork) -> Option<Arc<dyn RateLimiter>> {
        let client = clusters.client(settings.service.cluster.as_str());
        Some(Arc::new(GrpcRateLimiter::new(client, &settings.service)))
    }

    fn own_cluster(&self) -> Text {
        self.own.clone()
    }
}
