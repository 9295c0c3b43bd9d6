//! HTTP on raw bytes: what servers and clients do with peers that are slow, wrong, hostile, or just there.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::large_futures,
    clippy::single_range_in_vec_init,
    unreachable_pub,
    missing_docs,
    missing_debug_implementations,
    reason = "a test"
)]

mod client;
mod corpus;
mod health;
mod lying;
mod server;
mod smuggling;
mod support;
mod upgrade;
