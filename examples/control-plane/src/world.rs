//! The world: everything that was read and is whole, keyed by namespace and name.

use std::collections::BTreeMap;
use std::net::IpAddr;

use ipnet::IpNet;
use mesh_core::name::{Hostname, NamespacedName, parse_spiffe_id};

use crate::admission::check::{self, Faults};
use crate::admission::schema::{
    AuthorizationPolicy, DestinationRule, EndpointSlice, Gateway, GatewayClass, GrpcRoute, HttpRoute, MeshConfig,
    Metadata, Object, PeerAuthentication, Pod, RequestAuthentication, Service, ServiceEntry, VirtualService,
    WorkloadEntry,
};
use crate::finding::{Finding, Origin};
use crate::translate::binding::{self, Traffic};

/// Objects of one kind.
pub type Objects<T> = BTreeMap<NamespacedName, (Origin, T)>;

/// Everything that was read.
#[derive(Debug, Clone, Default)]
pub struct World {
    /// Labels of namespaces.
    pub namespaces: BTreeMap<String, BTreeMap<String, String>>,
    /// Service accounts.
    pub accounts: BTreeMap<NamespacedName, Origin>,
    /// Services.
    pub services: Objects<Service>,
    /// Pods.
    pub pods: Objects<Pod>,
    /// Endpoint slices.
    pub slices: Objects<EndpointSlice>,
    /// Workload entries.
    pub entries: Objects<WorkloadEntry>,
    /// Service entries.
    pub service_entries: Objects<ServiceEntry>,
    /// Authorization policies.
    pub policies: Objects<AuthorizationPolicy>,
    /// Peer authentications.
    pub peers: Objects<PeerAuthentication>,
    /// Request authentications.
    pub tokens: Objects<RequestAuthentication>,
    /// Destination rules.
    pub destination_rules: Objects<DestinationRule>,
    /// Virtual services.
    pub virtual_services: Objects<VirtualService>,
    /// ConfigMaps `istio`. The one of the root namespace counts.
    pub mesh_configs: Objects<MeshConfig>,
    /// Gateways.
    pub gateways: Objects<Gateway>,
    /// Gateway classes by name; they have no namespace.
    pub classes: BTreeMap<String, GatewayClass>,
    /// Routes of HTTP.
    pub http_routes: Objects<HttpRoute>,
    /// Routes of gRPC.
    pub grpc_routes: Objects<GrpcRoute>,
}

impl World {
    /// Adds an object. Gives what is wrong with it.
    pub(crate) fn insert(&mut self, origin: Origin, object: Object) -> Option<Finding> {
        match object {
            Object::Namespace(namespace) => {
                self.namespaces.insert(namespace.metadata.name, namespace.metadata.labels);
                None
            }
            Object::ServiceAccount(account) => {
                self.accounts.insert(key(&account.metadata), origin);
                None
            }
            Object::Service(service) => put(&mut self.services, origin, key(&service.metadata), "Service", service),
            Object::Pod(pod) => put(&mut self.pods, origin, key(&pod.metadata), "Pod", pod),
            Object::EndpointSlice(slice) => put(&mut self.slices, origin, key(&slice.metadata), "EndpointSlice", slice),
            Object::WorkloadEntry(entry) => {
                put(&mut self.entries, origin, key(&entry.metadata), "WorkloadEntry", entry)
            }
            Object::ServiceEntry(entry) => {
                put(&mut self.service_entries, origin, key(&entry.metadata), "ServiceEntry", entry)
            }
            Object::AuthorizationPolicy(policy) => {
                put(&mut self.policies, origin, key(&policy.metadata), "AuthorizationPolicy", *policy)
            }
            Object::PeerAuthentication(peer) => {
                put(&mut self.peers, origin, key(&peer.metadata), "PeerAuthentication", peer)
            }
            Object::RequestAuthentication(tokens) => {
                put(&mut self.tokens, origin, key(&tokens.metadata), "RequestAuthentication", *tokens)
            }
            Object::DestinationRule(rule) => {
                put(&mut self.destination_rules, origin, key(&rule.metadata), "DestinationRule", *rule)
            }
            Object::VirtualService(service) => {
                put(&mut self.virtual_services, origin, key(&service.metadata), "VirtualService", *service)
            }
            Object::MeshConfig(metadata, config) => {
                put(&mut self.mesh_configs, origin, key(&metadata), "ConfigMap", *config)
            }
            Object::Gateway(gateway) => put(&mut self.gateways, origin, key(&gateway.metadata), "Gateway", gateway),
            Object::GatewayClass(class) => {
                self.classes.insert(class.metadata.name.clone(), class);
                None
            }
            Object::HttpRoute(route) => put(&mut self.http_routes, origin, key(&route.metadata), "HTTPRoute", *route),
            Object::GrpcRoute(route) => put(&mut self.grpc_routes, origin, key(&route.metadata), "GRPCRoute", *route),
            Object::Other(kind) => Some(origin.warning(format!("`{kind}` has no effect here"))),
        }
    }

    /// Whether the workloads of a namespace are in the mesh by its label.
    #[must_use]
    pub fn is_ambient(&self, namespace: &str) -> bool {
        let labels = self.namespaces.get(namespace);
        labels.and_then(|labels| labels.get("istio.io/dataplane-mode")).is_some_and(|mode| mode == "ambient")
    }

