use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};

use crate::admission::judge::Judge;
use crate::admission::{Judged, twice};
use crate::finding::Finding;
use crate::resource::ObjectId;
use crate::world::World;

/// SHA-256 of a text.
pub(super) type Digest = [u8; 32];

/// The digest of a text.
pub(super) fn digest_of(text: &str) -> Digest {
    let mut bytes = Digest::default();
    bytes.copy_from_slice(digest(&SHA256, text.as_bytes()).as_ref());
    bytes
}

/// The files of a source, each with its last good state, and the world that those make.
///
/// A file is taken whole or not at all. One that is bad keeps the objects that it had when it was good last. As long as there is
/// one that is bad and never was good, the objects of files that vanish stay: a file may have been moved and broken at once.
///
/// An object that stands in several files counts where the path comes first.
#[derive(Debug)]
pub(super) struct Files {
    source: Arc<str>,
    say: Say,
    files: BTreeMap<Arc<Path>, File>,
    /// In which files objects stand that are good.
    places: HashMap<ObjectId, BTreeSet<Arc<Path>>>,
    /// Those that stand in several.
    repeated: BTreeSet<ObjectId>,
    world: World,
}

/// Who else has a say.
struct Say {
    judge: Option<Arc<dyn Judge>>,
    /// The revision of its answers.
    revision: u64,
}

impl fmt::Debug for Say {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Say").field("revision", &self.revision).finish_non_exhaustive()
    }
}

#[derive(Debug, Default)]
struct File {
    /// What was offered last; nothing when it was restored, or had no text.
    offered: Option<Digest>,
    good: Option<Good>,
    /// What is wrong in what was offered last.
    faults: Vec<Finding>,
    /// Whether it has vanished.
    is_gone: bool,
}

#[derive(Debug)]
struct Good {
    digest: Digest,
    judged: Judged,
}

impl File {
    /// Nobody knows what is meant to be in it.
    fn is_unknown(&self) -> bool {
        self.good.is_none()
    }
}

impl Files {
    pub(super) fn new(source: Arc<str>, judge: Option<Arc<dyn Judge>>) -> Self {
        Self {
            source,
            say: Say { revision: 0, judge },
            files: BTreeMap::new(),
            places: HashMap::new(),
            repeated: BTreeSet::new(),
            world: World::default(),
        }
    }

    /// A file was found, with its text or why it has none. Gives whether anything is different now.
    pub(super) fn offer(&mut self, path: &Path, text: Result<&str, &str>) -> bool {
        let digest = text.ok().map(digest_of);
        if let Some(file) = self.files.get_mut(path) {
            let is_back = std::mem::take(&mut file.is_gone);
            let is_same = match text {
                Ok(_) => file.offered == digest,
                Err(reason) => file.faults.iter().any(|fault| fault.message == reason),
            };
            if is_same {
                return is_back;
            }
        }
        let judged = match text {
            Ok(text) => Judged::of(&self.source, path, text, self.say.judge.as_deref()),
            Err(reason) => Judged::unreadable(&self.source, path, reason),
        };
        let path: Arc<Path> = match self.files.get_key_value(path) {
            Some((path, _)) => Arc::clone(path),
            None => path.into(),
        };
        let mut file = self.files.remove(&path).unwrap_or_default();
        file.offered = digest;
        file.is_gone = false;
        match digest.filter(|_| judged.is_good()) {
            Some(digest) => {
                file.faults.clear();
                let before = file.good.replace(Good { digest, judged });
                self.files.insert(Arc::clone(&path), file);
                self.replaced(&path, before);
            }
            None => {
                file.faults = judged.findings;
                self.files.insert(path, file);
            }
        }
        true
    }

    /// What a file held when it was good last, before a restart. It was judged then.
    pub(super) fn restore(&mut self, path: &Path, text: &str) {
        let judge = self.say.judge.take();
        if self.offer(path, Ok(text))
            && let Some(file) = self.files.get_mut(path)
        {
            file.offered = None;
        }
        self.say.judge = judge;
    }

    /// Whether who else has a say may say otherwise now than at the last call. All files are then to be offered again.
    pub(super) fn are_to_be_judged_again(&mut self) -> bool {
        let Some(judge) = &self.say.judge else { return false };
        let revision = judge.revision();
        let is_other = std::mem::replace(&mut self.say.revision, revision) != revision;
        if is_other {
            for file in self.files.values_mut() {
                file.offered = None;
            }
        }
        is_other
    }

