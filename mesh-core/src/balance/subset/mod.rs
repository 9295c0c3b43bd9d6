//! Subsets: endpoints that have the values in their metadata that a route asks for.

mod division;
mod settings;

pub(super) use division::Division;
pub use settings::{
    InvalidSubsetSettings, LocalityWeights, SelectorFallback, SubsetFallback, SubsetSelector, SubsetSettings,
};
