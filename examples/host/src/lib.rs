//! What the reference binaries share around the parts of the crates: settings, membership in the mesh, the admin endpoint,
//! telemetry, signals, files that are followed, and how they show workloads.

pub mod admin;
pub mod exit;
pub mod follow;
pub mod member;
pub mod ready;
pub mod runtime;
pub mod settings;
pub mod shown;
pub mod signal;
pub mod telemetry;
