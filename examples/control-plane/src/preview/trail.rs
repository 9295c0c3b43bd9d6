//! What was considered on the way, for explanations.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::net::SocketAddr;

use mesh_core::authz::rbac::{self, Facts, Outcome, Rbac};
use mesh_core::authz::{Action, Connection, explain};
use mesh_core::name::NamespacedName;
use mesh_core::route::Route;
use mesh_core::workload::Workload;
use serde::Serialize;

use super::mesh::Mesh;
use super::outcome::{Point, PolicyRef, RouteAnswer};
use super::walk::Node;
use super::waypoint::reference;
use super::words::policy_in_words;
use crate::resource::Kind;

/// Notes of who decides.
#[derive(Debug, Default)]
pub(super) struct Trail {
    pub(super) considered: RefCell<Vec<Considered>>,
    pub(super) routes: RefCell<Vec<TakenRoute>>,
    pub(super) endpoints: RefCell<Vec<String>>,
}

/// A policy that applies, and what it says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Considered {
    /// Who looks at it.
    pub point: Point,
    /// The policy with the place where it stands.
    pub policy: String,
    /// What a match of it means.
    pub action: &'static str,
    /// Whether it is evaluated for show only.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub dry_run: bool,
    /// Whether it matches.
    pub matches: bool,
    /// Which rule matches, or why none does, where that is known.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub because: String,
}

/// The route of a request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TakenRoute {
    /// The rule with the place where its object stands; what holds without any object is `default`.
    pub name: String,
    /// Which requests it is for.
    pub matches: String,
    /// What it does.
    #[serde(flatten)]
    pub answer: RouteAnswer,
}

impl Trail {
    /// What a node proxy considers.
    pub(super) fn node(&self, mesh: &Mesh, node: &Node, connection: &Connection<'_>, point: &Point) {
        let explanation = explain(&mesh.policies, &node.workload, connection);
        let namespaces = BTreeSet::from([node.workload.namespace.to_string()]);
        let name =
            |name: &NamespacedName| policy_in_words(mesh, &PolicyRef { name: name.clone(), rule: None }, &namespaces);
        let considered = explanation.considered.iter().map(|one| Considered {
            point: point.clone(),
            policy: name(&one.policy),
            action: if one.action == Action::Deny { "DENY" } else { "ALLOW" },
            dry_run: one.dry_run,
            matches: one.matching_rule.is_some(),
            because: one.matching_rule.map(|rule| format!("rule {rule}")).unwrap_or_default(),
        });
        self.add(considered);
    }

    /// What access control of a waypoint considers.
    pub(super) fn rules(&self, mesh: &Mesh, rbac: &Rbac, facts: &Facts<'_>, point: &Point) {
        let action = match rbac.action {
            rbac::Action::Allow => "ALLOW",
            rbac::Action::Deny => "DENY",
            rbac::Action::Log => "AUDIT",
        };
        let considered = rbac.explain(facts).considered.into_iter().map(|one| Considered {
            point: point.clone(),
            policy: policy_in_words(mesh, &reference(&one.policy), &BTreeSet::new()),
            action,
            dry_run: false,
            matches: one.outcome == Outcome::Matches,
            because: match one.outcome {
                Outcome::Matches => String::new(),
                Outcome::Fails(why) => why,
            },
        });
        self.add(considered);
    }

    /// The route that is taken.
    pub(super) fn route(&self, mesh: &Mesh, route: &Route, answer: &RouteAnswer) {
        let name = route.name.as_str();
        let mut parts = name.rsplitn(2, '/');
        let rule = parts.next().filter(|rule| rule.parse::<usize>().is_ok());
        let object = parts.next().filter(|_| rule.is_some()).and_then(|object| object.parse::<NamespacedName>().ok());
        let known = object.and_then(|object| {
            let kinds = [Kind::HttpRoute, Kind::GrpcRoute, Kind::VirtualService];
            let mut found = kinds.into_iter().filter_map(|kind| Some((kind, mesh.origin(kind, object.clone())?)));
            found.next().map(|(kind, origin)| (kind, object.clone(), origin))
        });
        let name = match (known, rule) {
            (Some((kind, object, origin)), Some(rule)) => format!("{kind} {object} rule {rule} ({origin})"),
            _ if name.is_empty() => "default".to_owned(),
            _ => name.to_owned(),
        };
        let matcher = &route.matcher;
        let mut matches = vec![format!("{:?}", matcher.path)];
        matches.extend(matcher.headers.iter().map(ToString::to_string));
        if !matcher.query.is_empty() || !matcher.cookies.is_empty() {
            matches.push(format!("{:?} {:?}", matcher.query, matcher.cookies));
        }
        matches.extend(matcher.peer.iter().map(|peer| format!("from {peer}")));
        let taken = TakenRoute { name, matches: matches.join(" and "), answer: answer.clone() };
        self.routes.borrow_mut().push(taken);
    }

    /// An endpoint that is looked at.
    pub(super) fn endpoint(&self, workload: &Workload, to: SocketAddr, tunnelled: bool) {
        let how = if tunnelled { "through a tunnel" } else { "in plaintext" };
        let text = format!("{}/{} at {to} {how}", workload.namespace, workload.name);
        let mut endpoints = self.endpoints.borrow_mut();
        if !endpoints.contains(&text) {
            endpoints.push(text);
        }
    }

    fn add(&self, considered: impl Iterator<Item = Considered>) {
        let mut known = self.considered.borrow_mut();
        for one in considered {
            if !known.contains(&one) {
                known.push(one);
            }
        }
    }
}
