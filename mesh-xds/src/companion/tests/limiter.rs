use std::sync::{Arc, Mutex};

use envoy_types::pb::envoy::config::core::v3::HeaderValue as WireValue;
use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_response::{
    DescriptorStatus as WireStatus, RateLimit as WireLimit,
};
use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_service_server::{
    RateLimitService, RateLimitServiceServer,
};
use envoy_types::pb::envoy::service::ratelimit::v3::{RateLimitRequest, RateLimitResponse};
use envoy_types::pb::google::protobuf::Duration as Span;
use mesh_core::companion::HeaderEdit;
use mesh_core::companion::rate_limit::{
    CurrentLimit, Descriptor, DescriptorStatus, GlobalRateLimit, GlobalRateLimiting, Question, RateLimiter, Ruling,
};
use mesh_core::filter::FilterLayer;
use mesh_core::route::{DescriptorAction, Quota, RateLimit, RateUnit};
use prost::Message;
use serde_json::{Map, json};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;
use tonic::{Request as Call, Response as Answer, Status};
use tower::{Layer, ServiceExt};

use super::*;
use crate::companion::GrpcRateLimiter;
use crate::pb::structure;

#[derive(Debug, Clone)]
struct Scripted {
    answer: RateLimitResponse,
    asked: Arc<Mutex<Vec<RateLimitRequest>>>,
}

#[tonic::async_trait]
impl RateLimitService for Scripted {
    async fn should_rate_limit(&self, call: Call<RateLimitRequest>) -> Result<Answer<RateLimitResponse>, Status> {
        self.asked.lock().unwrap().push(call.into_inner());
        Ok(Answer::new(self.answer.clone()))
    }
}

fn descriptor(value: &str) -> Descriptor {
    Descriptor { entries: vec![("k".into(), value.into())], ..Descriptor::default() }
}

fn question(descriptors: Vec<Descriptor>) -> Question {
    Question { domain: "shop".into(), descriptors }
}

/// What the service says, and what it was asked.
async fn ask(question: Question, answer: RateLimitResponse) -> (Result<Ruling, CompanionError>, RateLimitRequest) {
    let script = Scripted { answer, asked: Arc::default() };
    let ruling = GrpcRateLimiter::new(RateLimitServiceServer::new(script.clone()), &grpc()).ask(question).await;
    let asked = script.asked.lock().unwrap().pop().unwrap();
    (ruling, asked)
}

