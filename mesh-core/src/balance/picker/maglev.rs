use super::super::hash::xxh64;
use super::super::policy::Maglev;
use super::{Ask, Candidate};

/// A table in which each endpoint has a share of the entries; the hash of a request is an index into it. Entry by entry as
/// Envoy's.
#[derive(Debug)]
pub(super) struct Table {
    entries: Box<[u32]>,
}

/// A candidate while the table is built.
struct Turn {
    candidate: u32,
    key: String,
    offset: u64,
    skip: u64,
    next: u64,
    weight: f64,
    target: f64,
}

const FREE: u32 = u32::MAX;

impl Table {
    pub(super) fn new(settings: &Maglev, candidates: &[Candidate]) -> Self {
        let size = u64::from(settings.table_size.value());
        let turn = |(candidate, index): (&Candidate, u32)| {
            let key = candidate.member.hash_key(&settings.hashing);
            let offset = xxh64(key.as_bytes(), 0) % size;
            let skip = xxh64(key.as_bytes(), 1) % (size - 1).max(1) + 1;
            Turn { candidate: index, key, offset, skip, next: 0, weight: candidate.weight, target: 0.0 }
        };
        let mut turns: Vec<_> = candidates.iter().zip(0..).map(turn).collect();
        // Whatever order the endpoints come in, the table is the same.
        turns.sort_by(|left, right| left.key.cmp(&right.key));
        let heaviest = turns.iter().map(|turn| turn.weight).fold(0.0, f64::max);
        if heaviest <= 0.0 {
            return Self { entries: Box::default() };
        }
        let mut entries = vec![FREE; settings.table_size.value() as usize].into_boxed_slice();
        let mut free = entries.len();
        for iteration in 1_u64.. {
            for turn in &mut turns {
                // The heaviest has a turn in every iteration, one of a third of its weight in every third.
                if (iteration as f64) * turn.weight < turn.target {
                    continue;
                }
                turn.target += heaviest;
                claim(turn, &mut entries);
                free -= 1;
                if free == 0 {
                    return Self { entries };
                }
            }
        }
        Self { entries }
    }

    pub(super) fn find(&self, ask: &Ask<'_>) -> Option<usize> {
        let attempt = u64::from(ask.attempt);
        let hash = if attempt > 0 { ask.hash ^ attempt.wrapping_neg() } else { ask.hash };
        let index = hash.checked_rem(self.entries.len() as u64)?;
        self.entries.get(usize::try_from(index).ok()?).map(|candidate| *candidate as usize)
    }
}

/// Takes the next entry in the candidate's own order that is free. There is one: the size is prime, so that the order goes
/// through all entries.
fn claim(turn: &mut Turn, entries: &mut [u32]) {
    let size = entries.len() as u64;
    loop {
        let index = (turn.offset + turn.skip * turn.next) % size;
        turn.next += 1;
        if let Some(entry) = entries.get_mut(index as usize).filter(|entry| **entry == FREE) {
            *entry = turn.candidate;
            return;
        }
    }
}
