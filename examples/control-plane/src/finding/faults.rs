use std::collections::BTreeSet;
use std::fmt::Display;
use std::time::Duration;

use mesh_core::name::NamespacedName;

use super::field::write_key;
use super::{Code, Finding, Origin, Severity};
use crate::resource::{Kind, text};

/// Collects what is wrong with one object, and where in it.
pub(crate) struct Faults<'a> {
    origin: &'a Origin,
    object: Option<(Kind, &'a NamespacedName)>,
    path: String,
    findings: &'a mut Vec<Finding>,
}

impl<'a> Faults<'a> {
    /// Nothing wrong yet; what is said is said of the specification.
    pub(crate) fn new(origin: &'a Origin, findings: &'a mut Vec<Finding>) -> Self {
        Self::at("spec", origin, findings)
    }

    /// Nothing wrong yet; what is said is said of this part.
    pub(crate) fn at(part: &str, origin: &'a Origin, findings: &'a mut Vec<Finding>) -> Self {
        Self { origin, object: None, path: part.to_owned(), findings }
    }

    /// The same, of this object.
    pub(crate) fn of(self, kind: Kind, name: &'a NamespacedName) -> Self {
        Self { object: Some((kind, name)), ..self }
    }

    /// What is said in `check` is said of a part.
    pub(crate) fn within<T>(&mut self, part: impl Display, check: impl FnOnce(&mut Self) -> T) -> T {
        let before = self.path.len();
        self.path = self.field(part);
        let checked = check(self);
        self.path.truncate(before);
        checked
    }

    /// Checks each element of a list, and gives what the checks give.
    pub(crate) fn each<T, U>(&mut self, field: &str, list: &[T], mut check: impl FnMut(&mut Self, &T) -> U) -> Vec<U> {
        let mut one = |(index, element)| self.within(format_args!("{field}[{index}]"), |faults| check(faults, element));
        list.iter().enumerate().map(&mut one).collect()
    }

    /// What forbids the use of the object.
    pub(crate) fn error(&mut self, field: impl Display, message: impl Display) {
        self.add(Severity::Error, field, message);
    }

    /// What has no effect.
    pub(crate) fn warning(&mut self, field: impl Display, message: impl Display) {
        self.add(Severity::Warning, field, message);
    }

    /// What has no effect, with a code of its own.
    pub(crate) fn coded(&mut self, code: Code, field: impl Display, message: impl Display) {
        self.add(Severity::Warning, field, message);
        if let Some(finding) = self.findings.last_mut() {
            finding.code = code;
        }
    }

    /// What is told, and no fault.
    pub(crate) fn note(&mut self, code: Code, field: impl Display, message: impl Display) {
        self.add(Severity::Note, field, message);
        if let Some(finding) = self.findings.last_mut() {
            finding.code = code;
        }
    }

    /// What is wrong with the value of a key, which may hold any characters.
    pub(crate) fn key(&mut self, key: &str, message: impl Display) {
        let mut field = self.path.clone();
        // Writing to a text does not fail.
        let _ = write_key(&mut field, false, key);
        self.push(Severity::Error, field, message.to_string());
    }

    /// What has no effect because of the value of a key, with a code of its own.
    pub(crate) fn coded_key(&mut self, code: Code, key: &str, message: impl Display) {
        let mut field = self.path.clone();
        // Writing to a text does not fail.
        let _ = write_key(&mut field, false, key);
        self.push(Severity::Warning, field, message.to_string());
        if let Some(finding) = self.findings.last_mut() {
            finding.code = code;
        }
    }

    fn add(&mut self, severity: Severity, field: impl Display, message: impl Display) {
        let field = self.field(field);
        self.push(severity, field, message.to_string());
    }

    fn field(&self, part: impl Display) -> String {
        match self.path.as_str() {
            "" => part.to_string(),
            path => format!("{path}.{part}"),
        }
    }

    fn push(&mut self, severity: Severity, field: String, message: String) {
        let object = self.object.map(|(kind, name)| kind.called(name)).unwrap_or_default();
        self.findings.push(Finding { field, object, ..self.origin.finding(severity, message) });
    }

    /// What somebody else found, whose texts begin with the field. Warnings have a code of their own.
    pub(crate) fn said(&mut self, severity: Severity, code: Code, text: &str) {
        let in_path = |one: char| one.is_ascii_alphanumeric() || matches!(one, '.' | '[' | ']' | '*' | '_');
        let (field, message) = match text.starts_with("spec") {
            true => text.split_at(text.find(|one| !in_path(one)).unwrap_or(text.len())),
            false => ("", text),
        };
        let message = message.trim_start_matches([':', ' ']);
        self.push(severity, field.to_owned(), message.to_owned());
        if let Some(finding) = self.findings.last_mut().filter(|_| severity == Severity::Warning) {
            finding.code = code;
        }
    }

    /// A port: 0 is none.
    pub(crate) fn port(&mut self, field: impl Display, port: u16) {
        if port == 0 {
            self.error(field, "0 is no port");
        }
    }

    /// A list that must hold something.
    pub(crate) fn some(&mut self, field: &str, length: usize) {
        if length == 0 {
            self.error(field, "there is none");
        }
    }

    /// A list that must not be longer.
    pub(crate) fn at_most(&mut self, field: &str, length: usize, most: usize) {
        if length > most {
            self.error(field, format_args!("{length} entries; there may be {most}"));
        }
    }

    /// A value that must be one of a few.
    pub(crate) fn one_of(&mut self, field: &str, value: Option<&str>, known: &[&str]) {
        if let Some(value) = value.filter(|value| !known.contains(value)) {
            self.error(field, format_args!("`{value}` is none of {}", known.join(", ")));
        }
    }

    /// A duration of the Gateway API that may be absent.
    pub(crate) fn gep_duration(&mut self, field: &str, given: Option<&str>) -> Option<Duration> {
        let given = given?;
        let read = text::gep_duration(given);
        if read.is_none() {
            self.error(field, format_args!("`{given}` is no duration such as 500ms or 1m30s"));
        }
        read
    }

    /// A duration of Istio's kinds that may be absent.
    pub(crate) fn duration(&mut self, field: &str, given: Option<&str>) -> Option<Duration> {
        let given = given?;
        let read = text::duration(given);
        if read.is_none() {
            self.error(field, format_args!("`{given}` is no duration such as 10s"));
        }
        read
    }

    /// Values of which no two may be equal.
    pub(crate) fn distinct<T: Ord>(&mut self, field: &str, values: impl IntoIterator<Item = T>, what: &str) {
        let mut seen = BTreeSet::new();
        if values.into_iter().any(|value| !seen.insert(value)) {
            self.error(field, format_args!("two have one {what}"));
        }
    }
}
