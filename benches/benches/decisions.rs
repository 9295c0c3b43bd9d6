//! The decisions of one connection or request, in nanoseconds: where does it go, and may it.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, reason = "a bench")]

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

use criterion::{BenchmarkId, Criterion, criterion_group, criterion_main};
use http::{HeaderMap, HeaderValue, Method};
use mesh_core::authz::http::{
    Authorization, AuthorizationPolicy, Condition as HttpCondition, Mesh, Operation, PolicyAction, Rule as HttpRule,
    Source, Values,
};
use mesh_core::authz::rbac::{Facts, Peer, Verdict};
use mesh_core::authz::{Action, Clause, Connection, Match, Policy, PolicyDelta, PolicySet, Rule, Scope, evaluate};
use mesh_core::balance;
use mesh_core::catalog::{Catalog, Delta};
use mesh_core::name::{Hostname, Locality, NamespacedHostname, Network, ServiceAccount, TrustDomain};
use mesh_core::path::PathNormalization;
use mesh_core::request::{Condition, HeaderMatch, Request};
use mesh_core::resolve::{Destination, Outbound, outbound};
use mesh_core::route::{
    Action as RouteAction, Forward, MetadataValue, PathMatch, Route, RouteConfig, RouteMatch, RouteTable, Subset,
    VirtualHost,
};
use mesh_core::service::{AppProtocol, PortMap, Service, ServicePort};
use mesh_core::string_match::{Pattern, StringMatch};
use mesh_core::workload::{TunnelProtocol, Workload};

fn ports() -> PortMap {
    std::iter::once(ServicePort { service_port: 80, target_port: Some(8080), protocol: AppProtocol::Http11 }).collect()
}

fn workload(n: u32, services: u32) -> Workload {
    let domain = TrustDomain::new("cluster.local").unwrap();
    let mut workload = Workload::new(format!("c//Pod/shop/w{n}"), domain.clone(), "shop", &format!("w{n}")).unwrap();
    workload.identity = ServiceAccount::new(domain, "shop", &format!("a{}", n % 100)).unwrap();
    workload.addresses = vec![IpAddr::V4(Ipv4Addr::from(0x0a00_0000 + n))];
    workload.tunnel = TunnelProtocol::Hbone;
    workload.services.insert(key(n % services), ports());
    workload
}

fn key(n: u32) -> NamespacedHostname {
    NamespacedHostname::new("shop", Hostname::parse(&format!("s{n}.shop.svc.cluster.local")).unwrap())
}

fn catalog(workloads: u32, services: u32) -> Catalog {
    let mut delta = Delta::new();
    for n in 0..workloads {
        delta.upsert_workload(workload(n, services));
    }
    for n in 0..services {
        let mut service = Service::new(key(n), format!("s{n}"));
        service.vips = vec![(Network::default(), IpAddr::V4(Ipv4Addr::from(0x0a60_0000 + n)).into())];
        service.ports = ports();
        delta.upsert_service(service);
    }
    Catalog::default().apply(delta)
}

fn decisions(criterion: &mut Criterion) {
    let catalog = catalog(100_000, 10_000);
    let (source, network) = (workload(7, 10_000), Network::default());
    let vip: Destination = "10.96.0.9:80".parse().unwrap();
    let pod: Destination = "10.0.0.9:8080".parse().unwrap();
    for (name, destination) in [("service of 10 among 100,000 workloads", &vip), ("workload by address", &pod)] {
        let request = Outbound::new(&source, &network, destination);
        let mut seed = 0;
        criterion.bench_function(&format!("resolve/{name}"), |bencher| {
            bencher.iter(|| {
                seed += 1;
                black_box(outbound(&catalog, black_box(&request), seed))
            });
        });
    }
    let mut delta = PolicyDelta::new();
    for n in 0..100 {
        let principal = StringMatch::parse(&format!("cluster.local/ns/shop/sa/x{n}"));
        let entry = Match { principals: vec![principal], ..Match::default() };
        let rules = vec![Rule { clauses: vec![Clause { matches: vec![entry] }] }];
        delta.upsert(Policy::new(format!("shop/p{n}").parse().unwrap(), Scope::Namespace, Action::Deny, rules));
    }
    let policies = PolicySet::default().apply(delta);
    let peer = source.spiffe_id();
    let connection =
        Connection { peer: Some(&peer), source: source.addresses[0], destination: "10.0.0.9:8080".parse().unwrap() };
    criterion.bench_function("authorize/100 deny policies, none matches", |bencher| {
        bencher.iter(|| black_box(evaluate(&policies, &source, black_box(&connection))));
    });
    let mut n = 0;
    criterion.bench_function("catalog/one changed workload among 100,000", |bencher| {
        bencher.iter(|| {
            n += 1;
            let mut delta = Delta::new();
            let mut changed = workload(n % 100_000, 10_000);
            changed.capacity = n;
            delta.upsert_workload(changed);
            black_box(catalog.apply(delta))
        });
    });
}

