use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use mesh_core::name::{Hostname, Locality, NamespacedHostname, NamespacedName, Network, ServiceAccount};
use mesh_core::service::{AppProtocol, GatewayAddress, PortMap, ServicePort};
use mesh_core::workload::{Health, NetworkMode, TunnelProtocol, Workload, WorkloadKind};

use super::binding::{self, Object, Traffic};
use super::policy::Attachments;
use super::{Place, selects, service};
use crate::admission::schema::{self as admission, IntOrString, Metadata, Pod, ServiceEntryEndpoint};
use crate::world::World;

/// Annotation by which the node agent of Istio says that a pod is captured.
const REDIRECTION: &str = "ambient.istio.io/redirection";

/// Label by which a namespace or workload joins the mesh, or a workload leaves it.
const DATAPLANE_MODE: &str = "istio.io/dataplane-mode";

/// Label or annotation by which a WorkloadEntry says on which node it runs.
const NODE: &str = "kubernetes.io/hostname";

/// All workloads: pods, workload entries, inline endpoints of service entries, endpoints of slices that are no pods.
pub(super) fn all(world: &World, place: &Place, attachments: &Attachments) -> Vec<Workload> {
    let pods = world.pods.values().filter_map(|(_, pod)| from_pod(world, place, pod));
    let entries = world.entries.iter().filter_map(|(key, (_, entry))| from_entry(world, place, key, entry));
    let mut labelled: Vec<(Workload, &BTreeMap<String, String>)> = pods.chain(entries).collect();
    for (workload, labels) in &mut labelled {
        workload.policies = attachments.of(workload.namespace.as_str(), labels);
    }
    let mut workloads: Vec<Workload> = labelled.into_iter().map(|(workload, _)| workload).collect();
    for (_, entry) in world.service_entries.values() {
        workloads.extend(from_service_entry(world, place, entry));
    }
    for (key, (_, slice)) in &world.slices {
        workloads.extend(from_slice(world, place, key, slice));
    }
    workloads
}

/// The labels of workloads that have any, by uid.
pub(super) fn labels<'a>(world: &'a World, place: &Place) -> HashMap<String, &'a BTreeMap<String, String>> {
    let pods = world.pods.values().map(|(_, pod)| (pod_uid(place, &pod.metadata), &pod.metadata.labels));
    let entries = world.entries.iter().map(|(key, (_, entry))| (entry_uid(place, key), entry_labels(entry)));
    pods.chain(entries).collect()
}

fn pod_uid(place: &Place, metadata: &Metadata) -> String {
    format!("{}//Pod/{}/{}", place.cluster_id, metadata.namespace, metadata.name)
}

fn entry_uid(place: &Place, key: &NamespacedName) -> String {
    format!("{}/networking.istio.io/WorkloadEntry/{key}", place.cluster_id)
}

fn entry_labels(entry: &admission::WorkloadEntry) -> &BTreeMap<String, String> {
    if entry.spec.labels.is_empty() { &entry.metadata.labels } else { &entry.spec.labels }
}

/// A locality as a WorkloadEntry says it: `region/zone/subzone`.
fn locality(text: Option<&str>) -> Locality {
    let mut parts = text.unwrap_or_default().splitn(3, '/');
    let mut part = || parts.next().unwrap_or_default();
    Locality::new(part(), part(), part())
}

/// The waypoint of what is addressed to a workload itself.
fn waypoint(world: &World, place: &Place, metadata: &Metadata) -> Option<GatewayAddress> {
    let key = binding::bound(world, Object::new(Traffic::Workload, metadata)).waypoint?;
    Some(binding::address(world, place, &key))
}

fn from_pod<'a>(world: &World, place: &Place, pod: &'a Pod) -> Option<(Workload, &'a BTreeMap<String, String>)> {
    if matches!(pod.status.phase.as_str(), "Succeeded" | "Failed") {
        return None;
    }
    let metadata = &pod.metadata;
    let first = pod.status.pod_ip.iter().filter(|_| pod.status.pod_ips.is_empty());
    let addresses: Vec<IpAddr> =
        first.chain(pod.status.pod_ips.iter().map(|ip| &ip.ip)).filter_map(|ip| ip.parse().ok()).collect();
    if addresses.is_empty() {
        return None;
    }
    let uid = pod_uid(place, metadata);
    let account = pod.spec.service_account_name.as_deref().unwrap_or("default");
    let mut workload = new(place, uid, &metadata.namespace, &metadata.name, account)?;
    workload.addresses = addresses;
    workload.node = pod.spec.node_name.as_str().into();
    workload.kind = WorkloadKind::Pod;
    if pod.spec.host_network {
        workload.network_mode = NetworkMode::HostNetwork;
    }
    workload.health = match pod.status.conditions.iter().find(|condition| condition.r#type == "Ready") {
        Some(ready) if ready.status == "True" => Health::Healthy,
        _ => Health::Unhealthy,
    };
    let captured = metadata.annotations.get(REDIRECTION).is_some_and(|value| value == "enabled");
    if captured || is_meshed(world, &metadata.namespace, &metadata.labels) {
        workload.tunnel = TunnelProtocol::Hbone;
    }
    workload.waypoint = waypoint(world, place, metadata);
    canonical(&mut workload, &metadata.labels);
    let named = |name: &str| {
        let ports = pod.spec.containers.iter().flat_map(|container| &container.ports);
        ports.filter(|port| port.name == name).map(|port| port.container_port).next()
    };
    join_services(world, place, &mut workload, &metadata.labels, &named);
    for (_, slice) in world.slices.values().filter(|(_, slice)| slice.metadata.namespace == metadata.namespace) {
        let refers = slice.endpoints.iter().filter_map(|endpoint| endpoint.target_ref.as_ref());
        if refers.into_iter().any(|target| target.kind == "Pod" && target.name == metadata.name)
            && let Some((key, service)) = slice_service(world, place, slice)
        {
            workload.services.entry(key).or_insert_with(|| slice_ports(service, slice));
        }
    }
    Some((workload, &metadata.labels))
}

