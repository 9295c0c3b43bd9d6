use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use mesh_core::authn::Token;
use parking_lot::Mutex;

/// Sets of tokens, and tokens of a set. A token has one set, by its hash; within it, the oldest makes room.
const SETS: usize = 256;
const WAYS: usize = 4;

/// Largest token that is remembered, in bytes, as Envoy has it.
const MAX_BYTES: usize = 4096;

/// Tokens that were found good, so that they need not be taken apart again. Whether they still count is asked each time: of
/// the clock by their claims, of the keys by the number of the set that signed them.
///
/// Its size is fixed. Hashes are keyed, so nobody can choose tokens that drive out those of others, nor learn a token by the
/// time that it takes to compare it with another.
pub(super) struct Cache {
    hasher: RandomState,
    sets: Box<[Mutex<Set>]>,
}

#[derive(Default)]
struct Set {
    tokens: [Option<Arc<Token>>; WAYS],
    next: usize,
}

impl Default for Cache {
    fn default() -> Self {
        let sets = (0..SETS).map(|_| Mutex::default()).collect();
        Self { hasher: RandomState::new(), sets }
    }
}

impl Cache {
    pub(super) fn get(&self, text: &str) -> Option<Arc<Token>> {
        let set = self.set(text)?.lock();
        set.tokens.iter().flatten().find(|token| token.text() == text).cloned()
    }

    pub(super) fn insert(&self, token: &Arc<Token>) {
        let Some(set) = self.set(token.text()) else { return };
        let mut set = set.lock();
        if let Some(known) = set.tokens.iter_mut().flatten().find(|known| known.text() == token.text()) {
            *known = Arc::clone(token);
            return;
        }
        let at = set.next % WAYS;
        set.next = at + 1;
        set.tokens[at] = Some(Arc::clone(token));
    }

    /// Where a token belongs; nowhere if it is too large.
    fn set(&self, text: &str) -> Option<&Mutex<Set>> {
        if text.len() > MAX_BYTES {
            return None;
        }
        let hash = usize::try_from(self.hasher.hash_one(text) % SETS as u64).ok()?;
        self.sets.get(hash)
    }
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").finish_non_exhaustive()
    }
}
