//! SPIFFE identity: who am I, and whom do I trust.
//!
//! Everything a program needs for mutual TLS by SPIFFE id, with no name or address playing a part: an authority or a
//! source of SVIDs, trust bundles by trust domain, verifiers, and rustls configurations that follow both while they
//! change.
//!
//! ```
//! use std::sync::Arc;
//! use std::time::Duration;
//!
//! use mesh_core::name::{parse_spiffe_id, parse_trust_domain};
//! use mesh_identity::authority::{Authority, Names, Rules};
//! use mesh_identity::bundle::BundleSet;
//! use mesh_identity::clock::SystemClock;
//! use mesh_identity::source::{Identities, LocalSource};
//! use mesh_identity::verify::Expected;
//! use tokio::io::{AsyncReadExt, AsyncWriteExt};
//! use tokio_rustls::{TlsAcceptor, TlsConnector};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // An authority in memory; a program on a node would use a `CsrSource` instead.
//! let authority = Authority::ephemeral(parse_trust_domain("cluster.local")?, Rules::default(), Arc::new(SystemClock))?;
//! let bundles = BundleSet::default().with(authority.bundle());
//! let source = LocalSource::new(Arc::new(authority), Duration::from_secs(3600), Names::default());
//! let identities = Identities::builder(Arc::new(source), bundles).build();
//!
//! let web = identities.identity(&parse_spiffe_id("spiffe://cluster.local/ns/shop/sa/web")?).await?;
//! let db = identities.identity(&parse_spiffe_id("spiffe://cluster.local/ns/shop/sa/db")?).await?;
//!
//! // Made once; every handshake presents the newest certificate and judges by the newest trust.
//! let server = TlsAcceptor::from(db.server_config(&[b"example"])?);
//! let client = TlsConnector::from(web.client_config(Expected::Ids(vec![db.id().clone()]), &[b"example"])?);
//!
//! let (near, far) = tokio::io::duplex(4096);
//! let (accepted, connected) =
//!     tokio::join!(server.accept(far), client.connect("ignored".try_into()?, near));
//! connected?.write_all(b"hello").await?;
//! let mut text = [0; 5];
//! accepted?.read_exact(&mut text).await?;
//! assert_eq!(&text, b"hello");
//! # Ok(())
//! # }
//! ```
//!
//! # Rooms
//!
//! | room | holds |
//! | --- | --- |
//! | [`clock`] | wall time, read in one place |
//! | [`svid`] | X.509-SVIDs, held to the X509-SVID document |
//! | [`bundle`] | trust bundles, by trust domain; never one merged root store |
//! | [`verify`] | chains, expected identities, rustls verifiers; a [`VerifiedPeer`](verify::VerifiedPeer) is made only here |
//! | [`tls`] | rustls configurations that follow live SVIDs and bundles |
//! | [`source`] | where SVIDs come from; renewal at half-life; the cache on disk |
//! | [`authority`] | root or plugged-in intermediate, issuing rules, Istio's certificate service |
//! | [`mod@file`], [`pem`], [`task`], [`limits`] | whole files, PEM, task groups, bounds |
//! | [`proto`] | generated messages |
//!
//! # What is decided here
//!
//! - A chain is verified against the bundle of its own trust domain and no other.
//! - SVIDs are read strictly: one URI name in canonical form, no authority, the right key usages.
//! - An expired SVID of our own is never presented; the handshake fails instead.
//! - TLS 1.3 only, no resumption, no early data, no SNI.

pub mod attest;
pub mod authority;
#[cfg(feature = "s3")]
pub mod bucket;
pub mod bundle;
pub mod clock;
pub mod connect;
mod der;
pub mod federation;
pub mod file;
pub mod jose;
pub mod limits;
pub mod partition;
pub mod pem;
pub mod proto;
pub mod registry;
pub mod serve;
pub mod source;
pub mod spire;
pub mod svid;
pub mod task;
pub mod tls;
pub mod trust;
pub mod verify;
#[cfg(unix)]
pub mod workload_api;
