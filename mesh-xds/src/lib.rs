//! How state reaches a proxy or a program: xDS, client and server, delta and state-of-the-world, with Istio's workload discovery
//! and Envoy's resources; and a tonic channel that finds its servers by it ([`channel`]).
//!
//! ```
//! use std::sync::Arc;
//!
//! use mesh_core::name::parse_trust_domain;
//! use mesh_core::workload::Workload;
//! use mesh_xds::pb::Node;
//! use mesh_xds::server::{Access, Cache, Change, Entry, Service};
//! use mesh_xds::workload::{ADDRESS_TYPE, POLICY_TYPE, Setup, Subscriber, encode_workload};
//! use tokio_util::sync::CancellationToken;
//! use tonic::metadata::MetadataMap;
//! use tonic::transport::{Endpoint, Server};
//!
//! #[derive(Debug)]
//! struct Anyone;
//! impl Access for Anyone {
//!     fn admit(&self, _: &MetadataMap, _: &tonic::Extensions) -> Result<String, tonic::Status> {
//!         Ok("somebody".into())
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
//! // A server over a cache.
//! let (writer, cache) = Cache::new(&[POLICY_TYPE, ADDRESS_TYPE]);
//! let service = Service::new(cache, Arc::new(Anyone), &[POLICY_TYPE, ADDRESS_TYPE]);
//! let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
//! let address = listener.local_addr()?;
//! let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
//! let server = Server::builder().add_service(service.server()).serve_with_incoming(incoming);
//!
//! // A client that follows it.
//! let (subscriber, state) = Subscriber::new(Setup::new(Node::default(), std::time::SystemTime::now));
//! let channel = Endpoint::from_shared(format!("http://{address}"))?.connect_lazy();
//! let connect = move || -> Result<_, Box<dyn std::error::Error + Send + Sync>> { Ok((channel.clone(), MetadataMap::new())) };
//! let follow = subscriber.run(vec![connect], CancellationToken::new());
//!
//! // What is put into the cache arrives in the catalog.
//! let workload = Workload::new("w1", parse_trust_domain("cluster.local")?, "shop", "web-1")?;
//! writer.apply([(ADDRESS_TYPE, Change::Put("w1".into(), Entry::new(encode_workload(&workload), vec![])))]);
//! let mut catalog = state.catalog.changes();
//! tokio::select! {
//!     _ = server => unreachable!("serves for ever"),
//!     () = follow => unreachable!("follows for ever"),
//!     changed = catalog.changed() => assert!(changed?.workload("w1").is_some()),
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # Rooms
//!
//! | room | holds |
//! | --- | --- |
//! | [`client`] | typed watches, by name or of all, over several servers and authorities; below them the pure machine of both variants, the ladder of servers, the shell, the last good state on disk |
//! | [`channel`] | `xds:///service` for tonic: routes, balancing, retries, limits |
//! | [`proxy`] | all that a proxy is told, as one whole that follows its control plane |
//! | [`companion`] | clients of external authorizers, by gRPC and HTTP, and of the rate limit service |
//! | [`server`] | the versioned cache, what each client sees of it, the machine of one stream, the tonic service, the status of clients |
//! | [`resource`] | what a resource is to a client: type, name (plain or `xdstp://`), decoder |
//! | [`envoy`] | Envoy's resources ↔ `mesh_core` |
//! | [`workload`] | Istio workload discovery ↔ `mesh_core`; the [`Subscriber`](workload::Subscriber) |
//! | [`pb`], [`proto`] | Envoy's messages under one path; Istio's, generated here |
//! | [`limits`] | bounds |
//!
//! # Fields of Envoy's resources
//!
//! What a field becomes stands in a table where it is decoded: honoured, warned of (it is set, it has no effect, and the resource
//! is safe without it), or rejected (leaving it out would let through what it was to hold back, or send traffic elsewhere).
//! Every field of every message is named by the decoder, so that a release of the messages with a new field does not compile
//! before somebody decides what becomes of it.
//!
//! | resource | table | honoured | rejected |
//! | --- | --- | --- | --- |
//! | `Listener` (LDS) | [`envoy::listener`] | addresses, chains and their matches, inspectors, TLS, TCP proxy, HTTP manager and its filters, API listeners | unknown filters unless optional, tunneling, scoped routes, discovery of filters (ECDS), QUIC |
//! | `RouteConfiguration` (RDS) | [`envoy::route`] | hosts, matches, weights, rewrites, redirects, header edits, retries, hashes, mirrors, timeouts, rate limits, filters per route | matcher trees, on-demand hosts, TLS and metadata matches |
//! | `Cluster` (CDS) | [`envoy::cluster`] | EDS, static, DNS, aggregates; all policies, subsets, zone-aware routing; outlier detection, circuit breakers, health checks, TLS | custom types, lists of metadata to try, TLS settings that cannot be kept |
//! | `ClusterLoadAssignment` (EDS) | [`envoy::endpoint`] | localities, priorities, weights, health, drops, metadata for TLS, hashing and subsets | addresses that are none, gaps of priorities, weights that overflow |
//! | `Secret` (SDS) | [`envoy::tls`] | certificates, validation contexts, generic secrets | session ticket keys, data from environment variables |
//!
//! # Fields of `istio.workload` and `istio.security`
//!
//! | field | how it is taken |
//! | --- | --- |
//! | everything of `Workload` and `Service` but the next rows | honoured |
//! | `extensions` of a workload or service, sub-zone of `baggage` | without effect |
//! | `workload_type`, `app_protocol`, `ip_families`, `visibility` with unknown values | taken as the default |
//! | `status` with an unknown value | unhealthy |
//! | `tunnel_protocol` = LEGACY_ISTIO_MTLS, unknown `network_mode`, `mode`, `routing_preference` | rejected |
//! | addresses that are not 4 or 16 bytes, prefixes that are too long, ports above 65535, names that are none | rejected |
//! | a resource whose name is not the one its content says | rejected |
//! | everything of `Authorization` but the next rows | honoured |
//! | `extensions`, unknown `scope` or `action`, a string match without a kind | rejected |
//!
//! What is rejected is rejected alone: the rest of the answer is applied, the version before stays in use, and the server
//! learns the reason. A policy that is rejected before it was ever good closes its scope
//! ([`workload::refusing_policy`]): what it was to protect is not open because it is not understood.

pub mod channel;
pub mod client;
pub mod companion;
mod dns;
pub mod envoy;
pub mod limits;
pub mod pb;
pub mod proto;
pub mod proxy;
pub mod resource;
pub mod server;
pub mod workload;
