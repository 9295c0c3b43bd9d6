//! What nobody uses any more, after a while.

use std::collections::HashMap;
use std::hash::Hash;
use std::time::Duration;

use tokio::time::Instant;

/// Since when each of several things has not been used.
#[derive(Debug)]
pub(crate) struct Idle<K>(HashMap<K, Instant>);

impl<K> Default for Idle<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}

impl<K: Eq + Hash + Clone> Idle<K> {
    /// It is used now.
    pub(crate) fn used(&mut self, key: &K) {
        self.0.remove(key);
    }

    /// Looks at those that are not used now. Gives those of them that have not been for so long; they are forgotten.
    pub(crate) fn expired(&mut self, unused: impl IntoIterator<Item = K>, now: Instant, after: Duration) -> Vec<K> {
        let mut since = HashMap::new();
        for key in unused {
            let from = self.0.get(&key).copied().unwrap_or(now);
            since.insert(key, from);
        }
        let (expired, waiting) = since.into_iter().partition(|(_, from)| now.saturating_duration_since(*from) >= after);
        self.0 = waiting;
        let expired: HashMap<K, Instant> = expired;
        expired.into_keys().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_in_between_begins_anew() {
        let (start, after) = (Instant::now(), Duration::from_secs(10));
        let at = |seconds: u64| start + Duration::from_secs(seconds);
        let mut idle = Idle::default();
        let none: [&str; 0] = [];
        assert_eq!(idle.expired(["a", "b", "c"], at(0), after), none);
        assert_eq!(idle.expired(["a", "b"], at(5), after), none, "c is used");
        idle.used(&"b");
        assert_eq!(idle.expired(["a", "b", "c"], at(9), after), none);
        assert_eq!(idle.expired(["a", "b", "c"], at(10), after), ["a"]);
        assert_eq!(idle.expired(["a"], at(18), after), none, "it was forgotten, and begins anew");
        assert_eq!(idle.expired(["b", "c"], at(19), after), none, "they were used at 18");
        assert_eq!(idle.expired(none, at(40), after), none);
        assert!(idle.0.is_empty());
    }
}
