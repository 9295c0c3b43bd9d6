use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use mesh_core::report::chain;
use parking_lot::Mutex;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use serde::Deserialize;
use serde_json::json;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;

use super::review::{Bound, Review, ReviewError, ReviewToken, ServiceAccountToken};

/// Longest time for a review.
const DEADLINE: Duration = Duration::from_secs(5);

/// How long an answer counts. A node proxy that starts asks for all its workloads at once, by one token.
const REMEMBERED: Duration = Duration::from_secs(10);

/// Reviews under way at a time. Whoever reaches the port can cause one.
const CONCURRENT: usize = 32;

/// Most answers that are remembered.
const MAX_REMEMBERED: usize = 4096;

/// Largest answer of an API server that is read, in bytes.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// Shows tokens to the API server of a cluster (`TokenReview` of `authentication.k8s.io/v1`), which also knows whether their
/// service account and pod are still there. That a token is good counts for ten seconds.
pub struct ApiServer {
    url: Uri,
    tls: Option<Arc<ClientConfig>>,
    token_file: PathBuf,
    audiences: Vec<String>,
    turns: Semaphore,
    good: Mutex<HashMap<Vec<u8>, (Instant, ServiceAccountToken)>>,
}

impl ApiServer {
    /// By the API server at `url`, such as `https://kubernetes.default.svc`, called with the token in `token_file`, which is
    /// read anew each time. Over plaintext when there is no configuration of TLS.
    #[must_use]
    pub fn new(url: Uri, tls: Option<Arc<ClientConfig>>, token_file: PathBuf, audiences: Vec<String>) -> Self {
        let (turns, good) = (Semaphore::new(CONCURRENT), Mutex::default());
        Self { url, tls, token_file, audiences, turns, good }
    }

    async fn judge(&self, token: &str) -> Result<ServiceAccountToken, ReviewError> {
        // Never the token itself: what is in memory may end up in a dump.
        let key = digest(&SHA256, token.as_bytes()).as_ref().to_vec();
        let now = Instant::now();
        if let Some((at, known)) = self.good.lock().get(&key)
            && now.saturating_duration_since(*at) < REMEMBERED
        {
            return Ok(known.clone());
        }
        let asked = tokio::time::timeout(DEADLINE, self.ask(token)).await;
        let known = match asked {
            Ok(Ok(review)) => self.read(review)?,
            Ok(Err(error)) => return Err(ReviewError::Unavailable(error)),
            Err(_) => return Err(ReviewError::Unavailable(format!("no answer within {} s", DEADLINE.as_secs()))),
        };
        let mut good = self.good.lock();
        if good.len() >= MAX_REMEMBERED {
            good.retain(|_, (at, _)| now.saturating_duration_since(*at) < REMEMBERED);
        }
        if good.len() < MAX_REMEMBERED {
            good.insert(key, (now, known.clone()));
        }
        Ok(known)
    }

    async fn ask(&self, token: &str) -> Result<TokenReview, String> {
        // Never closed.
        let _turn = self.turns.acquire().await.map_err(|error| error.to_string())?;
        let host = self.url.host().ok_or("the URL has no host")?;
        let default = if self.tls.is_some() { 443 } else { 80 };
        let port = self.url.port_u16().unwrap_or(default);
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let own = tokio::fs::read_to_string(&self.token_file).await;
        let own = own.map_err(|error| format!("{}: {error}", self.token_file.display()))?;
        let body = json!({
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenReview",
            "spec": {"token": token, "audiences": self.audiences},
        });
        let prefix = self.url.path().trim_end_matches('/');
        let authority = self.url.authority().map_or(host, http::uri::Authority::as_str);
        let request = Request::post(format!("{prefix}/apis/authentication.k8s.io/v1/tokenreviews"))
            .header(HOST, authority)
            .header(ACCEPT, "application/json")
            .header(CONTENT_TYPE, "application/json")
            .header(AUTHORIZATION, format!("Bearer {}", own.trim()))
            .body(Full::new(Bytes::from(body.to_string())))
            .map_err(|error| error.to_string())?;
        let tcp = TcpStream::connect((bare, port)).await.map_err(|error| error.to_string())?;
        let Some(tls) = &self.tls else { return exchange(tcp, request).await };
        let name = ServerName::try_from(bare.to_owned()).map_err(|error| error.to_string())?;
        let tls = TlsConnector::from(Arc::clone(tls)).connect(name, tcp).await.map_err(|error| chain(&error))?;
        exchange(tls, request).await
    }

    fn read(&self, review: TokenReview) -> Result<ServiceAccountToken, ReviewError> {
        let TokenReview { status: Status { authenticated, error, audiences, user } } = review;
        if !authenticated {
            let reason = if error.is_empty() { "the API server does not know it" } else { &error };
            return Err(ReviewError::Refused(reason.to_owned()));
        }
        // An API server that knows nothing of audiences leaves them out, and has judged by its own.
        if !audiences.iter().any(|audience| self.audiences.contains(audience)) {
            return Err(ReviewError::Refused("it is for another audience".to_owned()));
        }
        let said = ServiceAccountToken::of_subject(&user.username)?;
        let extra = |key: &str| {
            let values = user.extra.get(&format!("authentication.kubernetes.io/{key}"));
            values.and_then(|values| values.first()).cloned().unwrap_or_default()
        };
        let bound = |kind: &str| {
            let (name, uid) = (extra(&format!("{kind}-name")), extra(&format!("{kind}-uid")));
            (!name.is_empty()).then_some(Bound { name, uid })
        };
        Ok(ServiceAccountToken { pod: bound("pod"), node: bound("node"), ..said })
    }
}

impl ReviewToken for ApiServer {
    fn review<'a>(&'a self, token: &'a str) -> Review<'a> {
        Box::pin(self.judge(token))
    }
}

impl fmt::Debug for ApiServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiServer").field("url", &self.url).field("audiences", &self.audiences).finish_non_exhaustive()
    }
}

#[derive(Deserialize)]
struct TokenReview {
    status: Status,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Status {
    authenticated: bool,
    error: String,
    audiences: Vec<String>,
    user: User,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct User {
    username: String,
    extra: HashMap<String, Vec<String>>,
}

async fn exchange<I>(io: I, request: Request<Full<Bytes>>) -> Result<TokenReview, String>
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let shaken = hyper::client::conn::http1::handshake(TokioIo::new(io)).await;
    let (mut sender, connection) = shaken.map_err(|error| error.to_string())?;
    let exchange = async {
        let response = sender.send_request(request).await.map_err(|error| chain(&error))?;
        let (head, body) = response.into_parts();
        let body = Limited::new(body, MAX_ANSWER_BYTES).collect().await.map_err(|error| error.to_string())?;
        match head.status {
            StatusCode::OK | StatusCode::CREATED => serde_json::from_slice(&body.to_bytes())
                .map_err(|error| format!("the answer is no TokenReview: {error}")),
            status => Err(format!("the API server answered {status}")),
        }
    };
    // The connection must be driven while the exchange waits for it; its own end is told by the exchange.
    let (mut connection, mut exchange) = (std::pin::pin!(connection), std::pin::pin!(exchange));
    let mut driving = true;
    loop {
        tokio::select! {
            biased;
            answer = &mut exchange => return answer,
            _ = &mut connection, if driving => driving = false,
        }
    }
}
