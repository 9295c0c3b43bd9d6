//! The balancer as a tower service: each request goes to an endpoint's own service, and what becomes of it is reported.
//!
//! ```
//! use std::sync::Arc;
//!
//! use http::{Request, Response, StatusCode};
//! use mesh_core::balance::service::{Balanced, PickHint};
//! use mesh_core::balance::{
//!     Assignment, Balancer, Cluster, Discovery, Endpoint, LocalityEndpoints, Policy, RingHash, Setup,
//! };
//! use mesh_core::name::Locality;
//! use tower::{ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let endpoints = ["10.0.0.1:80", "10.0.0.2:80", "10.0.0.3:80"].map(|at| at.parse().map(Endpoint::new));
//! let endpoints = endpoints.into_iter().collect::<Result<Vec<_>, _>>()?;
//! let assignment = Assignment::new("shop", vec![LocalityEndpoints::new(Locality::default(), endpoints)]);
//! let cluster = Cluster {
//!     policy: Policy::RingHash(RingHash::default()),
//!     ..Cluster::new("shop", Discovery::Eds { service_name: None })
//! };
//!
//! let clock = || tokio::time::Instant::now().into_std();
//! let balancer = Balancer::new(Arc::new(cluster), &assignment, Setup::default(), clock());
//! // A connection to the endpoint; here something that answers with its address.
//! let connect = |_: &Cluster, endpoint: &Endpoint| {
//!     let address = endpoint.address;
//!     let answer = move || Ok::<_, std::convert::Infallible>(Response::new(address.to_string()));
//!     service_fn(move |_: Request<String>| std::future::ready(answer()))
//! };
//! let shop = Balanced::new(balancer, connect, clock);
//!
//! let mut request = Request::new(String::new());
//! request.extensions_mut().insert(PickHint { hash: Some(42), ..PickHint::default() });
//! let response = shop.clone().oneshot(request.clone()).await?;
//! assert_eq!(response.status(), StatusCode::OK);
//! // The same customer goes to the same endpoint.
//! let again = shop.oneshot(request).await?;
//! assert_eq!(again.into_body().into_inner(), response.into_body().into_inner());
//! # Ok(())
//! # }
//! ```

mod balanced;
mod body;
mod error;
mod future;
mod hint;
mod make;
mod tried;
pub(crate) mod verdict;

pub use balanced::Balanced;
pub use body::BalancedBody;
pub use error::BalancedError;
pub use future::BalancedFuture;
pub use hint::PickHint;
pub use make::{Classify, MakeEndpoint, Unreached};
pub use tried::Tried;
