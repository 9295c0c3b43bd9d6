use std::fmt;

use crate::name::NamespacedName;

/// What an evaluation gives.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Verdict {
    /// The connection may be made.
    Allowed(Permit),
    /// It may not.
    Denied(Denial),
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Allowed(permit) => permit.fmt(f),
            Self::Denied(denial) => denial.fmt(f),
        }
    }
}

/// Proof that a connection was allowed. Only an evaluation makes one, so whatever demands a permit cannot be reached
/// without having asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permit {
    policy: Option<NamespacedName>,
    reason: Reason,
}

impl Permit {
    pub(super) fn new(policy: Option<NamespacedName>, reason: Reason) -> Self {
        Self { policy, reason }
    }

    /// The policy that allowed the connection; `None` when no allow policy applies to the workload.
    #[must_use]
    pub fn policy(&self) -> Option<&NamespacedName> {
        self.policy.as_ref()
    }

    /// Why it was allowed.
    #[must_use]
    pub fn reason(&self) -> Reason {
        self.reason
    }
}

impl fmt::Display for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        display("allowed", self.policy.as_ref(), self.reason, f)
    }
}

/// A refusal and what it is due to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// The policy that refused; `None` when no single one did.
    pub policy: Option<NamespacedName>,
    /// Why it was refused.
    pub reason: Reason,
}

impl fmt::Display for Denial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        display("denied", self.policy.as_ref(), self.reason, f)
    }
}

pub(super) fn display(
    verdict: &str,
    policy: Option<&impl fmt::Display>,
    reason: Reason,
    f: &mut fmt::Formatter<'_>,
) -> fmt::Result {
    match policy {
        Some(policy) => write!(f, "{verdict}: {} ({policy})", reason.text()),
        None => write!(f, "{verdict}: {}", reason.text()),
    }
}

/// Why a verdict fell. The same words in logs, metrics and headers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Reason {
    /// No policy applies that would restrict who may connect.
    NoAllowPolicy,
    /// An allow policy matches.
    AllowPolicy,
    /// A deny policy matches.
    DenyPolicy,
    /// Allow policies apply and none of them matches.
    NoAllowPolicyMatches,
    /// The workload names a policy that is not known.
    PolicyMissing,
}

impl Reason {
    /// Every reason there is.
    pub const ALL: [Self; 5] =
        [Self::NoAllowPolicy, Self::AllowPolicy, Self::DenyPolicy, Self::NoAllowPolicyMatches, Self::PolicyMissing];

    /// The stable word for logs, metrics and headers.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::NoAllowPolicy => "no_allow_policy",
            Self::AllowPolicy => "allow_policy",
            Self::DenyPolicy => "deny_policy",
            Self::NoAllowPolicyMatches => "no_allow_policy_matches",
            Self::PolicyMissing => "policy_missing",
        }
    }

    fn text(self) -> &'static str {
        match self {
            Self::NoAllowPolicy => "no allow policy applies",
            Self::AllowPolicy => "an allow policy matches",
            Self::DenyPolicy => "a deny policy matches",
            Self::NoAllowPolicyMatches => "allow policies apply and none of them matches",
            Self::PolicyMissing => "the workload names a policy that is not known",
        }
    }
}
