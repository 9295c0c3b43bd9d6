//! Kinds of `networking.istio.io`.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Condition, Metadata};

/// Condition of a WorkloadEntry: whether its agent finds it well.
pub(crate) const HEALTHY: &str = "Healthy";

/// `networking.istio.io WorkloadEntry`.
#[derive(Debug, Clone, Deserialize)]
pub struct WorkloadEntry {
    /// Name, labels and annotations.
    pub metadata: Metadata,
    /// What it is.
    pub spec: ServiceEntryEndpoint,
    /// How it fares.
    #[serde(default)]
    pub status: WorkloadEntryStatus,
}

/// Status of a WorkloadEntry.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct WorkloadEntryStatus {
    /// `Healthy`, which its own agent reports, and others.
    pub conditions: Vec<Condition>,
}

/// `networking.istio.io ServiceEntry`.
#[derive(Debug, Clone, Deserialize)]
pub struct ServiceEntry {
    /// Name and annotations.
    pub metadata: Metadata,
    /// What it is.
    pub spec: ServiceEntrySpec,
}

/// Specification of a ServiceEntry.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceEntrySpec {
    /// Its host names.
    pub hosts: Vec<String>,
    /// Its virtual addresses, which may be ranges.
    #[serde(default)]
    pub addresses: Vec<String>,
    /// Its ports.
    #[serde(default)]
    pub ports: Vec<ServiceEntryPort>,
    /// How endpoints are found: `NONE`, `STATIC`, `DNS` and so on.
    #[serde(default)]
    pub resolution: Option<String>,
    /// `MESH_EXTERNAL` when absent, or `MESH_INTERNAL`.
    #[serde(default)]
    pub location: Option<String>,
    /// Its endpoints.
    #[serde(default)]
    pub endpoints: Vec<ServiceEntryEndpoint>,
    /// Labels of pods and WorkloadEntries that are its endpoints.
    #[serde(default)]
    pub workload_selector: Option<WorkloadSelector>,
    /// Who sees it: `.` is its own namespace.
    #[serde(default)]
    pub export_to: Vec<String>,
    /// Identities accepted from its endpoints.
    #[serde(default)]
    pub subject_alt_names: Vec<String>,
}

/// Port of a ServiceEntry.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServiceEntryPort {
    /// Its number.
    pub number: u16,
    /// Its name.
    #[serde(default)]
    pub name: String,
    /// What is spoken on it.
    #[serde(default)]
    pub protocol: Option<String>,
    /// The endpoints' port; the same number when absent.
    #[serde(default)]
    pub target_port: Option<u16>,
}

/// Labels of workloads.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct WorkloadSelector {
    /// The labels.
    pub labels: BTreeMap<String, String>,
}

/// An endpoint outside Kubernetes.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceEntryEndpoint {
    /// Address or host name.
    pub address: String,
    /// Its ports by name of the service port.
    pub ports: BTreeMap<String, u16>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its network.
    pub network: Option<String>,
    /// `region/zone/subzone`.
    pub locality: Option<String>,
    /// Its share of traffic.
    pub weight: Option<u32>,
    /// Its service account.
    pub service_account: Option<String>,
}
