//! Objects that come one by one, and have a place of their own.

use serde_json::Value;

use super::file::{FileRead, whole};
use crate::finding::{Finding, Origin, Severity};
use crate::resource::Object;

/// Reads an object and judges it by itself. Gives it with the digest of what it holds; `None` for one without effect.
///
/// # Errors
/// What forbids its use, at least one finding. What only has no effect is not told: whether it does depends on others.
pub(crate) fn read_one(origin: &Origin, value: Value) -> Result<Option<(u128, Object)>, Vec<Finding>> {
    let mut read = FileRead::default();
    whole(value, origin, Vec::new, &mut read);
    read.findings.retain(|finding| finding.severity == Severity::Error);
    match read.findings.is_empty() {
        true => Ok(read.objects.pop().map(|one| (one.digest, one.object))),
        false => Err(read.findings),
    }
}
