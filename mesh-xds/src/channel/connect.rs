use std::net::SocketAddr;
use std::time::Duration;

use mesh_core::balance::Tunnel;
use mesh_core::tls::UpstreamTls;
use tonic::transport::Endpoint;

use crate::client::BoxTransport;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What a connection is to be made to.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct Target<'a> {
    /// The endpoint.
    pub address: SocketAddr,
    /// What calls are addressed to.
    pub authority: &'a str,
    /// How the connection is to be secured; `None` for plaintext.
    pub tls: Option<&'a UpstreamTls>,
    /// The tunnel through which it is to be made; `None` for none.
    pub tunnel: Option<&'a Tunnel>,
    /// How long it may take.
    pub timeout: Duration,
}

/// Makes transports to endpoints. One is made for each endpoint that is picked, and cloned for each call.
pub trait Dial: std::fmt::Debug + Send + Sync + 'static {
    /// The transport: it connects when it is used, and again when its connection is lost.
    type Transport: crate::client::Transport + Clone + Send + 'static;

    /// Makes a transport.
    ///
    /// # Errors
    /// Why there can be none, such as a way of securing it that is not known.
    fn dial(&self, target: Target<'_>) -> Result<Self::Transport, BoxError>;
}

/// Connections in plaintext; endpoints that want TLS or a tunnel are refused.
#[derive(Debug, Clone, Copy, Default)]
pub struct Plaintext;

impl Dial for Plaintext {
    type Transport = tonic::transport::Channel;

    fn dial(&self, target: Target<'_>) -> Result<Self::Transport, BoxError> {
        if target.tls.is_some() {
            return Err("the cluster is to be reached by TLS, and connections are made in plaintext".into());
        }
        if target.tunnel.is_some() {
            return Err("the endpoint is to be reached through a tunnel, and connections are made without".into());
        }
        let endpoint = Endpoint::from_shared(format!("http://{}", target.address))?;
        let endpoint = endpoint.origin(format!("http://{}", target.authority).parse()?);
        Ok(endpoint.connect_timeout(target.timeout).tcp_nodelay(true).connect_lazy())
    }
}

/// A transport that can be cloned, whatever its type.
pub(super) trait AnyTransport: Send + Sync {
    fn transport(&self) -> BoxTransport;
}

impl<T: crate::client::Transport + Clone + Send + 'static> AnyTransport for parking_lot::Mutex<T> {
    fn transport(&self) -> BoxTransport {
        self.lock().clone().boxed()
    }
}
