//! xDS.

pub mod client;
pub mod limits;
pub mod pb;
pub mod proto;
pub mod server;
pub mod workload;
