#![allow(clippy::disallowed_methods, reason = "a start to count from; nothing waits")]

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::*;

const BAD: Outcome = Outcome::Status(500);

fn at(index: usize) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, u8::try_from(index).unwrap())), 80)
}

/// A detector of so many endpoints, and its start.
fn detector(settings: OutlierSettings, endpoints: usize) -> (Detector, Instant) {
    let now = Instant::now();
    let mut detector = Detector::new(settings, 1, now);
    detector.handle_endpoints((0..endpoints).map(|index| (at(index), Arc::new(Monitor::default()))));
    (detector, now)
}

fn report(detector: &mut Detector, endpoint: usize, outcome: Outcome, times: usize, now: Instant) -> Option<Change> {
    (0..times).filter_map(|_| detector.handle_result(at(endpoint), outcome, now)).last()
}

fn ejected(endpoint: usize, detection: Detection) -> Change {
    Change::Ejected { endpoint: at(endpoint), detection }
}

#[test]
fn runs_of_failures() {
    let all = OutlierSettings { max_ejection_percent: 100, ..OutlierSettings::default() };
    let gateway = OutlierSettings { enforcing_consecutive_gateway_failure: 100, consecutive_5xx: 0, ..all.clone() };
    let split = OutlierSettings { split_local_origin: true, ..all.clone() };
    let some = |detection| Some(ejected(0, detection));
    type Row<'a> = (&'a OutlierSettings, &'a [(Outcome, usize)], Option<Change>);
    let table: [Row<'_>; 12] = [
        (&all, &[(BAD, 4)], None),
        (&all, &[(BAD, 5)], some(Detection::Consecutive5xx)),
        (&all, &[(BAD, 4), (Outcome::OK, 1), (BAD, 4)], None),
        (&all, &[(Outcome::Status(404), 100)], None),
        (
            &all,
            &[(Outcome::Unreachable, 2), (Outcome::TimedOut, 2), (Outcome::Failed, 1)],
            some(Detection::Consecutive5xx),
        ),
        (&OutlierSettings { consecutive_5xx: 0, ..all.clone() }, &[(BAD, 100)], None),
        (&gateway, &[(Outcome::Status(503), 5)], some(Detection::ConsecutiveGatewayFailure)),
        (&gateway, &[(Outcome::Status(503), 4), (BAD, 1), (Outcome::Status(502), 4)], None),
        (&split, &[(Outcome::Unreachable, 4), (Outcome::TimedOut, 1)], some(Detection::ConsecutiveLocalOriginFailure)),
        (&split, &[(Outcome::Unreachable, 4), (BAD, 4)], None),
        (&split, &[(Outcome::Unreachable, 4), (BAD, 1), (Outcome::Unreachable, 4)], None),
        (&split, &[(BAD, 5)], some(Detection::Consecutive5xx)),
    ];
    for (settings, results, expected) in table {
        let (mut detector, now) = detector(settings.clone(), 10);
        let changes = results.iter().filter_map(|(outcome, times)| report(&mut detector, 0, *outcome, *times, now));
        assert_eq!(changes.last(), expected, "{results:?}");
    }
}

#[test]
fn ejections_last_longer_each_time() {
    let settings = OutlierSettings { max_ejection_percent: 100, ..OutlierSettings::default() };
    let (mut detector, start) = detector(settings, 10);
    let mut now = start;
    let mut durations = Vec::new();
    for _ in 0..12 {
        assert_eq!(report(&mut detector, 0, BAD, 5, now), Some(ejected(0, Detection::Consecutive5xx)));
        let at_ejection = now;
        while detector.is_ejected(at(0)) {
            now = detector.next_tick();
            detector.handle_tick(now);
        }
        durations.push((now - at_ejection).as_secs());
    }
    assert_eq!(durations, [30, 60, 90, 120, 150, 180, 210, 240, 270, 300, 300, 300]);
    // Each interval without an ejection takes one step back.
    for _ in 0..4 {
        now = detector.next_tick();
        detector.handle_tick(now);
    }
    report(&mut detector, 0, BAD, 5, now);
    let at_ejection = now;
    while detector.is_ejected(at(0)) {
        now = detector.next_tick();
        detector.handle_tick(now);
    }
    assert_eq!((now - at_ejection).as_secs(), 240);
}

#[test]
fn the_share_of_ejected_endpoints_is_bounded() {
    // Endpoints, percent, always one, how many can be ejected at once.
    let table = [(9, 10, false, 0), (9, 10, true, 1), (10, 10, false, 1), (10, 35, false, 3), (4, 100, false, 4)];
    for (endpoints, max_ejection_percent, always_eject_one, expected) in table {
        let settings = OutlierSettings { max_ejection_percent, always_eject_one, ..OutlierSettings::default() };
        let (mut detector, now) = detector(settings, endpoints);
        let ejected = (0..endpoints).filter(|index| report(&mut detector, *index, BAD, 5, now).is_some()).count();
        assert_eq!(ejected, expected, "{endpoints} endpoints, {max_ejection_percent} %");
    }
}

