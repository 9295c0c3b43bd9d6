//! Generated from `proto/`; see the workspace's `tests/codegen`.

macro_rules! generated {
    ($(#[$doc:meta])* $name:ident, $path:literal) => {
        $(#[$doc])*
        #[rustfmt::skip]
        #[path = $path]
        #[allow(
            missing_docs,
            unreachable_pub,
            unused_qualifications,
            unnameable_types,
            elided_lifetimes_in_paths,
            clippy::all,
            clippy::allow_attributes_without_reason,
            clippy::wildcard_imports,
            clippy::use_self,
            clippy::or_fun_call,
            reason = "generated"
        )]
        pub mod $name;
    };
}

generated! {
    /// `istio.workload`: workloads and services.
    workload, "istio.workload.rs"
}
generated! {
    /// `istio.security`: L4 authorization policies.
    security, "istio.security.rs"
}
