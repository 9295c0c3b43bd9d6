//! What analyzers look things up in.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Display;

use mesh_core::name::NamespacedName;

use super::Input;
use crate::finding::{Code, Finding, Origin, Severity};
use crate::resource::{Kind, Metadata, ObjectId};
use crate::translate::binding::{self, Object, Traffic};
use crate::translate::clusterset;
use crate::world::{Lookup, World};

/// A world, and indexes of it.
pub(super) struct Context<'a> {
    pub(super) input: Input<'a>,
    pub(super) world: &'a World,
    workloads: Vec<Labelled<'a>>,
    by_label: HashMap<(&'a str, &'a str, &'a str), Vec<usize>>,
    by_namespace: BTreeMap<&'a str, Vec<usize>>,
    /// Services by host name in full, in lower case.
    hosts: BTreeMap<String, Vec<Host<'a>>>,
}

/// A pod or WorkloadEntry.
#[derive(Debug, Clone)]
pub(super) struct Labelled<'a> {
    pub(super) namespace: &'a str,
    pub(super) name: &'a str,
    pub(super) labels: &'a BTreeMap<String, String>,
    /// Whether its label, or that of its namespace, has it in the mesh.
    pub(super) in_mesh: bool,
    pub(super) is_ready: bool,
    /// The ports that its containers declare; empty where nobody says.
    pub(super) ports: Vec<u16>,
}

/// A service that a host name means.
#[derive(Debug, Clone, Copy)]
pub(super) struct Host<'a> {
    pub(super) kind: Kind,
    pub(super) metadata: &'a Metadata,
    /// Labels of its workloads; none where it has no selector.
    pub(super) selector: Option<&'a BTreeMap<String, String>>,
}

impl<'a> Context<'a> {
    pub(super) fn new(input: &Input<'a>) -> Self {
        let world = input.world;
        let mut context = Self {
            input: *input,
            world,
            workloads: Vec::with_capacity(world.pods.len() + world.entries.len()),
            by_label: HashMap::new(),
            by_namespace: BTreeMap::new(),
            hosts: BTreeMap::new(),
        };
        for (_, pod) in world.pods.values() {
            if !matches!(pod.status.phase.as_str(), "Succeeded" | "Failed") {
                let is_ready = pod.status.conditions.iter().any(|one| one.r#type == "Ready" && one.status == "True");
                let own = pod.metadata.annotations.get("ambient.istio.io/redirection");
                let captured = own.is_some_and(|value| value == "enabled");
                let declared = pod.spec.containers.iter().flat_map(|container| &container.ports);
                let ports = declared.map(|port| port.container_port).collect();
                context.add(&pod.metadata, &pod.metadata.labels, (is_ready, captured), ports);
            }
        }
        for (_, entry) in world.entries.values() {
            let own = &entry.spec.labels;
            let labels = if own.is_empty() { &entry.metadata.labels } else { own };
            context.add(&entry.metadata, labels, (true, false), Vec::new());
        }
        let domain = &input.place.cluster_domain;
        for (_, service) in world.services.values() {
            let Metadata { name, namespace, .. } = &service.metadata;
            let selector = Some(&service.spec.selector).filter(|selector| !selector.is_empty());
            let host = Host { kind: Kind::Service, metadata: &service.metadata, selector };
            context.hosts.entry(format!("{name}.{namespace}.svc.{domain}")).or_default().push(host);
        }
        let clusterset = |key: &NamespacedName| Some(clusterset::key(key)?.hostname.to_string());
        for (key, _) in &world.exports {
            let service = world.services.get(key).map(|(_, service)| service);
            if let (Some(service), Some(host)) = (service, clusterset(key)) {
                let selector = Some(&service.spec.selector).filter(|selector| !selector.is_empty());
                let of_service = Host { kind: Kind::Service, metadata: &service.metadata, selector };
                context.hosts.entry(host).or_default().push(of_service);
            }
        }
        for (key, (_, import)) in &world.imports {
            if let Some(host) = clusterset(key).filter(|host| !context.hosts.contains_key(host)) {
                let of_import = Host { kind: Kind::ServiceImport, metadata: &import.metadata, selector: None };
                context.hosts.entry(host).or_default().push(of_import);
            }
        }
        for (_, entry) in world.service_entries.values() {
            let selector = entry.spec.workload_selector.as_ref().map(|selector| &selector.labels);
            let host = Host { kind: Kind::ServiceEntry, metadata: &entry.metadata, selector };
            for name in &entry.spec.hosts {
                context.hosts.entry(name.to_ascii_lowercase()).or_default().push(host);
            }
        }
        context
    }

    fn add(
        &mut self,
        metadata: &'a Metadata,
        labels: &'a BTreeMap<String, String>,
        (is_ready, captured): (bool, bool),
        ports: Vec<u16>,
    ) {
        let index = self.workloads.len();
        let Metadata { namespace, name, .. } = metadata;
        for (key, value) in labels {
            self.by_label.entry((namespace, key, value)).or_default().push(index);
        }
        self.by_namespace.entry(namespace).or_default().push(index);
        let in_mesh = captured
            || match labels.get("istio.io/dataplane-mode").map(String::as_str) {
                Some(mode) => mode == "ambient",
                None => self.world.is_ambient(namespace),
            };
        self.workloads.push(Labelled { namespace, name, labels, in_mesh, is_ready, ports });
    }

    /// The workloads of a namespace that labels select; all of it without labels.
    pub(super) fn selected<'s>(
        &'s self,
        namespace: &'s str,
        labels: &'s BTreeMap<String, String>,
    ) -> impl Iterator<Item = &'s Labelled<'a>> {
        let of_label = |(key, value): (&'s String, &'s String)| {
            self.by_label.get(&(namespace, key.as_str(), value.as_str())).map_or(&[][..], Vec::as_slice)
        };
        let rarest = labels.iter().map(of_label).min_by_key(|found| found.len());
        let found = rarest.unwrap_or_else(|| self.by_namespace.get(namespace).map_or(&[], Vec::as_slice));
        let fits = |one: &&Labelled<'_>| labels.iter().all(|(key, value)| one.labels.get(key) == Some(value));
        found.iter().filter_map(|index| self.workloads.get(*index)).filter(fits)
    }

