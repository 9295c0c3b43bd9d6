//! Whom we trust, how fresh that is, and until when it counts: the bundles of our own and of foreign trust domains, from
//! any of several sources, kept on disk.
//!
//! A source *confirms* a bundle: it shows it anew, authenticated, changed or not. A foreign bundle counts for a while after
//! it was last confirmed; then nobody of its domain is let in any more, for it may have withdrawn an authority while nobody
//! could tell us. Bundles of several sources are never merged: the newest wins. Of our own domain only [`TrustStore::own`]
//! tells, and a domain in which trust was ended stays out whatever a source shows.

mod age;
mod cache;
mod known;
mod state;
mod store;

pub use age::{Age, Level};
pub use cache::{CacheError, TrustCache};
pub use known::Source;
pub use state::{Change, TrustError};
pub use store::{TrustStore, TrustStoreBuilder};
