//! What is promised to allocate nothing does not: counted by the allocator.
#![allow(unsafe_code, reason = "an allocator that counts")]
#![allow(clippy::disallowed_methods, clippy::unwrap_used, missing_docs, reason = "a test")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mesh_core::authz::http::{
    Authorization, AuthorizationPolicy, Condition, Mesh, Operation, PolicyAction, Rule, Source, Values,
};
use mesh_core::authz::rbac::{Facts, Peer, Verdict};
use mesh_core::balance::{
    Assignment, Balancer, Choice, Cluster, Discovery, Endpoint, EndpointValue, Hashing, LeastRequest, LocalCluster,
    Localities, LocalityEndpoints, Maglev, Outcome, OutlierSettings, Policy, Request, RetryLimit, RingHash, Setup,
    SlowStart, SubsetSelector, SubsetSettings,
};
use mesh_core::name::Locality;
use mesh_core::path::PathNormalization;
use mesh_core::request::{self, Metadata};
use mesh_core::route::{MetadataValue, Subset};

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: everything is handed to the system's allocator; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn allocations(work: impl FnOnce()) -> usize {
    let before = ALLOCATIONS.get();
    work();
    ALLOCATIONS.get() - before
}

/// Three zones; weights and versions in turn.
fn assignment(endpoints: u32, weights: u32) -> Assignment {
    let endpoint = |index: u32| {
        let address = SocketAddr::from(([10, 0, (index >> 8) as u8, index as u8], 80));
        let version = EndpointValue::One(MetadataValue::Text(format!("{}", index % 4).as_str().into()));
        let weight = NonZeroU32::new(1 + index % weights).unwrap();
        Endpoint { weight, metadata: [("version".into(), version)].into(), ..Endpoint::new(address) }
    };
    let place = |zone: u32| {
        let endpoints = (0..endpoints).filter(|index| index % 3 == zone).map(endpoint).collect();
        LocalityEndpoints::new(Locality::new("eu", &format!("z{zone}"), ""), endpoints)
    };
    Assignment::new("c", (0..3).map(place).collect())
}

#[test]
fn the_counter_counts() {
    assert_eq!(allocations(|| drop(std::hint::black_box(Box::new(1)))), 1);
}

#[test]
fn a_pick_and_its_report_allocate_nothing() {
    let slow_start = Some(SlowStart::new(Duration::from_secs(60)));
    let least = LeastRequest { slow_start, ..LeastRequest::default() };
    let hashing = Hashing { balance_factor: Some(110), ..Hashing::default() };
    let policies = [
        Policy::PEAK_EWMA,
        Policy::RoundRobin { slow_start: None },
        Policy::RoundRobin { slow_start },
        Policy::LeastRequest(least),
        Policy::LeastRequest(LeastRequest { choice: Choice::All, ..least }),
        Policy::Random,
        Policy::RingHash(RingHash { hashing, ..RingHash::default() }),
        Policy::Maglev(Maglev { hashing, ..Maglev::default() }),
        Policy::PickFirst { shuffle: true },
    ];
    let subset: Subset = [("version".into(), MetadataValue::Text("2".into()))].into();
    for policy in policies {
        for (localities, divided, weights) in
            [(Localities::default(), false, 1), (Localities::default(), true, 3), (Localities::Weighted, false, 3)]
        {
            let mut cluster = Cluster::new("c", Discovery::Eds { service_name: None });
            cluster.policy = policy.clone();
            cluster.localities = localities;
            cluster.outlier = Some(OutlierSettings::default());
            cluster.subsets = divided.then(|| SubsetSettings::new(vec![SubsetSelector::new(["version"])]));
            let interval = Duration::from_secs(1);
            cluster.circuit.default.retries = RetryLimit::Budget { percent: 20.0, min_concurrency: 3, interval };
            let mut now = Instant::now();
            let assignment = assignment(100, weights);
            let balancer = Balancer::new(Arc::new(cluster), &assignment, Setup::default(), now);
            let locality = Locality::new("eu", "z1", "");
            balancer.set_local_cluster(Some(&LocalCluster { locality, assignment: Arc::new(assignment) }));
            let mut rng = fastrand::Rng::with_seed(7);
            let mut work = |picks: u64| {
                for hash in 0..picks {
                    let request = Request { hash: Some(hash), subset: Some(&subset), ..Request::default() };
                    let pick = balancer.pick(&request, &mut rng, now).unwrap();
                    now += Duration::from_millis(3);
                    pick.finish(Outcome::OK, now);
                }
            };
            // What a thread needs once.
            work(10);
            let counted = allocations(|| work(500));
            assert_eq!(counted, 0, "{policy:?}, {localities:?}, subsets: {divided}");
        }
    }
}

#[test]
fn a_verdict_about_a_request_allocates_nothing() {
    let any_of = |value: &str| Values::any_of([value]);
    let source = Source {
        principals: Values::none_of(["*/sa/batch"]),
        namespaces: any_of("sh*"),
        service_accounts: any_of("web"),
        request_principals: any_of("issuer/*"),
        remote_ip_blocks: any_of("10.0.0.0/8"),
        ..Source::default()
    };
    let operation = Operation {
        hosts: any_of("*.example"),
        ports: any_of("80"),
        methods: any_of("GET"),
        paths: Values { any_of: vec!["/cart/{*}".into()], none_of: vec!["/cart/admin*".into()] },
    };
    let when = vec![
        Condition { key: "request.headers[x-team]".into(), values: any_of("blue") },
        Condition { key: "request.auth.claims[groups]".into(), values: any_of("admin") },
    ];
    let rule = Rule { from: vec![source], to: vec![operation], when };
    let mut policies = vec![AuthorizationPolicy::new("shop/p".parse().unwrap(), PolicyAction::Allow, vec![rule])];
    let authorization = Authorization::compile(&policies, &Mesh::default());
    policies[0].action = PolicyAction::Deny;
    let denial = Authorization::compile(&policies, &Mesh::default());

    let headers = http::HeaderMap::from_iter([("x-team".parse().unwrap(), "blue".parse().unwrap())]);
    let uris = ["spiffe://cluster.local/ns/shop/sa/web".into()];
    let mut metadata = Metadata::default();
    let claims = serde_json::json!({"iss": "issuer", "sub": "alice", "groups": ["ops", "admin"]});
    metadata.set("envoy.filters.http.jwt_authn", "payload", claims);
    let facts = Facts {
        peer: Some(Peer { uris: &uris, ..Peer::default() }),
        request: Some(request::Request::new(&http::Method::GET, "shop.example", "/cart/7?x", &headers)),
        metadata: Some(&metadata),
        ..Facts::new("10.0.0.1".parse().unwrap(), "10.0.0.7:80".parse().unwrap())
    };
    // Expressions take memory when they are first used.
    assert!(matches!(authorization.evaluate(&facts), Some(Verdict::Allowed(_))));
    assert!(matches!(denial.evaluate(&facts), Some(Verdict::Denied(_))));
    let asked = || {
        std::hint::black_box(authorization.evaluate(&facts));
        std::hint::black_box(denial.evaluate(&facts));
    };
    assert_eq!(allocations(asked), 0);

    let path = "/api/v1/items/%2f/7;a=b?q=/../";
    assert_eq!(allocations(|| assert!(PathNormalization::MERGE_SLASHES.apply(path).is_ok())), 0);
}
