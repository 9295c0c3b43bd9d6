use std::sync::Arc;

use crate::service::Service;
use crate::workload::Workload;

/// Changes to a catalog that become visible together, in the order in which they were added.
#[derive(Debug, Default)]
pub struct Delta {
    replace: bool,
    operations: Vec<Operation>,
}

#[derive(Debug)]
pub(super) enum Operation {
    Workload(Arc<Workload>),
    Service(Arc<Service>),
    Remove(String),
}

impl Delta {
    /// A delta on top of what is there.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A re-listing: whatever is not in this delta vanishes.
    #[must_use]
    pub fn replace_all() -> Self {
        Self { replace: true, operations: Vec::new() }
    }

    /// Adds a workload, or replaces the one with its uid.
    pub fn upsert_workload(&mut self, workload: impl Into<Arc<Workload>>) {
        self.operations.push(Operation::Workload(workload.into()));
    }

    /// Adds a service, or replaces the one with its key.
    pub fn upsert_service(&mut self, service: impl Into<Arc<Service>>) {
        self.operations.push(Operation::Service(service.into()));
    }

    /// Removes by resource name: the uid of a workload, or `namespace/hostname` of a service. An unknown name is
    /// ignored, as xDS asks.
    pub fn remove(&mut self, name: &str) {
        self.operations.push(Operation::Remove(name.to_owned()));
    }

    /// Whether applying it changes nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.operations.is_empty() && !self.replace
    }

    pub(super) fn is_replacement(&self) -> bool {
        self.replace
    }

    pub(super) fn into_operations(self) -> Vec<Operation> {
        self.operations
    }
}
