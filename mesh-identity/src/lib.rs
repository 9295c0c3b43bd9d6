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
//! | [`svid`] | X.509- and JWT-SVIDs, held to SPIFFE's documents |
//! | [`bundle`] | trust bundles in SPIFFE's format, sets of them by trust domain, revocation lists; never one merged root store |
//! | [`verify`] | chains, tokens, expected identities, rustls verifiers; a [`VerifiedPeer`](verify::VerifiedPeer) is made only here |
//! | [`trust`], [`federation`] | bundles of others, from any of several sources, with ages, kept on disk; both profiles of bundle endpoints |
//! | `bucket` (feature `s3`) | bundles through a bucket that nobody needs to trust: a TUF repository |
//! | [`partition`] | one number from which ages, lead times and lives follow |
//! | [`tls`] | rustls configurations that follow live SVIDs and bundles |
//! | [`serve`], [`connect`] | servers and clients for tonic, axum (feature `axum`) and hyper that know their peer |
//! | [`source`] | where SVIDs and tokens come from; renewal at half-life; the cache on disk |
//! | `workload_api` | the Workload API, both sides, and Envoy's secret discovery (Unix) |
//! | [`authority`] | root or plugged-in intermediate, rotation, issuing rules, Istio's certificate service |
//! | [`registry`], [`attest`], [`spire`] | who may have which identity; evidence of nodes; SPIRE's server API, both sides |
//! | [`keys`] | keys for tokens of requests, inline and by URL; verification of such tokens |
//! | [`jose`] | JSON Web Keys and Signatures, as far as SPIFFE uses them |
//! | [`clock`], [`mod@file`], [`pem`], [`task`], [`limits`] | wall time, whole files, PEM, task groups, bounds |
//! | [`proto`] | generated messages |
//!
//! # What is decided here
//!
//! - A chain is verified against the bundle of its own trust domain and no other.
//! - SVIDs are read strictly: one URI name in canonical form, no authority, the right key usages.
//! - An expired SVID of our own is never presented; the handshake fails instead.
//! - TLS 1.3 only, no resumption, no early data, no SNI; keys are exchanged with ML-KEM where the peer can.
//! - Tokens are verified by the keys of their subject's own trust domain, for an audience that is never empty.
//! - A foreign bundle counts as long as it is confirmed often enough; then nobody of its trust domain is let in.
//! - Evidence that counts once is used up by the attempt, and the record is written before the node hears of it.

pub mod attest;
pub mod authority;
#[cfg(feature = "s3")]
pub mod bucket;
pub mod bundle;
pub mod clock;
pub mod connect;
mod crypto;
mod der;
pub mod federation;
pub mod file;
mod hex;
pub mod jose;
pub mod keys;
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
mod web;
#[cfg(unix)]
pub mod workload_api;
