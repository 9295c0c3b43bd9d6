use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Mutex;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode};
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use tower::{ServiceExt, service_fn};

use super::super::service::{Balanced, BalancedError, MakeEndpoint, PickHint};
use super::*;
use crate::route::MetadataValue;

/// A body that has been written beforehand.
#[derive(Debug, Default)]
struct Script(VecDeque<Result<Frame<Bytes>, &'static str>>);

impl Body for Script {
    type Data = Bytes;
    type Error = &'static str;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
        Poll::Ready(self.0.pop_front())
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }
}

fn data() -> Result<Frame<Bytes>, &'static str> {
    Ok(Frame::data(Bytes::from_static(b"x")))
}

fn trailers(pairs: &[(&'static str, &'static str)]) -> Result<Frame<Bytes>, &'static str> {
    Ok(Frame::trailers(self::pairs(pairs)))
}

fn pairs(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
    pairs.iter().map(|(key, value)| (key.parse().unwrap(), HeaderValue::from_static(value))).collect()
}

type Answer =
    Result<(u16, &'static [(&'static str, &'static str)], Vec<Result<Frame<Bytes>, &'static str>>), &'static str>;

type Answering = tower::util::BoxCloneSyncService<http::Request<()>, http::Response<Script>, &'static str>;

/// A service of one endpoint that answers so, with outlier detection at the first failure.
fn one(
    answer: impl Fn() -> Answer + Clone + Send + Sync + 'static,
) -> Balanced<impl MakeEndpoint<Service = Answering>> {
    let outlier = OutlierSettings { consecutive_5xx: 1, max_ejection_percent: 100, ..OutlierSettings::default() };
    let watched = Cluster { outlier: Some(outlier), panic_threshold: 0, ..cluster(Policy::PEAK_EWMA) };
    let balancer = Balancer::new(Arc::new(watched), &flat(&[1]), Setup::default(), Instant::now());
    let make = move |_: &Cluster, _: &Endpoint| {
        let answer = answer.clone();
        Answering::new(service_fn(move |_: http::Request<()>| {
            let answer = answer().map(|(status, headers, frames)| {
                let mut response = http::Response::new(Script(frames.into()));
                *response.status_mut() = StatusCode::from_u16(status).unwrap();
                *response.headers_mut() = pairs(headers);
                response
            });
            std::future::ready(answer)
        }))
    };
    Balanced::new(balancer, make, Instant::now)
}

fn in_flight(balancer: &Balancer) -> (u32, u32) {
    (balancer.status().iter().map(|status| status.active).sum(), balancer.circuit().requests())
}

#[tokio::test]
async fn what_a_response_says_of_its_endpoint() {
    const GRPC: (&str, &str) = ("content-type", "application/grpc+proto");
    // Status, headers and frames → whether the endpoint failed when the head is there, and at the end.
    type Row = (Answer, bool, bool);
    let table: Vec<Row> = vec![
        (Ok((200, &[], vec![data()])), false, false),
        (Ok((404, &[], vec![])), false, false),
        (Ok((503, &[], vec![data()])), true, true),
        (Err("refused"), true, true),
        // Broken off after a good beginning.
        (Ok((200, &[], vec![data(), Err("reset")])), false, true),
        // gRPC: by its status, in the trailers or the head.
        (Ok((200, &[GRPC], vec![data(), trailers(&[("grpc-status", "0")])])), false, false),
        (Ok((200, &[GRPC], vec![data(), trailers(&[("grpc-status", "5")])])), false, false),
        (Ok((200, &[GRPC], vec![data(), trailers(&[("grpc-status", "14")])])), false, true),
        (Ok((200, &[GRPC], vec![trailers(&[("grpc-status", "soon")])])), false, true),
        (Ok((200, &[GRPC, ("grpc-status", "13")], vec![])), true, true),
        (Ok((200, &[GRPC, ("grpc-status", "7")], vec![])), false, false),
        // gRPC without a status: the call did not end well.
        (Ok((200, &[GRPC], vec![data()])), false, true),
        (Ok((200, &[GRPC], vec![data(), trailers(&[("other", "1")])])), false, true),
        (Ok((200, &[GRPC], vec![data(), Err("reset")])), false, true),
        (Ok((200, &[GRPC], vec![])), true, true),
        (Ok((502, &[GRPC], vec![])), true, true),
        // A status that is not one of gRPC's own.
        (Ok((200, &[("content-type", "text/plain")], vec![trailers(&[("grpc-status", "14")])])), false, false),
        (Ok((200, &[("content-type", "application/grpc-web")], vec![data()])), false, false),
    ];
    for (index, (answer, at_head, at_end)) in table.into_iter().enumerate() {
        let slot = Arc::new(Mutex::new(Some(answer)));
        let service = one(move || slot.lock().unwrap().take().unwrap());
        let balancer = service.balancer().clone();
        let failed = || balancer.status()[0].ejected;
        let response = service.oneshot(http::Request::new(())).await;
        assert_eq!(failed(), at_head, "row {index} at its head");
        match response {
            Ok(response) => {
                assert_eq!(in_flight(&balancer), (1, 1), "row {index}");
                drop(response.into_body().collect().await);
            }
            Err(error) => assert_eq!(error, BalancedError::Endpoint("refused")),
        }
        assert_eq!((failed(), in_flight(&balancer)), (at_end, (0, 0)), "row {index} at its end");
    }
}

