use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};

use super::say::{self, Offered, Say};
use crate::admission::gate::Gate;
use crate::admission::inventory::{Inventory, Key};
use crate::admission::{Judged, SourceFile, twice};
use crate::finding::{Finding, Origin};
use crate::parallel;
use crate::resource::{Object, ObjectId};
use crate::world::World;

/// A text of more bytes is judged by all processors at once.
const LONG: usize = 64 * 1024;
/// Files that a thread judges at least.
const OF_A_THREAD: usize = 16;

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
///
/// Where somebody else has a say, a file that was offered and is good by itself does not count before [`Files::admit`], and neither
/// does it that one has vanished.
#[derive(Debug)]
pub(super) struct Files {
    source: Arc<str>,
    say: Option<Say>,
    files: BTreeMap<Arc<Path>, File>,
    /// In which files objects stand that are good.
    places: HashMap<ObjectId, BTreeSet<Arc<Path>>>,
    /// Those that stand in several.
    repeated: BTreeSet<ObjectId>,
    world: World,
}

#[derive(Debug, Default)]
struct File {
    /// What was offered last; nothing when it was restored, or had no text.
    offered: Option<Digest>,
    /// What is good by itself, and somebody else has to say something of.
    candidate: Option<Good>,
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
    pub(super) fn new(source: Arc<str>, gate: Option<Arc<Gate>>) -> Self {
        Self {
            say: gate.map(|gate| Say::new(gate, Arc::clone(&source))),
            source,
            files: BTreeMap::new(),
            places: HashMap::new(),
            repeated: BTreeSet::new(),
            world: World::default(),
        }
    }

    /// Files were found, each with its text or why it has none. Gives whether anything is different now.
    pub(super) fn offer_all(&mut self, files: &[SourceFile]) -> bool {
        // Long ones are judged by all processors each; short ones each by one of them.
        let judged = match files.iter().any(|file| file.text.as_ref().is_ok_and(|text| text.len() > LONG)) {
            true => files.iter().map(|file| self.judge(file)).collect(),
            false => parallel::map(files, OF_A_THREAD, |file| self.judge(file)),
        };
        let mut changed = false;
        for (file, judged) in files.iter().zip(judged) {
            changed |= self.take(&file.path, judged);
        }
        changed
    }

    /// Judges a file, unless it is as it was offered last.
    fn judge(&self, file: &SourceFile) -> Option<(Option<Digest>, Judged)> {
        let digest = file.text.as_deref().ok().map(digest_of);
        let known = self.files.get(file.path.as_path());
        let is_same = known.is_some_and(|known| match &file.text {
            Ok(_) => known.offered == digest,
            Err(reason) => known.faults.iter().any(|fault| fault.message == *reason),
        });
        if is_same {
            return None;
        }
        let before = known.and_then(|known| known.good.as_ref()).map(|good| &good.judged);
        let judged = match &file.text {
            Ok(text) => Judged::of(&self.source, &file.path, text, before, self.say.is_some()),
            Err(reason) => Judged::unreadable(&self.source, &file.path, reason),
        };
        Some((digest, judged))
    }

    /// Takes a file that was judged, or that is as it was. Gives whether anything is different now.
    fn take(&mut self, path: &Path, judged: Option<(Option<Digest>, Judged)>) -> bool {
        let Some((digest, judged)) = judged else {
            return self.files.get_mut(path).is_some_and(|file| std::mem::take(&mut file.is_gone));
        };
        let path: Arc<Path> = match self.files.get_key_value(path) {
            Some((path, _)) => Arc::clone(path),
            None => path.into(),
        };
        let mut file = self.files.remove(&path).unwrap_or_default();
        file.offered = digest;
        file.is_gone = false;
        file.candidate = None;
        match digest.filter(|_| judged.is_good()) {
            Some(digest) => {
                file.faults.clear();
                file.candidate = Some(Good { digest, judged });
                self.files.insert(Arc::clone(&path), file);
                if self.say.is_none() {
                    self.accept(&path);
                }
            }
            None => {
                file.faults = judged.findings;
                self.files.insert(path, file);
            }
        }
        true
    }

    /// What was offered of a file counts.
    fn accept(&mut self, path: &Arc<Path>) {
        let Some(file) = self.files.get_mut(path) else { return };
        if let Some(candidate) = file.candidate.take() {
            let before = file.good.replace(candidate);
            self.replaced(path, before);
        }
    }

    /// What files held when they were good last, before a restart. They were judged then.
    pub(super) fn restore(&mut self, files: &[SourceFile]) {
        self.offer_all(files);
        let paths: Vec<Arc<Path>> = self.files.keys().cloned().collect();
        for path in &paths {
            self.accept(path);
            if let Some(file) = self.files.get_mut(path) {
                file.offered = None;
            }
        }
    }

    /// Whether who else has a say may say otherwise now than at the last [`Files::admit`].
    pub(super) fn are_to_be_judged_again(&self) -> bool {
        self.say.as_ref().is_some_and(Say::may_differ)
    }

    /// Has what was offered judged by who else has a say, against what is in force, and takes what is not denied.
    pub(super) fn admit(&mut self, in_force: &Inventory) {
        let Some(mut say) = self.say.take() else { return };
        let refused = say.judge(&*self, in_force);
        self.say = Some(say);
        for path in say::Files::pending(self).difference(&refused) {
            self.accept(path);
        }
        self.bury(&refused);
    }

    /// The objects that count as they were written, where somebody else has a say.
    pub(super) fn manifests(&self) -> Inventory {
        let good = self.files.values().filter_map(|file| file.good.as_ref());
        let all = good.flat_map(|good| good.judged.manifests.iter().map(|(_, _, object)| Arc::clone(object)));
        match self.say {
            Some(_) => all.collect(),
            None => Inventory::default(),
        }
    }

