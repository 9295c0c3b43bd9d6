use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use envoy_types::pb::envoy::extensions::common::ratelimit::v3::RateLimitDescriptor;
use envoy_types::pb::envoy::extensions::common::ratelimit::v3::rate_limit_descriptor::{Entry, RateLimitOverride};
use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_response::{
    Code, DescriptorStatus as WireStatus, RateLimit,
};
use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_service_client::RateLimitServiceClient;
use envoy_types::pb::envoy::service::ratelimit::v3::{RateLimitRequest, RateLimitResponse};
use envoy_types::pb::google::protobuf::UInt64Value;
use http_body::Body as HttpBody;
use mesh_core::companion::rate_limit::{
    Asking, CurrentLimit, Descriptor, DescriptorStatus, Question, RateLimiter, Ruling,
};
use mesh_core::companion::{CompanionError, GrpcService};
use mesh_core::route::AppendAction;
use tonic::body::Body;
use tonic::client::GrpcService as Transport;

use super::call::{Caller, failed, plain, within};
use crate::envoy::{unit_of, wire_unit};
use crate::limits::MAX_COMPANION_ANSWER_BYTES;
use crate::pb::json;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// The rate limit service: `envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit`.
pub struct GrpcRateLimiter<S> {
    transport: S,
    caller: Caller,
}

impl<S> GrpcRateLimiter<S> {
    /// A service that is reached over a transport, such as a tonic channel; it leads to the service's cluster.
    pub fn new(transport: S, service: &GrpcService) -> Self {
        Self { transport, caller: Caller::new(service) }
    }
}

impl<S> fmt::Debug for GrpcRateLimiter<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GrpcRateLimiter").field("caller", &self.caller).finish_non_exhaustive()
    }
}

impl<S> RateLimiter for GrpcRateLimiter<S>
where
    S: Transport<Body, Error: Into<BoxError>, Future: Send> + Clone + Send + Sync + 'static,
    S::ResponseBody: HttpBody<Data = Bytes, Error: Into<BoxError> + Send> + Send + 'static,
{
    fn ask(&self, question: Question) -> Asking {
        let asked = question.descriptors.len();
        let request = self.caller.request(message(question));
        let (limit, origin) = (self.caller.timeout, self.caller.origin.clone());
        let client = RateLimitServiceClient::with_origin(self.transport.clone(), origin);
        let mut client = client.max_decoding_message_size(MAX_COMPANION_ANSWER_BYTES);
        Box::pin(within(limit, async move {
            let answer = client.should_rate_limit(request).await.map_err(|status| failed(&status, limit))?;
            ruling(answer.into_inner(), asked)
        }))
    }
}

fn message(question: Question) -> RateLimitRequest {
    let Question { domain, descriptors } = question;
    // Zero is for services that count descriptors without hits of their own as one.
    RateLimitRequest { domain: domain.to_string(), descriptors: descriptors.iter().map(wire).collect(), hits_addend: 0 }
}

fn wire(descriptor: &Descriptor) -> RateLimitDescriptor {
    let Descriptor { entries, limit, hits, negative, headers: _ } = descriptor;
    let limit = limit.map(|quota| RateLimitOverride { requests_per_unit: quota.requests, unit: wire_unit(quota.unit) });
    RateLimitDescriptor {
        entries: entries.iter().map(|(key, value)| Entry { key: key.to_string(), value: value.to_string() }).collect(),
        limit,
        hits_addend: hits.map(|value| UInt64Value { value }),
        is_negative_hits: *negative,
    }
}

fn ruling(answer: RateLimitResponse, asked: usize) -> Result<Ruling, CompanionError> {
    let RateLimitResponse {
        overall_code,
        statuses,
        response_headers_to_add,
        request_headers_to_add,
        raw_body,
        dynamic_metadata,
        // Nobody gives quotas; each request is asked about.
        quota: _,
    } = answer;
    let over_limit = match Code::try_from(overall_code) {
        Ok(Code::Ok) => false,
        Ok(Code::OverLimit) => true,
        Ok(Code::Unknown) | Err(_) => {
            let reason = format!("{overall_code} decides nothing");
            return Err(CompanionError::Invalid { field: "overall_code", reason });
        }
    };
    // Of how many are left the client is told only where it is clear of what; what was decided stands without.
    let statuses = if statuses.len() == asked { statuses } else { Vec::new() };
    let append = AppendAction::AppendIfExistsOrAdd;
    Ok(Ruling {
        over_limit,
        statuses: statuses.into_iter().map(status).collect(),
        response: response_headers_to_add.into_iter().map(|header| plain(header, append)).collect(),
        request: request_headers_to_add.into_iter().map(|header| plain(header, append)).collect(),
        body: raw_body.into(),
        metadata: dynamic_metadata.map(json).unwrap_or_default(),
    })
}

fn status(wire: WireStatus) -> DescriptorStatus {
    let WireStatus { code, current_limit, limit_remaining, duration_until_reset, quota: _ } = wire;
    let limit = |RateLimit { name, requests_per_unit, unit }| CurrentLimit {
        name,
        requests: requests_per_unit,
        unit: unit_of(unit),
    };
    // What is no duration tells nothing of the reset, and decides nothing.
    let reset = duration_until_reset.and_then(|span| {
        let (seconds, nanos) = (u64::try_from(span.seconds).ok()?, u32::try_from(span.nanos).ok()?);
        (nanos < 1_000_000_000).then(|| Duration::new(seconds, nanos))
    });
    DescriptorStatus {
        over_limit: code == i32::from(Code::OverLimit),
        limit: current_limit.map(limit),
        remaining: limit_remaining,
        reset,
    }
}
