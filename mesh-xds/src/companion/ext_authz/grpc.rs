use std::fmt;
use std::time::SystemTime;

use bytes::Bytes;
use envoy_types::pb::envoy::config::core::v3::HeaderValueOption;
use envoy_types::pb::envoy::service::auth::v3::authorization_client::AuthorizationClient;
use envoy_types::pb::envoy::service::auth::v3::check_response::HttpResponse;
use envoy_types::pb::envoy::service::auth::v3::{CheckResponse, DeniedHttpResponse, OkHttpResponse};
use http_body::Body as HttpBody;
use mesh_core::companion::ext_authz::{Allowance, Authorizer, Check, Checking, Decision, QueryEdits, Refusal};
use mesh_core::companion::{CompanionError, GrpcService, HeaderEdit};
use mesh_core::route::AppendAction;
use tonic::body::Body;
use tonic::client::GrpcService as Transport;

use super::attributes;
use crate::companion::call::{Caller, edit, failed, within};
use crate::limits::MAX_COMPANION_ANSWER_BYTES;
use crate::pb::json;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// An external authorizer that is asked by gRPC: `envoy.service.auth.v3.Authorization/Check`.
pub struct GrpcAuthorizer<S> {
    transport: S,
    caller: Caller,
    now: fn() -> SystemTime,
}

impl<S> GrpcAuthorizer<S> {
    /// An authorizer that is reached over a transport, such as a tonic channel; it leads to the service's cluster. Checks say
    /// when they were made by this clock.
    pub fn new(transport: S, service: &GrpcService, now: fn() -> SystemTime) -> Self {
        Self { transport, caller: Caller::new(service), now }
    }
}

impl<S> fmt::Debug for GrpcAuthorizer<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GrpcAuthorizer").field("caller", &self.caller).finish_non_exhaustive()
    }
}

impl<S> Authorizer for GrpcAuthorizer<S>
where
    S: Transport<Body, Error: Into<BoxError>, Future: Send> + Clone + Send + Sync + 'static,
    S::ResponseBody: HttpBody<Data = Bytes, Error: Into<BoxError> + Send> + Send + 'static,
{
    fn check(&self, check: Check) -> Checking {
        let request = self.caller.request(attributes::request(check, (self.now)()));
        let (limit, origin) = (self.caller.timeout, self.caller.origin.clone());
        let client = AuthorizationClient::with_origin(self.transport.clone(), origin);
        let mut client = client.max_decoding_message_size(MAX_COMPANION_ANSWER_BYTES);
        Box::pin(within(limit, async move {
            let answer = client.check(request).await.map_err(|status| failed(&status, limit))?;
            decision(answer.into_inner())
        }))
    }
}

/// What an answer means. An answer without a status allows, as gRPC's default is OK, in Envoy too.
fn decision(answer: CheckResponse) -> Result<Decision, CompanionError> {
    let CheckResponse { status, dynamic_metadata, http_response } = answer;
    let metadata = dynamic_metadata.map(json).unwrap_or_default();
    let code = status.map_or(0, |status| status.code);
    match (code, http_response) {
        (_, Some(HttpResponse::ErrorResponse(response))) => {
            Ok(Decision::Fail(Refusal { metadata, ..refusal(response)? }))
        }
        (0, Some(HttpResponse::OkResponse(response))) => allowance(response, metadata).map(Decision::Allow),
        (0, None) => Ok(Decision::Allow(Allowance { metadata, ..Allowance::default() })),
        (0, Some(HttpResponse::DeniedResponse(_))) => {
            Err(CompanionError::Invalid { field: "denied_response", reason: "stands beside a status of OK".to_owned() })
        }
        (_, Some(HttpResponse::DeniedResponse(response))) => {
            Ok(Decision::Deny(Refusal { metadata, ..refusal(response)? }))
        }
        (_, Some(HttpResponse::OkResponse(_)) | None) => Ok(Decision::Deny(Refusal { metadata, ..Refusal::default() })),
    }
}

fn allowance(
    response: OkHttpResponse,
    metadata: serde_json::Map<String, serde_json::Value>,
) -> Result<Allowance, CompanionError> {
    #[expect(deprecated, reason = "servers set the old field too")]
    let OkHttpResponse {
        headers,
        headers_to_remove,
        dynamic_metadata,
        response_headers_to_add,
        query_parameters_to_set,
        query_parameters_to_remove,
    } = response;
    let set = query_parameters_to_set.into_iter().map(|parameter| (parameter.key, parameter.value)).collect();
    Ok(Allowance {
        remove: headers_to_remove,
        request: edits("headers", headers, AppendAction::OverwriteIfExistsOrAdd)?,
        query: QueryEdits { set, remove: query_parameters_to_remove },
        response: edits("response_headers_to_add", response_headers_to_add, AppendAction::AppendIfExistsOrAdd)?,
        metadata: dynamic_metadata.map_or(metadata, json),
    })
}

fn refusal(response: DeniedHttpResponse) -> Result<Refusal, CompanionError> {
    let DeniedHttpResponse { status, headers, body } = response;
    let status = status.filter(|status| status.code != 0);
    Ok(Refusal {
        // What is no status at all is not taken for the silence that lets a default stand.
        status: status.map(|status| u16::try_from(status.code).unwrap_or(u16::MAX)),
        headers: edits("denied_response.headers", headers, AppendAction::OverwriteIfExistsOrAdd)?,
        body: body.into(),
        ..Refusal::default()
    })
}

fn edits(
    field: &'static str,
    options: Vec<HeaderValueOption>,
    silent: AppendAction,
) -> Result<Vec<HeaderEdit>, CompanionError> {
    options.into_iter().map(|option| edit(field, option, silent)).collect()
}
