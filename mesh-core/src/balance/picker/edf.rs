//! Earliest deadline first: each entry is due every 1 / weight.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

#[derive(Debug)]
pub(in crate::balance) struct Edf {
    due: BinaryHeap<Entry>,
    inserted: u64,
}

impl Edf {
    /// Entries by weight. Some picks are made at once, so that those who start together do not all start with the same.
    pub(in crate::balance) fn new(weights: &[f64], rng: &mut fastrand::Rng) -> Self {
        let entries = weights.iter().enumerate();
        let entry = |(index, weight): (usize, &f64)| Entry { deadline: period(*weight), order: index as u64, index };
        let mut edf = Self { due: entries.map(entry).collect(), inserted: weights.len() as u64 };
        for _ in 0..rng.usize(..weights.len().max(1)) {
            edf.next(|index| weights.get(index).copied().unwrap_or(1.0));
        }
        edf
    }

    /// The entry that is due. What weight it has now says when it is due again.
    pub(in crate::balance) fn next(&mut self, weight: impl FnOnce(usize) -> f64) -> Option<usize> {
        let mut first = self.due.peek_mut()?;
        let index = first.index;
        first.deadline += period(weight(index));
        first.order = self.inserted;
        self.inserted += 1;
        Some(index)
    }
}

/// Nothing waits for ever.
fn period(weight: f64) -> f64 {
    weight.max(1e-9).recip()
}

#[derive(Debug)]
struct Entry {
    deadline: f64,
    /// Of equal deadlines the one that was inserted first is due.
    order: u64,
    index: usize,
}

impl Ord for Entry {
    /// The greatest is due first.
    fn cmp(&self, other: &Self) -> Ordering {
        other.deadline.total_cmp(&self.deadline).then_with(|| other.order.cmp(&self.order))
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Entry {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_entry_gets_its_weight_in_every_round() {
        let weights = [1.0, 2.0, 5.0];
        let mut edf = Edf::new(&weights, &mut fastrand::Rng::with_seed(1));
        for _ in 0..10 {
            let mut counts = [0; 3];
            for _ in 0..8 {
                counts[edf.next(|index| weights[index]).unwrap()] += 1;
            }
            assert_eq!(counts, [1, 2, 5]);
        }
    }

    #[test]
    fn equal_weights_rotate() {
        let mut edf = Edf::new(&[1.0; 4], &mut fastrand::Rng::with_seed(3));
        let first: Vec<_> = (0..4).filter_map(|_| edf.next(|_| 1.0)).collect();
        let second: Vec<_> = (0..4).filter_map(|_| edf.next(|_| 1.0)).collect();
        assert_eq!(first, second);
    }
}
