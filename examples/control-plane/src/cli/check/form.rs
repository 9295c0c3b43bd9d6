use serde_json::json;

use super::{link, sarif};
use crate::finding::{Finding, Severity};

/// In which form findings are shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Form {
    /// A line for each, for people.
    Text,
    /// JSON.
    Json,
    /// Annotations of a GitHub workflow.
    Github,
    /// SARIF 2.1.0, for code scanning.
    Sarif,
}

impl Form {
    /// The findings in `count` files.
    pub(super) fn show(self, findings: &[Finding], count: usize) -> String {
        let of = |severity| findings.iter().filter(|finding| finding.severity == severity).count();
        let (errors, warnings) = (of(Severity::Error), of(Severity::Warning));
        let summary = format!("{count} files, {errors} errors, {warnings} warnings\n");
        match self {
            Self::Text => findings.iter().map(text).collect::<String>() + &summary,
            Self::Github => findings.iter().map(annotation).collect::<String>() + &summary,
            Self::Json => {
                let report = json!({"files": count, "errors": errors, "warnings": warnings, "findings": findings});
                format!("{report:#}\n")
            }
            Self::Sarif => format!("{:#}\n", sarif::log(findings)),
        }
    }
}

fn text(finding: &Finding) -> String {
    match finding.object.as_str() {
        "" => format!("{finding} [{}]\n", finding.code.0),
        object => format!("{finding} [{} {object}]\n", finding.code.0),
    }
}

/// A workflow command. See GitHub's "Workflow commands", section "Setting an error message".
fn annotation(finding: &Finding) -> String {
    let level = match finding.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Note => "notice",
    };
    let title = match finding.object.as_str() {
        "" => finding.code.0.to_owned(),
        object => format!("{} {object}", finding.code.0),
    };
    let (file, line) = (link(&finding.origin), finding.origin.line);
    format!("::{level} file={},line={line},title={}::{}\n", property(&file), property(&title), data(&finding.text()))
}

fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}
