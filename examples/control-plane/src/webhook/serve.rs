use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http::header::{ALLOW, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Body, Bytes, Incoming as Received};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use mesh_identity::serve::Incoming;
use mesh_identity::task::Tasks;
use tokio::sync::Semaphore;

use super::review::{self, Validator, Verdict};

/// Where it is served. A path of its own, so that a wrong URL is told from a refusal.
pub(super) const PATH: &str = "/validate";

/// Most bytes of a request: an object as it is and as it is to be, each of which an API server takes up to 3 MiB of.
const MAX_BYTES: usize = 8 * 1024 * 1024;

/// How long judging may take; shorter than `timeoutSeconds`, so that it is said what took so long.
const JUDGING: Duration = Duration::from_secs(4);

/// Longest time for the head and the body of a request.
const PATIENCE: Duration = Duration::from_secs(5);

/// Longest life of a connection. API servers keep theirs and make new ones when they end.
const MAX_LIFE: Duration = Duration::from_secs(10 * 60);

/// So many objects are judged at a time, those counted that take longer than anybody waits.
const AT_ONCE: usize = 16;

/// Answers API servers. Cheap to clone.
#[derive(Clone)]
pub struct Webhook {
    validator: Arc<dyn Validator>,
    places: Arc<Semaphore>,
}

impl std::fmt::Debug for Webhook {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Webhook").finish_non_exhaustive()
    }
}

impl Webhook {
    /// Answers what a validator says.
    #[must_use]
    pub fn new(validator: Arc<dyn Validator>) -> Self {
        Self { validator, places: Arc::new(Semaphore::new(AT_ONCE)) }
    }

    /// Answers on connections for ever; these end with `tasks`. The name in the server's certificate must be the one by which
    /// API servers call it: `<service>.<namespace>.svc`.
    ///
    /// # Cancel safety
    /// Dropping the future ends the listener.
    pub async fn serve(self, mut incoming: Incoming, tasks: Tasks) {
        while let Some(connection) = incoming.next().await {
            let webhook = self.clone();
            tasks.spawn(async move {
                let service = service_fn(|request: Request<Received>| {
                    let webhook = webhook.clone();
                    async move { Ok::<_, Infallible>(webhook.answer(request).await) }
                });
                let mut server = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                server.http1().timer(TokioTimer::new()).header_read_timeout(PATIENCE);
                server.http2().timer(TokioTimer::new()).max_concurrent_streams(64);
                let served = server.serve_connection(TokioIo::new(connection), service);
                let _ = tokio::time::timeout(MAX_LIFE, served).await;
            });
        }
    }

    /// Answers one request.
    ///
    /// # Cancel safety
    /// Safe; what is being judged is judged to its end.
    pub async fn answer<B>(&self, request: Request<B>) -> Response<Full<Bytes>>
    where
        B: Body,
        B::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        if request.uri().path() != PATH {
            return text(StatusCode::NOT_FOUND, &format!("reviews are served at {PATH}"));
        }
        if request.method() != Method::POST {
            let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "reviews are posted");
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
            return response;
        }
        let body = tokio::time::timeout(PATIENCE, Limited::new(request.into_body(), MAX_BYTES).collect()).await;
        let body = match body {
            Ok(Ok(body)) => body.to_bytes(),
            Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => {
                return text(StatusCode::PAYLOAD_TOO_LARGE, &format!("a review has {MAX_BYTES} bytes at most"));
            }
            Ok(Err(_)) => return text(StatusCode::BAD_REQUEST, "the review did not come to its end"),
            Err(_) => return text(StatusCode::REQUEST_TIMEOUT, "the review did not come in time"),
        };
        let request = match review::parse(&body) {
            Ok(request) => request,
            // Without its uid no answer would be taken; an error is a refusal.
            Err(error) => return text(StatusCode::BAD_REQUEST, &error),
        };
        let uid = request.uid.clone();
        let verdict = tokio::time::timeout(JUDGING, self.judge(request)).await;
        let verdict = verdict.unwrap_or_else(|_| Verdict::refuse(format!("it was not judged within {JUDGING:?}")));
        if let Some(refusal) = &verdict.refusal {
            tracing::info!(refusal, "an object is refused");
        }
        let mut response = text(StatusCode::OK, &review::answer(&uid, verdict).to_string());
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    }

    async fn judge(&self, request: review::Request) -> Verdict {
        let Ok(place) = Arc::clone(&self.places).acquire_owned().await else { return Verdict::refuse("ending") };
        let validator = Arc::clone(&self.validator);
        let judged = tokio::task::spawn_blocking(move || {
            let _place = place;
            validator.validate(&request)
        });
        judged.await.unwrap_or_else(|_| Verdict::refuse("it could not be judged"))
    }
}

fn text(code: StatusCode, text: &str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(text.to_owned()));
    *response.status_mut() = code;
    response
}
