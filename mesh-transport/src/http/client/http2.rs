use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::client::{Builder, Connection, ResponseFuture};
use h2::{Ping, RecvStream};
use http::header::{CONNECTION, HOST, TE, TRANSFER_ENCODING, UPGRADE};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderName, Method, Request, Response, Uri, Version};
use http_body::Body as _;
use mesh_core::balance::CircuitGuard;
use mesh_identity::task::Tasks;
use tokio_util::sync::CancellationToken;

use super::ClientSettings;
use super::dial::Counted;
use super::error::{Failed, Mistake, SendError};
use super::http1::{Closed, reap};
use super::lease::Http2Lease;
use super::pool::{Established, Pool};
use crate::hbone::HboneStream;
use crate::http::body::Body;
use crate::http::interim::Interim;
use crate::http::limits::{FRAME_BYTES, RESPONSE_HEAD_BYTES, SEND_BUFFER_BYTES, UPSTREAM_INITIAL_STREAMS};
use crate::http::pipe::{Pipe, PipeError};
use crate::http::upgrade::{OnUpgrade, Translated, from_extended_response, to_extended};

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

pub(super) async fn handshake(io: Counted, settings: &ClientSettings) -> Result<Established, SendError> {
    let mut builder = Builder::new();
    builder
        .enable_push(false)
        .initial_max_send_streams(settings.concurrent_streams.min(UPSTREAM_INITIAL_STREAMS))
        .max_header_list_size(RESPONSE_HEAD_BYTES)
        .max_frame_size(FRAME_BYTES)
        .max_send_buffer_size(SEND_BUFFER_BYTES);
    if let Some(bytes) = settings.stream_window_bytes {
        builder.initial_window_size(bytes);
    }
    if let Some(bytes) = settings.connection_window_bytes {
        builder.initial_connection_window_size(bytes);
    }
    let (sender, connection) = builder.handshake(io).await.map_err(SendError::of_http2)?;
    Ok(Established::Http2(sender, connection))
}

/// Runs a connection to its end.
pub(super) async fn drive(pool: Arc<Pool>, id: u64, mut connection: Connection<Counted, Bytes>) {
    let _closed = Closed { pool: &pool, id };
    let mut reaped = std::pin::pin!(reap(&pool, id));
    let ended = tokio::select! {
        biased;
        ended = &mut connection => ended,
        () = &mut reaped => connection.await,
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "an HTTP/2 connection to an endpoint failed");
    }
}

pub(super) async fn send(
    mut lease: Http2Lease,
    counted: Option<CircuitGuard>,
    request: Request<Body>,
    tasks: &Tasks,
) -> Result<Response<Body>, Failed> {
    if let Err(error) = poll_fn(|cx| lease.sender.poll_ready(cx)).await {
        if let Some(pool) = &lease.pool {
            pool.shun_http2(lease.id);
        }
        return Err(Failed { error: unsent(error), request: Some(request) });
    }
    if request.headers().contains_key(UPGRADE) && !knows_extended(&lease).await {
        return Err(Failed { error: SendError::Protocol(Arc::new(Mistake::Extended)), request: Some(request) });
    }
    let (mut parts, body) = request.into_parts();
    let translated = match write_form(&mut parts) {
        Ok(translated) => translated,
        Err(error) => return Err(Failed { error, request: None }),
    };
    let interim = parts.extensions.remove::<Interim>();
    let tunnels = parts.method == Method::CONNECT;
    let ends = !tunnels && body.is_end_stream();
    let (mut response, stream) = match lease.sender.send_request(Request::from_parts(parts, ()), ends) {
        Ok(sent) => sent,
        Err(error) => return Err(Failed { error: unsent(error), request: None }),
    };
    if tunnels {
        let answered = poll_fn(|cx| poll_response(&mut response, interim.as_ref(), cx)).await;
        let response = answered.map_err(|error| Failed { error: SendError::of_http2(error), request: None })?;
        return Ok(tunnel(response, stream, translated, (lease, counted)));
    }

    let mut pipe = (!ends).then(|| Pipe::new(body, stream));
    let answered = poll_fn(|cx| {
        if let Some(sending) = &mut pipe
            && let Poll::Ready(sent) = Pin::new(sending).poll(cx)
        {
            pipe = None;
            if let Err(PipeError::Body(error)) = sent {
                return Poll::Ready(Err(SendError::of_body(error)));
            }
        }
        poll_response(&mut response, interim.as_ref(), cx).map_err(SendError::of_http2)
    });
    let response = answered.await.map_err(|error| Failed { error, request: None })?;

    let (head, receive) = response.into_parts();
    let body = Body::http2(receive, &head.headers);
    let body = match pipe {
        None => body.with_guard((lease, counted)),
        Some(pipe) => {
            let given_up = CancellationToken::new();
            let guard = given_up.clone().drop_guard();
            tasks.spawn_until(given_up, async move {
                // Whoever reads the response finds out; here is nobody to tell.
                let _ = pipe.await;
            });
            body.with_guard((lease, counted, guard))
        }
    };
    Ok(Response::from_parts(head, body))
}

