//! Trust bundles in a bucket, and what the owner of the bucket can do: withhold, and no more.
#![cfg(feature = "s3")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a test"
)]

use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::TryStreamExt as _;
use mesh_core::name::{TrustDomain, parse_trust_domain};
use mesh_identity::authority::{Authority, Rules};
use mesh_identity::bucket::{
    Bucket, BucketError, Publisher, PublisherSettings, Reader, RepositoryKey, RepositoryRoot, RoleKeySet,
};
use mesh_identity::bundle::Bundle;
use mesh_identity::clock::{Clock, SystemClock};
use mesh_identity::trust::{Level, Source, TrustStore};
use object_store::memory::InMemory;
use object_store::path::Path as At;
use object_store::throttle::{ThrottleConfig, ThrottledStore};
use object_store::{ObjectStore, ObjectStoreExt as _, PutPayload};
use parking_lot::Mutex;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

#[derive(Debug)]
struct Hand(Mutex<SystemTime>);

impl Clock for Hand {
    fn now(&self) -> SystemTime {
        *self.0.lock()
    }
}

fn td(name: &str) -> TrustDomain {
    parse_trust_domain(name).unwrap()
}

fn bundle(name: &str) -> Arc<Bundle> {
    Authority::ephemeral(td(name), Rules::default(), Arc::new(SystemClock)).unwrap().bundle()
}

fn set(count: usize, threshold: u64) -> RoleKeySet {
    RoleKeySet { keys: (0..count).map(|_| RepositoryKey::generate().unwrap()).collect(), threshold }
}

fn root() -> RepositoryRoot {
    RepositoryRoot { root: set(3, 2), targets: set(1, 1), snapshot: set(1, 1), timestamp: set(1, 1), life: 365 * DAY }
}

fn online(root: &RepositoryRoot) -> Vec<RepositoryKey> {
    [&root.targets, &root.snapshot, &root.timestamp].iter().flat_map(|set| set.keys.clone()).collect()
}

struct Scene {
    dir: tempfile::TempDir,
    store: Arc<dyn ObjectStore>,
    clock: Arc<Hand>,
    root: RepositoryRoot,
    first: Vec<u8>,
}

impl Scene {
    async fn new() -> Self {
        Self::over(Arc::new(InMemory::new())).await
    }

    async fn over(store: Arc<dyn ObjectStore>) -> Self {
        let clock = Arc::new(Hand(Mutex::new(SystemTime::now())));
        let root = root();
        let first = root.sign(NonZeroU64::MIN, None, clock.now()).await.unwrap();
        Self { dir: tempfile::tempdir().unwrap(), store, clock, root, first }
    }

    fn bucket(&self) -> Bucket {
        Bucket::new(Arc::clone(&self.store), "fleet/edge")
    }

    fn publisher_of(&self, signed: Vec<u8>, root: &RepositoryRoot, record: &str) -> Publisher {
        let settings = PublisherSettings {
            root: signed,
            keys: online(root),
            record: self.dir.path().join(record),
            fresh_for: DAY,
            listed_for: 7 * DAY,
        };
        Publisher::new(self.bucket(), settings, Arc::<Hand>::clone(&self.clock)).unwrap()
    }

    fn publisher(&self) -> Publisher {
        self.publisher_of(self.first.clone(), &self.root, "record")
    }

    fn reader(&self) -> Reader {
        self.reader_at(&self.dir.path().join("reader"))
    }

    fn reader_at(&self, directory: &Path) -> Reader {
        Reader::new(self.bucket(), self.first.clone(), directory, Arc::<Hand>::clone(&self.clock)).unwrap()
    }

    /// A reader that has seen nothing yet.
    fn fresh(&self) -> Reader {
        let directory: PathBuf = self.dir.path().join(format!("fresh-{}", fastrand::u64(..)));
        self.reader_at(&directory)
    }

    async fn names(&self) -> Vec<String> {
        let all: Vec<_> = self.store.list(None).try_collect().await.unwrap();
        all.into_iter().map(|one| one.location.to_string()).collect()
    }

