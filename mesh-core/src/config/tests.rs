#![allow(clippy::unwrap_used, clippy::panic, clippy::disallowed_methods, reason = "tests")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use crate::balance::{Assignment, Cluster, Discovery, Endpoint, LocalityEndpoints, Request, Tunnel};
use crate::listener::{FilterChain, HttpManager, Listener, ListenerKind, RouteSource, SocketListener, Terminal};
use crate::name::{Locality, Text};
use crate::route::{RouteConfig, RouteTable};

use super::*;

fn assignment(name: &str, addresses: &[&str]) -> Arc<Assignment> {
    let endpoints = addresses.iter().map(|address| Endpoint::new(address.parse().unwrap())).collect();
    Arc::new(Assignment::new(name, vec![LocalityEndpoints::new(Locality::default(), endpoints)]))
}

fn cluster(name: &str, discovery: Discovery) -> (Text, Arc<Cluster>) {
    (name.into(), Arc::new(Cluster::new(name, discovery)))
}

const EDS: Discovery = Discovery::Eds { service_name: None };

fn listener(name: &str, sources: Vec<RouteSource>) -> (Text, Arc<Listener>) {
    let chain = |source| FilterChain::new(Terminal::Http(Box::new(HttpManager::new(source))));
    let mut socket = SocketListener::new("127.0.0.1:80".parse().unwrap());
    socket.chains = sources.into_iter().map(chain).collect();
    (name.into(), Arc::new(Listener { name: name.into(), kind: ListenerKind::Socket(Box::new(socket)) }))
}

fn table(name: &str) -> RouteTable {
    RouteTable::new(RouteConfig { name: name.into(), ..RouteConfig::default() }).unwrap()
}

fn picked(config: &Config, cluster: &str) -> Option<String> {
    let upstream = config.clusters.get(cluster)?;
    let mut rng = fastrand::Rng::with_seed(1);
    let (pick, _) = upstream.pick(&Request::default(), &mut rng, Instant::now()).ok()?;
    Some(pick.address().to_string())
}

fn tables(config: &Config, listener: &str) -> Vec<String> {
    let served = config.listeners.get(listener).unwrap();
    served.managers().map(|(_, table)| table.config().name.to_string()).collect()
}

#[test]
fn what_is_not_whole_leaves_in_place_what_was() {
    let mut resources = Resources::default();
    let mut assembly = Assembly::default();
    resources.listeners.extend([listener("in", vec![RouteSource::Rds("r".into())])]);
    resources.clusters.extend([cluster("shop", EDS)]);
    let config = assembly.assemble(&resources, Instant::now());
    assert!(config.listeners.is_empty() && config.clusters.is_empty());

    resources.routes.insert("r".into(), Arc::new(table("first")));
    resources.assignments.insert("shop".into(), assignment("shop", &["10.0.0.1:80"]));
    let config = assembly.assemble(&resources, Instant::now());
    assert_eq!((tables(&config, "in"), picked(&config, "shop")), (vec!["first".into()], Some("10.0.0.1:80".into())));

    // Another version of the listener names routes, and of the cluster endpoints, that are still to come.
    resources.listeners.extend([listener("in", vec![RouteSource::Rds("late".into())])]);
    resources.clusters.extend([cluster("shop", Discovery::Eds { service_name: Some("late".into()) })]);
    let config = assembly.assemble(&resources, Instant::now());
    assert_eq!((tables(&config, "in"), picked(&config, "shop")), (vec!["first".into()], Some("10.0.0.1:80".into())));

    resources.routes.insert("late".into(), Arc::new(table("second")));
    resources.assignments.insert("late".into(), assignment("late", &["10.0.0.2:80"]));
    let config = assembly.assemble(&resources, Instant::now());
    assert_eq!((tables(&config, "in"), picked(&config, "shop")), (vec!["second".into()], Some("10.0.0.2:80".into())));

    resources.listeners.clear();
    resources.clusters.clear();
    let config = assembly.assemble(&resources, Instant::now());
    assert!(config.listeners.is_empty() && config.clusters.is_empty());
}

