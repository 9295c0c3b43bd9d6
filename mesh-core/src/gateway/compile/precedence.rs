use std::cmp::Reverse;
use std::time::Duration;

use super::matcher::{Match, Specificity};
use super::rule::{Place, RuleView};
use crate::gateway::GatewayRoute;
use crate::name::Text;
use crate::route::{PathMatch, Route, RouteMatch};

/// One match of one rule, and where it stands among all that are attached to the same place.
pub(super) struct Candidate<'r> {
    order: Order,
    matcher: RouteMatch,
    prefix: Option<Text>,
    rule: RuleView<'r>,
}

/// What decides which of two matches is tried first: the smaller.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Order {
    /// Rank of the name by which the route is for the host, zero for the most specific.
    host: usize,
    http: bool,
    specificity: Reverse<Specificity>,
    created: Duration,
    /// `namespace/name`.
    id: Text,
    rule: usize,
    matching: usize,
}

/// The matches of a route that is for a host by a name of this rank.
pub(super) fn candidates<M: Match>(host: usize, route: &GatewayRoute<M>) -> Vec<Candidate<'_>> {
    let id: Text = format!("{}/{}", route.id.namespace, route.id.name).into();
    // The defaults of the specification: a rule without backends, a match of everything.
    let default_rule = route.rules.is_empty().then(|| (RuleView::without_backends::<M>(&id), [].as_slice()));
    let rules =
        route.rules.iter().enumerate().map(|(at, rule)| (RuleView::new(&id, at, rule), rule.matches.as_slice()));
    let mut all = Vec::new();
    for (at, (rule, matches)) in default_rule.into_iter().chain(rules).enumerate() {
        let default_match = matches.is_empty().then(M::default);
        for (matching, one) in default_match.iter().chain(matches).enumerate() {
            let order = Order {
                host,
                http: !M::GRPC,
                specificity: Reverse(one.specificity()),
                created: route.id.created,
                id: id.clone(),
                rule: at,
                matching,
            };
            let prefix = one.prefix().map(Text::from);
            all.push(Candidate { order, matcher: one.matcher(), prefix, rule: rule.clone() });
        }
    }
    all
}

/// The routes of all matches, in the order of precedence.
pub(super) fn in_order(mut all: Vec<Candidate<'_>>, place: Place<'_>) -> Vec<Route> {
    all.sort_by(|one, other| one.order.cmp(&other.order));
    let mut routes = Vec::new();
    let mut all_taken = false;
    for Candidate { matcher, prefix, rule, .. } in all {
        // After what takes every request with a path there is nothing to do for the others but to make the table large.
        if all_taken && matcher.path != PathMatch::Connect {
            continue;
        }
        all_taken |= takes_all(&matcher);
        routes.extend(rule.routes(&matcher, prefix.as_ref().map(Text::as_str), place));
    }
    routes
}

/// Whether every request is meant that has a path.
pub(super) fn takes_all(matcher: &RouteMatch) -> bool {
    *matcher == RouteMatch::new(PathMatch::prefix("/"))
}
