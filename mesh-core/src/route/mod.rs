//! Route tables as Envoy has them: which cluster a request goes to, or what it is answered instead; what becomes of its
//! path, authority and headers; what its hash is made of; when it is tried again.
//!
//! Everything is a decision about a [`Request`](crate::request::Request) that is handed in; randomness and time are handed
//! in too. A table is indexed once, then asked without locks, and a match allocates nothing.
//!
//! ```
//! use http::{HeaderMap, Method};
//! use mesh_core::request::Request;
//! use mesh_core::route::{Action, Forward, PathMatch, Route, RouteConfig, RouteMatch, RouteTable, VirtualHost};
//!
//! let forward = |cluster| Action::Forward(Box::new(Forward::to(cluster)));
//! let host = VirtualHost {
//!     domains: vec!["*.shop.example".into()],
//!     routes: vec![
//!         Route::new(RouteMatch::new(PathMatch::prefix("/cart")), forward("carts")),
//!         Route::new(RouteMatch::new(PathMatch::prefix("/")), forward("pages")),
//!     ],
//!     ..VirtualHost::default()
//! };
//! let table = RouteTable::new(RouteConfig { hosts: vec![host], ..RouteConfig::default() })?;
//!
//! let headers = HeaderMap::new();
//! let request = Request::new(&Method::GET, "www.shop.example", "/cart?item=7", &headers);
//! let selected = table.find(&request, 42)?;
//! assert_eq!(selected.cluster(&request), Some("carts"));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Where a setting stands on several levels, [`Selected`] answers with the one that counts.

mod action;
mod check;
mod cors;
mod edits;
mod fault;
mod hash;
mod host;
mod index;
mod local_rate_limit;
mod matcher;
mod mutation;
mod rate_limit;
mod retry;
mod rewrite;
mod selected;
mod selection;
mod session;
mod table;
mod template;
mod timeout;

pub use action::{
    Action, ClusterChoice, ClusterName, DirectResponse, Forward, GrpcTimeout, Hedge, MetadataValue, Mirror,
    MissingCluster, Priority, StreamDuration, Subset, Upgrade, WeightedChoice, WeightedCluster, WeightedClusters,
};
pub use check::{BodyOverride, CheckBody, CheckOverride};
pub use cors::CorsPolicy;
pub use edits::HeaderMutation;
pub use fault::{Fault, FaultAbort, FaultDelay, FaultLength, FaultStatus};
pub use hash::{CookieKey, HashKey, HashPolicy, RequestHash};
pub use local_rate_limit::{LocalDescriptor, LocalRateLimit, OwnRateLimit};
pub use matcher::{CookieMatch, Denominator, Fraction, PathMatch, QueryCondition, QueryMatch, RouteMatch};
pub use mutation::{Addition, AppendAction, HeaderEdits, Mutation};
pub use rate_limit::{
    DescriptorAction, Hits, HostLimits, LimitOverride, MetadataPath, Quota, RateLimit, RateLimitOverride, RateUnit,
};
pub use retry::{AvoidHost, BackOff, Outcome, RateLimitedBackOff, ResetFormat, ResetHeader, RetryOn, RetryPolicy};
pub use rewrite::{HostRewrite, PathRewrite, Redirect, RedirectPath, RedirectStatus};
pub use selected::Selected;
pub use selection::Selection;
pub use session::{SessionState, StatefulSession};
pub use table::{FilterOverride, FilterOverrides, Route, RouteConfig, RouteTable, TableError, Unrouted, VirtualHost};
pub use template::{Template, TemplateError};
pub use timeout::Timeouts;
pub(crate) use timeout::grpc_timeout;

#[cfg(test)]
mod tests;
