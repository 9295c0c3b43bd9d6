//! The loop of attempts beside a naive model of it.

use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

use super::scripted::{Got, IntoBalancer, Piece};
use super::*;
use crate::balance::{CircuitSettings, Cluster, Discovery, OutlierSettings, RetryLimit, Thresholds};
use crate::route::Priority;

/// How an attempt ends if it is left alone.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Ends {
    Status(u16),
    Reset,
    Overflow,
}

#[derive(Debug, Clone)]
struct Case {
    acts: Vec<(u64, Ends)>,
    retries: u32,
    budget: u32,
    per_try: Option<u64>,
    hedged: bool,
    timeout: u64,
    body: bool,
}

fn case() -> impl Strategy<Value = Case> {
    let ends = select(vec![Ends::Status(200), Ends::Status(500), Ends::Status(503), Ends::Reset, Ends::Overflow]);
    let acts = prop::collection::vec((prop_oneof![Just(NEVER), 1_u64..200], ends), 8);
    (acts, 0_u32..5, 0_u32..4, option::of(20_u64..120), any::<bool>(), 100_u64..600, any::<bool>()).prop_map(
        |(acts, retries, budget, per_try, hedged, timeout, body)| Case {
            acts,
            retries,
            budget,
            per_try: per_try.filter(|per_try| *per_try < timeout),
            hedged,
            timeout,
            body,
        },
    )
}

/// What a client sees, and what it cost.
#[derive(Debug, PartialEq)]
struct Seen {
    status: u16,
    flags: &'static str,
    attempts: u32,
    at: u64,
}

struct Running {
    ends_at: u64,
    ends: Ends,
    slow_at: Option<u64>,
    is_retry: bool,
}

/// A simulation, moment by moment. `None` where two things happen in the same moment: their order is not defined.
fn model(case: &Case) -> Option<Seen> {
    let (mut running, mut begun): (Vec<Running>, u32) = (Vec::new(), 0);
    let begin = |running: &mut Vec<Running>, begun: &mut u32, now: u64| {
        let (after, ends) = case.acts[*begun as usize];
        let slow_at = case.per_try.map(|per_try| now + per_try);
        running.push(Running { ends_at: now + after, ends, slow_at, is_retry: *begun > 0 });
        *begun += 1;
    };
    // What keeps another attempt from being made.
    let denied = |running: &[Running], begun: u32| {
        let retries = running.iter().filter(|one| one.is_retry).count();
        match () {
            () if begun > case.retries => Some("URX"),
            () if retries >= case.budget as usize => Some("UO"),
            () => None,
        }
    };
    begin(&mut running, &mut begun, 0);
    loop {
        let moments =
            || running.iter().flat_map(|one| [Some(one.ends_at), one.slow_at]).flatten().chain([case.timeout]);
        let now = moments().min()?;
        if moments().filter(|moment| *moment == now).count() > 1 {
            return None;
        }
        if now == case.timeout {
            return Some(Seen { status: 504, flags: "UT", attempts: begun, at: now });
        }
        let (is_over, at) = match running.iter().position(|one| one.slow_at == Some(now)) {
            Some(at) => (!case.hedged, at),
            None => (true, running.iter().position(|one| one.ends_at == now)?),
        };
        if !is_over {
            running[at].slow_at = None;
            if denied(&running, begun).is_none() {
                begin(&mut running, &mut begun, now);
            }
            continue;
        }
        let one = running.remove(at);
        let late = one.slow_at == Some(now);
        let answer = |status, flags| Some(Seen { status, flags, attempts: begun, at: now });
        match one.ends {
            Ends::Status(status @ (200 | 500)) if !late => return answer(status, "-"),
            Ends::Overflow if !late => match running.is_empty() {
                true => return answer(503, "UO"),
                false => continue,
            },
            _ => {}
        }
        let Some(why) = denied(&running, begun) else {
            begin(&mut running, &mut begun, now);
            continue;
        };
        if running.is_empty() {
            let (status, flags) = match (late, one.ends, why) {
                (true, _, "URX") => (504, "UT,URX"),
                (true, ..) => (504, "UO,UT"),
                (false, Ends::Reset, "URX") => (503, "UR,URX"),
                (false, Ends::Reset, _) => (503, "UO,UR"),
                (false, _, "URX") => (503, "URX"),
                (false, ..) => (503, "UO"),
            };
            return answer(status, flags);
        }
    }
}

/// What happens in fact; and that nothing of it is left behind.
async fn happens(case: &Case) -> (Got, Scene) {
    let mut cluster = Cluster::new("shop", Discovery::Eds { service_name: None });
    let default = Thresholds { retries: RetryLimit::Count(case.budget), ..Thresholds::default() };
    cluster.circuit = CircuitSettings { default, ..CircuitSettings::default() };
    cluster.outlier = Some(OutlierSettings { consecutive_5xx: 0, ..OutlierSettings::default() });
    let acts = case.acts.iter().map(|(after, ends)| match *ends {
        Ends::Status(code) => status(*after, code),
        Ends::Reset => fails(*after, SendFailure::Reset { sent: true }),
        Ends::Overflow => fails(*after, SendFailure::Overflow),
    });
    let scene = Scene::of(vec![cluster.into_balancer(3)]).acts("shop", acts);
    let host = to(|forward| {
        forward.timeout = Some(millis(case.timeout));
        forward.hedge = Some(Hedge { on_per_try_timeout: case.hedged });
        forward.retry = Some(RetryPolicy {
            per_try_timeout: case.per_try.map(millis),
            back_off: BackOff { base: millis(0), max: None },
            ..retrying(RetryOn::GATEWAY_ERROR, case.retries)
        });
    });
    let body: &[Piece] = if case.body { &[Piece::Data(0, "one"), Piece::Data(0, "two")] } else { &[] };
    let got = ask(&scene.forwarder(settings()), post(host, body)).await;
    (got, scene)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn attempts_are_as_the_model_has_them(case in case()) {
        let Some(expected) = model(&case) else { return Ok(()) };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        let (got, scene) = runtime.block_on(happens(&case));
        let flags = got.flags();
        let attempts = got.exchange.upstream.as_ref().unwrap().attempts;
        let seen = (got.status, flags.as_str(), attempts, got.times.0);
        prop_assert_eq!(seen, (expected.status, expected.flags, expected.attempts, expected.at), "{:?}", case);
        let sent = scene.seen();
        prop_assert_eq!(sent.len(), attempts as usize);
        prop_assert!(attempts <= case.retries + 1 && got.times.1 <= case.timeout);
        if case.body {
            prop_assert!(sent.iter().all(|seen| seen.body == Some(Ok("onetwo".to_owned()))));
        }
        prop_assert!(scene.is_quiet(), "something is left in flight");
        let circuit = scene.balancer("shop").circuit();
        let now = tokio::time::Instant::now().into_std();
        let free: Vec<_> = (0..case.budget).map_while(|_| circuit.try_retry(Priority::Default, now)).collect();
        prop_assert_eq!(free.len(), case.budget as usize, "a retry is counted that is over");
    }
}
