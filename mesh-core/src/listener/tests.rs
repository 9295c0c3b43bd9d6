use std::collections::BTreeMap;
use std::net::SocketAddr;

use ipnet::IpNet;
use proptest::collection::{btree_set, vec};
use proptest::option;
use proptest::prelude::*;
use proptest::sample::{select, subsequence};

use super::*;

const NAMES: [&str; 6] = ["a.b.c", "b.c", "*.b.c", "*.c", "x.c", "*.a.b.c"];
const RANGES: [&str; 6] = ["0.0.0.0/0", "10.0.0.0/8", "10.1.0.0/16", "10.1.1.1/32", "::/0", "fd00::/8"];
const ADDRESSES: [&str; 6] = ["10.1.1.1", "10.1.2.2", "10.2.2.2", "192.0.2.1", "fd00::1", "127.0.0.1"];
const PROTOCOLS: [&str; 3] = ["h2", "http/1.1", "x"];

fn ranges() -> impl Strategy<Value = std::collections::BTreeSet<IpNet>> {
    btree_set(select(&RANGES[..]).prop_map(|text| text.parse().unwrap()), 0..3)
}

fn matcher() -> impl Strategy<Value = FilterChainMatch> {
    let names = btree_set(select(&NAMES[..]).prop_map(|text| text.parse().unwrap()), 0..3);
    let transport = option::of(select(vec![TransportProtocol::RawBuffer, TransportProtocol::Tls]));
    let protocols = btree_set(select(&PROTOCOLS[..]).prop_map(Into::into), 0..3);
    let kind = select(vec![SourceType::Any, SourceType::SameIpOrLoopback, SourceType::External]);
    let ports = btree_set(select(vec![1u16, 2]), 0..2);
    (option::of(select(vec![80u16, 443])), ranges(), names, transport, protocols, ranges(), kind, ranges(), ports)
        .prop_map(
            |(
                destination_port,
                destination_ranges,
                server_names,
                transport_protocol,
                application_protocols,
                direct_source_ranges,
                source_type,
                source_ranges,
                source_ports,
            )| FilterChainMatch {
                destination_port,
                destination_ranges,
                server_names,
                transport_protocol,
                application_protocols,
                direct_source_ranges,
                source_type,
                source_ranges,
                source_ports,
            },
        )
}

/// Mostly empty fields, so that chains compete.
fn sparse() -> impl Strategy<Value = FilterChainMatch> {
    (matcher(), any::<[bool; 9]>()).prop_map(|(full, keep)| {
        let none = FilterChainMatch::default();
        let pick = |at: usize| if keep[at] { full.clone() } else { none.clone() };
        FilterChainMatch {
            destination_port: pick(0).destination_port,
            destination_ranges: pick(1).destination_ranges,
            server_names: pick(2).server_names,
            transport_protocol: pick(3).transport_protocol,
            application_protocols: pick(4).application_protocols,
            direct_source_ranges: pick(5).direct_source_ranges,
            source_type: pick(6).source_type,
            source_ranges: pick(7).source_ranges,
            source_ports: pick(8).source_ports,
        }
    })
}

fn listener(matchers: &[FilterChainMatch], with_default: bool) -> SocketListener {
    let chain = |name: String, matcher| FilterChain { name: name.into(), matcher, ..FilterChain::new(Terminal::Close) };
    let mut listener = SocketListener::new("0.0.0.0:80".parse().unwrap());
    listener.chains = matchers.iter().enumerate().map(|(at, matcher)| chain(at.to_string(), matcher.clone())).collect();
    listener.default_chain = with_default.then(|| chain("default".into(), FilterChainMatch::default()));
    listener
}

/// What a connection asks of one field, most specific first; the last is the absence of a condition.
fn keys(facts: &ConnectionFacts<'_>) -> [Vec<String>; 9] {
    let none = || "-".to_owned();
    let covering = |address: std::net::IpAddr| {
        let mut covering: Vec<IpNet> = (0..=if address.is_ipv4() { 32 } else { 128 })
            .map(|len| IpNet::new(address, len).unwrap().trunc())
            .collect();
        covering.reverse();
        covering.iter().map(ToString::to_string).chain([none()]).collect()
    };
    let mut names = Vec::new();
    if let Some(name) = facts.server_name {
        names.push(name.to_owned());
        names.extend(name.match_indices('.').map(|(at, _)| format!("*{}", &name[at..])));
    }
    names.push(none());
    let local = facts.source.ip().is_loopback() || facts.source.ip() == facts.destination.ip();
    [
        vec![facts.destination.port().to_string(), none()],
        covering(facts.destination.ip()),
        names,
        vec![format!("{:?}", facts.transport_protocol), none()],
        facts.application_protocols.iter().map(|&text| text.to_owned()).chain([none()]).collect(),
        covering(facts.direct_source),
        vec![if local { "SameIpOrLoopback".into() } else { "External".into() }, none()],
        covering(facts.source.ip()),
        vec![facts.source.port().to_string(), none()],
    ]
}

