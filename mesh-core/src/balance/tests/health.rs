use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use super::*;
use crate::string_match::Pattern;

const SECOND: Duration = Duration::from_secs(1);

/// Times by which each interval can be told from the others.
fn check(unhealthy: u32, healthy: u32) -> HealthCheck {
    HealthCheck {
        unhealthy_threshold: NonZeroU32::new(unhealthy).unwrap(),
        healthy_threshold: NonZeroU32::new(healthy).unwrap(),
        unhealthy_interval: Some(20 * SECOND),
        unhealthy_edge_interval: Some(3 * SECOND),
        healthy_edge_interval: Some(4 * SECOND),
        ..HealthCheck::new(Probe::Tcp(TcpProbe::default()), SECOND, 10 * SECOND)
    }
}

struct Shell {
    checker: Checker,
    now: Instant,
}

impl Shell {
    fn new(checks: Vec<HealthCheck>, endpoints: usize) -> Self {
        let mut shell = Self { checker: Checker::new(checks, 1), now: Instant::now() };
        shell.checker.handle_traffic();
        shell.assign(endpoints);
        shell
    }

    fn assign(&mut self, endpoints: usize) {
        let endpoints: Vec<_> = (0..endpoints).map(|index| endpoint(index, 1)).collect();
        self.checker.handle_endpoints(&endpoints, self.now);
    }

    /// Waits for the next probe, which ends so; what is decided, and the seconds to the next.
    fn probe(&mut self, result: ProbeResult) -> (Option<Probed>, u64) {
        self.now = self.checker.next_due().unwrap();
        let due = self.checker.take_due(self.now).unwrap();
        let decided = self.checker.handle_result(due.id, result, self.now);
        let next = self.checker.next_due().unwrap() - self.now;
        (decided.map(|(_, probed)| probed), next.as_secs())
    }
}

#[test]
fn thresholds_and_intervals() {
    use ProbeResult::{Degraded as Weak, Failed, Passed, Retriable, TimedOut, Unreachable};
    use Probed::{Degraded, Failing, Passing};
    // Unhealthy and healthy threshold, then result → what is told, seconds to the next probe.
    type Row<'a> = (u32, u32, &'a [(ProbeResult, Option<Probed>, u64)]);
    let table: [Row<'_>; 9] = [
        // The first result decides at once, whatever the thresholds are.
        (3, 3, &[(Passed, Some(Passing), 10), (Passed, Some(Passing), 10)]),
        (3, 3, &[(TimedOut, Some(Failing), 20), (TimedOut, Some(Failing), 20)]),
        // So many in a row; in between, the edge interval.
        (
            3,
            1,
            &[(Passed, Some(Passing), 10), (TimedOut, None, 3), (Retriable, None, 3), (Unreachable, Some(Failing), 20)],
        ),
        // A good one between starts the run again.
        (2, 1, &[(Passed, Some(Passing), 10), (TimedOut, None, 3), (Passed, Some(Passing), 10), (TimedOut, None, 3)]),
        // A bad answer decides at once.
        (9, 1, &[(Passed, Some(Passing), 10), (TimedOut, None, 3), (Failed, Some(Failing), 20)]),
        // The way back, and a bad one between that starts the run again.
        (1, 2, &[(Failed, Some(Failing), 20), (Passed, Some(Failing), 4), (Passed, Some(Passing), 10)]),
        (
            1,
            2,
            &[
                (Failed, Some(Failing), 20),
                (Passed, Some(Failing), 4),
                (TimedOut, Some(Failing), 20),
                (Passed, Some(Failing), 4),
                (Passed, Some(Passing), 10),
            ],
        ),
        // Runs do not outlive what they led to.
        (
            2,
            2,
            &[
                (Passed, Some(Passing), 10),
                (TimedOut, None, 3),
                (TimedOut, Some(Failing), 20),
                (Passed, Some(Failing), 4),
                (Passed, Some(Passing), 10),
                (TimedOut, None, 3),
            ],
        ),
        // Degraded is healthy: it changes at once, and needs the threshold from below.
        (
            2,
            2,
            &[
                (Weak, Some(Degraded), 10),
                (Passed, Some(Passing), 10),
                (Weak, Some(Degraded), 10),
                (TimedOut, None, 3),
                (Failed, Some(Failing), 20),
                (Weak, Some(Failing), 4),
                (Weak, Some(Degraded), 10),
            ],
        ),
    ];
    for (unhealthy, healthy, rows) in table {
        let mut shell = Shell::new(vec![check(unhealthy, healthy)], 1);
        for (step, (result, probed, next)) in rows.iter().enumerate() {
            assert_eq!(shell.probe(*result), (*probed, *next), "{unhealthy}/{healthy} step {step} of {rows:?}");
        }
    }
}