    async fn get(&self, name: &str) -> Vec<u8> {
        self.store.get(&At::from(name)).await.unwrap().bytes().await.unwrap().to_vec()
    }

    async fn put(&self, name: &str, content: impl Into<Vec<u8>>) {
        self.store.put(&At::from(name), PutPayload::from(content.into())).await.unwrap();
    }

    /// All objects, to bring back an old state.
    async fn copy(&self) -> Vec<(String, Vec<u8>)> {
        let mut all = Vec::new();
        for name in self.names().await {
            let content = self.get(&name).await;
            all.push((name, content));
        }
        all
    }

    fn pass(&self, time: Duration) {
        *self.clock.0.lock() += time;
    }
}

#[tokio::test]
async fn bundles_come_through_a_bucket() {
    let scene = Scene::new().await;
    let (east, west) = (bundle("east.test"), bundle("west.test"));
    let published = scene.publisher().publish(&[Arc::clone(&east)]).await.unwrap();
    assert_eq!(published.version, 1);
    let trust = TrustStore::builder(Arc::<Hand>::clone(&scene.clock) as _).max_age(7 * DAY).build();
    assert_eq!(scene.reader().refresh(&trust).await.unwrap(), 1);
    assert!(trust.bundles().load().get(&td("east.test")).unwrap().is_same_trust(&east));
    assert_eq!(trust.age(&td("east.test")).unwrap().source, Source::Bucket);

    scene.pass(DAY / 2);
    assert_eq!(scene.publisher().publish(&[east, Arc::clone(&west)]).await.unwrap().version, 2);
    assert_eq!(scene.reader().refresh(&trust).await.unwrap(), 2);
    assert!(trust.bundles().load().get(&td("west.test")).unwrap().is_same_trust(&west));
    assert_eq!(trust.age(&td("east.test")).unwrap().level, Level::Fresh);
    // Anybody who has the root and nothing else gets there too.
    assert_eq!(scene.fresh().read().await.unwrap().bundles.len(), 2);
}

#[tokio::test]
async fn a_directory_is_a_bucket_too() {
    let dir = tempfile::tempdir().unwrap();
    let store = object_store::local::LocalFileSystem::new_with_prefix(dir.path()).unwrap();
    let scene = Scene::over(Arc::new(store)).await;
    for version in 1..4 {
        assert_eq!(scene.publisher().publish(&[bundle("east.test")]).await.unwrap().version, version);
        assert_eq!(scene.reader().read().await.unwrap().version, version);
    }
}

#[tokio::test]
async fn no_changed_object_is_believed() {
    let scene = Scene::new().await;
    scene.publisher().publish(&[bundle("east.test"), bundle("west.test")]).await.unwrap();
    for name in scene.names().await {
        let good = scene.get(&name).await;
        if name.ends_with("1.root.json") {
            // The reader has it from elsewhere.
            continue;
        }
        let mut flipped = good.clone();
        let middle = flipped.len() / 2;
        flipped[middle] ^= 1;
        let text = String::from_utf8(good.clone()).unwrap();
        let changes: Vec<Vec<u8>> = vec![
            flipped,
            good[..good.len() - 2].to_vec(),
            Vec::new(),
            b"{}".to_vec(),
            text.replace("east.test", "evil.test").into_bytes(),
            [good.clone(), vec![b' '; 5 * 1024 * 1024]].concat(),
        ];
        for changed in changes {
            if changed == good {
                continue;
            }
            scene.put(&name, changed).await;
            assert!(scene.fresh().read().await.is_err(), "{name}");
        }
        scene.store.delete(&At::from(name.as_str())).await.unwrap();
        assert!(scene.fresh().read().await.is_err(), "{name} is missing");
        scene.put(&name, good).await;
        scene.fresh().read().await.unwrap();
    }
    // Two targets in each other's place.
    let targets: Vec<String> = scene.names().await.into_iter().filter(|name| name.contains("/targets/")).collect();
    let (one, two) = (scene.get(&targets[0]).await, scene.get(&targets[1]).await);
    scene.put(&targets[0], two).await;
    scene.put(&targets[1], one).await;
    assert!(scene.fresh().read().await.is_err());
}

