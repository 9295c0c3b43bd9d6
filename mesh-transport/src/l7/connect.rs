use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;

use mesh_core::name::Text;
use mesh_core::tls::UpstreamTls;

use super::BoxError;
use crate::http::Transport;
use crate::socket::Sockets;

/// An endpoint to be connected to.
#[derive(Debug, Clone)]
pub struct Target {
    /// Where it is.
    pub address: SocketAddr,
    /// Its host name, if it is known by one; empty otherwise.
    pub hostname: Text,
    /// The cluster that it is of.
    pub cluster: Text,
    /// How the connection is to be secured, if the cluster says so.
    pub tls: Option<Arc<UpstreamTls>>,
}

/// A connection to come.
pub type Connecting = Pin<Box<dyn Future<Output = Result<Box<dyn Transport>, BoxError>> + Send>>;

/// How endpoints are reached.
pub trait Connect: Send + Sync + 'static {
    /// Connects to an endpoint.
    fn connect(&self, target: Target) -> Connecting;
}

/// Endpoints are reached by TCP, in plaintext. What is to be secured is refused: it must not go in plaintext.
#[derive(Debug, Clone, Default)]
pub struct Direct {
    sockets: Sockets,
}

impl Direct {
    /// With these sockets.
    #[must_use]
    pub fn new(sockets: Sockets) -> Self {
        Self { sockets }
    }
}

impl Connect for Direct {
    fn connect(&self, target: Target) -> Connecting {
        let sockets = self.sockets.clone();
        Box::pin(async move {
            if target.tls.is_some() {
                return Err(format!("cluster `{}` wants TLS, which is not spoken here", target.cluster).into());
            }
            let stream = sockets.connect(target.address).await?;
            Ok(Box::new(stream) as Box<dyn Transport>)
        })
    }
}
