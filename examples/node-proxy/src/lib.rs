//! The node proxy: joins a control plane and carries, protects and refuses the L4 traffic of one node's workloads.
//!
//! Read `wire.rs` first: it joins the parts. `local.rs` starts and stops what each local workload needs; everything else is
//! settings and showing.

mod cli;
mod local;
mod metrics;
pub mod settings;
mod show;
mod wire;

pub use cli::main_with_args;
