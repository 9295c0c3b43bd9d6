use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use mesh_core::name::{parse_spiffe_id, parse_trust_domain};
use proptest::prelude::*;

use super::rotate::Schedule;
use super::*;
use crate::authority::{Authority, Names, Rules};
use crate::bundle::BundleSet;
use crate::clock::{Clock, SystemClock};

const BEGIN: SystemTime = SystemTime::UNIX_EPOCH;

fn second(n: u64) -> SystemTime {
    BEGIN + Duration::from_secs(n)
}

#[test]
fn due_at_half_life_give_or_take_a_tenth() {
    let mut schedule = Schedule::default();
    assert_eq!(schedule.poll_wait(second(0)), Duration::ZERO, "without an SVID one is due");
    for (jitter, wait) in [(0.0, 1620), (0.5, 1800), (1.0, 1980)] {
        schedule.handle_issued(second(0), second(3600), jitter);
        assert_eq!(schedule.poll_wait(second(0)).as_secs(), wait);
        assert_eq!(schedule.poll_wait(second(wait)), Duration::ZERO);
    }
}

#[test]
fn failures_back_off_and_hurry_near_the_end() {
    let mut schedule = Schedule::default();
    schedule.handle_issued(second(0), second(3600), 0.5);
    let mut now = second(1800);
    let mut waits = Vec::new();
    for _ in 0..7 {
        schedule.handle_failure(now);
        let wait = schedule.poll_wait(now);
        waits.push(wait.as_secs());
        now += wait;
    }
    assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30]);
    schedule.handle_failure(second(3560));
    assert_eq!(schedule.poll_wait(second(3560)), Duration::from_secs(10), "a quarter of the 40 s that are left");
    schedule.handle_failure(second(3599));
    assert_eq!(schedule.poll_wait(second(3599)), Duration::from_secs(1), "never a busy loop");
}

proptest! {
    #[test]
    fn renewal_is_always_due_before_the_end(life in 10_u64..1_000_000, jitter in 0.0_f64..=1.0, failures in 0_u32..200) {
        let mut schedule = Schedule::default();
        schedule.handle_issued(second(0), second(life), jitter);
        let mut now = second(0) + schedule.poll_wait(second(0));
        prop_assert!(now < second(life));
        for _ in 0..failures {
            schedule.handle_failure(now);
            let wait = schedule.poll_wait(now);
            prop_assert!(wait >= Duration::from_secs(1) && wait <= Duration::from_secs(30));
            now += wait;
        }
    }
}

/// A source that counts, and fails on demand.
#[derive(Debug)]
struct Counting {
    authority: Arc<Authority>,
    calls: AtomicUsize,
    fail_from: usize,
    life: Duration,
}

impl SvidSource for Counting {
    fn fetch<'a>(&'a self, id: &'a SpiffeId) -> Fetch<'a> {
        let call = self.calls.fetch_add(1, Ordering::SeqCst);
        Box::pin(async move {
            tokio::time::sleep(Duration::from_millis(20)).await;
            if call >= self.fail_from {
                return Err(Error::Timeout { id: id.to_string(), seconds: 10 });
            }
            LocalSource::new(Arc::clone(&self.authority), self.life, Names::default()).fetch(id).await
        })
    }
}

/// Wall time that moves with the paused clock of tokio.
#[derive(Debug)]
struct Paused(SystemTime, tokio::time::Instant);

impl Clock for Paused {
    fn now(&self) -> SystemTime {
        self.0 + self.1.elapsed()
    }
}

fn counting(fail_from: usize, life: u64) -> (Arc<Counting>, Arc<Paused>) {
    let clock = Arc::new(Paused(SystemClock.now(), tokio::time::Instant::now()));
    let domain = parse_trust_domain("td.test").unwrap();
    let authority = Authority::ephemeral(domain, Rules::default(), Arc::<Paused>::clone(&clock)).unwrap();
    let calls = AtomicUsize::new(0);
    let life = Duration::from_secs(life);
    (Arc::new(Counting { authority: Arc::new(authority), calls, fail_from, life }), clock)
}

fn build(source: &Arc<Counting>, clock: &Arc<Paused>, cache: Option<Cache>) -> Identities {
    let bundles = BundleSet::default().with(source.authority.bundle());
    let builder = Identities::builder(Arc::<Counting>::clone(source), bundles).clock(Arc::<Paused>::clone(clock));
    match cache {
        Some(cache) => builder.cache(cache).build(),
        None => builder.build(),
    }
}

fn web() -> SpiffeId {
    parse_spiffe_id("spiffe://td.test/ns/a/sa/web").unwrap()
}