#[test]
fn a_rate_of_success_far_below_the_others() {
    // Mean 90, deviation 20: at a factor of 1.9 the threshold is 52.
    for (successes, expected) in [(50, true), (51, true)] {
        assert_eq!(success_rate_ejects(&[successes, 100, 100, 100, 100], 1900), expected, "{successes}");
    }
    // With 1.99 it is 50.2, with 2.0 it is 50, which is not below.
    assert!(success_rate_ejects(&[50, 100, 100, 100, 100], 1990));
    assert!(!success_rate_ejects(&[50, 100, 100, 100, 100], 2000));
    // Too few endpoints to compare.
    assert!(!success_rate_ejects(&[50, 100, 100, 100], 1000));
}

fn success_rate_ejects(successes: &[usize], success_rate_stdev_factor: u32) -> bool {
    let settings = OutlierSettings {
        consecutive_5xx: 0,
        max_ejection_percent: 100,
        success_rate_stdev_factor,
        ..OutlierSettings::default()
    };
    let (mut detector, _) = detector(settings, successes.len());
    let now = detector.next_tick();
    for (index, successes) in successes.iter().enumerate() {
        report(&mut detector, index, BAD, 100 - successes, now);
        report(&mut detector, index, Outcome::OK, *successes, now);
    }
    let changes = detector.handle_tick(now);
    assert!(changes.iter().all(|change| *change == ejected(0, Detection::SuccessRate)), "{changes:?}");
    !changes.is_empty()
}

#[test]
fn a_percentage_of_failures() {
    let settings = OutlierSettings {
        consecutive_5xx: 0,
        enforcing_success_rate: 0,
        enforcing_failure_percentage: 100,
        max_ejection_percent: 100,
        ..OutlierSettings::default()
    };
    // Failures of 100 requests; 85 % is enough.
    for (failures, expected) in [(84, false), (85, true), (100, true)] {
        let (mut detector, _) = detector(settings.clone(), 5);
        let now = detector.next_tick();
        for index in 0..5 {
            let failures = if index == 3 { failures } else { 0 };
            report(&mut detector, index, BAD, failures, now);
            report(&mut detector, index, Outcome::OK, 100 - failures, now);
        }
        let expected = expected.then(|| ejected(3, Detection::FailurePercentage));
        assert_eq!(detector.handle_tick(now), Vec::from_iter(expected), "{failures}");
        // The next interval counts from zero.
        assert!(detector.handle_tick(now + Duration::from_secs(10)).is_empty());
    }
}

#[test]
fn local_failures_are_compared_apart() {
    let settings = OutlierSettings {
        split_local_origin: true,
        consecutive_local_origin_failure: 0,
        max_ejection_percent: 100,
        ..OutlierSettings::default()
    };
    let (mut detector, _) = detector(settings, 6);
    let now = detector.next_tick();
    for index in 0..6 {
        report(&mut detector, index, Outcome::OK, 100, now);
    }
    report(&mut detector, 2, Outcome::Unreachable, 100, now);
    assert_eq!(detector.handle_tick(now), [ejected(2, Detection::SuccessRateLocalOrigin)]);
}

#[test]
fn detections_that_are_not_enforced_have_no_effect() {
    let settings = OutlierSettings { enforcing_consecutive_5xx: 30, max_ejection_percent: 100, ..Default::default() };
    let (mut detector, now) = detector(settings, 100);
    let ejected = (0..100).filter(|index| report(&mut detector, *index, BAD, 5, now).is_some()).count();
    assert!((15..=45).contains(&ejected), "{ejected} of 100 with a probability of 30 %");
}

#[test]
fn a_passing_check_ends_an_ejection_if_it_may() {
    for passing_check_unejects in [true, false] {
        let settings = OutlierSettings { passing_check_unejects, max_ejection_percent: 100, ..Default::default() };
        let (mut detector, now) = detector(settings, 3);
        report(&mut detector, 1, BAD, 5, now);
        let returned = passing_check_unejects.then(|| Change::Returned { endpoint: at(1) });
        assert_eq!(detector.handle_passing_check(at(1), now), returned);
        assert_eq!(detector.is_ejected(at(1)), !passing_check_unejects);
    }
}

#[test]
fn endpoints_that_go_are_not_counted_any_more() {
    let settings = OutlierSettings { max_ejection_percent: 50, ..Default::default() };
    let (mut detector, now) = detector(settings, 2);
    assert!(report(&mut detector, 0, BAD, 5, now).is_some());
    assert_eq!(report(&mut detector, 1, BAD, 5, now), None);
    detector.handle_endpoints((1..3).map(|index| (at(index), Arc::new(Monitor::default()))));
    assert!(!detector.is_ejected(at(0)));
    assert!(report(&mut detector, 1, BAD, 5, now).is_some());
    assert_eq!(detector.handle_result(at(0), BAD, now), None);
}

#[test]
fn settings_that_contradict_themselves() {
    let good = OutlierSettings::default();
    assert_eq!(good.validate(), Ok(()));
    let long = OutlierSettings { base_ejection_time: Duration::from_secs(301), ..good.clone() };
    assert_eq!(long.validate(), Err(InvalidOutlierSettings::MaxBelowBase));
    let never = OutlierSettings { interval: Duration::ZERO, ..good.clone() };
    assert_eq!(never.validate(), Err(InvalidOutlierSettings::Zero { field: "interval" }));
    let much = OutlierSettings { enforcing_success_rate: 101, ..good };
    assert_eq!(much.validate(), Err(InvalidOutlierSettings::Percentage { field: "enforcing_success_rate" }));
}
