use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::super::assignment::Endpoint;
use super::super::balancer::Probed;
use super::result::ProbeResult;
use super::settings::{HealthCheck, Probe};

/// Decides which endpoint is probed when, and what the results say of it. Does not read a clock: the time is handed in.
///
/// Of several checks each has its own times and thresholds; an endpoint passes when it passes all of them.
///
/// ```
/// use std::time::{Duration, Instant};
///
/// use mesh_core::balance::{Checker, Endpoint, HealthCheck, HttpProbe, Probe, ProbeResult, Probed};
///
/// let second = Duration::from_secs(1);
/// let check = HealthCheck::new(Probe::Http(HttpProbe::new("/healthz")), second, 10 * second);
/// let endpoint = Endpoint::new("10.0.0.1:80".parse()?);
///
/// # #[allow(clippy::disallowed_methods, reason = "an example")]
/// let now = Instant::now();
/// let mut checker = Checker::new(vec![check], 1);
/// checker.handle_traffic();
/// checker.handle_endpoints([&endpoint], now);
/// let due = checker.take_due(now).ok_or("a new endpoint is probed at once")?;
/// let decided = checker.handle_result(due.id, ProbeResult::Passed, now);
/// assert_eq!(decided, Some((endpoint.address, Probed::Passing)));
/// assert_eq!(checker.next_due(), Some(now + 10 * second));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Checker {
    checks: Vec<Arc<HealthCheck>>,
    endpoints: HashMap<SocketAddr, Checked>,
    /// Waits for their time.
    waiting: BTreeSet<(Instant, ProbeId)>,
    /// Whether the cluster was ever used.
    has_traffic: bool,
    sessions: u64,
    rng: fastrand::Rng,
}

/// A probe that is to be made now.
#[derive(Debug, Clone)]
pub struct Due {
    /// What its result is reported under.
    pub id: ProbeId,
    /// Whom it is about.
    pub endpoint: Arc<Endpoint>,
    /// How it is made. Its timeout is kept by who makes it.
    pub check: Arc<HealthCheck>,
}

/// Which probe a result is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProbeId {
    endpoint: SocketAddr,
    check: usize,
    /// Tells an endpoint that was removed and came back from the one before.
    session: u64,
}

impl ProbeId {
    /// The endpoint.
    #[must_use]
    pub const fn endpoint(&self) -> SocketAddr {
        self.endpoint
    }
}

impl Due {
    /// Where the probe goes to: the endpoint, unless it or the check names another address or port.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        let other = &self.endpoint.probe;
        let mut address = other.address.unwrap_or(self.endpoint.address);
        let of_check = self.check.port.filter(|_| other.address.is_none());
        if let Some(port) = other.port.or(of_check) {
            address.set_port(port);
        }
        address
    }

    /// The authority of the probe's request: the endpoint's own, that of the check, or else the name of the cluster.
    #[must_use]
    pub fn authority<'a>(&'a self, cluster: &'a str) -> &'a str {
        let of_check = match &self.check.probe {
            Probe::Http(probe) => probe.host.as_str(),
            Probe::Grpc(probe) => probe.authority.as_str(),
            Probe::Tcp(_) => "",
        };
        [self.endpoint.probe.hostname.as_str(), of_check].into_iter().find(|name| !name.is_empty()).unwrap_or(cluster)
    }
}

#[derive(Debug)]
struct Checked {
    endpoint: Arc<Endpoint>,
    /// One for each check.
    sessions: Vec<Session>,
}

/// What one check knows of one endpoint.
#[derive(Debug)]
struct Session {
    number: u64,
    /// When its probe is made; none while one is under way.
    due: Option<Instant>,
    verdict: Option<Probed>,
    /// Good results in a row of an endpoint that is not healthy.
    good: u32,
    /// Bad results in a row of an endpoint that is healthy.
    bad: u32,
}

/// What a result changed, which decides about the time to the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Transition {
    None,
    /// More of the same are needed.
    Pending,
    Done,
}

impl Checker {
    /// A checker without endpoints. The seed is that of the draws: jitter.
    #[must_use]
    pub fn new(checks: Vec<HealthCheck>, seed: u64) -> Self {
        Self {
            checks: checks.into_iter().map(Arc::new).collect(),
            endpoints: HashMap::new(),
            waiting: BTreeSet::new(),
            has_traffic: false,
            sessions: 0,
            rng: fastrand::Rng::with_seed(seed),
        }
    }

