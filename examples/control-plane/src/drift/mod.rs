//! Drift: what regions run compared with a repository, and with each other. Two objects are the same if their digests are,
//! wherever they stand; two regions run the same if the digests of all that they run are.

mod compare;
mod page;
mod snapshot;
mod unified;
mod yaml;

pub use compare::{Drift, compare};
pub(crate) use page::{object, world};
pub use snapshot::{Entry, Snapshot, Unreadable};
pub use unified::unified;
pub use yaml::yaml;
