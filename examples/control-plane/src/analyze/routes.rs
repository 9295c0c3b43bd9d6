//! Routes of the Gateway API that match the same.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::context::{Context, Report};
use crate::finding::{Code, Origin};
use crate::resource::{GrpcMatch, HttpMatch, Kind, Metadata, ParentRef};

/// A match of a rule, in the order in which the Gateway API has matches of equal weight asked: the oldest route first, then by
/// name, then the first rule.
struct One<'a> {
    rank: (Duration, &'a str, &'a str, usize),
    kind: Kind,
    metadata: &'a Metadata,
    origin: &'a Origin,
    field: String,
}

/// Matches that another route, or an earlier rule, takes altogether.
pub(super) fn analyze<'w>(context: &Context<'w>, report: &mut Report) {
    let mut by_match: BTreeMap<String, Vec<One<'w>>> = BTreeMap::new();
    let mut add =
        |key: String, kind, metadata: &'w Metadata, origin: &'w Origin, (rule, at): (usize, Option<usize>)| {
            let Metadata { namespace, name, .. } = metadata;
            let at = at.map(|at| format!(".matches[{at}]")).unwrap_or_default();
            let field = format!("spec.rules[{rule}]{at}");
            let rank = (metadata.created(), namespace.as_str(), name.as_str(), rule);
            by_match.entry(key).or_default().push(One { rank, kind, metadata, origin, field });
        };
    for (origin, route) in context.world.http_routes.values() {
        for place in places(&route.metadata, &route.spec.parent_refs, &route.spec.hostnames) {
            for (index, rule) in route.spec.rules.iter().flatten().enumerate() {
                let all = [HttpMatch::default()];
                let matches: &[HttpMatch] = if rule.matches.is_empty() { &all } else { &rule.matches };
                for (at, one) in matches.iter().enumerate() {
                    let path = one.path.as_ref();
                    let of_path = path.and_then(|path| path.r#type.as_deref()).unwrap_or("PathPrefix");
                    let value = path.and_then(|path| path.value.as_deref()).unwrap_or("/");
                    let key = format!(
                        "http {place} {of_path} {value} {:?} {:?} {:?}",
                        one.method,
                        sorted(&one.headers),
                        sorted(&one.query_params)
                    );
                    let at = (!rule.matches.is_empty()).then_some(at);
                    add(key, Kind::HttpRoute, &route.metadata, origin, (index, at));
                }
            }
        }
    }
    for (origin, route) in context.world.grpc_routes.values() {
        for place in places(&route.metadata, &route.spec.parent_refs, &route.spec.hostnames) {
            for (index, rule) in route.spec.rules.iter().flatten().enumerate() {
                let all = [GrpcMatch::default()];
                let matches: &[GrpcMatch] = if rule.matches.is_empty() { &all } else { &rule.matches };
                for (at, one) in matches.iter().enumerate() {
                    let key = format!("grpc {place} {:?} {:?}", one.method, sorted(&one.headers));
                    let at = (!rule.matches.is_empty()).then_some(at);
                    add(key, Kind::GrpcRoute, &route.metadata, origin, (index, at));
                }
            }
        }
    }
    let mut said = BTreeSet::new();
    for mut same in by_match.into_values().filter(|same| same.len() > 1) {
        same.sort_by(|a, b| a.rank.cmp(&b.rank));
        let Some((first, others)) = same.split_first() else { continue };
        for one in others {
            // One that is attached to several parents is said once.
            if !said.insert((one.kind, &one.metadata.namespace, &one.metadata.name, one.field.clone())) {
                continue;
            }
            let own =
                (&one.metadata.namespace, &one.metadata.name) == (&first.metadata.namespace, &first.metadata.name);
            let (code, message) = if own {
                (Code::UNREACHABLE_RULE, format!("`{}` matches the same; this is never reached", first.field))
            } else {
                let Metadata { namespace, name, .. } = first.metadata;
                let message = format!(
                    "{} {namespace}/{name} is older, or its name comes first, and matches the same by `{}`; this is never reached",
                    first.kind, first.field
                );
                (Code::ROUTES_CONFLICT, message)
            };
            report.say(code, (one.kind, one.metadata), one.origin, &one.field, message);
        }
    }
}

/// What a route is attached to, and for which hosts.
fn places(route: &Metadata, parents: &[ParentRef], hosts: &[String]) -> Vec<String> {
    let mut places = Vec::new();
    for parent in parents {
        let kind = parent.kind.as_deref().unwrap_or("Gateway");
        let namespace = parent.namespace.as_deref().unwrap_or(&route.namespace);
        let ParentRef { name, section_name, port, .. } = parent;
        let at = format!("{kind} {namespace}/{name} {section_name:?} {port:?}");
        match hosts {
            // Where the parent is a service, host names do not count.
            [] => places.push(at),
            _ if kind != "Gateway" => places.push(at),
            hosts => places.extend(hosts.iter().map(|host| format!("{at} {host}"))),
        }
    }
    places
}

fn sorted<T: std::fmt::Debug>(list: &[T]) -> Vec<String> {
    let mut texts: Vec<String> = list.iter().map(|one| format!("{one:?}")).collect();
    texts.sort();
    texts
}
