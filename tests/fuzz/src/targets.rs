use std::sync::OnceLock;
use std::time::Duration;

use http::{HeaderMap, HeaderValue};
use mesh_core::name::parse_trust_domain;
use mesh_core::resolve::Destination;
use mesh_identity::authority::{Authority, Names, Rules};
use mesh_identity::bundle::{Bundle, BundleSet, Revocations};
use mesh_identity::clock::{Clock as _, SystemClock};
use mesh_identity::verify::{self, Purpose};
use mesh_transport::capture::agent;
use mesh_transport::dns::{self, Reply};
use mesh_transport::hbone::{Forwarded, TraceId, baggage};
use mesh_transport::proxy::socks5;
use mesh_transport::socket::proxy_protocol::Header;
use mesh_xds::workload::{
    Address, decode_address, decode_policy, encode_policy, encode_service, encode_workload, parse_local_file,
    refusing_address, refusing_policy,
};

use crate::{Target, http as http_targets, identity, manifests, proxy, requests, routing, xds};

/// All targets.
pub const TARGETS: &[Target] = &[
    manifests::MANIFESTS,
    Target { name: "connect_authority", run: connect_authority, seeds: authorities },
    Target { name: "headers", run: headers, seeds: header_values },
    Target { name: "proxy_protocol", run: proxy_protocol, seeds: proxy_headers },
    Target { name: "node_agent", run: node_agent, seeds: agent_packets },
    Target { name: "dns", run: dns_message, seeds: dns_messages },
    Target { name: "resolv_conf", run: resolv_conf, seeds: || vec![b"nameserver 10.0.0.1\nsearch a.b c\n".to_vec()] },
    Target { name: "socks5", run: socks5_request, seeds: socks5_requests },
    Target { name: "local_file", run: local_file, seeds: local_files },
    Target { name: "address", run: address, seeds: addresses },
    Target { name: "policy", run: policy, seeds: policies },
    Target { name: "certificate_request", run: certificate_request, seeds: certificate_requests },
    Target { name: "bundle", run: bundle, seeds: bundles },
    Target { name: "revocations", run: revocations, seeds: || vec![CRL.to_vec()] },
    http_targets::HEAD,
    http_targets::SERVER,
    proxy::PROXY,
    identity::CHAIN,
    identity::TOKEN,
    identity::BEARER,
    identity::KEYS,
    identity::DOCUMENT,
    identity::ENTRIES,
    identity::EVIDENCE,
    identity::ANSWER,
    identity::AUTHORITY,
    xds::LISTENER,
    xds::ROUTES,
    xds::CLUSTER,
    xds::ENDPOINTS,
    xds::SECRET,
    xds::NAME,
    xds::BOOTSTRAP,
    xds::RESPONSES,
    xds::REQUESTS,
    requests::PATH,
    requests::TEMPLATE,
    routing::ROUTING,
];

fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

/// What is read is written as it was meant: the two readings of it are equal.
fn connect_authority(bytes: &[u8]) {
    let Some(Ok(read)) = text(bytes).map(str::parse::<Destination>) else { return };
    let again: Destination = read.to_string().parse().unwrap_or_else(|error| panic!("{read}: {error}"));
    assert_eq!(again, read);
}

fn authorities() -> Vec<Vec<u8>> {
    let texts =
        ["10.0.0.1:80", "[2001:db8::1]:15008", "reviews.shop.svc.cluster.local:9080", "[::ffff:10.0.0.1]:1", "*.a:1"];
    texts.map(|text| text.as_bytes().to_vec()).to_vec()
}

fn headers(bytes: &[u8]) {
    let mut headers = HeaderMap::new();
    for name in ["baggage", "forwarded", "traceparent"] {
        for part in bytes.split(|byte| *byte == b'\n').take(8) {
            if let Ok(value) = HeaderValue::from_bytes(part) {
                headers.append(name, value);
            }
        }
    }
    let read = baggage::read(&headers);
    let taken = [&read.cluster, &read.namespace, &read.workload, &read.service, &read.region].into_iter().flatten();
    assert!(taken.map(String::len).sum::<usize>() <= 5 * 4096);
    let _ = Forwarded::host(&headers);
    if let Some(trace) = TraceId::of(&headers) {
        assert_eq!(trace.to_string().len(), 32);
    }
}

fn header_values() -> Vec<Vec<u8>> {
    let texts = [
        "k8s.cluster.name=c,k8s.namespace.name=ns,k8s.deployment.name=d,service.name=s,service.version=v1,cloud.region=r",
        "for=\"10.0.0.1:80\";host=a.b",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00",
    ];
    texts.map(|text| text.as_bytes().to_vec()).to_vec()
}