fn from_entry<'a>(
    world: &World,
    place: &Place,
    key: &NamespacedName,
    entry: &'a admission::WorkloadEntry,
) -> Option<(Workload, &'a BTreeMap<String, String>)> {
    let uid = entry_uid(place, key);
    let metadata = &entry.metadata;
    let labels = entry_labels(entry);
    let mut workload = external(place, uid, &metadata.namespace, &metadata.name, &entry.spec)?;
    let node = metadata.annotations.get(NODE).or_else(|| metadata.labels.get(NODE)).or_else(|| labels.get(NODE));
    workload.node = node.map(String::as_str).unwrap_or_default().into();
    if is_meshed(world, &metadata.namespace, labels) {
        workload.tunnel = TunnelProtocol::Hbone;
    }
    workload.waypoint = waypoint(world, place, metadata);
    canonical(&mut workload, labels);
    let ports = &entry.spec.ports;
    join_services(world, place, &mut workload, labels, &|name: &str| ports.get(name).copied());
    Some((workload, labels))
}

fn from_service_entry(world: &World, place: &Place, entry: &admission::ServiceEntry) -> Vec<Workload> {
    let metadata = &entry.metadata;
    let spec = &entry.spec;
    let uid = |address: &str| {
        format!(
            "{}/networking.istio.io/ServiceEntry/{}/{}/{address}",
            place.cluster_id, metadata.namespace, metadata.name
        )
    };
    let mut endpoints = spec.endpoints.clone();
    let by_dns = matches!(spec.resolution.as_deref(), Some("DNS" | "DNS_ROUND_ROBIN"));
    if by_dns && endpoints.is_empty() && spec.workload_selector.is_none() {
        // The host is its own endpoint.
        let hosts = spec.hosts.iter().filter(|host| !host.starts_with('*'));
        endpoints = hosts
            .map(|host| ServiceEntryEndpoint { address: host.clone(), ..ServiceEntryEndpoint::default() })
            .collect();
    }
    let of_endpoint = |endpoint: &ServiceEntryEndpoint| {
        let mut workload = external(place, uid(&endpoint.address), &metadata.namespace, &metadata.name, endpoint)?;
        if is_meshed(world, "", &endpoint.labels) {
            workload.tunnel = TunnelProtocol::Hbone;
        }
        for key in service::entry_keys(entry) {
            workload.services.insert(key, entry_ports(entry, &endpoint.ports));
        }
        Some(workload)
    };
    endpoints.iter().filter_map(of_endpoint).collect()
}

fn from_slice(world: &World, place: &Place, key: &NamespacedName, slice: &admission::EndpointSlice) -> Vec<Workload> {
    let Some((service_key, service)) = slice_service(world, place, slice) else { return Vec::new() };
    let mut workloads = Vec::new();
    for endpoint in
        slice.endpoints.iter().filter(|endpoint| endpoint.target_ref.as_ref().is_none_or(|target| target.kind != "Pod"))
    {
        for ip in endpoint.addresses.iter().filter_map(|address| address.parse::<IpAddr>().ok()) {
            let uid = format!("{}/discovery.k8s.io/EndpointSlice/{key}/{ip}", place.cluster_id);
            let Some(mut workload) = new(place, uid, key.namespace.as_str(), key.name.as_str(), "default") else {
                continue;
            };
            workload.addresses = vec![ip];
            workload.network_mode = NetworkMode::HostNetwork;
            workload.node = endpoint.node_name.as_deref().unwrap_or_default().into();
            if endpoint.conditions.ready == Some(false) {
                workload.health = Health::Unhealthy;
            }
            workload.services.insert(service_key.clone(), slice_ports(service, slice));
            workloads.push(workload);
        }
    }
    workloads
}

