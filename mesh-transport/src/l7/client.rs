use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use mesh_core::filter::{Chain, FilterLayer, Filtered};
use mesh_core::live::Live;
use mesh_core::name::Text;
use mesh_core::resilience::{EnvoyHeaders, ForwardSettings, Forwarder, Work};
use mesh_core::route::{Action, Forward, PathMatch, Route, RouteConfig, RouteMatch, RouteTable, VirtualHost};
use tower::{Layer, Service};

use super::BoxError;
use super::upstreams::ClustersAtWork;
use crate::http::Body;

/// Sends requests of our own to a cluster: its endpoints, limits, connections and outlier detection are those of the requests
/// that are passed on. Cheap to clone.
///
/// It is for filters that ask somebody ([`Extensions`](super::Extensions)). The cluster is looked for with each request. What
/// goes wrong is answered as a proxy answers it, with a status of 503; time limits are the caller's.
#[derive(Clone)]
pub struct ClusterClient {
    cluster: Text,
    service: Filtered<Forwarder<ClustersAtWork>>,
}

impl ClusterClient {
    pub(super) fn new(cluster: &str, clusters: &ClustersAtWork) -> Self {
        let mut forward = Forward::to(cluster);
        forward.timeout = Some(Duration::ZERO);
        forward.idle_timeout = Some(Duration::ZERO);
        let all = Route::new(RouteMatch::new(PathMatch::prefix("/")), Action::Forward(Box::new(forward)));
        let host = VirtualHost { domains: vec!["*".into()], routes: vec![all], ..VirtualHost::default() };
        // One domain that stands there once is always a table; without one, requests would have no route.
        let table = RouteTable::new(RouteConfig { hosts: vec![host], ..RouteConfig::default() });
        let chain = Chain { routes: table.ok().map(Arc::new), filters: Vec::new() };
        let settings = ForwardSettings { envoy_headers: EnvoyHeaders::Suppress, ..ForwardSettings::default() };
        let tasks = clusters.tasks().clone();
        let forwarder = Forwarder::new(clusters.clone(), move |work: Work| tasks.spawn(work), settings);
        let service = FilterLayer::chain(Live::constant(chain)).layer(forwarder);
        Self { cluster: cluster.into(), service }
    }
}

impl fmt::Debug for ClusterClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClusterClient").field("cluster", &self.cluster).finish_non_exhaustive()
    }
}

impl<B> Service<Request<B>> for ClusterClient
where
    B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let answered = self.service.call(request.map(Body::new));
        Box::pin(async move { Ok(answered.await?.map(Body::new)) })
    }
}
