use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use mesh_core::authz::PolicySet;
use mesh_core::catalog::Catalog;
use mesh_core::live::Live;
use mesh_core::name::Network;
use mesh_core::resolve::UnreadyWaypoint;
use mesh_identity::source::Identities;
use mesh_identity::task::Tasks;

use super::Tracker;
use crate::hbone::pool::Pool;
use crate::socket::Sockets;

/// What a proxy decides by and works with. Cheap to clone.
///
/// A node proxy has one set for all its pods but for what belongs to a pod: its sockets, its pool, its tasks.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Inputs {
    /// What exists.
    pub catalog: Live<Catalog>,
    /// Who may connect to whom.
    pub policies: Live<PolicySet>,
    /// Our own identities, and whom they trust.
    pub identities: Identities,
    /// The network that this node is in.
    pub network: Network,
    /// Connections to other nodes.
    pub pool: Pool,
    /// Open connections.
    pub tracker: Tracker,
    /// Ports on which the proxy itself listens at workload addresses. No tunnel leads there.
    pub own_ports: Arc<[u16]>,
    /// How sockets are made.
    pub sockets: Sockets,
    /// Asks for what the catalog does not hold; nobody is asked by default.
    pub discovery: Option<Arc<dyn Discover>>,
    /// Further settings.
    pub options: Options,
    /// Tasks of all connections.
    pub tasks: Tasks,
}

/// Settings of the data path.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Options {
    /// How long a connection waits for the record of the local workload, which may come after its first packet.
    pub record_wait: Duration,
    /// What becomes of traffic whose waypoint is not ready.
    pub unready_waypoint: UnreadyWaypoint,
    /// Whether an application behind a PROXY protocol tunnel is reached over loopback.
    pub localhost_application_tunnel: bool,
    /// A tunnel connection of a captured workload is closed after this time without streams.
    pub pool_idle: Duration,
    /// Whether answers to tunnels describe the workload behind them.
    pub response_baggage: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            record_wait: Duration::from_secs(5),
            unready_waypoint: UnreadyWaypoint::Refuse,
            localhost_application_tunnel: true,
            pool_idle: crate::hbone::limits::IDLE_TIMEOUT,
            response_baggage: true,
        }
    }
}

impl Inputs {
    /// Inputs with defaults for all but what a proxy decides by: the default network, its own pool and tracker, HBONE's
    /// own port, sockets of this process.
    #[must_use]
    pub fn new(catalog: Live<Catalog>, policies: Live<PolicySet>, identities: Identities) -> Self {
        Self {
            catalog,
            policies,
            identities,
            network: Network::default(),
            pool: Pool::new(),
            tracker: Tracker::new(Arc::new(())),
            own_ports: Arc::from([mesh_core::service::HBONE_PORT]),
            sockets: Sockets::new(),
            discovery: None,
            options: Options::default(),
            tasks: Tasks::default(),
        }
    }
}

/// Asks for resources by name: on-demand discovery.
pub trait Discover: fmt::Debug + Send + Sync + 'static {
    /// Completes with `true` when every name was answered, with its resource in the catalog or by its absence; with
    /// `false` when nobody answered in time.
    fn demand<'a>(&'a self, names: &'a [String]) -> Pin<Box<dyn Future<Output = bool> + Send + 'a>>;
}
