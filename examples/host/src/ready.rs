//! Readiness: named conditions, all of which must hold.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Conditions by name, and whether they hold.
type Conditions = BTreeMap<Cow<'static, str>, bool>;

/// Conditions of readiness. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Ready(Arc<Mutex<Conditions>>);

impl Ready {
    /// Conditions that do not hold yet.
    #[must_use]
    pub fn waiting_for(conditions: &[&'static str]) -> Self {
        Self(Arc::new(Mutex::new(conditions.iter().map(|name| (Cow::Borrowed(*name), false)).collect())))
    }

    /// A condition holds, or holds no more.
    pub fn set(&self, condition: impl Into<Cow<'static, str>>, holds: bool) {
        self.conditions().insert(condition.into(), holds);
    }

    /// The conditions that do not hold.
    #[must_use]
    pub fn missing(&self) -> Vec<Cow<'static, str>> {
        self.conditions().iter().filter(|(_, holds)| !**holds).map(|(name, _)| name.clone()).collect()
    }

    fn conditions(&self) -> MutexGuard<'_, Conditions> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