#[test]
fn intervals_that_are_not_set_are_those_they_stand_for() {
    let plain = HealthCheck {
        unhealthy_threshold: NonZeroU32::new(2).unwrap(),
        healthy_threshold: NonZeroU32::new(2).unwrap(),
        ..HealthCheck::new(Probe::Tcp(TcpProbe::default()), SECOND, 10 * SECOND)
    };
    let run = [ProbeResult::Passed, ProbeResult::TimedOut, ProbeResult::TimedOut, ProbeResult::Passed];
    let seconds = |check| {
        let mut shell = Shell::new(vec![check], 1);
        run.map(|result| shell.probe(result).1)
    };
    assert_eq!(seconds(plain.clone()), [10, 10, 10, 10]);
    // The edge on the way down is as the unhealthy interval, not as the usual one.
    assert_eq!(seconds(HealthCheck { unhealthy_interval: Some(7 * SECOND), ..plain }), [10, 7, 7, 10]);
}

#[test]
fn without_traffic_probes_are_rare() {
    for (healthy_interval, expected) in [(None, [60, 60, 60, 60]), (Some(30 * SECOND), [30, 60, 60, 30])] {
        let rare = HealthCheck { no_traffic_healthy_interval: healthy_interval, ..check(2, 1) };
        let mut shell = Shell { checker: Checker::new(vec![rare], 1), now: Instant::now() };
        shell.assign(1);
        // Good, then pending, then failing, then good again.
        let results = [ProbeResult::Passed, ProbeResult::TimedOut, ProbeResult::TimedOut, ProbeResult::Passed];
        assert_eq!(results.map(|result| shell.probe(result).1), expected);
        shell.checker.handle_traffic();
        assert_eq!(shell.probe(ProbeResult::Passed).1, 10);
    }
}

#[test]
fn jitter_is_added_and_spreads_endpoints() {
    let spread = HealthCheck {
        initial_jitter: 8 * SECOND,
        interval_jitter: 5 * SECOND,
        interval_jitter_percent: 50,
        ..check(1, 1)
    };
    let mut shell = Shell::new(vec![spread], 500);
    let begun = shell.now;
    let mut first = Vec::new();
    let mut second = Vec::new();
    while let Some(at) = shell.checker.next_due().filter(|at| *at < begun + 8 * SECOND) {
        let due = shell.checker.take_due(at).unwrap();
        assert!(shell.checker.handle_result(due.id, ProbeResult::Passed, at).is_some());
        first.push((at - begun).as_secs_f64());
    }
    assert_eq!(first.len(), 500);
    let dues: Vec<_> = std::iter::from_fn(|| shell.checker.take_due(begun + 100 * SECOND)).collect();
    for due in dues {
        shell.checker.handle_result(due.id, ProbeResult::Passed, begun);
    }
    while let Some(at) = shell.checker.next_due() {
        second.push((at - begun).as_secs_f64());
        shell.checker.take_due(at).unwrap();
    }
    // Uniform from 0 to 8: mean 4, with 500 draws within ±0.5. The interval of 10 with up to 5 and up to 5 more: mean 15.
    let mean = |of: &[f64]| of.iter().sum::<f64>() / of.len() as f64;
    assert!((mean(&first) - 4.0).abs() < 0.5, "{}", mean(&first));
    assert!((mean(&second) - 15.0).abs() < 0.5, "{}", mean(&second));
    assert!(second.iter().all(|seconds| (10.0..20.0).contains(seconds)));
}

#[test]
fn an_endpoint_passes_when_it_passes_every_check() {
    let mut shell = Shell::new(vec![check(1, 1), check(1, 1)], 1);
    let dues: Vec<_> = std::iter::from_fn(|| shell.checker.take_due(shell.now)).collect();
    let [first, second] = &*dues else { panic!("{dues:?}") };
    let mut tell = |due: &Due, result| shell.checker.handle_result(due.id, result, shell.now).map(|(_, probed)| probed);
    assert_eq!(tell(first, ProbeResult::Passed), None);
    assert_eq!(tell(second, ProbeResult::Degraded), Some(Probed::Degraded));
    // One that fails is enough, and is not waited for.
    let mut shell = Shell::new(vec![check(1, 1), check(1, 1)], 1);
    assert_eq!(shell.checker.next_due(), Some(shell.now));
    let due = shell.checker.take_due(shell.now).unwrap();
    assert_eq!(shell.checker.handle_result(due.id, ProbeResult::Failed, shell.now), Some((at(0), Probed::Failing)));
}

