//! Filters: what looks at requests on their way to a service, answers some of them instead, and edits the others.
//!
//! A [`Filter`] decides about the head of a request, and may edit the head of the response. Access control, verification of
//! tokens, faults, CORS and rate limits are filters. A [`FilterLayer`] puts one of them before any axum, tonic or hyper
//! service, or a [`Chain`] of many that may change at run time, with a route table that says which of them run where.
//!
//! Most decisions need nothing but what is at hand; they cost neither an allocation nor a wake-up. Those that ask somebody
//! else return [`Step::Wait`].
//!
//! ```
//! use bytes::Bytes;
//! use http::{Request, Response, StatusCode};
//! use http_body_util::{Empty, Full};
//! use mesh_core::filter::{Answer, Begun, Exchange, Filter, FilterLayer, Step};
//! use tower::{Layer, ServiceExt, service_fn};
//!
//! /// Lets in who names a tenant.
//! struct Tenants;
//!
//! impl Filter for Tenants {
//!     fn on_request(&self, head: &mut http::request::Parts, _: &mut Exchange) -> Step {
//!         match head.headers.contains_key("x-tenant") {
//!             true => Step::Next,
//!             false => Step::Answer(Answer::new(StatusCode::FORBIDDEN, "no tenant", "tenant_missing")),
//!         }
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let shop = service_fn(async |_: Request<Begun<Empty<Bytes>>>| {
//!     Ok::<_, std::convert::Infallible>(Response::new(Full::new(Bytes::from("cart"))))
//! });
//! let service = FilterLayer::new(Tenants).layer(shop);
//!
//! let answer = service.clone().oneshot(Request::new(Empty::new())).await?;
//! assert_eq!(answer.status(), StatusCode::FORBIDDEN);
//! let answer = service.oneshot(Request::builder().header("x-tenant", "42").body(Empty::new())?).await?;
//! assert_eq!(answer.status(), StatusCode::OK);
//! # Ok(())
//! # }
//! ```

mod answer;
mod authorize;
mod body;
mod chain;
mod exchange;
mod flag;
mod normalize;

use std::fmt;
use std::pin::Pin;

use http::{request, response};

pub use answer::Answer;
pub use authorize::Authorize;
pub use body::{Begun, BodyDemand, FilterBody};
pub use chain::{Chain, FilterLayer, Filtered, Filtering, Named};
pub use exchange::{Connection, Exchange, PeerNames, Reached, Routed};
pub use flag::{Flag, Flags};
pub use normalize::NormalizePath;

pub use crate::request::Metadata;

/// What looks at requests on their way to a service.
pub trait Filter: Send + Sync {
    /// Decides about a request by its head, which it may edit.
    fn on_request(&self, head: &mut request::Parts, exchange: &mut Exchange) -> Step;

    /// Edits the head of the response: the service's, or the answer of a filter further in. It is not called for a request
    /// that this filter or one further out has answered.
    fn on_response(&self, head: &mut response::Parts, exchange: &mut Exchange) {
        let _ = (head, exchange);
    }

    /// How much of the body it must have seen before it decides; nothing, unless it says so. What was read is in
    /// [`Exchange::body`], and is passed on too.
    fn body(&self, head: &request::Parts, exchange: &Exchange) -> Option<BodyDemand> {
        let _ = (head, exchange);
        None
    }
}

/// What a filter says about a request.
#[must_use]
pub enum Step {
    /// It goes on.
    Next,
    /// It is answered with this, and goes no further.
    Answer(Answer),
    /// The filter asks somebody first.
    Wait(Wait),
}

impl Step {
    /// Waits for a future, then goes on with what it says.
    pub fn wait<F, R>(future: F) -> Self
    where
        F: Future<Output = R> + Send + 'static,
        R: FnOnce(&mut request::Parts, &mut Exchange) -> Self + Send + 'static,
    {
        Self::Wait(Box::pin(async move { Box::new(future.await) as Resume }))
    }
}

impl fmt::Debug for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Next => f.write_str("Next"),
            Self::Answer(answer) => f.debug_tuple("Answer").field(answer).finish(),
            Self::Wait(_) => f.write_str("Wait"),
        }
    }
}

/// What a filter waits for.
pub type Wait = Pin<Box<dyn Future<Output = Resume> + Send>>;

/// What a filter does when its waiting is over.
pub type Resume = Box<dyn FnOnce(&mut request::Parts, &mut Exchange) -> Step + Send>;

#[cfg(test)]
mod tests;
