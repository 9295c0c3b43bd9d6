use std::sync::Arc;

use imbl::{HashMap, OrdMap};

use super::policy::{Policy, Scope};
use crate::name::{NamespacedName, Text};

/// All policies that are known, indexed by scope. Immutable and cheap to clone; see [`PolicySet::apply`].
#[derive(Clone, Default)]
pub struct PolicySet {
    by_name: OrdMap<NamespacedName, Arc<Policy>>,
    global: OrdMap<NamespacedName, Arc<Policy>>,
    by_namespace: HashMap<Text, OrdMap<NamespacedName, Arc<Policy>>>,
    dry_run: usize,
}

impl PolicySet {
    /// The policy with this name.
    #[must_use]
    pub fn get(&self, name: &NamespacedName) -> Option<&Arc<Policy>> {
        self.by_name.get(name)
    }

    /// All policies in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<Policy>> {
        self.by_name.values()
    }

    /// The policies that apply to every workload of a namespace: the global ones, then the namespace's own.
    pub(super) fn of_namespace(&self, namespace: &Text) -> impl Iterator<Item = &Arc<Policy>> {
        self.global.values().chain(self.by_namespace.get(namespace).into_iter().flat_map(OrdMap::values))
    }

    /// Whether any policy is evaluated for show only.
    #[must_use]
    pub fn has_dry_run(&self) -> bool {
        self.dry_run > 0
    }

    /// The set after a delta. The delta is applied whole; `self` stays as it is for those who still read it.
    #[must_use]
    pub fn apply(&self, delta: PolicyDelta) -> Self {
        let mut next = if delta.replace { Self::default() } else { self.clone() };
        for operation in delta.operations {
            match operation {
                Operation::Upsert(policy) => next.insert(policy),
                Operation::Remove(name) => next.remove(&name),
            }
        }
        next
    }

    fn insert(&mut self, policy: Arc<Policy>) {
        self.remove(&policy.name);
        let name = policy.name.clone();
        match policy.scope {
            Scope::Global => {
                self.global.insert(name.clone(), Arc::clone(&policy));
            }
            Scope::Namespace => {
                let namespace = self.by_namespace.entry(name.namespace.clone()).or_default();
                namespace.insert(name.clone(), Arc::clone(&policy));
            }
            Scope::WorkloadSelector => {}
        }
        self.dry_run += usize::from(policy.dry_run);
        self.by_name.insert(name, policy);
    }

    fn remove(&mut self, name: &NamespacedName) {
        let Some(policy) = self.by_name.remove(name) else {
            return;
        };
        self.dry_run -= usize::from(policy.dry_run);
        match policy.scope {
            Scope::Global => {
                self.global.remove(name);
            }
            Scope::Namespace => {
                if let Some(namespace) = self.by_namespace.get_mut(&name.namespace) {
                    namespace.remove(name);
                    if namespace.is_empty() {
                        self.by_namespace.remove(&name.namespace);
                    }
                }
            }
            Scope::WorkloadSelector => {}
        }
    }
}

impl std::fmt::Debug for PolicySet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.by_name.keys()).finish()
    }
}

/// Changes to a policy set that become visible together.
#[derive(Debug, Default)]
pub struct PolicyDelta {
    replace: bool,
    operations: Vec<Operation>,
}

#[derive(Debug)]
enum Operation {
    Upsert(Arc<Policy>),
    Remove(NamespacedName),
}

impl PolicyDelta {
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

    /// Adds a policy, or replaces the one with its name.
    pub fn upsert(&mut self, policy: impl Into<Arc<Policy>>) {
        self.operations.push(Operation::Upsert(policy.into()));
    }

    /// Removes a policy. An unknown name is ignored.
    pub fn remove(&mut self, name: NamespacedName) {
        self.operations.push(Operation::Remove(name));
    }

    /// Whether applying it changes nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.operations.is_empty() && !self.replace
    }
}
