//! What policies and routes ask of requests, gathered from their conditions.

use std::collections::{BTreeMap, BTreeSet};

use mesh_core::authn::METADATA;
use mesh_core::authz::rbac::{Permission, Policy, Principal};
use mesh_core::request::{Condition, Field, HeaderMatch, MetadataMatch, ValueMatch};
use mesh_core::route::{PathMatch, QueryCondition, RouteMatch, RouteTable};
use mesh_core::string_match::Pattern;

use super::super::program::{Filter, Http};
use super::super::waypoint;
use super::sample;

/// What the requests of one port are told apart by.
#[derive(Debug, Default)]
pub(super) struct Wishes {
    /// Methods that conditions name.
    pub(super) methods: BTreeSet<String>,
    /// A path for each condition, and how the condition is written.
    pub(super) paths: BTreeMap<String, String>,
    /// A host for each condition, and how the condition is written.
    pub(super) hosts: BTreeMap<String, String>,
    /// What else a request may bring.
    pub(super) baggage: BTreeSet<Baggage>,
    /// Issuers whose tokens are known.
    pub(super) issuers: BTreeSet<String>,
}

/// What a request brings besides method, path and host.
pub(super) type Baggage = BTreeMap<Item, String>;

/// One thing that a request may bring.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Item {
    Header(String),
    Query(String),
    Cookie(String),
    Claim(Vec<String>),
}

/// A condition on something that a request may bring.
struct Leaf {
    item: Item,
    value: String,
    wanted: bool,
}

impl Wishes {
    /// Adds what a chain asks.
    pub(super) fn add(&mut self, http: &Http) {
        for rules in waypoint::rules(http) {
            let filter = rules.to_filter();
            for rbac in filter.rules.iter().chain(&filter.shadow) {
                rbac.policies.values().for_each(|policy| self.policy(policy));
            }
        }
        for filter in &http.filters {
            if let Filter::Tokens(tokens) = filter {
                self.issuers
                    .extend(tokens.providers.values().filter_map(|known| Some(known.issuer.as_ref()?.to_string())));
            }
        }
        if let Some(table) = &http.routes {
            self.table(table);
        }
    }

    fn policy(&mut self, policy: &Policy) {
        let mut leaves = Vec::new();
        policy.permissions.iter().for_each(|permission| self.permission(permission, true, &mut leaves));
        policy.principals.iter().for_each(|principal| self.principal(principal, true, &mut leaves));
        self.leaves(&leaves);
    }

    fn permission(&mut self, permission: &Permission, wanted: bool, leaves: &mut Vec<Leaf>) {
        match permission {
            Permission::And(list) | Permission::Or(list) => {
                list.iter().for_each(|inner| self.permission(inner, wanted, leaves));
            }
            Permission::Not(inner) => self.permission(inner, !wanted, leaves),
            Permission::Header(matcher) => self.header(matcher, wanted, leaves),
            Permission::Path(pattern) => self.path(pattern),
            Permission::PathTemplate(template) => {
                self.paths.insert(sample::of_template(template.as_str()), template.to_string());
            }
            Permission::Metadata(matcher) => leaves.extend(claim(matcher, wanted)),
            _ => {}
        }
    }

    fn principal(&mut self, principal: &Principal, wanted: bool, leaves: &mut Vec<Leaf>) {
        match principal {
            Principal::And(list) | Principal::Or(list) => {
                list.iter().for_each(|inner| self.principal(inner, wanted, leaves));
            }
            Principal::Not(inner) => self.principal(inner, !wanted, leaves),
            Principal::Header(matcher) => self.header(matcher, wanted, leaves),
            Principal::Path(pattern) => self.path(pattern),
            Principal::Metadata(matcher) => leaves.extend(claim(matcher, wanted)),
            _ => {}
        }
    }

    fn table(&mut self, table: &RouteTable) {
        for host in &table.config().hosts {
            for domain in host.domains.iter().filter(|domain| domain.as_str() != "*") {
                self.hosts.insert(domain.as_str().replace('*', "x"), domain.to_string());
            }
            host.routes.iter().for_each(|route| self.route(&route.matcher));
        }
    }