/// So many ALLOW rules, each of which lets an account use a part of the API; the request's is the last of them, or none.
fn rules(count: usize) -> Authorization {
    let texts = |text: String| Values::any_of([text]);
    let rules = (0..count).map(|n| {
        let from = Source { principals: texts(format!("cluster.local/ns/shop/sa/a{n}")), ..Source::default() };
        let methods = Values::any_of(["GET", "HEAD"]);
        let to = Operation { methods, paths: texts(format!("/api/v1/part{n}/*")), ..Operation::default() };
        let team = HttpCondition { key: "request.headers[x-team]".into(), values: Values::none_of(["blocked"]) };
        HttpRule { from: vec![from], to: vec![to], when: vec![team] }
    });
    let policy = AuthorizationPolicy::new("shop/api".parse().unwrap(), PolicyAction::Allow, rules.collect());
    Authorization::compile(&[policy], &Mesh::default())
}

fn requests(criterion: &mut Criterion) {
    let headers = HeaderMap::from_iter([("x-team".parse().unwrap(), HeaderValue::from_static("blue"))]);
    for count in [1, 100, 1_000] {
        let authorization = rules(count);
        let scanned = authorization.filters()[0].rules().unwrap().clone();
        let uris = [format!("spiffe://cluster.local/ns/shop/sa/a{}", count - 1).into()];
        for (name, path, allowed) in [
            ("the last matches", format!("/api/v1/part{}/items", count - 1), true),
            ("none matches", "/other".to_owned(), false),
        ] {
            let facts = Facts {
                peer: Some(Peer { uris: &uris, ..Peer::default() }),
                request: Some(Request::new(&Method::GET, "shop.example", &path, &headers)),
                ..Facts::new("10.0.0.1".parse().unwrap(), "10.0.0.7:8080".parse().unwrap())
            };
            let verdict = authorization.evaluate(&facts).unwrap();
            assert_eq!(matches!(verdict, Verdict::Allowed(_)), allowed, "{verdict}");
            criterion.bench_function(&format!("authorize request/{count} rules, {name}"), |bencher| {
                bencher.iter(|| black_box(authorization.evaluate(black_box(&facts))));
            });
            criterion.bench_function(&format!("authorize request/{count} rules one by one, {name}"), |bencher| {
                bencher.iter(|| black_box(scanned.evaluate(black_box(&facts))));
            });
        }
    }
    for (name, path) in [("in its normal form", "/api/v1/items/7?q=1"), ("in another", "/api/../v1/%69tems//7?q=1")] {
        criterion.bench_function(&format!("path/{name}"), |bencher| {
            bencher.iter(|| black_box(PathNormalization::MERGE_SLASHES.apply(black_box(path))));
        });
    }
}

/// A table of so many routes; a request for any one of them.
struct Routing {
    name: &'static str,
    table: fn(u32) -> RouteConfig,
    request: fn(u32) -> (String, String, HeaderMap),
}

fn one_host(routes: Vec<Route>) -> RouteConfig {
    let host = VirtualHost { domains: vec!["*".into()], routes, ..VirtualHost::default() };
    RouteConfig { hosts: vec![host], ..RouteConfig::default() }
}

fn route(path: PathMatch, headers: Vec<HeaderMatch>) -> Route {
    let forward = RouteAction::Forward(Box::new(Forward::to("c")));
    Route::new(RouteMatch { headers, ..RouteMatch::new(path) }, forward)
}

fn separated(n: u32) -> PathMatch {
    PathMatch::Separated { prefix: format!("/api/v1/service-{n}").into(), ignore_case: false }
}

fn tenant(n: u32) -> HeaderMatch {
    HeaderMatch::new("x-tenant".parse().unwrap(), Condition::Text(Pattern::exact(&format!("tenant-{n}"))))
}

const ROUTINGS: [Routing; 3] = [
    Routing {
        name: "path",
        table: |routes| one_host((0..routes).map(|n| route(separated(n), vec![])).collect()),
        request: |n| ("shop.example".into(), format!("/api/v1/service-{n}/items?page=2"), HeaderMap::new()),
    },
    Routing {
        name: "header",
        table: |routes| one_host((0..routes).map(|n| route(PathMatch::prefix("/"), vec![tenant(n)])).collect()),
        request: |n| {
            let value = HeaderValue::from_str(&format!("tenant-{n}")).unwrap();
            ("shop.example".into(), "/items".into(), HeaderMap::from_iter([("x-tenant".parse().unwrap(), value)]))
        },
    },
    Routing {
        name: "host",
        table: |routes| {
            let host = |n| VirtualHost {
                domains: vec![format!("h{n}.example").into()],
                routes: vec![route(PathMatch::prefix("/"), vec![])],
                ..VirtualHost::default()
            };
            RouteConfig { hosts: (0..routes).map(host).collect(), ..RouteConfig::default() }
        },
        request: |n| (format!("h{n}.example"), "/items".into(), HeaderMap::new()),
    },
];

