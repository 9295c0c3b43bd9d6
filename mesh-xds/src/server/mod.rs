//! The ADS server: a versioned cache ([`Cache`]), a pure machine per stream ([`machine`] for delta, [`sotw`] for
//! state-of-the-world) and the tonic service ([`Service`]).

mod cache;
pub mod machine;
mod precedence;
pub mod sotw;
mod stream;

pub use cache::{Cache, CacheWriter, Change, Entry, Snapshot};
pub use stream::{Access, ClientStatus, Service};
