//! SPIFFE federation: a trust domain publishes its bundle at an HTTPS endpoint, others fetch it (SPIFFE Federation).
//!
//! A relationship has one direction: whoever fetches can verify the members of the domain that publishes. Name, URL and
//! profile of an endpoint come from the configuration, never from what was fetched.

mod endpoint;
mod fetch;
mod poll;
mod relationship;

pub use endpoint::BundleEndpoint;
pub use fetch::{FetchError, Fetched, Fetcher};
pub use poll::{Federation, interval};
pub use relationship::{Profile, Relationship, RelationshipError, check_all};
