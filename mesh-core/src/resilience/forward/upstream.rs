use std::pin::Pin;
use std::time::Instant;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;

use super::SendError;
use crate::balance::{self, Circuit, Pick, PickError};
use crate::resilience::BoxError;

/// The clusters that requests are sent to. `B` is the body of a request.
pub trait Upstreams<B> {
    /// A cluster at work.
    type Upstream: Upstream<B>;

    /// The cluster of this name, if it is known.
    fn upstream(&self, cluster: &str) -> Option<Self::Upstream>;
}

/// A cluster at work: its endpoints, and the connections to them.
pub trait Upstream<B> {
    /// The body of a response.
    type Body: Body<Data = Bytes, Error: Into<BoxError>> + Unpin;
    /// A request under way. Dropping it, or the body of its response, ends the request.
    type Sending: Future<Output = Result<Response<Self::Body>, SendError>>;

    /// An endpoint for an attempt.
    ///
    /// # Errors
    /// Without one, says why.
    fn pick(&self, request: &balance::Request<'_>, now: Instant) -> Result<Pick, PickError>;

    /// The limits of the cluster that an endpoint was picked of.
    fn circuit(&self, pick: &Pick) -> Circuit;

    /// Sends a request to an endpoint. Its target has the scheme and the authority that the client used, unless the route
    /// says otherwise; how it looks on the wire is for the sender.
    fn send(&self, pick: &Pick, request: Request<B>) -> Self::Sending;
}

/// Work that goes on when its request has ended.
pub type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Who carries out work beside requests: copies of them.
pub trait Spawn: Send + Sync {
    /// Carries this out.
    fn spawn(&self, work: Work);
}

impl<F: Fn(Work) + Send + Sync> Spawn for F {
    fn spawn(&self, work: Work) {
        self(work);
    }
}
