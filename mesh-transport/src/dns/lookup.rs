use std::net::IpAddr;
use std::sync::Arc;

use mesh_core::catalog::Catalog;
use mesh_core::name::{Hostname, Network};
use mesh_core::service::{HealthPolicy, IpFamilies, Service};
use mesh_core::workload::{Health, Workload};

use super::Zone;
use super::candidates::{Candidate, candidates};

/// Which addresses are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Family {
    /// A.
    V4,
    /// AAAA.
    V6,
}

impl Family {
    fn of(ip: IpAddr) -> Self {
        if ip.is_ipv4() { Self::V4 } else { Self::V6 }
    }
}

/// What the mesh says about a name. No address means that the name has none of the family asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The name that the addresses belong to, when it is another than the one asked for: the client's search domain was
    /// appended to it for nothing.
    pub alias: Option<Hostname>,
    /// The addresses, in no particular order.
    pub addresses: Vec<IpAddr>,
    /// The service.
    pub service: Arc<Service>,
}

/// Looks a name up for a client of a network. `None`: the mesh does not know it.
#[must_use]
pub fn lookup(
    catalog: &Catalog,
    client: &Workload,
    network: &Network,
    asked: &Hostname,
    family: Family,
    zone: &Zone,
) -> Option<Answer> {
    let namespace = client.namespace.as_str();
    for candidate in candidates(asked, namespace, zone) {
        let exact = std::iter::once((candidate.name.to_string(), false));
        let names = exact.chain(candidate.name.wildcards().map(|wildcard| (wildcard, true)));
        for (name, wildcard) in names {
            let found = best(catalog, &name, namespace, zone)
                .into_iter()
                .find_map(|service| Some((addresses(catalog, &service, network, zone)?, service)));
            let Some((addresses, service)) = found else { continue };
            let alias = if wildcard { None } else { alias(&candidate) };
            return Some(Answer { alias, addresses: filter(addresses, &service, family, zone), service });
        }
    }
    None
}

fn alias(candidate: &Candidate) -> Option<Hostname> {
    candidate.stripped.clone()
}

/// The services with this host name that the client may see, the one it means first.
fn best(catalog: &Catalog, hostname: &str, namespace: &str, zone: &Zone) -> Vec<Arc<Service>> {
    let visible = catalog.services_named(hostname).filter(|service| service.is_visible_to(namespace));
    let mut services: Vec<_> = visible.map(Arc::clone).collect();
    services.sort_by_key(|service| {
        let preferred = zone.preferred_namespace.as_ref().is_some_and(|wanted| *wanted == service.key.namespace);
        (service.key.namespace != *namespace, !service.canonical, !preferred)
    });
    services
}

/// Addresses of a service in the client's network, of all families; `None` when the service is not one that has any, and
/// somebody else must answer.
fn addresses(catalog: &Catalog, service: &Service, network: &Network, zone: &Zone) -> Option<Vec<IpAddr>> {
    // A range cannot be given as an answer.
    let hosts = service.vips.iter().filter(|(_, vip)| vip.prefix_len() == vip.max_prefix_len());
    let vips: Vec<IpAddr> = hosts.filter(|(of, _)| of == network).map(|(_, vip)| vip.addr()).collect();
    if !vips.is_empty() {
        return Some(vips);
    }
    let headless = service.vips.is_empty()
        && service
            .key
            .hostname
            .as_str()
            .strip_suffix(zone.cluster_domain.as_str())
            .is_some_and(|rest| rest.ends_with(".svc."));
    if !headless {
        return None;
    }
    let all = service.load_balancing.health_policy == HealthPolicy::AllowAll;
    let endpoints = catalog
        .endpoints(&service.key)
        // An address of another network would lead to a stranger here.
        .filter(|workload| (all || workload.health == Health::Healthy) && workload.network == *network);
    let mut found = Vec::new();
    for endpoint in endpoints {
        for family in [Family::V4, Family::V6] {
            found.extend(endpoint.addresses.iter().find(|ip| Family::of(**ip) == family));
        }
    }
    Some(found)
}

fn filter(addresses: Vec<IpAddr>, service: &Service, family: Family, zone: &Zone) -> Vec<IpAddr> {
    let allowed = match service.ip_families {
        IpFamilies::Ipv4Only => family == Family::V4,
        IpFamilies::Ipv6Only => family == Family::V6,
        IpFamilies::Automatic | IpFamilies::Dual => true,
        _ => true,
    };
    if !allowed || (family == Family::V6 && !zone.ipv6) {
        return Vec::new();
    }
    addresses.into_iter().filter(|ip| Family::of(*ip) == family).collect()
}
