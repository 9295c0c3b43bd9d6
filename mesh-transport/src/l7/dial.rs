//! Connections to the endpoints of one cluster.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll};

use mesh_core::balance::{Balancer, Cluster, Endpoint, HttpProtocol, Probe};
use mesh_core::name::Text;
use mesh_core::tls::UpstreamTls;
use mesh_identity::tls::{Credentials, Offer, Origination};
use tower::Service;

use super::BoxError;
use super::connect::{Connect, Connecting, Target};
use crate::health::ProbeTarget;
use crate::http::Transport;

const HTTP1: &[u8] = b"http/1.1";
const HTTP2: &[u8] = b"h2";

/// An endpoint, and what is to be spoken with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Reach {
    pub(super) address: SocketAddr,
    /// What HTTP; `None` for other bytes.
    pub(super) protocol: Option<HttpProtocol>,
}

/// Connects to endpoints of one cluster, by their addresses.
#[derive(Clone)]
pub(super) struct Connector {
    connect: Arc<dyn Connect>,
    cluster: Arc<Cluster>,
    balancer: Balancer,
    /// What connections are secured by: of the cluster, and of those of its matches that say something else.
    secured: Arc<Secured>,
}

struct Secured {
    cluster: Option<Arc<Origination>>,
    matches: Vec<Option<Arc<Origination>>>,
}

impl Connector {
    pub(super) fn new(
        connect: Arc<dyn Connect>,
        credentials: &Credentials,
        cluster: Arc<Cluster>,
        balancer: Balancer,
    ) -> Self {
        let secured = |tls: &Option<UpstreamTls>| {
            tls.as_ref().map(|tls| Arc::new(Origination::new(tls.clone(), credentials.clone())))
        };
        let secured = Secured {
            cluster: secured(&cluster.tls),
            matches: cluster.transport_matches.iter().map(|one| secured(&one.tls)).collect(),
        };
        for origination in secured.matches.iter().chain([&secured.cluster]).flatten() {
            if let Err(error) = origination.ready() {
                let error = mesh_core::report::chain(&error);
                tracing::error!(cluster = %cluster.name, error, "endpoints of the cluster cannot be reached by TLS");
            }
        }
        Self { connect, cluster, balancer, secured: Arc::new(secured) }
    }

    /// `alpn` is what is to be offered, whatever the cluster says, unless it is empty.
    fn reach(&self, to: Reach, endpoint: Option<&Endpoint>, alpn: &[Text]) -> Connecting {
        let Reach { address, protocol } = to;
        let hostname = endpoint.map(|endpoint| endpoint.hostname.clone()).unwrap_or_default();
        let secured = match endpoint.and_then(|endpoint| self.cluster.transport_match_of(endpoint)) {
            Some(at) => self.secured.matches.get(at).cloned().flatten(),
            None => self.secured.cluster.clone(),
        };
        let tunnel = endpoint.and_then(|endpoint| endpoint.tunnel.clone());
        let target = Target { address, hostname: hostname.clone(), cluster: self.cluster.name.clone(), tunnel };
        let connecting = self.connect.connect(target);
        let Some(secured) = secured else { return connecting };
        let alpn = alpn.to_vec();
        Box::pin(async move {
            let stream = connecting.await?;
            let offer = Offer { instead: &alpn, otherwise: offered(protocol) };
            let stream = secured.connect(stream, hostname.as_str(), &offer).await?;
            Ok(Box::new(stream) as Box<dyn Transport>)
        })
    }
}

/// The protocols that are offered where the cluster names none, as Envoy does.
fn offered(protocol: Option<HttpProtocol>) -> &'static [&'static [u8]] {
    match protocol {
        Some(HttpProtocol::Http1) => &[HTTP1],
        Some(HttpProtocol::Http2) => &[HTTP2],
        Some(HttpProtocol::Auto) => &[HTTP2, HTTP1],
        _ => &[],
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connector").field("cluster", &self.cluster.name).finish_non_exhaustive()
    }
}

impl Service<Reach> for Connector {
    type Response = Box<dyn Transport>;
    type Error = BoxError;
    type Future = Connecting;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, to: Reach) -> Connecting {
        self.reach(to, self.balancer.endpoint(to.address).as_ref(), &[])
    }
}

/// Connects to endpoints of one cluster, to probe them.
#[derive(Clone)]
pub(super) struct Prober(pub(super) Connector);

impl Service<ProbeTarget> for Prober {
    type Response = Box<dyn Transport>;
    type Error = BoxError;
    type Future = Connecting;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, target: ProbeTarget) -> Connecting {
        let protocol = match &target.check.probe {
            Probe::Http(probe) if probe.http2 => Some(HttpProtocol::Http2),
            Probe::Http(_) => Some(HttpProtocol::Http1),
            Probe::Grpc(_) => Some(HttpProtocol::Http2),
            Probe::Tcp(_) => None,
        };
        self.0.reach(Reach { address: target.address, protocol }, Some(&target.endpoint), &target.check.alpn)
    }
}
