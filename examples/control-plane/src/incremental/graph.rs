use std::collections::{BTreeSet, HashSet};
use std::hash::Hash;

use super::intern::Interner;

/// A node of a [`Graph`].
pub(crate) trait Layered {
    /// Its layer. It reads only what nodes of lower layers make.
    fn layer(&self) -> u8;
}

/// Which nodes there are, what each of them read, and which must be computed again.
#[derive(Debug)]
pub(crate) struct Graph<N, F> {
    nodes: Interner<N>,
    facts: Interner<F>,
    /// By node: the facts that it read, in ascending order.
    reads: Vec<Box<[u32]>>,
    /// By fact.
    readers: Vec<Readers>,
    dirty: BTreeSet<(u8, u32)>,
    computed: u64,
}

/// The readers of a fact. Most facts have one.
#[derive(Debug, Default)]
enum Readers {
    #[default]
    Nobody,
    One(u32),
    Several(HashSet<u32>),
}

impl<N: Layered + Clone + Eq + Hash, F: Clone + Eq + Hash> Graph<N, F> {
    /// Makes a node dirty, whether it was there before or not.
    pub(crate) fn mark(&mut self, node: N) {
        let layer = node.layer();
        let number = self.nodes.put(node);
        self.dirty.insert((layer, number));
    }

    /// Makes the readers of a fact dirty.
    pub(crate) fn changed(&mut self, fact: &F) {
        let Some(readers) = self.facts.number(fact).and_then(|fact| self.readers.get(fact as usize)) else { return };
        let nodes = &self.nodes;
        let dirty = |number: u32| nodes.key(number).map(|node| (node.layer(), number));
        match readers {
            Readers::Nobody => {}
            Readers::One(reader) => self.dirty.extend(dirty(*reader)),
            Readers::Several(readers) => self.dirty.extend(readers.iter().filter_map(|reader| dirty(*reader))),
        }
    }

    /// A node that must be computed, of the lowest layer in which there is one. It is not dirty any more.
    pub(crate) fn next(&mut self) -> Option<N> {
        loop {
            let (_, number) = self.dirty.pop_first()?;
            if let Some(node) = self.nodes.key(number) {
                return Some(node.clone());
            }
        }
    }

    /// Takes note of what a node read when it was computed.
    pub(crate) fn computed(&mut self, node: N, facts: impl IntoIterator<Item = F>) {
        self.computed += 1;
        let node = self.nodes.put(node);
        let mut now: Vec<u32> = facts.into_iter().map(|fact| self.facts.put(fact)).collect();
        now.sort_unstable();
        now.dedup();
        let at = node as usize;
        if self.reads.len() <= at {
            self.reads.resize_with(at + 1, Box::default);
        }
        let before = std::mem::replace(&mut self.reads[at], now.clone().into());
        for fact in now.iter().filter(|fact| before.binary_search(fact).is_err()) {
            let at = *fact as usize;
            if self.readers.len() <= at {
                self.readers.resize_with(at + 1, Readers::default);
            }
            self.readers[at].insert(node);
        }
        for fact in before.iter().filter(|fact| now.binary_search(fact).is_err()) {
            self.forget(*fact, node);
        }
    }

    /// Takes a node out, and with it what it read.
    pub(crate) fn remove(&mut self, node: &N) {
        let Some(number) = self.nodes.number(node) else { return };
        self.dirty.remove(&(node.layer(), number));
        let reads = self.reads.get_mut(number as usize).map(std::mem::take).unwrap_or_default();
        for fact in reads {
            self.forget(fact, number);
        }
        self.nodes.free(number);
    }

    /// How many computations there were so far.
    pub(crate) fn computations(&self) -> u64 {
        self.computed
    }

    /// How many nodes there are, and how many facts that any of them read.
    #[cfg(test)]
    pub(crate) fn size(&self) -> (usize, usize) {
        (self.nodes.len(), self.facts.len())
    }

    fn forget(&mut self, fact: u32, reader: u32) {
        let Some(readers) = self.readers.get_mut(fact as usize) else { return };
        readers.remove(reader);
        if matches!(readers, Readers::Nobody) {
            self.facts.free(fact);
        }
    }
}

impl<N, F> Default for Graph<N, F> {
    fn default() -> Self {
        Self {
            nodes: Interner::default(),
            facts: Interner::default(),
            reads: Vec::new(),
            readers: Vec::new(),
            dirty: BTreeSet::new(),
            computed: 0,
        }
    }
}

impl Readers {
    fn insert(&mut self, reader: u32) {
        match self {
            Self::Nobody => *self = Self::One(reader),
            Self::One(one) => *self = Self::Several([*one, reader].into()),
            Self::Several(several) => {
                several.insert(reader);
            }
        }
    }

    fn remove(&mut self, reader: u32) {
        match self {
            Self::One(one) if *one == reader => *self = Self::Nobody,
            Self::Several(several) => {
                several.remove(&reader);
                match several.len() {
                    0 => *self = Self::Nobody,
                    1 => *self = several.iter().next().map_or(Self::Nobody, |one| Self::One(*one)),
                    _ => {}
                }
            }
            Self::Nobody | Self::One(_) => {}
        }
    }
}
