use std::net::IpAddr;

use hickory_proto::op::{Message, Query, ResponseCode};
use hickory_proto::rr::{Name, RecordType};
use mesh_core::catalog::{Catalog, Delta};
use mesh_core::name::{NamespacedHostname, Network, parse_trust_domain};
use mesh_core::service::{IpFamilies, PortMap, Service, Visibility};
use mesh_core::workload::{Health, Workload};
use proptest::prelude::*;

use super::candidates::candidates;
use super::*;

fn host(text: &str) -> Hostname {
    Hostname::parse(text).unwrap()
}

fn zone() -> Zone {
    Zone::new(host("cluster.local"))
}

fn service(namespace: &str, hostname: &str, vips: &[&str]) -> Service {
    let mut service = Service::new(NamespacedHostname::new(namespace, host(hostname)), hostname);
    for vip in vips {
        let (vip, network) = vip.split_once('@').unwrap_or((vip, ""));
        let range = vip.parse().unwrap_or_else(|_| ipnet::IpNet::from(vip.parse::<IpAddr>().unwrap()));
        service.vips.push((Network::from(network), range));
    }
    service
}

fn pod(name: &str, ips: &[&str]) -> Workload {
    let mut workload = Workload::new(name, parse_trust_domain("cluster.local").unwrap(), "shop", name).unwrap();
    workload.addresses = ips.iter().map(|ip| ip.parse().unwrap()).collect();
    workload.services.insert(NamespacedHostname::new("shop", host("db.shop.svc.cluster.local")), PortMap::default());
    workload
}

fn catalog() -> Catalog {
    let mut delta = Delta::new();
    let mut canonical = service("kube", "web.shop.svc.cluster.local", &["10.96.0.1", "fd00::1", "10.97.0.1@far"]);
    canonical.canonical = true;
    let mut v4 = service("shop", "four.shop.svc.cluster.local", &["10.96.0.4", "fd00::4"]);
    v4.ip_families = IpFamilies::Ipv4Only;
    let mut hidden = service("other", "hidden.example.com", &["10.96.0.5"]);
    hidden.visibility = Visibility::Namespace;
    let mut sick = pod("sick", &["10.0.0.9"]);
    sick.health = Health::Unhealthy;
    let mut far = pod("far", &["10.0.0.1"]);
    far.network = Network::from("far");
    for service in [
        canonical,
        v4,
        hidden,
        service("shop", "db.shop.svc.cluster.local", &[]),
        service("shop", "www.example.com", &["10.96.0.7"]),
        service("shop", "*.wild.example.com", &["10.96.0.8"]),
        service("shop", "range.example.com", &["10.98.0.0/16"]),
        service("shop", "none.example.com", &[]),
        service("a", "twice.example.com", &["10.96.0.10"]),
        service("b", "twice.example.com", &["10.96.0.11"]),
    ] {
        delta.upsert_service(service);
    }
    for workload in [pod("one", &["10.0.0.1", "fd01::1"]), pod("two", &["10.0.0.2"]), sick, far] {
        delta.upsert_workload(workload);
    }
    Catalog::default().apply(delta)
}

fn ask(name: &str, family: Family, zone: &Zone) -> Option<(Option<String>, Vec<String>)> {
    let answer = lookup(&catalog(), &pod("client", &[]), &Network::default(), &host(name), family, zone)?;
    let addresses = answer.addresses.iter().map(ToString::to_string).collect();
    Some((answer.alias.map(|alias| alias.to_string()), addresses))
}

#[test]
fn answers() {
    type Row = (&'static str, Option<(Option<&'static str>, &'static [&'static str], &'static [&'static str])>);
    let rows: &[Row] = &[
        ("web.shop.svc.cluster.local", Some((None, &["10.96.0.1"], &["fd00::1"]))),
        ("web", Some((None, &["10.96.0.1"], &["fd00::1"]))),
        ("web.shop", Some((None, &["10.96.0.1"], &["fd00::1"]))),
        ("web.shop.svc", Some((None, &["10.96.0.1"], &["fd00::1"]))),
        ("four", Some((None, &["10.96.0.4"], &[]))),
        // Headless: healthy endpoints of our own network.
        ("db.shop", Some((None, &["10.0.0.1", "10.0.0.2"], &["fd01::1"]))),
        ("www.example.com", Some((None, &["10.96.0.7"], &[]))),
        // What a stub makes of it before it tries the name itself.
        ("www.example.com.shop.svc.cluster.local", Some((Some("www.example.com"), &["10.96.0.7"], &[]))),
        ("www.example.com.cluster.local", Some((Some("www.example.com"), &["10.96.0.7"], &[]))),
        ("a.b.wild.example.com", Some((None, &["10.96.0.8"], &[]))),
        ("a.wild.example.com.svc.cluster.local", Some((None, &["10.96.0.8"], &[]))),
        ("wild.example.com", None),
        ("range.example.com", None),
        ("none.example.com", None),
        ("hidden.example.com", None),
        ("nobody.shop.svc.cluster.local", None),
        ("example.com", None),
    ];
    for (name, expected) in rows {
        let expect = |addresses: &[&str]| {
            let texts: Vec<String> = addresses.iter().map(|text| (*text).to_owned()).collect();
            expected.map(|(alias, ..)| (alias.map(str::to_owned), texts))
        };
        assert_eq!(ask(name, Family::V4, &zone()), expect(expected.map_or(&[], |row| row.1)), "{name} A");
        assert_eq!(ask(name, Family::V6, &zone()), expect(expected.map_or(&[], |row| row.2)), "{name} AAAA");
    }
}

