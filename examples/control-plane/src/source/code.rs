//! Findings about sources.

use crate::finding::{Code, Finding, Origin, Severity};

impl Code {
    /// A finding with this code.
    pub(super) fn at(self, origin: &Origin, severity: Severity, message: impl Into<String>) -> Finding {
        Finding { code: self, ..origin.finding(severity, message) }
    }
}