/// Waits for the response; what is said before it is passed on.
fn poll_response(
    response: &mut ResponseFuture,
    interim: Option<&Interim>,
    cx: &mut Context<'_>,
) -> Poll<Result<Response<RecvStream>, h2::Error>> {
    if let Some(interim) = interim {
        // The response is asked for only when it is the next: it would throw away what stands before it.
        while let Some(said) = ready!(response.poll_informational(cx)) {
            let Ok(said) = said else { break };
            interim.send(said.status(), said.headers());
        }
    }
    Pin::new(response).poll(cx)
}

fn tunnel(
    response: Response<RecvStream>,
    stream: h2::SendStream<Bytes>,
    translated: Option<Translated>,
    guard: (Http2Lease, Option<CircuitGuard>),
) -> Response<Body> {
    let (head, receive) = response.into_parts();
    if !head.status.is_success() {
        let body = Body::http2(receive, &head.headers).with_guard((guard, stream));
        return Response::from_parts(head, body);
    }
    let mut response = Response::from_parts(head, Body::empty());
    response.extensions_mut().insert(OnUpgrade::ready(HboneStream::new(stream, receive), guard));
    if let Some(translated) = translated {
        from_extended_response(&mut response, translated);
    }
    response
}

/// Whether the endpoint knows extended CONNECT, which its settings say. On a new connection they may not have come yet; they
/// have when it answers a ping.
async fn knows_extended(lease: &Http2Lease) -> bool {
    if !lease.sender.is_extended_connect_protocol_enabled()
        && let Some(ping) = lease.pool.as_ref().and_then(|pool| pool.ping(lease.id))
        && let Some(ping) = ping.lock().await.as_mut()
    {
        // A connection that is gone is found to be so when it is used.
        let _ = ping.ping(Ping::opaque()).await;
    }
    lease.sender.is_extended_connect_protocol_enabled()
}

fn unsent(error: h2::Error) -> SendError {
    SendError::Reset { sent: false, by_stream: false, source: Arc::new(error) }
}

/// The form of HTTP/2: scheme, authority and path, and no headers of a connection.
fn write_form(parts: &mut http::request::Parts) -> Result<Option<Translated>, SendError> {
    let host = parts.headers.remove(HOST);
    let authority = match (parts.uri.authority(), &host) {
        (Some(authority), _) => authority.clone(),
        (None, Some(host)) => Authority::from_maybe_shared(Bytes::copy_from_slice(host.as_bytes()))
            .map_err(|_| SendError::mistake(Mistake::Host))?,
        (None, None) => return Err(SendError::mistake(Mistake::Host)),
    };
    let mut translated = None;
    if parts.headers.contains_key(UPGRADE) {
        let (protocol, kept) = to_extended(&mut parts.headers).ok_or_else(|| SendError::mistake(Mistake::Upgrade))?;
        parts.extensions.insert(protocol);
        parts.method = Method::CONNECT;
        translated = Some(kept);
    }
    for name in [CONNECTION, KEEP_ALIVE, PROXY_CONNECTION, TRANSFER_ENCODING, UPGRADE] {
        parts.headers.remove(name);
    }
    if parts.headers.get(TE).is_some_and(|value| value != "trailers") {
        parts.headers.remove(TE);
    }
    parts.version = Version::HTTP_2;
    let mut uri = http::uri::Parts::default();
    uri.authority = Some(authority);
    if parts.method != Method::CONNECT || translated.is_some() {
        let is_secure = parts.headers.get(FORWARDED_PROTO).is_some_and(|scheme| scheme == "https");
        uri.scheme = Some(if is_secure { Scheme::HTTPS } else { Scheme::HTTP });
        uri.path_and_query = parts.uri.path_and_query().cloned().or(Some(PathAndQuery::from_static("/")));
    }
    parts.uri = Uri::from_parts(uri).map_err(|_| SendError::mistake(Mistake::Target))?;
    Ok(translated)
}
