use std::fmt::Write as _;

use super::super::hash::hash;
use super::super::policy::RingHash;
use super::{Ask, Candidate};

/// Places on a ring, more for endpoints with more weight; a request goes to the first place at or after its hash.
#[derive(Debug)]
pub(super) struct Ring {
    places: Box<[Place]>,
}

#[derive(Debug, Clone, Copy)]
struct Place {
    hash: u64,
    candidate: u32,
}

impl Ring {
    pub(super) fn new(settings: &RingHash, candidates: &[Candidate]) -> Self {
        let max = f64::from(settings.max_size.clamp(1, RingHash::SIZE_LIMIT));
        let min = f64::from(settings.min_size.max(1)).min(max);
        let lightest = candidates.iter().map(|candidate| candidate.weight).fold(1.0, f64::min);
        // So that the lightest has a whole number of places.
        let scale = ((lightest * min).ceil() / lightest).min(max);
        let mut places = Vec::with_capacity(scale.ceil() as usize);
        let mut target = 0.0;
        let mut text = String::new();
        for (candidate, index) in candidates.iter().zip(0..) {
            target += scale * candidate.weight;
            text.clear();
            text.push_str(&candidate.member.hash_key(&settings.hashing));
            text.push('_');
            let key = text.len();
            let mut nth = 0_u32;
            while (places.len() as f64) < target {
                text.truncate(key);
                // Writing to a `String` cannot fail.
                let _ = write!(text, "{nth}");
                places.push(Place { hash: hash(settings.function, text.as_bytes()), candidate: index });
                nth += 1;
            }
        }
        places.sort_by_key(|place| place.hash);
        Self { places: places.into() }
    }

    pub(super) fn find(&self, ask: &Ask<'_>) -> Option<usize> {
        let first = self.places.partition_point(|place| place.hash < ask.hash);
        let index = (first + ask.attempt as usize).checked_rem(self.places.len())?;
        self.places.get(index).map(|place| place.candidate as usize)
    }
}