#[test]
fn each_manager_has_its_routes() {
    let inline = |name| RouteSource::Inline(Box::new(table(name)));
    let mut resources = Resources::default();
    let sources = vec![inline("a"), RouteSource::Rds("r".into()), inline("b"), RouteSource::Rds("r".into())];
    resources.listeners.extend([listener("in", sources)]);
    resources.routes.insert("r".into(), Arc::new(table("r1")));
    let mut assembly = Assembly::default();
    let first = assembly.assemble(&resources, Instant::now());
    assert_eq!(tables(&first, "in"), ["a", "r1", "b", "r1"]);

    resources.routes.insert("r".into(), Arc::new(table("r2")));
    let second = assembly.assemble(&resources, Instant::now());
    assert_eq!(tables(&second, "in"), ["a", "r2", "b", "r2"]);
    let inline = |config: &Config| config.listeners.get("in").unwrap().managers().next().unwrap().1;
    assert!(Arc::ptr_eq(&inline(&first), &inline(&second)), "a table that stays is not copied");
}

#[test]
fn nothing_changed_is_the_same_whole() {
    let mut resources = Resources::default();
    resources.listeners.extend([listener("in", vec![RouteSource::Rds("r".into())])]);
    resources.routes.insert("r".into(), Arc::new(table("r")));
    let fixed = Discovery::Static(Assignment::clone(&assignment("fixed", &["10.0.0.3:80"])));
    let both = Discovery::Aggregate(vec!["shop".into(), "fixed".into()]);
    resources.clusters.extend([cluster("shop", EDS), cluster("fixed", fixed), cluster("both", both)]);
    resources.clusters.extend([cluster("original", Discovery::OriginalDst)]);
    resources.assignments.insert("shop".into(), assignment("shop", &["10.0.0.1:80"]));
    let mut assembly = Assembly::default();
    let first = assembly.assemble(&resources, Instant::now());
    assert!(first.is(&assembly.assemble(&resources, Instant::now())));

    resources.assignments.insert("shop".into(), assignment("shop", &["10.0.0.2:80"]));
    let second = assembly.assemble(&resources, Instant::now());
    assert!(!first.is(&second));
    assert_eq!(picked(&second, "both"), Some("10.0.0.2:80".into()));
    // The balancer is the same one with other endpoints: what is known of those that stay is not lost.
    assert_eq!(picked(&first, "shop"), Some("10.0.0.2:80".into()));
}

#[test]
fn the_endpoint_may_be_what_a_connection_was_meant_for() {
    let known: std::net::IpAddr = "10.0.0.7".parse().unwrap();
    let identity: crate::name::SpiffeId = "spiffe://td/ns/a/sa/b".parse().unwrap();
    let mut resources = Resources::default();
    resources.clusters.extend([cluster("to", Discovery::TunnelToOriginalDst([(known, identity.clone())].into()))]);
    let config = Assembly::default().assemble(&resources, Instant::now());
    let upstream = config.clusters.get("to").unwrap();
    let pick = |original: Option<&str>| {
        let request = Request { original: original.map(|address| address.parse().unwrap()), ..Request::default() };
        upstream.pick(&request, &mut fastrand::Rng::with_seed(1), Instant::now()).map(|(pick, _)| pick)
    };
    let picked = pick(Some("10.0.0.7:80")).unwrap();
    assert_eq!(picked.address(), "10.0.0.7:80".parse().unwrap());
    assert_eq!(picked.endpoint().tunnel.as_ref().unwrap().identities, [identity]);
    assert!(pick(Some("10.0.0.8:80")).is_err(), "nobody may be there");
    assert_eq!(pick(Some("10.0.0.7:80")).unwrap().address(), picked.address());
    assert!(pick(None).is_err());

    // Who is where may not be said at all.
    resources.clusters.extend([cluster("to", Discovery::TunnelToOriginalDst(BTreeMap::new()))]);
    let config = Assembly::default().assemble(&resources, Instant::now());
    let request = Request { original: Some("10.0.0.8:80".parse().unwrap()), ..Request::default() };
    let picked = config.clusters.get("to").unwrap().pick(&request, &mut fastrand::Rng::with_seed(1), Instant::now());
    assert_eq!(picked.unwrap().0.endpoint().tunnel, Some(Tunnel::default()));
}