    /// Goes on with other checks. Those that stay the same keep what they know; if any does not, endpoints are undecided
    /// until it was made, which leaves what was decided before in force.
    pub fn handle_checks(&mut self, checks: &[HealthCheck], now: Instant) {
        if self.checks.iter().map(|check| &**check).eq(checks) {
            return;
        }
        let before = std::mem::replace(&mut self.checks, checks.iter().cloned().map(Arc::new).collect());
        self.waiting.clear();
        let mut endpoints = std::mem::take(&mut self.endpoints);
        for (address, checked) in &mut endpoints {
            let mut kept: Vec<_> = checked.sessions.drain(..).map(Some).collect();
            for index in 0..self.checks.len() {
                let same = before.get(index).is_some_and(|check| self.checks.get(index) == Some(check));
                let session = match kept.get_mut(index).and_then(Option::take).filter(|_| same) {
                    Some(session) => session,
                    None => self.session(index, now),
                };
                self.wait(*address, index, &session);
                checked.sessions.push(session);
            }
        }
        self.endpoints = endpoints;
    }

    /// These are the endpoints now. Those that stay keep what is known of them; those whose checks are disabled are left
    /// out, and a result for one that is gone is of no interest any more.
    pub fn handle_endpoints<'a>(&mut self, endpoints: impl IntoIterator<Item = &'a Endpoint>, now: Instant) {
        let mut before = std::mem::take(&mut self.endpoints);
        for endpoint in endpoints {
            let address = endpoint.address;
            if endpoint.probe.disabled || self.endpoints.contains_key(&address) {
                continue;
            }
            let checked = match before.remove(&address) {
                Some(Checked { endpoint: same, sessions }) if *same == *endpoint => {
                    Checked { endpoint: same, sessions }
                }
                Some(Checked { sessions, .. }) => Checked { endpoint: Arc::new(endpoint.clone()), sessions },
                None => {
                    let sessions: Vec<_> = (0..self.checks.len()).map(|check| self.session(check, now)).collect();
                    for (check, session) in sessions.iter().enumerate() {
                        self.wait(address, check, session);
                    }
                    Checked { endpoint: Arc::new(endpoint.clone()), sessions }
                }
            };
            self.endpoints.insert(address, checked);
        }
        for (address, Checked { sessions, .. }) in before {
            for (check, session) in sessions.iter().enumerate() {
                if let Some(due) = session.due {
                    self.waiting.remove(&(due, ProbeId { endpoint: address, check, session: session.number }));
                }
            }
        }
    }

    /// The cluster is used. Before it was ever used, probes are as rare as
    /// [`no_traffic_interval`](HealthCheck::no_traffic_interval) says; those that wait already are made at their time.
    pub fn handle_traffic(&mut self) {
        self.has_traffic = true;
    }

    /// The next probe that is due, which is then under way until its result is reported.
    pub fn take_due(&mut self, now: Instant) -> Option<Due> {
        let (_, id) = self.waiting.first().copied().filter(|(at, _)| *at <= now)?;
        self.waiting.pop_first();
        let checked = self.endpoints.get_mut(&id.endpoint)?;
        checked.sessions.get_mut(id.check)?.due = None;
        let check = Arc::clone(self.checks.get(id.check)?);
        Some(Due { id, endpoint: Arc::clone(&checked.endpoint), check })
    }

    /// When [`take_due`](Self::take_due) has something; never, while all probes are under way.
    #[must_use]
    pub fn next_due(&self) -> Option<Instant> {
        self.waiting.first().map(|(at, _)| *at)
    }

    /// A probe has ended. Tells what is to be handed to [`Balancer::handle_probes`](super::super::Balancer), which is not
    /// only what changes: each time that a healthy endpoint passes may end an ejection.
    pub fn handle_result(&mut self, id: ProbeId, result: ProbeResult, now: Instant) -> Option<(SocketAddr, Probed)> {
        let check = self.checks.get(id.check)?;
        let checked = self.endpoints.get_mut(&id.endpoint)?;
        let session = checked.sessions.get_mut(id.check)?;
        if session.number != id.session || session.due.is_some() {
            return None;
        }
        let transition = session.take(result, check);
        let base = interval(check, self.has_traffic, result.is_good(), transition);
        let due = now + jittered(check, base, &mut self.rng);
        session.due = Some(due);
        self.waiting.insert((due, id));
        let verdict = checked.verdict()?;
        // A bad result that does not count yet says nothing to anybody.
        (result.is_good() || verdict == Probed::Failing).then_some((id.endpoint, verdict))
    }

    /// An endpoint said in an answer to a request that it fails from now on (`x-envoy-immediate-health-check-fail`). It
    /// does until it passes again.
    pub fn handle_immediate_failure(&mut self, endpoint: SocketAddr) -> Option<(SocketAddr, Probed)> {
        let checked = self.endpoints.get_mut(&endpoint)?;
        for session in &mut checked.sessions {
            session.fail();
        }
        checked.verdict().map(|verdict| (endpoint, verdict))
    }

    /// What is decided of an endpoint so far.
    #[must_use]
    pub fn probed(&self, endpoint: SocketAddr) -> Option<Probed> {
        self.endpoints.get(&endpoint)?.verdict()
    }

    fn session(&mut self, check: usize, now: Instant) -> Session {
        self.sessions += 1;
        let jitter = self.checks.get(check).map_or(Duration::ZERO, |check| check.initial_jitter);
        let due = Some(now + times(jitter, self.rng.f64()));
        Session { number: self.sessions, due, verdict: None, good: 0, bad: 0 }
    }

    fn wait(&mut self, endpoint: SocketAddr, check: usize, session: &Session) {
        if let Some(due) = session.due {
            self.waiting.insert((due, ProbeId { endpoint, check, session: session.number }));
        }
    }
}