fn slice_service<'a>(
    world: &'a World,
    place: &Place,
    slice: &admission::EndpointSlice,
) -> Option<(NamespacedHostname, &'a admission::Service)> {
    let name = slice.metadata.labels.get("kubernetes.io/service-name")?;
    let key = NamespacedName::new(slice.metadata.namespace.as_str(), name.as_str());
    let (_, service) = world.services.get(&key)?;
    Some((service::key(service, place)?, service))
}

/// The ports of a slice's endpoints: those of the service's ports with the same names.
fn slice_ports(service: &admission::Service, slice: &admission::EndpointSlice) -> PortMap {
    let target = |port: &admission::ServicePort| {
        slice.ports.iter().find(|candidate| candidate.name == port.name).and_then(|candidate| candidate.port)
    };
    service.spec.ports.iter().filter_map(|port| Some(mapped(port.port, target(port)?))).collect()
}

/// Makes a workload an endpoint of every service that selects it.
fn join_services(
    world: &World,
    place: &Place,
    workload: &mut Workload,
    labels: &BTreeMap<String, String>,
    named: &dyn Fn(&str) -> Option<u16>,
) {
    let namespace = workload.namespace.clone();
    for (_, source) in world.services.values().filter(|(_, source)| namespace == *source.metadata.namespace) {
        if selects(&source.spec.selector, labels)
            && let Some(key) = service::key(source, place)
        {
            let ports = source.spec.ports.iter().filter(|port| service::is_tcp(port.protocol.as_deref()));
            let ports = ports.filter_map(|port| match &port.target_port {
                None => Some(mapped(port.port, port.port)),
                Some(IntOrString::Int(number)) => Some(mapped(port.port, *number)),
                // A name that this workload does not have leaves the port out for it alone.
                Some(IntOrString::String(name)) => named(name).map(|number| mapped(port.port, number)),
            });
            workload.services.insert(key, ports.collect());
        }
    }
    for (_, entry) in world.service_entries.values().filter(|(_, entry)| namespace == *entry.metadata.namespace) {
        let selector = entry.spec.workload_selector.as_ref();
        if selector.is_some_and(|selector| selects(&selector.labels, labels)) {
            for key in service::entry_keys(entry) {
                workload.services.insert(key, entry_ports(entry, &BTreeMap::new()));
            }
        }
    }
}

fn entry_ports(entry: &admission::ServiceEntry, own: &BTreeMap<String, u16>) -> PortMap {
    let target =
        |port: &admission::ServiceEntryPort| own.get(&port.name).copied().or(port.target_port).unwrap_or(port.number);
    entry.spec.ports.iter().map(|port| mapped(port.number, target(port))).collect()
}

fn mapped(service_port: u16, target_port: u16) -> ServicePort {
    ServicePort { service_port, target_port: Some(target_port), protocol: AppProtocol::Unknown }
}

fn external(
    place: &Place,
    uid: String,
    namespace: &str,
    name: &str,
    endpoint: &ServiceEntryEndpoint,
) -> Option<Workload> {
    let account = endpoint.service_account.as_deref().unwrap_or("default");
    let mut workload = new(place, uid, namespace, name, account)?;
    match endpoint.address.parse::<IpAddr>() {
        Ok(ip) => workload.addresses = vec![ip],
        Err(_) => workload.hostname = Some(Hostname::parse(&endpoint.address).ok()?),
    }
    if let Some(network) = &endpoint.network {
        workload.network = network.as_str().into();
    }
    workload.locality = locality(endpoint.locality.as_deref());
    workload.capacity = endpoint.weight.unwrap_or(1);
    Some(workload)
}

fn new(place: &Place, uid: String, namespace: &str, name: &str, account: &str) -> Option<Workload> {
    let mut workload = Workload::new(uid, place.trust_domain.clone(), namespace, name).ok()?;
    workload.identity = ServiceAccount::new(place.trust_domain.clone(), namespace, account).ok()?;
    workload.network = Network::from(place.network.as_str());
    workload.cluster_id = place.cluster_id.as_str().into();
    workload.workload_name = name.into();
    Some(workload)
}

/// In the mesh by its own label, or by its namespace's. There is no node agent here that would say so by annotation.
fn is_meshed(world: &World, namespace: &str, labels: &BTreeMap<String, String>) -> bool {
    match labels.get(DATAPLANE_MODE).map(String::as_str) {
        Some(mode) => mode == "ambient",
        None => world.is_ambient(namespace),
    }
}

fn canonical(workload: &mut Workload, labels: &BTreeMap<String, String>) {
    let first = |keys: &[&str]| keys.iter().find_map(|key| labels.get(*key)).cloned();
    let name = first(&["service.istio.io/canonical-name", "app.kubernetes.io/name", "app"]);
    let revision = first(&["service.istio.io/canonical-revision", "app.kubernetes.io/version", "version"]);
    workload.canonical_name = name.unwrap_or_else(|| workload.workload_name.to_string()).into();
    workload.canonical_revision = revision.unwrap_or_else(|| "latest".to_owned()).into();
}
