use http::HeaderMap;
use mesh_core::name::parse_trust_domain;
use mesh_core::workload::Workload;
use proptest::prelude::*;

use super::*;

#[test]
fn baggage_in_its_order_and_without_empty_values() {
    let domain = parse_trust_domain("cluster.local").unwrap();
    let mut workload = Workload::new("u", domain, "shop", "web-1").unwrap();
    workload.workload_name = "web".into();
    workload.canonical_revision = "v2".into();
    workload.locality = mesh_core::name::Locality::new("eu", "eu-a", "rack");
    assert_eq!(
        baggage::of(&workload),
        "k8s.cluster.name=Kubernetes,k8s.namespace.name=shop,k8s.deployment.name=web,service.version=v2,\
         cloud.region=eu,cloud.availability_zone=eu-a"
    );
    let mut headers = HeaderMap::new();
    headers.insert("baggage", baggage::of(&workload).parse().unwrap());
    let read = baggage::read(&headers);
    assert_eq!((read.workload.as_deref(), read.zone.as_deref()), (Some("web"), Some("eu-a")));
}

#[test]
fn baggage_beyond_its_bound_is_not_read() {
    let mut headers = HeaderMap::new();
    headers.append("baggage", "service.name=one".parse().unwrap());
    headers.append("baggage", format!("service.name={}", "x".repeat(limits::BAGGAGE_BYTES)).parse().unwrap());
    assert_eq!(baggage::read(&headers).service.as_deref(), Some("one"));
}

#[test]
fn forwarded() {
    let value = Forwarded { client: "10.0.0.1:5".parse().unwrap(), host: Some("a.b".into()) }.to_value();
    assert_eq!(value, "for=\"10.0.0.1:5\";host=a.b");
    let mut headers = HeaderMap::new();
    assert_eq!(Forwarded::host(&headers), None);
    headers.insert("forwarded", value.parse().unwrap());
    assert_eq!(Forwarded::host(&headers), Some("a.b"));
}

#[test]
fn trace_context_has_its_form() {
    let trace = TraceId::random();
    let value = traceparent(trace);
    let parts: Vec<_> = value.split('-').map(str::len).collect();
    assert_eq!((value.len(), parts), (55, vec![2, 32, 16, 2]));
    let of = |value: &str| {
        let mut headers = HeaderMap::new();
        headers.insert("traceparent", value.parse().unwrap());
        TraceId::of(&headers)
    };
    assert_eq!(of(&value), Some(trace));
    let zero = format!("00-{}-{}-00", "0".repeat(32), "1".repeat(16));
    for bad in ["", "00", &value[..54].replace("00-", "ff-"), &value.replace("00-", "0-"), &zero] {
        assert_eq!(of(bad), None, "{bad}");
    }
}

#[test]
fn a_request_says_only_what_there_is_to_say() {
    let authority = "carts.shop.svc.cluster.local:80".parse().unwrap();
    let said = |headers: &ConnectHeaders| {
        let request = connect_request(&authority, headers).unwrap();
        let said = request.headers().iter();
        said.map(|(name, value)| format!("{name}: {}", value.to_str().unwrap())).collect::<Vec<_>>()
    };
    assert!(said(&ConnectHeaders { baggage: Some(String::new()), ..ConnectHeaders::default() }).is_empty());
    let outer = ConnectHeaders { source: Some(WAYPOINT), ..ConnectHeaders::default() };
    assert_eq!(said(&outer), ["x-istio-source: waypoint"]);
    let inner = ConnectHeaders { network: Some("near".to_owned()), ..ConnectHeaders::default() };
    assert_eq!(said(&inner), ["x-forwarded-network: near"]);
}

proptest! {
    #[test]
    fn headers_never_panic(text in "[ -~]{0,80}") {
        let mut headers = HeaderMap::new();
        headers.insert("baggage", text.parse().unwrap());
        headers.insert("forwarded", text.parse().unwrap());
        let _ = baggage::read(&headers);
        let _ = Forwarded::host(&headers);
    }
}
