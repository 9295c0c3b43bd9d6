//! HTTP as a proxy speaks it: servers on accepted connections, pooled clients over any connector, and between them one
//! form of every request, whatever was spoken and whatever will be.
//!
//! * [`Server`] serves a connection with a tower service: HTTP/1.1 by hyper, HTTP/2 by h2, with every timeout and limit of
//!   [`HttpManager`](mesh_core::listener::HttpManager). What could be read in two ways is refused ([`Refusal`], [`Desync`]).
//! * [`Client`] sends requests to endpoints over connections that it keeps: limits are exact, and a failure says whether
//!   anything had been sent ([`SendError`]).
//! * [`upgrade`] carries other protocols through.
//!
//! Bodies are streamed ([`Body`]), with their trailers, and never held as a whole.

mod body;
mod client;
mod head;
mod interim;
pub mod limits;
mod pipe;
mod server;
pub mod upgrade;
mod watch;
mod wire;

pub use body::{Body, BodyError};
pub use client::{Client, ClientSettings, Counting, Failed, Overflow, SendError, Transport};
pub use head::{Admitted, ClientCertificate, Downstream, Refusal, Requester, Rules};
pub use interim::Interim;
pub use server::{Accepted, ServeError, Server};
pub use watch::Expiry;
pub use wire::Desync;