#[tokio::test]
async fn another_repository_is_not_believed() {
    let scene = Scene::new().await;
    let mut other = Scene::over(Arc::clone(&scene.store)).await;
    other.publisher().publish(&[bundle("east.test")]).await.unwrap();
    assert!(matches!(scene.reader().read().await, Err(BucketError::Repository(_))));
    // Not even under our root's name.
    other.first = scene.first.clone();
    scene.put("fleet/edge/metadata/1.root.json", scene.first.clone()).await;
    assert!(matches!(scene.reader().read().await, Err(BucketError::Repository(_))));
}

#[tokio::test]
async fn an_old_state_is_not_believed_again() {
    let scene = Scene::new().await;
    let (old, new) = (bundle("east.test"), bundle("east.test"));
    scene.publisher().publish(&[old]).await.unwrap();
    let before = scene.copy().await;
    scene.publisher().publish(&[new]).await.unwrap();
    let reader = scene.reader();
    assert_eq!(reader.read().await.unwrap().version, 2);
    let after = scene.copy().await;
    for (name, content) in &before {
        scene.put(name, content.clone()).await;
    }
    assert!(matches!(reader.read().await, Err(BucketError::Repository(_))));
    // After a restart neither.
    assert!(matches!(scene.reader().read().await, Err(BucketError::Repository(_))));
    // Parts of one state with parts of another.
    for part in ["timestamp.json", "2.snapshot.json", "2.targets.json"] {
        for (name, content) in &after {
            scene.put(name, content.clone()).await;
        }
        let old = before.iter().find(|(name, _)| name.ends_with(&part.replace('2', "1"))).unwrap();
        scene.put(&format!("fleet/edge/metadata/{part}"), old.1.clone()).await;
        assert!(scene.reader().read().await.is_err(), "{part}");
    }
    for (name, content) in &after {
        scene.put(name, content.clone()).await;
    }
    assert_eq!(scene.reader().read().await.unwrap().version, 2);
}

#[tokio::test]
async fn a_frozen_bucket_is_noticed() {
    let scene = Scene::new().await;
    scene.publisher().publish(&[bundle("east.test")]).await.unwrap();
    let trust = TrustStore::builder(Arc::<Hand>::clone(&scene.clock) as _).max_age(3 * DAY).build();
    scene.reader().refresh(&trust).await.unwrap();
    scene.pass(DAY + Duration::from_secs(1));
    let error = scene.reader().refresh(&trust).await.unwrap_err();
    assert!(matches!(error, BucketError::Expired { role: "timestamp" }), "{error}");
    assert!(matches!(scene.fresh().read().await, Err(BucketError::Expired { .. })));
    // What was learned counts on by its own age.
    assert_eq!(trust.age(&td("east.test")).unwrap().level, Level::Fresh);
    scene.pass(2 * DAY);
    assert_eq!(trust.age(&td("east.test")).unwrap().level, Level::Ended);
    // And the publisher brings it back.
    scene.publisher().publish(&[bundle("west.test")]).await.unwrap();
    scene.reader().refresh(&trust).await.unwrap();
}

#[tokio::test]
async fn two_states_under_one_version_are_noticed() {
    let scene = Scene::new().await;
    scene.publisher().publish(&[bundle("east.test")]).await.unwrap();
    scene.reader().read().await.unwrap();
    // A publisher that lost its record, at a bucket that was emptied.
    for name in scene.names().await {
        scene.store.delete(&At::from(name)).await.unwrap();
    }
    scene.pass(Duration::from_secs(5));
    scene.publisher_of(scene.first.clone(), &scene.root, "other-record").publish(&[bundle("east.test")]).await.unwrap();
    assert!(matches!(scene.reader().read().await, Err(BucketError::Fork(1))));
    // With its record it goes on where it was.
    for name in scene.names().await {
        scene.store.delete(&At::from(name)).await.unwrap();
    }
    assert_eq!(scene.publisher().publish(&[bundle("east.test")]).await.unwrap().version, 2);
    assert_eq!(scene.reader().read().await.unwrap().version, 2);
}