#[test]
fn a_result_counts_once_and_only_for_who_is_still_there() {
    let mut shell = Shell::new(vec![check(1, 1)], 2);
    let due = shell.checker.take_due(shell.now).unwrap();
    assert_eq!(due.id.endpoint(), at(0));
    // Under way: not due again, and what is already known of it stays when it is assigned again.
    shell.assign(2);
    let other = shell.checker.take_due(shell.now).unwrap();
    assert_eq!((other.id.endpoint(), shell.checker.next_due()), (at(1), None));
    assert!(shell.checker.handle_result(due.id, ProbeResult::Passed, shell.now).is_some());
    assert_eq!(shell.checker.handle_result(due.id, ProbeResult::Failed, shell.now), None);
    assert_eq!(shell.checker.probed(at(0)), Some(Probed::Passing));
    // Gone while its probe was under way; when it comes back, it begins anew.
    shell.assign(1);
    assert_eq!(shell.checker.handle_result(other.id, ProbeResult::Passed, shell.now), None);
    shell.assign(2);
    assert_eq!(shell.checker.handle_result(other.id, ProbeResult::Passed, shell.now), None);
    let again = shell.checker.take_due(shell.now).unwrap();
    assert_eq!(again.id.endpoint(), at(1));
    // Not even while the probe of its new life is under way.
    assert_eq!(shell.checker.handle_result(other.id, ProbeResult::Passed, shell.now), None);
    assert_eq!(shell.checker.handle_result(again.id, ProbeResult::Failed, shell.now), Some((at(1), Probed::Failing)));
    // Gone while it waited: it is not probed any more.
    shell.assign(0);
    assert_eq!(shell.checker.next_due(), None);
    assert!(shell.checker.take_due(shell.now + 1000 * SECOND).is_none());
}

#[test]
fn other_checks_begin_anew_and_the_same_go_on() {
    let mut shell = Shell::new(vec![check(3, 1)], 1);
    shell.probe(ProbeResult::Passed);
    shell.probe(ProbeResult::TimedOut);
    shell.checker.handle_checks(&[check(3, 1)], shell.now);
    assert_eq!(shell.probe(ProbeResult::TimedOut), (None, 3));
    // A second one beside it: the first goes on where it was.
    shell.checker.handle_checks(&[check(3, 1), check(1, 1)], shell.now);
    assert_eq!((shell.checker.probed(at(0)), shell.checker.next_due()), (None, Some(shell.now)));
    let due = shell.checker.take_due(shell.now).unwrap();
    shell.checker.handle_result(due.id, ProbeResult::Passed, shell.now);
    assert_eq!(shell.probe(ProbeResult::TimedOut).0, Some(Probed::Failing));
    shell.checker.handle_checks(&[], shell.now);
    assert_eq!((shell.checker.probed(at(0)), shell.checker.next_due()), (None, None));
}

#[test]
fn an_answer_may_say_that_the_endpoint_fails_from_now_on() {
    let mut shell = Shell::new(vec![check(3, 2)], 1);
    shell.probe(ProbeResult::Passed);
    let due = shell.checker.next_due();
    assert_eq!(shell.checker.handle_immediate_failure(at(0)), Some((at(0), Probed::Failing)));
    assert_eq!(shell.checker.handle_immediate_failure(at(7)), None);
    assert_eq!(shell.checker.next_due(), due);
    assert_eq!(shell.probe(ProbeResult::Passed), (Some(Probed::Failing), 4));
    assert_eq!(shell.probe(ProbeResult::Passed), (Some(Probed::Passing), 10));
}

