//! A gRPC channel that finds its endpoints by xDS: what gRPC calls `xds:///service`, for tonic.
//!
//! [`Channel`] is a tower service that a tonic client is made of. For each call it looks the route up by the headers, picks an
//! endpoint of the cluster by its policy (`mesh_core::balance`: localities, priorities, outlier detection, circuit breakers),
//! and tries again where the route says so. What it needs of the control plane is what gRPC's own clients need: a listener
//! with an API listener, a route configuration, clusters and their endpoints (gRFC A27).
//!
//! ```
//! use std::time::SystemTime;
//!
//! use mesh_xds::channel::{Channel, Plaintext};
//! use mesh_xds::client::bootstrap::Bootstrap;
//! use tokio_util::sync::CancellationToken;
//! use tonic::metadata::MetadataMap;
//! use tonic::transport::Endpoint;
//! # use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
//! // The file that gRPC's clients find by `GRPC_XDS_BOOTSTRAP`.
//! let bootstrap = Bootstrap::parse(
//!     r#"{"xds_servers": [{"server_uri": "127.0.0.1:1", "channel_creds": [{"type": "insecure"}]}], "node": {"id": "me"}}"#,
//! )?;
//! let (client, driver) = bootstrap.client(SystemTime::now);
//! let (listener, authority) = bootstrap.listener("xds:///shop")?;
//! let (channel, keeper) = Channel::by_xds(&client, &listener, &authority, Plaintext, SystemTime::now);
//!
//! // What speaks with the control plane, and what follows the configuration: two tasks of the program.
//! let connect = || -> Result<_, Box<dyn std::error::Error + Send + Sync>> {
//!     Ok((Endpoint::from_static("http://127.0.0.1:1").connect_lazy(), MetadataMap::new()))
//! };
//! let stop = CancellationToken::new();
//! let following = driver.run(vec![vec![connect]], stop.clone());
//! let keeping = keeper.run(stop);
//!
//! // The channel is what every tonic client is made of. Nobody listens here, and the call says so.
//! let mut health = HealthClient::new(channel);
//! tokio::select! {
//!     () = following => unreachable!("follows until it is stopped"),
//!     () = keeping => unreachable!("keeps until it is stopped"),
//!     answer = health.check(HealthCheckRequest::default()) => {
//!         let status = answer.unwrap_err();
//!         assert_eq!(status.code(), tonic::Code::Unavailable);
//!         assert!(status.message().starts_with("listener: no server can be reached"));
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # What is taken of the configuration
//!
//! | feature | gRFC | here |
//! | --- | --- | --- |
//! | routes by path, headers, fraction; weighted clusters | A28 | yes; query parameters too |
//! | largest duration of a stream | A31 | yes; a route's `timeout` is for proxies and has no effect |
//! | circuit breaking by requests in flight | A32 | yes; retries are limited too |
//! | aggregate and DNS clusters | A37 | yes |
//! | ring hash, and its hash policies | A42 | yes; Maglev, cookies and queries too |
//! | retries | A44 | yes; per-try timeout too |
//! | outlier detection | A50 | yes, as Envoy does it |
//! | least request, random, weighted localities | A48, A52 | yes |
//! | failover among priorities | A56 | as Envoy does it: by the health of each level |
//! | header and path rewriting | | yes; the authority stays that of the channel |
//! | mirroring, hedging, fault injection, session affinity | A55, A33 | no |
//!
//! A call that finds a configuration on its way waits for it; one that cannot be carried out ends with `UNAVAILABLE`, whatever
//! the control plane's reason, as gRFC A88 asks.

mod assembly;
mod connect;
mod replay;
mod service;
mod tracked;
mod upstream;

pub use assembly::Keeper;
pub use connect::{Dial, Plaintext, Target};
pub use service::Channel;
