//! Servers and clients that do not behave.

use super::scripted::{Got, IntoBalancer};
use super::*;
use crate::balance::{Circuit, CircuitSettings, Cluster, Discovery, OutlierSettings, RetryLimit, Thresholds};
use crate::filter::Flag;
use crate::route::Priority;

/// What a client gets when the server does this.
async fn answer(list: &'static [(&'static str, &'static str)], body: Vec<Piece>) -> (Got, Scene) {
    answer_to(Method::GET, list, body).await
}

async fn answer_to(method: Method, list: &'static [(&'static str, &'static str)], body: Vec<Piece>) -> (Got, Scene) {
    // One failure is enough to see who is blamed.
    let mut cluster = Cluster::new("shop", Discovery::Eds { service_name: None });
    let outlier = OutlierSettings { consecutive_5xx: 1, always_eject_one: true, ..OutlierSettings::default() };
    cluster.outlier = Some(outlier);
    let scene = Scene::of(vec![cluster.into_balancer(1)]);
    let scene = scene.acts("shop", [Act { after: 0, reads: false, answer: Ok((200, list, body)) }]);
    let mut request = get(to(|_| {}));
    *request.method_mut() = method;
    let got = ask(&scene.forwarder(settings()), request).await;
    assert!(scene.is_quiet(), "nothing is left behind");
    (got, scene)
}

fn is_blamed(scene: &Scene) -> bool {
    scene.balancer("shop").status()[0].ejected
}

#[tokio::test(start_paused = true)]
async fn a_server_that_breaks_off_breaks_the_response_off() {
    let (got, scene) = answer(&[], vec![Piece::Data(0, "a"), Piece::Break(5)]).await;
    assert!(matches!(got.body, Err(ResponseError::Server(_))));
    assert!(is_blamed(&scene), "although it had begun well");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_lies_about_the_length_is_cut() {
    for body in [vec![Piece::Data(0, "four")], vec![Piece::Data(0, "four"), Piece::Data(0, "morethan")], vec![]] {
        let (got, scene) = answer(&[("content-length", "9")], body).await;
        let error = got.body.unwrap_err();
        assert!(matches!(error, ResponseError::Length), "{error}");
        assert_eq!((error.flag(), is_blamed(&scene)), (Flag::UpstreamProtocolError, true));
    }
    let (got, _) = answer(&[("content-length", "4")], vec![Piece::Data(0, "four")]).await;
    assert_eq!(got.body.unwrap(), "four");
    let (got, _) = answer_to(Method::HEAD, &[("content-length", "9")], vec![]).await;
    assert_eq!(got.body.unwrap(), "");
}

#[tokio::test(start_paused = true)]
async fn a_call_of_grpc_must_say_how_it_went() {
    const GRPC: &[(&str, &str)] = &[("content-type", "application/grpc")];
    const EARLY: &[(&str, &str)] = &[("content-type", "application/grpc"), ("grpc-status", "14")];
    let table: [(&'static [_], Vec<Piece>, bool); 6] = [
        (GRPC, vec![Piece::Data(0, "a"), Piece::Trailers(0, &[("grpc-status", "0")])], false),
        (GRPC, vec![Piece::Data(0, "a"), Piece::Trailers(0, &[("grpc-status", "5")])], false),
        (GRPC, vec![Piece::Data(0, "a"), Piece::Trailers(0, &[("grpc-status", "14")])], true),
        (GRPC, vec![Piece::Data(0, "a")], true),
        (GRPC, vec![], true),
        (EARLY, vec![], true),
    ];
    for (list, body, blamed) in table {
        let (got, scene) = answer(list, body.clone()).await;
        assert_eq!((got.body.is_ok(), is_blamed(&scene)), (true, blamed), "{body:?}");
        let passed = body.iter().any(|piece| matches!(piece, Piece::Trailers(..)));
        assert_eq!(got.trailers.is_some(), passed, "trailers are passed on as they are");
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_breaks_off_is_not_the_servers_fault() {
    let mut cluster = Cluster::new("shop", Discovery::Eds { service_name: None });
    let outlier = OutlierSettings { consecutive_5xx: 1, always_eject_one: true, ..OutlierSettings::default() };
    cluster.outlier = Some(outlier);
    let scene = Scene::of(vec![cluster.into_balancer(1)]);
    let host = to(|forward| forward.retry = Some(retrying(RetryOn::SERVER_ERROR, 3)));
    let got = ask(&scene.forwarder(settings()), post(host, &[Piece::Data(0, "a"), Piece::Break(5)])).await;
    assert_eq!((got.status, got.flags().as_str(), scene.seen().len()), (400, "DR", 1));
    assert!(scene.is_quiet() && !is_blamed(&scene));
}

#[tokio::test(start_paused = true)]
async fn budgets_hold_and_are_given_back() {
    let mut cluster = Cluster::new("shop", Discovery::Eds { service_name: None });
    let thresholds = Thresholds { retries: RetryLimit::Count(1), ..Thresholds::default() };
    cluster.circuit = CircuitSettings { default: thresholds, ..CircuitSettings::default() };
    let scene =
        Scene::of(vec![cluster.into_balancer(1)]).acts("shop", [status(0, 503), status(50, 200), status(0, 503)]);
    let host = || {
        to(|forward| {
            forward.retry = Some(RetryPolicy {
                back_off: BackOff { base: millis(0), max: None },
                ..retrying(RetryOn::SERVER_ERROR, 1)
            });
        })
    };
    let forwarder = scene.forwarder(settings());
    let late = async {
        tokio::time::sleep(millis(20)).await;
        ask(&forwarder, get(host())).await
    };
    let (first, second) = tokio::join!(ask(&forwarder, get(host())), late);
    assert_eq!((first.status, second.status, second.flags().as_str()), (200, 503, "UO"));
    let circuit: Circuit = scene.balancer("shop").circuit();
    assert!(
        circuit.try_retry(Priority::Default, tokio::time::Instant::now().into_std()).is_some(),
        "what was used is given back"
    );
}

#[tokio::test(start_paused = true)]
async fn a_cluster_that_is_full_refuses() {
    let mut cluster = Cluster::new("shop", Discovery::Eds { service_name: None });
    cluster.circuit.default.max_requests = 0;
    let scene = Scene::of(vec![cluster.into_balancer(1)]);
    let host = to(|forward| forward.retry = Some(retrying(RetryOn::SERVER_ERROR, 3)));
    let got = ask(&scene.forwarder(settings()), get(host)).await;
    assert_eq!((got.status, got.flags().as_str(), got.header("x-envoy-overloaded")), (503, "UO", Some("true")));
}