#[tokio::test]
async fn a_request_is_in_flight_until_its_body_has_ended_or_is_dropped() {
    let service = one(|| Ok((200, &[], vec![data(), data()])));
    let balancer = service.balancer().clone();
    let mut bodies = Vec::new();
    for _ in 0..3 {
        bodies.push(service.clone().oneshot(http::Request::new(())).await.unwrap().into_body());
    }
    assert_eq!(in_flight(&balancer), (3, 3));
    // Cancelled: it says nothing of the endpoint.
    bodies.pop();
    assert_eq!((in_flight(&balancer), balancer.status()[0].ejected), ((2, 2), false));
    let body = &mut bodies[0];
    assert!(body.frame().await.unwrap().is_ok() && body.frame().await.unwrap().is_ok());
    assert_eq!(in_flight(&balancer), (2, 2));
    assert!(body.frame().await.is_none());
    assert_eq!(in_flight(&balancer), (1, 1));
    drop(bodies);
    assert_eq!(in_flight(&balancer), (0, 0));
    // A future that is dropped before the answer is as well.
    let never = |_: &Cluster, _: &Endpoint| {
        service_fn(|_: http::Request<()>| std::future::pending::<Result<http::Response<Script>, Infallible>>())
    };
    let waiting = Balanced::new(balancer.clone(), never, Instant::now);
    let mut future = Box::pin(waiting.clone().oneshot(http::Request::new(())));
    assert!(std::future::poll_fn(|context| Poll::Ready(future.as_mut().poll(context).is_pending())).await);
    assert_eq!(in_flight(&balancer), (1, 1));
    drop(future);
    assert_eq!((in_flight(&balancer), balancer.status()[0].ejected), ((0, 0), false));
}

