//! The `baggage` header (W3C Baggage, as Istio fills it): who is at the other end, for telemetry. Never for decisions.

use mesh_core::workload::{Workload, WorkloadKind};

use super::limits::BAGGAGE_BYTES;

/// What a peer says of the workload behind it. Unverified.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Baggage {
    /// Id of its Kubernetes cluster.
    pub cluster: Option<String>,
    /// Its namespace.
    pub namespace: Option<String>,
    /// Kind of its controller.
    pub kind: Option<WorkloadKind>,
    /// Name of its controller.
    pub workload: Option<String>,
    /// Canonical service name.
    pub service: Option<String>,
    /// Canonical revision.
    pub revision: Option<String>,
    /// Region.
    pub region: Option<String>,
    /// Zone.
    pub zone: Option<String>,
}

const KINDS: [(&str, WorkloadKind); 4] = [
    ("k8s.deployment.name", WorkloadKind::Deployment),
    ("k8s.cronjob.name", WorkloadKind::CronJob),
    ("k8s.pod.name", WorkloadKind::Pod),
    ("k8s.job.name", WorkloadKind::Job),
];

/// The header value that describes a workload: known values in a fixed order, empty ones left out.
#[must_use]
pub fn of(workload: &Workload) -> String {
    let kind = KINDS.iter().find(|(_, kind)| *kind == workload.kind).map_or(KINDS[0].0, |(key, _)| key);
    let entries = [
        ("k8s.cluster.name", &workload.cluster_id),
        ("k8s.namespace.name", &workload.namespace),
        (kind, &workload.workload_name),
        ("service.name", &workload.canonical_name),
        ("service.version", &workload.canonical_revision),
        ("cloud.region", &workload.locality.region),
        ("cloud.availability_zone", &workload.locality.zone),
    ];
    let mut value = String::new();
    for (key, text) in entries.iter().filter(|(_, text)| !text.is_empty()) {
        if !value.is_empty() {
            value.push(',');
        }
        value.push_str(key);
        value.push('=');
        value.push_str(text.as_str());
    }
    value
}

/// Reads all `baggage` headers of a message. What is malformed counts as absent: telemetry never refuses a request.
#[must_use]
pub fn read(headers: &http::HeaderMap) -> Baggage {
    let mut baggage = Baggage::default();
    let values = headers.get_all("baggage").into_iter().filter_map(|value| value.to_str().ok());
    let mut left = BAGGAGE_BYTES;
    for value in values {
        let Some(rest) = left.checked_sub(value.len()) else { break };
        left = rest;
        for (key, text) in value.split(',').filter_map(|entry| entry.trim().split_once('=')) {
            baggage.set(key, text);
        }
    }
    baggage
}

impl Baggage {
    fn set(&mut self, key: &str, text: &str) {
        let value = Some(text.to_owned()).filter(|text| !text.is_empty());
        match key {
            "k8s.cluster.name" => self.cluster = value,
            "k8s.namespace.name" => self.namespace = value,
            "service.name" => self.service = value,
            "service.version" => self.revision = value,
            "cloud.region" => self.region = value,
            "cloud.availability_zone" => self.zone = value,
            other => {
                if let Some((_, kind)) = KINDS.iter().find(|(name, _)| *name == other) {
                    self.kind = Some(*kind);
                    self.workload = value;
                }
            }
        }
    }
}