    /// The files that are there: all others have vanished. Gives whether anything is different now.
    pub(super) fn keep_only(&mut self, there: &HashSet<PathBuf>) -> bool {
        let mut changed = false;
        for (path, file) in &mut self.files {
            if !file.is_gone && !there.contains(&**path) {
                file.is_gone = true;
                changed = true;
            }
        }
        changed | self.bury()
    }

    /// Takes the objects of vanished files away, unless one of those that are there may hold them.
    fn bury(&mut self) -> bool {
        self.files.retain(|_, file| !(file.is_gone && file.is_unknown()));
        if self.has_unknown() {
            return false;
        }
        let gone: Vec<_> =
            self.files.iter().filter(|(_, file)| file.is_gone).map(|(path, _)| Arc::clone(path)).collect();
        for path in &gone {
            let good = self.files.remove(path).and_then(|file| file.good);
            self.replaced(path, good);
        }
        !gone.is_empty()
    }

    /// Whether there is a file of which nobody knows what is meant to be in it.
    pub(super) fn has_unknown(&self) -> bool {
        self.files.values().any(File::is_unknown)
    }

    /// Whether there is nothing wrong anywhere.
    pub(super) fn is_good(&self) -> bool {
        self.repeated.is_empty() && self.files.values().all(|file| file.faults.is_empty())
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.files.len()
    }

    /// The objects of the last good states.
    pub(super) fn world(&self) -> &World {
        &self.world
    }

    /// The last good states, in the order of their paths.
    pub(super) fn good(&self) -> impl Iterator<Item = (&Path, &Digest)> {
        self.files.iter().filter_map(|(path, file)| Some((&**path, &file.good.as_ref()?.digest)))
    }

    /// The digest of a file's last good state.
    pub(super) fn good_digest(&self, path: &Path) -> Option<&Digest> {
        self.files.get(path)?.good.as_ref().map(|good| &good.digest)
    }

    /// Digest of all that is in force.
    pub(super) fn revision(&self) -> String {
        let mut all = Vec::new();
        for (path, digest) in self.good() {
            all.extend_from_slice(path.as_os_str().as_encoded_bytes());
            all.push(0);
            all.extend_from_slice(digest);
        }
        hex(&digest(&SHA256, &all).as_ref()[..16])
    }

    /// What is wrong, or has no effect.
    pub(super) fn findings(&self) -> Vec<Finding> {
        let mut findings = Vec::new();
        for file in self.files.values() {
            findings.extend_from_slice(&file.faults);
            if file.faults.is_empty() {
                findings.extend(file.good.iter().flat_map(|good| &good.judged.findings).cloned());
            }
        }
        for id in &self.repeated {
            let mut places = self.places.get(id).into_iter().flatten().filter_map(|path| self.placed(path, id));
            let Some((first, ..)) = places.next() else { continue };
            findings.extend(places.map(|(origin, ..)| twice(origin, id, first)));
        }
        findings
    }

    fn placed(&self, path: &Path, id: &ObjectId) -> Option<&(crate::finding::Origin, u128, crate::resource::Object)> {
        self.files.get(path)?.good.as_ref()?.judged.objects.get(id)
    }

    /// Brings the world to what the files say, after the good state of one was another.
    fn replaced(&mut self, path: &Arc<Path>, before: Option<Good>) {
        let before: BTreeSet<_> = before.into_iter().flat_map(|good| good.judged.objects.into_keys()).collect();
        let good = self.files.get(path).and_then(|file| file.good.as_ref());
        let now: Vec<_> = good.into_iter().flat_map(|good| good.judged.objects.keys().cloned()).collect();
        for id in &now {
            self.places.entry(id.clone()).or_default().insert(Arc::clone(path));
        }
        let is_still = |id: &ObjectId| self.placed(path, id).is_some();
        let left: Vec<_> = before.into_iter().filter(|id| !is_still(id)).collect();
        for id in &left {
            if let Some(places) = self.places.get_mut(id) {
                places.remove(path);
            }
        }
        for id in now.iter().chain(&left) {
            self.place(id);
        }
    }

    /// Puts an object of the world where it counts.
    fn place(&mut self, id: &ObjectId) {
        let places = self.places.get(id);
        let count = places.map_or(0, BTreeSet::len);
        let first = places.and_then(|places| places.first()).and_then(|path| self.placed(path, id)).cloned();
        match first {
            Some((origin, digest, object)) => self.world.put(origin, digest, object),
            None => {
                self.world.remove(id);
                self.places.remove(id);
            }
        }
        if count > 1 {
            self.repeated.insert(id.clone());
        } else {
            self.repeated.remove(id);
        }
    }
}

/// Bytes in hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
