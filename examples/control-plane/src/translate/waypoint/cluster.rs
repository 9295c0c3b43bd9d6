//! Clusters and their endpoints.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::num::NonZeroU32;

use mesh_core::balance::{
    Assignment, Cluster, Discovery, Dns, DnsHost, Endpoint, Health, HttpProtocol, Localities, Policy, Tunnel,
};
use mesh_core::name::{Locality, NamespacedName, SpiffeId, Text};
use mesh_core::service::{AppProtocol, HealthPolicy, Mode, Service, ServicePort};
use mesh_core::workload::{Health as WorkloadHealth, TunnelProtocol, Workload};

use super::destination::{self, Settings};
use super::locality::Order;
use super::origination;
use super::served::Index;
use crate::translate::{binding, selects};

/// The cluster of what is addressed to workloads themselves.
pub(super) const TO_WORKLOADS: &str = "encap";

/// What is spoken in a cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Spoken {
    Http,
    Tcp,
}

/// The name of a cluster with the endpoints of a service that is bound to the waypoint.
pub(super) fn inbound(service: &Service, port: u16, spoken: Spoken, subset: Option<&str>) -> String {
    let kind = match spoken {
        Spoken::Http => "http",
        Spoken::Tcp => "tcp",
    };
    let subset = subset.map(|subset| format!("/{subset}")).unwrap_or_default();
    format!("inbound-vip|{port}|{kind}{subset}|{}", service.key.hostname)
}

/// The name of a cluster with the endpoints of another service. One for TCP has another name than Istio's: what is spoken
/// to it is not the same.
pub(super) fn outbound(service: &Service, port: u16, spoken: Spoken, subset: Option<&str>) -> String {
    let kind = match spoken {
        Spoken::Http => "outbound",
        Spoken::Tcp => "outbound-tcp",
    };
    format!("{kind}|{port}|{}|{}", subset.unwrap_or_default(), service.key.hostname)
}

/// A cluster, and its endpoints where they are discovered.
pub(super) struct Made {
    pub(super) cluster: Cluster,
    pub(super) assignment: Option<Assignment>,
}

/// What clusters of one waypoint are made of.
#[derive(Clone, Copy)]
pub(super) struct Maker<'a, 'i> {
    pub(super) index: &'i Index<'a>,
    pub(super) gateway: &'a NamespacedName,
    /// Where the waypoint is.
    pub(super) locality: &'i Locality,
}

