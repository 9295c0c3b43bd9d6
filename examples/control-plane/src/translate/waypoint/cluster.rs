//! Clusters and their endpoints.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::num::NonZeroU32;

use mesh_core::balance::{
    Assignment, Cluster, Discovery, Dns, DnsHost, Endpoint, Health, HttpProtocol, Localities, Policy, Tunnel,
};
use mesh_core::name::{Locality, NamespacedHostname, NamespacedName, SpiffeId, Text};
use mesh_core::service::{AppProtocol, GatewayAddress, HealthPolicy, Mode, Service};
use mesh_core::workload::{Health as WorkloadHealth, TunnelProtocol, Workload};

use super::destination::{self, Settings};
use super::keys::KeyCluster;
use super::locality::Order;
use super::{origination, served};
use crate::resource::ClientTls;
use crate::translate::facts::{Located, Reader, Readiness};
use crate::translate::{Place, binding, selects};

/// The cluster of what is addressed to workloads themselves.
pub(super) const TO_WORKLOADS: &str = "encap";

/// What is spoken in a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::translate) enum Spoken {
    Http,
    /// HTTP/2 whatever the port is said to speak.
    Grpc,
    Tcp,
}

/// The name of a cluster with the endpoints of a service that is bound to the waypoint.
pub(super) fn inbound(service: &Service, port: u16, spoken: Spoken, subset: Option<&str>) -> String {
    let kind = match spoken {
        Spoken::Http => "http",
        Spoken::Grpc => "grpc",
        Spoken::Tcp => "tcp",
    };
    let subset = subset.map(|subset| format!("/{subset}")).unwrap_or_default();
    format!("inbound-vip|{port}|{kind}{subset}|{}", service.key.hostname)
}

/// The name of a cluster with the endpoints of another service. One for TCP has another name than Istio's: what is spoken
/// to it is not the same.
pub(in crate::translate) fn outbound(service: &Service, port: u16, spoken: Spoken, subset: Option<&str>) -> String {
    let kind = match spoken {
        Spoken::Http => "outbound",
        Spoken::Grpc => "outbound-grpc",
        Spoken::Tcp => "outbound-tcp",
    };
    format!("{kind}|{port}|{}|{}", subset.unwrap_or_default(), service.key.hostname)
}

/// Which clusters there must be, by name.
pub(in crate::translate) type Specs = BTreeMap<Text, Spec>;

/// What a cluster is for. All else about it follows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::translate) enum Spec {
    /// A port of a service, or of a subset of it.
    Service { service: NamespacedHostname, port: u16, spoken: Spoken, subset: Option<Text> },
    /// Who is asked about requests.
    Companion { service: NamespacedHostname, port: u16, by_grpc: bool },
    /// What is addressed to workloads themselves.
    Workloads,
    /// Where keys are fetched.
    Keys(KeyCluster),
}

impl Spec {
    pub(super) fn of(service: &Service, port: u16, spoken: Spoken, subset: Option<&str>) -> Self {
        Self::Service { service: service.key.clone(), port, spoken, subset: subset.map(Text::from) }
    }
}

/// A cluster, and its endpoints where they are discovered.
#[derive(Debug, Clone, PartialEq)]
pub struct Made {
    /// The cluster.
    pub cluster: Cluster,
    /// Its endpoints, if they are discovered.
    pub assignment: Option<Assignment>,
}

/// What the clusters of one who is programmed are made of.
#[derive(Clone, Copy)]
pub(in crate::translate) struct Maker<'a, 'r> {
    pub(in crate::translate) reader: &'r Reader<'a>,
    /// The waypoint, if it is one: its streams come with the address that they were meant for.
    pub(in crate::translate) waypoint: Option<&'r NamespacedName>,
    /// Its namespace.
    pub(in crate::translate) namespace: &'r str,
    /// Where it is.
    pub(in crate::translate) locality: &'r Locality,
    /// Whether its connections to endpoints in the mesh go through tunnels.
    pub(in crate::translate) tunnels: bool,
}

/// A cluster of a port of a service, before its connections are secured.
pub(in crate::translate) struct Bare<'a> {
    pub(in crate::translate) service: &'a Service,
    pub(in crate::translate) tls: Option<&'a ClientTls>,
    pub(in crate::translate) made: Made,
    /// Those of its endpoints.
    pub(in crate::translate) identities: Vec<SpiffeId>,
}

impl<'a, 'r> Maker<'a, 'r> {
    /// For the instances of a waypoint.
    pub(super) fn of_waypoint(reader: &'r Reader<'a>, waypoint: &'r NamespacedName, locality: &'r Locality) -> Self {
        Self { reader, waypoint: Some(waypoint), namespace: waypoint.namespace.as_str(), locality, tunnels: true }
    }

