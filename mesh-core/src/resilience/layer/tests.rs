#![allow(clippy::unwrap_used, reason = "tests")]

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Empty, Full};
use tower::{Layer, Service, ServiceExt, service_fn};

use super::*;
use crate::balance::service::{Balanced, PickHint};
use crate::balance::{
    Assignment, Balancer, Cluster, Discovery, Endpoint, LocalityEndpoints, Policy, RetryLimit, RingHash, Setup,
};
use crate::name::Locality;
use crate::resilience::{ReplayBody, TimeLimits};
use crate::route::{BackOff, Outcome, RetryOn, RetryPolicy};

fn policy(retries: u32) -> RetryPolicy {
    let back_off = BackOff { base: Duration::from_millis(10), max: None };
    RetryPolicy { on: RetryOn::GATEWAY_ERROR, retries, back_off, ..RetryPolicy::default() }
}

/// A service that answers only where it was found ready, as tower's contract has it.
#[derive(Default)]
struct Strict {
    ready: bool,
    calls: Arc<AtomicU32>,
}

impl Clone for Strict {
    fn clone(&self) -> Self {
        Self { ready: false, calls: Arc::clone(&self.calls) }
    }
}

impl<B> Service<Request<B>> for Strict {
    type Response = Response<Full<Bytes>>;
    type Error = Infallible;
    type Future = std::future::Ready<Result<Self::Response, Infallible>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.ready = true;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<B>) -> Self::Future {
        assert!(std::mem::take(&mut self.ready), "called without being ready");
        let mut response = Response::new(Full::new(Bytes::from("x")));
        if self.calls.fetch_add(1, Relaxed) == 0 {
            *response.status_mut() = StatusCode::BAD_GATEWAY;
        }
        std::future::ready(Ok(response))
    }
}

#[tokio::test(start_paused = true)]
async fn only_a_service_that_is_ready_is_called() {
    let strict = Strict::default();
    let service = RetryLayer::new(policy(1)).layer(strict.clone());
    let service = ConcurrencyLayer::new(1).layer(TimeoutLayer::new(Duration::from_secs(1)).layer(service));
    let answer = service.oneshot(Request::new(Empty::<Bytes>::new())).await.unwrap();
    assert_eq!((answer.status(), strict.calls.load(Relaxed)), (StatusCode::OK, 2));
}

#[tokio::test(start_paused = true)]
async fn errors_are_what_their_judge_says() {
    static CALLS: AtomicU32 = AtomicU32::new(0);
    let fails = service_fn(async |_: Request<ReplayBody<Empty<Bytes>>>| {
        CALLS.fetch_add(1, Relaxed);
        Err::<Response<Full<Bytes>>, _>(std::io::Error::other("down"))
    });
    let asked = async |judge: fn(&std::io::Error) -> Outcome<'static>| {
        let policy = RetryPolicy { on: RetryOn::CONNECT_FAILURE, ..policy(2) };
        let service = RetryLayer::new(policy).with_judge(judge).layer(fails);
        CALLS.store(0, Relaxed);
        let failed = service.oneshot(Request::new(Empty::new())).await.is_err();
        (failed, CALLS.load(Relaxed))
    };
    assert_eq!(asked(|_| Outcome::ConnectFailure).await, (true, 3));
    assert_eq!(asked(|_| Outcome::Refused).await, (true, 1));
}

#[tokio::test(start_paused = true)]
async fn a_budget_bounds_the_retries_of_all() {
    let down = service_fn(async |_: Request<ReplayBody<Empty<Bytes>>>| {
        tokio::time::sleep(Duration::from_millis(1)).await;
        let mut response = Response::new(Full::new(Bytes::new()));
        *response.status_mut() = StatusCode::BAD_GATEWAY;
        Ok::<_, Infallible>(response)
    });
    let calls = Arc::new(AtomicU32::new(0));
    let counted = {
        let calls = Arc::clone(&calls);
        tower::util::MapRequest::new(down, move |request| {
            calls.fetch_add(1, Relaxed);
            request
        })
    };
    let service = RetryLayer::new(policy(5)).with_budget(RetryLimit::Count(0)).layer(counted);
    let asked: Vec<_> = (0..4).map(|_| service.clone().oneshot(Request::new(Empty::<Bytes>::new()))).collect();
    for answer in asked {
        assert_eq!(answer.await.unwrap().status(), StatusCode::BAD_GATEWAY);
    }
    assert_eq!(calls.load(Relaxed), 4);
}

#[tokio::test(start_paused = true)]
async fn a_deadline_of_the_client_counts() {
    let slow = service_fn(async |_: Request<ReplayBody<Empty<Bytes>>>| {
        tokio::time::sleep(Duration::from_secs(5)).await;
        Ok::<_, Infallible>(Response::new(Full::new(Bytes::from("late"))))
    });
    let request = || {
        let request = Request::builder().header("content-type", "application/grpc").header("grpc-timeout", "50m");
        request.body(Empty::<Bytes>::new()).unwrap()
    };
    let layer = TimeoutLayer::with_limits(TimeLimits::default());
    let answer = layer.layer(slow).oneshot(request()).await.unwrap();
    assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), "late");
    let start = tokio::time::Instant::now();
    let answer = layer.and_deadlines().layer(slow).oneshot(request()).await.unwrap();
    assert_eq!((answer.headers()["grpc-status"].to_str().unwrap(), start.elapsed().as_millis()), ("4", 50));
}

/// Two endpoints, of which one fails always: who is tried again goes to the other one, whatever chance and load say.
#[tokio::test(start_paused = true)]
async fn a_balancer_below_passes_over_who_was_tried() {
    let policies = [Policy::PEAK_EWMA, Policy::Random, Policy::RoundRobin { slow_start: None }];
    for policy in policies.into_iter().chain([Policy::RingHash(RingHash::default())]) {
        let endpoints = [1, 2].map(|port| Endpoint::new(([10, 0, 0, 1], port).into()));
        let assignment = Assignment::new("c", vec![LocalityEndpoints::new(Locality::default(), endpoints.into())]);
        let cluster = Cluster { policy, ..Cluster::new("c", Discovery::Eds { service_name: None }) };
        let clock = || tokio::time::Instant::now().into_std();
        let balancer = Balancer::new(Arc::new(cluster), &assignment, Setup::default(), clock());
        let answers = |_: &Cluster, endpoint: &Endpoint| {
            let port = endpoint.address.port();
            service_fn(move |_: Request<ReplayBody<Empty<Bytes>>>| {
                let mut response = Response::new(Full::new(Bytes::new()));
                *response.status_mut() = if port == 1 { StatusCode::BAD_GATEWAY } else { StatusCode::OK };
                std::future::ready(Ok::<_, Infallible>(response))
            })
        };
        let service = RetryLayer::new(self::policy(1)).layer(Balanced::new(balancer, answers, clock));
        let mut failed = 0;
        for hash in 0..200 {
            let mut request = Request::new(Empty::<Bytes>::new());
            request.extensions_mut().insert(PickHint { hash: Some(hash), ..PickHint::default() });
            let answer = service.clone().oneshot(request).await.unwrap();
            failed += u32::from(answer.status() != StatusCode::OK);
        }
        // Nine draws of ten in a row would have to go wrong.
        assert!(failed <= 3, "{failed} of 200");
    }
}
