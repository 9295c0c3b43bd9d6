//! The control plane: reads Kubernetes, Istio and Gateway API resources from directories, git and clusters, and serves workload
//! discovery, Envoy's resources for waypoints, and certificates.
//!
//! ```text
//! source (files, commits, clusters) ──► world ──► translate (pure, incremental) ──► projection ──► serve (xDS, certificates)
//!    │ admission (schema, policies): what is bad keeps its last good state
//!    ▼
//! findings ◄── analyze (what is wrong among several)
//! ```

pub mod admission;
pub mod analyze;
pub mod attach;
pub mod caller;
mod cli;
pub mod drift;
pub mod finding;
mod idle;
mod incremental;
pub mod inventory;
mod kind;
mod listen;
mod metrics;
mod parallel;
mod policies;
pub mod preview;
pub mod projection;
mod publish;
pub mod resource;
mod serve;
pub mod settings;
mod show;
pub mod source;
mod spire;
pub mod standalone;
pub mod status;
mod token;
pub mod translate;
mod trust;
mod view;
#[cfg(feature = "kubernetes")]
pub mod webhook;
#[cfg(unix)]
mod workload_api;
pub mod world;

pub use cli::main_with_args;
