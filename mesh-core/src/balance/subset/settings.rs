use std::collections::BTreeSet;

use crate::name::Text;
use crate::route::Subset;

/// How endpoints are divided by what stands in their metadata (`envoy.config.cluster.v3.Cluster.LbSubsetConfig`).
///
/// A request says by its route which values it wants ([`Request::subset`](super::super::Request)). Its keys must be those of
/// a selector; then it goes to the endpoints that have its values. Where there are no such endpoints, healthy or not, the
/// fallback says what becomes of it.
#[derive(Debug, Clone, PartialEq)]
pub struct SubsetSettings {
    /// The keys that requests may ask by.
    pub selectors: Vec<SubsetSelector>,
    /// What becomes of a request for which there is no subset. Default: it fails.
    pub fallback: SubsetFallback,
    /// Values of the endpoints that [`SubsetFallback::Default`] means.
    pub default: Subset,
    /// Whether the weights of localities count inside of a subset, if they count at all. Default: they do not.
    pub locality_weights: LocalityWeights,
    /// Whether any endpoint is used where the fallback has none either. Default: no.
    pub panic_any: bool,
    /// Whether a list in the metadata of an endpoint stands for each of its values. Default: for none.
    pub list_as_any: bool,
    /// Whether a request may have more keys than a selector; the selector with the most keys is used then. Default: no.
    pub redundant_keys: bool,
}

impl SubsetSettings {
    /// Settings with the defaults.
    #[must_use]
    pub const fn new(selectors: Vec<SubsetSelector>) -> Self {
        Self {
            selectors,
            fallback: SubsetFallback::None,
            default: Subset::new(),
            locality_weights: LocalityWeights::Ignored,
            panic_any: false,
            list_as_any: false,
            redundant_keys: false,
        }
    }

    /// Whether this can be used.
    ///
    /// # Errors
    ///
    /// * a selector has no keys,
    /// * a selector falls back to no keys, to keys it does not have, or to all that it has.
    pub fn validate(&self) -> Result<(), InvalidSubsetSettings> {
        for (index, SubsetSelector { keys, fallback, .. }) in self.selectors.iter().enumerate() {
            if keys.is_empty() {
                return Err(InvalidSubsetSettings::NoKeys { index });
            }
            if let Some(SelectorFallback::Keys(fewer)) = fallback
                && (fewer.is_empty() || !fewer.is_subset(keys) || fewer.len() == keys.len())
            {
                return Err(InvalidSubsetSettings::FallbackKeys { index });
            }
        }
        Ok(())
    }
}

/// Keys that requests may ask by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubsetSelector {
    /// The keys. An endpoint without one of them is in none of the selector's subsets.
    pub keys: BTreeSet<Text>,
    /// Whether the first endpoint of a subset, in the order of priorities, is the only one that is used, whatever its health.
    /// Default: no.
    pub single_endpoint: bool,
    /// What becomes of a request with these keys for which there is no subset, if it is not what
    /// [`SubsetSettings::fallback`] says.
    pub fallback: Option<SelectorFallback>,
}

impl SubsetSelector {
    /// A selector by these keys.
    #[must_use]
    pub fn new<K: Into<Text>>(keys: impl IntoIterator<Item = K>) -> Self {
        Self { keys: keys.into_iter().map(Into::into).collect(), single_endpoint: false, fallback: None }
    }
}

/// What becomes of a request for which there is no subset.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum SubsetFallback {
    /// It fails.
    #[default]
    None,
    /// It goes to any endpoint.
    Any,
    /// It goes to the endpoints with the values of [`SubsetSettings::default`].
    Default,
}

/// What becomes of a request with the keys of a selector for which there is no subset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SelectorFallback {
    /// As for those of any other selector, but not the same.
    Policy(SubsetFallback),
    /// It asks again, by these of its keys.
    Keys(BTreeSet<Text>),
}

/// Whether the weights of localities count inside of a subset.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum LocalityWeights {
    /// They do not.
    #[default]
    Ignored,
    /// They do.
    Kept,
    /// They do; of a locality that has only some of its endpoints in the subset, as much of its weight.
    Scaled,
}

impl LocalityWeights {
    pub(in crate::balance) const fn count(self) -> bool {
        !matches!(self, Self::Ignored)
    }
}

/// Settings of subsets that cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidSubsetSettings {
    /// A selector must have keys.
    #[error("selector {index} has no keys")]
    NoKeys {
        /// Which one.
        index: usize,
    },
    /// A selector falls back to some of its keys.
    #[error("the keys that selector {index} falls back to are not some, but not all, of its keys")]
    FallbackKeys {
        /// Which one.
        index: usize,
    },
}