    /// The cluster of a name; `None` if what it is for is not there.
    pub(in crate::translate) fn make(&self, name: &Text, spec: &Spec) -> Option<Made> {
        match spec {
            Spec::Service { service, port, spoken, subset } => {
                self.of_service(name, service, *port, *spoken, subset.as_ref().map(Text::as_str))
            }
            Spec::Companion { service, port, by_grpc } => {
                let mut made = self.of_service(name, service, *port, Spoken::Http, None)?;
                // Whatever the port is called.
                if *by_grpc {
                    made.cluster.protocol = HttpProtocol::Http2;
                }
                Some(made)
            }
            Spec::Workloads => {
                let address = served::address(self.reader, self.waypoint?)?;
                let workloads = tunnelled(self.reader, &address);
                Some(Made { cluster: to_workloads(&workloads), assignment: None })
            }
            Spec::Keys(keys) => Some(Made { cluster: keys.cluster(), assignment: None }),
        }
    }

    fn of_service(
        &self,
        name: &Text,
        key: &NamespacedHostname,
        port: u16,
        spoken: Spoken,
        subset: Option<&str>,
    ) -> Option<Made> {
        let Bare { service, tls, mut made, identities } = self.bare(name, key, port, spoken, subset)?;
        origination::secure(&mut made, tls, service, &identities);
        Some(made)
    }

    /// The cluster for a port of a service, or of a subset of it, before its connections are secured.
    pub(in crate::translate) fn bare(
        &self,
        name: &Text,
        key: &NamespacedHostname,
        port: u16,
        spoken: Spoken,
        subset: Option<&str>,
    ) -> Option<Bare<'a>> {
        let service = self.reader.service(key)?;
        let port = service.ports.get(port)?;
        let rule = destination::rule(self.reader, self.namespace, service);
        let settings = Settings::of(rule, port.service_port, subset);
        let mut cluster = Cluster::new(name.as_str(), Discovery::Eds { service_name: None });
        settings.apply(&mut cluster);
        cluster.protocol = protocol(port.protocol, &settings, spoken, self.waypoint.is_some());
        cluster.tunnels = true;
        let order = Order::of(&settings, service);
        if order.is_weighted(self.locality) {
            cluster.localities = Localities::Weighted;
        }
        let mut subsets = rule.into_iter().flat_map(|rule| &rule.spec.subsets);
        let labels = match subset {
            Some(name) => Some(&subsets.find(|subset| subset.name == name)?.labels),
            None => None,
        };
        let mut endpoints = self.endpoints(service, port.service_port, labels);
        let is_tunnelled = |(located, _): &(&'a Located, u16)| tunnel(located, service).is_some();
        let found_in_dns = endpoints.iter().any(|(located, _)| located.workload.addresses.is_empty());
        if self.tunnels && origination::is_mutual(settings.tls) && !found_in_dns && endpoints.iter().any(is_tunnelled) {
            endpoints.retain(is_tunnelled);
        }
        let identities: BTreeSet<SpiffeId> =
            endpoints.iter().map(|(located, _)| located.workload.spiffe_id()).collect();
        let made = self.discovered(cluster, service, &order, endpoints);
        Some(Bare { service, tls: settings.tls, made, identities: identities.into_iter().collect() })
    }

