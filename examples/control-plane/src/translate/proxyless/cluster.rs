//! A cluster and its endpoints, as a client without a proxy connects to them by itself.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use mesh_core::balance::{
    Assignment, Discovery, Endpoint, HttpProtocol, Localities, LocalityEndpoints, Maglev, Policy, RingHash,
};
use mesh_core::name::{Locality, Text};
use mesh_core::service::Service;
use mesh_core::tls::{CertificateSource, ProviderInstance, TrustedCa, UpstreamTls, Validation, ValidationSource};

use super::Clients;
use super::name::Target;
use crate::resource::ClientTls;
use crate::translate::facts::Reader;
use crate::translate::waypoint::{Bare, Made, Maker, Spoken, is_mutual, names_in_mesh, ranges};

/// The certificate provider that must be in the client's bootstrap, and what is asked of it. They are Istio's names.
const PROVIDER: &str = "default";
const OWN_CERTIFICATE: &str = "default";
const MESH_ROOTS: &str = "ROOTCA";

/// The cluster of a name; `None` if there is none, or none that gRPC could connect to as it is asked for.
pub(super) fn made(reader: &Reader<'_>, clients: &Clients, name: &Text) -> Option<Made> {
    let target = Target::parse(name)?;
    let (service, _) = target.find(reader, &clients.namespace)?;
    let maker = Maker {
        reader,
        waypoint: None,
        namespace: clients.namespace.as_str(),
        locality: &clients.locality,
        tunnels: clients.are_captured,
    };
    let bare = maker.bare(name, &service.key, target.port, Spoken::Http, target.subset)?;
    let tls = secured(&bare, clients)?;
    let mut made = match at_waypoint(reader, service) {
        Some(at) => at_address(bare.made, SocketAddr::new(at, target.port)),
        None => reachable(reader, bare, target.port)?,
    };
    made.cluster.tls = tls;
    made.cluster.tunnels = false;
    made.cluster.protocol = HttpProtocol::Http2;
    if let Policy::Maglev(Maglev { hashing, .. }) = made.cluster.policy {
        made.cluster.policy = Policy::RingHash(RingHash { hashing, ..RingHash::default() });
    }
    if let Some(assignment) = &mut made.assignment {
        connect_directly(assignment);
    }
    Some(made)
}

/// The address from which node proxies go through the waypoint of a service, if it has one.
pub(super) fn at_waypoint(reader: &Reader<'_>, service: &Service) -> Option<std::net::IpAddr> {
    service.waypoint.as_ref()?;
    address(reader, service)
}

/// The first address of a service here.
fn address(reader: &Reader<'_>, service: &Service) -> Option<std::net::IpAddr> {
    let single = ranges(service, reader.place()).into_iter().find(|range| range.prefix_len() == range.max_prefix_len());
    single.map(|range| range.addr())
}

/// How connections are secured; the outer `None` if they cannot be as it is asked for.
fn secured(bare: &Bare<'_>, clients: &Clients) -> Option<Option<UpstreamTls>> {
    let mode = bare.tls.and_then(|tls| tls.mode.as_deref());
    match (mode, bare.tls) {
        (None | Some("DISABLE"), _) => Some(None),
        (_, Some(tls)) if is_mutual(Some(tls)) => {
            // Of those for whom a node proxy goes, all have tunnels or none.
            let mut endpoints = bare.made.assignment.iter().flat_map(Assignment::endpoints);
            let by_node_proxy = clients.are_captured && endpoints.any(|endpoint| endpoint.tunnel.is_some());
            Some((!by_node_proxy).then(|| by_provider(bare, tls)))
        }
        _ => None,
    }
}

fn by_provider(bare: &Bare<'_>, tls: &ClientTls) -> UpstreamTls {
    let instance = |certificate: &str| ProviderInstance { instance: PROVIDER.into(), certificate: certificate.into() };
    let validation = Validation {
        trusted_ca: Some(TrustedCa::Provider(instance(MESH_ROOTS))),
        names: names_in_mesh(tls, bare.service, &bare.identities),
        ..Validation::default()
    };
    UpstreamTls {
        certificate: Some(CertificateSource::Provider(instance(OWN_CERTIFICATE))),
        ..UpstreamTls::new(ValidationSource::Inline(validation))
    }
}

/// The cluster with one endpoint. What fails behind it is somebody else's to find out.
fn at_address(mut made: Made, at: SocketAddr) -> Made {
    let cluster = &mut made.cluster;
    cluster.discovery = Discovery::Eds { service_name: None };
    cluster.policy = Policy::RoundRobin { slow_start: None };
    cluster.localities = Localities::default();
    cluster.outlier = None;
    let endpoints = LocalityEndpoints::new(Locality::default(), vec![Endpoint::new(at)]);
    made.assignment = Some(Assignment::new(cluster.name.clone(), vec![endpoints]));
    made
}

/// The cluster, if gRPC can find its endpoints.
fn reachable(reader: &Reader<'_>, bare: Bare<'_>, port: u16) -> Option<Made> {
    let Bare { service, mut made, .. } = bare;
    match &made.cluster.discovery {
        // Whatever the address, it is connected to; so to that of the service, if it has one.
        Discovery::OriginalDst => Some(at_address(made, SocketAddr::new(address(reader, service)?, port))),
        Discovery::StrictDns(dns) => {
            let [of_one] = dns.hosts.localities.as_slice() else { return None };
            let [_] = of_one.endpoints.as_slice() else { return None };
            made.cluster.discovery = Discovery::LogicalDns(dns.clone());
            Some(made)
        }
        _ => Some(made),
    }
}

/// Takes tunnels away, and addresses that stand there twice, which gRPC rejects.
fn connect_directly(assignment: &mut Assignment) {
    let mut known: BTreeSet<SocketAddr> = BTreeSet::new();
    for locality in &mut assignment.localities {
        locality.endpoints.retain(|endpoint| known.insert(endpoint.address));
        locality.endpoints.iter_mut().for_each(|endpoint| endpoint.tunnel = None);
    }
    assignment.localities.retain(|locality| !locality.endpoints.is_empty());
}
