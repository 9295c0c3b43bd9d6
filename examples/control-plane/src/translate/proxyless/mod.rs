//! From the world to what clients without a proxy get: programs that call `xds:///host:port` by gRPC. Pure.
//!
//! A client asks by name, and only what somebody asks for is made:
//!
//! | resource | name | is |
//! | --- | --- | --- |
//! | listener | `host:port`, as the program writes it | an API listener that names the routes of the port |
//! | routes | `outbound\|<port>\|\|<host>` | those that are attached to the port, as at waypoints; else one to its cluster |
//! | cluster, and endpoints | `outbound\|<port>\|<subset>\|<host>` | what a DestinationRule says, and the workloads |
//!
//! A host may be short: `web` is one of the client's namespace, `web.shop` and `web.shop.svc` are of the cluster. Without a port
//! the only one is meant. What is not visible to the client's namespace is not there.
//!
//! # A service with a waypoint
//!
//! Its routes, policies and limits are the waypoint's. A client gets one route and one endpoint: the address of the service,
//! from where its node proxy goes through the waypoint. A service without an address cannot be reached through its waypoint by
//! anybody; there are then its workloads, as in DNS.
//!
//! # TLS
//!
//! A program behind a node proxy speaks plaintext, and its node proxy mutual TLS. What a DestinationRule asks for counts as
//! follows; there is no mode in which a client would get less than what is asked for.
//!
//! | `tls.mode` | client behind a node proxy, endpoints in the mesh | otherwise |
//! | --- | --- | --- |
//! | none, `DISABLE` | the node proxy's tunnel | plaintext |
//! | `ISTIO_MUTUAL` | the node proxy's tunnel; other endpoints are left out | TLS by the certificate provider `default` of the client's bootstrap, with the identities of the endpoints |
//! | `SIMPLE`, `MUTUAL` | no cluster: calls fail | no cluster: calls fail |
//!
//! A client of gRPC that has no such provider rejects the cluster, and calls fail. One that was made with credentials other than
//! those of xDS does not look at it: what a program says of its own channel is its own.
//!
//! # What gRPC does not do
//!
//! | asked for | done |
//! | --- | --- |
//! | redirects, direct answers, `ExtensionRef` | such a call fails (UNAVAILABLE) |
//! | matches of a query or a cookie, of the authority, of a method other than POST, of headers in `-bin` | never match |
//! | edits of headers, rewrites, copies, CORS, sessions | not done by gRPC |
//! | routes of a consumer's namespace | for clients of that namespace |
//! | faults | by gRPC; clients of ours take no listener whose routes make any |
//! | timeouts | the longest time of a call |
//! | Maglev | a ring |
//! | least requests, random choice | where the client has it, else in turn |
//! | ejection by failures in a row | by clients of ours; gRPC counts rates alone |
//! | endpoints by several names in DNS | no cluster: calls fail |

mod cluster;
mod encode;
mod fit;
mod name;

use mesh_core::listener::{HttpManager, Listener, ListenerKind, RouteSource};
use mesh_core::name::{Locality, Text};
use mesh_core::route::RouteTable;
use mesh_core::service::{Service, ServicePort};
use mesh_xds::envoy::{CLUSTER_TYPE, ENDPOINT_TYPE, LISTENER_TYPE, ROUTE_TYPE};

pub use self::encode::changes;
use self::name::Target;
use super::facts::Reader;
use super::waypoint::{self, Backends, Made, Spoken, outbound};

/// Clients without a proxy that get the same.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Clients {
    /// The namespace in which they are.
    pub namespace: Text,
    /// Where they are.
    pub locality: Locality,
    /// Whether their connections go through a node proxy.
    pub are_captured: bool,
}

/// Something that a client asks for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Named {
    /// What the program calls.
    Listener(Text),
    /// Routes.
    Routes(Text),
    /// A cluster and its endpoints.
    Cluster(Text),
}

impl Named {
    /// What a client asks for by a name of a type; `None` for a type that such clients do not get.
    #[must_use]
    pub fn new(type_url: &str, name: &str) -> Option<Self> {
        let kind = match type_url {
            LISTENER_TYPE => Self::Listener,
            ROUTE_TYPE => Self::Routes,
            CLUSTER_TYPE | ENDPOINT_TYPE => Self::Cluster,
            _ => return None,
        };
        Some(kind(name.into()))
    }
}

/// What a client gets for what it asked for.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// That leads to the routes of a port.
    Listener(Listener),
    /// The routes of a port.
    Routes(Box<RouteTable>),
    /// A cluster and its endpoints.
    Cluster(Box<Made>),
}

/// What clients get by a name; `None` if there is nothing for them.
pub(super) fn value(reader: &Reader<'_>, clients: &Clients, named: &Named) -> Option<Value> {
    match named {
        Named::Listener(name) => {
            let (service, port) = name::called(reader, &clients.namespace, name)?;
            let table = routes(reader, clients, service, port)?;
            Some(Value::Listener(listener(name, &cluster_name(service, port), &table)))
        }
        Named::Routes(name) => {
            let target = Target::parse(name).filter(|target| target.subset.is_none())?;
            let (service, port) = target.find(reader, &clients.namespace)?;
            routes(reader, clients, service, port).map(Box::new).map(Value::Routes)
        }
        Named::Cluster(name) => cluster::made(reader, clients, name).map(Box::new).map(Value::Cluster),
    }
}

/// The name of the cluster of a port, and of its routes.
fn cluster_name(service: &Service, port: &ServicePort) -> String {
    outbound(service, port.service_port, Spoken::Http, None)
}

fn listener(name: &Text, routes: &str, table: &RouteTable) -> Listener {
    let mut manager = HttpManager::new(RouteSource::Rds(routes.into()));
    // Those for which routes have settings. A client that does not know a filter takes no listener that has it.
    manager.filters = waypoint::filters(table);
    Listener { name: name.clone(), kind: ListenerKind::Api(Box::new(manager)) }
}

fn routes(reader: &Reader<'_>, clients: &Clients, service: &Service, port: &ServicePort) -> Option<RouteTable> {
    let table = match cluster::at_waypoint(reader, service) {
        Some(_) => waypoint::to_itself(&cluster_name(service, port)),
        None => waypoint::table(&mut Backends::within(reader, clients.namespace.as_str()), service, port),
    };
    RouteTable::new(fit::config(table.ok()?.config().clone(), &clients.namespace)).ok()
}