    /// The cluster, with where its endpoints come from.
    fn discovered(
        &self,
        mut cluster: Cluster,
        service: &Service,
        order: &Order<'a>,
        endpoints: Vec<(&'a Located, u16)>,
    ) -> Made {
        if service.load_balancing.mode == Mode::Passthrough && self.waypoint.is_some() {
            cluster.discovery = Discovery::OriginalDst;
            cluster.policy = Policy::ClusterProvided;
            cluster.tunnels = false;
            return Made { cluster, assignment: None };
        }
        let name = cluster.name.clone();
        let place = self.reader.place();
        if endpoints.iter().any(|(located, _)| located.workload.addresses.is_empty()) {
            let host = |(located, port): (&'a Located, u16)| {
                (located, endpoint(place, located, service, host(&located.workload, port)))
            };
            let hosts = order.arrange(place, self.locality, endpoints.into_iter().map(host).collect());
            cluster.discovery = Discovery::StrictDns(Dns::new(Assignment::new(name, hosts)));
            // What DNS says is outside the mesh.
            cluster.tunnels = false;
            return Made { cluster, assignment: None };
        }
        let at = |(located, port): (&'a Located, u16)| {
            let ip = located.workload.addresses.first()?;
            let mut made = endpoint(place, located, service, SocketAddr::new(*ip, port));
            made.tunnel = tunnel(located, service);
            Some((located, made))
        };
        let arranged = order.arrange(place, self.locality, endpoints.into_iter().filter_map(at).collect());
        Made { cluster, assignment: Some(Assignment::new(name, arranged)) }
    }

    /// The endpoints of a port and their ports.
    fn endpoints(
        &self,
        service: &Service,
        port: u16,
        labels: Option<&BTreeMap<String, String>>,
    ) -> Vec<(&'a Located, u16)> {
        let network = self.reader.place().network.as_str();
        let reachable = |Located { workload, .. }: &&Located| {
            workload.capacity > 0
                && workload.network == *network
                && (!workload.addresses.is_empty() || workload.hostname.is_some())
        };
        let selected = |located: &&Located| {
            labels
                .is_none_or(|labels| labels.is_empty() || located.labels.get().is_some_and(|own| selects(labels, own)))
        };
        let all = self.reader.endpoints(&service.key).filter(reachable).filter(selected);
        all.filter_map(|located| {
            let own = located.workload.services.get(&service.key).and_then(|ports| ports.target(port));
            Some((located, own.or_else(|| service.ports.target(port))?))
        })
        .collect()
    }
}

/// The tunnel to an endpoint: to one that is in the mesh, or is itself a waypoint.
fn tunnel(located: &Located, service: &Service) -> Option<Tunnel> {
    let workload = &located.workload;
    let is_gateway = || located.labels.get().is_some_and(|labels| labels.contains_key(binding::GATEWAY_NAME));
    if workload.tunnel != TunnelProtocol::Hbone && !workload.native_tunnel && !is_gateway() {
        return None;
    }
    let mut identities = vec![workload.spiffe_id()];
    identities.extend(service.subject_alt_names.iter().filter(|id| **id != workload.spiffe_id()).cloned());
    Some(Tunnel { identities, ..Tunnel::default() })
}

/// The workloads that are bound to the waypoint at an address and can be reached by tunnels.
pub(super) fn tunnelled<'a>(reader: &Reader<'a>, waypoint: &GatewayAddress) -> Vec<&'a Workload> {
    let bound = reader.bound_workloads(waypoint).into_iter().map(|located| &located.workload);
    bound.filter(|workload| workload.tunnel == TunnelProtocol::Hbone).collect()
}

fn endpoint<A>(place: &Place, located: &Located, service: &Service, address: A) -> Endpoint<A> {
    let workload = &located.workload;
    let mut endpoint = Endpoint::new(address);
    endpoint.weight = NonZeroU32::new(workload.capacity).unwrap_or(NonZeroU32::MIN);
    let healthy =
        workload.health == WorkloadHealth::Healthy || service.load_balancing.health_policy == HealthPolicy::AllowAll;
    endpoint.health = match located.readiness {
        _ if healthy => Health::Healthy,
        // Sessions that are with it stay.
        Readiness::Terminating | Readiness::Draining => Health::Draining,
        _ => Health::Unhealthy,
    };
    endpoint.workload = telemetry(workload, place.cluster_id.as_str());
    endpoint
}

/// What telemetry says of a workload, as Istio writes it.
fn telemetry(workload: &Workload, cluster: &str) -> Text {
    let Workload { workload_name, namespace, canonical_name, canonical_revision, .. } = workload;
    let revision = if *canonical_revision == *"latest" { "" } else { canonical_revision.as_str() };
    format!("{workload_name};{namespace};{canonical_name};{revision};{cluster}").into()
}

fn host(workload: &Workload, port: u16) -> DnsHost {
    let name = match (&workload.hostname, workload.addresses.first()) {
        (_, Some(ip)) => ip.to_string(),
        (Some(name), None) => name.to_string(),
        (None, None) => String::new(),
    };
    DnsHost { name: name.into(), port }
}

/// What is spoken with a port. Of one that does not say, clients of a waypoint know; who comes in through another Gateway does not.
fn protocol(declared: AppProtocol, settings: &Settings<'_>, spoken: Spoken, clients_know: bool) -> HttpProtocol {
    let (client, upgrades) = settings.http();
    match declared {
        _ if spoken == Spoken::Tcp => HttpProtocol::Http1,
        _ if spoken == Spoken::Grpc => HttpProtocol::Http2,
        _ if client => HttpProtocol::Downstream,
        AppProtocol::Http2 | AppProtocol::Grpc => HttpProtocol::Http2,
        AppProtocol::Http11 if upgrades => HttpProtocol::Http2,
        AppProtocol::Http11 => HttpProtocol::Http1,
        _ if clients_know => HttpProtocol::Downstream,
        _ => HttpProtocol::Http1,
    }
}

/// The cluster of what is addressed to workloads themselves: a tunnel to where the connection was meant for.
fn to_workloads(workloads: &[&Workload]) -> Cluster {
    let identities = workloads.iter().flat_map(|workload| {
        let id = workload.spiffe_id();
        workload.addresses.iter().map(move |ip| (*ip, id.clone()))
    });
    let mut cluster = Cluster::new(TO_WORKLOADS, Discovery::TunnelToOriginalDst(identities.collect()));
    Settings::default().apply(&mut cluster);
    cluster.protocol = HttpProtocol::Downstream;
    cluster.tunnels = true;
    cluster
}