#[tokio::test(start_paused = true)]
async fn a_question_is_sent_whole() {
    let plain = descriptor("a");
    let mut full = descriptor("b");
    full.entries.push(("l".into(), "c".into()));
    full.limit = Some(Quota { requests: 7, unit: RateUnit::Week });
    full.hits = Some(0);
    full.negative = true;
    let ok = RateLimitResponse { overall_code: 1, ..RateLimitResponse::default() };
    let (_, asked) = ask(question(vec![plain, full]), ok).await;
    assert_eq!((asked.domain.as_str(), asked.hits_addend, asked.descriptors.len()), ("shop", 0, 2));
    let (plain, full) = (&asked.descriptors[0], &asked.descriptors[1]);
    assert_eq!((&plain.limit, &plain.hits_addend, plain.is_negative_hits), (&None, &None, false));
    let entries: Vec<_> = full.entries.iter().map(|entry| (entry.key.as_str(), entry.value.as_str())).collect();
    assert_eq!(entries, [("k", "b"), ("l", "c")]);
    let limit = full.limit.unwrap();
    assert_eq!((limit.requests_per_unit, limit.unit), (7, 7));
    assert_eq!((full.hits_addend.map(|hits| hits.value), full.is_negative_hits), (Some(0), true));
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_read_whole() {
    let value = |key: &str, value: &str| WireValue { key: key.into(), value: value.into(), ..WireValue::default() };
    let said = Map::from_iter([("left".to_owned(), json!(3.0))]);
    let status = |code, unit, reset| WireStatus {
        code,
        current_limit: Some(WireLimit { name: "n".into(), requests_per_unit: 10, unit }),
        limit_remaining: 3,
        duration_until_reset: reset,
        quota: None,
    };
    let answer = RateLimitResponse {
        overall_code: 2,
        statuses: vec![
            status(2, 7, Some(Span { seconds: 5, nanos: 500_000_000 })),
            status(1, 0, Some(Span { seconds: -5, nanos: 0 })),
            status(0, 99, Some(Span { seconds: 5, nanos: i32::MAX })),
        ],
        response_headers_to_add: vec![value("x-a", "1")],
        request_headers_to_add: vec![value("x-b", "2")],
        raw_body: b"too many".to_vec(),
        dynamic_metadata: Some(structure(said.clone())),
        quota: None,
    };
    let read = |over_limit, unit, reset| DescriptorStatus {
        over_limit,
        limit: Some(CurrentLimit { name: "n".into(), requests: 10, unit }),
        remaining: 3,
        reset,
    };
    let expected = Ruling {
        over_limit: true,
        statuses: vec![
            read(true, Some(RateUnit::Week), Some(Duration::from_millis(5500))),
            read(false, None, None),
            read(false, None, None),
        ],
        response: vec![HeaderEdit::append("x-a", "1")],
        request: vec![HeaderEdit::append("x-b", "2")],
        body: "too many".into(),
        metadata: said,
    };
    let three = || question(vec![descriptor("a"), descriptor("b"), descriptor("c")]);
    assert_eq!(ask(three(), answer.clone()).await.0, Ok(expected.clone()));
    // What was decided stands, though it is not clear which status is of which descriptor.
    for count in [0, 2, 4] {
        let statuses = answer.statuses.iter().cycle().take(count).cloned().collect();
        let ruling = ask(three(), RateLimitResponse { statuses, ..answer.clone() }).await.0;
        assert_eq!(ruling, Ok(Ruling { statuses: Vec::new(), ..expected.clone() }));
    }
    for overall_code in [0, 3, -1] {
        let ruling = ask(three(), RateLimitResponse { overall_code, ..answer.clone() }).await.0;
        assert!(matches!(ruling, Err(CompanionError::Invalid { field: "overall_code", .. })), "{ruling:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn bad_answers_are_typed_errors_in_time() {
    let good = RateLimitResponse { overall_code: 1, ..RateLimitResponse::default() };
    for (what, transport, expected) in bad_calls(&good.encode_to_vec()) {
        let begun = tokio::time::Instant::now();
        let answer = GrpcRateLimiter::new(transport, &grpc()).ask(question(vec![descriptor("a")])).await;
        assert!(expected(answer.as_ref().unwrap_err()), "{what}: {answer:?}");
        assert!(begun.elapsed() <= LIMIT, "{what}");
    }
}

#[tokio::test]
async fn over_a_socket_requests_are_counted() {
    let answer = RateLimitResponse { overall_code: 2, raw_body: b"later".to_vec(), ..RateLimitResponse::default() };
    let script = Scripted { answer, asked: Arc::default() };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = Server::builder().add_service(RateLimitServiceServer::new(script.clone()));
    let server = server.serve_with_incoming(TcpListenerStream::new(listener));
    let ask = async {
        let service = GrpcService { timeout: Some(Duration::from_secs(30)), ..grpc() };
        let limiter = GrpcRateLimiter::new(channel(address), &service);
        let action =
            DescriptorAction::QueryParameter { name: "user".into(), key: "user".into(), skip_if_absent: false };
        let limits = vec![RateLimit { actions: vec![action], ..RateLimit::default() }];
        let settings = GlobalRateLimit { limits, ..GlobalRateLimit::new("shop", service) };
        let filter = FilterLayer::new(GlobalRateLimiting::new(settings, "web", Arc::new(limiter)));
        let shop = service_fn(async |_| Ok::<_, Infallible>(Response::new(Body::empty())));
        let request = Request::get("http://shop.example/?user=%61lice").body(Body::empty()).unwrap();
        filter.layer(shop).oneshot(request).await.unwrap()
    };
    let response = tokio::select! {
        _ = server => panic!("the server ended"),
        response = ask => response,
    };
    assert_eq!(response.status().as_u16(), 429);
    let asked = script.asked.lock().unwrap().pop().unwrap();
    assert_eq!((asked.domain.as_str(), asked.descriptors[0].entries[0].value.as_str()), ("shop", "alice"));
}
