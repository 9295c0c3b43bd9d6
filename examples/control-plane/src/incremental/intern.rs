use std::collections::HashMap;
use std::hash::Hash;

/// Small numbers for keys. The number of a key that was taken out is given to another.
#[derive(Debug)]
pub(super) struct Interner<K> {
    numbers: HashMap<K, u32>,
    keys: Vec<Option<K>>,
    free: Vec<u32>,
}

impl<K: Clone + Eq + Hash> Interner<K> {
    /// The number of a key, which gets one if it has none.
    pub(super) fn put(&mut self, key: K) -> u32 {
        if let Some(number) = self.numbers.get(&key) {
            return *number;
        }
        let number = match self.free.pop() {
            Some(number) => {
                self.keys[number as usize] = Some(key.clone());
                number
            }
            None => {
                self.keys.push(Some(key.clone()));
                // Memory ends long before the numbers do.
                u32::try_from(self.keys.len() - 1).unwrap_or(u32::MAX)
            }
        };
        self.numbers.insert(key, number);
        number
    }

    pub(super) fn number(&self, key: &K) -> Option<u32> {
        self.numbers.get(key).copied()
    }

    pub(super) fn key(&self, number: u32) -> Option<&K> {
        self.keys.get(number as usize)?.as_ref()
    }

    /// Takes the key of a number out.
    pub(super) fn free(&mut self, number: u32) {
        if let Some(key) = self.keys.get_mut(number as usize).and_then(Option::take) {
            self.numbers.remove(&key);
            self.free.push(number);
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.numbers.len()
    }
}

impl<K> Default for Interner<K> {
    fn default() -> Self {
        Self { numbers: HashMap::new(), keys: Vec::new(), free: Vec::new() }
    }
}
