//! Readiness: named conditions, all of which must hold.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Conditions of readiness. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Ready(Arc<Mutex<BTreeMap<&'static str, bool>>>);

impl Ready {
    /// Conditions that do not hold yet.
    #[must_use]
    pub fn waiting_for(conditions: &[&'static str]) -> Self {
        Self(Arc::new(Mutex::new(conditions.iter().map(|name| (*name, false)).collect())))
    }

    /// A condition holds, or holds no more.
    pub fn set(&self, condition: &'static str, holds: bool) {
        self.conditions().insert(condition, holds);
    }

    /// The conditions that do not hold.
    #[must_use]
    pub fn missing(&self) -> Vec<&'static str> {
        self.conditions().iter().filter(|(_, holds)| !**holds).map(|(name, _)| *name).collect()
    }

    fn conditions(&self) -> MutexGuard<'_, BTreeMap<&'static str, bool>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
