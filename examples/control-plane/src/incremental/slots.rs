//! Numbers for names, few of which change when names come and go, and which depend on the set of names alone.
//!
//! Each name has a list of numbers, in the order in which it would like to have them. It has the first that no better
//! claimant has: the stable matching that is best for names. There is exactly one, so whoever has the same claimants
//! gives the same numbers, whatever came before. A claimant that comes or goes moves those it collides with, and
//! theirs: with a table that is half full two or three, all of them if the worst comes.

use std::collections::{BTreeSet, HashMap};
use std::fmt::Debug;
use std::hash::Hash;

/// How many numbers a name tries. With a table that is nine tenths full, three names in a hundred get none.
const TRIES: u16 = 32;

/// How many numbers there are, from 0 on: a prime, so that steps of any length come by all of them.
pub(crate) const SLOTS: u32 = 65_521;

/// Someone who wants a number. The lesser is the better.
pub(crate) trait Claimant: Clone + Ord + Hash + Debug {
    /// Where its list begins, and how far each entry is from the one before; any numbers, the same for ever.
    fn walk(&self) -> (u64, u64);
}

/// Which number each claimant has.
#[derive(Debug)]
pub(crate) struct Slots<C> {
    /// By claimant: the place in its list of the number that it has; [`TRIES`] if it has none.
    places: HashMap<C, u16>,
    /// By number: all who want it at least as much as what they have. The best of them has it, unless it is taken.
    wanting: HashMap<u32, BTreeSet<C>>,
    /// Numbers that nobody gets, and how many say so.
    taken: HashMap<u32, usize>,
}

impl<C: Claimant> Slots<C> {
    /// The number of a claimant; `None` if it is not there, or those that it tried have better ones.
    pub(crate) fn get(&self, claimant: &C) -> Option<u32> {
        self.places.get(claimant).filter(|place| **place < TRIES).map(|place| nth(claimant, *place))
    }

    /// Adds one that is not there. Gives those whose number changed.
    pub(crate) fn insert(&mut self, claimant: C) -> BTreeSet<C> {
        let mut moved = BTreeSet::new();
        if !self.places.contains_key(&claimant) {
            self.seek(claimant, 0, &mut moved);
        }
        moved
    }

    /// Takes one away. Gives those whose number changed, without it.
    pub(crate) fn remove(&mut self, claimant: &C) -> BTreeSet<C> {
        let mut moved = BTreeSet::new();
        if let Some(place) = self.places.remove(claimant) {
            self.forget(claimant, 0, place);
            self.vacate(claimant, place, &mut moved);
        }
        moved
    }

    /// Says that nobody gets a number. Gives those whose number changed.
    pub(crate) fn take(&mut self, number: u32) -> BTreeSet<C> {
        let mut moved = BTreeSet::new();
        let count = self.taken.entry(number).or_default();
        *count += 1;
        if *count == 1
            && let Some(holder) = self.wanting.get(&number).and_then(BTreeSet::first).cloned()
        {
            let next = self.places.get(&holder).map_or(TRIES, |place| place + 1);
            self.seek(holder, next, &mut moved);
        }
        moved
    }

    /// Takes back what [`Self::take`] said. Gives those whose number changed.
    pub(crate) fn release(&mut self, number: u32) -> BTreeSet<C> {
        let mut moved = BTreeSet::new();
        match self.taken.get_mut(&number) {
            Some(count) if *count > 1 => *count -= 1,
            Some(_) => {
                self.taken.remove(&number);
                self.fill(number, &mut moved);
            }
            None => {}
        }
        moved
    }

    /// Has a claimant try its list from a place on. Who is worse than it makes room, and goes on in its own list.
    fn seek(&mut self, claimant: C, from: u16, moved: &mut BTreeSet<C>) {
        let (mut claimant, mut place) = (claimant, from);
        loop {
            if place >= TRIES {
                self.settle(claimant, TRIES, moved);
                return;
            }
            let number = nth(&claimant, place);
            let wanting = self.wanting.entry(number).or_default();
            let holder = wanting.first().filter(|_| !self.taken.contains_key(&number)).cloned();
            wanting.insert(claimant.clone());
            if self.taken.contains_key(&number) || holder.as_ref().is_some_and(|holder| *holder < claimant) {
                place += 1;
                continue;
            }
            self.settle(claimant, place, moved);
            let Some(displaced) = holder else { return };
            place = self.places.get(&displaced).map_or(TRIES, |place| place + 1);
            claimant = displaced;
        }
    }

    /// What a claimant had is free.
    fn vacate(&mut self, claimant: &C, place: u16, moved: &mut BTreeSet<C>) {
        if place < TRIES {
            self.fill(nth(claimant, place), moved);
        }
    }

