//! Trust over time: confirmations, ages and ends, roll-back, and a cache that was torn at every byte.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a test"
)]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use mesh_core::name::{TrustDomain, parse_trust_domain};
use mesh_identity::bundle::{Bundle, RevocationPolicy};
use mesh_identity::clock::{Clock, ManualClock};
use mesh_identity::trust::{Change, Level, Source, TrustCache, TrustError, TrustStore};
use mesh_identity::verify::{Error, Purpose, peer};
use mesh_test_support::pki::{Ca, Spec, at};

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn td(name: &str) -> TrustDomain {
    parse_trust_domain(name).unwrap()
}

fn bundle(ca: &Ca, name: &str, sequence: Option<u64>) -> Bundle {
    Bundle::new(td(name), vec![ca.certificate.clone()]).unwrap().with_sequence(sequence)
}

fn store(clock: &Arc<ManualClock>, dir: Option<&Path>) -> TrustStore {
    let builder = TrustStore::builder(Arc::<ManualClock>::clone(clock)).max_age(7 * DAY);
    match dir {
        Some(dir) => builder.cache(TrustCache::open(dir).unwrap()).build(),
        None => builder.build(),
    }
}

#[test]
fn the_newest_wins_and_nothing_is_merged() {
    let clock = Arc::new(ManualClock::new(at(0)));
    let store = store(&clock, None);
    let (one, two) = (Ca::root("b.test"), Ca::root("b.test"));
    let confirm = |ca: &Ca, sequence, source| store.confirm(bundle(ca, "b.test", sequence), source);
    assert_eq!(confirm(&one, Some(5), Source::Endpoint), Ok(Change::New));
    assert_eq!(confirm(&one, Some(5), Source::Bucket), Ok(Change::Confirmed));
    assert_eq!(confirm(&two, Some(6), Source::File), Ok(Change::Changed));
    assert_eq!(store.bundles().load().get(&td("b.test")).unwrap().authorities().len(), 1);
    let rolled_back = TrustError::RolledBack { trust_domain: "b.test".into(), known: 6, offered: 5 };
    assert_eq!(confirm(&one, Some(5), Source::Endpoint), Err(rolled_back));
    // One number, other content: an authenticated endpoint's own word counts, a stored object may have been swapped.
    let fork = TrustError::Fork { trust_domain: "b.test".into(), number: 6 };
    assert_eq!(confirm(&one, Some(6), Source::Bucket), Err(fork.clone()));
    assert_eq!(confirm(&one, Some(6), Source::File), Err(fork));
    assert_eq!(confirm(&one, Some(6), Source::Endpoint), Ok(Change::Changed));
    // A publisher without numbers: the latest counts. After a restore, an operator resets.
    store.reset(&td("b.test"));
    assert_eq!(confirm(&two, Some(1), Source::Endpoint), Ok(Change::Changed));
    assert_eq!(confirm(&one, None, Source::Endpoint), Ok(Change::Changed));
    // What is known is newer than the configuration.
    store.bootstrap(bundle(&two, "b.test", None));
    assert_eq!(store.age(&td("b.test")).unwrap().source, Source::Endpoint);
}

#[test]
fn many_at_once_and_each_for_itself() {
    let clock = Arc::new(ManualClock::new(at(0)));
    let store = store(&clock, None);
    let ca = Ca::root("b.test");
    let of = |name: &str, sequence| Arc::new(bundle(&ca, name, Some(sequence)));
    store.confirm_all([of("b.test", 5), of("c.test", 5)], Source::Bucket);
    let mut changes = store.bundles().changes();
    let outcome = store.confirm_all([of("b.test", 4), of("c.test", 6), of("d.test", 1)], Source::Bucket);
    assert!(matches!(outcome[..], [Err(TrustError::RolledBack { .. }), Ok(Change::Confirmed), Ok(Change::New)]));
    let set = store.bundles();
    let number = |name| set.load().get(&td(name)).unwrap().sequence();
    assert_eq!((number("b.test"), number("c.test"), number("d.test")), (Some(5), Some(6), Some(1)));
    // One change for those who follow.
    use futures_util::FutureExt as _;
    assert!(changes.changed().now_or_never().is_some());
    assert!(changes.changed().now_or_never().is_none());
}