#[test]
fn settings_of_the_zone() {
    let mut without_ipv6 = zone();
    without_ipv6.ipv6 = false;
    assert_eq!(ask("web", Family::V6, &without_ipv6), Some((None, vec![])), "known, and so not leaked");
    assert_eq!(ask("twice.example.com", Family::V4, &zone()).unwrap().1, ["10.96.0.10"]);
    let mut preferring = zone();
    preferring.preferred_namespace = Some("b".into());
    assert_eq!(ask("twice.example.com", Family::V4, &preferring).unwrap().1, ["10.96.0.11"]);
    let mut searching = zone();
    searching.search = Some(vec![host("corp.example.net")]);
    assert_eq!(ask("www.example.com.corp.example.net", Family::V4, &searching).unwrap().0.unwrap(), "www.example.com");
    assert_eq!(ask("www.example.com.cluster.local", Family::V4, &searching), None);
}

#[test]
fn candidates_are_few_and_without_repetition() {
    for name in ["a", "a.b", "a.b.svc", "a.b.c", "a.b.c.svc", "a.b.svc.cluster.local", "a.shop.svc.cluster.local"] {
        let found = candidates(&host(name), "shop", &zone());
        let mut names: Vec<_> = found.iter().map(|candidate| candidate.name.clone()).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), found.len(), "{name}");
        assert!(found.len() <= 12, "{name}: {found:?}");
    }
}

fn question(name: &str, kind: RecordType, payload: Option<u16>) -> Vec<u8> {
    let mut message = Message::query();
    message.metadata.id = 7;
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind));
    if let Some(payload) = payload {
        let mut edns = hickory_proto::op::Edns::new();
        edns.set_max_payload(payload);
        message.set_edns(edns);
    }
    message.to_vec().unwrap()
}

#[test]
fn messages() {
    let asked = parse_question(&question("Web.Shop.", RecordType::A, None)).unwrap().unwrap();
    assert_eq!((asked.name.clone(), asked.family), (Some(host("web.shop")), Some(Family::V4)));
    let many: Vec<IpAddr> = (0..100).map(|n| IpAddr::from([10, 0, 0, n])).collect();
    let reply = Reply::Addresses { alias: Some(host("x.y")), addresses: many };
    let cut = Message::from_vec(&asked.answer(&reply, true)).unwrap();
    assert!(cut.metadata.truncation && cut.metadata.recursion_available && cut.metadata.authoritative);
    let whole = Message::from_vec(&asked.answer(&reply, false)).unwrap();
    assert_eq!((whole.answers.len(), whole.metadata.id, whole.metadata.truncation), (101, 7, false));
    assert_eq!(whole.answers[1].name.to_ascii(), "x.y.");
    assert_eq!(whole.queries[0].name.to_ascii(), "Web.Shop.", "as it was asked, letter case included");
    let large = parse_question(&question("a.", RecordType::A, Some(4096))).unwrap().unwrap();
    let ten = Reply::Addresses { alias: None, addresses: (0..40).map(|n| IpAddr::from([10, 0, 0, n])).collect() };
    let answer = Message::from_vec(&large.answer(&ten, true)).unwrap();
    assert!(!answer.metadata.truncation && answer.edns.is_some());

    let text = parse_question(&question("a.b.", RecordType::TXT, None)).unwrap().unwrap();
    assert_eq!((text.family, text.kind()), (None, "TXT".to_owned()));
    assert!(parse_question(b"").is_none());
    assert!(parse_question(&asked.answer(&Reply::ServerFailure, true)).is_none(), "an answer gets no answer");
    let broken = parse_question(&question("a.", RecordType::A, None)[..14]).unwrap().unwrap_err();
    assert_eq!(Message::from_vec(&broken).unwrap().metadata.response_code, ResponseCode::FormErr);
}

#[test]
fn resolv_conf() {
    let conf = parse_resolv_conf(
        "# comment\nnameserver 10.96.0.10\nnameserver fd00::10 ; other\nnameserver what\noptions ndots:5\nsearch a.b c.d\n",
    );
    assert_eq!(conf.nameservers, ["10.96.0.10:53".parse().unwrap(), "[fd00::10]:53".parse().unwrap()]);
    assert_eq!(conf.search, [host("a.b"), host("c.d")]);
}

proptest! {
    #[test]
    fn no_bytes_panic(bytes: Vec<u8>, text: String) {
        if let Some(Ok(question)) = parse_question(&bytes) {
            let _ = question.answer(&Reply::Addresses { alias: None, addresses: vec![] }, true);
        }
        let _ = parse_resolv_conf(&text);
    }

    #[test]
    fn changed_questions_do_not_panic(at in 0..40_usize, byte: u8) {
        let mut bytes = question("web.shop.svc.", RecordType::A, Some(1232));
        if let Some(place) = bytes.get_mut(at) { *place = byte; }
        if let Some(Ok(question)) = parse_question(&bytes) {
            let _ = question.answer(&Reply::FormatError, true);
        }
    }
}
