//! The delta ADS server: a versioned cache ([`Cache`]), a pure machine per stream ([`machine`]) and the tonic service
//! ([`Service`]).

mod cache;
pub mod machine;
mod stream;

pub use cache::{Cache, CacheWriter, Change, Entry, Snapshot};
pub use stream::{Access, ClientStatus, Service};
