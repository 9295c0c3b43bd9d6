use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;

use mesh_core::balance::Tunnel;
use mesh_core::name::Text;
use mesh_core::resolve::{self, Destination};
use mesh_core::service::HBONE_PORT;

use super::BoxError;
use crate::hbone::ConnectHeaders;
use crate::http::Transport;
use crate::proxy::Tunnels;
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
    /// The tunnel that it is to be reached through, if it is.
    pub tunnel: Option<Tunnel>,
}

/// A connection to come.
pub type Connecting = Pin<Box<dyn Future<Output = Result<Box<dyn Transport>, BoxError>> + Send>>;

/// How endpoints are reached. Where a cluster wants TLS, it is spoken over the connection that comes of it.
pub trait Connect: Send + Sync + 'static {
    /// Connects to an endpoint.
    fn connect(&self, target: Target) -> Connecting;
}

/// Endpoints are reached by TCP. What is to be tunnelled is refused: it must not go in plaintext.
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

/// Endpoints are reached as a member of a mesh: those behind tunnels through these, the others directly.
#[derive(Debug, Clone)]
pub struct Meshed {
    tunnels: Tunnels,
    direct: Direct,
    own: SocketAddr,
}

impl Meshed {
    /// Through `tunnels`; `own` is what is said of whom they are for, our own address.
    #[must_use]
    pub fn new(tunnels: Tunnels, direct: Direct, own: SocketAddr) -> Self {
        Self { tunnels, direct, own }
    }
}

impl Connect for Meshed {
    fn connect(&self, target: Target) -> Connecting {
        let Some(tunnel) = &target.tunnel else { return self.direct.connect(target) };
        let tunnel = resolve::Tunnel {
            to: tunnel.via.unwrap_or_else(|| SocketAddr::new(target.address.ip(), HBONE_PORT)),
            authority: Destination::Address(target.address),
            expected: tunnel.identities.clone(),
        };
        let (tunnels, own) = (self.tunnels.clone(), self.own);
        Box::pin(async move {
            let stream = tunnels.open(&tunnel, own, &ConnectHeaders::default()).await?;
            Ok(Box::new(stream) as Box<dyn Transport>)
        })
    }
}

impl Connect for Direct {
    fn connect(&self, target: Target) -> Connecting {
        let sockets = self.sockets.clone();
        Box::pin(async move {
            if target.tunnel.is_some() {
                return Err(format!("cluster `{}` wants a tunnel, which is not spoken here", target.cluster).into());
            }
            let stream = sockets.connect(target.address).await?;
            Ok(Box::new(stream) as Box<dyn Transport>)
        })
    }
}
