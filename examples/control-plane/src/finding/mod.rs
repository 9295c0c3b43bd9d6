//! What is wrong, or worth knowing, in what was read.

mod codes;
mod faults;
pub(crate) mod field;

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::Serialize;

pub use self::codes::Code;
pub(crate) use self::faults::Faults;

/// One finding.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// What kind of finding it is.
    pub code: Code,
    /// Where it stands.
    #[serde(flatten)]
    pub origin: Origin,
    /// The object that it is about, as `Kind namespace/name`; empty when none could be read.
    pub object: String,
    /// The field, as `spec.rules[0].matches`; empty when it is about the whole.
    pub field: String,
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
    /// Nothing is wrong; it is worth knowing.
    Note,
}

/// Where something was read.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub struct Origin {
    /// Name of the source; empty where there is but one.
    #[serde(skip_serializing_if = "str::is_empty")]
    pub source: Arc<str>,
    /// The file, relative to the source's directory.
    pub file: Arc<Path>,
    /// The number of the document in the file, counted from 1.
    pub document: u32,
    /// The line, counted from 1.
    pub line: u64,
}

impl Default for Origin {
    fn default() -> Self {
        Self::file("")
    }
}

impl Origin {
    /// The beginning of a file.
    #[must_use]
    pub fn file(path: impl Into<PathBuf>) -> Self {
        Self { source: "".into(), file: path.into().into(), document: 1, line: 1 }
    }

    /// A finding that forbids the use of what was read.
    #[must_use]
    pub fn error(&self, message: impl Into<String>) -> Finding {
        self.finding(Severity::Error, message)
    }

    /// A finding that something has no effect.
    #[must_use]
    pub fn warning(&self, message: impl Into<String>) -> Finding {
        self.finding(Severity::Warning, message)
    }

    /// A finding.
    #[must_use]
    pub fn finding(&self, severity: Severity, message: impl Into<String>) -> Finding {
        let code = match severity {
            Severity::Error => Code::INVALID,
            Severity::Warning => Code::NO_EFFECT,
            Severity::Note => Code::WITHOUT_EFFECT,
        };
        let (object, field) = (String::new(), String::new());
        Finding { severity, code, origin: self.clone(), object, field, message: message.into() }
    }
}

impl Finding {
    /// What it says, with the field that it says it of.
    #[must_use]
    pub fn text(&self) -> String {
        match self.field.as_str() {
            "" => self.message.clone(),
            field => format!("{field}: {}", self.message),
        }
    }
}

/// Makes one of the notes that say the same of many objects.
#[must_use]
pub fn summed(findings: Vec<Finding>) -> Vec<Finding> {
    let mut counts: BTreeMap<(Code, String), usize> = BTreeMap::new();
    let is_note = |finding: &Finding| finding.severity == Severity::Note;
    for finding in findings.iter().filter(|finding| is_note(finding)) {
        *counts.entry((finding.code, finding.message.clone())).or_default() += 1;
    }
    let summed = |mut finding: Finding| {
        if is_note(&finding) {
            match counts.remove(&(finding.code, finding.message.clone()))? {
                1 => {}
                count => finding.message = format!("{} (and {} more)", finding.message, count - 1),
            }
        }
        Some(finding)
    };
    findings.into_iter().filter_map(summed).collect()
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Note => "note",
        })
    }
}

/// As `source:file:line: severity: field: message`. What comes from no file has its object instead.
impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Origin { source, file, line, .. } = &self.origin;
        if !source.is_empty() {
            write!(f, "{source}:")?;
        }
        match file.as_os_str().is_empty() {
            true => write!(f, "{}", self.object)?,
            false => write!(f, "{}:{line}", file.display())?,
        }
        write!(f, ": {}: {}", self.severity, self.text())
    }
}
