//! The client status discovery service over real gRPC: who may ask, which clients are meant, how their resources stand.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    missing_docs,
    unreachable_pub,
    reason = "a test"
)]

mod wire;

use mesh_xds::pb::discovery::DiscoveryRequest;
use mesh_xds::pb::matcher::string_matcher::MatchPattern;
use mesh_xds::pb::matcher::struct_matcher::PathSegment;
use mesh_xds::pb::matcher::struct_matcher::path_segment::Segment;
use mesh_xds::pb::matcher::value_matcher::MatchPattern as ValuePattern;
use mesh_xds::pb::matcher::{NodeMatcher, RegexMatcher, StringMatcher, StructMatcher, ValueMatcher};
use mesh_xds::pb::status::client_config::GenericXdsConfig;
use mesh_xds::pb::status::client_status_discovery_service_client::ClientStatusDiscoveryServiceClient;
use mesh_xds::pb::status::{ClientConfig, ClientStatusRequest, ConfigStatus};
use mesh_xds::pb::{Kind, Node, Status as Detail, Struct, Value};
use mesh_xds::server::Settings;
use tonic::{Code, Status};
use wire::{CLUSTER, Delta, Doors, OTHER, Running, Sotw, ask, by, connect, node, serve};

const SECRET: &str = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret";

async fn fetch(server: &Running, request: ClientStatusRequest) -> Result<Vec<ClientConfig>, Status> {
    let mut client = ClientStatusDiscoveryServiceClient::new(connect(server.address).await);
    Ok(client.fetch_client_status(by("operator", request)).await?.into_inner().config)
}

/// Name, status and accepted version of every resource of the only client, once it is as it should be.
async fn settled(server: &Running, what: impl Fn(&[GenericXdsConfig]) -> bool) -> Vec<GenericXdsConfig> {
    for _ in 0..10_000 {
        let clients = fetch(server, ClientStatusRequest::default()).await.unwrap();
        if let [client] = &clients[..]
            && what(&client.generic_xds_configs)
        {
            return client.generic_xds_configs.clone();
        }
        tokio::task::yield_now().await;
    }
    panic!("{:?}", fetch(server, ClientStatusRequest::default()).await);
}

fn is(config: &GenericXdsConfig, name: &str, status: ConfigStatus) -> bool {
    config.name == name && config.config_status() == status
}

