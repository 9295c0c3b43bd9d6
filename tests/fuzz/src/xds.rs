//! Decoders of discovery: Envoy's resources, names, bootstraps, and what both sides of a stream read.

use std::collections::BTreeMap;
use std::fmt::Debug;

use mesh_core::authn::{Authentication, JwtRule, RequestAuthentication, RuleKeys};
use mesh_core::balance::{
    Assignment, Cluster, Discovery, Endpoint, LocalityEndpoints, OutlierSettings, Policy, RingHash,
};
use mesh_core::listener::{
    HttpFilter, HttpFilterKind, HttpManager, Listener, ListenerKind, RouteSource, SocketListener,
};
use mesh_core::name::{Locality, NamespacedName};
use mesh_core::request::{Condition, HeaderMatch};
use mesh_core::route::{
    Action, Forward, HashKey, HashPolicy, PathMatch, RetryOn, RetryPolicy, Route, RouteConfig, RouteMatch, RouteTable,
    VirtualHost,
};
use mesh_core::string_match::{Pattern, Regex};
use mesh_xds::client::bootstrap::Bootstrap;
use mesh_xds::client::first_field;
use mesh_xds::client::machine::{Interest, Machine, Rejected, Request, Response, ServerTraits, Variant};
use mesh_xds::envoy::cluster::{decode_cluster, encode_cluster};
use mesh_xds::envoy::endpoint::{decode_assignment, encode_assignment};
use mesh_xds::envoy::listener::{decode_listener, encode_listener};
use mesh_xds::envoy::route::{decode_route_table, encode_route_table};
use mesh_xds::envoy::tls::{decode_secret, encode_secret};
use mesh_xds::envoy::{CLUSTER_TYPE, Decoded, Error};
use mesh_xds::pb::discovery::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse, Resource,
};
use mesh_xds::pb::{Any, Node};
use mesh_xds::resource::ResourceName;
use mesh_xds::server::{Cache, Change, Entry, machine, sotw};
use mesh_xds::workload::ADDRESS_TYPE;
use prost::Message;

use crate::Target;
use crate::targets::addresses;

pub(crate) const LISTENER: Target = Target { name: "envoy_listener", run: listener, seeds: listeners };
pub(crate) const ROUTES: Target = Target { name: "envoy_routes", run: routes, seeds: tables };
pub(crate) const CLUSTER: Target = Target { name: "envoy_cluster", run: cluster, seeds: clusters };
pub(crate) const ENDPOINTS: Target = Target { name: "envoy_endpoints", run: endpoints, seeds: assignments };
pub(crate) const SECRET: Target = Target { name: "envoy_secret", run: secret, seeds: secrets };
pub(crate) const NAME: Target = Target { name: "resource_name", run: name, seeds: names };
pub(crate) const BOOTSTRAP: Target = Target { name: "grpc_bootstrap", run: bootstrap, seeds: bootstraps };
pub(crate) const RESPONSES: Target = Target { name: "discovery_response", run: response, seeds: responses };
pub(crate) const REQUESTS: Target = Target { name: "discovery_request", run: request, seeds: requests };

/// What is read is written as it was meant: it is read again, equal and without a warning.
fn both_ways<T: Debug + PartialEq>(
    bytes: &[u8],
    decode: fn(&[u8]) -> Result<Decoded<T>, Error>,
    encode: fn(&T) -> Vec<u8>,
) {
    match decode(bytes) {
        Ok(decoded) => {
            let again = decode(&encode(&decoded.value));
            assert_eq!(again, Ok(Decoded { value: decoded.value, warnings: Vec::new() }));
        }
        Err(error) => assert!(error.to_string().len() < bytes.len() + 10_000, "an error without bound"),
    }
}

fn listener(bytes: &[u8]) {
    both_ways(bytes, decode_listener, encode_listener);
}

