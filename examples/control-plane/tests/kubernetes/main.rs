//! The Kubernetes API as a source, against one that does what none should.
#![cfg(feature = "kubernetes")]
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout, reason = "tests")]
#![allow(clippy::disallowed_methods, reason = "a server of a test")]

mod fake;
mod real;
mod source;
mod status;
mod statuses;
mod webhook;