    /// Gives a number that is free to the best of those who want it, what that one had to the next, and so on.
    fn fill(&mut self, number: u32, moved: &mut BTreeSet<C>) {
        let mut number = number;
        while !self.taken.contains_key(&number) {
            let Some(best) = self.wanting.get(&number).and_then(BTreeSet::first).cloned() else { return };
            let had = self.places.get(&best).copied().unwrap_or(TRIES);
            let Some(place) = (0..had).find(|place| nth(&best, *place) == number) else { return };
            self.forget(&best, place + 1, had);
            self.settle(best.clone(), place, moved);
            if had >= TRIES {
                return;
            }
            number = nth(&best, had);
        }
    }

    fn settle(&mut self, claimant: C, place: u16, moved: &mut BTreeSet<C>) {
        moved.insert(claimant.clone());
        self.places.insert(claimant, place);
    }

    /// Takes a claimant from those who want the numbers of two places and between.
    fn forget(&mut self, claimant: &C, from: u16, to: u16) {
        for place in from..=to.min(TRIES - 1) {
            let number = nth(claimant, place);
            if let Some(wanting) = self.wanting.get_mut(&number) {
                wanting.remove(claimant);
                if wanting.is_empty() {
                    self.wanting.remove(&number);
                }
            }
        }
    }
}

impl<C> Default for Slots<C> {
    fn default() -> Self {
        Self { places: HashMap::new(), wanting: HashMap::new(), taken: HashMap::new() }
    }
}

/// The number at a place of a list.
fn nth(claimant: &impl Claimant, place: u16) -> u32 {
    let (begin, step) = claimant.walk();
    let slots = u64::from(SLOTS);
    let step = 1 + step % (slots - 1);
    let number = (begin % slots + u64::from(place) * step) % slots;
    u32::try_from(number).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::sample::Index;

    use super::*;

    /// Few beginnings and steps, so that most collide.
    #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
    struct Name(u16);

    impl Claimant for Name {
        fn walk(&self) -> (u64, u64) {
            (u64::from(self.0 % 3), u64::from(self.0 % 2))
        }
    }

    fn numbers(slots: &Slots<Name>, names: &BTreeSet<u16>) -> Vec<(u16, Option<u32>)> {
        names.iter().map(|name| (*name, slots.get(&Name(*name)))).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn whatever_came_before_the_same_names_have_the_same_numbers(
            steps in prop::collection::vec((0..80_u16, any::<bool>(), any::<bool>()), 1..160),
            order in prop::collection::vec(any::<Index>(), 80),
        ) {
            let (mut slots, mut names, mut taken) = (Slots::default(), BTreeSet::new(), BTreeSet::new());
            for (name, is_name, is_there) in steps {
                let before = numbers(&slots, &names);
                let moved = match (is_name, is_there) {
                    (true, true) if names.insert(name) => slots.insert(Name(name)),
                    (true, false) if names.remove(&name) => slots.remove(&Name(name)),
                    (false, true) if taken.insert(u32::from(name)) => slots.take(name.into()),
                    (false, false) if taken.remove(&u32::from(name)) => slots.release(name.into()),
                    _ => BTreeSet::new(),
                };
                // Whoever is not said to have moved has not.
                for (name, number) in before.into_iter().filter(|(name, _)| !moved.contains(&Name(*name))) {
                    prop_assert!(!names.contains(&name) || slots.get(&Name(name)) == number);
                }
                let given: Vec<u32> = names.iter().filter_map(|name| slots.get(&Name(*name))).collect();
                prop_assert_eq!(given.iter().collect::<BTreeSet<_>>().len(), given.len(), "no two have one number");
                prop_assert!(given.iter().all(|number| !taken.contains(number)));
            }
            let mut anew = Slots::default();
            let mut left: Vec<u16> = names.iter().copied().collect();
            for choice in order {
                if !left.is_empty() {
                    anew.insert(Name(left.remove(choice.index(left.len()))));
                }
            }
            for number in &taken {
                anew.take(*number);
            }
            prop_assert_eq!(numbers(&slots, &names), numbers(&anew, &names));
            for number in taken {
                slots.release(number);
            }
            for name in names {
                slots.remove(&Name(name));
            }
            prop_assert!(slots.places.is_empty() && slots.wanting.is_empty() && slots.taken.is_empty());
        }
    }

    #[test]
    fn who_finds_all_that_it_tries_taken_has_none_until_one_is_free() {
        let mut slots = Slots::default();
        // All of one list.
        for name in (0..(TRIES + 1) * 6).step_by(6) {
            slots.insert(Name(name));
        }
        let last = Name(TRIES * 6);
        assert_eq!(slots.get(&last), None);
        let moved = slots.remove(&Name(0));
        assert!(moved.contains(&last) && moved.len() == usize::from(TRIES));
        assert_eq!(slots.get(&last), Some(u32::from(TRIES) - 1));
    }

    #[test]
    fn all_numbers_are_reached_by_any_step() {
        assert!((2..=255).all(|divisor| !SLOTS.is_multiple_of(divisor)), "a prime");
        let name = Name(1);
        let first: BTreeSet<u32> = (0..TRIES).map(|place| nth(&name, place)).collect();
        assert_eq!(first.len(), usize::from(TRIES));
        assert!(first.iter().all(|number| *number < SLOTS));
    }
}
