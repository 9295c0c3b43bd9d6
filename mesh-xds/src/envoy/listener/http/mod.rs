//! Envoy's `HttpConnectionManager` ↔ [`mesh_core::listener::HttpManager`].

mod filter;
mod forwarding;
mod manager;
mod options;
mod timeouts;
mod traffic;

pub(super) use manager::{http_manager, wire_http_manager};
