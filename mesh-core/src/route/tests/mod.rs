mod cluster;
mod edits;
mod hash;
mod host;
mod matcher;
mod retry;

use std::time::Duration;

use http::{HeaderMap, HeaderValue, Method};
use proptest::prelude::*;

use super::*;
use crate::request::{Condition, Field, HeaderMatch, Request};
use crate::string_match::{Pattern, Regex, Substitution};

fn headers(list: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in list {
        headers.append(*name, HeaderValue::from_str(value).unwrap());
    }
    headers
}

fn get<'a>(authority: &'a str, target: &'a str, headers: &'a HeaderMap) -> Request<'a> {
    Request::new(&Method::GET, authority, target, headers)
}

fn forward(cluster: &str) -> Action {
    Action::Forward(Box::new(Forward::to(cluster)))
}

fn route(path: PathMatch, action: Action) -> Route {
    Route::new(RouteMatch::new(path), action)
}

fn host(domains: &[&str], routes: Vec<Route>) -> VirtualHost {
    let name = domains.first().copied().unwrap_or_default().into();
    let domains = domains.iter().map(|domain| (*domain).into()).collect();
    VirtualHost { name, domains, routes, ..VirtualHost::default() }
}

fn table(hosts: Vec<VirtualHost>) -> RouteTable {
    RouteTable::new(RouteConfig { hosts, ..RouteConfig::default() }).unwrap()
}

/// A table whose one route does this with everything.
fn only(action: Action) -> RouteTable {
    table(vec![host(&["*"], vec![route(PathMatch::prefix("/"), action)])])
}

/// The rule as it is written, domain by domain.
fn naive<'a>(domains: &'a [String], name: &str) -> Option<&'a String> {
    let name = name.to_ascii_lowercase();
    let rank = |domain: &&String| {
        let domain = domain.to_ascii_lowercase();
        let fits = |text: &str| name.len() > text.len();
        if domain == "*" {
            Some((1, 0))
        } else if let Some(suffix) = domain.strip_prefix('*') {
            (fits(suffix) && name.ends_with(suffix)).then_some((3, suffix.len()))
        } else if let Some(prefix) = domain.strip_suffix('*') {
            (fits(prefix) && name.starts_with(prefix)).then_some((2, prefix.len()))
        } else {
            (domain == name).then_some((4, 0))
        }
    };
    domains.iter().filter(|domain| rank(domain).is_some()).max_by_key(rank)
}

proptest! {
    #[test]
    fn the_index_finds_what_a_scan_finds(
        domains in prop::collection::vec("\\*?[abA.]{0,3}\\*?|\\*", 0..12),
        names in prop::collection::vec("[abB.]{0,5}", 1..20),
    ) {
        let mut seen = std::collections::HashSet::new();
        let fresh = |domain: &String| !domain.is_empty() && seen.insert(domain.to_ascii_lowercase());
        let domains: Vec<String> = domains.into_iter().filter(fresh).collect();
        let table = table(domains.iter().map(|domain| host(&[domain], vec![])).collect());
        let none = HeaderMap::new();
        for name in names {
            let found = table.host(&get(&name, "/", &none)).map(|host| host.name.as_str());
            prop_assert_eq!(found, naive(&domains, &name).map(String::as_str), "{} in {:?}", name, domains);
        }
    }

    #[test]
    fn weights_count_whatever_the_number(weights in prop::collection::vec(0_u32..1000, 1..8), random: u64) {
        let clusters: Vec<_> = weights.iter().enumerate().map(|(at, w)| WeightedCluster::new(&at.to_string(), *w)).collect();
        let table = only(Action::Forward(Box::new(Forward::new(ClusterChoice::Weighted(WeightedClusters {
            clusters, choice: WeightedChoice::Random,
        })))));
        let none = HeaderMap::new();
        let request = get("a", "/", &none);
        let weighted = table.find(&request, random).unwrap().weighted;
        match weights.iter().any(|weight| *weight > 0) {
            true => prop_assert!(weighted.unwrap().weight > 0),
            false => prop_assert!(weighted.is_none()),
        }
    }

    #[test]
    fn back_off_stays_in_bounds(base in 1_u64..1000, max in prop::option::of(1_u64..100_000), retry in 1_u32..80, random: u64) {
        let back_off = BackOff { base: Duration::from_millis(base), max: max.map(Duration::from_millis) };
        let policy = RetryPolicy { back_off, ..RetryPolicy::default() };
        let bound = back_off.bound(retry);
        prop_assert!(policy.delay(retry, None, Duration::ZERO, random) < bound);
        prop_assert!(bound <= back_off.max.unwrap_or(back_off.base * 10));
        prop_assert!(back_off.bound(retry + 1) >= bound);
    }
}

fn weighted(choice: WeightedChoice) -> Forward {
    let clusters = vec![WeightedCluster::new("a", 1), WeightedCluster::new("none", 0), WeightedCluster::new("b", 3)];
    Forward::new(ClusterChoice::Weighted(WeightedClusters { clusters, choice }))
}

fn policy(key: HashKey) -> HashPolicy {
    HashPolicy { key, terminal: false }
}

fn hash(policies: &[HashPolicy], request: &Request<'_>) -> Option<u64> {
    RequestHash::new(policies, request, None, 0).value
}
