//! What Istio and SPIRE call the secrets that stand for a workload's own identity, and whom it trusts.

/// The own SVID.
pub(crate) const DEFAULT: &str = "default";

/// The roots of the own trust domain.
pub(crate) const ROOTCA: &str = "ROOTCA";

/// The roots of all trust domains, each for its own members.
pub(crate) const ALL: &str = "ALL";