#[tokio::test]
async fn a_resource_from_not_sent_to_accepted_and_rejected() {
    let server = serve(Doors::default(), Settings::default()).await;
    server.put(OTHER, &["a"], 1);
    let mut client = Delta::subscribe(server.address, "c", "n", OTHER, &["a", "none"]).await;
    let first = client.answers.message().await.unwrap().unwrap();
    let configs = settled(&server, |configs| configs.len() == 2 && is(&configs[0], "a", ConfigStatus::Stale)).await;
    assert_eq!(configs[0].version_info, "", "nothing was accepted yet");
    assert_eq!(configs[0].xds_config.as_ref().unwrap().value, [1]);
    assert!(is(&configs[1], "none", ConfigStatus::NotSent));

    client.say(&first, None).await;
    let configs = settled(&server, |configs| is(&configs[0], "a", ConfigStatus::Synced)).await;
    let accepted = first.resources[0].version.clone();
    assert_eq!(configs[0].version_info, accepted);
    let seconds = configs[0].last_updated.as_ref().unwrap().seconds;
    assert!((999_900..=1_000_000).contains(&seconds), "{seconds}");
    assert_eq!(configs[0].error_state, None);

    server.put(OTHER, &["a"], 2);
    let second = client.answers.message().await.unwrap().unwrap();
    client.say(&second, Some("a: malformed")).await;
    let configs = settled(&server, |configs| is(&configs[0], "a", ConfigStatus::Error)).await;
    assert_eq!(configs[0].version_info, accepted, "what the client goes on with");
    let error = configs[0].error_state.as_ref().unwrap();
    assert_eq!((&*error.details, &error.version_info), ("a: malformed", &second.resources[0].version));
    assert!(error.last_update_attempt.is_some());
    assert_eq!(configs[0].xds_config.as_ref().unwrap().value, [2]);

    // Good again, and in the end gone.
    server.put(OTHER, &["a"], 1);
    client.take().await;
    let configs = settled(&server, |configs| is(&configs[0], "a", ConfigStatus::Synced)).await;
    assert_eq!((&configs[0].version_info, &configs[0].error_state), (&accepted, &None));
    drop(client);
    while !fetch(&server, ClientStatusRequest::default()).await.unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn in_the_state_of_the_world_only_what_changed_is_rejected() {
    let server = serve(Doors::default(), Settings::default()).await;
    server.put(CLUSTER, &["a", "b"], 1);
    let request = |nonce: &str| DiscoveryRequest {
        node: node("n"),
        type_url: CLUSTER.into(),
        response_nonce: nonce.into(),
        ..DiscoveryRequest::default()
    };
    let mut client = Sotw::open(server.address, "c", request("")).await;
    let first = client.answers.message().await.unwrap().unwrap();
    settled(&server, |configs| is(&configs[1], "b", ConfigStatus::Stale)).await;
    client.requests.send(request(&first.nonce)).await.unwrap();
    settled(&server, |configs| is(&configs[1], "b", ConfigStatus::Synced)).await;
    server.put(CLUSTER, &["b"], 2);
    let second = client.answers.message().await.unwrap().unwrap();
    assert_eq!(second.resources.len(), 2);
    let error_detail = Some(Detail { code: 3, message: "b: no".into(), details: vec![] });
    client.requests.send(DiscoveryRequest { error_detail, ..request(&second.nonce) }).await.unwrap();
    let configs = settled(&server, |configs| is(&configs[1], "b", ConfigStatus::Error)).await;
    assert!(is(&configs[0], "a", ConfigStatus::Synced));
    assert_eq!(configs[1].error_state.as_ref().unwrap().details, "b: no");
    assert_ne!(configs[1].error_state.as_ref().unwrap().version_info, configs[1].version_info);
    server.put(CLUSTER, &["b"], 1);
    let third = client.answers.message().await.unwrap().unwrap();
    client.requests.send(request(&third.nonce)).await.unwrap();
    settled(&server, |configs| is(&configs[1], "b", ConfigStatus::Synced)).await;
}

#[tokio::test]
async fn contents_are_left_out_on_request_and_secrets_always() {
    let server = serve(Doors::default(), Settings::default()).await;
    server.put(OTHER, &["a"], 1);
    server.put(SECRET, &["key"], 42);
    let mut client = Delta::subscribe(server.address, "c", "n", OTHER, &[]).await;
    client.take().await;
    client.requests.send(ask(SECRET, &["key"])).await.unwrap();
    client.take().await;
    let configs = settled(&server, |configs| configs.len() == 2).await;
    let body = |url: &str| configs.iter().find(|config| config.type_url == url).unwrap().xds_config.is_some();
    assert!(body(OTHER) && !body(SECRET));
    let bare = ClientStatusRequest { exclude_resource_contents: true, ..ClientStatusRequest::default() };
    let clients = fetch(&server, bare).await.unwrap();
    assert!(clients[0].generic_xds_configs.iter().all(|config| config.xds_config.is_none()));
}

fn text(pattern: MatchPattern) -> StringMatcher {
    StringMatcher { ignore_case: false, match_pattern: Some(pattern) }
}

fn id(pattern: MatchPattern) -> NodeMatcher {
    NodeMatcher { node_id: Some(text(pattern)), node_metadatas: vec![] }
}

fn zone(pattern: ValuePattern) -> NodeMatcher {
    let segment = |key: &str| PathSegment { segment: Some(Segment::Key(key.into())) };
    let value = Some(ValueMatcher { match_pattern: Some(pattern) });
    NodeMatcher {
        node_id: None,
        node_metadatas: vec![StructMatcher { path: vec![segment("place"), segment("zone")], value }],
    }
}

#[tokio::test]
async fn clients_are_chosen_by_their_nodes() {
    let server = serve(Doors::default(), Settings::default()).await;
    let mut streams = Vec::new();
    for (name, zone) in [("web-1", Some("a")), ("web-2", Some("b")), ("db-1", None)] {
        let inner = zone.map(|zone| ("zone".to_owned(), Value { kind: Some(Kind::StringValue(zone.to_owned())) }));
        let place = Value { kind: Some(Kind::StructValue(Struct { fields: inner.into_iter().collect() })) };
        let metadata = Struct { fields: [("place".to_owned(), place)].into_iter().collect() };
        let node = Node { id: name.into(), metadata: Some(metadata), ..Node::default() };
        let mut stream = Delta::open(server.address, "c").await.unwrap();
        let first = mesh_xds::pb::discovery::DeltaDiscoveryRequest { node: Some(node), ..ask(OTHER, &[]) };
        stream.requests.send(first).await.unwrap();
        stream.take().await;
        streams.push(stream);
    }
    let regex =
        |source: &str| MatchPattern::SafeRegex(RegexMatcher { regex: source.into(), ..RegexMatcher::default() });
    let both =
        NodeMatcher { node_id: id(MatchPattern::Suffix("2".into())).node_id, ..zone(ValuePattern::PresentMatch(true)) };
    for (matchers, wanted) in [
        (vec![], &["web-1", "web-2", "db-1"][..]),
        (vec![NodeMatcher::default()], &["web-1", "web-2", "db-1"]),
        (vec![id(MatchPattern::Exact("web-1".into()))], &["web-1"]),
        (vec![id(MatchPattern::Prefix("web".into()))], &["web-1", "web-2"]),
        (vec![id(MatchPattern::Suffix("-1".into()))], &["web-1", "db-1"]),
        (vec![id(MatchPattern::Contains("b-".into()))], &["web-1", "web-2", "db-1"]),
        (vec![id(regex("web-[0-9]"))], &["web-1", "web-2"]),
        (vec![id(regex("web"))], &[]),
        (vec![id(MatchPattern::Exact("db-1".into())), id(MatchPattern::Exact("web-2".into()))], &["web-2", "db-1"]),
        (vec![zone(ValuePattern::StringMatch(text(MatchPattern::Exact("a".into()))))], &["web-1"]),
        (vec![zone(ValuePattern::PresentMatch(false))], &["db-1"]),
        (vec![both], &["web-2"]),
    ] {
        let request = ClientStatusRequest { node_matchers: matchers, ..ClientStatusRequest::default() };
        let clients = fetch(&server, request.clone()).await.unwrap();
        let ids: Vec<_> = clients.iter().map(|client| client.node.as_ref().unwrap().id.as_str()).collect();
        assert_eq!(ids, wanted, "{request:?}");
    }
    for bad in [
        id(regex("(")),
        NodeMatcher { node_id: Some(StringMatcher::default()), ..NodeMatcher::default() },
        zone(ValuePattern::NullMatch(Default::default())),
        NodeMatcher { node_metadatas: vec![StructMatcher::default()], ..NodeMatcher::default() },
    ] {
        let request = ClientStatusRequest { node_matchers: vec![bad], ..ClientStatusRequest::default() };
        assert_eq!(fetch(&server, request.clone()).await.unwrap_err().code(), Code::InvalidArgument, "{request:?}");
    }
}

#[tokio::test]
async fn one_answer_per_request_and_only_for_those_who_may() {
    let server = serve(Doors::default(), Settings::default()).await;
    let mut client = ClientStatusDiscoveryServiceClient::new(connect(server.address).await);
    let refused = client.fetch_client_status(by("c", ClientStatusRequest::default())).await.unwrap_err();
    assert_eq!(refused.code(), Code::PermissionDenied);
    let nothing = tokio_stream::iter(vec![ClientStatusRequest::default()]);
    assert_eq!(client.stream_client_status(by("c", nothing)).await.unwrap_err().code(), Code::PermissionDenied);
    let bad = ClientStatusRequest {
        node_matchers: vec![NodeMatcher { node_id: Some(StringMatcher::default()), ..NodeMatcher::default() }],
        ..ClientStatusRequest::default()
    };
    let requests =
        vec![ClientStatusRequest::default(), ClientStatusRequest::default(), bad, ClientStatusRequest::default()];
    let mut answers =
        client.stream_client_status(by("operator", tokio_stream::iter(requests))).await.unwrap().into_inner();
    assert!(answers.message().await.unwrap().is_some());
    assert!(answers.message().await.unwrap().is_some());
    assert_eq!(answers.message().await.unwrap_err().code(), Code::InvalidArgument);
}
