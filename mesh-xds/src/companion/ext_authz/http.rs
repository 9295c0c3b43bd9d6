use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use mesh_core::companion::CompanionError;
use mesh_core::companion::ext_authz::{Authorizer, Check, Checking, HttpService};
use mesh_core::report::chain;
use tower::{Service, ServiceExt};

use crate::companion::call::{unavailable, within};
use crate::limits::MAX_COMPANION_ANSWER_BYTES;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// An external authorizer that is asked by plain HTTP.
pub struct HttpAuthorizer<S> {
    client: S,
    service: Arc<HttpService>,
}

impl<S> HttpAuthorizer<S> {
    /// An authorizer that is reached by a client of HTTP. The client leads to the service's cluster; the URI of a question
    /// names the host that the request was for.
    pub fn new(client: S, service: HttpService) -> Self {
        Self { client, service: Arc::new(service) }
    }
}

impl<S> fmt::Debug for HttpAuthorizer<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpAuthorizer").field("service", &self.service).finish_non_exhaustive()
    }
}

impl<S, B> Authorizer for HttpAuthorizer<S>
where
    S: Service<Request<Full<Bytes>>, Response = Response<B>, Error: Into<BoxError>, Future: Send>,
    S: Clone + Send + Sync + 'static,
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    fn check(&self, check: Check) -> Checking {
        let (client, service) = (self.client.clone(), Arc::clone(&self.service));
        Box::pin(within(self.service.timeout, async move {
            let request = service.request(check)?.map(Full::new);
            let answer = client.oneshot(request).await.map_err(|error| unavailable(chain(&*error.into())))?;
            let (head, body) = answer.into_parts();
            let body =
                Limited::new(body, MAX_COMPANION_ANSWER_BYTES).collect().await.map_err(|error| match error
                    .is::<LengthLimitError>(
                ) {
                    true => CompanionError::TooLarge(MAX_COMPANION_ANSWER_BYTES),
                    false => unavailable(chain(&*error)),
                })?;
            service.decision(head.status, &head.headers, body.to_bytes())
        }))
    }
}
