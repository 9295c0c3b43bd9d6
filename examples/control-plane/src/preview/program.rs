use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use mesh_core::authn::Authentication;
use mesh_core::authz::rbac::{FilterRules, RbacFilter};
use mesh_core::balance::{Assignment, Cluster, Discovery, Health};
use mesh_core::companion::ext_authz::ExternalAuthz;
use mesh_core::filter::Authorize;
use mesh_core::listener::{
    ConnectionFacts, FilterChain, HttpFilterKind, HttpManager, RouteSource, SocketListener, Terminal,
};
use mesh_core::name::{NamespacedName, SpiffeId, Text};
use mesh_core::resolve::Destination;
use mesh_core::route::RouteTable;
use mesh_core::workload::Workload;

use super::mesh::Mesh;
use crate::translate::waypoint::Resources;

/// What an instance of a waypoint does with what comes to it, ready to be asked.
pub(super) struct Program {
    pub(super) key: NamespacedName,
    /// Who its instances are.
    pub(super) identities: Vec<SpiffeId>,
    /// The instances that are known, whatever their health.
    instances: Vec<Arc<Workload>>,
    listener: Option<SocketListener>,
    http: HashMap<Text, Arc<Http>>,
    pub(super) clusters: HashMap<Text, Cluster>,
    /// Where the endpoints of clusters are.
    endpoints: HashMap<Text, Vec<Target>>,
}

/// An endpoint of a cluster.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Target {
    pub(super) address: SocketAddr,
    /// Whether a tunnel leads to it.
    pub(super) tunnelled: bool,
    pub(super) workload: Option<Arc<Workload>>,
}

/// Where the connections and requests of a cluster go.
pub(super) enum Onward<'p> {
    /// To one of these.
    To(&'p [Target]),
    /// To the workload that was addressed, through a tunnel.
    Addressed(SocketAddr),
    /// To somewhere that only DNS or the client knows.
    Outside,
    /// Nowhere: there is no such cluster.
    Nowhere,
}

/// What a chain does with requests.
pub(super) struct Http {
    pub(super) manager: HttpManager,
    pub(super) filters: Vec<Filter>,
    pub(super) routes: Option<Arc<RouteTable>>,
}

/// A filter that may refuse.
pub(super) enum Filter {
    Access {
        rules: Box<FilterRules>,
        /// The filter itself, where what it notes counts for those behind it.
        notes: Option<Authorize>,
    },
    Authorizer {
        name: Text,
        settings: Box<ExternalAuthz>,
    },
    Tokens(Box<Authentication>),
}

impl Program {
    pub(super) fn new(
        mesh: &Mesh,
        key: NamespacedName,
        identities: Vec<SpiffeId>,
        instances: Vec<Arc<Workload>>,
        resources: Resources,
    ) -> Self {
        let Resources { listeners, clusters, assignments } = resources;
        let listener = listeners.iter().find_map(|listener| listener.socket()).cloned();
        let chains = listener.iter().flat_map(|listener| &listener.chains);
        let http = chains.filter_map(|chain| match &chain.terminal {
            Terminal::Http(manager) => Some((chain.name.clone(), Arc::new(Http::new(manager)))),
            Terminal::Tcp(_) | Terminal::Close => None,
        });
        let target = |assignment: &Assignment| -> Vec<Target> {
            let usable = assignment.endpoints().filter(|endpoint| endpoint.health != Health::Unhealthy);
            let targets = usable.map(|endpoint| Target {
                address: endpoint.address,
                tunnelled: endpoint.tunnel.is_some(),
                workload: mesh.catalog.workload_at(&mesh.network, endpoint.address.ip()).map(Arc::clone),
            });
            targets.collect()
        };
        let endpoints = assignments.iter().map(|assignment| (assignment.cluster.clone(), target(assignment)));
        Self {
            http: http.collect(),
            endpoints: endpoints.collect(),
            clusters: clusters.into_iter().map(|cluster| (cluster.name.clone(), cluster)).collect(),
            key,
            identities,
            instances,
            listener,
        }
    }

