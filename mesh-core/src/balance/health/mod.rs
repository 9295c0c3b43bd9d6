//! Active health checks: how endpoints are probed, and what results say of them.
//!
//! ```text
//!               first result good, or healthy_threshold good ones in a row
//!  unhealthy ─────────────────────────────────────────────────────────────▶ healthy
//!      ▲                                                                       │
//!      └───────────────────────────────────────────────────────────────────────┘
//!        unhealthy_threshold bad ones in a row; at once where the answer itself is bad
//! ```
//!
//! A [`Checker`] says which endpoint is to be probed when, and decides what the results mean; somebody else carries the
//! probes out, and hands on what the checker decides to [`Balancer::handle_probes`](super::Balancer::handle_probes).

mod checker;
mod payload;
mod result;
mod settings;

pub use checker::{Checker, Due, ProbeId};
pub use result::ProbeResult;
pub use settings::{GrpcProbe, HealthCheck, HttpProbe, Probe, ProbeMethod, TcpProbe};