fn listeners() -> Vec<Vec<u8>> {
    let manager = HttpManager::new(RouteSource::Inline(Box::new(table())));
    let api = Listener { name: "api".into(), kind: ListenerKind::Api(Box::new(manager)) };
    let socket = SocketListener::new(([127, 0, 0, 1], 80).into());
    let socket = Listener { name: "socket".into(), kind: ListenerKind::Socket(Box::new(socket)) };
    let rule = JwtRule::new("https://i/", RuleKeys::Uri("https://i/keys".into()));
    let policy = RequestAuthentication { name: NamespacedName::new("n", "p"), rules: vec![rule.clone(), rule] };
    let mut secured = HttpManager::new(RouteSource::Rds("r".into()));
    secured.filters.extend(Authentication::of_policies([&policy], true).map(|authn| HttpFilter {
        name: "jwt".into(),
        kind: HttpFilterKind::Authn(Box::new(authn)),
        disabled: false,
    }));
    let secured = Listener { name: "secured".into(), kind: ListenerKind::Api(Box::new(secured)) };
    vec![encode_listener(&api), encode_listener(&socket), encode_listener(&secured)]
}

fn routes(bytes: &[u8]) {
    both_ways(bytes, decode_route_table, encode_route_table);
}

fn table() -> RouteTable {
    let mut forward = Forward::to("a");
    forward.retry = Some(RetryPolicy { on: RetryOn::GRPC_UNAVAILABLE, retries: 2, ..RetryPolicy::default() });
    forward.hash = "x-user"
        .parse()
        .map(|name| vec![HashPolicy { key: HashKey::Header { name, rewrite: None }, terminal: true }])
        .unwrap_or_default();
    let mut special = Route::new(RouteMatch::new(PathMatch::prefix("/x")), Action::Forward(Box::new(forward)));
    if let (Ok(name), Ok(regex)) = ("x-tenant".parse(), Regex::new("a|b+")) {
        special.matcher.headers.push(HeaderMatch::new(name, Condition::Text(Pattern::Regex(regex))));
    }
    let general = Route::new(RouteMatch::new(PathMatch::prefix("")), Action::Forward(Box::new(Forward::to("b"))));
    let host = |name: &str, domain: &str| VirtualHost {
        name: name.into(),
        domains: vec![domain.into()],
        routes: vec![special.clone(), general.clone()],
        ..VirtualHost::default()
    };
    let hosts = vec![host("one", "*.shop"), host("two", "*")];
    match RouteTable::new(RouteConfig { name: "r".into(), hosts, ..RouteConfig::default() }) {
        Ok(table) => table,
        Err(error) => panic!("the seed is no table: {error}"),
    }
}

fn tables() -> Vec<Vec<u8>> {
    vec![encode_route_table(&table())]
}

fn cluster(bytes: &[u8]) {
    both_ways(bytes, decode_cluster, encode_cluster);
}

fn clusters() -> Vec<Vec<u8>> {
    let mut by_name = Cluster::new("a", Discovery::Eds { service_name: Some("b".into()) });
    by_name.policy = Policy::RingHash(RingHash::default());
    by_name.outlier = Some(OutlierSettings::default());
    let fixed = Cluster::new("c", Discovery::Static(assignment()));
    let all = Cluster::new("d", Discovery::Aggregate(vec!["a".into(), "c".into()]));
    [by_name, fixed, all].iter().map(encode_cluster).collect()
}

fn endpoints(bytes: &[u8]) {
    both_ways(bytes, decode_assignment, encode_assignment);
}

fn assignment() -> Assignment {
    let at = |last| Endpoint::new(([10, 0, 0, last], 80).into());
    let locality = |name: &str, priority| LocalityEndpoints {
        priority,
        ..LocalityEndpoints::new(Locality::new(name, "z", ""), vec![at(1), at(2)])
    };
    Assignment::new("a", vec![locality("near", 0), locality("far", 1)])
}

fn assignments() -> Vec<Vec<u8>> {
    vec![encode_assignment(&assignment())]
}

