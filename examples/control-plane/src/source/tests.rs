use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use proptest::prelude::*;

use super::accepted::Accepted;
use super::files::Files;
use super::merge::{Merge, Merged, Rules};
use super::settings::{Divergence, OnError};
use super::{Said, dir};
use crate::admission::SourceFile;
use crate::admission::gate::Gate;
use crate::admission::inventory::Inventory;
use crate::admission::judge::{Judge, Operation, Review};
use crate::finding::{Code, Finding, Severity};
use crate::resource::Kind;
use crate::world::World;

fn file(path: &Path, text: Result<&str, &str>) -> SourceFile {
    SourceFile { path: path.to_owned(), text: text.map(str::to_owned).map_err(str::to_owned) }
}

impl Files {
    fn offer(&mut self, path: &Path, text: Result<&str, &str>) -> bool {
        self.offer_all(&[file(path, text)])
    }
}

impl Accepted {
    fn offer(&mut self, path: &Path, text: Result<&str, &str>) -> bool {
        self.offer_all(&[file(path, text)])
    }
}

fn account(name: &str, note: u8) -> String {
    format!("apiVersion: v1\nkind: ServiceAccount\nmetadata: {{name: {name}, labels: {{note: n{note}}}}}\n---\n")
}

/// Everything in a world that may differ.
fn told(world: &World) -> Vec<String> {
    let ids = Kind::ALL.iter().flat_map(|kind| world.ids(*kind));
    ids.map(|id| {
        let (origin, digest, _) = world.get(&id).unwrap();
        format!("{id} {digest:x} {}:{}:{}", origin.source, origin.file.display(), origin.line)
    })
    .collect()
}

fn messages(findings: &[Finding]) -> Vec<String> {
    findings.iter().map(ToString::to_string).collect()
}

/// A look at files that are there.
fn look(files: &mut Files, there: &BTreeMap<PathBuf, Result<String, String>>) {
    for (path, text) in there {
        files.offer(path, text.as_deref().map_err(String::as_str));
    }
    files.keep_only(&there.keys().cloned().collect());
}

fn scratch(texts: &BTreeMap<PathBuf, String>) -> Files {
    let mut files = Files::new("s".into(), None);
    // In another order than that of paths.
    for (path, text) in texts.iter().rev() {
        files.offer(path, Ok(text));
    }
    files
}

#[derive(Debug, Clone)]
enum Edit {
    Good(usize, Vec<(usize, u8)>),
    Bad(usize, usize),
    Remove(usize),
}

const BAD: [Result<&str, &str>; 5] = [
    Ok("apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: a}\n---\na: ["),
    Ok("apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {clusterIP: x}\n"),
    Ok(
        "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: a}\n---\napiVersion: v1\nkind: ServiceAccount\nmetadata: {name: a}\n",
    ),
    Err("permission denied"),
    Err("it is no UTF-8"),
];

