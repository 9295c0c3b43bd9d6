use std::sync::{Arc, Mutex};

use envoy_types::pb::envoy::config::core::v3::address::Address as Place;
use envoy_types::pb::envoy::config::core::v3::{HeaderValue as WireValue, HeaderValueOption, QueryParameter};
use envoy_types::pb::envoy::service::auth::v3::attribute_context::{Peer as WirePeer, TlsSession};
use envoy_types::pb::envoy::service::auth::v3::authorization_server::{Authorization, AuthorizationServer};
use envoy_types::pb::envoy::service::auth::v3::check_response::HttpResponse;
use envoy_types::pb::envoy::service::auth::v3::{
    AttributeContext, CheckRequest, CheckResponse, DeniedHttpResponse, OkHttpResponse,
};
use envoy_types::pb::envoy::r#type::v3::HttpStatus;
use envoy_types::pb::google::protobuf::{BoolValue, Timestamp};
use envoy_types::pb::google::rpc::Status as RpcStatus;
use mesh_core::companion::HeaderEdit;
use mesh_core::companion::ext_authz::{
    Allowance, Authorizer, CheckedBody, Decision, ExternalAuthorization, ExternalAuthz, QueryEdits, Refusal,
    Service as AskedBy,
};
use mesh_core::filter::{Connection, Exchange, FilterLayer, PeerNames};
use mesh_core::route::AppendAction;
use prost::Message;
use serde_json::{Map, json};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::metadata::MetadataMap;
use tonic::transport::Server;
use tonic::{Request as Call, Response as Answer, Status};
use tower::{Layer, ServiceExt};

use super::*;
use crate::companion::GrpcAuthorizer;
use crate::pb::structure;

/// Answers with what it is told to, and keeps what it was asked.
#[derive(Debug, Clone)]
struct Scripted {
    answer: Result<CheckResponse, Status>,
    asked: Arc<Mutex<Vec<(MetadataMap, CheckRequest)>>>,
}

#[tonic::async_trait]
impl Authorization for Scripted {
    async fn check(&self, call: Call<CheckRequest>) -> Result<Answer<CheckResponse>, Status> {
        let (metadata, _, message) = call.into_parts();
        self.asked.lock().unwrap().push((metadata, message));
        self.answer.clone().map(Answer::new)
    }
}

fn scripted(answer: CheckResponse) -> Scripted {
    Scripted { answer: Ok(answer), asked: Arc::default() }
}

fn status(code: i32) -> Option<RpcStatus> {
    Some(RpcStatus { code, ..RpcStatus::default() })
}

fn option(name: &str, value: &str, append: Option<bool>, action: i32) -> HeaderValueOption {
    #[expect(deprecated, reason = "servers say it in the old way too")]
    HeaderValueOption {
        header: Some(WireValue { key: name.into(), value: value.into(), raw_value: Vec::new() }),
        append: append.map(|value| BoolValue { value }),
        append_action: action,
        ..HeaderValueOption::default()
    }
}

/// What an authorizer in memory says.
async fn decided(answer: CheckResponse) -> Result<Decision, CompanionError> {
    let server = AuthorizationServer::new(scripted(answer));
    GrpcAuthorizer::new(server, &grpc(), now).check(check()).await
}

/// What it was asked.
async fn asked(service: &GrpcService, check: Check) -> (MetadataMap, AttributeContext) {
    let script = scripted(CheckResponse::default());
    let server = AuthorizationServer::new(script.clone());
    GrpcAuthorizer::new(server, service, now).check(check).await.unwrap();
    let (metadata, message) = script.asked.lock().unwrap().pop().unwrap();
    (metadata, message.attributes.unwrap())
}