impl Checked {
    /// The worst that any check says, once all have said something; one that fails is enough.
    fn verdict(&self) -> Option<Probed> {
        let said = || self.sessions.iter().map(|session| session.verdict);
        match () {
            () if said().any(|verdict| verdict == Some(Probed::Failing)) => Some(Probed::Failing),
            () if self.sessions.is_empty() || said().any(|verdict| verdict.is_none()) => None,
            () if said().any(|verdict| verdict == Some(Probed::Degraded)) => Some(Probed::Degraded),
            () => Some(Probed::Passing),
        }
    }
}

impl Session {
    fn take(&mut self, result: ProbeResult, check: &HealthCheck) -> Transition {
        if result.is_good() {
            self.bad = 0;
            let now = if result == ProbeResult::Degraded { Probed::Degraded } else { Probed::Passing };
            if self.verdict == Some(Probed::Failing) {
                self.good += 1;
                if self.good < check.healthy_threshold.get() {
                    return Transition::Pending;
                }
            }
            let before = self.verdict.replace(now);
            return if before == Some(now) { Transition::None } else { Transition::Done };
        }
        self.good = 0;
        if self.verdict.is_some_and(|verdict| verdict != Probed::Failing) && !result.decides_at_once() {
            self.bad += 1;
            if self.bad < check.unhealthy_threshold.get() {
                return Transition::Pending;
            }
        }
        let before = self.verdict;
        self.fail();
        if before == self.verdict { Transition::None } else { Transition::Done }
    }

    fn fail(&mut self) {
        (self.good, self.bad) = (0, 0);
        self.verdict = Some(Probed::Failing);
    }
}

/// The time to the next probe, without jitter.
fn interval(check: &HealthCheck, has_traffic: bool, good: bool, transition: Transition) -> Duration {
    let HealthCheck { interval, no_traffic_interval, .. } = *check;
    let pending = transition == Transition::Pending;
    let unhealthy = check.unhealthy_interval.unwrap_or(interval);
    match (has_traffic, good, pending) {
        (false, true, false) => check.no_traffic_healthy_interval.unwrap_or(no_traffic_interval),
        (false, _, _) => no_traffic_interval,
        (true, true, true) => check.healthy_edge_interval.unwrap_or(interval),
        (true, true, false) => interval,
        (true, false, true) => check.unhealthy_edge_interval.unwrap_or(unhealthy),
        (true, false, false) => unhealthy,
    }
}

/// Never nothing: an interval of zero would be a loop without a pause.
fn jittered(check: &HealthCheck, base: Duration, rng: &mut fastrand::Rng) -> Duration {
    let share = times(base, f64::from(check.interval_jitter_percent) / 100.0 * rng.f64());
    let more = times(check.interval_jitter, rng.f64());
    base.saturating_add(share).saturating_add(more).clamp(Duration::from_millis(1), LONGEST)
}

/// Longer than anybody waits, and short enough to be added to the time that it is.
const LONGEST: Duration = Duration::from_secs(100 * 366 * 24 * 60 * 60);

fn times(duration: Duration, factor: f64) -> Duration {
    Duration::try_from_secs_f64(duration.as_secs_f64() * factor).map_or(LONGEST, |product| product.min(LONGEST))
}
