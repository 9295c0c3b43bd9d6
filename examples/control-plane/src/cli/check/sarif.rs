//! Findings as OASIS SARIF 2.1.0, as far as code scanning reads it.

use serde_json::{Value, json};

use super::{codes, link};
use crate::finding::{Finding, Severity};

/// A log of one run.
pub(super) fn log(findings: &[Finding]) -> Value {
    let rules: Vec<Value> =
        codes().iter().map(|(code, text)| json!({"id": code.0, "shortDescription": {"text": text}})).collect();
    json!({
        "$schema": "https://json.schemastore.org/sarif-2.1.0.json",
        "version": "2.1.0",
        "runs": [{
            "tool": {"driver": {
                "name": "control-plane check",
                "version": env!("CARGO_PKG_VERSION"),
                "rules": rules,
            }},
            "columnKind": "unicodeCodePoints",
            "results": findings.iter().map(result).collect::<Vec<_>>(),
        }],
    })
}

fn result(finding: &Finding) -> Value {
    let level = match finding.severity {
        Severity::Error => "error",
        Severity::Warning => "warning",
        Severity::Note => "note",
    };
    let mut location = json!({
        "physicalLocation": {
            "artifactLocation": {"uri": encoded(&link(&finding.origin))},
            "region": {"startLine": finding.origin.line.max(1)},
        },
    });
    if !finding.object.is_empty() {
        location["logicalLocations"] = json!([{"fullyQualifiedName": finding.object, "kind": "resource"}]);
    }
    json!({"ruleId": finding.code.0, "level": level, "message": {"text": finding.text()}, "locations": [location]})
}

/// A path as a relative reference (RFC 3986).
fn encoded(path: &str) -> String {
    let mut text = String::with_capacity(path.len());
    for byte in path.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' | b'/' => text.push(char::from(byte)),
            other => text.push_str(&format!("%{other:02X}")),
        }
    }
    text
}