    fn route(&mut self, matcher: &RouteMatch) {
        match &matcher.path {
            PathMatch::Exact { path, .. } => drop(self.paths.insert(path.to_string(), path.to_string())),
            PathMatch::Prefix { prefix, .. } if prefix.as_str() == "/" => {}
            PathMatch::Prefix { prefix, .. } => drop(self.paths.insert(format!("{prefix}x"), format!("{prefix}*"))),
            PathMatch::Separated { prefix, .. } => {
                self.paths.insert(prefix.to_string(), prefix.to_string());
                self.paths.insert(format!("{prefix}/x"), format!("{prefix}/*"));
            }
            PathMatch::Regex(regex) => self.path(&Pattern::Regex(regex.clone())),
            PathMatch::Connect => {}
        }
        let mut leaves = Vec::new();
        matcher.headers.iter().for_each(|header| self.header(header, true, &mut leaves));
        for query in &matcher.query {
            let (value, wanted) = match &query.condition {
                QueryCondition::Present(wanted) => (Some("x".to_owned()), *wanted),
                QueryCondition::Text(pattern) => (sample::of(pattern), true),
            };
            let item = Item::Query(query.name.to_string());
            leaves.extend(value.map(|value| Leaf { item, value, wanted }));
        }
        for cookie in &matcher.cookies {
            let item = Item::Cookie(cookie.name.to_string());
            let value = sample::of(&cookie.pattern);
            leaves.extend(value.map(|value| Leaf { item, value, wanted: !cookie.invert }));
        }
        if matcher.grpc {
            let item = Item::Header("content-type".to_owned());
            leaves.push(Leaf { item, value: "application/grpc".to_owned(), wanted: true });
        }
        self.leaves(&leaves);
    }

    fn path(&mut self, pattern: &Pattern) {
        if let Some(path) = sample::path(pattern) {
            self.paths.insert(path, written(pattern));
        }
    }

    fn header(&mut self, matcher: &HeaderMatch, wanted: bool, leaves: &mut Vec<Leaf>) {
        let wanted = wanted != matcher.invert;
        let pattern = match &matcher.condition {
            Condition::Text(pattern) => Some(pattern),
            Condition::Present(_) | Condition::Range { .. } => None,
        };
        match &matcher.name {
            Field::Method => self.methods.extend(pattern.and_then(sample::of)),
            Field::Authority => {
                let host = pattern.and_then(|pattern| Some((sample::of(pattern)?, written(pattern))));
                self.hosts.extend(host);
            }
            Field::Path => pattern.into_iter().for_each(|pattern| self.path(pattern)),
            Field::Scheme => {}
            Field::Header(name) => {
                let (value, wanted) = match &matcher.condition {
                    Condition::Text(pattern) => (sample::of(pattern), wanted),
                    Condition::Present(present) => (Some("x".to_owned()), wanted == *present),
                    Condition::Range { start, .. } => (Some(start.to_string()), wanted),
                };
                let item = Item::Header(name.to_string());
                leaves.extend(value.map(|value| Leaf { item, value, wanted }));
            }
        }
    }

    /// What is to be tried for the conditions of one rule: all that it wants, the same with each other value that it
    /// names, and the same without each thing that it wants.
    fn leaves(&mut self, leaves: &[Leaf]) {
        let mut whole = Baggage::new();
        for leaf in leaves.iter().filter(|leaf| leaf.wanted) {
            whole.entry(leaf.item.clone()).or_insert_with(|| leaf.value.clone());
        }
        for leaf in leaves {
            let mut other = whole.clone();
            other.insert(leaf.item.clone(), leaf.value.clone());
            self.baggage.insert(other);
            // A value that nobody names.
            let mut strange = whole.clone();
            strange.insert(leaf.item.clone(), "another-value".to_owned());
            self.baggage.insert(strange);
            let mut less = whole.clone();
            less.remove(&leaf.item);
            self.baggage.insert(less);
        }
        self.baggage.insert(whole);
    }
}

/// A claim of a verified token.
fn claim(matcher: &MetadataMatch, wanted: bool) -> Option<Leaf> {
    let (first, path) = matcher.path.split_first()?;
    if matcher.filter.as_str() != METADATA || first.as_str() != mesh_core::authn::PAYLOAD || path.is_empty() {
        return None;
    }
    let item = Item::Claim(path.iter().map(ToString::to_string).collect());
    Some(Leaf { item, value: text(&matcher.value)?, wanted: wanted != matcher.invert })
}

fn text(value: &ValueMatch) -> Option<String> {
    match value {
        ValueMatch::Text(pattern) => sample::of(pattern),
        ValueMatch::Present(true) => Some("x".to_owned()),
        ValueMatch::Contains(inner) => text(inner),
        ValueMatch::Or(some) => some.iter().find_map(text),
        _ => None,
    }
}

/// A pattern as people write it.
fn written(pattern: &Pattern) -> String {
    match pattern {
        Pattern::Exact { text, .. } => text.to_string(),
        Pattern::Prefix { text, .. } => format!("{text}*"),
        Pattern::Suffix { text, .. } => format!("*{text}"),
        Pattern::Contains { text, .. } => format!("*{text}*"),
        Pattern::Regex(regex) => format!("~{}", regex.as_str()),
    }
}