/// All combinations of one value of each field: what Envoy makes of a chain.
fn expanded(matcher: &FilterChainMatch) -> Vec<[String; 9]> {
    fn list<T: ToString>(values: impl IntoIterator<Item = T>) -> Vec<String> {
        let values: Vec<String> = values.into_iter().map(|value| value.to_string()).collect();
        if values.is_empty() { vec!["-".to_owned()] } else { values }
    }
    let fields = [
        list(matcher.destination_port),
        list(&matcher.destination_ranges),
        list(&matcher.server_names),
        list(matcher.transport_protocol.map(|protocol| format!("{protocol:?}"))),
        list(&matcher.application_protocols),
        list(&matcher.direct_source_ranges),
        list((matcher.source_type != SourceType::Any).then(|| format!("{:?}", matcher.source_type))),
        list(&matcher.source_ranges),
        list(&matcher.source_ports),
    ];
    let mut rows = vec![Vec::new()];
    for field in fields {
        rows = rows
            .iter()
            .flat_map(|row: &Vec<String>| field.iter().map(|value| [row.clone(), vec![value.clone()]].concat()))
            .collect();
    }
    rows.into_iter().map(|row| row.try_into().unwrap()).collect()
}

/// Envoy's algorithm, written as Envoy has it: maps in maps, one for each field, entered by the most specific key.
fn reference(matchers: &[FilterChainMatch], facts: &ConnectionFacts<'_>) -> Option<usize> {
    let mut rows: BTreeMap<[String; 9], usize> = BTreeMap::new();
    for (at, matcher) in matchers.iter().enumerate() {
        rows.extend(expanded(matcher).into_iter().map(|row| (row, at)));
    }
    for (field, keys) in keys(facts).iter().enumerate() {
        let key = keys.iter().find(|key| rows.keys().any(|row| row[field] == **key))?;
        rows.retain(|row, _| row[field] == *key);
    }
    rows.into_values().next()
}

fn clash(matchers: &[FilterChainMatch]) -> bool {
    let mut seen = std::collections::BTreeSet::new();
    matchers.iter().any(|matcher| expanded(matcher).into_iter().any(|row| !seen.insert(row)))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_chain_is_chosen_as_envoy_chooses_it(
        candidates in vec(sparse(), 0..6),
        with_default in any::<bool>(),
        ports in (select(vec![80u16, 443, 8080]), select(vec![1u16, 2, 3])),
        addresses in (select(&ADDRESSES[..]), select(&ADDRESSES[..]), select(&ADDRESSES[..])),
        server_name in option::of(select(vec!["a.b.c", "b.c", "x.c", "y.a.b.c", "y"])),
        transport_protocol in select(vec![TransportProtocol::RawBuffer, TransportProtocol::Tls]),
        application_protocols in subsequence(PROTOCOLS.to_vec(), 0..=3).prop_shuffle(),
    ) {
        let mut matchers: Vec<FilterChainMatch> = Vec::new();
        for candidate in candidates {
            if !matchers.iter().any(|other| other.clashes_with(&candidate)) {
                matchers.push(candidate);
            }
        }
        let facts = ConnectionFacts {
            destination: SocketAddr::new(addresses.0.parse().unwrap(), ports.0),
            source: SocketAddr::new(addresses.1.parse().unwrap(), ports.1),
            direct_source: addresses.2.parse().unwrap(),
            server_name,
            transport_protocol,
            application_protocols: &application_protocols,
        };
        let listener = listener(&matchers, with_default);
        let expected = match reference(&matchers, &facts) {
            Some(at) => Some(&listener.chains[at]),
            None => listener.default_chain.as_ref(),
        };
        prop_assert_eq!(listener.choose_chain(&facts), expected);
    }

    #[test]
    fn chains_clash_when_they_are_equal_after_expansion(left in sparse(), right in sparse()) {
        prop_assert!(left.clashes_with(&left));
        prop_assert_eq!(left.clashes_with(&right), clash(&[left.clone(), right.clone()]));
        prop_assert_eq!(left.clashes_with(&right), right.clashes_with(&left));
    }
}