#[tokio::test(start_paused = true)]
async fn status_and_answer_decide_together() {
    let denied = |code, body: &str| {
        HttpResponse::DeniedResponse(DeniedHttpResponse {
            status: Some(HttpStatus { code }),
            headers: vec![option("x-a", "1", None, 0), option("x-b", "2", Some(true), 0)],
            body: body.into(),
        })
    };
    let refusal = |status| {
        let headers = vec![HeaderEdit::set("x-a", "1"), HeaderEdit::append("x-b", "2")];
        Refusal { status, headers, body: "no".into(), ..Refusal::default() }
    };
    let ok = || HttpResponse::OkResponse(OkHttpResponse::default());
    let failed = || {
        let HttpResponse::DeniedResponse(response) = denied(502, "no") else { panic!("it is denied") };
        HttpResponse::ErrorResponse(response)
    };
    let pass = || Ok(Decision::Allow(Allowance::default()));
    let plain = || Ok(Decision::Deny(Refusal::default()));
    for (code, response, expected) in [
        (None, None, pass()),
        (status(0), None, pass()),
        (status(0), Some(ok()), pass()),
        (status(7), None, plain()),
        // Who says that it may not pass is believed, whatever else is said.
        (status(7), Some(ok()), plain()),
        (status(-1), None, plain()),
        (status(16), Some(denied(401, "no")), Ok(Decision::Deny(refusal(Some(401))))),
        (status(7), Some(denied(0, "no")), Ok(Decision::Deny(refusal(None)))),
        (status(7), Some(denied(-1, "no")), Ok(Decision::Deny(refusal(Some(u16::MAX))))),
        (status(7), Some(denied(70_000, "no")), Ok(Decision::Deny(refusal(Some(u16::MAX))))),
        (status(13), Some(failed()), Ok(Decision::Fail(refusal(Some(502))))),
        (status(0), Some(failed()), Ok(Decision::Fail(refusal(Some(502))))),
    ] {
        let answer = CheckResponse { status: code.clone(), http_response: response.clone(), ..Default::default() };
        assert_eq!(decided(answer).await, expected, "{code:?} {response:?}");
    }
    let odd = CheckResponse { status: status(0), http_response: Some(denied(403, "")), ..Default::default() };
    assert!(matches!(decided(odd).await, Err(CompanionError::Invalid { field: "denied_response", .. })));
}

#[tokio::test(start_paused = true)]
async fn an_allowance_is_read_whole() {
    #[expect(deprecated, reason = "servers set the old field too")]
    let ok = |old: Option<_>| OkHttpResponse {
        headers: vec![
            option("a", "1", None, 0),
            option("b", "2", Some(true), 0),
            option("c", "3", Some(false), 1),
            option("d", "4", None, 1),
            option("e", "5", None, 2),
            option("f", "6", None, 3),
        ],
        headers_to_remove: vec!["g".into()],
        dynamic_metadata: old,
        response_headers_to_add: vec![
            option("h", "7", None, 0),
            option("i", "8", Some(false), 0),
            HeaderValueOption {
                header: Some(WireValue { key: "j".into(), value: String::new(), raw_value: vec![0xff] }),
                ..HeaderValueOption::default()
            },
        ],
        query_parameters_to_set: vec![QueryParameter { key: "k".into(), value: "9".into() }],
        query_parameters_to_remove: vec!["l".into()],
    };
    let edit = |name: &str, value: &'static [u8], action| HeaderEdit { name: name.into(), value: value.into(), action };
    let said = |key: &str| Map::from_iter([(key.to_owned(), json!({"deep": [1.5, true, null, "x"]}))]);
    for (old, metadata) in [(None, "new"), (Some(structure(said("old"))), "old")] {
        let answer = CheckResponse {
            status: status(0),
            dynamic_metadata: Some(structure(said("new"))),
            http_response: Some(HttpResponse::OkResponse(ok(old))),
        };
        let expected = Allowance {
            remove: vec!["g".into()],
            request: vec![
                edit("a", b"1", AppendAction::OverwriteIfExistsOrAdd),
                edit("b", b"2", AppendAction::AppendIfExistsOrAdd),
                edit("c", b"3", AppendAction::OverwriteIfExistsOrAdd),
                edit("d", b"4", AppendAction::AddIfAbsent),
                edit("e", b"5", AppendAction::OverwriteIfExistsOrAdd),
                edit("f", b"6", AppendAction::OverwriteIfExists),
            ],
            query: QueryEdits { set: vec![("k".into(), "9".into())], remove: vec!["l".into()] },
            response: vec![
                edit("h", b"7", AppendAction::AppendIfExistsOrAdd),
                edit("i", b"8", AppendAction::OverwriteIfExistsOrAdd),
                edit("j", b"\xff", AppendAction::AppendIfExistsOrAdd),
            ],
            metadata: said(metadata),
        };
        assert_eq!(decided(answer).await, Ok(Decision::Allow(expected)));
    }
    for (bad, field) in [
        (OkHttpResponse { headers: vec![HeaderValueOption::default()], ..Default::default() }, "headers"),
        (OkHttpResponse { headers: vec![option("a", "b", None, 9)], ..Default::default() }, "headers"),
        (
            OkHttpResponse { response_headers_to_add: vec![option("a", "b", None, -1)], ..Default::default() },
            "response_headers_to_add",
        ),
    ] {
        let http_response = Some(HttpResponse::OkResponse(bad));
        let answer = CheckResponse { status: status(0), http_response, ..Default::default() };
        let Err(CompanionError::Invalid { field: named, .. }) = decided(answer).await else {
            panic!("it is no answer")
        };
        assert_eq!(named, field);
    }
}

