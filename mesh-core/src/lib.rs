//! Vocabulary and decisions of the mesh: workloads, services, policies, resolution. No sockets, no TLS.

pub mod authz;
pub mod catalog;
pub mod live;
pub mod name;
pub mod service;
pub mod string_match;
pub mod workload;