#[tokio::test(start_paused = true)]
async fn requests_for_one_identity_are_joined() {
    let (source, clock) = counting(usize::MAX, 3600);
    let identities = build(&source, &clock, None);
    let id = web();
    let (one, two, three) = tokio::join!(identities.identity(&id), identities.identity(&id), identities.identity(&id));
    assert!(one.is_ok() && two.is_ok() && three.is_ok());
    assert_eq!(source.calls.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn renews_at_half_life_over_and_over() {
    let (source, clock) = counting(usize::MAX, 3600);
    let identities = build(&source, &clock, None);
    let identity = identities.identity(&web()).await.unwrap();
    let first = identity.svid().unwrap().serial().to_owned();
    tokio::time::sleep(Duration::from_secs(24 * 3600)).await;
    let renewals = source.calls.load(Ordering::SeqCst);
    assert!((43..=54).contains(&renewals), "{renewals} renewals of an hour's SVIDs in a day");
    assert_ne!(identity.svid().unwrap().serial(), first);
    assert_eq!(identities.summaries()[0].last_error, None);
}

#[tokio::test(start_paused = true)]
async fn an_svid_serves_to_its_hard_end_and_not_beyond() {
    let (source, clock) = counting(1, 3600);
    let identities = build(&source, &clock, None);
    let identity = identities.identity(&web()).await.unwrap();
    tokio::time::sleep(Duration::from_secs(3590)).await;
    assert!(identity.svid().is_some(), "renewal fails, and the old one is still good");
    assert!(identities.summaries()[0].last_error.is_some());
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert!(identity.svid().is_none(), "it has ended");
    assert!(identities.identity(&web()).await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_restart_needs_no_issuer() {
    let dir = tempfile::tempdir().unwrap();
    let (source, clock) = counting(1, 3600);
    let before = build(&source, &clock, Some(Cache::open(dir.path()).unwrap()));
    let serial = before.identity(&web()).await.unwrap().svid().unwrap().serial().to_owned();
    before.shutdown().await;

    let after = build(&source, &clock, Some(Cache::open(dir.path()).unwrap()));
    assert_eq!(after.identity(&web()).await.unwrap().svid().unwrap().serial(), serial);
    after.shutdown().await;

    let mut paths = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path());
    let svid = paths.find(|path| path.to_string_lossy().contains("svid")).unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(std::fs::metadata(&svid).unwrap().permissions().mode() & 0o777, 0o600);
    }
    let text = std::fs::read(&svid).unwrap();
    std::fs::write(&svid, &text[..text.len() / 2]).unwrap();
    let torn = build(&source, &clock, Some(Cache::open(dir.path()).unwrap()));
    assert!(torn.identity(&web()).await.is_err(), "a torn file is as good as none");
}

#[tokio::test(start_paused = true)]
async fn a_forgotten_identity_is_not_renewed() {
    let (source, clock) = counting(usize::MAX, 3600);
    let identities = build(&source, &clock, None);
    identities.identity(&web()).await.unwrap();
    identities.forget(&web());
    tokio::time::sleep(Duration::from_secs(7200)).await;
    assert_eq!(source.calls.load(Ordering::SeqCst), 1);
    assert!(identities.summaries().is_empty());
}

/// Issues tokens, and counts them.
#[derive(Debug)]
struct CountingTokens(Arc<Authority>, AtomicUsize);

impl JwtSource for CountingTokens {
    fn fetch_token<'a>(&'a self, id: &'a SpiffeId, audience: &'a [String], life: Option<Duration>) -> FetchToken<'a> {
        self.1.fetch_add(1, Ordering::SeqCst);
        self.0.fetch_token(id, audience, life)
    }
}

#[tokio::test]
async fn a_workload_that_asks_for_ever_new_audiences_takes_nothing_from_others() {
    let clock = Arc::new(SystemClock);
    let domain = parse_trust_domain("td.test").unwrap();
    let authority = Authority::ephemeral(domain, Rules::default(), Arc::<SystemClock>::clone(&clock)).unwrap();
    let source = Arc::new(CountingTokens(Arc::new(authority), AtomicUsize::new(0)));
    let cache = JwtCache::new(Arc::<CountingTokens>::clone(&source), clock);
    let [modest, greedy] =
        ["modest", "greedy"].map(|name| parse_spiffe_id(&format!("spiffe://td.test/{name}")).unwrap());
    let fetched = async |id: &SpiffeId, audience: &str| {
        let before = source.1.load(Ordering::SeqCst);
        cache.token(id, &[audience.to_owned()], None).await.unwrap();
        source.1.load(Ordering::SeqCst) - before
    };
    assert_eq!(fetched(&modest, "db").await, 1);
    for number in 0..200 {
        assert_eq!(fetched(&greedy, &number.to_string()).await, 1);
    }
    assert_eq!(fetched(&modest, "db").await, 0);
    let kept = cache.kept(&greedy);
    assert!(kept <= 64, "{kept}");
}
