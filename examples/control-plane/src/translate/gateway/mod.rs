//! From the world to what the Gateways are programmed with through which traffic enters the mesh, in Envoy's terms. Pure.
//!
//! | resource | name | holds |
//! | --- | --- | --- |
//! | listener | `0.0.0.0_<port>` | all listeners of the Gateway and of its ListenerSets on one port |
//! | routes | `http.<port>` | the routes of all HTTP listeners of a port |
//! | routes | `https.<port>.<listener>.<Gateway or set>.<namespace>` | those of one HTTPS listener |
//! | cluster, endpoints | `outbound\|<port>\|<subset>\|<host>`, `outbound-tcp\|…` | a port of a service that routes lead to |
//! | secret | `kubernetes-gateway://<namespace>/<name>` | a certificate of a listener, or one that backends are shown |
//! | secret | `client-ca\|…` | who signs the certificates of clients |
//!
//! Routes and secrets come by themselves, so that a changed route or certificate ends no connection. What is attached where is
//! decided by `listeners` and `attach`; how a port is served, by `port`.
//!
//! # Where the Gateway API leaves a choice
//!
//! | what | here |
//! | --- | --- |
//! | a listener whose certificate is missing, broken or not permitted | is not there: its handshakes fail |
//! | a listener where nobody may be believed who signs clients | is not there |
//! | `AllowInsecureFallback` | clients need no certificate; one that is shown must be good, or the handshake fails |
//! | a request on a connection that was made for another listener | 421, as by `GatewayHTTPSListenerDetectMisdirectedRequests` |
//! | TLSRoutes in both modes on one port, HTTPS beside TLS | served, told apart by server names |
//! | backends that a BackendTLSPolicy is for which cannot be honoured | invalid, 500; plaintext never |
//! | UDP | not served |
//!
//! # Policies
//!
//! No node proxy stands before a Gateway. So it enforces what names it and also what selects its instances, or everybody in
//! its namespace or the mesh. CORS comes before them, else the questions that browsers ask first would be refused.

mod attach;
mod backend_tls;
mod certificate;
mod encode;
mod http;
mod listeners;
mod port;
mod program;
mod served;
mod stream;
mod through;
mod upstream;

use mesh_core::balance::{Assignment, Cluster};
use mesh_core::listener::Listener;
use mesh_core::name::{Locality, NamespacedName};
use mesh_core::route::RouteTable;
use mesh_core::tls::Secret;

pub use self::encode::ByType;
pub(super) use self::listeners::{Frame, frame};
pub(super) use self::port::{Port, port};
pub(super) use self::program::{Program, different};
pub(super) use self::served::{identities, is_served};
pub(super) use self::upstream::cluster;
use super::facts::Reader;
use super::waypoint::Made;

/// What an instance of a Gateway is programmed with.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Resources {
    /// One for each port, in the order of their names.
    pub listeners: Vec<Listener>,
    /// The routes that they name.
    pub routes: Vec<RouteTable>,
    /// Clusters, in the order of their names.
    pub clusters: Vec<Cluster>,
    /// Endpoints of the clusters that discover them.
    pub assignments: Vec<Assignment>,
    /// The secrets that listeners and clusters name.
    pub secrets: Vec<Secret>,
}

/// What an instance of a Gateway is programmed with that is somewhere; nothing, if it is not served here.
pub(super) fn resources(reader: &Reader<'_>, gateway: &NamespacedName, locality: &Locality) -> Resources {
    let frame = frame(reader, gateway);
    let ports: Vec<Port> = frame.ports().map(|number| port(reader, gateway, &frame, number)).collect();
    let program = Program::of(&frame, ports.iter());
    let made = program.clusters.iter().filter_map(|(name, spec)| cluster(reader, gateway, locality, name, spec));
    let mut resources = Resources::default();
    for Made { cluster, assignment } in made {
        resources.clusters.push(cluster);
        resources.assignments.extend(assignment);
    }
    resources.listeners = program.listeners.into_values().collect();
    resources.routes = program.routes.values().map(|table| RouteTable::clone(table)).collect();
    resources.secrets = program.secrets.into_values().collect();
    resources
}

#[cfg(test)]
mod tests;
