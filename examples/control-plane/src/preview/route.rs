//! What a route does with a request, in words that two tables can be compared by.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::time::Duration;

use mesh_core::filter::Routed;
use mesh_core::request::Request;
use mesh_core::route::{Action, ClusterChoice, ClusterName, Forward, HeaderEdits, Selected, Unrouted};

use super::outcome::RouteAnswer;

/// The cluster of backends that are none.
const INVALID: &str = "invalid-backend";

/// What becomes of a request, and the clusters that it may go to.
pub(super) fn answer(routed: &Routed, request: &Request<'_>) -> (RouteAnswer, Vec<String>) {
    let selection = match routed {
        Routed::To(selection) => selection,
        Routed::Nowhere(Unrouted::TlsRequired) => return (plain("301: the same over TLS"), Vec::new()),
        Routed::Nowhere(_) | Routed::Unasked => return (plain("404: no route matches"), Vec::new()),
    };
    let selected = selection.selected();
    match &selected.route.action {
        Action::Redirect(redirect) => {
            let to = selected.location(request).unwrap_or_default();
            (plain(&format!("{}: redirected to {to}", redirect.status.code())), Vec::new())
        }
        Action::Respond(response) => (plain(&format!("{}: answered by the route", response.status)), Vec::new()),
        Action::NonForwarding => (plain("404: the route leads nowhere"), Vec::new()),
        Action::Forward(forward) => {
            let clusters = clusters(forward, request);
            let shares: Vec<(&str, u32)> = clusters.iter().map(|(name, weight)| (name.as_str(), *weight)).collect();
            let answer = RouteAnswer { to: self::shares(&shares), settings: settings(&selected, forward, request) };
            let used = clusters.into_iter().filter(|(name, weight)| *weight > 0 && name != INVALID);
            (answer, used.map(|(name, _)| name).collect())
        }
    }
}

fn plain(to: &str) -> RouteAnswer {
    RouteAnswer { to: to.to_owned(), settings: BTreeMap::new() }
}

fn clusters(forward: &Forward, request: &Request<'_>) -> Vec<(String, u32)> {
    let by_header = |field| vec![(request.first(field).unwrap_or_default().to_owned(), 1)];
    match &forward.cluster {
        ClusterChoice::Named(name) => vec![(name.to_string(), 1)],
        ClusterChoice::Header(field) => by_header(field),
        ClusterChoice::Weighted(weighted) => {
            let name = |cluster: &ClusterName| cluster.of(request).unwrap_or_default().to_owned();
            weighted.clusters.iter().map(|one| (name(&one.cluster), one.weight)).collect()
        }
    }
}

/// Clusters and their shares in percent of all.
pub(super) fn shares(clusters: &[(&str, u32)]) -> String {
    let sum: u64 = clusters.iter().map(|(_, weight)| u64::from(*weight)).sum();
    let label = |name: &str| if name == INVALID { "nowhere (500)".to_owned() } else { cluster(name) };
    if let [(name, _)] = clusters {
        return label(name);
    }
    let mut by_name: BTreeMap<String, u64> = BTreeMap::new();
    for (name, weight) in clusters.iter().filter(|(_, weight)| *weight > 0) {
        *by_name.entry(label(name)).or_default() += u64::from(*weight);
    }
    let share = |(name, weight): (String, u64)| match u64::checked_rem(weight * 100, sum.max(1)) {
        Some(0) => format!("{}% {name}", weight * 100 / sum.max(1)),
        _ => format!("{weight}/{sum} {name}"),
    };
    by_name.into_iter().map(share).collect::<Vec<_>>().join(", ")
}

/// A cluster as people call it: host, port and subset.
pub(super) fn cluster(name: &str) -> String {
    let parts: Vec<&str> = name.split('|').collect();
    let subset = |subset: &str| if subset.is_empty() { String::new() } else { format!(" subset {subset}") };
    match parts.as_slice() {
        ["inbound-vip", port, kind, host] => {
            let named = kind.split_once('/').map_or("", |(_, subset)| subset);
            format!("{host}:{port}{}", subset(named))
        }
        ["outbound" | "outbound-tcp", port, named, host] => format!("{host}:{port}{}", subset(named)),
        ["encap"] => "the workload itself".to_owned(),
        _ => name.to_owned(),
    }
}

/// Everything else that a route says of a request, level by level as it counts.
fn settings(selected: &Selected<'_>, forward: &Forward, request: &Request<'_>) -> BTreeMap<&'static str, String> {
    let mut all = BTreeMap::new();
    let time = |time: Duration| format!("{time:?}");
    let timeout = match forward.timeout {
        Some(Duration::ZERO) => None,
        Some(given) => Some(time(given)),
        None => Some("15s".to_owned()),
    };
    all.extend(timeout.map(|timeout| ("timeout", timeout)));
    all.extend(forward.idle_timeout.map(|idle| ("idle timeout", time(idle))));
    all.extend(forward.stream_duration.map(|longest| ("longest stream", debug(&longest))));
    all.extend(forward.grpc_timeout.map(|deadline| ("gRPC deadline", debug(&deadline))));
    all.extend(selected.retry().map(|retry| ("retries", debug(retry))));
    all.extend(selected.hedge().map(|hedge| ("hedging", debug(&hedge))));
    all.extend(forward.path.as_ref().and_then(|_| selected.target(request)).map(|path| ("path", path)));
    all.extend(selected.authority(request, None).map(|host| ("host", host.into_owned())));
    let mirrors = selected.mirrors();
    if !mirrors.is_empty() {
        let copy = |mirror: &mesh_core::route::Mirror| match &mirror.cluster {
            ClusterName::Named(name) => format!("{}{}", cluster(name.as_str()), share_of(mirror.fraction)),
            ClusterName::Header(field) => format!("what {field} names"),
        };
        all.insert("copies", mirrors.iter().map(copy).collect::<Vec<_>>().join(", "));
    }
    let config = selected.table.config();
    let mut edits: Vec<String> = [&selected.route.headers, &selected.host.headers, &config.headers]
        .into_iter()
        .filter(|edits| **edits != HeaderEdits::default())
        .map(debug)
        .collect();
    let mut filters: Vec<String> = [&selected.route.filters, &selected.host.filters, &config.filters]
        .into_iter()
        .filter(|filters| !filters.is_empty())
        .map(debug)
        .collect();
    if let ClusterChoice::Weighted(weighted) = &forward.cluster {
        for one in &weighted.clusters {
            if one.headers != HeaderEdits::default() {
                edits.push(format!("{:?}: {:?}", one.cluster, one.headers));
            }
            if !one.filters.is_empty() || !one.subset.is_empty() {
                filters.push(format!("{:?}: {:?} {:?}", one.cluster, one.filters, one.subset));
            }
        }
    }
    for (name, said) in [("headers", edits), ("filters", filters)] {
        if !said.is_empty() {
            all.insert(name, said.join("; "));
        }
    }
    if !forward.hash.is_empty() {
        all.insert("hash", debug(&forward.hash));
    }
    if !forward.subset.is_empty() {
        all.insert("subset", debug(&forward.subset));
    }
    if !forward.upgrades.is_empty() {
        all.insert("upgrades", debug(&forward.upgrades));
    }
    all
}

fn share_of(fraction: Option<mesh_core::route::Fraction>) -> String {
    fraction.map(|fraction| format!(" ({fraction:?})")).unwrap_or_default()
}

fn debug(value: &impl Debug) -> String {
    format!("{value:?}")
}