#[test]
fn where_a_probe_goes_and_for_whom() {
    let address: SocketAddr = "192.0.2.9:15021".parse().unwrap();
    let of = |other_address, other_port, port, host: &str, hostname: &str| {
        let probe = HttpProbe { host: host.into(), ..HttpProbe::new("/") };
        let check = HealthCheck { port, ..HealthCheck::new(Probe::Http(probe), SECOND, SECOND) };
        let probe =
            EndpointProbe { address: other_address, port: other_port, hostname: hostname.into(), disabled: false };
        let mut checker = Checker::new(vec![check], 1);
        checker.handle_endpoints([&Endpoint { probe, ..endpoint(0, 1) }], Instant::now());
        let due = checker.take_due(Instant::now()).unwrap();
        (due.address().to_string(), due.authority("c").to_owned())
    };
    assert_eq!(of(None, None, None, "", ""), ("10.0.0.0:80".into(), "c".into()));
    assert_eq!(of(None, None, Some(81), "a", ""), ("10.0.0.0:81".into(), "a".into()));
    assert_eq!(of(None, Some(82), Some(81), "a", "b"), ("10.0.0.0:82".into(), "b".into()));
    assert_eq!(of(Some(address), None, Some(81), "", "b"), ("192.0.2.9:15021".into(), "b".into()));
    assert_eq!(of(Some(address), Some(82), None, "", ""), ("192.0.2.9:82".into(), "c".into()));
    // Who is not to be probed is not.
    let disabled = EndpointProbe { disabled: true, ..EndpointProbe::default() };
    let mut checker = Checker::new(vec![check(1, 1)], 1);
    checker.handle_endpoints([&Endpoint { probe: disabled, ..endpoint(0, 1) }], Instant::now());
    assert_eq!(checker.next_due(), None);
}

#[test]
fn what_an_answer_means() {
    let parts = |parts: &[&str]| parts.iter().map(|part| part.as_bytes().to_vec()).collect::<Vec<_>>();
    let plain = HttpProbe::new("/");
    let ranges = HttpProbe {
        expected_statuses: vec![200..205, 300..301],
        retriable_statuses: vec![200..500, 500..600],
        ..plain.clone()
    };
    let deep = HttpProbe { receive: parts(&["\"db\":", "ok", "ok"]), ..plain.clone() };
    let named = HttpProbe { service_name: Some(Pattern::prefix("shop")), ..plain.clone() };
    type Row<'a> = (&'a HttpProbe, u16, &'a [(&'static str, &'static str)], &'a str, ProbeResult);
    let name = "x-envoy-upstream-healthchecked-cluster";
    let table: [Row<'_>; 16] = [
        (&plain, 200, &[], "", ProbeResult::Passed),
        (&plain, 204, &[], "", ProbeResult::Failed),
        (&plain, 503, &[], "", ProbeResult::Failed),
        (&plain, 200, &[("x-envoy-degraded", "")], "", ProbeResult::Degraded),
        (&plain, 503, &[("x-envoy-degraded", "")], "", ProbeResult::Failed),
        (&ranges, 204, &[], "", ProbeResult::Passed),
        (&ranges, 205, &[], "", ProbeResult::Retriable),
        (&ranges, 300, &[], "", ProbeResult::Passed),
        (&ranges, 599, &[], "", ProbeResult::Retriable),
        (&deep, 200, &[], "{\"db\": \"ok\", \"cache\": \"ok\"}", ProbeResult::Passed),
        (&deep, 200, &[], "{\"db\": \"ok\", \"cache\": \"down\"}", ProbeResult::Failed),
        (&deep, 200, &[], "ok ok {\"db\": \"down\"}", ProbeResult::Failed),
        (&deep, 503, &[], "{\"db\": \"ok\", \"cache\": \"ok\"}", ProbeResult::Failed),
        (&named, 200, &[(name, "shop-7")], "", ProbeResult::Passed),
        (&named, 200, &[(name, "other")], "", ProbeResult::Failed),
        (&named, 200, &[], "", ProbeResult::Failed),
    ];
    for (probe, status, headers, body, expected) in table {
        let header = |(key, value): &(&'static str, &'static str)| {
            (HeaderName::from_static(key), HeaderValue::from_static(value))
        };
        let headers: HeaderMap = headers.iter().map(header).collect();
        let status = StatusCode::from_u16(status).unwrap();
        assert_eq!(probe.judge(status, &headers, body.as_bytes()), expected, "{status} {body:?} {probe:?}");
    }
    let tcp = TcpProbe { send: vec![], receive: parts(&["PO", "NG", ""]) };
    assert_eq!(tcp.judge(b"+PON"), None);
    assert_eq!(tcp.judge(b"+PONG"), Some(ProbeResult::Passed));
    assert_eq!(tcp.judge(b"NGPO"), None);
    assert_eq!(TcpProbe::default().judge(b""), Some(ProbeResult::Passed));
    let grpc = GrpcProbe::default();
    assert_eq!(
        (0..4).map(|status| grpc.judge(status) == ProbeResult::Passed).collect::<Vec<_>>(),
        [false, true, false, false]
    );
}