fn proxy_protocol(bytes: &[u8]) {
    let Ok(Some((header, length))) = Header::decode(bytes) else { return };
    assert!(length <= bytes.len());
    let encoded = header.encode();
    assert_eq!(Header::decode(&encoded), Ok(Some((header, encoded.len()))));
}

fn proxy_headers() -> Vec<Vec<u8>> {
    let header = |source: &str, destination: &str, identity: Option<&str>| {
        let (source, destination) = (source.parse().ok()?, destination.parse().ok()?);
        Some(Header { source, destination, identity: identity.map(str::to_owned) }.encode())
    };
    let headers = [
        header("10.0.0.1:1", "10.0.0.2:2", None),
        header("[fd00::1]:1", "[fd00::2]:2", Some("spiffe://a/ns/b/sa/c")),
        header("10.0.0.1:1", "10.0.0.2:2", Some("")),
    ];
    headers.into_iter().flatten().collect()
}

fn node_agent(bytes: &[u8]) {
    if let Ok(request) = agent::Request::decode(bytes) {
        assert_eq!(agent::Request::decode(&request.encode()), Ok(request));
    }
    let _ = agent::decode_hello(bytes);
    if let Ok(Err(error)) = agent::decode_ack(bytes) {
        assert!(agent::encode_ack(&error).len() <= agent::MAX_PACKET);
    }
}

fn agent_packets() -> Vec<Vec<u8>> {
    let info = agent::PodInfo { name: "p".into(), namespace: "n".into(), service_account: "s".into() };
    vec![
        agent::Request::Add { uid: "u".into(), info }.encode(),
        agent::Request::Keep { uid: "u".into() }.encode(),
        agent::Request::Delete { uid: "u".into() }.encode(),
        agent::Request::SnapshotSent.encode(),
        agent::encode_hello(),
        agent::encode_ack("no"),
    ]
}

fn dns_message(bytes: &[u8]) {
    match dns::parse_question(bytes) {
        // An answer must not be taken for a question by whoever gets it.
        Some(Ok(question)) => {
            let reply = Reply::Addresses { alias: None, addresses: vec![[10, 0, 0, 1].into(); 100] };
            for (answer, bound) in [(question.answer(&reply, true), 1400), (question.answer(&reply, false), 65_535)] {
                assert!(answer.len() <= bound, "{} bytes", answer.len());
                assert!(dns::parse_question(&answer).is_none());
            }
        }
        Some(Err(refusal)) => assert!(dns::parse_question(&refusal).is_none()),
        None => {}
    }
}

fn dns_messages() -> Vec<Vec<u8>> {
    let question = |kind: u8, tail: &[u8], additional: u8| {
        let mut bytes = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, additional];
        for label in ["web", "shop", "svc"] {
            bytes.extend(u8::try_from(label.len()));
            bytes.extend(label.as_bytes());
        }
        bytes.extend([0, 0, kind, 0, 1]);
        bytes.extend(tail);
        bytes
    };
    let edns = [0, 0, 41, 16, 0, 0, 0, 0, 0, 0, 0];
    vec![question(1, &[], 0), question(28, &edns, 1), question(16, &[], 0), question(255, &[], 0)]
}

fn resolv_conf(bytes: &[u8]) {
    if let Some(text) = text(bytes) {
        assert!(dns::parse_resolv_conf(text).nameservers.len() <= 3);
    }
}

fn socks5_request(bytes: &[u8]) {
    static RUNTIME: OnceLock<Option<tokio::runtime::Runtime>> = OnceLock::new();
    let runtime = RUNTIME.get_or_init(|| tokio::runtime::Builder::new_current_thread().build().ok());
    let Some(runtime) = runtime else { return };
    runtime.block_on(async {
        let mut stream = tokio::io::join(bytes, tokio::io::sink());
        if let Ok(destination) = socks5::accept(&mut stream).await {
            assert_ne!(destination.port(), 0);
        }
    });
}

fn socks5_requests() -> Vec<Vec<u8>> {
    vec![
        b"\x05\x01\x00\x05\x01\x00\x01\x0a\x00\x00\x01\x00\x50".to_vec(),
        b"\x05\x02\x00\x02\x05\x01\x00\x03\x03a.b\x01\xbb".to_vec(),
        b"\x05\x01\x00\x05\x01\x00\x04\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01\x00\x50".to_vec(),
    ]
}

fn local_file(bytes: &[u8]) {
    if let Some(text) = text(bytes) {
        let _ = parse_local_file(text);
    }
}

