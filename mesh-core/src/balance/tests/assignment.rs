use super::*;

#[test]
fn assignments_that_contradict_themselves() {
    let place = |zone, priority, weight| locality(zone, priority, weight, vec![endpoint(0, 1)]);
    let invalid = |localities| Assignment::new("c", localities).validate().unwrap_err();
    assert_eq!(Assignment::<SocketAddr>::new("c", vec![]).validate(), Ok(()));
    assert_eq!(flat(&[1, 2]).validate(), Ok(()));
    assert_eq!(invalid(vec![place("a", 1, 1)]), InvalidAssignment::Gap { priority: 0 });
    assert_eq!(invalid(vec![place("a", 0, 1), place("a", 2, 1)]), InvalidAssignment::Gap { priority: 1 });
    let locality = Locality::new("eu", "a", "");
    let twice = InvalidAssignment::DuplicateLocality { locality: locality.clone(), priority: 0 };
    assert_eq!(invalid(vec![place("a", 0, 1), place("a", 0, 2)]), twice);
    let heavy = InvalidAssignment::WeightOfLocalities { priority: 0 };
    assert_eq!(invalid(vec![place("a", 0, u32::MAX), place("b", 0, 1)]), heavy);
    let heavy = InvalidAssignment::WeightOfEndpoints { locality, priority: 0 };
    assert_eq!(flat(&[u32::MAX, 1]).validate(), Err(heavy));
}

#[test]
fn hosts_become_endpoints() {
    let host = |name: &str| Endpoint::new(DnsHost { name: name.into(), port: 443 });
    let place = LocalityEndpoints::new(Locality::default(), vec![host("two.example"), host("none.example")]);
    let hosts = Assignment::new("c", vec![place]);
    let lookup = |host: &DnsHost| if host.name == "two.example" { vec![at(0), at(1)] } else { vec![] };
    let resolved = hosts.resolve(lookup);
    let expected: Vec<_> =
        (0..2).map(|index| Endpoint { hostname: "two.example".into(), ..endpoint(index, 1) }).collect();
    assert_eq!(resolved.localities[0].endpoints, expected);
}

#[test]
fn the_first_transport_whose_labels_an_endpoint_has() {
    let validation = ValidationSource::Secret("roots".into());
    let tls = UpstreamTls::new(validation);
    let labels = |pairs: &[(&str, &str)]| pairs.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
    let with = |name: &str, pairs, tls| TransportMatch { name: name.into(), labels: labels(pairs), tls };
    let mut cluster = cluster(Policy::Random);
    cluster.transport_matches =
        vec![with("mesh", &[("tlsMode", "istio")], Some(tls.clone())), with("plain", &[("tlsMode", "disabled")], None)];
    cluster.tls = Some(UpstreamTls { max_sessions: 7, ..tls.clone() });
    let table = [
        (&[("tlsMode", "istio"), ("more", "x")][..], Some(1)),
        (&[("tlsMode", "disabled")], None),
        (&[("tlsMode", "other")], Some(7)),
        (&[], Some(7)),
    ];
    for (pairs, expected) in table {
        let endpoint = Endpoint { transport_labels: labels(pairs), ..endpoint(0, 1) };
        assert_eq!(cluster.tls_of(&endpoint).map(|tls| tls.max_sessions), expected, "{pairs:?}");
    }
}
