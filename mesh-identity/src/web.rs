//! One GET over HTTP/1.1 on a connection of its own, with a bounded body. Redirects are the caller's matter.

use std::sync::Arc;
use std::time::Duration;

use http::header::{ACCEPT, HOST, IF_NONE_MATCH};
use http::{HeaderMap, HeaderValue, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Longest time for a connection.
const CONNECT: Duration = Duration::from_secs(10);

/// What a server answered.
#[derive(Debug)]
pub(crate) struct Got {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    /// The body, if the status is 200.
    pub(crate) body: Bytes,
}

/// Asks for a JSON document of so many bytes at most; in plaintext without a configuration of TLS. With a tag, a server may
/// answer that it has not changed.
pub(crate) async fn get(
    url: &Uri,
    tls: Option<&Arc<ClientConfig>>,
    tag: Option<&HeaderValue>,
    most: usize,
) -> Result<Got, Error> {
    let host = url.host().unwrap_or_default();
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let default = if tls.is_some() { 443 } else { 80 };
    let port = url.port_u16().unwrap_or(default);
    let tcp = tokio::time::timeout(CONNECT, TcpStream::connect((bare, port)));
    let tcp = tcp.await.map_err(|_| Error::Timeout(CONNECT.as_secs()))?.map_err(Error::Connect)?;
    let path = url.path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    // Without a user's name and password, which are nobody's business there (RFC 9110 section 4.2.4).
    let authority = url.authority().map_or(host, http::uri::Authority::as_str);
    let authority = authority.rsplit_once('@').map_or(authority, |(_, place)| place);
    let mut request = Request::get(path).header(HOST, authority).header(ACCEPT, "application/json");
    if let Some(tag) = tag {
        request = request.header(IF_NONE_MATCH, tag);
    }
    let request = request.body(Empty::<Bytes>::new()).map_err(|_| Error::Host(authority.to_owned()))?;
    let Some(tls) = tls else { return exchange(tcp, request, most).await };
    let name = ServerName::try_from(bare.to_owned()).map_err(|_| Error::Host(host.to_owned()))?;
    let tls = TlsConnector::from(Arc::clone(tls)).connect(name, tcp);
    let tls = tls.await.map_err(|error| match crate::verify::rejection(&error) {
        Some(reason) => Error::Rejected(reason.clone()),
        None => Error::Tls(error),
    })?;
    exchange(tls, request, most).await
}

async fn exchange<I>(io: I, request: Request<Empty<Bytes>>, most: usize) -> Result<Got, Error>
where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(io)).await.map_err(Error::Http)?;
    let exchange = async {
        let response = sender.send_request(request).await.map_err(Error::Http)?;
        let (head, body) = response.into_parts();
        let body = match head.status {
            // No content encoding was asked for, so what comes is the document itself and its size is known.
            StatusCode::OK => {
                let body = Limited::new(body, most).collect().await;
                body.map_err(|error| Error::Body(error.to_string()))?.to_bytes()
            }
            _ => Bytes::new(),
        };
        Ok(Got { status: head.status, headers: head.headers, body })
    };
    // The connection must be driven while the exchange waits for it; its own end is told by the exchange.
    let mut connection = std::pin::pin!(connection);
    let mut exchange = std::pin::pin!(exchange);
    let mut driving = true;
    loop {
        tokio::select! {
            biased;
            answer = &mut exchange => return answer,
            _ = &mut connection, if driving => driving = false,
        }
    }
}

/// A document did not come.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("no connection")]
    Connect(#[source] std::io::Error),
    #[error("no answer within {0} s")]
    Timeout(u64),
    #[error("`{0}` is no host")]
    Host(String),
    #[error("the server is not who it should be")]
    Rejected(#[source] crate::verify::Error),
    #[error("no TLS")]
    Tls(#[source] std::io::Error),
    #[error("the server breaks HTTP")]
    Http(#[source] hyper::Error),
    #[error("the document did not come whole: {0}")]
    Body(String),
}
