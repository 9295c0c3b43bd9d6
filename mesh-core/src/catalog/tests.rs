use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;
use proptest::prelude::*;

use super::*;
use crate::name::parse_trust_domain;
use crate::service::PortMap;
use crate::workload::TunnelProtocol;

fn workload(n: u8, ip: u8, services: &[u8], hbone: bool) -> Workload {
    let domain = parse_trust_domain("cluster.local").unwrap();
    let mut workload = Workload::new(format!("c//Pod/ns/w{n}"), domain, "ns", &format!("w{n}")).unwrap();
    workload.addresses = vec![address(ip)];
    workload.services = services.iter().map(|n| (key(*n), PortMap::default())).collect();
    workload.tunnel = if hbone { TunnelProtocol::Hbone } else { TunnelProtocol::None };
    workload
}

fn service(n: u8, vip: u8, length: u8) -> Service {
    let mut service = Service::new(key(n), format!("s{n}"));
    service.vips = vec![(Network::default(), IpNet::new(address(vip), length).unwrap())];
    service
}

fn key(n: u8) -> NamespacedHostname {
    NamespacedHostname::new("ns", Hostname::parse(&format!("s{n}.example")).unwrap())
}

fn address(n: u8) -> IpAddr {
    Ipv4Addr::new(10, 0, 0, n).into()
}

#[test]
fn an_endpoint_may_come_before_its_service() {
    let mut delta = Delta::new();
    delta.upsert_workload(workload(1, 1, &[1], true));
    let first = Catalog::default().apply(delta);
    let mut delta = Delta::new();
    delta.upsert_service(service(1, 100, 32));
    let second = first.apply(delta);
    assert!(first.service(&key(1)).is_none(), "a catalog never changes");
    assert_eq!(second.endpoints(&key(1)).count(), 1);
    assert_eq!(second.services_at(&Network::default(), address(100)).count(), 1);
}

#[test]
fn one_address_claimed_by_many_has_one_answer() {
    let claims = [workload(3, 1, &[], false), workload(2, 1, &[], true), workload(1, 1, &[], true)];
    for order in [[0, 1, 2], [2, 1, 0], [1, 0, 2]] {
        let mut delta = Delta::new();
        order.iter().for_each(|n| delta.upsert_workload(claims[*n].clone()));
        let catalog = Catalog::default().apply(delta);
        assert_eq!(catalog.workload_at(&Network::default(), address(1)).unwrap().name, "w1");
    }
}

#[test]
fn networks_keep_equal_addresses_apart() {
    let mut west = workload(1, 1, &[], true);
    west.network = "west".into();
    let mut delta = Delta::new();
    delta.upsert_workload(west);
    let catalog = Catalog::default().apply(delta);
    assert!(catalog.workload_at(&Network::default(), address(1)).is_none());
    assert!(catalog.workload_at(&"west".into(), address(1)).is_some());
}

#[test]
fn removal_by_resource_name_and_replacement() {
    let mut delta = Delta::new();
    delta.upsert_workload(workload(1, 1, &[], true));
    delta.upsert_service(service(1, 100, 32));
    let catalog = Catalog::default().apply(delta);
    let mut delta = Delta::new();
    for name in ["c//Pod/ns/w1", "ns/s1.example", "nobody", "ns/", "a/b/c"] {
        delta.remove(name);
    }
    let emptied = catalog.apply(delta);
    assert_eq!((emptied.workloads().count(), emptied.services().count()), (0, 0));
    let mut delta = Delta::replace_all();
    delta.upsert_workload(workload(2, 2, &[], true));
    let replaced = catalog.apply(delta);
    assert_eq!(replaced.workloads().map(|w| w.name.to_string()).collect::<Vec<_>>(), ["w2"]);
    assert_eq!(replaced.services().count(), 0);
}

#[derive(Debug, Clone)]
enum Step {
    Workload(u8, u8, Vec<u8>, bool),
    Service(u8, u8, u8),
    RemoveWorkload(u8),
    RemoveService(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0_u8..5, 0_u8..4, proptest::collection::vec(0_u8..3, 0..3), any::<bool>())
            .prop_map(|(n, ip, services, hbone)| Step::Workload(n, ip, services, hbone)),
        (0_u8..3, 0_u8..8, prop_oneof![Just(32_u8), Just(31), Just(30)]).prop_map(|(n, ip, l)| Step::Service(n, ip, l)),
        (0_u8..5).prop_map(Step::RemoveWorkload),
        (0_u8..3).prop_map(Step::RemoveService),
    ]
}

proptest! {
    /// After any history every index says what a scan over the plain maps says.
    #[test]
    fn indexes_agree_with_a_scan(steps in proptest::collection::vec(step(), 0..40)) {
        let mut workloads: BTreeMap<String, Workload> = BTreeMap::new();
        let mut services: BTreeMap<NamespacedHostname, Service> = BTreeMap::new();
        let mut catalog = Catalog::default();
        for step in steps {
            let mut delta = Delta::new();
            match step {
                Step::Workload(n, ip, of, hbone) => {
                    let made = workload(n, ip, &of, hbone);
                    workloads.insert(made.uid.to_string(), made.clone());
                    delta.upsert_workload(made);
                }
                Step::Service(n, vip, length) => {
                    let made = service(n, vip, length);
                    services.insert(made.key.clone(), made.clone());
                    delta.upsert_service(made);
                }
                Step::RemoveWorkload(n) => {
                    let uid = format!("c//Pod/ns/w{n}");
                    workloads.remove(&uid);
                    delta.remove(&uid);
                }
                Step::RemoveService(n) => {
                    services.remove(&key(n));
                    delta.remove(&key(n).to_string());
                }
            }
            catalog = catalog.apply(delta);
        }
        let network = Network::default();
        for n in 0..8 {
            let ip = address(n);
            let scan = workloads.values().filter(|w| w.addresses.contains(&ip)).min_by(|a, b| claim(a).cmp(&claim(b)));
            prop_assert_eq!(catalog.workload_at(&network, ip).map(|w| &w.uid), scan.map(|w| &w.uid));

            let exact: Vec<_> = catalog.services_at(&network, ip).map(|s| s.key.clone()).collect();
            let scan: Vec<_> = services.values()
                .filter(|s| s.vips.iter().any(|(_, v)| v.prefix_len() == 32 && v.addr() == ip)).map(|s| s.key.clone()).collect();
            prop_assert_eq!(exact, scan);

            let covering: Vec<_> = catalog.services_covering(&network, ip)
                .map(|s| (std::cmp::Reverse(s.vips[0].1.prefix_len()), s.key.clone())).collect();
            let mut scan: Vec<_> = services.values()
                .filter(|s| s.vips.iter().any(|(_, v)| v.prefix_len() < 32 && v.contains(&ip)))
                .map(|s| (std::cmp::Reverse(s.vips[0].1.prefix_len()), s.key.clone())).collect();
            scan.sort();
            prop_assert_eq!(covering, scan);
        }
        for n in 0..3 {
            let endpoints: Vec<_> = catalog.endpoints(&key(n)).map(|w| w.uid.to_string()).collect();
            let scan: Vec<_> = workloads.values().filter(|w| w.services.contains_key(&key(n))).map(|w| w.uid.to_string()).collect();
            prop_assert_eq!(endpoints, scan);
            prop_assert_eq!(catalog.services_named(key(n).hostname.as_str()).count(), usize::from(services.contains_key(&key(n))));
        }
        let uids: BTreeSet<_> = catalog.workloads().map(|w| w.uid.to_string()).collect();
        prop_assert_eq!(uids, workloads.keys().cloned().collect::<BTreeSet<_>>());
    }
}