#[test]
fn ages_and_ends() {
    let clock = Arc::new(ManualClock::new(at(0)));
    let store = store(&clock, None);
    let (own, foreign) = (Ca::root("a.test"), Ca::root("b.test"));
    store.own(bundle(&own, "a.test", None));
    store.confirm(bundle(&foreign, "b.test", Some(1)), Source::Endpoint).unwrap();
    // A certificate that outlives the test, so that only the bundle's age decides.
    let long = Spec { validity: (-60, 100 * 24 * 60 * 60), ..Spec::new("spiffe://b.test/x") };
    let leaf = foreign.leaf(&long);
    let check = || peer(Some(&leaf.chain), &store.bundles().load(), Purpose::Client, clock.now()).map(|_| ());
    let level = || store.age(&td("b.test")).unwrap().level;
    let mut seen = vec![(level(), check().is_ok())];
    for days in [3, 1, 2, 1, 1] {
        clock.advance(days * DAY);
        store.look();
        seen.push((level(), check().is_ok()));
    }
    use Level::{Ageing, Critical, Ended, Fresh};
    assert_eq!(
        seen,
        [(Fresh, true), (Fresh, true), (Ageing, true), (Critical, true), (Critical, true), (Ended, false)]
    );
    assert!(matches!(check(), Err(Error::StaleBundle { .. })));
    assert_eq!(store.age(&td("a.test")).unwrap().level, Fresh, "our own has no end");
    // Healed: any source that shows it anew suffices.
    let shown = || store.confirm(bundle(&foreign, "b.test", Some(1)), Source::Bucket);
    assert_eq!(shown(), Ok(Change::Confirmed));
    assert_eq!((check(), level()), (Ok(()), Fresh));
    store.terminate(&td("b.test"));
    assert!(matches!(check(), Err(Error::UnknownTrustDomain(_))));
    assert!(shown().is_err());
}

#[test]
fn nobody_else_speaks_for_our_own_domain() {
    let clock = Arc::new(ManualClock::new(at(0)));
    let store = store(&clock, None);
    let (own, other) = (Ca::root("a.test"), Ca::root("a.test"));
    let of = |ca, sequence| Arc::new(bundle(ca, "a.test", Some(sequence)));
    store.own(of(&own, 1));
    for source in [Source::Bootstrap, Source::Server, Source::Endpoint, Source::Bucket, Source::File] {
        assert_eq!(store.confirm(of(&other, 9), source), Err(TrustError::Own("a.test".into())), "{source:?}");
        store.withdraw(&td("a.test"), source);
    }
    let outcome = store.confirm_all([of(&other, 9), Arc::new(bundle(&other, "b.test", None))], Source::Bucket);
    assert_eq!(outcome, [Err(TrustError::Own("a.test".into())), Ok(Change::New)]);
    store.bootstrap(of(&other, 9));
    assert_eq!(store.bundles().load().get(&td("a.test")), Some(&of(&own, 1)));
    // It tells itself whatever its number.
    store.own(of(&other, 0));
    assert_eq!(store.bundles().load().get(&td("a.test")), Some(&of(&other, 0)));
    assert_eq!(store.age(&td("a.test")).unwrap().left_seconds, None);
}

#[test]
fn an_end_lasts_until_the_domain_is_admitted() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), Arc::new(ManualClock::new(at(0))));
    let ca = Ca::root("b.test");
    let of = |sequence| bundle(&ca, "b.test", sequence);
    let first = store(&clock, Some(dir.path()));
    first.confirm(of(Some(3)), Source::Bucket).unwrap();
    first.terminate(&td("b.test"));
    // Ended before it was ever known, too.
    first.terminate(&td("c.test"));
    for store in [first, store(&clock, Some(dir.path()))] {
        for source in [Source::Bucket, Source::Endpoint, Source::Server] {
            assert_eq!(store.confirm(of(Some(4)), source), Err(TrustError::Unknown("b.test".into())), "{source:?}");
        }
        assert!(store.confirm(bundle(&ca, "c.test", None), Source::Bucket).is_err());
        store.bootstrap(of(None));
        assert!(store.bundles().load().is_empty());
    }
    let again = store(&clock, Some(dir.path()));
    again.admit(&td("b.test"));
    assert_eq!(again.confirm(of(Some(1)), Source::Bucket), Ok(Change::New));
    assert!(store(&clock, Some(dir.path())).confirm(of(Some(2)), Source::Bucket).is_ok());
}

