//! The waypoint: stands between the tunnels of a mesh and does for HTTP and TCP what a node proxy does not: routes by
//! content, enforces policies on requests, retries, balances.
//!
//! Read `wire.rs` first: it joins the parts. `tunnels.rs` takes streams out of tunnels, `program.rs` says what the waypoint
//! is programmed with, `extensions.rs` whom its filters ask, `secrets.rs` what its listeners and clusters prove themselves
//! with.

mod cli;
mod extensions;
mod metrics;
mod program;
mod secrets;
pub mod settings;
mod show;
mod tunnels;
mod wire;

pub use cli::main_with_args;