    /// The workloads that a policy of a namespace selects: those of all namespaces if it is the root namespace.
    pub(super) fn governed<'s>(
        &'s self,
        namespace: &'s str,
        labels: &'s BTreeMap<String, String>,
    ) -> impl Iterator<Item = &'s Labelled<'a>> {
        let everywhere = namespace == self.input.place.root_namespace;
        let namespaces = self.by_namespace.keys().copied().filter(move |one| everywhere || *one == namespace);
        namespaces.flat_map(move |namespace| self.selected(namespace, labels))
    }

    /// The services that a host means in an object of a namespace.
    pub(super) fn hosts(&self, namespace: &str, host: &str) -> Vec<Host<'a>> {
        let host = host.to_ascii_lowercase();
        if let Some(end) = host.strip_prefix('*') {
            let found = self.hosts.iter().filter(|(name, _)| name.ends_with(end));
            return found.flat_map(|(_, hosts)| hosts).copied().collect();
        }
        let full = self.full_name(namespace, &host);
        self.hosts.get(&full).cloned().unwrap_or_default()
    }

    /// A host in full: a name without dots is a service of the namespace.
    pub(super) fn full_name(&self, namespace: &str, host: &str) -> String {
        match host.contains('.') || host.starts_with('*') {
            true => host.to_ascii_lowercase(),
            false => format!("{host}.{namespace}.svc.{}", self.input.place.cluster_domain),
        }
    }

    /// The waypoint of a service.
    pub(super) fn waypoint(&self, traffic: Traffic, metadata: &Metadata) -> Option<NamespacedName> {
        binding::bound(self.world, Object::new(traffic, metadata)).waypoint
    }
}

/// What was found.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub(super) findings: Vec<Finding>,
}

impl Report {
    /// Something that is to be looked at.
    pub(super) fn say(
        &mut self,
        code: Code,
        (kind, metadata): (Kind, &Metadata),
        origin: &Origin,
        field: impl Display,
        message: impl Display,
    ) {
        let namespace = if kind.is_namespaced() { metadata.namespace.as_str() } else { "" };
        let id = ObjectId { kind, name: NamespacedName::new(namespace, metadata.name.as_str()) };
        self.findings.push(Finding {
            code,
            object: id.to_string(),
            field: field.to_string(),
            ..origin.finding(Severity::Warning, message.to_string())
        });
    }
}

/// Some names out of many, for a message.
pub(super) fn some_of(names: &[String]) -> String {
    const SHOWN: usize = 3;
    match names.len() {
        0..=SHOWN => names.join(", "),
        more => format!("{} and {} more", names[..SHOWN].join(", "), more - SHOWN),
    }
}