#[test]
fn degraded_endpoints_help_out() {
    let probed = Cluster { health_checks: vec![check(1, 1)], ..cluster(Policy::Random) };
    let active = Setup { probing: Probing::Active, ..Setup::default() };
    let mut bench = Bench::with(probed, &flat(&[1; 4]), active);
    let verdicts = (0..4).map(|index| (at(index), if index < 3 { Probed::Passing } else { Probed::Degraded }));
    bench.balancer.handle_probes(verdicts, bench.now);
    assert!(!bench.counts(300).contains_key(&at(3)));
    // 1.4 · 2/4 of the load to the healthy ones, the rest to the degraded one.
    bench.balancer.handle_probes([(at(0), Probed::Failing)], bench.now);
    let counts = bench.counts(10_000);
    assert!((2700..3300).contains(&counts[&at(3)]), "{counts:?}");
}

fn any_result() -> impl Strategy<Value = ProbeResult> {
    use ProbeResult::{Degraded, Failed, Passed, Retriable, TimedOut, Unreachable};
    proptest::sample::select(vec![Passed, Passed, Degraded, Failed, Retriable, Unreachable, TimedOut])
}

proptest! {
    /// Whatever happens, the verdict is what the rules say of the history, and every endpoint has either a probe under way
    /// or a time for the next.
    #[test]
    fn the_verdict_follows_from_the_history(
        unhealthy in 1..4_u32, healthy in 1..4_u32, results in proptest::collection::vec(any_result(), 1..40),
    ) {
        let mut shell = Shell::new(vec![check(unhealthy, healthy)], 1);
        for end in 1..=results.len() {
            shell.probe(results[end - 1]);
            let expected = by_the_book(&results[..end], unhealthy as usize, healthy as usize);
            prop_assert_eq!(shell.checker.probed(at(0)), Some(expected), "{:?}", &results[..end]);
        }
    }

    #[test]
    fn whatever_the_times_nothing_overflows(
        times in proptest::array::uniform6(any::<Duration>()), percent: u32, results in proptest::collection::vec(any_result(), 1..6),
        seed: u64,
    ) {
        let [interval, initial_jitter, interval_jitter, rare, unhealthy, edge] = times;
        let endless = HealthCheck {
            interval,
            initial_jitter,
            interval_jitter,
            interval_jitter_percent: percent,
            no_traffic_interval: rare,
            unhealthy_interval: Some(unhealthy),
            unhealthy_edge_interval: Some(edge),
            ..check(2, 2)
        };
        let mut checker = Checker::new(vec![endless], seed);
        let now = Instant::now();
        checker.handle_endpoints([&endpoint(0, 1)], now);
        for (step, result) in results.into_iter().enumerate() {
            if step == 2 {
                checker.handle_traffic();
            }
            let at = checker.next_due().unwrap();
            let due = checker.take_due(at).unwrap();
            checker.handle_result(due.id, result, now);
            prop_assert!(checker.next_due().unwrap() > now);
        }
    }
}

/// The rules told by the history instead of by counters.
fn by_the_book(results: &[ProbeResult], unhealthy: usize, healthy: usize) -> Probed {
    let is_good = |result: &ProbeResult| matches!(result, ProbeResult::Passed | ProbeResult::Degraded);
    let quality = |result: &ProbeResult| match result {
        ProbeResult::Passed => Probed::Passing,
        ProbeResult::Degraded => Probed::Degraded,
        _ => Probed::Failing,
    };
    let mut verdict = quality(&results[0]);
    let mut since = 1;
    for end in 2..=results.len() {
        let last = &results[end - 1];
        let run = results[since..end].iter().rev().take_while(|result| is_good(result) == is_good(last)).count();
        let next = match (verdict == Probed::Failing, is_good(last)) {
            (true, true) if run >= healthy => quality(last),
            (false, false) if *last == ProbeResult::Failed || run >= unhealthy => Probed::Failing,
            (false, true) => quality(last),
            _ => verdict,
        };
        if (next == Probed::Failing) != (verdict == Probed::Failing) {
            since = end;
        }
        verdict = next;
    }
    verdict
}
