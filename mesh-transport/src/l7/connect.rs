use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;

use mesh_core::balance::{InnerTunnel, Tunnel};
use mesh_core::name::{Network, SpiffeId, Text};
use mesh_core::resolve::Destination;
use mesh_core::service::HBONE_PORT;
use mesh_identity::verify::Expected;

use super::BoxError;
use crate::hbone::{ConnectHeaders, WAYPOINT};
use crate::http::Transport;
use crate::proxy::{self, End, NestedHeaders, OutboundStream, Tunnels};
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
    network: Network,
}

impl Meshed {
    /// Through `tunnels`; `own` is what is said of whom they are for, our own address.
    #[must_use]
    pub fn new(tunnels: Tunnels, direct: Direct, own: SocketAddr) -> Self {
        Self { tunnels, direct, own, network: Network::default() }
    }

    /// In this network, which the far ends of tunnels to other networks are told.
    #[must_use]
    pub fn in_network(self, network: Network) -> Self {
        Self { network, ..self }
    }

    async fn open(&self, address: SocketAddr, tunnel: &Tunnel) -> Result<OutboundStream, proxy::Error> {
        let Tunnel { identities, via, inner } = tunnel;
        let Some(InnerTunnel { host, port, identities: far }) = inner else {
            let to = via.unwrap_or_else(|| SocketAddr::new(address.ip(), HBONE_PORT));
            let end = End { authority: Destination::Address(address), expected: self.expected(identities) };
            return self.tunnels.open(to, &end, self.own, &ConnectHeaders::default()).await;
        };
        let authority = Destination::Hostname(host.clone(), *port);
        let gateway = End { authority: authority.clone(), expected: self.expected(identities) };
        let end = End { authority, expected: self.expected(far) };
        let outer = ConnectHeaders { source: Some(WAYPOINT), ..ConnectHeaders::default() };
        let inner = ConnectHeaders { network: Some(self.network.to_string()), ..ConnectHeaders::default() };
        let headers = NestedHeaders { outer, inner };
        self.tunnels.open_within(address, &gateway, &end, self.own, &headers).await
    }

    /// Who may be at the end of a tunnel of which only these are named.
    ///
    /// Where nobody is named, a member of our own trust domain: that is what a mesh of Istio asks of the ends of its
    /// waypoints' tunnels. Members of federated domains must be named, since trusting a domain for what it says of itself
    /// does not make it a part of this mesh.
    fn expected(&self, named: &[SpiffeId]) -> Expected {
        match named {
            [] => Expected::TrustDomain(self.tunnels.identity().id().trust_domain().clone()),
            named => Expected::Ids(named.to_vec()),
        }
    }
}

impl Connect for Meshed {
    fn connect(&self, target: Target) -> Connecting {
        let Some(tunnel) = &target.tunnel else { return self.direct.connect(target) };
        let (meshed, tunnel) = (self.clone(), tunnel.clone());
        Box::pin(async move {
            let stream = meshed.open(target.address, &tunnel).await?;
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
