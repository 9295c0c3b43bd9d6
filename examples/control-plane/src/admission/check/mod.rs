//! What is wrong with single objects, beyond what their schema refuses: the rules that an API server would apply.

mod gateway;
mod hosts;
mod mesh_config;
mod refs;
mod route;
mod text;
mod traffic;

pub(crate) use gateway::{WAYPOINT_CLASS, gateway};
pub(crate) use mesh_config::{error_status, mesh_config};
pub(crate) use refs::references;
pub(crate) use route::{grpc_route, http_route};
pub(crate) use text::{duration, gep_duration};
pub(crate) use traffic::destination_rule;

pub(crate) use crate::translate::waypoint::virtual_service;

use std::fmt::Display;

use crate::finding::{Finding, Origin};

/// Collects what is wrong with one object, and where in it.
pub(crate) struct Faults<'a> {
    origin: &'a Origin,
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
        Self { origin, path: part.to_owned(), findings }
    }

    /// What is said in `check` is said of a part.
    pub(crate) fn within<T>(&mut self, part: impl Display, check: impl FnOnce(&mut Self) -> T) -> T {
        let before = self.path.len();
        self.path = format!("{}.{part}", self.path);
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
        self.findings.push(self.origin.error(format!("{}.{field}: {message}", self.path)));
    }

    /// What has no effect.
    pub(crate) fn warning(&mut self, field: impl Display, message: impl Display) {
        self.findings.push(self.origin.warning(format!("{}.{field}: {message}", self.path)));
    }

    /// A list that must not be longer.
    fn at_most(&mut self, field: &str, length: usize, most: usize) {
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
}
