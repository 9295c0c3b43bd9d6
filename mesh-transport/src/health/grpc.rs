use bytes::{BufMut, Bytes, BytesMut};
use http::header::{CONTENT_TYPE, HOST, TE};
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode};
use http_body_util::{BodyExt, Limited};
use mesh_core::balance::{GrpcProbe, ProbeResult};
use prost::Message;

use super::ProbeTarget;
use super::http::send;
use crate::http::{Body, Client};

/// `grpc.health.v1.HealthCheckRequest`.
#[derive(Clone, PartialEq, Message)]
struct HealthCheckRequest {
    #[prost(string, tag = "1")]
    service: String,
}

/// `grpc.health.v1.HealthCheckResponse`.
#[derive(Clone, PartialEq, Message)]
struct HealthCheckResponse {
    #[prost(int32, tag = "1")]
    status: i32,
}

/// An answer is a few bytes.
const ANSWER_BYTES: usize = 4096;

/// Calls `grpc.health.v1.Health/Check`, and judges the answer.
pub(super) async fn probe(
    client: &Client<ProbeTarget>,
    target: &ProbeTarget,
    probe: &GrpcProbe,
    authority: &str,
) -> ProbeResult {
    let Some(request) = request(probe, authority) else { return ProbeResult::Failed };
    let response = match send(client, target, || request.clone().map(Body::from)).await {
        Ok(response) => response,
        Err(result) => return result,
    };
    if response.status() != StatusCode::OK || is_error(response.headers()) {
        return ProbeResult::Failed;
    }
    let Ok(collected) = Limited::new(response.into_body(), ANSWER_BYTES).collect().await else {
        return ProbeResult::Unreachable;
    };
    // A call without a status has not ended, whatever came before.
    let is_ok = collected.trailers().is_some_and(|trailers| grpc_status(trailers) == Some(0));
    match message(&collected.to_bytes()).filter(|_| is_ok) {
        Some(answer) => probe.judge(answer.status),
        None => ProbeResult::Failed,
    }
}

fn request(probe: &GrpcProbe, authority: &str) -> Option<Request<Bytes>> {
    let call = HealthCheckRequest { service: probe.service.to_string() };
    let mut frame = BytesMut::with_capacity(5 + call.encoded_len());
    frame.put_u8(0);
    frame.put_u32(u32::try_from(call.encoded_len()).ok()?);
    call.encode(&mut frame).ok()?;
    let mut request = Request::post("/grpc.health.v1.Health/Check").body(frame.freeze()).ok()?;
    let headers = request.headers_mut();
    headers.insert(HOST, HeaderValue::from_str(authority).ok()?);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(TE, HeaderValue::from_static("trailers"));
    for (name, value) in &probe.metadata {
        headers.append(HeaderName::try_from(name.as_str()).ok()?, HeaderValue::from_str(value.as_str()).ok()?);
    }
    Some(request)
}

/// The one message of the answer; compressed ones were not asked for.
fn message(bytes: &[u8]) -> Option<HealthCheckResponse> {
    let (head, message) = bytes.split_at_checked(5)?;
    let length = u32::from_be_bytes(head[1..].try_into().ok()?) as usize;
    if head[0] != 0 || length != message.len() {
        return None;
    }
    HealthCheckResponse::decode(message).ok()
}

fn is_error(headers: &HeaderMap) -> bool {
    headers.contains_key("grpc-status") && grpc_status(headers) != Some(0)
}

fn grpc_status(headers: &HeaderMap) -> Option<u32> {
    headers.get("grpc-status")?.to_str().ok()?.parse().ok()
}
