//! The control plane: reads Kubernetes-style YAML from a directory, serves workload discovery and certificates.
//!
//! ```text
//! source (files) ──► admission (schema) ──► world ──► translate (pure) ──► serve (xDS, certificates)
//!                         │ errors: the last good world goes on serving
//!                         ▼
//!                     findings
//! ```

pub mod admission;
mod cli;
pub mod finding;
mod listen;
mod publish;
mod serve;
pub mod settings;
mod show;
pub mod source;
mod spire;
pub mod standalone;
mod token;
pub mod translate;
mod trust;
mod view;
pub mod world;

pub use cli::main_with_args;