fn header(name: &str, value: &'static [u8]) -> (mesh_core::name::Text, Bytes) {
    (name.into(), Bytes::from_static(value))
}

#[tokio::test(start_paused = true)]
async fn a_question_has_all_attributes() {
    let mut full = check();
    full.headers = vec![
        header(":path", b"/cart"),
        header("a", b"1"),
        header("cookie", b"x=1"),
        header("a", b"2"),
        header("cookie", b"y=2"),
        header("x-envoy-downstream-service-cluster", b"web"),
        header("odd", b"a\xffb"),
    ];
    full.source.certificate = Some(Bytes::from(vec![0xab; 50]));
    full.id = "r1".into();
    full.size = Some(5);
    full.context = [("k".into(), "v".into())].into();
    full.metadata.set("jwt", "sub", json!("alice"));
    full.server_name = Some("shop".into());
    full.body = Some(CheckedBody { bytes: Bytes::from_static(b"he\xffo"), partial: false, as_bytes: false });

    let (_, attributes) = asked(&grpc(), full.clone()).await;
    let AttributeContext { source, destination, request, context_extensions, metadata_context, tls_session, .. } =
        attributes;
    let source = source.unwrap();
    let place = |peer: &WirePeer| {
        let Some(Place::SocketAddress(socket)) = peer.address.clone().unwrap().address else {
            panic!("it is a socket")
        };
        use envoy_types::pb::envoy::config::core::v3::socket_address::PortSpecifier::PortValue;
        let Some(PortValue(port)) = socket.port_specifier else { panic!("it has a port") };
        (socket.address, port)
    };
    assert_eq!(place(&source), ("10.0.0.1".into(), 4711));
    assert_eq!(place(&destination.unwrap()), ("2001:db8::1".into(), 80));
    assert_eq!((source.principal.as_str(), source.service.as_str()), ("spiffe://d/web", "web"));
    let certificate = percent_encoding::percent_decode_str(&source.certificate).decode_utf8().unwrap();
    let lines: Vec<_> = certificate.lines().collect();
    assert_eq!((lines[0], lines[3]), ("-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"));
    assert_eq!((lines[1].len(), lines[2]), (64, "q6s="));
    assert!(!source.certificate.contains(['\n', ' ', '+', '/', '=']));
    assert_eq!(context_extensions, [("k".to_owned(), "v".to_owned())].into());
    assert_eq!(tls_session, Some(TlsSession { sni: "shop".into() }));
    let told = metadata_context.unwrap().filter_metadata;
    assert_eq!(told, [("jwt".to_owned(), structure(Map::from_iter([("sub".to_owned(), json!("alice"))])))].into());
    let request = request.unwrap();
    assert_eq!(request.time, Some(Timestamp { seconds: 1_700_000_000, nanos: 5 }));
    let http = request.http.unwrap();
    let texts =
        [&http.id, &http.method, &http.path, &http.host, &http.scheme, &http.protocol, &http.query, &http.fragment];
    assert_eq!(texts, ["r1", "POST", "/cart?item=7", "shop.example", "https", "HTTP/2", "", ""]);
    assert_eq!((http.size, http.body.as_str(), http.raw_body.len()), (5, "he!o", 0));
    let headers = [
        (":path", "/cart"),
        ("a", "1,2"),
        ("cookie", "x=1; y=2"),
        ("x-envoy-downstream-service-cluster", "web"),
        ("odd", "a!b"),
    ];
    assert_eq!(http.headers, headers.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
    assert_eq!(http.header_map, None);

    full.raw_headers = true;
    full.size = None;
    full.body = Some(CheckedBody { bytes: Bytes::from_static(b"he\xffo"), partial: false, as_bytes: true });
    let (_, attributes) = asked(&grpc(), full.clone()).await;
    let http = attributes.request.unwrap().http.unwrap();
    assert_eq!((http.size, http.body.as_str(), &http.raw_body[..]), (-1, "", &b"he\xffo"[..]));
    let raw: Vec<_> = http.header_map.unwrap().headers.into_iter().map(|value| (value.key, value.raw_value)).collect();
    let expected: Vec<_> = full.headers.iter().map(|(name, value)| (name.to_string(), value.to_vec())).collect();
    assert_eq!((raw, http.headers.len()), (expected, 0));
}

#[tokio::test(start_paused = true)]
async fn a_call_has_a_deadline_and_what_the_settings_add() {
    let metadata = vec![("x-key".parse().unwrap(), HeaderValue::from_static("secret"))];
    let (sent, _) = asked(&GrpcService { metadata, ..grpc() }, check()).await;
    assert_eq!(sent.get("x-key").unwrap(), "secret");
    assert_eq!(sent.get("grpc-timeout").unwrap(), "200000u");
    let (sent, _) = asked(&GrpcService { timeout: None, ..grpc() }, check()).await;
    assert_eq!(sent.get("grpc-timeout"), None);
}

#[tokio::test(start_paused = true)]
async fn calls_are_addressed_to_the_cluster_unless_something_else_is_said() {
    let addressed = async |service: &GrpcService| {
        let seen = Arc::new(Mutex::new(None));
        let keep = Arc::clone(&seen);
        let transport = service_fn(move |request: Request<Body>| {
            *keep.lock().unwrap() = Some(request.uri().to_string());
            std::future::ready(Err::<Response<Body>, _>(std::io::Error::other("enough")))
        });
        let _ = GrpcAuthorizer::new(transport, service, now).check(check()).await;
        seen.lock().unwrap().take().unwrap()
    };
    let path = "/envoy.service.auth.v3.Authorization/Check";
    assert_eq!(addressed(&grpc()).await, format!("http://companion{path}"));
    let named = GrpcService { authority: "opa.example:9191".into(), ..grpc() };
    assert_eq!(addressed(&named).await, format!("http://opa.example:9191{path}"));
    let odd = GrpcService::new("outbound|9000||opa.local", None);
    assert_eq!(addressed(&odd).await, path);
}

#[tokio::test(start_paused = true)]
async fn bad_answers_are_typed_errors_in_time() {
    for (what, transport, expected) in
        bad_calls(&CheckResponse { status: status(7), ..Default::default() }.encode_to_vec())
    {
        let begun = tokio::time::Instant::now();
        let answer = GrpcAuthorizer::new(transport, &grpc(), now).check(check()).await;
        assert!(expected(answer.as_ref().unwrap_err()), "{what}: {answer:?}");
        assert!(begun.elapsed() <= LIMIT, "{what}");
    }
    let long = Scripted { answer: Err(Status::internal("x".repeat(10_000))), asked: Arc::default() };
    let answer = GrpcAuthorizer::new(AuthorizationServer::new(long), &grpc(), now).check(check()).await;
    let Err(CompanionError::Unavailable(reason)) = answer else { panic!("it failed") };
    assert_eq!(reason.len(), 256);
}

#[tokio::test(start_paused = true)]
async fn without_a_timeout_it_waits_as_long_as_it_takes() {
    let slow = service_fn(|_: Request<Body>| async {
        tokio::time::sleep(Duration::from_secs(86_400)).await;
        Ok::<_, std::io::Error>(grpc_response(frames(vec![data(&framed(&[])), trailers("0")], false)))
    });
    let patient = GrpcService { timeout: None, ..grpc() };
    let answer = GrpcAuthorizer::new(slow, &patient, now).check(check()).await;
    assert_eq!(answer, Ok(Decision::Allow(Allowance::default())));
}

#[tokio::test]
async fn over_a_socket_a_request_passes_or_not() {
    let refusal = DeniedHttpResponse {
        status: Some(HttpStatus { code: 401 }),
        headers: vec![option("www-authenticate", "Bearer", None, 0)],
        body: "who?".into(),
    };
    let http_response = Some(HttpResponse::DeniedResponse(refusal));
    let script = scripted(CheckResponse { status: status(16), http_response, ..Default::default() });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = Server::builder().add_service(AuthorizationServer::new(script.clone()));
    let server = server.serve_with_incoming(TcpListenerStream::new(listener));
    let ask = async {
        let service = GrpcService { timeout: Some(Duration::from_secs(30)), ..grpc() };
        let authorizer = GrpcAuthorizer::new(channel(address), &service, now);
        let settings = ExternalAuthz::new(AskedBy::Grpc(service));
        let filter = FilterLayer::new(ExternalAuthorization::new(settings, Arc::new(authorizer)));
        let shop = service_fn(async |_| Ok::<_, Infallible>(Response::new(Body::empty())));
        let mut request = Request::get("http://shop.example/cart").body(Body::empty()).unwrap();
        let peer = PeerNames { uris: vec!["spiffe://d/web".into()], ..PeerNames::default() };
        let connection = Connection::new("10.0.0.1:1".parse().unwrap(), "10.0.0.2:80".parse().unwrap());
        let connection = Connection { peer: Some(peer), tls: true, ..connection };
        request.extensions_mut().insert(Exchange::new(Arc::new(connection)));
        filter.layer(shop).oneshot(request).await.unwrap()
    };
    let response = tokio::select! {
        _ = server => panic!("the server ended"),
        response = ask => response,
    };
    assert_eq!(
        (response.status().as_u16(), &response.headers()["www-authenticate"]),
        (401, &"Bearer".parse().unwrap())
    );
    let (_, asked) = script.asked.lock().unwrap().pop().unwrap();
    assert_eq!(asked.attributes.unwrap().source.unwrap().principal, "spiffe://d/web");
}

#[tokio::test]
async fn over_a_socket_bad_peers_are_typed_errors() {
    let closes = raw_peer(b"", false).await;
    let speaks_http1 = raw_peer(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n", true).await;
    let silent = raw_peer(b"", true).await;
    for ((address, serve), late) in [(closes, false), (speaks_http1, false), (silent, true)] {
        let authorizer = GrpcAuthorizer::new(channel(address), &grpc(), now);
        let answer = tokio::select! {
            () = serve => panic!("the peer ended"),
            answer = authorizer.check(check()) => answer,
        };
        let expected = match answer.as_ref().unwrap_err() {
            CompanionError::Timeout(limit) => late && *limit == LIMIT,
            CompanionError::Unavailable(_) => !late,
            _ => false,
        };
        assert!(expected, "{address}: {answer:?}");
    }
}