#[test]
fn a_confirmation_without_news_changes_nothing_but_the_age() {
    use futures_util::FutureExt as _;
    let (dir, clock) = (tempfile::tempdir().unwrap(), Arc::new(ManualClock::new(at(0))));
    let store = store(&clock, Some(dir.path()));
    let own = Arc::new(bundle(&Ca::root("a.test"), "a.test", Some(1)));
    let foreign: Vec<_> = ["b.test", "c.test"].map(|name| Arc::new(bundle(&Ca::root(name), name, Some(1)))).into();
    // As the sync of a node does it, every five seconds. Another allocation each time, as after a parse.
    let sync = || {
        store.own(Bundle::clone(&own));
        let outcome = store.confirm_all(foreign.iter().map(|one| Arc::new(Bundle::clone(one))), Source::Server);
        assert!(outcome.iter().all(Result::is_ok));
    };
    sync();
    let written =
        || std::fs::metadata(dir.path().join("trust.json")).map(|file| std::os::unix::fs::MetadataExt::ino(&file));
    let (first, mut changes) = (written().unwrap(), store.bundles().changes());
    let mut wakes = 0;
    for _ in 0..12 * 60 {
        clock.advance(Duration::from_secs(5));
        sync();
        wakes += u32::from(changes.changed().now_or_never().is_some());
        let age = store.age(&td("b.test")).unwrap();
        assert_eq!((age.age_seconds, store.age(&td("a.test")).unwrap().age_seconds), (0, 0));
    }
    assert_eq!((wakes, written().unwrap()), (0, first), "an hour of seven days is less than a hundredth");
    clock.advance(DAY / 24);
    sync();
    assert!(changes.changed().now_or_never().is_some());
    assert_ne!(written().unwrap(), first);
    // It never counts for longer than was promised, and hardly for less.
    let until = || store.bundles().load().trusted(&td("b.test")).unwrap().until.unwrap();
    for minutes in [1, 99, 1, 100, 50, 51] {
        clock.advance(Duration::from_secs(60 * minutes));
        sync();
        let short = (clock.now() + 7 * DAY).duration_since(until()).expect("no longer than seven days");
        assert!(short < 7 * DAY / 100, "{short:?}");
    }
    assert!(changes.changed().now_or_never().is_some());
}

#[tokio::test]
async fn what_was_not_written_yet_can_be_flushed() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), Arc::new(ManualClock::new(at(0))));
    let first = store(&clock, Some(dir.path()));
    for sequence in 0..20 {
        first.confirm(bundle(&Ca::root("b.test"), "b.test", Some(sequence)), Source::Endpoint).unwrap();
    }
    first.flush();
    assert_eq!(store(&clock, Some(dir.path())).age(&td("b.test")).unwrap().sequence, Some(19));
}

#[test]
fn a_runtime_that_ends_leaves_nothing_unwritten() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), Arc::new(ManualClock::new(at(0))));
    let runtime = tokio::runtime::Builder::new_current_thread().max_blocking_threads(1).build().unwrap();
    let first = store(&clock, Some(dir.path()));
    runtime.block_on(async {
        // The only thread that could write is busy for as long as the runtime lives.
        let (release, wait) = std::sync::mpsc::channel::<()>();
        let busy = tokio::task::spawn_blocking(move || wait.recv().is_err());
        first.confirm(bundle(&Ca::root("b.test"), "b.test", None), Source::Endpoint).unwrap();
        drop((release, busy));
    });
    drop(runtime);
    assert!(store(&clock, Some(dir.path())).age(&td("b.test")).is_some());
}

#[test]
fn what_lists_must_say_is_told_once_and_stays() {
    use RevocationPolicy::{Required, Soft};
    let (dir, clock) = (tempfile::tempdir().unwrap(), Arc::new(ManualClock::new(at(0))));
    let ca = Ca::root("x.test");
    let first = store(&clock, Some(dir.path()));
    let policies = |store: &TrustStore| {
        let set = store.bundles().snapshot();
        ["a.test", "b.test", "c.test"].map(|name| set.trusted(&td(name)).map(|trusted| trusted.revocation))
    };
    // Before anybody told of them.
    for name in ["a.test", "b.test", "c.test"] {
        first.set_policy(&td(name), Required);
    }
    for _ in 0..2 {
        first.own(bundle(&ca, "a.test", None));
        first.confirm(bundle(&ca, "b.test", None), Source::Endpoint).unwrap();
        first.bootstrap(bundle(&ca, "c.test", None));
        assert_eq!(policies(&first), [Some(Required); 3]);
    }
    first.confirm(bundle(&ca, "c.test", None), Source::Bucket).unwrap();
    first.set_policy(&td("b.test"), Soft);
    let again = store(&clock, Some(dir.path()));
    for store in [first, again] {
        store.confirm(bundle(&ca, "c.test", None), Source::Endpoint).unwrap();
        assert_eq!(policies(&store), [Some(Required), Some(Soft), Some(Required)]);
    }
}