fn secret(bytes: &[u8]) {
    both_ways(bytes, decode_secret, encode_secret);
}

/// Field by field: a name, and a certificate with a key, both inline.
fn secrets() -> Vec<Vec<u8>> {
    #[derive(Clone, PartialEq, Message)]
    struct Source {
        #[prost(bytes = "vec", tag = "2")]
        inline: Vec<u8>,
    }
    #[derive(Clone, PartialEq, Message)]
    struct Certificate {
        #[prost(message, optional, tag = "1")]
        chain: Option<Source>,
        #[prost(message, optional, tag = "2")]
        key: Option<Source>,
    }
    #[derive(Clone, PartialEq, Message)]
    struct Secret {
        #[prost(string, tag = "1")]
        name: String,
        #[prost(message, optional, tag = "2")]
        certificate: Option<Certificate>,
    }
    let source = |text: &str| Some(Source { inline: text.as_bytes().to_vec() });
    let certificate = Some(Certificate { chain: source("chain"), key: source("key") });
    vec![Secret { name: "s".into(), certificate }.encode_to_vec()]
}

/// A name has one normal form.
fn name(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(name) = text.parse::<ResourceName>() {
        assert_eq!(name.to_string().parse(), Ok(name));
    }
}

fn names() -> Vec<Vec<u8>> {
    let names = ["plain", "xdstp://a/t.T/b/c?x=1&y=%20", "xdstp:///t/x#alt=1"];
    names.iter().map(|name| name.as_bytes().to_vec()).collect()
}

fn bootstrap(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(bootstrap) = Bootstrap::parse(text) {
        assert!(bootstrap.authorities.values().all(|authority| authority.group < bootstrap.groups.len()));
        let _ = bootstrap.listener("xds:///shop");
    }
}

fn bootstraps() -> Vec<Vec<u8>> {
    let text = r#"{"xds_servers": [{"server_uri": "a:1", "channel_creds": [{"type": "tls", "config": {}}]}],
        "node": {"id": "n", "metadata": {"a": [1, null]}}, "authorities": {"x": {"xds_servers": []}}}"#;
    vec![text.as_bytes().to_vec()]
}

/// Of the last byte: which variant it is.
fn variant(bytes: &[u8]) -> (Variant, &[u8]) {
    match bytes.split_last() {
        Some((last, rest)) if last % 2 == 1 => (Variant::StateOfTheWorld, rest),
        Some((_, rest)) => (Variant::Delta, rest),
        None => (Variant::Delta, bytes),
    }
}

/// A client says one thing to each response that it asked for, whatever it holds.
fn response(bytes: &[u8]) {
    let (variant, bytes) = variant(bytes);
    let mut client = Machine::new(Node::default(), vec![ServerTraits::new("", variant)]);
    for url in [ADDRESS_TYPE, CLUSTER_TYPE] {
        client.want(url, Interest::All);
    }
    client.handle_opened(0);
    let now = tokio::time::Instant::now().into_std();
    while client.poll_request(0, now).is_some() {}
    for part in bytes.split(|byte| *byte == 0xff) {
        let response = match variant {
            Variant::Delta => DeltaDiscoveryResponse::decode(part).map(Response::Delta),
            Variant::StateOfTheWorld => DiscoveryResponse::decode(part).map(Response::StateOfTheWorld),
        };
        let Ok(response) = response else { continue };
        let Some(update) = client.handle_response(0, response, |_, body| first_field(body)) else { continue };
        // Every second one is no good.
        let bad = update.upserts.iter().step_by(2);
        let rejected: Vec<Rejected> =
            bad.map(|one| Rejected { name: one.name.clone(), reason: "bad".into() }).collect();
        let reason = client.handle_applied(&update, &rejected, now);
        let said = match client.poll_request(0, now) {
            Some(Request::Delta(request)) => request.error_detail,
            Some(Request::StateOfTheWorld(request)) => request.error_detail,
            None => panic!("an answer is due"),
        };
        assert_eq!(said.map(|detail| detail.message), reason);
        assert!(client.poll_request(0, now).is_none(), "one answer to one response");
        let _ = client.handle_timeout(now);
    }
}

