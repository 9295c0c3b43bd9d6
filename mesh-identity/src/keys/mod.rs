//! Keys for tokens of requests: JSON Web Key Sets (RFC 7517), here or at a URL, and the verification of tokens by them.
//!
//! A [`TokenVerifier`] is what `mesh_core::authn::Authenticate` asks. Keys at a URL are fetched when they are first spoken of,
//! and again before they grow old; once, and not too often, for a key whose name is not known. A fetch that fails leaves the
//! keys that are known in force. Tokens that were found good are remembered: the second time costs no signature.
//!
//! A service that demands a token of everybody:
//!
//! ```
//! use std::sync::Arc;
//!
//! use bytes::Bytes;
//! use http::{Request, Response};
//! use http_body_util::{Empty, Full};
//! use mesh_core::authn::{Authenticate, Authentication, Demand, KeySource, METADATA, Provider, Requirement, Rule};
//! use mesh_core::filter::{Exchange, FilterLayer};
//! use mesh_core::route::{PathMatch, RouteMatch};
//! use mesh_identity::clock::SystemClock;
//! use mesh_identity::keys::TokenVerifier;
//! use tower::{Layer, ServiceExt, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // Whom to believe: one issuer, whose key set (RFC 8037 appendix A.2) stands here.
//! let keys = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;
//! let mut login = Provider::anybody(KeySource::Inline(keys.into()));
//! login.payload_in_metadata = Some("payload".into());
//! let everything = RouteMatch::new(PathMatch::prefix("/"));
//! let demand = Demand::Inline(Requirement::provider("login"));
//! let config = Authentication {
//!     providers: [("login".into(), login)].into(),
//!     rules: vec![Rule { matcher: everything, demand }],
//!     ..Authentication::default()
//! };
//!
//! // A service that greets whom the token names.
//! let greet = service_fn(async |request: Request<_>| {
//!     let exchange = request.extensions().get::<Exchange>();
//!     let subject = exchange.and_then(|exchange| exchange.metadata.at(METADATA, &["payload", "sub"]));
//!     let greeting = format!("hello {}", subject.and_then(|subject| subject.as_str()).unwrap_or_default());
//!     drop(request);
//!     Ok::<_, std::convert::Infallible>(Response::new(Full::new(Bytes::from(greeting))))
//! });
//! let filter = Authenticate::new(config, Arc::new(TokenVerifier::new(Arc::new(SystemClock))))?;
//! let service = FilterLayer::new(filter).layer(greet);
//!
//! let answer = service.oneshot(Request::new(Empty::<Bytes>::new())).await?;
//! assert_eq!(answer.status(), 401);
//! assert_eq!(answer.headers()["www-authenticate"], "Bearer realm=\"http:///\"");
//! # Ok(())
//! # }
//! ```

mod cache;
mod fetch;
mod remote;
mod set;
mod verifier;

pub use fetch::{Document, Fetch, FetchError, Fetching, Web};
pub use set::{KeySet, KeySetError, Skipped};
pub use verifier::TokenVerifier;
