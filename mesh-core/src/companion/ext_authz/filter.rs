use std::sync::Arc;

use http::header::UPGRADE;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, request, response};
use serde_json::{Map, Value};

use super::METADATA;
use super::check::{Check, Told};
use super::decision::{Allowance, Authorizer, Decision, Refusal};
use super::settings::ExternalAuthz;
use crate::companion::draw::{Draw, takes};
use crate::companion::{CompanionError, HeaderEdits};
use crate::filter::{Answer, BodyDemand, Exchange, Filter, Flag, Step};

/// Marks a request that passes although there was no answer about it.
const PASSED_ON_FAILURE: HeaderName = HeaderName::from_static("x-envoy-auth-failure-mode-allowed");

/// gRPC's status for what may not be.
const PERMISSION_DENIED: u32 = 7;

/// The filter that asks an external authorizer.
#[derive(Debug, Clone)]
pub struct ExternalAuthorization {
    settings: Arc<ExternalAuthz>,
    authorizer: Arc<dyn Authorizer>,
}

impl ExternalAuthorization {
    /// A filter with these settings. What they say of the service is for who makes the authorizer.
    #[must_use]
    pub fn new(settings: ExternalAuthz, authorizer: Arc<dyn Authorizer>) -> Self {
        Self { settings: Arc::new(settings), authorizer }
    }

    /// The settings.
    #[must_use]
    pub fn settings(&self) -> &ExternalAuthz {
        &self.settings
    }
}

impl Filter for ExternalAuthorization {
    fn on_request(&self, head: &mut request::Parts, exchange: &mut Exchange) -> Step {
        if !self.settings.asks(exchange) {
            return match self.settings.deny_at_disable {
                true => Step::Answer(self.settings.failed(None)),
                false => Step::Next,
            };
        }
        let asked = self.authorizer.check(Check::new(&self.settings, head, exchange));
        let settings = Arc::clone(&self.settings);
        Step::wait(async move {
            let answer = asked.await;
            move |head: &mut request::Parts, exchange: &mut Exchange| settings.conclude(answer, head, exchange)
        })
    }

    fn on_response(&self, head: &mut response::Parts, exchange: &mut Exchange) {
        if let Some(edits) = exchange.take_kept::<HeaderEdits>() {
            edits.apply(&mut head.headers);
        }
    }

    fn body(&self, head: &request::Parts, exchange: &Exchange) -> Option<BodyDemand> {
        // What follows an upgrade is no body, and has no end to wait for.
        if head.method == Method::CONNECT || head.headers.contains_key(UPGRADE) || !self.settings.asks(exchange) {
            return None;
        }
        let body = Told::new(&self.settings, exchange).body?;
        let most = usize::try_from(body.max_bytes).unwrap_or(usize::MAX);
        // One byte more than is shown tells a whole body from a beginning.
        let max_bytes = if body.allow_partial { most.saturating_add(1) } else { most };
        Some(BodyDemand { max_bytes, allow_partial: body.allow_partial })
    }
}

impl ExternalAuthz {
    /// Whether the authorizer is asked about a request.
    fn asks(&self, exchange: &Exchange) -> bool {
        takes(self.enabled, exchange, Draw::Enabled)
            && self.enabled_metadata.as_ref().is_none_or(|matcher| matcher.is_match(&exchange.metadata))
    }

    fn conclude(
        &self,
        answer: Result<Decision, CompanionError>,
        head: &mut request::Parts,
        exchange: &mut Exchange,
    ) -> Step {
        match answer {
            Ok(Decision::Allow(allowance)) => self.allow(allowance, head, exchange),
            Ok(Decision::Deny(refusal)) => Step::Answer(self.deny(refusal, exchange)),
            Ok(Decision::Fail(refusal)) if !self.failure.allow => Step::Answer(self.failed(Some(refusal))),
            Err(_) if !self.failure.allow => Step::Answer(self.failed(None)),
            Ok(Decision::Fail(_)) | Err(_) => {
                if self.failure.mark {
                    head.headers.insert(PASSED_ON_FAILURE, HeaderValue::from_static("true"));
                }
                Step::Next
            }
        }
    }

    fn allow(&self, allowance: Allowance, head: &mut request::Parts, exchange: &mut Exchange) -> Step {
        let Allowance { remove, request, query, response, metadata } = allowance;
        let rules = self.edit_rules.as_ref();
        // Everything is looked at before anything is changed.
        let edits = HeaderEdits::new(&request, rules, self.validate_mutations);
        let removals = HeaderEdits::removals(&remove, rules);
        let response = HeaderEdits::new(&response, None, self.validate_mutations);
        let (Ok(edits), Ok(removals), Ok(response)) = (edits, removals, response) else {
            return Step::Answer(invalid());
        };
        if !query.is_empty() {
            match query.apply(&head.uri) {
                Ok(uri) => head.uri = uri,
                Err(_) => return Step::Answer(invalid()),
            }
        }
        edits.apply(&mut head.headers);
        for name in &removals {
            head.headers.remove(name);
        }
        let changed = !edits.is_empty() || !removals.is_empty() || !query.is_empty();
        exchange.keep(response);
        self.take(metadata, exchange);
        if self.clear_route_cache && changed {
            exchange.reroute();
        }
        Step::Next
    }

    fn deny(&self, refusal: Refusal, exchange: &mut Exchange) -> Answer {
        let Refusal { status, headers, mut body, metadata } = refusal;
        let Ok(edits) = HeaderEdits::new(&headers, None, self.validate_mutations) else { return invalid() };
        self.take(metadata, exchange);
        if let Some(most) = self.max_denied_body.and_then(|most| usize::try_from(most).ok()) {
            body.truncate(most);
        }
        let mut headers = HeaderMap::new();
        edits.apply(&mut headers);
        let status = status_of(status).unwrap_or(StatusCode::FORBIDDEN);
        Answer { headers, ..refused(status, body, "ext_authz_denied") }
    }

    /// What a client is answered about whose request there is no decision.
    fn failed(&self, said: Option<Refusal>) -> Answer {
        let Refusal { status, headers, body, .. } = said.unwrap_or_default();
        let Ok(edits) = HeaderEdits::new(&headers, None, self.validate_mutations) else { return invalid() };
        let mut headers = HeaderMap::new();
        edits.apply(&mut headers);
        Answer { headers, ..refused(status_of(status).unwrap_or(self.failure.status), body, "ext_authz_error") }
    }

    fn take(&self, metadata: Map<String, Value>, exchange: &mut Exchange) {
        if self.take_metadata && !metadata.is_empty() {
            exchange.metadata.merge(METADATA, metadata);
        }
    }
}

fn status_of(status: Option<u16>) -> Option<StatusCode> {
    status.filter(|status| (200..600).contains(status)).and_then(|status| StatusCode::from_u16(status).ok())
}

fn refused(status: StatusCode, body: impl Into<bytes::Bytes>, details: &str) -> Answer {
    // A refusal with a status of success would be the success of a call of gRPC.
    let grpc_status = status.is_success().then_some(PERMISSION_DENIED);
    Answer { grpc_status, ..Answer::new(status, body, details).flagged(Flag::UnauthorizedExternal) }
}

/// The answer asks for changes that cannot be made.
fn invalid() -> Answer {
    refused(StatusCode::INTERNAL_SERVER_ERROR, "", "ext_authz_invalid")
}
