//! Analysis: what is right by itself, and wrong with what else there is. A pure function from a world to findings, each with a
//! code that stays the same; where Istio's analyzers find the same, the number is theirs.
//!
//! Everything that is found is a warning: an object's acceptance depends on nothing but itself, as what it needs may come later.
//! References of routes and policies that lead nowhere are found by [`admission`](crate::admission); here is what takes a look
//! at many objects at once.
//!
//! What of Istio's analyzers concerns an ambient mesh, and where it is here:
//!
//! | Istio | here |
//! | --- | --- |
//! | IST0101, 0106, 0109, 0112, 0118, 0125, 0127, 0130, 0133, 0134, 0161, 0162, 0166, 0173, 0174, 0175, 0177 | the same number |
//! | IST0135, 0136 (annotations that are old or new), 0107, 0108 (that are unknown) | not: an annotation that is not known has no effect on what is served, and may be anybody's |
//! | IST0102, 0103, 0116, 0123, 0137, 0167 (injection, Deployments, Sidecars) | not: nothing is injected, and those kinds are not read; a Sidecar is `MESH1107` |
//! | IST0128, 0129 (TLS without roots) | not: here a certificate is always verified, by the roots of the machine where none are named |
//! | IST0131 (a match without effect) | `MESH0133` at the match |
//! | IST0132, 0138, 0145 (Istio's own kind Gateway) | not: the kind is not read; of the Gateway API `MESH1073` and `MESH1075` |
//! | IST0139 (webhooks) | not: nothing is injected, and webhook configurations are not read |
//! | IST0142, 0156, 0172, 0176 (versions of Kubernetes and of CRDs) | `MESH1076`, of a cluster: which versions it serves; the label of their bundle stands on objects that are not read |
//! | IST0149 (claims of tokens as matches) | an error where they are written (`MESH0106`) |
//! | IST0151 to 0155 (EnvoyFilter) | not: the kind is not enforced, which is said (`MESH1107`) |
//! | IST0170 (services that differ between clusters) | `control-plane drift` |
//! | IST0171 (negative conditions) | not: what is wrong is said where it is found, before any status tells |
//!
//! Beside those: waypoints that are not ready or locked out (`MESH1010`, `1011`), policies that hide each other (`1013`) or look at
//! requests where no waypoint does (`1070`), services without endpoints (`1014`), Gateways that nobody reaches (`1072` to `1075`),
//! and several control planes or revisions (`1022`, `1077`). Versions of proxies are compared where those are known, at the page
//! `/findings` (`1078`), those of regions by `control-plane drift`.

mod addresses;
mod background;
mod context;
mod controllers;
mod destination_rules;
mod endpoints;
mod gateways;
mod keys;
mod networks;
mod policies;
mod port_names;
mod revisions;
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
        gateways::analyze,
        keys::analyze,
        networks::analyze,
        policies::analyze,
        port_names::analyze,
        revisions::analyze,
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
