use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::Said;
use super::settings::Divergence;
use crate::finding::{Code, Finding, Origin, Severity};
use crate::resource::{Kind, Object, ObjectId};
use crate::world::World;

/// How a source counts among others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// Whether nothing counts before it has said something once.
    pub required: bool,
    /// Whether it alone has the say about the kinds that it has objects of, and what becomes of what others say.
    pub authoritative: Option<Divergence>,
}

impl Default for Rules {
    fn default() -> Self {
        Self { required: true, authoritative: None }
    }
}

/// What all sources say together.
#[derive(Debug, Clone, Default)]
pub struct Merged {
    /// The objects that count.
    pub world: World,
    /// What the sources found, and what is to be said of them among each other.
    pub findings: Arc<[Finding]>,
    /// The state of each source that said something, by its name.
    pub revisions: BTreeMap<Arc<str>, Arc<str>>,
    /// The required sources that have said nothing yet: what the others say does not count before.
    pub waiting: Vec<Arc<str>>,
}

/// Merges what sources say, in the order in which they take precedence. What did not change since costs a look at most.
#[derive(Debug)]
pub struct Merge {
    inputs: Vec<Input>,
    world: World,
    /// What there is to say of objects that several sources have.
    findings: BTreeMap<ObjectId, Vec<Finding>>,
    /// By which source a kind is governed.
    governed: BTreeMap<Kind, usize>,
}

#[derive(Debug)]
struct Input {
    name: Arc<str>,
    rules: Rules,
    said: Said,
}

/// An object of a source.
struct Candidate<'a> {
    input: usize,
    origin: &'a Origin,
    digest: u128,
    object: Object,
}

impl Merge {
    /// Sources that have said nothing yet, the first before the second.
    #[must_use]
    pub fn new(sources: impl IntoIterator<Item = (Arc<str>, Rules)>) -> Self {
        let inputs = sources.into_iter().map(|(name, rules)| Input { name, rules, said: Said::default() }).collect();
        Self { inputs, world: World::default(), findings: BTreeMap::new(), governed: BTreeMap::new() }
    }

    /// A source says something else from now on.
    pub fn take(&mut self, source: usize, said: Said) {
        let is_only = self.inputs.len() == 1;
        let Some(input) = self.inputs.get_mut(source) else { return };
        let before = std::mem::replace(&mut input.said, said).world;
        let world = &input.said.world;
        if is_only {
            self.world = world.clone();
            return;
        }
        let mut moved: BTreeSet<_> = world.moved_since(&before).into_iter().collect();
        let governed = self.governed();
        for kind in Kind::ALL.iter().filter(|kind| governed.get(kind) != self.governed.get(kind)) {
            moved.extend(self.inputs.iter().flat_map(|input| input.said.world.ids(*kind)));
        }
        self.governed = governed;
        for id in moved {
            self.decide(&id);
        }
    }

    /// What they say together.
    #[must_use]
    pub fn merged(&self) -> Merged {
        let of_sources = self.inputs.iter().flat_map(|input| input.said.findings.iter());
        let mut findings: Vec<_> = of_sources.chain(self.findings.values().flatten()).cloned().collect();
        findings.sort();
        let is_silent = |input: &&Input| input.said.revision.is_empty();
        let waiting = self.inputs.iter().filter(|input| input.rules.required).filter(is_silent);
        let waiting = waiting.map(|input| Arc::clone(&input.name)).collect();
        let heard = self.inputs.iter().filter(|input| !is_silent(input));
        let revisions = heard.map(|input| (Arc::clone(&input.name), Arc::clone(&input.said.revision))).collect();
        Merged { world: self.world.clone(), findings: findings.into(), revisions, waiting }
    }

    /// For each kind the first authoritative source that has an object of it.
    fn governed(&self) -> BTreeMap<Kind, usize> {
        let mut governed = BTreeMap::new();
        for (index, input) in self.inputs.iter().enumerate().filter(|(_, input)| input.rules.authoritative.is_some()) {
            for kind in Kind::ALL.iter().filter(|kind| input.said.world.has(**kind)) {
                governed.entry(*kind).or_insert(index);
            }
        }
        governed
    }

    fn decide(&mut self, id: &ObjectId) {
        let candidates: Vec<_> = self
            .inputs
            .iter()
            .enumerate()
            .filter_map(|(input, of)| {
                let (origin, digest, object) = of.said.world.get(id)?;
                Some(Candidate { input, origin, digest, object })
            })
            .collect();
        let governor = self.governed.get(&id.kind).copied();
        let divergence = governor.and_then(|index| self.inputs.get(index)).and_then(|input| input.rules.authoritative);
        let said = governor.map(|index| candidates.iter().find(|candidate| candidate.input == index));
        let winner = match (said, divergence) {
            (Some(said), Some(Divergence::Refuse)) => said,
            _ => candidates.first(),
        };
        let mut findings = Vec::new();
        for candidate in &candidates {
            findings.extend(self.of(id, candidate, winner, governor.zip(said), divergence));
        }
        let winner = winner.map(|winner| (winner.origin.clone(), winner.digest, winner.object.clone()));
        if findings.is_empty() {
            self.findings.remove(id);
        } else {
            self.findings.insert(id.clone(), findings);
        }
        match winner {
            Some((origin, digest, object)) => self.world.put(origin, digest, object),
            None => self.world.remove(id),
        }
    }

    /// What there is to say of an object of one source.
    fn of(
        &self,
        id: &ObjectId,
        candidate: &Candidate<'_>,
        winner: Option<&Candidate<'_>>,
        governor: Option<(usize, Option<&Candidate<'_>>)>,
        divergence: Option<Divergence>,
    ) -> Option<Finding> {
        let told = |code: Code, message: String| {
            let finding = code.at(candidate.origin, Severity::Warning, message);
            Some(Finding { object: id.to_string(), ..finding })
        };
        if let Some((index, said)) = governor.filter(|(index, _)| *index != candidate.input) {
            let name = &self.inputs.get(index)?.name;
            let fate = if divergence == Some(Divergence::Refuse) { "; it does not count" } else { "" };
            return match said {
                Some(said) if said.is_like(candidate) => None,
                Some(said) => told(Code::DIVERGES, format!("{id} is another at {}{fate}", place(said.origin))),
                None => told(Code::DIVERGES, format!("source `{name}` has no {id}{fate}")),
            };
        }
        match winner {
            Some(winner) if winner.input != candidate.input && !winner.is_like(candidate) => {
                told(Code::SHADOWED, format!("{id} is shadowed by {}", place(winner.origin)))
            }
            _ => None,
        }
    }
}

impl Candidate<'_> {
    /// Whether both say the same.
    fn is_like(&self, other: &Self) -> bool {
        self.digest == other.digest || self.object.is_like(&other.object)
    }
}

/// Where something stands, in a line.
fn place(origin: &Origin) -> String {
    format!("{}:{}:{}", origin.source, origin.file.display(), origin.line)
}