/// What a lookup is compared with: every host and every route in turn.
fn scan<'t>(config: &'t RouteConfig, request: &Request<'_>) -> Option<&'t Route> {
    let asked = |domain: &mesh_core::name::Text| *domain == "*" || *domain == request.head.authority;
    let host = config.hosts.iter().find(|host| host.domains.iter().any(asked))?;
    host.routes.iter().find(|route| route.matcher.is_match(request, request.path(), 0))
}

fn routes(criterion: &mut Criterion) {
    for Routing { name, table, request } in ROUTINGS {
        let mut group = criterion.benchmark_group(format!("route/by {name}"));
        for routes in [1, 100, 10_000] {
            let table = RouteTable::new(table(routes)).unwrap();
            // Scattered over the table, so that a scan goes through half of it.
            let requests: Vec<_> = (0..64).map(|n| request(n * 7919 % routes)).collect();
            let asked: Vec<_> =
                requests.iter().map(|(a, t, headers)| Request::new(&Method::GET, a, t, headers)).collect();
            for request in &asked {
                let found = table.find(request, 0).unwrap().route;
                assert!(std::ptr::eq(found, scan(table.config(), request).unwrap()));
            }
            let mut next = asked.iter().cycle();
            group.bench_function(BenchmarkId::new("index", routes), |bencher| {
                bencher.iter(|| black_box(table.find(black_box(next.next().unwrap()), 0)));
            });
            group.bench_function(BenchmarkId::new("scan", routes), |bencher| {
                bencher.iter(|| black_box(scan(table.config(), black_box(next.next().unwrap()))));
            });
        }
        let config = table(10_000);
        group.bench_function("building the index of 10,000", |bencher| {
            bencher.iter_with_large_drop(|| RouteTable::new(black_box(config.clone())));
        });
    }
}

type MakePolicy = fn() -> balance::Policy;

const POLICIES: [(&str, MakePolicy); 6] = [
    ("peak EWMA", || balance::Policy::PEAK_EWMA),
    ("least request", || balance::Policy::LeastRequest(balance::LeastRequest::default())),
    ("round robin", || balance::Policy::RoundRobin { slow_start: None }),
    ("random", || balance::Policy::Random),
    ("ring hash", || balance::Policy::RingHash(balance::RingHash::default())),
    ("Maglev", || balance::Policy::Maglev(balance::Maglev::default())),
];

/// Endpoints of these weights, in turn; every hundredth has the version that is asked for.
fn endpoints(count: u32, weights: u32) -> balance::Assignment {
    let one = |n: u32| {
        let address = SocketAddr::from((Ipv4Addr::from(0x0a00_0000 + n), 80));
        let version = balance::EndpointValue::One(MetadataValue::Number(f64::from(n % 100)));
        balance::Endpoint {
            weight: (1 + n % weights).try_into().unwrap(),
            metadata: [("version".into(), version)].into(),
            ..balance::Endpoint::new(address)
        }
    };
    let place = balance::LocalityEndpoints::new(Locality::default(), (0..count).map(one).collect());
    balance::Assignment::new("c", vec![place])
}

/// A pick, and the report of how it went.
fn picks(criterion: &mut Criterion) {
    let cluster = |policy| balance::Cluster {
        policy,
        ..balance::Cluster::new("c", balance::Discovery::Eds { service_name: None })
    };
    let balancer = |cluster: balance::Cluster, assignment: &balance::Assignment| {
        let now = tokio::time::Instant::now().into_std();
        balance::Balancer::new(Arc::new(cluster), assignment, balance::Setup::default(), now)
    };
    let subset: Subset = [("version".into(), MetadataValue::Number(7.0))].into();
    let mut measure = |group: &str, name: &str, count: u32, balancer: balance::Balancer| {
        let (mut rng, mut hash) = (fastrand::Rng::with_seed(1), 0_u64);
        let now = tokio::time::Instant::now().into_std();
        criterion.bench_function(&format!("{group}/{name} of {count}"), |bencher| {
            bencher.iter(|| {
                hash = hash.wrapping_add(0x9e37_79b9_7f4a_7c15);
                let request = balance::Request { hash: Some(hash), subset: Some(&subset), ..Default::default() };
                let pick = balancer.pick(black_box(&request), &mut rng, now).unwrap();
                pick.finish(balance::Outcome::OK, now)
            });
        });
    };
    for (name, policy) in POLICIES {
        for count in [10, 10_000] {
            measure("pick", name, count, balancer(cluster(policy()), &endpoints(count, 1)));
        }
    }
    for (name, policy) in &POLICIES[1..3] {
        for count in [10, 10_000] {
            measure("pick by unequal weights", name, count, balancer(cluster(policy()), &endpoints(count, 5)));
        }
    }
    let divided = balance::SubsetSettings::new(vec![balance::SubsetSelector::new(["version"])]);
    let divided = balance::Cluster { subsets: Some(divided), ..cluster(balance::Policy::PEAK_EWMA) };
    measure("pick from a subset", "one of a hundred", 10_000, balancer(divided, &endpoints(10_000, 1)));
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20);
    targets = decisions, requests, routes, picks
}
criterion_main!(benches);