#[test]
fn there_is_no_way_back() {
    let port = FilterChainMatch {
        destination_port: Some(443),
        transport_protocol: Some(TransportProtocol::Tls),
        ..FilterChainMatch::default()
    };
    let listener = listener(&[port, FilterChainMatch::default()], false);
    let mut facts = ConnectionFacts::new("10.0.0.1:1".parse().unwrap(), "10.0.0.7:443".parse().unwrap());
    assert_eq!(listener.choose_chain(&facts), None, "the chain without a port is less specific, and not asked");
    facts.transport_protocol = TransportProtocol::Tls;
    assert_eq!(listener.choose_chain(&facts), Some(&listener.chains[0]));
    facts.destination.set_port(80);
    assert_eq!(listener.choose_chain(&facts), Some(&listener.chains[1]));
}

#[test]
fn names_are_the_same_in_either_case_and_mapped_addresses_are_of_ipv4() {
    let matcher = FilterChainMatch {
        server_names: ["*.shop.example".parse().unwrap()].into(),
        destination_ranges: ["10.0.0.0/8".parse().unwrap()].into(),
        ..FilterChainMatch::default()
    };
    let listener = listener(&[matcher], false);
    let facts = ConnectionFacts::new("10.0.0.1:1".parse().unwrap(), "[::ffff:10.0.0.7]:443".parse().unwrap());
    for (name, yes) in [
        ("a.SHOP.example", true),
        ("shop.example", false),
        (".shop.example", false),
        ("ashop.example", false),
        ("é", false),
    ] {
        let facts = ConnectionFacts { server_name: Some(name), ..facts };
        assert_eq!(listener.choose_chain(&facts).is_some(), yes, "{name}");
    }
}

#[test]
fn clusters_get_their_share() {
    let weighted = |list: &[(&str, u32)]| {
        TcpTarget::Weighted(
            list.iter().map(|(name, weight)| WeightedTarget { cluster: (*name).into(), weight: *weight }).collect(),
        )
    };
    let target = weighted(&[("a", 1), ("b", 2), ("c", 1)]);
    let chosen = [0, 1, 2, 3, 4, 7].map(|random| target.choose(random).map(|name| name.as_str()));
    assert_eq!(chosen, [Some("a"), Some("b"), Some("b"), Some("c"), Some("a"), Some("c")]);
    assert_eq!(weighted(&[]).choose(1), None);
    assert_eq!(TcpTarget::Cluster("a".into()).choose(9).map(|name| name.as_str()), Some("a"));
    let large = weighted(&[("a", u32::MAX), ("b", u32::MAX)]);
    assert_eq!(large.choose(u64::from(u32::MAX)).map(|name| name.as_str()), Some("b"));
}

#[test]
fn a_handshake_is_looked_at_when_a_chain_asks_for_it() {
    let names = FilterChainMatch { server_names: ["a.b".parse().unwrap()].into(), ..FilterChainMatch::default() };
    let raw = |transport_protocol| FilterChainMatch { transport_protocol, ..names.clone() };
    let protocols = FilterChainMatch { application_protocols: ["h2".into()].into(), ..FilterChainMatch::default() };
    for (matcher, yes) in [
        (FilterChainMatch::default(), false),
        (names.clone(), true),
        (protocols, true),
        (raw(Some(TransportProtocol::RawBuffer)), false),
        (raw(Some(TransportProtocol::Tls)), true),
    ] {
        assert_eq!(listener(std::slice::from_ref(&matcher), true).inspects_tls(), yes, "{matcher:?}");
    }
    let mut listener = listener(&[], true);
    listener.inspectors.push(ListenerFilter::HttpInspector);
    assert!(!listener.inspects_tls() && !listener.restores_original_dst());
    listener.inspectors.push(ListenerFilter::TlsInspector { close_on_error: false, max_hello_bytes: None });
    assert!(listener.inspects_tls() && !listener.restores_original_dst());
    listener.inspectors.push(ListenerFilter::OriginalDst);
    assert!(listener.restores_original_dst());
    listener.inspectors.clear();
    listener.use_original_dst = true;
    assert!(listener.restores_original_dst());
}