fn responses() -> Vec<Vec<u8>> {
    let resource = |body: Vec<u8>| Resource {
        name: "u".into(),
        version: "1".into(),
        aliases: vec!["/10.0.0.1".into()],
        resource: Some(Any { type_url: ADDRESS_TYPE.into(), value: body }),
        ..Default::default()
    };
    let mut delta = DeltaDiscoveryResponse {
        type_url: ADDRESS_TYPE.into(),
        resources: addresses().into_iter().map(resource).collect(),
        removed_resources: vec!["gone".into()],
        nonce: "n".into(),
        ..Default::default()
    }
    .encode_to_vec();
    delta.push(0);
    let any = |value| Any { type_url: CLUSTER_TYPE.into(), value };
    let mut whole = DiscoveryResponse {
        type_url: CLUSTER_TYPE.into(),
        version_info: "1".into(),
        nonce: "n".into(),
        resources: clusters().into_iter().map(any).collect(),
        ..Default::default()
    }
    .encode_to_vec();
    whole.push(1);
    vec![delta, whole]
}

/// A server comes to an end of what it says, whatever it is asked.
fn request(bytes: &[u8]) {
    let (variant, bytes) = variant(bytes);
    let (writer, cache) = Cache::new(&[ADDRESS_TYPE]);
    let entry = Entry::new(vec![1], vec!["/10.0.0.1".into()]).coming_with(vec!["ns/a".into()]);
    writer.apply([(ADDRESS_TYPE, Change::Put("u".into(), entry))]);
    let snapshot = cache.live().snapshot();
    let (mut delta, mut whole) = (machine::Machine::default(), sotw::Machine::default());
    for part in bytes.split(|byte| *byte == 0xff) {
        let taken = match variant {
            Variant::Delta => DeltaDiscoveryRequest::decode(part).map(|request| delta.handle_request(&request).is_ok()),
            Variant::StateOfTheWorld => {
                DiscoveryRequest::decode(part).map(|request| whole.handle_request(&request).is_ok())
            }
        };
        match taken {
            Ok(true) => {}
            Ok(false) => return,
            Err(_) => continue,
        }
        let mut answers = 0;
        while match variant {
            Variant::Delta => delta.poll_response(&snapshot, &[ADDRESS_TYPE], true).is_some(),
            Variant::StateOfTheWorld => whole.poll_response(&snapshot, &[ADDRESS_TYPE], true).is_some(),
        } {
            answers += 1;
            assert!(answers < 100, "answers without end");
        }
    }
}

fn requests() -> Vec<Vec<u8>> {
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let delta = |subscribe: &[&str], unsubscribe: &[&str]| {
        DeltaDiscoveryRequest {
            type_url: ADDRESS_TYPE.into(),
            resource_names_subscribe: names(subscribe),
            resource_names_unsubscribe: names(unsubscribe),
            initial_resource_versions: BTreeMap::from([("u".to_owned(), "0".to_owned())]).into_iter().collect(),
            ..Default::default()
        }
        .encode_to_vec()
    };
    let whole = |list: &[&str], nonce: &str| {
        DiscoveryRequest {
            type_url: ADDRESS_TYPE.into(),
            resource_names: names(list),
            response_nonce: nonce.into(),
            ..Default::default()
        }
        .encode_to_vec()
    };
    let ended = |parts: &[Vec<u8>], last: u8| {
        let mut seed = parts.join(&0xff);
        seed.push(last);
        seed
    };
    vec![
        ended(&[delta(&[], &[])], 0),
        ended(&[delta(&["*"], &["*"]), delta(&["/10.0.0.1", "ns/a"], &[]), delta(&[], &["u"])], 0),
        ended(&[whole(&[], ""), whole(&["u", "*"], "1"), whole(&["u"], "2")], 1),
    ]
}
