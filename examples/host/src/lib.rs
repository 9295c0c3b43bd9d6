//! What the reference binaries share around the parts of the crates: settings, the admin endpoint, telemetry, signals,
//! files that are followed.

pub mod admin;
pub mod exit;
pub mod follow;
pub mod ready;
pub mod settings;
pub mod signal;
pub mod telemetry;
