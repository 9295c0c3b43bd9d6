//! Generated from `proto/`; see the workspace's `tests/codegen`.
#![allow(
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

/// Metadata key of Istio's certificate service by which a node asks for the identity of one of its workloads.
pub(crate) const IMPERSONATED_IDENTITY: &str = "ImpersonatedIdentity";

#[rustfmt::skip]
#[path = "istio.v1.auth.rs"]
pub mod istio_ca;

#[rustfmt::skip]
pub mod workload;

/// SPIRE's server API, nested as its packages are.
#[path = "."]
pub mod spire {
    /// `spire.api`.
    #[path = "."]
    pub mod api {
        #[rustfmt::skip]
        #[path = "spire.api.types.rs"]
        pub mod types;
        /// `spire.api.server`.
        #[path = "."]
        pub mod server {
            /// `spire.api.server.agent`.
            #[path = "."]
            pub mod agent {
                #[rustfmt::skip]
                #[path = "spire.api.server.agent.v1.rs"]
                pub mod v1;
            }
            /// `spire.api.server.bundle`.
            #[path = "."]
            pub mod bundle {
                #[rustfmt::skip]
                #[path = "spire.api.server.bundle.v1.rs"]
                pub mod v1;
            }
            /// `spire.api.server.entry`.
            #[path = "."]
            pub mod entry {
                #[rustfmt::skip]
                #[path = "spire.api.server.entry.v1.rs"]
                pub mod v1;
            }
            /// `spire.api.server.svid`.
            #[path = "."]
            pub mod svid {
                #[rustfmt::skip]
                #[path = "spire.api.server.svid.v1.rs"]
                pub mod v1;
            }
        }
    }
}
