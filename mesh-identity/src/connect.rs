//! Clients whose servers are known: a connector that speaks TLS by SPIFFE, for tonic, hyper and whatever else takes a tower
//! service from URIs to connections.
//!
//! ```
//! # use std::sync::Arc;
//! # use mesh_core::name::parse_spiffe_id;
//! use mesh_identity::connect::Connector;
//! use mesh_identity::verify::Expected;
//! # async fn example(me: mesh_identity::tls::Identity) -> Result<(), Box<dyn std::error::Error>> {
//! let db = Expected::Ids(vec![parse_spiffe_id("spiffe://td.test/db")?]);
//! let connector = Connector::new(me.client_config(db, &[b"h2"])?);
//! let channel = tonic::transport::Endpoint::from_static("http://db.internal:5432").connect_with_connector_lazy(connector);
//! # let _ = channel;
//! # Ok(())
//! # }
//! ```

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tower::Service;

/// Deadline of a connection with its TLS handshake.
const DEADLINE: Duration = Duration::from_secs(10);

/// Connects to the host and port of a URI and completes a TLS handshake; who may answer is decided by the configuration.
#[derive(Clone)]
pub struct Connector {
    tls: TlsConnector,
    to: Option<Arc<str>>,
}

impl Connector {
    /// A connector by a configuration of an [`Identity`](crate::tls::Identity), or of
    /// [`server_authenticated_client`](crate::tls::server_authenticated_client).
    #[must_use]
    pub fn new(config: Arc<ClientConfig>) -> Self {
        Self { tls: TlsConnector::from(config), to: None }
    }

    /// Connects to this host and port, whatever the URI says.
    #[must_use]
    pub fn to(self, address: impl Into<Arc<str>>) -> Self {
        Self { to: Some(address.into()), ..self }
    }
}

impl Service<Uri> for Connector {
    type Response = TokioIo<TlsStream<TcpStream>>;
    type Error = io::Error;
    type Future = Pin<Box<dyn Future<Output = io::Result<Self::Response>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let Self { tls, to } = self.clone();
        Box::pin(async move {
            let connect = async {
                let tcp = match &to {
                    Some(address) => TcpStream::connect(&**address).await?,
                    None => {
                        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
                        TcpStream::connect((host, uri.port_u16().unwrap_or(443))).await?
                    }
                };
                let _ = tcp.set_nodelay(true);
                // No part of any name is verified or sent; rustls wants one.
                let name = ServerName::try_from("spiffe").map_err(io::Error::other)?;
                let stream = tls.connect(name, tcp).await.map_err(|error| match crate::verify::rejection(&error) {
                    // What our verifier said, instead of rustls' words for it.
                    Some(reason) => io::Error::new(io::ErrorKind::PermissionDenied, reason.clone()),
                    None => error,
                })?;
                Ok(TokioIo::new(stream))
            };
            tokio::time::timeout(DEADLINE, connect).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
        })
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector").field("to", &self.to).finish_non_exhaustive()
    }
}
