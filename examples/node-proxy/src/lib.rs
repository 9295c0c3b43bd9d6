//! The node proxy: joins a control plane and carries, protects and refuses the L4 traffic of one node's workloads.
//!
//! Read `wire.rs` first: it joins the parts. `local.rs` serves workloads at their own addresses, `pods.rs` captured ones;
//! everything else is settings and showing.

mod cli;
mod control;
mod crl;
mod environment;
mod explain;
mod local;
mod metrics;
mod pods;
pub mod settings;
mod show;
mod wire;

pub use cli::main_with_args;
