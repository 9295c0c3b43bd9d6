//! How bytes move between meshed workloads: HBONE (HTTP/2 CONNECT over mutual TLS by SPIFFE id) as Istio's ztunnel and
//! Envoy speak it, and the L4 proxy made of it.
//!
//! ```
//! use std::net::SocketAddr;
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! use mesh_core::authz::PolicySet;
//! use mesh_core::catalog::{Catalog, Delta};
//! use mesh_core::live::Live;
//! use mesh_core::name::parse_trust_domain;
//! use mesh_core::workload::{TunnelProtocol, Workload};
//! # use mesh_identity::authority::{Authority, Names, Rules};
//! # use mesh_identity::bundle::BundleSet;
//! # use mesh_identity::clock::SystemClock;
//! # use mesh_identity::source::{Identities, LocalSource};
//! use mesh_transport::proxy::{Drain, Inbound, Inputs, Outbound};
//! use mesh_transport::socket::Listener;
//! use tokio::io::{AsyncReadExt, AsyncWriteExt};
//! use tokio::net::{TcpListener, TcpStream};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let domain = parse_trust_domain("cluster.local")?;
//! # let authority = Authority::ephemeral(domain.clone(), Rules::default(), Arc::new(SystemClock))?;
//! # let bundles = BundleSet::default().with(authority.bundle());
//! # let source = LocalSource::new(Arc::new(authority), Duration::from_secs(3600), Names::default());
//! # let identities = Identities::builder(Arc::new(source), bundles).build();
//! // One workload that is reached by tunnel. (A node proxy learns these over xDS.)
//! let mut workload = Workload::new("db", domain, "shop", "db")?;
//! workload.addresses = vec!["127.77.0.1".parse()?];
//! workload.tunnel = TunnelProtocol::Hbone;
//! let identity = workload.spiffe_id();
//! let mut delta = Delta::new();
//! delta.upsert_workload(workload);
//!
//! let catalog = Live::constant(Catalog::default().apply(delta));
//! let inputs = Inputs::new(catalog, Live::constant(PolicySet::default()), identities.clone());
//!
//! // Its way in, and an application behind it.
//! let inbound = Inbound::new(inputs.clone(), "db", identities.identity(&identity).await?)?;
//! let listener = Listener::bind("127.77.0.1:15008".parse()?)?;
//! inputs.tasks.spawn(inbound.serve(listener, Drain::new()));
//! let application = TcpListener::bind("127.77.0.1:0").await?;
//!
//! // Its way out, to itself: resolved, tunnelled, authorized, relayed.
//! let outbound = Outbound::new(inputs.clone(), "db");
//! let client: SocketAddr = "127.0.0.1:1".parse()?;
//! let entry = TcpListener::bind("127.0.0.1:0").await?;
//! let mut near = TcpStream::connect(entry.local_addr()?).await?;
//! let connected = outbound.connect(&application.local_addr()?.into(), client).await?;
//! let (far, _) = entry.accept().await?;
//! inputs.tasks.spawn(connected.relay(far));
//!
//! near.write_all(b"hello").await?;
//! let (mut served, _) = application.accept().await?;
//! let mut text = [0; 5];
//! served.read_exact(&mut text).await?;
//! assert_eq!(&text, b"hello");
//! # Ok(())
//! # }
//! ```
//!
//! # Rooms
//!
//! | room | holds |
//! | --- | --- |
//! | `capture` (Linux) | redirection by the kernel, the node agent protocol |
//! | `dns` (feature `dns`) | names of the mesh answered, others passed on |
//! | [`socket`] | TCP listeners and connections with the options that a proxy wants |
//! | [`hbone`] | CONNECT client and server, streams, headers, bounds |
//! | [`hbone::pool`] | connections shared by tunnels of one identity to one destination |
//! | [`health`] | active health checks: probes by HTTP, gRPC and TCP |
//! | [`http`] | servers and pooled clients of HTTP/1.1 and HTTP/2, rules of heads, upgrades, answers of a proxy |
//! | [`relay`] | bytes between two streams: half-close, back-pressure, counts |
//! | [`proxy`] | the ways in and out of workloads, tracking, re-evaluation, drain |
//!
#[cfg(target_os = "linux")]
pub mod capture;
#[cfg(feature = "dns")]
pub mod dns;
pub mod hbone;
pub mod health;
pub mod http;
pub mod l7;
#[cfg(target_os = "linux")]
mod proto;
pub mod proxy;
pub mod relay;
pub mod socket;
