use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use mesh_core::limit::{Bucket, TokenBucket};
use tokio::net::TcpListener;
use tokio::sync::{Notify, Semaphore};
use tokio::time::Instant;

use super::git::{Judge, Refused};

/// How many calls a webhook answers in a minute, and at once.
const CALLS: TokenBucket = TokenBucket::new(30, Duration::from_secs(60));
/// The longest body, as GitHub limits it.
const MAX_BODY: u64 = 25 * 1024 * 1024;
/// How long a call may take.
const TIME_LIMIT: Duration = Duration::from_secs(10);
/// How many calls are answered at a time.
const AT_ONCE: usize = 16;

/// Webhooks by which others say that it is time to look at a source.
#[derive(Debug, Clone, Default)]
pub struct Hooks(BTreeMap<Arc<str>, Arc<Hook>>);

#[derive(Debug)]
struct Hook {
    secret: PathBuf,
    wake: Arc<Notify>,
    bucket: Bucket,
}

#[derive(Debug, Clone)]
struct Shared {
    hooks: Hooks,
    calls: Arc<Semaphore>,
}

impl Hooks {
    pub(super) fn add(&mut self, name: &Arc<str>, secret: PathBuf, wake: Arc<Notify>) {
        let bucket = Bucket::new(CALLS, Instant::now().into_std());
        self.0.insert(Arc::clone(name), Arc::new(Hook { secret, wake, bucket }));
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Answers `POST /hooks/git/<name>`: 202 to who knows the secret.
    ///
    /// # Cancel safety
    /// Dropping the future ends it.
    pub async fn serve(self, listener: TcpListener) {
        let shared = Shared { hooks: self, calls: Arc::new(Semaphore::new(AT_ONCE)) };
        let router = Router::new().route("/hooks/git/{name}", post(called));
        if let Err(error) = axum::serve(listener, router.with_state(shared)).await {
            tracing::error!(%error, "webhooks are answered no more");
        }
    }
}

async fn called(State(shared): State<Shared>, Path(name): Path<String>, headers: HeaderMap, body: Body) -> StatusCode {
    let Some(hook) = shared.hooks.0.get(name.as_str()) else { return StatusCode::NOT_FOUND };
    if !hook.bucket.take(Instant::now().into_std()).allowed {
        return StatusCode::TOO_MANY_REQUESTS;
    }
    let Ok(_call) = shared.calls.try_acquire() else { return StatusCode::SERVICE_UNAVAILABLE };
    match tokio::time::timeout(TIME_LIMIT, hook.judge(&headers, body)).await {
        Ok(Ok(())) => {
            hook.wake.notify_one();
            StatusCode::ACCEPTED
        }
        Ok(Err(status)) => {
            tracing::warn!(source = name, status = status.as_u16(), "a call of the webhook counts for nothing");
            status
        }
        Err(_) => StatusCode::REQUEST_TIMEOUT,
    }
}

impl Hook {
    async fn judge(&self, headers: &HeaderMap, mut body: Body) -> Result<(), StatusCode> {
        use http_body_util::BodyExt;

        let secret = tokio::fs::read_to_string(&self.secret).await.map_err(|error| {
            tracing::error!(path = %self.secret.display(), %error, "the secret of a webhook cannot be read");
            StatusCode::SERVICE_UNAVAILABLE
        })?;
        let refused = |_: Refused| StatusCode::UNAUTHORIZED;
        let mut judge = Judge::new(headers, secret.trim().as_bytes()).map_err(refused)?;
        let mut bytes = 0_u64;
        while let Some(frame) = body.frame().await {
            let Ok(piece) = frame.map_err(|_| StatusCode::BAD_REQUEST)?.into_data() else { continue };
            bytes = bytes.saturating_add(piece.len() as u64);
            if bytes > MAX_BODY {
                return Err(StatusCode::PAYLOAD_TOO_LARGE);
            }
            judge.update(&piece);
        }
        judge.finish().map_err(refused)
    }
}
