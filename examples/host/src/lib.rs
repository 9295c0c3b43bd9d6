//! What the reference binaries share around the parts of the crates: settings, the admin endpoint, telemetry, signals.

pub mod admin;
pub mod exit;
pub mod ready;
pub mod settings;
pub mod signal;
pub mod telemetry;
