//! External authorization: a service is asked whether a request may pass, and may change it.
//!
//! [`ExternalAuthz`] holds the settings, [`ExternalAuthorization`] is the filter, an [`Authorizer`] carries a [`Check`] to the
//! service and its [`Decision`] back, by gRPC (`envoy.service.auth.v3`) or by HTTP. For HTTP, what goes there and what an
//! answer means is a decision too and stands here ([`HttpService`]).
//!
//! A request passes only if the service says so. If it gives no answer that can be used, [`Failure`] decides; an answer that
//! allows a request and asks for changes that cannot be made refuses it (500).
//!
//! ```
//! use std::sync::Arc;
//!
//! use bytes::Bytes;
//! use http::{Request, Response, StatusCode};
//! use http_body_util::{Empty, Full};
//! use mesh_core::companion::GrpcService;
//! use mesh_core::companion::ext_authz::{
//!     Allowance, Authorizer, Check, Checking, Decision, ExternalAuthorization, ExternalAuthz, Refusal, Service,
//! };
//! use mesh_core::filter::{Begun, FilterLayer};
//! use tower::{Layer, ServiceExt, service_fn};
//!
//! /// Lets in who knows the word.
//! #[derive(Debug)]
//! struct Word;
//!
//! impl Authorizer for Word {
//!     fn check(&self, check: Check) -> Checking {
//!         let knows = check.header("x-word") == Some(b"please");
//!         Box::pin(async move {
//!             match knows {
//!                 true => Ok(Decision::Allow(Allowance::default())),
//!                 false => Ok(Decision::Deny(Refusal { body: "the word?".into(), ..Refusal::default() })),
//!             }
//!         })
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let settings = ExternalAuthz::new(Service::Grpc(GrpcService::new("door", None)));
//! let filter = ExternalAuthorization::new(settings, Arc::new(Word));
//! let shop = service_fn(async |_: Request<Begun<Empty<Bytes>>>| {
//!     Ok::<_, std::convert::Infallible>(Response::new(Full::new(Bytes::from("cart"))))
//! });
//! let service = FilterLayer::new(filter).layer(shop);
//!
//! let answer = service.clone().oneshot(Request::new(Empty::new())).await?;
//! assert_eq!(answer.status(), StatusCode::FORBIDDEN);
//! let answer = service.oneshot(Request::builder().header("x-word", "please").body(Empty::new())?).await?;
//! assert_eq!(answer.status(), StatusCode::OK);
//! # Ok(())
//! # }
//! ```

mod check;
mod decision;
mod filter;
mod http_service;
mod query;
mod settings;

pub use check::{Check, CheckedBody, Peer};
pub use decision::{Allowance, Authorizer, Checking, Decision, Refusal};
pub use filter::ExternalAuthorization;
pub use http_service::{CheckPath, HttpService};
pub use query::{QueryEdits, QueryError};
pub use settings::{ExternalAuthz, Failure, HeaderChoice, Service};

/// Where what authorizers say of a request stands among its metadata.
pub const METADATA: &str = "envoy.filters.http.ext_authz";

#[cfg(test)]
mod tests;
