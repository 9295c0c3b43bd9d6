//! What is wrong, or worth knowing, in what was read.

use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// The file, relative to the source's directory.
    pub file: PathBuf,
    /// The line, counted from 1.
    pub line: u64,
    /// What is wrong, and where it helps what would be right.
    pub message: String,
}

/// How bad a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// What was read is not used; what was there before goes on.
    Error,
    /// It is used, and something in it has no effect.
    Warning,
}

/// Where something was read.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Origin {
    /// The file.
    pub file: PathBuf,
    /// The line on which its document begins.
    pub line: u64,
}

impl Origin {
    /// A finding that forbids the use of what was read.
    #[must_use]
    pub fn error(&self, message: impl Into<String>) -> Finding {
        self.finding(Severity::Error, message.into())
    }

    /// A finding that something has no effect.
    #[must_use]
    pub fn warning(&self, message: impl Into<String>) -> Finding {
        self.finding(Severity::Warning, message.into())
    }

    fn finding(&self, severity: Severity, message: String) -> Finding {
        Finding { severity, file: self.file.clone(), line: self.line, message }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let severity = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        write!(f, "{}:{}: {severity}: {}", self.file.display(), self.line, self.message)
    }
}
