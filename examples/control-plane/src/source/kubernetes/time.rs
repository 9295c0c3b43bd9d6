//! Times as Kubernetes writes them.

use std::time::SystemTime;

use jiff::Timestamp;

/// `metav1.Time`: whole seconds.
pub(super) fn seconds(at: SystemTime) -> String {
    let at = Timestamp::try_from(at).unwrap_or(Timestamp::UNIX_EPOCH);
    Timestamp::from_second(at.as_second()).unwrap_or(Timestamp::UNIX_EPOCH).to_string()
}

/// `metav1.MicroTime`: always six digits after the second.
pub(super) fn micros(at: SystemTime) -> String {
    let at = Timestamp::try_from(at).unwrap_or(Timestamp::UNIX_EPOCH);
    format!("{at:.6}")
}
