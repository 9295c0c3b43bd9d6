use std::collections::BTreeMap;
use std::net::IpAddr;

use mesh_core::name::{Hostname, Locality, NamespacedHostname, NamespacedName, Network, ServiceAccount};
use mesh_core::service::{AppProtocol, GatewayAddress, PortMap, ServicePort};
use mesh_core::workload::{NetworkMode, TunnelProtocol, Workload, WorkloadKind};

use super::binding::{self, Object, Traffic};
use super::facts::{Labels, Located, Reader, Readiness};
use super::{Place, clusterset, policy, selects, service, slice};
use crate::resource::{self, HEALTHY, IntOrString, Kind, Metadata, ObjectId, Pod, ServiceEntryEndpoint};
use crate::world::Lookup;

/// Annotation by which the node agent of Istio says that a pod is captured.
const REDIRECTION: &str = "ambient.istio.io/redirection";

/// Label by which a namespace or workload joins the mesh, or a workload leaves it.
const DATAPLANE_MODE: &str = "istio.io/dataplane-mode";

/// Label or annotation by which a WorkloadEntry says on which node it runs.
const NODE: &str = "kubernetes.io/hostname";

/// Label of a pod or WorkloadEntry that its operator takes out of service: nothing new is sent to it.
const DRAINING: &str = "istio.io/draining";

/// Annotation of a WorkloadEntry whose health an agent reports in the status.
const HEALTH_CHECKS: &str = "proxy.istio.io/health-checks-enabled";

/// The workloads that an object is or declares: a pod, a WorkloadEntry, inline endpoints of a ServiceEntry, endpoints of a
/// slice that are no pods.
pub(super) fn located(reader: &Reader<'_>, id: &ObjectId) -> Vec<Located> {
    let labelled = |(workload, readiness)| Located { workload, labels: reader.labels(id), readiness };
    let unlabelled = |(workload, readiness)| Located { workload, labels: Labels::None, readiness };
    match id.kind {
        Kind::Pod => {
            let made = reader.pod(&id.name).and_then(|pod| Some((from_pod(reader, pod)?, readiness_of_pod(pod))));
            made.map(labelled).into_iter().collect()
        }
        Kind::WorkloadEntry => {
            let made = reader
                .entry(&id.name)
                .and_then(|entry| Some((from_entry(reader, &id.name, entry)?, readiness_of_entry(entry))));
            made.map(labelled).into_iter().collect()
        }
        Kind::ServiceEntry => {
            let made = reader.service_entry(&id.name).map(|entry| from_service_entry(reader, entry));
            made.into_iter().flatten().map(|workload| unlabelled((workload, Readiness::Ready))).collect()
        }
        _ => slice::located(reader, &id.name).into_iter().map(unlabelled).collect(),
    }
}