    /// What is in force is this from now on.
    pub(super) fn taken(&mut self, in_force: &Inventory) {
        if let Some(say) = &mut self.say {
            say.take(in_force);
        }
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
        let is_judged = self.say.is_some();
        changed | (!is_judged && self.bury(&BTreeSet::new()))
    }

    /// Takes the objects of vanished files away, unless one of those that are there may hold them.
    fn bury(&mut self, held: &BTreeSet<Arc<Path>>) -> bool {
        self.files.retain(|_, file| !(file.is_gone && file.is_unknown()));
        if self.has_unknown() {
            return false;
        }
        let is_gone = |(path, file): &(&Arc<Path>, &File)| file.is_gone && !held.contains(*path);
        let gone: Vec<_> = self.files.iter().filter(is_gone).map(|(path, _)| Arc::clone(path)).collect();
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
        let is_said = self.say.as_ref().is_none_or(Say::is_good);
        is_said && self.repeated.is_empty() && self.files.values().all(|file| file.faults.is_empty())
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

    /// Whether a text is that of a file's last good state, or may come to be.
    pub(super) fn may_hold(&self, path: &Path, text: &str) -> bool {
        let file = self.files.get(path);
        let mut known = file.into_iter().flat_map(|file| file.good.iter().chain(&file.candidate)).peekable();
        known.peek().is_some() && {
            let digest = digest_of(text);
            known.any(|known| known.digest == digest)
        }
    }

    /// Digests of what may come to be good.
    pub(super) fn candidates(&self) -> impl Iterator<Item = &Digest> {
        self.files.values().filter_map(|file| file.candidate.as_ref()).map(|candidate| &candidate.digest)
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
                let last = file.candidate.as_ref().or(file.good.as_ref());
                findings.extend(last.iter().flat_map(|last| &last.judged.findings).cloned());
            }
        }
        findings.extend(self.say.iter().flat_map(Say::findings).cloned());
        for id in &self.repeated {
            let mut places = self.places.get(id).into_iter().flatten().filter_map(|path| self.placed(path, id));
            let Some((first, ..)) = places.next() else { continue };
            findings.extend(places.map(|(origin, ..)| twice(origin, id, first)));
        }
        findings
    }

    fn placed(&self, path: &Path, id: &ObjectId) -> Option<&(Origin, u128, Object)> {
        self.files.get(path)?.good.as_ref()?.judged.objects.get(id)
    }

    /// Brings the world to what the files say, after the good state of one was another. The cost is that of what differs.
    fn replaced(&mut self, path: &Arc<Path>, before: Option<Good>) {
        let before = before.map(|good| good.judged.objects).unwrap_or_default();
        let now = self.files.get(path).and_then(|file| file.good.as_ref()).map(|good| &good.judged.objects);
        // What was not read again.
        let is_as_it_was = |id: &ObjectId, (origin, _, object): &(Origin, u128, Object)| {
            before.get(id).is_some_and(|(before_at, _, before)| before_at == origin && before.is_one(object))
        };
        let now = now.into_iter().flatten().filter(|(id, placed)| !is_as_it_was(id, placed));
        let now: Vec<_> = now.map(|(id, _)| id.clone()).collect();
        for id in &now {
            self.places.entry(id.clone()).or_default().insert(Arc::clone(path));
        }
        let left: Vec<_> = before.into_keys().filter(|id| self.placed(path, id).is_none()).collect();
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

impl say::Files for Files {
    fn offered(&self, without: &BTreeSet<Arc<Path>>) -> Offered<'_> {
        let is_out = |path: &Arc<Path>| without.contains(path);
        // Of those nobody knows what they hold: it may be what has vanished.
        let is_unknown = self
            .files
            .iter()
            .any(|(path, file)| !file.is_gone && file.is_unknown() && (file.candidate.is_none() || is_out(path)));
        let mut offered = Offered::new();
        for (path, file) in &self.files {
            let counts = match &file.candidate {
                _ if file.is_gone && !is_unknown && !is_out(path) => None,
                Some(candidate) if !file.is_gone && !is_out(path) => Some(candidate),
                _ => file.good.as_ref(),
            };
            for (key, origin, object) in counts.iter().flat_map(|counts| &counts.judged.manifests) {
                offered.entry(key).or_insert((path, origin, object));
            }
        }
        offered
    }

    fn pending(&self) -> BTreeSet<Arc<Path>> {
        let is_pending = |(_, file): &(&Arc<Path>, &File)| file.is_gone || file.candidate.is_some();
        self.files.iter().filter(is_pending).map(|(path, _)| Arc::clone(path)).collect()
    }

    fn changing(&self, key: &Key) -> BTreeSet<Arc<Path>> {
        let holds = |good: &Option<Good>| {
            good.as_ref().is_some_and(|good| good.judged.manifests.iter().any(|(of, ..)| of == key))
        };
        let is_changing = |(_, file): &(&Arc<Path>, &File)| {
            (file.is_gone || file.candidate.is_some()) && (holds(&file.good) || holds(&file.candidate))
        };
        self.files.iter().filter(is_changing).map(|(path, _)| Arc::clone(path)).collect()
    }

    fn origin(&self, key: &Key) -> Origin {
        let good = self.files.values().filter_map(|file| file.good.as_ref());
        let mut all = good.flat_map(|good| &good.judged.manifests);
        let found = all.find(|(of, ..)| of == key).map(|(_, origin, _)| origin.clone());
        found.unwrap_or_else(|| Origin { source: Arc::clone(&self.source), ..Origin::default() })
    }
}

/// Bytes in hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
