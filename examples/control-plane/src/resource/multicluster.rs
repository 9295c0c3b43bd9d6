//! `multicluster.x-k8s.io` ServiceExport and ServiceImport (KEP-1645).

use std::collections::BTreeMap;

use serde::Deserialize;

use super::Metadata;

/// `multicluster.x-k8s.io ServiceExport`: the Service of its name is one of the cluster set.
#[derive(Debug, Clone, Deserialize)]
pub struct ServiceExport {
    /// Name and namespace, which are those of the Service, and the age, by which conflicts are decided.
    pub metadata: Metadata,
    /// What it says beside.
    #[serde(default)]
    pub spec: ServiceExportSpec,
}

/// Specification of a ServiceExport.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceExportSpec {
    /// Labels of the import.
    pub exported_labels: BTreeMap<String, String>,
    /// Annotations of the import.
    pub exported_annotations: BTreeMap<String, String>,
}

/// `multicluster.x-k8s.io ServiceImport`: a service of the cluster set.
#[derive(Debug, Clone, Deserialize)]
pub struct ServiceImport {
    /// Name and namespace, the same in all clusters.
    pub metadata: Metadata,
    /// What it is.
    #[serde(default)]
    pub spec: ServiceImportSpec,
    /// Who contributes.
    #[serde(default)]
    pub status: ServiceImportStatus,
}

/// Specification of a ServiceImport.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ServiceImportSpec {
    /// `ClusterSetIP` or `Headless`.
    pub r#type: String,
    /// Its ports.
    pub ports: Vec<ImportPort>,
    /// Its virtual addresses.
    pub ips: Vec<String>,
    /// `None` when absent, or `ClientIP`.
    pub session_affinity: Option<String>,
    /// How long clients stay with an endpoint.
    pub session_affinity_config: Option<serde_json::Value>,
    /// Families of its addresses.
    pub ip_families: Vec<String>,
    /// `Local` keeps traffic on the node.
    pub internal_traffic_policy: Option<String>,
    /// `PreferClose` and so on.
    pub traffic_distribution: Option<String>,
}

/// Port of a ServiceImport.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ImportPort {
    /// Its name.
    #[serde(default)]
    pub name: String,
    /// `TCP` when absent.
    #[serde(default)]
    pub protocol: Option<String>,
    /// What is spoken on it.
    #[serde(default)]
    pub app_protocol: Option<String>,
    /// Its number.
    pub port: u16,
}

/// Status of a ServiceImport.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct ServiceImportStatus {
    /// Clusters that contribute.
    pub clusters: Vec<ContributingCluster>,
}

/// A cluster that contributes to a service.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct ContributingCluster {
    /// Its name.
    pub cluster: String,
}
