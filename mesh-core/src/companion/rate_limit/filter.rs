use std::sync::Arc;

use http::header::RETRY_AFTER;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, request, response};

use super::answer::{Question, RateLimiter, Ruling};
use super::descriptor::{Descriptor, Facts, descriptor};
use super::header::{retry_after, told};
use super::settings::{GlobalRateLimit, RequestKind};
use crate::companion::draw::{Draw, takes};
use crate::companion::{CompanionError, HeaderEdits};
use crate::filter::{Answer, Exchange, Filter, Flag, Step};
use crate::name::Text;
use crate::route::{FilterOverride, HostLimits, RateLimit, RateLimitOverride};

const LIMITED: HeaderName = HeaderName::from_static("x-envoy-ratelimited");

/// gRPC's statuses for what is too many.
const RESOURCE_EXHAUSTED: u32 = 8;
const UNAVAILABLE: u32 = 14;

/// The filter that asks the rate limit service.
#[derive(Debug, Clone)]
pub struct GlobalRateLimiting {
    settings: Arc<GlobalRateLimit>,
    source_cluster: Text,
    limiter: Arc<dyn RateLimiter>,
}

impl GlobalRateLimiting {
    /// A filter with these settings, in a proxy of this cluster. What they say of the service is for who makes the limiter.
    pub fn new(settings: GlobalRateLimit, source_cluster: impl Into<Text>, limiter: Arc<dyn RateLimiter>) -> Self {
        Self { settings: Arc::new(settings), source_cluster: source_cluster.into(), limiter }
    }

    /// The settings.
    #[must_use]
    pub fn settings(&self) -> &GlobalRateLimit {
        &self.settings
    }

    fn question(&self, head: &request::Parts, exchange: &Exchange) -> Option<Question> {
        let settings = &*self.settings;
        let request = exchange.request(head);
        let selected = exchange.selection().map(|selection| selection.selected());
        let of_route = match exchange.overriding() {
            Some(FilterOverride::RateLimit(of_route)) => Some(of_route),
            _ => None,
        };
        let facts = Facts {
            request,
            metadata: &exchange.metadata,
            source_cluster: self.source_cluster.as_str(),
            destination_cluster: selected.as_ref().and_then(|selected| selected.cluster(&request)),
        };
        let count = |limit: &RateLimit| descriptor(limit, &facts);
        let own = of_route.map_or(&[][..], |of_route| &of_route.limits);
        let descriptors: Vec<Descriptor> = match (own, settings.limits.as_slice(), &selected) {
            // A request that goes nowhere is not counted.
            (_, _, Some(selected)) if selected.forward().is_none() => return None,
            ([], [], None) => return None,
            ([], [], Some(selected)) => {
                let host = of_route.map_or_else(HostLimits::default, |of_route| of_route.host);
                selected.rate_limits(host).filter(|limit| limit.stage == settings.stage).filter_map(count).collect()
            }
            ([], limits, _) | (limits, _, _) => limits.iter().filter_map(count).collect(),
        };
        let domain = of_route.and_then(|RateLimitOverride { domain, .. }| domain.as_ref()).unwrap_or(&settings.domain);
        (!descriptors.is_empty()).then(|| Question { domain: domain.clone(), descriptors })
    }
}

impl Filter for GlobalRateLimiting {
    fn on_request(&self, head: &mut request::Parts, exchange: &mut Exchange) -> Step {
        if !self.settings.counts(head, exchange) {
            return Step::Next;
        }
        let Some(question) = self.question(head, exchange) else { return Step::Next };
        let descriptors = question.descriptors.clone();
        let asked = self.limiter.ask(question);
        let settings = Arc::clone(&self.settings);
        Step::wait(async move {
            let answer = asked.await;
            move |head: &mut request::Parts, exchange: &mut Exchange| {
                settings.conclude(&descriptors, answer, head, exchange)
            }
        })
    }

    fn on_response(&self, head: &mut response::Parts, exchange: &mut Exchange) {
        if let Some(edits) = exchange.take_kept::<HeaderEdits>() {
            edits.apply(&mut head.headers);
        }
    }
}

impl GlobalRateLimit {
    /// Whether a request is counted at all.
    fn counts(&self, head: &request::Parts, exchange: &Exchange) -> bool {
        let internal = head.headers.get("x-envoy-internal").is_some_and(|value| value == "true");
        let kind = match self.requests {
            RequestKind::Both => true,
            RequestKind::Internal => internal,
            RequestKind::External => !internal,
        };
        kind && takes(self.enabled, exchange, Draw::Enabled)
    }

    fn conclude(
        &self,
        asked: &[Descriptor],
        answer: Result<Ruling, CompanionError>,
        head: &mut request::Parts,
        exchange: &mut Exchange,
    ) -> Step {
        let Ok(ruling) = answer else { return self.failed(exchange) };
        let response = HeaderEdits::new(&ruling.response, None, false);
        if !ruling.metadata.is_empty() {
            exchange.metadata.merge(self.metadata.as_str(), ruling.metadata.clone());
        }
        let about_limits = told(asked, &ruling, self.headers);
        if ruling.over_limit && takes(self.enforced, exchange, Draw::Enforced) {
            // What is too many is refused, even if the service writes headers that are none.
            return Step::Answer(self.limited(&ruling, &response.unwrap_or_default(), about_limits, head, exchange));
        }
        let (Ok(request), Ok(response)) = (HeaderEdits::new(&ruling.request, None, false), response) else {
            return self.failed(exchange);
        };
        request.apply(&mut head.headers);
        exchange.keep(response.with(about_limits));
        Step::Next
    }

    fn limited(
        &self,
        ruling: &Ruling,
        edits: &HeaderEdits,
        about_limits: HeaderMap,
        head: &request::Parts,
        exchange: &Exchange,
    ) -> Answer {
        let mut headers = about_limits;
        edits.apply(&mut headers);
        if self.retry_after
            && self.limited_status == StatusCode::TOO_MANY_REQUESTS
            && !headers.contains_key(RETRY_AFTER)
        {
            headers.extend(retry_after(ruling).map(|value| (RETRY_AFTER, value)));
        }
        if self.mark {
            headers.insert(LIMITED, HeaderValue::from_static("true"));
        }
        self.response.edit_response(&exchange.request(head), &mut headers);
        let answer = Answer::new(self.limited_status, ruling.body.clone(), "request_rate_limited");
        let grpc_status = Some(if self.resource_exhausted { RESOURCE_EXHAUSTED } else { UNAVAILABLE });
        Answer { headers, grpc_status, ..answer.flagged(Flag::RateLimited) }
    }

    /// There is no answer.
    fn failed(&self, exchange: &Exchange) -> Step {
        let denied = match self.failure_deny_fraction {
            Some(fraction) => takes(Some(fraction), exchange, Draw::FailureDenied),
            None => self.failure_deny,
        };
        match denied {
            true => {
                let answer = Answer::new(self.status_on_error, "", "rate_limiter_error");
                Step::Answer(answer.flagged(Flag::RateLimitServiceError))
            }
            false => Step::Next,
        }
    }
}
