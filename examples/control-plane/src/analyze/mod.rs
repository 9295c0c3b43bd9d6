//! Analysis: what is right by itself, and wrong with what else there is. A pure function from a world to findings, each with a
//! code that stays the same; where Istio's analyzers find the same, the number is theirs.
//!
//! Everything that is found is a warning: an object's acceptance depends on nothing but itself, as what it needs may come later.
//! References of routes and policies that lead nowhere are found by [`admission`](crate::admission); here is what takes a look
//! at many objects at once.

mod addresses;
mod background;
mod context;
mod controllers;
mod destination_rules;
mod endpoints;
mod keys;
mod networks;
mod policies;
mod port_names;
mod routes;
mod scopes;
mod selectors;
mod strict;
mod suppress;
mod trust;
mod virtual_services;
mod waypoints;

#[cfg(test)]
mod tests;

pub(crate) use background::{Analyzed, run};
pub use suppress::{NotASuppression, Suppression, Suppressions};

use self::context::{Context, Report};
use crate::finding::Finding;
use crate::translate::{Place, Translation};
use crate::world::World;

/// What is looked at.
#[derive(Debug, Clone, Copy)]
pub struct Input<'a> {
    /// The objects.
    pub world: &'a World,
    /// Names of the place that they describe.
    pub place: &'a Place,
    /// What node proxies receive of them.
    pub translation: &'a Translation,
    /// Trust domains that are federated with.
    pub trust_domains: &'a [String],
}

/// All findings, in order. What objects suppress by annotation is left out.
#[must_use]
pub fn analyze(input: &Input<'_>) -> Vec<Finding> {
    let context = Context::new(input);
    let mut report = Report::default();
    let analyzers: &[fn(&Context<'_>, &mut Report)] = &[
        addresses::analyze,
        controllers::analyze,
        destination_rules::analyze,
        endpoints::analyze,
        keys::analyze,
        networks::analyze,
        policies::analyze,
        port_names::analyze,
        routes::analyze,
        scopes::analyze,
        selectors::analyze,
        strict::analyze,
        trust::analyze,
        virtual_services::analyze,
        waypoints::analyze,
    ];
    for analyzer in analyzers {
        analyzer(&context, &mut report);
    }
    let mut findings = report.findings;
    findings.sort();
    Suppressions::of(input.world).retain(&mut findings);
    findings
}
