use serde::Serialize;

use super::snapshot::Snapshot;

/// By what one differs from another.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Drift {
    /// Objects that it should have.
    pub missing: Vec<String>,
    /// Objects that it should not have.
    pub extra: Vec<String>,
    /// Objects that hold something else.
    pub different: Vec<String>,
}

impl Drift {
    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.missing.is_empty() && self.extra.is_empty() && self.different.is_empty()
    }
}

/// By what `found` differs from `wanted`.
#[must_use]
pub fn compare(wanted: &Snapshot, found: &Snapshot) -> Drift {
    let mut drift = Drift::default();
    for (object, entry) in &wanted.objects {
        match found.objects.get(object) {
            None => drift.missing.push(object.clone()),
            Some(other) if other.digest != entry.digest => drift.different.push(object.clone()),
            Some(_) => {}
        }
    }
    let extra = found.objects.keys().filter(|object| !wanted.objects.contains_key(*object));
    drift.extra.extend(extra.cloned());
    drift
}
