//! The ADS client, of both variants and over several servers: a pure machine that knows the protocol ([`machine`]), another
//! that knows which server to listen to ([`fallback`]), and an async shell that runs them ([`run`]); last-known-good state on
//! disk ([`persist`], and `keep`, which says when it is written).
//!
//! On top of these, [`Client`] gives typed watches of resources, by name or of all of a type; whoever wants to apply whole
//! answers at once, as a catalog of workloads does, implements [`Handler`] instead.
//!
//! ```
//! use std::collections::BTreeMap;
//! use std::time::SystemTime;
//!
//! use mesh_core::balance::Cluster;
//! use mesh_xds::client::machine::{ServerTraits, Variant};
//! use mesh_xds::client::{Client, Group};
//! use mesh_xds::pb::Node;
//!
//! // Two servers, the second of which is asked while the first cannot be reached.
//! let servers = ["one:18000", "two:18000"].map(|name| ServerTraits::new(name, Variant::StateOfTheWorld));
//! let group = Group::new(servers.to_vec());
//! let node = Node { id: "me".into(), ..Node::default() };
//! let (client, _driver) = Client::new(&node, vec![group], BTreeMap::new(), SystemTime::now);
//!
//! let shop = client.watch::<Cluster>("shop");
//! assert!(shop.value().is_none() && shop.error().is_none(), "nothing was heard of it yet");
//! // Names say their authority, or are for the default servers.
//! let other = client.watch::<Cluster>("xdstp://elsewhere/envoy.config.cluster.v3.Cluster/shop");
//! assert_eq!(other.error().unwrap().to_string(), "no servers are known for the authority `elsewhere`");
//! ```

pub mod backoff;
pub mod bootstrap;
mod csds;
mod demand;
pub mod fallback;
mod handler;
pub(crate) mod keep;
mod known;
pub mod machine;
pub mod persist;
mod registry;
mod stream;
mod transport;
mod watch;

use std::time::SystemTime;

pub use csds::StatusService;
pub use demand::Demand;
pub use handler::{Event, Handler, Wish, first_field};
pub use known::{OnDataError, WatchError};
pub use stream::run;
pub use transport::{BoxTransport, Connect, Transport};
pub use watch::{Client, Driver, Group, Watch, WatchAll};

/// How a client's subscriptions stand.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Status {
    /// Whether a stream is open on which a server has answered.
    pub connected: bool,
    /// The server that answered last, by its place in the list.
    pub server: Option<usize>,
    /// Whether the state in use was loaded from disk and no server has confirmed it since.
    pub loaded_from_disk: bool,
    /// When the state on disk was written, if it was loaded.
    pub stale_since: Option<SystemTime>,
    /// Whether the state may be served: an accepted answer for every type, or state from disk.
    pub ready: bool,
    /// Why the last stream ended, or the last answer was rejected.
    pub last_error: Option<String>,
    /// Answers of which something was rejected.
    pub rejections: u64,
    /// Answers received.
    pub responses: u64,
}
