//! Clients against servers that say what a script says: in memory with paused time, and over loopback sockets.

mod authorizer;
mod by_http;
mod limiter;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request, Response};
use http_body::Frame;
use mesh_core::companion::ext_authz::{Check, Peer};
use mesh_core::companion::{CompanionError, GrpcService};
use mesh_core::filter::Metadata;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tonic::body::Body;
use tonic::transport::{Channel, Endpoint};
use tower::util::BoxCloneSyncService;
use tower::{Service, service_fn};

/// The time of all clocks here.
fn now() -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::new(1_700_000_000, 5)
}

const LIMIT: Duration = Duration::from_millis(200);

fn grpc() -> GrpcService {
    GrpcService::new("companion", Some(LIMIT))
}

fn check() -> Check {
    let peer = |address: &str, principal: &str| Peer {
        address: address.parse().unwrap(),
        principal: principal.into(),
        certificate: None,
    };
    Check {
        source: peer("10.0.0.1:4711", "spiffe://d/web"),
        destination: peer("[2001:db8::1]:80", ""),
        method: http::Method::POST,
        scheme: "https",
        authority: "shop.example".into(),
        path: "/cart?item=7".into(),
        version: http::Version::HTTP_2,
        headers: Vec::new(),
        raw_headers: false,
        id: String::new(),
        size: None,
        body: None,
        context: [].into(),
        metadata: Metadata::default(),
        server_name: None,
    }
}

/// A body of frames with pauses of pending between them, that may never end.
struct Frames {
    frames: std::vec::IntoIter<Result<Frame<Bytes>, std::io::Error>>,
    hangs: bool,
}

impl http_body::Body for Frames {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        match self.frames.next() {
            Some(frame) => Poll::Ready(Some(frame)),
            None if self.hangs => Poll::Pending,
            None => Poll::Ready(None),
        }
    }
}

fn frames(frames: Vec<Result<Frame<Bytes>, std::io::Error>>, hangs: bool) -> Body {
    Body::new(Frames { frames: frames.into_iter(), hangs })
}

fn data(bytes: &[u8]) -> Result<Frame<Bytes>, std::io::Error> {
    Ok(Frame::data(Bytes::copy_from_slice(bytes)))
}

fn trailers(status: &'static str) -> Result<Frame<Bytes>, std::io::Error> {
    Ok(Frame::trailers(HeaderMap::from_iter([("grpc-status".parse().unwrap(), HeaderValue::from_static(status))])))
}

/// A message of gRPC.
fn framed(message: &[u8]) -> Vec<u8> {
    let mut framed = vec![0];
    framed.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
    framed.extend(message);
    framed
}

fn grpc_response(body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    response.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    response
}

type Script = BoxCloneSyncService<Request<Body>, Response<Body>, std::io::Error>;

/// A way to answer a call of gRPC badly, and whether an error tells it.
type BadCall = (&'static str, Script, fn(&CompanionError) -> bool);

/// Ways to answer a call of gRPC badly; `good` is a message that would be an answer.
fn bad_calls(good: &[u8]) -> Vec<BadCall> {
    fn script(answer: impl Fn() -> Response<Body> + Clone + Send + Sync + 'static) -> Script {
        BoxCloneSyncService::new(service_fn(move |_| std::future::ready(Ok(answer()))))
    }
    let unavailable = |error: &CompanionError| matches!(error, CompanionError::Unavailable(_));
    let late = |error: &CompanionError| *error == CompanionError::Timeout(LIMIT);
    let good = framed(good);
    let half = good[..good.len() - 1].to_vec();
    let begun = good.clone();
    let huge = framed(&vec![0; crate::limits::MAX_COMPANION_ANSWER_BYTES + 1]);
    let reset = || std::io::Error::from(std::io::ErrorKind::ConnectionReset);
    vec![
        ("a page", script(|| Response::new(Body::new("<html>".to_owned()))), unavailable),
        ("status 503", script(|| Response::builder().status(503).body(Body::empty()).unwrap()), unavailable),
        ("no message", script(|| grpc_response(frames(vec![trailers("0")], false))), unavailable),
        ("a failure", script(|| grpc_response(frames(vec![trailers("14")], false))), unavailable),
        ("its own deadline", script(|| grpc_response(frames(vec![trailers("4")], false))), late),
        (
            "noise",
            script(|| grpc_response(frames(vec![data(&framed(b"\xff\xff\xff")), trailers("0")], false))),
            unavailable,
        ),
        ("no end of a frame", script(move || grpc_response(frames(vec![data(&half)], false))), unavailable),
        (
            "a frame of the largest length",
            script(|| grpc_response(frames(vec![data(b"\0\xff\xff\xff\xff")], false))),
            unavailable,
        ),
        ("too much", script(move || grpc_response(frames(vec![data(&huge)], false))), unavailable),
        ("silence after the head", script(|| grpc_response(frames(vec![], true))), late),
        ("silence before the trailers", script(move || grpc_response(frames(vec![data(&begun)], true))), late),
        ("a reset", script(move || grpc_response(frames(vec![Err(reset())], false))), unavailable),
        ("no connection", BoxCloneSyncService::new(service_fn(move |_| std::future::ready(Err(reset())))), unavailable),
        ("nothing", BoxCloneSyncService::new(service_fn(|_| std::future::pending())), late),
        (
            "never ready",
            {
                #[derive(Clone)]
                struct Busy;
                impl Service<Request<Body>> for Busy {
                    type Response = Response<Body>;
                    type Error = std::io::Error;
                    type Future = std::future::Pending<Result<Response<Body>, std::io::Error>>;

                    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), std::io::Error>> {
                        Poll::Pending
                    }

                    fn call(&mut self, _: Request<Body>) -> Self::Future {
                        std::future::pending()
                    }
                }
                BoxCloneSyncService::new(Busy)
            },
            late,
        ),
    ]
}

/// A channel to a peer that answers every connection with these bytes, and then closes it or stays silent.
async fn raw_peer(answer: &'static [u8], stays: bool) -> (SocketAddr, Pin<Box<dyn Future<Output = ()>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let serve = async move {
        let mut open = Vec::new();
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = [0; 1024];
            let _ = stream.read(&mut head).await;
            let _ = stream.write_all(answer).await;
            if stays {
                open.push(stream);
            }
        }
    };
    (address, Box::pin(serve))
}

fn channel(address: SocketAddr) -> Channel {
    Endpoint::from_shared(format!("http://{address}")).unwrap().connect_lazy()
}