const LOCAL: &str = r#"
workloads:
- {uid: u, name: n, namespace: ns, serviceAccount: s, trustDomain: td, workloadIps: ["10.0.0.1"], protocol: HBONE,
   waypoint: {destination: "ns/wp.example", hboneMtlsPort: 15008}, services: {"ns/a.example": {80: 8080}},
   applicationTunnel: {protocol: PROXY, port: 1}, authorizationPolicies: ["ns/p"], locality: {region: r, zone: z, subzone: s}}
services:
- {name: a, namespace: ns, hostname: a.example, vips: ["/10.1.0.1"], ports: {80: 0}, subjectAltNames: ["spiffe://td/ns/ns/sa/s"],
   loadBalancer: {routingPreferences: [Network, Node], mode: Failover, healthPolicy: AllowAll}, cidrVips: [{cidr: "10.2.0.0/16"}]}
policies:
- {name: p, namespace: ns, scope: WorkloadSelector, action: Deny, rules: [[[{principals: [!Prefix td], notSourceIps: ["10.0.0.0/8"]}]]]}
"#;

fn local_files() -> Vec<Vec<u8>> {
    vec![LOCAL.as_bytes().to_vec(), b"{}".to_vec()]
}

/// What is read is written as it was meant. What is not read still refuses.
fn address(bytes: &[u8]) {
    let _ = refusing_address("ns/a.example", bytes);
    match decode_address(bytes) {
        Ok(Address::Workload(workload)) => {
            let again = decode_address(&encode_workload(&workload));
            assert_eq!(again, Ok(Address::Workload(workload)));
        }
        Ok(Address::Service(service)) => {
            let again = decode_address(&encode_service(&service));
            assert_eq!(again, Ok(Address::Service(service)));
        }
        Err(_) => {}
    }
}

pub(crate) fn addresses() -> Vec<Vec<u8>> {
    let Ok(file) = parse_local_file(LOCAL) else { return Vec::new() };
    file.workloads.iter().map(encode_workload).chain(file.services.iter().map(encode_service)).collect()
}

fn policy(bytes: &[u8]) {
    if let Ok(name) = "ns/p".parse() {
        let _ = refusing_policy(&name, bytes);
    }
    if let Ok(read) = decode_policy(bytes) {
        assert_eq!(decode_policy(&encode_policy(&read)), Ok(read));
    }
}

fn policies() -> Vec<Vec<u8>> {
    parse_local_file(LOCAL).map(|file| file.policies.iter().map(encode_policy).collect()).unwrap_or_default()
}

/// Whatever is signed is signed for the identity that the caller may have, and no other.
fn certificate_request(bytes: &[u8]) {
    static AUTHORITY: OnceLock<Option<Authority>> = OnceLock::new();
    let authority = AUTHORITY.get_or_init(|| {
        let domain = parse_trust_domain("td.test").ok()?;
        Authority::ephemeral(domain, Rules::default(), std::sync::Arc::new(SystemClock)).ok()
    });
    let (Some(authority), Some(text)) = (authority, text(bytes)) else { return };
    let Ok(id) = mesh_core::name::parse_spiffe_id("spiffe://td.test/ns/a/sa/b") else { return };
    if let Ok(chain) = authority.issue(text, &id, Some(Duration::from_secs(3600)), &Names::default()) {
        let bundles = BundleSet::default().with(authority.bundle().clone());
        let peer = verify::peer(Some(&chain), &bundles, Purpose::Client, SystemClock.now());
        assert_eq!(peer.ok().map(|peer| peer.id().clone()), Some(id));
    }
}

fn certificate_requests() -> Vec<Vec<u8>> {
    vec![REQUEST.to_vec()]
}

fn bundle(bytes: &[u8]) {
    let Ok(domain) = parse_trust_domain("td.test") else { return };
    if let Ok(read) = Bundle::from_pem(domain.clone(), bytes) {
        assert_eq!(Bundle::from_pem(domain, read.to_pem().as_bytes()).ok().as_ref(), Some(&read));
    }
}

fn bundles() -> Vec<Vec<u8>> {
    let pem = parse_trust_domain("td.test")
        .ok()
        .and_then(|domain| Authority::ephemeral(domain, Rules::default(), std::sync::Arc::new(SystemClock)).ok());
    pem.map(|authority| authority.bundle().to_pem().into_bytes()).into_iter().collect()
}

fn revocations(bytes: &[u8]) {
    if let Ok(read) = Revocations::parse(bytes) {
        assert!(!read.is_empty());
    }
}

/// A request for P-256, made once by openssl.
const REQUEST: &[u8] = include_bytes!("../seeds/request.pem");

/// A revocation list, made once by openssl.
const CRL: &[u8] = include_bytes!("../seeds/crl.pem");