/// A pod that is asked to go may still serve, for as long as its probes say so.
fn readiness_of_pod(pod: &Pod) -> Readiness {
    let is_ready = pod.status.conditions.iter().any(|one| one.r#type == "Ready" && one.status == "True");
    readiness(&pod.metadata, &pod.metadata.labels, is_ready)
}

/// A WorkloadEntry is ready, unless its health is reported by an agent, and that does not find it well.
fn readiness_of_entry(entry: &resource::WorkloadEntry) -> Readiness {
    let is_probed = entry.metadata.annotations.get(HEALTH_CHECKS).is_some_and(|value| value == "true");
    let is_well = entry.status.conditions.iter().any(|one| one.r#type == HEALTHY && one.status == "True");
    readiness(&entry.metadata, entry_labels(entry), is_well || !is_probed)
}

fn readiness(metadata: &Metadata, labels: &BTreeMap<String, String>, is_ready: bool) -> Readiness {
    match is_ready {
        false => Readiness::Unready,
        true if labels.contains_key(DRAINING) || metadata.labels.contains_key(DRAINING) => Readiness::Draining,
        true if metadata.deletion_timestamp.is_some() => Readiness::Terminating,
        true => Readiness::Ready,
    }
}

/// The uid of a pod.
pub(super) fn pod_uid(place: &Place, namespace: &str, name: &str) -> String {
    format!("{}//Pod/{namespace}/{name}", place.cluster_id)
}

fn entry_uid(place: &Place, key: &NamespacedName) -> String {
    format!("{}/networking.istio.io/WorkloadEntry/{key}", place.cluster_id)
}

fn entry_labels(entry: &resource::WorkloadEntry) -> &BTreeMap<String, String> {
    if entry.spec.labels.is_empty() { &entry.metadata.labels } else { &entry.spec.labels }
}

/// A locality as a WorkloadEntry says it: `region/zone/subzone`.
fn locality(text: Option<&str>) -> Locality {
    let mut parts = text.unwrap_or_default().splitn(3, '/');
    let mut part = || parts.next().unwrap_or_default();
    Locality::new(part(), part(), part())
}

/// Where a node stands; nowhere, if nobody says.
pub(super) fn locality_of_node(reader: &Reader<'_>, name: &str) -> Locality {
    let node = reader.node(&NamespacedName::new("", name));
    node.map(|node| node.locality())
        .map(|[region, zone, subzone]| Locality::new(region, zone, subzone))
        .unwrap_or_default()
}

/// The waypoint of what is addressed to a workload itself.
fn waypoint(reader: &Reader<'_>, metadata: &Metadata) -> Option<GatewayAddress> {
    let key = binding::bound(reader, Object::new(Traffic::Workload, metadata)).waypoint?;
    Some(binding::address(reader, reader.place(), &key))
}

fn from_pod(reader: &Reader<'_>, pod: &Pod) -> Option<Workload> {
    let place = reader.place();
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
    let uid = pod_uid(place, &metadata.namespace, &metadata.name);
    let account = pod.spec.service_account_name.as_deref().unwrap_or("default");
    let mut workload = new(place, uid, &metadata.namespace, &metadata.name, account)?;
    workload.addresses = addresses;
    workload.node = pod.spec.node_name.as_str().into();
    workload.locality = locality_of_node(reader, &pod.spec.node_name);
    workload.kind = WorkloadKind::Pod;
    if pod.spec.host_network {
        workload.network_mode = NetworkMode::HostNetwork;
    }
    let captured = metadata.annotations.get(REDIRECTION).is_some_and(|value| value == "enabled");
    if captured || is_meshed(reader, &metadata.namespace, &metadata.labels) {
        workload.tunnel = TunnelProtocol::Hbone;
    }
    workload.waypoint = waypoint(reader, metadata);
    canonical(&mut workload, &metadata.labels);
    let named = |name: &str| {
        let ports = pod.spec.containers.iter().flat_map(|container| &container.ports);
        ports.filter(|port| port.name == name).map(|port| port.container_port).next()
    };
    join(reader, &mut workload, &metadata.labels, &named);
    let key = NamespacedName::new(metadata.namespace.as_str(), metadata.name.as_str());
    for slice in reader.slices_of(key) {
        if let Some((key, service)) = slice::service(reader, slice)
            && !workload.services.contains_key(&key)
        {
            serve(reader, &mut workload, key, service, slice::ports(service, slice));
        }
    }
    Some(workload)
}

fn from_entry(reader: &Reader<'_>, key: &NamespacedName, entry: &resource::WorkloadEntry) -> Option<Workload> {
    let place = reader.place();
    let uid = entry_uid(place, key);
    let metadata = &entry.metadata;
    let labels = entry_labels(entry);
    let mut workload = external(place, uid, &metadata.namespace, &metadata.name, &entry.spec)?;
    let node = metadata.annotations.get(NODE).or_else(|| metadata.labels.get(NODE)).or_else(|| labels.get(NODE));
    workload.node = node.map(String::as_str).unwrap_or_default().into();
    if is_meshed(reader, &metadata.namespace, labels) {
        workload.tunnel = TunnelProtocol::Hbone;
    }
    workload.waypoint = waypoint(reader, metadata);
    canonical(&mut workload, labels);
    let ports = &entry.spec.ports;
    join(reader, &mut workload, labels, &|name: &str| ports.get(name).copied());
    Some(workload)
}

fn from_service_entry(reader: &Reader<'_>, entry: &resource::ServiceEntry) -> Vec<Workload> {
    let place = reader.place();
    let metadata = &entry.metadata;
    let spec = &entry.spec;
    let uid = |address: &str| {
        format!(
            "{}/networking.istio.io/ServiceEntry/{}/{}/{address}",
            place.cluster_id, metadata.namespace, metadata.name
        )
    };
    let mut endpoints = spec.endpoints.clone();
    let by_dns = matches!(spec.resolution.as_deref(), Some("DNS" | "DNS_ROUND_ROBIN" | "DYNAMIC_DNS"));
    let is_own_endpoint = by_dns && endpoints.is_empty() && spec.workload_selector.is_none();
    if is_own_endpoint {
        // The host is its own endpoint.
        let hosts = spec.hosts.iter().filter(|host| !host.starts_with('*'));
        endpoints = hosts
            .map(|host| ServiceEntryEndpoint { address: host.clone(), ..ServiceEntryEndpoint::default() })
            .collect();
    }
    let of_endpoint = |endpoint: &ServiceEntryEndpoint| {
        let mut workload = external(place, uid(&endpoint.address), &metadata.namespace, &metadata.name, endpoint)?;
        if is_meshed(reader, "", &endpoint.labels) {
            workload.tunnel = TunnelProtocol::Hbone;
        }
        let own = |key: &NamespacedHostname| !is_own_endpoint || workload.hostname.as_ref() == Some(&key.hostname);
        let services: Vec<_> = service::entry_keys(entry).filter(own).collect();
        for key in services {
            workload.services.insert(key, entry_ports(entry, &endpoint.ports));
        }
        Some(workload)
    };
    endpoints.iter().filter_map(of_endpoint).collect()
}

/// Makes a workload an endpoint of every service that selects it, and names the policies that do.
fn join(
    reader: &Reader<'_>,
    workload: &mut Workload,
    labels: &BTreeMap<String, String>,
    named: &dyn Fn(&str) -> Option<u16>,
) {
    let selecting = reader.selecting(&workload.namespace, labels);
    for id in selecting.iter().filter(|id| id.kind == Kind::Service) {
        let Some(source) = reader.service_object(&id.name) else { continue };
        if selects(&source.spec.selector, labels)
            && let Some(key) = service::key(source, reader.place())
        {
            let ports = source.spec.ports.iter().filter(|port| service::is_tcp(port.protocol.as_deref()));
            let ports = ports.filter_map(|port| match &port.target_port {
                None => Some(mapped(port.port, port.port)),
                Some(IntOrString::Int(number)) => Some(mapped(port.port, *number)),
                // A name that this workload does not have leaves the port out for it alone.
                Some(IntOrString::String(name)) => named(name).map(|number| mapped(port.port, number)),
            });
            serve(reader, workload, key, source, ports.collect());
        }
    }
    for id in selecting.iter().filter(|id| id.kind == Kind::ServiceEntry) {
        let Some(entry) = reader.service_entry(&id.name) else { continue };
        let selector = entry.spec.workload_selector.as_ref();
        if selector.is_some_and(|selector| selects(&selector.labels, labels)) {
            for key in service::entry_keys(entry) {
                workload.services.insert(key, entry_ports(entry, &BTreeMap::new()));
            }
        }
    }
    workload.policies = policy::named(reader, &workload.namespace, labels, &selecting);
}

/// Makes a workload an endpoint of a Service, and of the service of the cluster set that this may be too.
fn serve(
    reader: &Reader<'_>,
    workload: &mut Workload,
    key: NamespacedHostname,
    source: &resource::Service,
    ports: PortMap,
) {
    workload.services.extend(clusterset::endpoint(reader, source, &ports));
    workload.services.insert(key, ports);
}

fn entry_ports(entry: &resource::ServiceEntry, own: &BTreeMap<String, u16>) -> PortMap {
    let target =
        |port: &resource::ServiceEntryPort| own.get(&port.name).copied().or(port.target_port).unwrap_or(port.number);
    entry.spec.ports.iter().map(|port| mapped(port.number, target(port))).collect()
}

pub(super) fn mapped(service_port: u16, target_port: u16) -> ServicePort {
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

pub(super) fn new(place: &Place, uid: String, namespace: &str, name: &str, account: &str) -> Option<Workload> {
    let mut workload = Workload::new(uid, place.trust_domain.clone(), namespace, name).ok()?;
    workload.identity = ServiceAccount::new(place.trust_domain.clone(), namespace, account).ok()?;
    workload.network = Network::from(place.network.as_str());
    workload.cluster_id = place.cluster_id.as_str().into();
    workload.workload_name = name.into();
    Some(workload)
}

/// In the mesh by its own label, or by its namespace's. There is no node agent here that would say so by annotation.
fn is_meshed(reader: &Reader<'_>, namespace: &str, labels: &BTreeMap<String, String>) -> bool {
    match labels.get(DATAPLANE_MODE).map(String::as_str) {
        Some(mode) => mode == "ambient",
        None => reader.is_ambient(namespace),
    }
}

fn canonical(workload: &mut Workload, labels: &BTreeMap<String, String>) {
    let first = |keys: &[&str]| keys.iter().find_map(|key| labels.get(*key)).cloned();
    let name = first(&["service.istio.io/canonical-name", "app.kubernetes.io/name", "app"]);
    let revision = first(&["service.istio.io/canonical-revision", "app.kubernetes.io/version", "version"]);
    workload.canonical_name = name.unwrap_or_else(|| workload.workload_name.to_string()).into();
    workload.canonical_revision = revision.unwrap_or_else(|| "latest".to_owned()).into();
}