#[test]
fn aggregates_use_what_there_is_and_circles_end() {
    let all = Discovery::Aggregate(vec!["none".into(), "circle".into(), "shop".into()]);
    let circle = Discovery::Aggregate(vec!["all".into(), "circle".into()]);
    let mut resources = Resources::default();
    resources.clusters.extend([cluster("all", all), cluster("circle", circle), cluster("shop", EDS)]);
    resources.assignments.insert("shop".into(), assignment("shop", &["10.0.0.1:80"]));
    let mut assembly = Assembly::default();
    let config = assembly.assemble(&resources, Instant::now());
    assert_eq!(picked(&config, "all"), Some("10.0.0.1:80".into()));
    assert_eq!(picked(&config, "circle"), None);
    assert_eq!((config.clusters.len(), config.warming), (2, 1), "the circle never serves");

    resources.clusters.extend([cluster("late", EDS)]);
    let waiting = assembly.assemble(&resources, Instant::now());
    assert_eq!((waiting.clusters.len(), waiting.warming, waiting.is(&config)), (2, 2, false));
    resources.assignments.insert("late".into(), assignment("late", &[]));
    assert_eq!(assembly.assemble(&resources, Instant::now()).warming, 1, "no endpoints is an answer");
}

#[test]
fn balancers_know_where_the_proxy_is_and_who_is_beside_it() {
    use crate::balance::{Localities, ZoneAware};
    let zoned = |zones: &[(&str, &[&str])]| {
        let of = |(zone, addresses): &(&str, &[&str])| {
            let endpoints = addresses.iter().map(|address| Endpoint::new(address.parse().unwrap())).collect();
            LocalityEndpoints::new(Locality::new("eu", zone, ""), endpoints)
        };
        Arc::new(Assignment::new("shop", zones.iter().map(of).collect()))
    };
    let mut shop = Cluster::new("shop", EDS);
    shop.policy = crate::balance::Policy::Random;
    shop.localities = Localities::ZoneAware(ZoneAware { min_cluster_size: 1, ..ZoneAware::default() });
    let mut resources = Resources::default();
    resources.clusters.insert("shop".into(), Arc::new(shop));
    resources.assignments.insert("shop".into(), zoned(&[("a", &["10.0.0.1:80"]), ("b", &["10.0.0.2:80"])]));

    let whereabouts = Whereabouts { locality: Locality::new("eu", "b", ""), cluster: "proxies".into() };
    let mut assembly = Assembly::default().at(whereabouts);
    let mut zones = |resources: &Resources| {
        let config = assembly.assemble(resources, Instant::now());
        let shop = &config.clusters["shop"];
        let mut rng = fastrand::Rng::with_seed(7);
        let mut pick =
            || shop.pick(&Request::default(), &mut rng, Instant::now()).unwrap().0.locality().zone.to_string();
        (0..64).map(|_| pick()).collect::<std::collections::BTreeSet<_>>()
    };
    let both = ["a".to_owned(), "b".to_owned()].into();
    assert_eq!(zones(&resources), both, "alone, nobody knows what the other zone sends");

    resources.clusters.extend([cluster("proxies", EDS)]);
    resources.assignments.insert("proxies".into(), zoned(&[("a", &["10.9.0.1:1"]), ("b", &["10.9.0.2:1"])]));
    assert_eq!(zones(&resources), ["b".to_owned()].into(), "as many here as there");

    // All who send are here now: half of it does not fit.
    resources.assignments.insert("proxies".into(), zoned(&[("a", &[]), ("b", &["10.9.0.2:1"])]));
    assert_eq!(zones(&resources), both);
    resources.assignments.insert("proxies".into(), zoned(&[("a", &["10.9.0.1:1"]), ("b", &["10.9.0.2:1"])]));
    assert_eq!(zones(&resources), ["b".to_owned()].into());
    // A balancer that is new hears of it too.
    let mut other = Cluster::clone(&resources.clusters["shop"]);
    other.name = "shop".into();
    resources.clusters.remove("shop");
    assembly.assemble(&resources, Instant::now());
    resources.clusters.insert("shop".into(), Arc::new(other));
    let config = assembly.assemble(&resources, Instant::now());
    let mut rng = fastrand::Rng::with_seed(7);
    for _ in 0..32 {
        let (pick, _) = config.clusters["shop"].pick(&Request::default(), &mut rng, Instant::now()).unwrap();
        assert_eq!(pick.locality().zone.as_str(), "b");
    }
}
