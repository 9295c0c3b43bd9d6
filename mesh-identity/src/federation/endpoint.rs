use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use http::{Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use mesh_core::live::Live;
use rustls::ServerConfig;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;

use crate::bundle::Bundle;
use crate::task::Tasks;

/// Most connections at a time.
const MAX_CONNECTIONS: usize = 512;

/// Longest time for a handshake, and for the head of a request.
const PATIENCE: Duration = Duration::from_secs(10);

/// Longest life of a connection.
const MAX_LIFE: Duration = Duration::from_secs(60);

/// Publishes a bundle over HTTPS, to everybody: a bundle is no secret. The same server serves both profiles; which one it
/// is the certificate in `tls` decides.
#[derive(Debug, Clone)]
pub struct BundleEndpoint {
    bundle: Live<Bundle>,
    path: Arc<str>,
}

impl BundleEndpoint {
    /// An endpoint of a bundle at `/`.
    #[must_use]
    pub fn new(bundle: Live<Bundle>) -> Self {
        Self { bundle, path: "/".into() }
    }

    /// Serves at another path.
    #[must_use]
    pub fn at(self, path: &str) -> Self {
        Self { path: path.into(), ..self }
    }

    /// Answers one request.
    #[must_use]
    pub fn answer<B>(&self, request: &Request<B>) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::default());
        if request.uri().path() != &*self.path {
            *response.status_mut() = StatusCode::NOT_FOUND;
            return response;
        }
        if request.method() != Method::GET {
            *response.status_mut() = StatusCode::METHOD_NOT_ALLOWED;
            response.headers_mut().insert(ALLOW, http::HeaderValue::from_static("GET"));
            return response;
        }
        let text = self.bundle.load().to_document();
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
        let tag = format!("\"{}\"", crate::jose::encode(digest.as_ref()));
        let known = request.headers().get(IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == tag.as_bytes());
        if let Ok(tag) = tag.parse() {
            response.headers_mut().insert(ETAG, tag);
        }
        response.headers_mut().insert(CACHE_CONTROL, http::HeaderValue::from_static("no-cache"));
        if known {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            return response;
        }
        response.headers_mut().insert(CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
        *response.body_mut() = Full::from(text);
        response
    }

    /// Accepts connections for ever.
    ///
    /// # Cancel safety
    /// Dropping the future ends the listener; connections end with `tasks`.
    pub async fn serve(self, listener: TcpListener, tls: Arc<ServerConfig>, tasks: Tasks) {
        let acceptor = TlsAcceptor::from(tls);
        let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        loop {
            let Ok(permit) = Arc::clone(&permits).acquire_owned().await else { return };
            let (tcp, peer) = match listener.accept().await {
                Ok(accepted) => accepted,
                Err(error) => {
                    tracing::warn!(%error, "accept failed");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            };
            let (acceptor, endpoint) = (acceptor.clone(), self.clone());
            tasks.spawn(async move {
                let _permit = permit;
                let Ok(Ok(tls)) = tokio::time::timeout(PATIENCE, acceptor.accept(tcp)).await else {
                    tracing::debug!(%peer, "no TLS with a reader of the bundle");
                    return;
                };
                let service = service_fn(|request: Request<Incoming>| {
                    let response = endpoint.answer(&request);
                    async move { Ok::<_, Infallible>(response) }
                });
                let mut server = hyper_util::server::conn::auto::Builder::new(TokioExecutor::new());
                server.http1().timer(TokioTimer::new()).header_read_timeout(PATIENCE);
                server.http2().timer(TokioTimer::new()).max_concurrent_streams(8);
                let served = tokio::time::timeout(MAX_LIFE, server.serve_connection(TokioIo::new(tls), service));
                let _ = served.await;
            });
        }
    }
}