#[tokio::test]
async fn a_hostile_version_does_not_stop_the_publisher() {
    let scene = Scene::new().await;
    scene.publisher().publish(&[bundle("east.test")]).await.unwrap();
    let text = String::from_utf8(scene.get("fleet/edge/metadata/timestamp.json").await).unwrap();
    let last = text.replace("\"version\": 1", &format!("\"version\": {}", u64::MAX - 1));
    assert_ne!(last, text);
    scene.put("fleet/edge/metadata/timestamp.json", last).await;
    scene.put("fleet/edge/metadata/2.targets.json", "squatted").await;
    scene.put("fleet/edge/metadata/2.snapshot.json", vec![b' '; 5 * 1024 * 1024]).await;
    assert_eq!(scene.publisher().publish(&[bundle("east.test")]).await.unwrap().version, 2);
    assert_eq!(scene.reader().read().await.unwrap().version, 2);
}

#[tokio::test(start_paused = true)]
async fn two_publishers_notice_each_other() {
    // Every call takes its time, so that both are under way together.
    let wait = Duration::from_millis(1);
    let slow = ThrottleConfig { wait_get_per_call: wait, wait_put_per_call: wait, ..ThrottleConfig::default() };
    let scene = Scene::over(Arc::new(ThrottledStore::new(InMemory::new(), slow))).await;
    let (one, two) = (scene.publisher(), scene.publisher_of(scene.first.clone(), &scene.root, "two"));
    one.publish(&[bundle("east.test")]).await.unwrap();
    // Both make version 2 of other content: one of them loses, and says so.
    scene.pass(Duration::from_secs(1));
    let (east, west) = ([bundle("east.test")], [bundle("west.test")]);
    let both = tokio::join!(one.publish(&east), two.publish(&west));
    assert!(matches!(both, (Ok(_), Err(BucketError::Conflict)) | (Err(BucketError::Conflict), Ok(_))), "{both:?}");
    let won = td(if both.0.is_ok() { "east.test" } else { "west.test" });
    let read = scene.reader().read().await.unwrap();
    let names: Vec<_> = read.bundles.iter().map(|bundle| bundle.trust_domain().clone()).collect();
    assert_eq!((read.version, names), (2, vec![won]));
}

#[tokio::test]
async fn roots_change_by_the_keys_of_both() {
    let scene = Scene::new().await;
    scene.publisher().publish(&[bundle("east.test")]).await.unwrap();
    scene.reader().read().await.unwrap();
    let before = scene.copy().await;
    let (next, two) = (root(), NonZeroU64::new(2).unwrap());
    let now = scene.clock.now();
    let at = "fleet/edge/metadata/2.root.json";

    // Signed by the old keys alone, by the new alone, by one key of each, by one key twice; version 3 without 2.
    let good = next.sign(two, Some(&scene.root.root), now).await.unwrap();
    let only_new = next.sign(two, None, now).await.unwrap();
    let parsed: serde_json::Value = serde_json::from_slice(&good).unwrap();
    let with = |signatures: Vec<serde_json::Value>| {
        let mut changed = parsed.clone();
        changed["signatures"] = signatures.into();
        serde_json::to_vec(&changed).unwrap()
    };
    let all = parsed["signatures"].as_array().unwrap().clone();
    assert_eq!(all.len(), 6);
    let bad = [
        only_new,
        with(all[3..].to_vec()),
        with(vec![all[0].clone(), all[3].clone()]),
        with(vec![all[0].clone(), all[0].clone(), all[3].clone(), all[3].clone()]),
        with(Vec::new()),
        next.sign(NonZeroU64::new(3).unwrap(), Some(&scene.root.root), now).await.unwrap(),
        b"{}".to_vec(),
        vec![b' '; 1024 * 1024],
    ];
    for (index, bad) in bad.into_iter().enumerate() {
        scene.put(at, bad).await;
        assert!(scene.reader().read().await.is_err(), "{index}");
    }
    scene.put(at, good.clone()).await;
    scene.publisher_of(good, &next, "record").publish(&[bundle("east.test")]).await.unwrap();
    assert_eq!(scene.reader().read().await.unwrap().version, 2);

    // The bucket without the new root: the old keys do not come back for who has seen the new.
    for name in scene.names().await {
        scene.store.delete(&At::from(name)).await.unwrap();
    }
    for (name, content) in &before {
        scene.put(name, content.clone()).await;
    }
    scene.publisher_of(scene.first.clone(), &scene.root, "third").publish(&[bundle("evil.test")]).await.unwrap();
    scene.pass(Duration::from_secs(1));
    scene.publisher_of(scene.first.clone(), &scene.root, "third").publish(&[bundle("evil.test")]).await.unwrap();
    assert!(matches!(scene.reader().read().await, Err(BucketError::Repository(_))));

    assert!(matches!(
        RepositoryRoot { root: set(1, 2), ..root() }.sign(NonZeroU64::MIN, None, now).await,
        Err(BucketError::Keys(_))
    ));
}