#[test]
fn a_source_that_does_not_vouch_any_more() {
    let clock = Arc::new(ManualClock::new(at(0)));
    let store = store(&clock, None);
    let ca = Ca::root("b.test");
    let known = || store.bundles().load().get(&td("b.test")).is_some();
    store.confirm(bundle(&ca, "b.test", Some(3)), Source::Endpoint).unwrap();
    store.withdraw(&td("b.test"), Source::Server);
    assert!(known(), "another source showed it");
    store.confirm(bundle(&ca, "b.test", Some(3)), Source::Server).unwrap();
    store.withdraw(&td("b.test"), Source::Server);
    assert!(!known());
    assert_eq!(store.confirm(bundle(&ca, "b.test", Some(3)), Source::Server), Ok(Change::New));
}

#[tokio::test]
async fn whoever_follows_hears_of_an_end() {
    let clock = Arc::new(ManualClock::new(at(0)));
    let store = store(&clock, None);
    store.confirm(bundle(&Ca::root("b.test"), "b.test", None), Source::Endpoint).unwrap();
    let mut changes = store.bundles().changes();
    store.look();
    clock.advance(8 * DAY);
    store.look();
    tokio::time::timeout(Duration::from_secs(5), changes.changed()).await.expect("a change").unwrap();
}

#[test]
fn a_cache_that_was_torn_at_any_byte() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::new(at(0)));
    let (own, one, two) = (Ca::root("a.test"), Ca::root("b.test"), Ca::root("b.test"));
    let first = store(&clock, Some(dir.path()));
    first.own(bundle(&own, "a.test", Some(1)));
    first.confirm(bundle(&one, "b.test", Some(1)), Source::Endpoint).unwrap();
    clock.advance(DAY);
    first.confirm(bundle(&two, "b.test", Some(2)), Source::Bucket).unwrap();

    clock.advance(DAY);
    let again = store(&clock, Some(dir.path()));
    let age = again.age(&td("b.test")).unwrap();
    assert_eq!((age.sequence, age.source, age.age_seconds), (Some(2), Source::Bucket, DAY.as_secs()));
    assert_eq!(again.age(&td("a.test")).unwrap().left_seconds, None);
    // A rolled-back copy of the publisher is known for what it is after the restart as well.
    assert!(again.confirm(bundle(&one, "b.test", Some(1)), Source::Endpoint).is_err());

    let path = dir.path().join("trust.json");
    let whole = std::fs::read(&path).unwrap();
    let sequence = || store(&clock, Some(dir.path())).age(&td("b.test")).and_then(|age| age.sequence);
    for length in (0..whole.len()).step_by(7) {
        std::fs::write(&path, &whole[..length]).unwrap();
        assert_eq!(sequence(), Some(1), "torn at {length}: the generation before");
    }
    for index in (0..whole.len()).step_by(5) {
        let mut changed = whole.clone();
        changed[index] ^= 1;
        std::fs::write(&path, &changed).unwrap();
        assert_eq!(sequence(), Some(1), "changed at {index}");
    }
    // A write that was cut off left only its scratch file.
    std::fs::write(&path, &whole).unwrap();
    std::fs::write(path.with_extension("json.new"), b"half").unwrap();
    assert_eq!(sequence(), Some(2));
    // Neither is whole: nobody is trusted but who is configured anew. Never an empty set that looks loaded.
    std::fs::write(&path, b"x").unwrap();
    std::fs::write(dir.path().join("trust.json.1"), b"x").unwrap();
    assert_eq!(sequence(), None);
}

#[test]
fn a_clock_that_jumps() {
    let clock = Arc::new(ManualClock::new(at(0)));
    let floor = tempfile::tempdir().unwrap();
    let file = floor.path().join("last-seen");
    let ratchet = mesh_identity::clock::RatchetClock::open(Arc::<ManualClock>::clone(&clock), &file).unwrap();
    clock.advance(DAY);
    let then = ratchet.now();
    ratchet.save().unwrap();
    let back = Arc::new(ManualClock::new(std::time::UNIX_EPOCH));
    let again = mesh_identity::clock::RatchetClock::open(back, &file).unwrap();
    let apart = then.duration_since(again.now()).unwrap_or_default();
    assert!(apart < Duration::from_secs(1), "1970 at boot: the time last seen is used");
    std::fs::write(&file, "rubbish").unwrap();
    assert!(mesh_identity::clock::RatchetClock::open(clock, &file).is_err());
}