fn edit() -> impl Strategy<Value = Edit> {
    let content = prop::collection::btree_map(0..4_usize, 0..3_u8, 0..4);
    prop_oneof![
        4 => (0..4_usize, content).prop_map(|(path, content)| Edit::Good(path, content.into_iter().collect())),
        2 => (0..4_usize, 0..BAD.len()).prop_map(|(path, bad)| Edit::Bad(path, bad)),
        2 => (0..4_usize).prop_map(Edit::Remove),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// What is known of the documents of a large file leads nowhere else than to read it whole: whatever moves, changes, goes
    /// or comes, and whether it is good or not in between.
    #[test]
    fn a_large_file_that_is_read_again_is_as_if_it_was_read_first(
        texts in prop::collection::vec(
            (prop::collection::vec((0..60_u8, 0..3_u8), 25..80), any::<bool>(), any::<prop::sample::Index>()),
            1..6,
        ),
    ) {
        const ODD: [&str; 4] = ["a: [\n---\n", "\n# moved\n", "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\n---\n",
            "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {port: 1}\n---\n"];
        let mut files = Files::new("s".into(), None);
        for (accounts, is_unique, at) in texts {
            let accounts: Vec<_> = match is_unique {
                true => accounts.into_iter().collect::<BTreeMap<_, _>>().into_iter().collect(),
                false => accounts,
            };
            let mut documents: Vec<_> = accounts.iter().map(|(name, note)| account(&format!("a{name}"), *note)).collect();
            let odd = at.index(ODD.len() * 3);
            if let Some(odd) = ODD.get(odd) {
                documents.insert(at.index(documents.len()), (*odd).to_owned());
            }
            let text = documents.concat();
            let mut fresh = Files::new("s".into(), None);
            fresh.offer(Path::new("f.yaml"), Ok(&text));
            files.offer(Path::new("f.yaml"), Ok(&text));
            prop_assert_eq!(messages(&files.findings()), messages(&fresh.findings()));
            prop_assert_eq!(files.is_good(), fresh.is_good());
            if fresh.is_good() {
                prop_assert_eq!(told(files.world()), told(fresh.world()));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// What is in force is what the last good states say, read from nothing, whatever came between.
    #[test]
    fn edits_breakages_and_mends_lead_where_the_good_states_lead(edits in prop::collection::vec((edit(), any::<bool>()), 1..25)) {
        let mut files = Files::new("s".into(), None);
        let mut there: BTreeMap<PathBuf, Result<String, String>> = BTreeMap::new();
        let mut good: BTreeMap<PathBuf, String> = BTreeMap::new();
        for (edit, is_seen) in edits {
            let path = |path: usize| PathBuf::from(["a.yaml", "b/c.yaml", "b.yaml", "z.yaml"][path]);
            match edit {
                Edit::Good(at, content) => {
                    let text = content.iter().map(|(name, note)| account(["a", "b", "c", "d"][*name], *note)).collect();
                    there.insert(path(at), Ok(text));
                }
                Edit::Bad(at, bad) => {
                    there.insert(path(at), BAD[bad].map(str::to_owned).map_err(str::to_owned));
                }
                Edit::Remove(at) => {
                    there.remove(&path(at));
                }
            }
            // Several edits may be seen by one look.
            if !is_seen {
                continue;
            }
            look(&mut files, &there);
            let is_bad = |text: &Result<String, String>| BAD.iter().any(|bad| bad.map(str::to_owned).map_err(str::to_owned) == *text);
            for (path, text) in there.iter().filter(|(_, text)| !is_bad(text)) {
                good.insert(path.clone(), text.clone().unwrap());
            }
            if there.keys().all(|path| good.contains_key(path)) {
                good.retain(|path, _| there.contains_key(path));
            }
            let expected = scratch(&good);
            prop_assert_eq!(told(files.world()), told(expected.world()));
            prop_assert_eq!(files.revision(), expected.revision());
            prop_assert_eq!(files.has_unknown(), there.keys().any(|path| !good.contains_key(path)));
            let broken: Vec<_> = there.iter().filter(|(_, text)| is_bad(text)).map(|(path, _)| path.clone()).collect();
            for path in &broken {
                prop_assert!(files.findings().iter().any(|found| *found.origin.file == **path && found.severity == Severity::Error));
            }
            if broken.is_empty() && good.len() == there.len() {
                prop_assert_eq!(messages(&files.findings()), messages(&expected.findings()));
            }
        }
    }

    /// Bytes as files: none panics, and what is not taken is an error.
    #[test]
    fn any_text_is_taken_or_an_error(
        pieces in prop::collection::vec(
            prop_oneof![
                Just("apiVersion: v1\nkind: Service\n".to_owned()), Just("metadata: {name: a}\n".to_owned()), Just("---\n".to_owned()),
                Just("apiVersion: security.istio.io/v1\n".to_owned()), Just("spec: {rules: [{}]}\n".to_owned()),
                Just("apiVersion: v1\nkind: List\nitems:\n- ".to_owned()), Just("a: &x [*x]\n".to_owned()), Just("\r\n".to_owned()),
                Just("kind: AuthorizationPolicy\n".to_owned()), ".{0,20}", Just("\t".to_owned()),
            ],
            0..12,
        )
    ) {
        let mut files = Files::new("s".into(), None);
        let text: String = pieces.concat();
        files.offer(Path::new("a.yaml"), Ok(&text));
        let errors = files.findings().iter().filter(|found| found.severity == Severity::Error).count();
        prop_assert_eq!(files.has_unknown(), errors > 0);
        prop_assert!(errors == 0 || files.world().is_empty());
    }

    /// What several say is what they say, merged from nothing, whatever they said before.
    #[test]
    fn changes_of_sources_lead_where_their_last_words_lead(
        steps in prop::collection::vec((0..3_usize, prop::collection::btree_map(0..4_usize, 0..2_u8, 0..4), 0..3_usize), 1..15),
        authoritative in prop::option::of((0..3_usize, any::<bool>())),
    ) {
        let rules = |index| Rules {
            required: true,
            authoritative: authoritative
                .filter(|(which, _)| *which == index)
                .map(|(_, refuse)| if refuse { Divergence::Refuse } else { Divergence::Flag }),
        };
        let names = || (0..3_usize).map(|index| (Arc::from(format!("s{index}")), rules(index)));
        let mut merge = Merge::new(names());
        let mut last: [Said; 3] = Default::default();
        for (index, content, moved) in steps {
            let text: String = content.iter().map(|(name, note)| account(["a", "b", "c", "d"][*name], *note)).collect();
            let mut files = Files::new(format!("s{index}").into(), None);
            files.offer(Path::new("f.yaml"), Ok(&("\n".repeat(moved) + &text)));
            last[index] = Said { world: files.world().clone(), findings: Arc::default(), revision: "r".into() };
            merge.take(index, last[index].clone());
            let mut fresh = Merge::new(names());
            for (index, said) in last.iter().enumerate() {
                fresh.take(index, said.clone());
            }
            let (now, expected) = (merge.merged(), fresh.merged());
            prop_assert_eq!(told(&now.world), told(&expected.world));
            prop_assert_eq!(messages(&now.findings), messages(&expected.findings));
        }
    }
}

fn said(source: &str, text: &str) -> Said {
    let mut files = Files::new(source.into(), None);
    files.offer(Path::new("f.yaml"), Ok(text));
    assert!(files.is_good(), "{:?}", files.findings());
    Said { world: files.world().clone(), findings: Arc::default(), revision: "r".into() }
}

fn merged(rules: [Rules; 2], texts: [&str; 2]) -> Merged {
    let mut merge = Merge::new([("first".into(), rules[0]), ("second".into(), rules[1])]);
    // The later one may speak first.
    merge.take(1, said("second", texts[1]));
    merge.take(0, said("first", texts[0]));
    merge.merged()
}

#[test]
fn the_earlier_source_counts_and_the_later_is_named() {
    let both = account("a", 1);
    let both = [both.clone() + &account("b", 1), both + &account("b", 2) + &account("c", 1)];
    let now = merged([Rules::default(); 2], [&both[0], &both[1]]);
    let ids: Vec<_> = told(&now.world).iter().map(|line| line.split(' ').nth(3).unwrap().to_owned()).collect();
    assert_eq!(ids, ["first:f.yaml:1", "first:f.yaml:5", "second:f.yaml:9"]);
    let messages = messages(&now.findings);
    assert_eq!(messages, ["second:f.yaml:5: warning: ServiceAccount default/b is shadowed by first:f.yaml:5"]);
    assert_eq!(now.findings[0].code.0, Code::SHADOWED.0);
}

#[test]
fn what_an_api_server_adds_makes_no_other_object() {
    let written = "apiVersion: v1\nkind: ServiceAccount\nmetadata: {name: a, labels: {x: v}}\n";
    let stored = "apiVersion: v1\nkind: ServiceAccount\nmetadata:\n  name: a\n  namespace: default\n  creationTimestamp: '2026-01-01T00:00:00Z'\n  \
                  annotations: {kubectl.kubernetes.io/last-applied-configuration: '{}'}\n  labels: {x: \"v\"}\n";
    assert!(merged([Rules::default(); 2], [written, stored]).findings.is_empty());
    let edited = stored.replace("\"v\"", "z");
    assert_eq!(merged([Rules::default(); 2], [written, &edited]).findings.len(), 1);
}

#[test]
fn what_diverges_from_an_authoritative_source_is_flagged_or_refused() {
    let (local, repository) =
        (account("a", 1) + &account("b", 1) + &account("c", 7), account("a", 1) + &account("b", 2));
    let other = "apiVersion: v1\nkind: Service\nmetadata: {name: s}\n";
    let local = local + other;
    let governed = |divergence| {
        merged([Rules::default(), Rules { authoritative: Some(divergence), ..Rules::default() }], [&local, &repository])
    };
    let counts =
        |now: &Merged, name: &str| told(&now.world).into_iter().find(|line| line.contains(name)).unwrap_or_default();

    let flagged = governed(Divergence::Flag);
    assert!(counts(&flagged, "default/b").contains("first:") && counts(&flagged, "default/c").contains("first:"));
    let mut expected = vec![
        // It has the say, and yet comes later.
        "second:f.yaml:5: warning: ServiceAccount default/b is shadowed by first:f.yaml:5".to_owned(),
        "first:f.yaml:5: warning: ServiceAccount default/b is another at second:f.yaml:5".to_owned(),
        "first:f.yaml:9: warning: source `second` has no ServiceAccount default/c".to_owned(),
    ];
    assert_eq!(messages(&flagged.findings), expected);

    let refused = governed(Divergence::Refuse);
    assert!(counts(&refused, "default/b").contains("second:"));
    assert_eq!(counts(&refused, "default/c"), "");
    assert!(counts(&refused, "default/s").contains("first:"), "it has no Services: those are nobody's to govern");
    expected.remove(0);
    let expected: Vec<_> = expected.iter().map(|line| format!("{line}; it does not count")).collect();
    assert_eq!(messages(&refused.findings), expected);
}

#[test]
fn nothing_counts_before_all_that_are_required_have_spoken() {
    let optional = Rules { required: false, ..Rules::default() };
    let mut merge =
        Merge::new([("a".into(), Rules::default()), ("b".into(), optional), ("c".into(), Rules::default())]);
    assert_eq!(*merge.merged().waiting, ["a".into(), "c".into()]);
    merge.take(0, said("a", ""));
    assert_eq!(*merge.merged().waiting, ["c".into()]);
    merge.take(2, said("c", ""));
    assert!(merge.merged().waiting.is_empty());
    assert_eq!(merge.merged().revisions.len(), 2);
}

fn second(n: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(n)
}

fn offered(accepted: &mut Accepted, files: &[(&str, &str)], revision: &str, now: SystemTime) -> Said {
    let there: HashSet<PathBuf> = files.iter().map(|(path, _)| PathBuf::from(path)).collect();
    for (path, text) in files {
        accepted.offer(Path::new(path), Ok(text));
    }
    accepted.files.keep_only(&there);
    accepted.admit();
    accepted.settle(revision, now)
}

#[test]
fn a_new_beginning_waits_for_what_is_bad_unless_its_last_good_state_is_on_disk() {
    let dir = tempfile::tempdir().unwrap();
    let (good, bad) = (account("a", 1), "a: [");
    let open = |rule| Accepted::open("s".into(), rule, Some(dir.path()), None);
    for rule in [OnError::File, OnError::Source] {
        let mut fresh = Accepted::open("s".into(), rule, None, None);
        let said = offered(&mut fresh, &[("a.yaml", bad), ("b.yaml", &account("b", 1))], "1", second(1));
        assert!(said.revision.is_empty() && said.world.is_empty(), "{rule:?}");
        let mut before = open(rule);
        offered(&mut before, &[("a.yaml", &good), ("b.yaml", &account("b", 1))], "2", second(2));
        let mut after = open(rule);
        assert_eq!((&**after.revision(), after.restored()), ("2", Some(second(2))));
        let said = offered(&mut after, &[("a.yaml", bad), ("b.yaml", &account("b", 2))], "3", second(3));
        let ids = told(&said.world).len();
        let (revision, restored) = (&*said.revision, after.restored());
        match rule {
            // The rest goes on changing.
            OnError::File => assert_eq!((ids, revision, restored), (2, "3", None)),
            OnError::Source => assert_eq!((ids, revision, restored), (2, "2", Some(second(2)))),
        }
        assert!(messages(&said.findings).iter().any(|line| line.starts_with("s:a.yaml:1: error:")));
    }
}

#[test]
fn what_was_moved_and_broken_at_once_stays_protected() {
    let mut accepted = Accepted::open("s".into(), OnError::File, None, None);
    offered(&mut accepted, &[("old.yaml", &account("a", 1)), ("b.yaml", &account("b", 1))], "1", second(1));
    let moved = offered(&mut accepted, &[("new.yaml", "a: ["), ("b.yaml", &account("b", 2))], "2", second(2));
    assert_eq!(moved.world.len(), 2);
    let mended =
        offered(&mut accepted, &[("new.yaml", &account("a", 1)), ("b.yaml", &account("b", 2))], "3", second(3));
    assert!(told(&mended.world)[0].contains("new.yaml") && mended.findings.is_empty());
}

#[test]
fn a_state_that_cannot_be_written_or_read_is_no_obstacle() {
    let dir = tempfile::tempdir().unwrap();
    let kept = dir.path().join("kept");
    let mut accepted = Accepted::open("s".into(), OnError::File, Some(&kept), None);
    offered(&mut accepted, &[("a.yaml", &account("a", 1))], "1", second(1));
    // No file can be made where the directory was, as little as on a disk that is full.
    std::fs::rename(&kept, dir.path().join("away")).unwrap();
    std::fs::write(&kept, "").unwrap();
    let said = offered(&mut accepted, &[("a.yaml", &account("a", 2))], "2", second(2));
    assert_eq!(&*said.revision, "2");
    assert!(messages(&said.findings).iter().any(|line| line.contains("not on disk")), "{:?}", said.findings);
    assert!(accepted.is_incomplete);
    std::fs::remove_file(&kept).unwrap();
    std::fs::rename(dir.path().join("away"), &kept).unwrap();
    let said = offered(&mut accepted, &[("a.yaml", &account("a", 2))], "3", second(3));
    assert!(said.findings.is_empty() && !accepted.is_incomplete);
    assert_eq!(&**Accepted::open("s".into(), OnError::File, Some(&kept), None).revision(), "3");

    for file in std::fs::read_dir(&kept).unwrap().map(|entry| entry.unwrap().path()).collect::<Vec<_>>() {
        let whole = std::fs::read(&file).unwrap();
        for ruin in [&b""[..], b"{\"revision\":1}", b"\xff", &whole[..whole.len() / 2]] {
            std::fs::write(&file, ruin).unwrap();
            let ruined = Accepted::open("s".into(), OnError::File, Some(&kept), None);
            assert!(ruined.revision().is_empty() && ruined.files.world().is_empty());
            assert!(messages(&ruined.said(Vec::new()).findings)[0].contains("not on disk"));
        }
        std::fs::write(&file, whole).unwrap();
    }
    let list = std::fs::read_to_string(kept.join("files.json")).unwrap();
    let digest = list.split("\"sha256\":\"").nth(1).unwrap().split('"').next().unwrap();
    std::fs::write(kept.join("files.json"), list.replace(digest, "../../../etc/passwd")).unwrap();
    assert!(Accepted::open("s".into(), OnError::File, Some(&kept), None).revision().is_empty());
}

#[test]
fn texts_that_are_in_no_list_any_more_are_removed_from_disk() {
    let dir = tempfile::tempdir().unwrap();
    let mut accepted = Accepted::open("s".into(), OnError::File, Some(dir.path()), None);
    for note in 0..10 {
        offered(&mut accepted, &[("a.yaml", &account("a", note)), ("b.yaml", "# nothing\n")], "r", second(1));
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 3);
}

#[test]
fn files_that_are_no_yaml_hidden_or_no_files_are_passed_over() {
    for (path, is_read) in [
        ("a.yaml", true),
        ("b/c.yml", true),
        (".hidden.yaml", false),
        ("..data/a.yaml", false),
        ("a/.git/b.yaml", false),
        ("a.json", false),
        ("yaml", false),
    ] {
        assert_eq!(dir::is_read(Path::new(path)), is_read, "{path}");
    }
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("a.yaml"), "x").unwrap();
    std::os::unix::fs::symlink("/nowhere", dir.path().join("b.yaml")).unwrap();
    std::os::unix::fs::symlink("c.yaml", dir.path().join("c.yaml")).unwrap();
    std::os::unix::fs::symlink("/dev/zero", dir.path().join("d.yaml")).unwrap();
    let files = dir::read(dir.path()).unwrap();
    let told: Vec<_> = files.iter().map(|file| (file.path.to_str().unwrap(), file.text.is_ok())).collect();
    // What cannot be looked at must not be taken for absent.
    assert_eq!(told, [("a.yaml", true), ("c.yaml", false)]);
}

/// Denies what has a label, as long as it is told to.
#[derive(Default)]
struct Denies {
    label: parking_lot::Mutex<Option<&'static str>>,
    revision: std::sync::atomic::AtomicU64,
}

impl Denies {
    fn say(&self, label: Option<&'static str>) {
        *self.label.lock() = label;
        self.revision.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    }
}

impl Judge for Denies {
    fn judge(&self, review: &Review<'_>, _: &Inventory) -> Vec<Finding> {
        let label = review.object.or(review.old).and_then(|object| object.pointer("/metadata/labels/note"));
        let denied = label.and_then(|label| label.as_str()).is_some_and(|label| *self.label.lock() == Some(label));
        denied.then(|| review.origin.error(format!("denied {}", review.operation.name()))).into_iter().collect()
    }

    fn revision(&self) -> u64 {
        self.revision.load(std::sync::atomic::Ordering::Relaxed)
    }
}

#[test]
fn policies_have_a_say_and_what_was_judged_is_judged_again_when_they_change() {
    let denies = Arc::new(Denies::default());
    denies.say(Some("n1"));
    let gate = || Some(Arc::new(Gate::new(Arc::clone(&denies) as _)));
    let mut accepted = Accepted::open("s".into(), OnError::File, None, gate());
    let path = Path::new("a.yaml");
    let first = offered(&mut accepted, &[("a.yaml", &account("a", 1))], "1", second(1));
    assert!(!accepted.files.is_good() && first.world.is_empty() && accepted.files.has_unknown());
    assert_eq!(messages(&first.findings), ["s:a.yaml:1: error: denied CREATE"]);

    let good = offered(&mut accepted, &[("a.yaml", &account("a", 2))], "2", second(2));
    assert!(good.findings.is_empty() && !accepted.files.are_to_be_judged_again());
    let in_force = told(&good.world);

    // What was good stays in force, and is told of, until it is mended or the policy is taken back.
    denies.say(Some("n2"));
    assert!(accepted.files.are_to_be_judged_again());
    let flagged = offered(&mut accepted, &[("a.yaml", &account("a", 2))], "3", second(3));
    assert_eq!(messages(&flagged.findings), ["s:a.yaml:1: error: denied UPDATE"]);
    assert!(!accepted.files.is_good() && !accepted.files.has_unknown());
    assert_eq!(told(&flagged.world), in_force);
    denies.say(None);
    assert!(accepted.files.are_to_be_judged_again());
    let mended = offered(&mut accepted, &[("a.yaml", &account("a", 2))], "4", second(4));
    assert!(mended.findings.is_empty());
    assert_eq!(told(&mended.world), in_force);

    // What was in force before a restart was judged then.
    denies.say(Some("n2"));
    let mut restored = Files::new("s".into(), gate());
    restored.restore(&[file(path, Ok(&account("a", 2)))]);
    assert_eq!(told(restored.world()), in_force);
    let before = restored.manifests();
    restored.offer(path, Ok(&account("a", 2)));
    restored.admit(&before);
    assert!(!restored.is_good() && told(restored.world()) == in_force);
}

#[test]
fn what_must_not_go_does_not() {
    let denies = Arc::new(Denies::default());
    let gate = || Some(Arc::new(Gate::new(Arc::clone(&denies) as _)));
    let (stays, goes) = (account("a", 1), account("b", 2));
    let both = stays.clone() + &goes;
    for rule in [OnError::File, OnError::Source] {
        denies.say(None);
        let mut accepted = Accepted::open("s".into(), rule, None, gate());
        let first = offered(&mut accepted, &[("a.yaml", &both), ("c.yaml", &account("c", 2))], "1", second(1));
        assert_eq!(first.world.len(), 3);
        denies.say(Some("n1"));
        let denied = "s:a.yaml:1: error: denied DELETE".to_owned();
        // The file goes, or the object goes out of it.
        for (files, more) in [(vec![("c.yaml", account("c", 3))], 3), (vec![("a.yaml", goes.clone())], 2)] {
            let files: Vec<_> = files.iter().map(|(path, text)| (*path, text.as_str())).collect();
            let said = offered(&mut accepted, &files, "2", second(2));
            assert!(messages(&said.findings).contains(&denied), "{rule:?}: {:?}", said.findings);
            let left = if rule == OnError::File { more } else { 3 };
            assert_eq!(said.world.len(), left, "{rule:?} {files:?}: {:?}", told(&said.world));
            assert_eq!(&*said.revision, if rule == OnError::File { "2" } else { "1" });
        }
        // It comes back, or only moves: nothing is denied any more.
        denies.say(Some("n9"));
        let moved = offered(&mut accepted, &[("z.yaml", &stays), ("b.yaml", &goes)], "3", second(3));
        assert_eq!((messages(&moved.findings), moved.world.len()), (Vec::new(), 2), "{rule:?}");
    }
}

/// Denies an account of which there is no other with the same name and an `x` behind it.
struct NeedsOther;

impl Judge for NeedsOther {
    fn judge(&self, review: &Review<'_>, inventory: &Inventory) -> Vec<Finding> {
        let name = review.subject().name;
        let has = inventory.iter().any(|(key, _)| key.name == format!("{name}x"));
        let asks = review.operation != Operation::Delete && !name.ends_with('x');
        (asks && !has).then(|| review.origin.error(format!("{name} is alone"))).into_iter().collect()
    }

    fn sees_others(&self) -> bool {
        true
    }
}

#[test]
fn files_are_judged_among_what_there_would_be() {
    let mut accepted = Accepted::open("s".into(), OnError::File, None, Some(Arc::new(Gate::new(Arc::new(NeedsOther)))));
    let (a, ax, b) = (account("a", 1), account("ax", 1), account("b", 1));
    let both = offered(&mut accepted, &[("a.yaml", &a), ("x.yaml", &ax)], "1", second(1));
    assert_eq!((messages(&both.findings), both.world.len()), (Vec::new(), 2), "they come together");
    let alone = offered(&mut accepted, &[("a.yaml", &a), ("x.yaml", &ax), ("b.yaml", &b)], "2", second(2));
    assert_eq!((messages(&alone.findings), alone.world.len()), (vec!["s:b.yaml:1: error: b is alone".to_owned()], 2));
    // What did not change would be denied by what did: nothing of that counts.
    let broken = offered(&mut accepted, &[("a.yaml", &a), ("x.yaml", &account("cx", 1))], "3", second(3));
    assert!(told(&broken.world).iter().any(|line| line.contains("default/ax")), "{:?}", told(&broken.world));
    assert_eq!(messages(&broken.findings), ["s:a.yaml:1: error: a is alone"]);
    // Together they may go.
    let gone = offered(&mut accepted, &[("x.yaml", &account("cx", 1))], "4", second(4));
    assert_eq!((messages(&gone.findings), gone.world.len()), (Vec::new(), 1));
}
