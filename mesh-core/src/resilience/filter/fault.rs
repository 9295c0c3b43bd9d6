use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use http::{HeaderMap, StatusCode, request};
use tokio::time::sleep;

use crate::filter::{Answer, Exchange, Filter, Flag, Step};
use crate::route::{Fault, FaultAbort, FaultLength, FaultStatus, FilterOverride, Fraction};

/// The filter that makes [`Fault`]s: requests are held back, or answered with an error, or both.
///
/// ```
/// use bytes::Bytes;
/// use http::{Request, Response, StatusCode};
/// use http_body_util::{Empty, Full};
/// use mesh_core::filter::FilterLayer;
/// use mesh_core::resilience::Faults;
/// use mesh_core::route::{Fault, FaultAbort, FaultStatus, Fraction};
/// use tower::{Layer, ServiceExt, service_fn};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let status = FaultStatus::Http(503);
/// let abort = FaultAbort { status, fraction: Fraction::percent(100), body: "chaos".into() };
/// let faults = Faults::new(Fault { abort: Some(abort), ..Fault::default() });
/// let shop = service_fn(async |_| Ok::<_, std::convert::Infallible>(Response::new(Full::new(Bytes::new()))));
/// let answer = FilterLayer::new(faults).layer(shop).oneshot(Request::new(Empty::<Bytes>::new())).await?;
/// assert_eq!(answer.status(), StatusCode::SERVICE_UNAVAILABLE);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Faults {
    fault: Fault,
    /// Faults that are under way, those of routes included, as with Envoy.
    active: Arc<AtomicU32>,
}

impl Faults {
    /// These, unless a route has others.
    #[must_use]
    pub fn new(fault: Fault) -> Self {
        Self { fault, active: Arc::default() }
    }

    fn begin(&self, fault: &Fault) -> Option<Active> {
        let most = fault.max_active.unwrap_or(u32::MAX);
        let begun = self.active.fetch_update(Relaxed, Relaxed, |active| (active < most).then(|| active + 1));
        begun.ok().map(|_| Active(Arc::clone(&self.active)))
    }
}

/// A fault that is under way.
struct Active(Arc<AtomicU32>);

impl Drop for Active {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

impl Filter for Faults {
    fn on_request(&self, head: &mut request::Parts, exchange: &mut Exchange) -> Step {
        let fault = match exchange.overriding() {
            Some(FilterOverride::Fault(fault)) => fault,
            _ => &self.fault,
        };
        if !concerns(fault, head, exchange) {
            return Step::Next;
        }
        let delay = delay(fault, &head.headers);
        // Drawn now: both draws are independent, and the route may be another when the delay is over.
        let abort = fault.abort.as_ref().and_then(|abort| answer(abort, &head.headers));
        if delay.is_none() && abort.is_none() {
            return Step::Next;
        }
        let Some(active) = self.begin(fault) else { return Step::Next };
        let Some(delay) = delay else { return abort.map_or(Step::Next, Step::Answer) };
        exchange.note(Some(Flag::DelayInjected), "");
        Step::wait(async move {
            sleep(delay).await;
            drop(active);
            move |_: &mut request::Parts, _: &mut Exchange| abort.map_or(Step::Next, Step::Answer)
        })
    }
}

fn concerns(fault: &Fault, head: &request::Parts, exchange: &Exchange) -> bool {
    let request = exchange.request(head);
    let to_cluster = || {
        let selected = exchange.selection().map(|selection| selection.selected());
        selected.and_then(|selected| selected.cluster(&request)) == Some(fault.cluster.as_str())
    };
    (fault.cluster.is_empty() || to_cluster()) && fault.headers.iter().all(|header| header.is_match(&request))
}

fn delay(fault: &Fault, headers: &HeaderMap) -> Option<Duration> {
    let delay = fault.delay?;
    let (length, fraction) = match delay.length {
        FaultLength::Fixed(length) => (length, delay.fraction),
        FaultLength::Header => {
            let length = Duration::from_millis(number(headers, "x-envoy-fault-delay-request")?);
            (length, asked(delay.fraction, headers, "x-envoy-fault-delay-request-percentage"))
        }
    };
    (!length.is_zero() && fraction.takes(fastrand::u64(..))).then_some(length)
}

fn answer(abort: &FaultAbort, headers: &HeaderMap) -> Option<Answer> {
    let percentage = "x-envoy-fault-abort-request-percentage";
    let (status, grpc_status, fraction) = match abort.status {
        FaultStatus::Http(status) => (status, None, abort.fraction),
        FaultStatus::Grpc(status) => (200, Some(status), abort.fraction),
        FaultStatus::Header => {
            let http = number(headers, "x-envoy-fault-abort-request");
            let http = http.and_then(|status| u16::try_from(status).ok()).filter(|status| (200..600).contains(status));
            let grpc = || u32::try_from(number(headers, "x-envoy-fault-abort-grpc-request")?).ok();
            let fraction = asked(abort.fraction, headers, percentage);
            match http {
                Some(status) => (status, None, fraction),
                None => (200, Some(grpc()?), fraction),
            }
        }
    };
    if !fraction.takes(fastrand::u64(..)) {
        return None;
    }
    let body = if abort.body.is_empty() { "fault filter abort" } else { abort.body.as_str() };
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let answer = Answer::new(status, body.to_owned(), "fault_filter_abort").flagged(Flag::FaultInjected);
    Some(Answer { grpc_status, ..answer })
}

/// The part of the requests that a request asks for, at most the one that is allowed.
fn asked(most: Fraction, headers: &HeaderMap, name: &str) -> Fraction {
    let Some(asked) = number(headers, name) else { return most };
    let numerator = u32::try_from(asked).map_or(most.numerator, |asked| asked.min(most.numerator));
    Fraction { numerator, ..most }
}

fn number(headers: &HeaderMap, name: &str) -> Option<u64> {
    headers.get(name)?.to_str().ok()?.trim().parse().ok()
}
