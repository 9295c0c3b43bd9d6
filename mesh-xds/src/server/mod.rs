//! The ADS server: a versioned cache ([`Cache`]), a pure machine per stream ([`machine`] for delta, [`sotw`] for
//! state-of-the-world) and the tonic service ([`Service`]).
//!
//! | question | where it is answered |
//! | --- | --- |
//! | who may open a stream, what it is served, who may look | [`Access`], [`View`], [`Permissions`] |
//! | how resources are made only when somebody asks for them | [`Demand`] |
//! | what a client is told of what it does not get | [`machine`], [`sotw`] |
//! | in which order it is told, so that nothing breaks on the way | [`machine::Machine::poll_response`] |
//! | what it was sent, and what it said to it | [`Service::clients`], [`Service::visit`], [`Service::status_server`] |
//! | how long a change takes to reach everybody | [`Observe`] |
//! | how changes in quick succession are gathered, and how fast a client may ask | [`Settings`] |
//! | how streams are ended | [`Service::drain`], [`Service::disconnect`] |
//! | what a client can cost | [`limits`] |
//!
//! A resource is encoded once, when it is put into a cache, and shared by all streams and caches; what each stream costs is
//! the copy into the message that it sends. An answer is made when the connection has room for it, and a connection that
//! takes none holds one. How long it may do that is for the transport to say: HTTP/2 pings find a peer that is gone, and the
//! number of streams per connection bounds one that is not.

mod access;
mod cache;
mod error;
mod heartbeat;
mod ledger;
pub mod limits;
pub mod machine;
mod node;
mod observe;
mod precedence;
mod protocol;
mod publication;
mod registry;
mod rules;
mod service;
mod settings;
pub mod sotw;
mod status;
mod stream;
mod timing;
mod told;
mod turn;
mod visible;

pub use access::{Access, Demand, Permissions, View};
pub use cache::{Cache, CacheWriter, Change, Entry, Publication, Snapshot};
pub use observe::{Observe, Push, Rejection};
pub use registry::{ClientStatus, Holding, Standing};
pub use rules::Rules;
pub use service::Service;
pub use settings::{Debounce, Pace, Settings};
pub use status::StatusService;
