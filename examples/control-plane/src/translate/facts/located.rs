use std::collections::BTreeMap;
use std::sync::Arc;

use mesh_core::workload::Workload;

use super::Readiness;
use crate::resource::{Pod, WorkloadEntry};

/// A workload and its labels.
#[derive(Debug, Clone)]
pub(in crate::translate) struct Located {
    pub(in crate::translate) workload: Workload,
    pub(in crate::translate) labels: Labels,
    /// What decides its health; that of the workload takes the other endpoints of its services into account.
    pub(in crate::translate) readiness: Readiness,
}

/// The labels of a workload, where they stand.
#[derive(Debug, Clone)]
pub(in crate::translate) enum Labels {
    /// It has none.
    None,
    /// Those of a pod.
    Pod(Arc<Pod>),
    /// Those of a WorkloadEntry: of its specification, if it has any.
    Entry(Arc<WorkloadEntry>),
}

impl Located {
    /// Whether it is a pod or WorkloadEntry, which runs where it says and as whom it says. Of an address in a slice
    /// nobody knows who answers there: its node gets no identity for it.
    pub(super) fn is_scheduled(&self) -> bool {
        !matches!(self.labels, Labels::None)
    }
}

impl Labels {
    pub(in crate::translate) fn get(&self) -> Option<&BTreeMap<String, String>> {
        match self {
            Self::None => None,
            Self::Pod(pod) => Some(&pod.metadata.labels),
            Self::Entry(entry) if entry.spec.labels.is_empty() => Some(&entry.metadata.labels),
            Self::Entry(entry) => Some(&entry.spec.labels),
        }
    }
}
