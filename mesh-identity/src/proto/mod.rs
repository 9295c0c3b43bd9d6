//! Generated from `proto/`; see the workspace's `tests/codegen`.

#[rustfmt::skip]
#[path = "istio.v1.auth.rs"]
#[allow(
    missing_docs,
    unreachable_pub,
    unused_qualifications,
    unnameable_types,
    elided_lifetimes_in_paths,
    missing_debug_implementations,
    clippy::all,
    clippy::allow_attributes_without_reason,
    clippy::wildcard_imports,
    clippy::use_self,
    clippy::or_fun_call,
    clippy::large_futures,
    reason = "generated"
)]
pub mod istio_ca;