impl<'a> Maker<'a, '_> {
    /// What is said of a port of a service.
    pub(super) fn settings(&self, service: &Service, port: u16, subset: Option<&str>) -> Settings<'a> {
        Settings::of(destination::rule(self.index, self.gateway, service), port, subset)
    }

    /// The subsets of a service.
    pub(super) fn subsets(&self, service: &Service) -> Vec<(&'a str, &'a BTreeMap<String, String>)> {
        let rule = destination::rule(self.index, self.gateway, service);
        let subsets = rule.into_iter().flat_map(|rule| &rule.spec.subsets);
        subsets.map(|subset| (subset.name.as_str(), &subset.labels)).collect()
    }

    /// The cluster of a port of a service, or of a subset of it, under a name.
    pub(super) fn make(
        &self,
        name: String,
        service: &Service,
        port: &ServicePort,
        spoken: Spoken,
        subset: Option<(&str, &BTreeMap<String, String>)>,
    ) -> Made {
        let settings = self.settings(service, port.service_port, subset.map(|(name, _)| name));
        let mut cluster = Cluster::new(name.as_str(), Discovery::Eds { service_name: None });
        settings.apply(&mut cluster);
        cluster.protocol = protocol(port.protocol, &settings, spoken);
        cluster.tunnels = true;
        let order = Order::of(&settings, service);
        if order.is_weighted(self.locality) {
            cluster.localities = Localities::Weighted;
        }
        let mut endpoints = self.endpoints(service, port.service_port, subset.map(|(_, labels)| labels));
        let is_tunnelled = |(workload, _): &(&'a Workload, u16)| self.tunnel(workload, service).is_some();
        let found_in_dns = endpoints.iter().any(|(workload, _)| workload.addresses.is_empty());
        if origination::is_mutual(settings.tls) && !found_in_dns && endpoints.iter().any(is_tunnelled) {
            endpoints.retain(is_tunnelled);
        }
        let identities: BTreeSet<SpiffeId> = endpoints.iter().map(|(workload, _)| workload.spiffe_id()).collect();
        let mut made = self.discovered(cluster, service, &order, endpoints);
        let identities: Vec<SpiffeId> = identities.into_iter().collect();
        origination::secure(&mut made, settings.tls, service, &identities);
        made
    }

    /// The cluster, with where its endpoints come from.
    fn discovered(
        &self,
        mut cluster: Cluster,
        service: &Service,
        order: &Order<'a>,
        endpoints: Vec<(&'a Workload, u16)>,
    ) -> Made {
        if service.load_balancing.mode == Mode::Passthrough {
            cluster.discovery = Discovery::OriginalDst;
            cluster.policy = Policy::ClusterProvided;
            cluster.tunnels = false;
            return Made { cluster, assignment: None };
        }
        let name = cluster.name.clone();
        if endpoints.iter().any(|(workload, _)| workload.addresses.is_empty()) {
            let host = |(workload, port): (&'a Workload, u16)| {
                (workload, endpoint(self, workload, service, host(workload, port)))
            };
            let hosts = order.arrange(self.index, self.locality, endpoints.into_iter().map(host).collect());
            cluster.discovery = Discovery::StrictDns(Dns::new(Assignment::new(name, hosts)));
            // What DNS says is outside the mesh.
            cluster.tunnels = false;
            return Made { cluster, assignment: None };
        }
        let at = |(workload, port): (&'a Workload, u16)| {
            let ip = workload.addresses.first()?;
            let mut made = endpoint(self, workload, service, SocketAddr::new(*ip, port));
            made.tunnel = self.tunnel(workload, service);
            Some((workload, made))
        };
        let arranged = order.arrange(self.index, self.locality, endpoints.into_iter().filter_map(at).collect());
        Made { cluster, assignment: Some(Assignment::new(name, arranged)) }
    }

    /// The endpoints of a port and their ports.
    fn endpoints(
        &self,
        service: &Service,
        port: u16,
        labels: Option<&BTreeMap<String, String>>,
    ) -> Vec<(&'a Workload, u16)> {
        let reachable = |workload: &&&Workload| {
            workload.capacity > 0
                && workload.network == *self.index.place.network
                && (!workload.addresses.is_empty() || workload.hostname.is_some())
        };
        let selected = |workload: &&&Workload| {
            let of_workload = || self.index.labels(workload);
            labels.is_none_or(|labels| labels.is_empty() || of_workload().is_some_and(|own| selects(labels, own)))
        };
        let all = self.index.endpoints(&service.key).iter().filter(reachable).filter(selected);
        all.filter_map(|workload| {
            let own = workload.services.get(&service.key).and_then(|ports| ports.target(port));
            Some((*workload, own.or_else(|| service.ports.target(port))?))
        })
        .collect()
    }

    /// The tunnel to an endpoint: to one that is in the mesh, or is itself a waypoint.
    fn tunnel(&self, workload: &Workload, service: &Service) -> Option<Tunnel> {
        let is_gateway =
            || self.index.labels(workload).is_some_and(|labels| labels.contains_key(binding::GATEWAY_NAME));
        if workload.tunnel != TunnelProtocol::Hbone && !workload.native_tunnel && !is_gateway() {
            return None;
        }
        let mut identities = vec![workload.spiffe_id()];
        identities.extend(service.subject_alt_names.iter().filter(|id| **id != workload.spiffe_id()).cloned());
        Some(Tunnel { identities, ..Tunnel::default() })
    }
}

fn endpoint<A>(maker: &Maker<'_, '_>, workload: &Workload, service: &Service, address: A) -> Endpoint<A> {
    let mut endpoint = Endpoint::new(address);
    endpoint.weight = NonZeroU32::new(workload.capacity).unwrap_or(NonZeroU32::MIN);
    let healthy =
        workload.health == WorkloadHealth::Healthy || service.load_balancing.health_policy == HealthPolicy::AllowAll;
    endpoint.health = if healthy { Health::Healthy } else { Health::Unhealthy };
    endpoint.workload = telemetry(workload, maker.index.place.cluster_id.as_str());
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

fn protocol(declared: AppProtocol, settings: &Settings<'_>, spoken: Spoken) -> HttpProtocol {
    let (client, upgrades) = settings.http();
    match declared {
        _ if spoken == Spoken::Tcp => HttpProtocol::Http1,
        _ if client => HttpProtocol::Downstream,
        AppProtocol::Http2 | AppProtocol::Grpc => HttpProtocol::Http2,
        AppProtocol::Http11 if upgrades => HttpProtocol::Http2,
        AppProtocol::Http11 => HttpProtocol::Http1,
        _ => HttpProtocol::Downstream,
    }
}

/// The cluster of what is addressed to workloads themselves: a tunnel to where the connection was meant for.
pub(super) fn to_workloads(workloads: &[&Workload]) -> Cluster {
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
