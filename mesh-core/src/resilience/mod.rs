//! What keeps requests alive when servers are slow or fail, and servers when there are too many requests.
//!
//! The [`Forwarder`] stands at the end of a chain of filters and does what a route says: time limits, retries, hedging,
//! copies, edits of heads. It chooses endpoints and sends through [`Upstreams`], which the program hands in. The same alone,
//! around any service: [`TimeoutLayer`], [`RetryLayer`], [`HedgeLayer`], [`MirrorLayer`], [`ConcurrencyLayer`]. And filters:
//! [`Faults`], [`Cors`], [`LocalRateLimiting`], [`Sessions`], [`EditHeaders`], [`BodyLimit`], [`ReadDeadline`],
//! [`PassDeadline`].
//!
//! ```
//! use std::future::{Ready, ready};
//! use std::sync::Arc;
//! use std::time::Instant;
//!
//! use bytes::Bytes;
//! use http::{Request, Response, StatusCode};
//! use http_body_util::{Empty, Full};
//! use mesh_core::balance::{
//!     self, Assignment, Balancer, Circuit, Cluster, Discovery, Endpoint, LocalityEndpoints, Pick, PickError, Setup,
//! };
//! use mesh_core::filter::{Chain, FilterLayer};
//! use mesh_core::live::Live;
//! use mesh_core::name::Locality;
//! use mesh_core::resilience::{ForwardSettings, Forwarder, ReplayBody, SendError, Upstream, Upstreams, Work};
//! use mesh_core::route::{
//!     Action, Forward, PathMatch, RetryOn, RetryPolicy, Route, RouteConfig, RouteMatch, RouteTable, VirtualHost,
//! };
//! use tower::{Layer, ServiceExt};
//!
//! /// A cluster whose first endpoint is broken. A real one sends over connections.
//! #[derive(Clone)]
//! struct Shop(Balancer);
//!
//! impl<B> Upstreams<B> for Shop {
//!     type Upstream = Self;
//!
//!     fn upstream(&self, cluster: &str) -> Option<Self> {
//!         (cluster == "shop").then(|| self.clone())
//!     }
//! }
//!
//! impl<B> Upstream<B> for Shop {
//!     type Body = Full<Bytes>;
//!     type Sending = Ready<Result<Response<Full<Bytes>>, SendError>>;
//!
//!     fn pick(&self, request: &balance::Request<'_>, now: Instant) -> Result<Pick, PickError> {
//!         self.0.pick(request, &mut fastrand::Rng::new(), now)
//!     }
//!
//!     fn circuit(&self, _: &Pick) -> Circuit {
//!         self.0.circuit()
//!     }
//!
//!     fn send(&self, pick: &Pick, _: Request<B>) -> Self::Sending {
//!         let mut response = Response::new(Full::new(Bytes::from("cart")));
//!         if pick.address().port() == 1 {
//!             *response.status_mut() = StatusCode::BAD_GATEWAY;
//!         }
//!         ready(Ok(response))
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let endpoints = vec![Endpoint::new("10.0.0.1:1".parse()?), Endpoint::new("10.0.0.1:2".parse()?)];
//! let assignment = Assignment::new("shop", vec![LocalityEndpoints::new(Locality::default(), endpoints)]);
//! let cluster = Arc::new(Cluster::new("shop", Discovery::Eds { service_name: None }));
//! let now = tokio::time::Instant::now().into_std();
//! let shop = Shop(Balancer::new(cluster, &assignment, Setup::default(), now));
//!
//! // Everything is sent to the shop, and again until it goes well.
//! let mut forward = Forward::to("shop");
//! forward.retry = Some(RetryPolicy { on: RetryOn::GATEWAY_ERROR, retries: 50, ..RetryPolicy::default() });
//! let route = Route::new(RouteMatch::new(PathMatch::prefix("/")), Action::Forward(Box::new(forward)));
//! let host = VirtualHost { domains: vec!["*".into()], routes: vec![route], ..VirtualHost::default() };
//! let table = RouteTable::new(RouteConfig { hosts: vec![host], ..RouteConfig::default() })?;
//! let chain = Chain { routes: Some(Arc::new(table)), filters: Vec::new() };
//!
//! let spawn = |_: Work| {};
//! let forwarder = Forwarder::new(shop, spawn, ForwardSettings::default());
//! let proxy = FilterLayer::chain(Live::constant(chain)).layer(forwarder);
//! let request = Request::builder().uri("http://shop.example/").body(Empty::<Bytes>::new())?;
//! assert_eq!(proxy.oneshot(request).await?.status(), StatusCode::OK);
//! # Ok(())
//! # }
//! ```
//!
//! Time is tokio's, so that tests may stop it; everything that is carried out beside requests is handed to a [`Spawn`].

mod attempts;
mod body;
mod deadline;
mod filter;
mod forward;
mod layer;
mod limits;
mod progress;
mod replay;
mod timer;
mod tracked;

pub use body::{ResponseBody, ResponseError};
pub use filter::{
    BodyLimit, Cors, Deadline, EditHeaders, Faults, LocalRateLimiting, PassDeadline, ReadDeadline, Sessions,
};
pub use forward::{
    EnvoyHeaders, ForwardSettings, Forwarder, Forwarding, Overrides, SendError, SendFailure, Spawn, Upstream,
    Upstreams, Work,
};
pub use layer::{
    ConcurrencyLayer, HedgeLayer, Judge, Limited, Limiting, MirrorLayer, Mirrored, Retried, RetryLayer, Retrying,
    Timed, TimeoutLayer, Timing, Unseen,
};
pub use limits::{Expired, TimeLimits};
pub use replay::{BodyError, ReplayBody};

/// Any error.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;
