//! What is wrong with single objects, beyond what their schema refuses: the rules that an API server would apply.

mod core;
mod entry;
mod gateway;
mod hosts;
mod mesh_config;
mod metadata;
mod object;
mod refs;
mod route;
mod stream_route;
mod telemetry;
mod traffic;
mod whole;

pub(crate) use mesh_config::mesh_config;
pub(crate) use metadata::metadata;
pub use object::validate;
pub(crate) use refs::references;
pub(crate) use route::{grpc_route, http_route};
pub(crate) use whole::whole;

pub(crate) use crate::translate::waypoint::virtual_service;
