use std::collections::BTreeMap;

use serde_json::{Map, Value};

use crate::name::Text;

/// What filters say to those after them about a request: structured values, each under the name of the filter that said
/// it. Envoy's dynamic metadata.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Metadata {
    by_filter: BTreeMap<Text, Map<String, Value>>,
}

impl Metadata {
    /// Sets a key of a filter's values.
    pub fn set(&mut self, filter: &str, key: &str, value: Value) {
        match self.by_filter.get_mut(filter) {
            Some(values) => drop(values.insert(key.to_owned(), value)),
            None => drop(self.by_filter.insert(filter.into(), Map::from_iter([(key.to_owned(), value)]))),
        }
    }

    /// Adds values to those of a filter; of two with one key the new one stays.
    pub fn merge(&mut self, filter: &str, values: Map<String, Value>) {
        match self.by_filter.get_mut(filter) {
            Some(known) => known.extend(values),
            None => drop(self.by_filter.insert(filter.into(), values)),
        }
    }

    /// The values of a filter.
    #[must_use]
    pub fn of(&self, filter: &str) -> Option<&Map<String, Value>> {
        self.by_filter.get(filter)
    }

    /// All who said something, with their values.
    pub fn iter(&self) -> impl Iterator<Item = (&Text, &Map<String, Value>)> {
        self.by_filter.iter()
    }

    /// The value that a path of keys leads to. Lists are not entered; an empty path leads nowhere.
    #[must_use]
    pub fn at<K: AsRef<str>>(&self, filter: &str, path: &[K]) -> Option<&Value> {
        let (first, rest) = path.split_first()?;
        let mut value = self.of(filter)?.get(first.as_ref())?;
        for key in rest {
            value = value.as_object()?.get(key.as_ref())?;
        }
        Some(value)
    }
}
