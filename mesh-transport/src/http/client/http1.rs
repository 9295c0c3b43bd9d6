use std::sync::Arc;

use http::header::{CONNECTION, HOST, TE, UPGRADE};
use http::uri::Authority;
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, Version};
use hyper::client::conn::http1::{Builder, Connection};
use hyper_util::rt::TokioIo;
use mesh_core::balance::CircuitGuard;

use super::dial::Counted;
use super::error::{Failed, Mistake, SendError};
use super::lease::Http1Lease;
use super::pool::{Established, Pool};
use crate::http::body::Body;
use crate::http::interim::Interim;
use crate::http::limits::{HTTP1_BUFFER_BYTES, RESPONSE_HEAD_BYTES, RESPONSE_HEADERS};
use crate::http::upgrade::{OnUpgrade, is_switched, with_websocket_key};

pub(super) async fn handshake(io: Counted) -> Result<Established, SendError> {
    let mut builder = Builder::new();
    builder.max_header_size(RESPONSE_HEAD_BYTES as usize).max_buf_size(HTTP1_BUFFER_BYTES);
    if RESPONSE_HEADERS != 100 {
        builder.max_headers(RESPONSE_HEADERS);
    }
    let (sender, connection) = builder.handshake(TokioIo::new(io)).await.map_err(SendError::of_http1)?;
    Ok(Established::Http1(sender, connection))
}

/// Runs a connection to its end.
pub(super) async fn drive(pool: Arc<Pool>, id: u64, connection: Connection<TokioIo<Counted>, Body>) {
    let _closed = Closed { pool: &pool, id };
    let mut connection = std::pin::pin!(connection.with_upgrades());
    let mut reaped = std::pin::pin!(reap(&pool, id));
    let ended = tokio::select! {
        biased;
        ended = &mut connection => ended,
        () = &mut reaped => connection.await,
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "an HTTP/1.1 connection to an endpoint failed");
    }
}

/// Ends when a connection was let go because it was idle for too long.
pub(super) async fn reap(pool: &Arc<Pool>, id: u64) {
    let Some(limit) = pool.settings.idle_timeout else { return std::future::pending().await };
    while let Some(next) = pool.reap(id, limit) {
        tokio::time::sleep_until(next).await;
    }
}

/// A connection has ended when this is dropped.
pub(super) struct Closed<'a> {
    pub(super) pool: &'a Arc<Pool>,
    pub(super) id: u64,
}

impl Drop for Closed<'_> {
    fn drop(&mut self) {
        self.pool.closed(self.id);
    }
}

pub(super) async fn send(
    mut lease: Http1Lease,
    counted: Option<CircuitGuard>,
    mut request: Request<Body>,
) -> Result<Response<Body>, Failed> {
    let version = request.version();
    let method = request.method().clone();
    let asks = method == Method::CONNECT || request.headers().contains_key(UPGRADE);
    if let Err(error) = write_form(&mut request) {
        return Err(Failed { error, request: Some(request) });
    }
    if let Some(interim) = request.extensions().get::<Interim>().cloned() {
        hyper::ext::on_informational(&mut request, move |heard| interim.send(heard.status(), heard.headers()));
    }
    let Some(connection) = &mut lease.connection else {
        return Err(Failed { error: SendError::ConnectTimeout, request: Some(request) });
    };
    let sent = connection.sender.try_send_request(request).await;
    let mut response = match sent {
        Ok(response) => response,
        Err(mut failed) => {
            let request = failed.take_message().map(|mut request| {
                *request.version_mut() = version;
                request
            });
            let error = match (&request, failed.into_error()) {
                (Some(_), error) => SendError::Reset { sent: false, by_stream: false, source: Arc::new(error) },
                (None, error) => SendError::of_http1(error),
            };
            return Err(Failed { error, request });
        }
    };
    if asks && is_switched(&method, &response) {
        let pending = hyper::upgrade::on(&mut response);
        response.extensions_mut().insert(OnUpgrade::http1(pending));
        return Ok(response.map(|_| Body::empty().with_guard((lease, counted))));
    }
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return Err(Failed { error: SendError::Protocol(Arc::new(Mistake::Switched)), request: None });
    }
    Ok(response.map(|body| Body::http1(body).with_guard((lease, counted))))
}

/// The form of HTTP/1.1: path and query, or the authority for CONNECT.
fn write_form(request: &mut Request<Body>) -> Result<(), SendError> {
    *request.version_mut() = Version::HTTP_11;
    // What it asks for is a matter of each connection; trailers are passed on anyway.
    request.headers_mut().remove(TE);
    if *request.method() == Method::CONNECT {
        if request.uri().authority().is_none() {
            let host = request.headers().get(HOST).map(|host| Authority::try_from(host.as_bytes()));
            let Some(Ok(authority)) = host else {
                return Err(SendError::mistake(Mistake::Host));
            };
            *request.uri_mut() = Uri::builder().authority(authority).build().unwrap_or_default();
        }
        return Ok(());
    }
    if let Some(authority) = request.uri().authority() {
        if !request.headers().contains_key(HOST) {
            let host = HeaderValue::from_str(authority.as_str()).map_err(|_| SendError::mistake(Mistake::Host))?;
            request.headers_mut().insert(HOST, host);
        }
        let path = request.uri().path_and_query().cloned();
        *request.uri_mut() = Uri::from(path.unwrap_or_else(|| http::uri::PathAndQuery::from_static("/")));
    }
    if request.headers().contains_key(CONNECTION) {
        with_websocket_key(request.headers_mut());
    }
    Ok(())
}
