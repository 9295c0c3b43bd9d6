//! Vocabulary and decisions of the mesh: workloads, services, policies, resolution. No sockets, no TLS.

pub mod live;
pub mod name;