    /// The address from which it connects to endpoints.
    pub(super) fn address(&self) -> IpAddr {
        let known = self.instances.iter().find_map(|workload| workload.addresses.first().copied());
        known.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED))
    }

    /// Where a tunnel for a destination leads here, if it is served. What is served by name alone has the address of
    /// nobody.
    pub(super) fn entry(&self, destination: &Destination) -> Option<SocketAddr> {
        let listener = self.listener.as_ref()?;
        match destination {
            Destination::Address(to) => listener.serves(*to).then_some(*to),
            Destination::Hostname(host, port) => {
                let ends = [format!("inbound-vip|{port}|http|{host}"), format!("inbound-vip|{port}|tcp|{host}")];
                let named = |chain: &&FilterChain| ends.iter().any(|end| chain.name == *end.as_str());
                let chain = listener.chains.iter().find(named)?;
                let range = chain.matcher.destination_ranges.first()?;
                Some(SocketAddr::new(range.addr(), *port))
            }
        }
    }

    /// The chain for a connection: one that begins like HTTP, or one that does not.
    pub(super) fn chain(&self, client: IpAddr, to: SocketAddr, http: bool) -> Option<&FilterChain> {
        let protocols = ["http/1.1"];
        let mut facts = ConnectionFacts::new(SocketAddr::new(client, 0), to);
        if http {
            facts.application_protocols = &protocols;
        }
        self.listener.as_ref()?.choose_chain(&facts)
    }

    /// What a chain does with requests.
    pub(super) fn http(&self, chain: &FilterChain) -> Option<&Arc<Http>> {
        self.http.get(&chain.name)
    }

    /// The chains that read HTTP.
    pub(super) fn chains(&self) -> impl Iterator<Item = (&Text, &Arc<Http>)> {
        self.http.iter()
    }

    /// Where a cluster leads, for what was meant for an address.
    pub(super) fn onward(&self, cluster: &str, addressed: SocketAddr) -> Onward<'_> {
        let Some(known) = self.clusters.get(cluster) else { return Onward::Nowhere };
        match &known.discovery {
            Discovery::Eds { .. } => {
                let name = known.discovery.eds_name(cluster).unwrap_or(cluster);
                Onward::To(self.endpoints.get(name).map(Vec::as_slice).unwrap_or_default())
            }
            Discovery::TunnelToOriginalDst(_) => Onward::Addressed(addressed),
            _ => Onward::Outside,
        }
    }
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Program").field(&self.key).finish()
    }
}

/// By what decides: two that are equal do the same.
impl PartialEq for Program {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
            && self.identities == other.identities
            && self.instances == other.instances
            && self.listener == other.listener
            && self.clusters == other.clusters
            && self.endpoints == other.endpoints
    }
}

impl Http {
    fn new(manager: &HttpManager) -> Self {
        let access = |filter: &RbacFilter| Filter::Access {
            rules: Box::new(FilterRules::new(filter.clone())),
            notes: filter.shadow.as_ref().map(|_| Authorize::new(RbacFilter { rules: None, ..filter.clone() })),
        };
        let filters = manager.filters.iter().filter(|filter| !filter.disabled).filter_map(|filter| {
            Some(match &filter.kind {
                HttpFilterKind::Rbac(rbac) => access(rbac),
                HttpFilterKind::ExternalAuthz(settings) => {
                    Filter::Authorizer { name: filter.name.clone(), settings: settings.clone() }
                }
                HttpFilterKind::Authn(tokens) => Filter::Tokens(tokens.clone()),
                _ => return None,
            })
        });
        let routes = match &manager.routes {
            RouteSource::Inline(table) => Some(Arc::new((**table).clone())),
            RouteSource::Rds(_) => None,
        };
        Self { manager: manager.clone(), filters: filters.collect(), routes }
    }
}
