use std::future::Future;
use std::hash::{Hash, Hasher};
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::pin::Pin;
use std::sync::Arc;

use mesh_core::balance::{Assignment, Circuit, CircuitSettings, Due, Endpoint, HealthCheck, HttpProtocol, ProbeId};
use mesh_identity::task::Tasks;
use tower::ServiceExt;

use crate::http::{Client, ClientSettings, Transport};

/// Where a probe goes to.
#[derive(Debug, Clone)]
pub struct ProbeTarget {
    /// The address that is connected to: that of the endpoint, unless the check or the endpoint name another.
    pub address: SocketAddr,
    /// The endpoint that is probed.
    pub endpoint: Arc<Endpoint>,
    /// The check, which may want another [`alpn`](HealthCheck::alpn).
    pub check: Arc<HealthCheck>,
    id: ProbeId,
}

impl ProbeTarget {
    pub(super) fn new(due: &Due) -> Self {
        Self { address: due.address(), endpoint: Arc::clone(&due.endpoint), check: Arc::clone(&due.check), id: due.id }
    }
}

/// Probes of the same check of the same endpoint may share a connection.
impl PartialEq for ProbeTarget {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id && self.address == other.address
    }
}

impl Eq for ProbeTarget {}

impl Hash for ProbeTarget {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.id.hash(state);
        self.address.hash(state);
    }
}

pub(super) type Connecting = Pin<Box<dyn Future<Output = Option<Box<dyn Transport>>> + Send>>;

/// The connections of probes: nobody else's, so that a probe tells of the endpoint and not of a pool.
pub(super) struct Clients {
    /// By whether HTTP/2 is spoken, and whether connections are kept.
    http: [[Client<ProbeTarget>; 2]; 2],
    connect: Box<dyn Fn(ProbeTarget) -> Connecting + Send + Sync>,
}

impl Clients {
    pub(super) fn new<C>(connector: C, tasks: &Tasks) -> Self
    where
        C: tower::Service<ProbeTarget> + Clone + Send + Sync + 'static,
        C::Response: Transport,
        C::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
        C::Future: Send,
    {
        let client = |protocol, max_requests_per_connection| {
            let settings = ClientSettings { protocol, max_requests_per_connection, ..ClientSettings::default() };
            Client::new(connector.clone(), settings, Circuit::new(CircuitSettings::default()), tasks.clone())
        };
        let of = |protocol| [client(protocol, Some(NonZeroU32::MIN)), client(protocol, None)];
        let http = [of(HttpProtocol::Http1), of(HttpProtocol::Http2)];
        let connect = Box::new(move |target| {
            let connector = connector.clone();
            let connecting =
                async move { connector.oneshot(target).await.ok().map(|io| Box::new(io) as Box<dyn Transport>) };
            Box::pin(connecting) as Connecting
        });
        Self { http, connect }
    }

    pub(super) fn http(&self, check: &HealthCheck, is_http2: bool) -> &Client<ProbeTarget> {
        &self.http[usize::from(is_http2)][usize::from(check.reuse_connection)]
    }

    pub(super) fn connect(&self, target: ProbeTarget) -> Connecting {
        (self.connect)(target)
    }

    /// Lets go of connections to endpoints that are gone.
    pub(super) fn retain(&self, assignment: &Assignment) {
        let there: std::collections::HashSet<_> = assignment.endpoints().map(|endpoint| endpoint.address).collect();
        for client in self.http.iter().flatten() {
            client.retain(|target| there.contains(&target.endpoint.address));
        }
    }
}
