//! The decisions of one connection and of one request, in nanoseconds: where does it go, and may it.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs, reason = "a bench")]

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};

use criterion::{Criterion, criterion_group, criterion_main};
use http::{HeaderMap, HeaderValue, Method};
use mesh_core::authz::http::{
    Authorization, AuthorizationPolicy, Condition as HttpCondition, Mesh, Operation, PolicyAction, Rule as HttpRule,
    Source, Values,
};
use mesh_core::authz::rbac::{Facts, Peer, Verdict};
use mesh_core::authz::{Action, Clause, Connection, Match, Policy, PolicyDelta, PolicySet, Rule, Scope, evaluate};
use mesh_core::catalog::{Catalog, Delta};
use mesh_core::name::{Hostname, NamespacedHostname, Network, ServiceAccount, TrustDomain};
use mesh_core::path::PathNormalization;
use mesh_core::request::Request;
use mesh_core::resolve::{Destination, Outbound, outbound};
use mesh_core::service::{AppProtocol, PortMap, Service, ServicePort};
use mesh_core::string_match::StringMatch;
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

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(20);
    targets = decisions, requests
}
criterion_main!(benches);