    /// The labels of a namespace, with the one that names it. A namespace that no object declares has that one.
    #[must_use]
    pub fn namespace_labels(&self, namespace: &str) -> BTreeMap<String, String> {
        let mut labels = self.namespaces.get(namespace).cloned().unwrap_or_default();
        labels.insert("kubernetes.io/metadata.name".to_owned(), namespace.to_owned());
        labels
    }

    /// What is wrong with objects by themselves and among each other.
    pub(crate) fn check(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        for (origin, service) in self.services.values() {
            let spec = &service.spec;
            for ip in spec.cluster_ip.iter().chain(&spec.cluster_ips).filter(|ip| *ip != "None" && !ip.is_empty()) {
                if ip.parse::<IpAddr>().is_err() {
                    findings.push(origin.error(format!("spec.clusterIP: `{ip}` is no IP address")));
                }
            }
            if spec.ports.iter().any(|port| port.port == 0) {
                findings.push(origin.error("spec.ports: 0 is no port"));
            }
        }
        for (key, (origin, pod)) in &self.pods {
            for ip in &pod.status.pod_ips {
                if ip.ip.parse::<IpAddr>().is_err() {
                    findings.push(origin.error(format!("status.podIPs: `{}` is no IP address", ip.ip)));
                }
            }
            let account = pod.spec.service_account_name.as_deref().unwrap_or("default");
            let known = account == "default"
                || self.accounts.contains_key(&NamespacedName::new(key.namespace.clone(), account));
            if !known {
                findings.push(origin.warning(format!("service account `{account}` of pod `{key}` is not declared")));
            }
        }
        for (origin, entry) in self.service_entries.values() {
            check_service_entry(origin, entry, &mut findings);
        }
        for (origin, entry) in self.entries.values() {
            if entry.spec.address.is_empty() {
                findings.push(origin.error("spec.address is missing"));
            }
        }
        for (key, (origin, _)) in &self.policies {
            let (_, more) = crate::translate::policy(key, &self.policies[key].1, "");
            findings.extend(more.into_iter().map(|(severity, message)| Finding {
                severity,
                file: origin.file.clone(),
                line: origin.line,
                message,
            }));
        }
        for (origin, tokens) in self.tokens.values() {
            let faults = crate::translate::waypoint::token_faults(tokens);
            findings.extend(faults.into_iter().map(|(severity, message)| Finding {
                severity,
                file: origin.file.clone(),
                line: origin.line,
                message,
            }));
        }
        for (origin, peer) in self.peers.values() {
            if peer.spec.port_level_mtls.keys().any(|port| !port.parse::<u16>().is_ok_and(|port| port > 0)) {
                findings.push(origin.error("spec.portLevelMtls: keys are port numbers"));
            }
        }
        let services = self.services.values().map(|(origin, service)| (origin, &service.metadata, Traffic::Service));
        let hosts = self.service_entries.values().map(|(origin, entry)| (origin, &entry.metadata, Traffic::Service));
        let pods = self.pods.values().map(|(origin, pod)| (origin, &pod.metadata, Traffic::Workload));
        let entries = self.entries.values().map(|(origin, entry)| (origin, &entry.metadata, Traffic::Workload));
        for (origin, metadata, traffic) in services.chain(hosts).chain(pods).chain(entries) {
            let bound = binding::bound(self, binding::Object::new(traffic, metadata));
            findings.extend(bound.faults.into_iter().map(|fault| origin.warning(format!("metadata.labels: {fault}"))));
        }
        each(&self.gateways, check::gateway, &mut findings);
        each(&self.http_routes, check::http_route, &mut findings);
        each(&self.grpc_routes, check::grpc_route, &mut findings);
        each(&self.destination_rules, check::destination_rule, &mut findings);
        each(&self.virtual_services, check::virtual_service, &mut findings);
        for (origin, config) in self.mesh_configs.values() {
            check::mesh_config(config, &mut Faults::at("data.mesh", origin, &mut findings));
        }
        check::references(self, &mut findings);
        findings
    }
}

/// Checks the objects of a kind.
fn each<T>(objects: &Objects<T>, check: fn(&T, &mut Faults<'_>), findings: &mut Vec<Finding>) {
    for (origin, object) in objects.values() {
        check(object, &mut Faults::new(origin, findings));
    }
}

fn check_service_entry(origin: &Origin, entry: &ServiceEntry, findings: &mut Vec<Finding>) {
    if entry.spec.hosts.is_empty() {
        findings.push(origin.error("spec.hosts is empty"));
    }
    for host in &entry.spec.hosts {
        if let Err(error) = Hostname::parse(host) {
            findings.push(origin.error(format!("spec.hosts: {error}")));
        }
    }
    for address in &entry.spec.addresses {
        if address.parse::<IpAddr>().is_err() && address.parse::<IpNet>().is_err() {
            findings.push(origin.error(format!("spec.addresses: `{address}` is neither an address nor a range")));
        }
    }
    for name in &entry.spec.subject_alt_names {
        if let Err(error) = parse_spiffe_id(name) {
            findings.push(origin.error(format!("spec.subjectAltNames: {error}")));
        }
    }
}

fn key(metadata: &Metadata) -> NamespacedName {
    NamespacedName::new(metadata.namespace.as_str(), metadata.name.as_str())
}

fn put<T>(objects: &mut Objects<T>, origin: Origin, key: NamespacedName, kind: &str, object: T) -> Option<Finding> {
    if let Some((first, _)) = objects.get(&key) {
        let message = format!("{kind} `{key}` stands already at {}:{}", first.file.display(), first.line);
        return Some(origin.error(message));
    }
    objects.insert(key, (origin, object));
    None
}
