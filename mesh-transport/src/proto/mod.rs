//! Generated from `proto/`; see the workspace's `tests/codegen`.

#[rustfmt::skip]
#[path = "istio.workload.zds.rs"]
#[allow(
    missing_docs,
    unreachable_pub,
    unused_qualifications,
    unnameable_types,
    clippy::all,
    clippy::allow_attributes_without_reason,
    reason = "generated"
)]
pub(crate) mod zds;