#[tokio::test]
async fn errors_mean_what_they_are_said_to() {
    let outlier = OutlierSettings { consecutive_5xx: 1, max_ejection_percent: 100, ..OutlierSettings::default() };
    for (outcome, ejected) in [(Outcome::Status(400), false), (Outcome::TimedOut, true)] {
        let watched = Cluster { outlier: Some(outlier.clone()), ..cluster(Policy::Random) };
        let balancer = Balancer::new(Arc::new(watched), &flat(&[1]), Setup::default(), Instant::now());
        let make = |_: &Cluster, _: &Endpoint| {
            service_fn(|_: http::Request<()>| std::future::ready(Err::<http::Response<Script>, _>("too large")))
        };
        let service = Balanced::new(balancer, make, Instant::now).classify(move |_: &&'static str| outcome);
        let error = service.clone().oneshot(http::Request::new(())).await.unwrap_err();
        assert_eq!(error, BalancedError::Endpoint("too large"));
        assert_eq!(service.balancer().status()[0].ejected, ejected);
    }
}

#[tokio::test]
async fn a_service_is_kept_as_long_as_its_endpoint_is_reached_so() {
    let made = Arc::new(Mutex::new(Vec::new()));
    let record = Arc::clone(&made);
    let make = move |cluster: &Cluster, endpoint: &Endpoint| {
        record.lock().unwrap().push((endpoint.address, cluster.connect_timeout, endpoint.transport_labels.len()));
        service_fn(|_: http::Request<()>| {
            std::future::ready(Ok::<_, Infallible>(http::Response::new(Script::default())))
        })
    };
    let plain = Arc::new(cluster(Policy::RoundRobin { slow_start: None }));
    let balancer = Balancer::new(Arc::clone(&plain), &flat(&[1, 1]), Setup::default(), Instant::now());
    let service = Balanced::new(balancer.clone(), make, Instant::now);
    let count = async |expected: usize| {
        for _ in 0..6 {
            service.clone().oneshot(http::Request::new(())).await.unwrap();
        }
        let made = std::mem::take(&mut *made.lock().unwrap());
        assert_eq!(made.len(), expected, "{made:?}");
        made
    };
    count(2).await;
    count(0).await;
    // Other weights and health, another policy: nothing to connect anew for.
    let now = Instant::now();
    let mut weighted = flat(&[2, 3]);
    weighted.localities[0].endpoints[0].health = Health::Healthy;
    balancer.update(Arc::new(cluster(Policy::Random)), &weighted, now);
    balancer.update(Arc::clone(&plain), &weighted, now);
    count(0).await;
    // One is gone, and comes back.
    balancer.update(Arc::clone(&plain), &flat(&[1]), now);
    count(0).await;
    balancer.update(Arc::clone(&plain), &flat(&[1, 1]), now);
    assert_eq!(count(1).await[0].0, at(1));
    // Reached otherwise: one endpoint by its labels, all of them by the cluster.
    let mut labelled = flat(&[1, 1]);
    labelled.localities[0].endpoints[0].transport_labels.insert("tlsMode".into(), "istio".into());
    balancer.update(Arc::clone(&plain), &labelled, now);
    assert_eq!(count(1).await[0], (at(0), plain.connect_timeout, 1));
    let patient = Cluster { connect_timeout: Duration::from_secs(60), ..(*plain).clone() };
    balancer.update(Arc::new(patient), &labelled, now);
    assert!(count(2).await.iter().all(|(_, timeout, _)| *timeout == Duration::from_secs(60)));
}

#[tokio::test]
async fn a_hint_says_what_is_to_be_known() {
    let mut assignment = flat(&[1; 4]);
    let value = MetadataValue::Text("2".into());
    assignment.localities[0].endpoints[3].metadata =
        BTreeMap::from([("version".into(), EndpointValue::One(value.clone()))]);
    let settings =
        SubsetSettings { fallback: SubsetFallback::Any, ..SubsetSettings::new(vec![SubsetSelector::new(["version"])]) };
    let thresholds = Thresholds { max_requests: 0, ..Thresholds::default() };
    let circuit = CircuitSettings { high: thresholds, ..CircuitSettings::default() };
    let divided = Cluster { subsets: Some(settings), circuit, ..cluster(Policy::Maglev(Maglev::default())) };
    let balancer = Balancer::new(Arc::new(divided), &assignment, Setup::default(), Instant::now());
    let make = |_: &Cluster, endpoint: &Endpoint| {
        let address = endpoint.address;
        service_fn(move |_: http::Request<()>| {
            let mut response = http::Response::new(Script::default());
            response.extensions_mut().insert(address);
            std::future::ready(Ok::<_, Infallible>(response))
        })
    };
    let service = Balanced::new(balancer, make, Instant::now);
    let ask = async |hint: Option<PickHint>| {
        let mut request = http::Request::new(());
        if let Some(hint) = hint {
            request.extensions_mut().insert(hint);
        }
        service.clone().oneshot(request).await.map(|response| *response.extensions().get::<SocketAddr>().unwrap())
    };
    let by_hash = async |hash| ask(Some(PickHint { hash: Some(hash), ..PickHint::default() })).await.unwrap();
    let mut met = BTreeSet::new();
    for hash in 0..50 {
        met.insert(by_hash(hash).await);
        assert_eq!(by_hash(hash).await, by_hash(hash).await);
    }
    assert_eq!(met.len(), 4);
    let again = ask(Some(PickHint { hash: Some(7), attempt: 1, ..PickHint::default() })).await.unwrap();
    let versions = PickHint { subset: [("version".into(), value)].into(), ..PickHint::default() };
    assert_eq!(ask(Some(versions)).await, Ok(at(3)));
    assert!(met.contains(&again) && ask(None).await.is_ok());
    let high = PickHint { priority: Priority::High, ..PickHint::default() };
    assert_eq!(ask(Some(high)).await, Err(BalancedError::Pick(PickError::CircuitOpen)));
}