#[tokio::test]
async fn a_newer_root_by_another_way_counts_at_once() {
    let scene = Scene::new().await;
    scene.publisher().publish(&[bundle("east.test")]).await.unwrap();
    assert_eq!(scene.reader().read().await.unwrap().version, 1);
    // The old keys were stolen, and whoever has them holds the new root back.
    let next = root();
    let signed = next.sign(NonZeroU64::new(2).unwrap(), Some(&scene.root.root), scene.clock.now()).await.unwrap();
    let pinned = |root: &[u8]| {
        let directory = scene.dir.path().join("reader");
        Reader::new(scene.bucket(), root.to_vec(), &directory, Arc::<Hand>::clone(&scene.clock) as _).unwrap()
    };
    scene.publisher().publish(&[bundle("evil.test")]).await.unwrap();
    assert!(matches!(pinned(&signed).read().await, Err(BucketError::Repository(_))));
    scene.publisher_of(signed.clone(), &next, "record").publish(&[bundle("east.test")]).await.unwrap();
    assert_eq!(pinned(&signed).read().await.unwrap().version, 3);
    // An older one, or none that can be read, brings nothing back.
    for root in [&scene.first[..], b"{}"] {
        assert_eq!(pinned(root).read().await.unwrap().version, 3);
    }
}

#[tokio::test]
async fn the_record_is_whole_or_said_to_be_torn() {
    let scene = Scene::new().await;
    scene.publisher().publish(&[bundle("east.test")]).await.unwrap();
    scene.reader().read().await.unwrap();
    let seen = scene.dir.path().join("reader/seen.json");
    let good = std::fs::read(&seen).unwrap();
    // A crash in the midst of a reading leaves a copy behind, which counts for nothing.
    std::fs::write(scene.dir.path().join("reader/staging/timestamp.json"), "{}").unwrap();
    std::fs::write(scene.dir.path().join("reader/seen.json.new"), "{").unwrap();
    scene.reader().read().await.unwrap();
    for torn in [&good[..good.len() / 2], b"", b"[]", b"{\"other.json\":\"{}\"}"] {
        std::fs::write(&seen, torn).unwrap();
        assert!(matches!(scene.reader().read().await, Err(BucketError::File(_))));
    }
    std::fs::write(&seen, &good).unwrap();
    scene.reader().read().await.unwrap();
}

#[tokio::test]
async fn no_key_in_what_is_shown() {
    let scene = Scene::new().await;
    let shown = format!("{:?} {:?} {:?}", scene.publisher(), scene.root, scene.reader());
    for key in online(&scene.root) {
        let bytes = format!("{:?}", &key.to_pkcs8()[16..24]);
        assert!(!shown.contains(bytes.trim_matches(['[', ']'])));
    }
}
