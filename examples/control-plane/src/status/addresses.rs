//! Where Gateways are found, and whether somebody is there to serve them.

use std::collections::BTreeMap;
use std::net::IpAddr;

use mesh_core::name::NamespacedName;

use super::Input;
use super::condition::Said;
use crate::attach::Role;
use crate::resource::{AddressValue, Gateway, Service};
use crate::translate::binding::GATEWAY_NAME;
use crate::world::World;

/// Types of addresses.
const IP: &str = "IPAddress";
const HOSTNAME: &str = "Hostname";

/// How many instances a Gateway has, and how many of them are ready.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Instances {
    count: usize,
    ready: usize,
}

/// Where a Gateway is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reached {
    /// Its addresses, with their types; `None` where nothing is known beyond what its status says already.
    pub(super) addresses: Option<Vec<(&'static str, String)>>,
    /// A type of address that is not supported.
    pub(super) unsupported: Option<String>,
    /// Why nobody would be served.
    pub(super) fault: Option<Said>,
}

/// The instances of all Gateways: pods and WorkloadEntries with the label of one.
pub(super) fn instances(world: &World) -> BTreeMap<NamespacedName, Instances> {
    let mut all: BTreeMap<NamespacedName, Instances> = BTreeMap::new();
    let mut add = |namespace: &str, labels: &BTreeMap<String, String>, is_ready: bool| {
        let Some(name) = labels.get(GATEWAY_NAME) else { return };
        let instances = all.entry(NamespacedName::new(namespace, name.as_str())).or_default();
        instances.count += 1;
        instances.ready += usize::from(is_ready);
    };
    for (_, pod) in world.pods.values() {
        if !matches!(pod.status.phase.as_str(), "Succeeded" | "Failed") {
            let is_ready = pod.status.conditions.iter().any(|one| one.r#type == "Ready" && one.status == "True");
            add(&pod.metadata.namespace, &pod.metadata.labels, is_ready);
        }
    }
    for (_, entry) in world.entries.values() {
        let own = &entry.spec.labels;
        add(&entry.metadata.namespace, if own.is_empty() { &entry.metadata.labels } else { own }, true);
    }
    all
}

/// Where a Gateway is found.
///
/// By the Service that carries its label, or has its name, or its name and that of its class as Istio names them: the addresses
/// of its load balancer, else its own name in full. Without such a Service, where the specification says: whoever writes
/// manifests for what is no cluster knows.
pub(super) fn reached(
    input: &Input<'_>,
    key: &NamespacedName,
    gateway: &Gateway,
    role: Role,
    instances: Option<&Instances>,
) -> Reached {
    let asked = &gateway.spec.addresses;
    let is_supported = |address: &&AddressValue| matches!(address.r#type.as_deref().unwrap_or(IP), IP | HOSTNAME);
    let unsupported = asked.iter().find(|address| !is_supported(address));
    let unsupported = unsupported.and_then(|address| address.r#type.clone());
    let service = service(input, key, gateway);
    let has = service.map(|service| of_service(input, service));
    let wanted: Vec<(&'static str, &str)> = asked
        .iter()
        .filter(is_supported)
        .map(|address| {
            (if address.r#type.as_deref() == Some(HOSTNAME) { HOSTNAME } else { IP }, address.value.as_str())
        })
        .collect();
    let name = |service: &Service| service.metadata.name.clone();
    let (addresses, fault) = match (&has, wanted.is_empty()) {
        (Some(has), true) if has.is_empty() => {
            let message = format!("Service {} has no address yet", service.map(name).unwrap_or_default());
            (Some(Vec::new()), Some(Said::no("AddressNotAssigned", message)))
        }
        (Some(has), true) => (Some(has.clone()), None),
        (None, true) if !gateway.status.addresses.is_empty() => (None, None),
        (None, true) => {
            let message = "there is neither a Service of the Gateway nor an address in its specification";
            (Some(Vec::new()), Some(Said::no("AddressNotAssigned", message)))
        }
        (_, false) => assign(input, has.as_deref(), service, &wanted),
    };
    let fault = fault.or_else(|| served(role, service, instances));
    Reached { addresses, unsupported, fault }
}

/// The addresses that a specification asks for, as far as there are such.
#[expect(clippy::type_complexity, reason = "addresses, and what is wrong with them")]
fn assign(
    input: &Input<'_>,
    has: Option<&[(&'static str, String)]>,
    service: Option<&Service>,
    wanted: &[(&'static str, &str)],
) -> (Option<Vec<(&'static str, String)>>, Option<Said>) {
    let mut assigned: Vec<(&'static str, String)> = Vec::new();
    let mut fault = None;
    for (kind, value) in wanted {
        let found = match has {
            // A name for the Service is what Istio takes it for.
            Some(has) if service.is_some_and(|service| *kind == HOSTNAME && full(input, service) == *value) => {
                has.to_vec()
            }
            Some(has) => {
                let fits = |(other, address): &&(&str, String)| other == kind && (value.is_empty() || address == value);
                has.iter().filter(fits).cloned().collect()
            }
            None if value.is_empty() => Vec::new(),
            None => vec![(*kind, (*value).to_owned())],
        };
        if found.is_empty() && fault.is_none() {
            fault = Some(match value.is_empty() {
                true => Said::no("AddressNotAssigned", format!("there is no address of type {kind}")),
                false => Said::no("AddressNotUsable", format!("the Gateway has no address {value}")),
            });
        }
        assigned.extend(found);
    }
    assigned.dedup();
    (Some(assigned), fault)
}

/// Why nobody serves a Gateway. Where nothing selects instances, they need not be declared.
fn served(role: Role, service: Option<&Service>, instances: Option<&Instances>) -> Option<Said> {
    let Instances { count, ready } = instances.copied().unwrap_or_default();
    let selects = service.is_some_and(|service| !service.spec.selector.is_empty());
    match (count, ready) {
        _ if role == Role::Remote => None,
        (0, _) if selects => {
            Some(Said::no("NoResources", format!("there is no instance with the label `{GATEWAY_NAME}`")))
        }
        (1.., 0) => Some(Said::no("Pending", format!("of its {count} instances none is ready"))),
        _ => None,
    }
}

fn service<'a>(input: &Input<'a>, key: &NamespacedName, gateway: &Gateway) -> Option<&'a Service> {
    let services = &input.world.services;
    let namespace = key.namespace.as_str();
    let in_namespace = services.in_namespace(namespace).map(|(_, (_, service))| service);
    let mut labelled = in_namespace
        .filter(|service| service.metadata.labels.get(GATEWAY_NAME).is_some_and(|name| key.name == *name.as_str()));
    let named = |name: &str| services.get(&NamespacedName::new(namespace, name)).map(|(_, service)| service);
    let asked = gateway.spec.addresses.iter().filter(|address| address.r#type.as_deref() == Some(HOSTNAME));
    let mut asked = asked.filter_map(|address| {
        let (name, rest) = address.value.split_once('.')?;
        let (of, domain) = rest.split_once('.')?;
        let in_full = domain == format!("svc.{}", input.place.cluster_domain);
        services.get(&NamespacedName::new(of, name)).filter(|_| in_full).map(|(_, service)| service)
    });
    asked
        .next()
        .or_else(|| labelled.next())
        .or_else(|| named(key.name.as_str()))
        .or_else(|| named(&format!("{}-{}", key.name, gateway.spec.gateway_class_name)))
}

fn full(input: &Input<'_>, service: &Service) -> String {
    format!("{}.{}.svc.{}", service.metadata.name, service.metadata.namespace, input.place.cluster_domain)
}

/// The addresses of a Service: those of its load balancer, which it may have to wait for, and otherwise its name.
fn of_service(input: &Input<'_>, service: &Service) -> Vec<(&'static str, String)> {
    let mut all: Vec<(&'static str, String)> = Vec::new();
    for ingress in &service.status.load_balancer.ingress {
        match (&ingress.ip, &ingress.hostname) {
            (Some(ip), _) if ip.parse::<IpAddr>().is_ok() => all.push((IP, ip.clone())),
            (_, Some(hostname)) => all.push((HOSTNAME, hostname.clone())),
            _ => {}
        }
    }
    all.extend(service.spec.external_ips.iter().map(|ip| (IP, ip.clone())));
    if service.spec.r#type.as_deref() != Some("LoadBalancer") && all.is_empty() {
        all.push((HOSTNAME, full(input, service)));
    }
    all
}
