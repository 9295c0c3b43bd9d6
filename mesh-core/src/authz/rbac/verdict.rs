use std::fmt;

use crate::authz::Reason;
use crate::authz::verdict::display;
use crate::name::Text;

/// What an evaluation gives.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Verdict {
    /// It may pass.
    Allowed(Permit),
    /// It may not: 403 for a request (`PERMISSION_DENIED` for gRPC), the end of a connection.
    Denied(Denial),
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Allowed(permit) => display("allowed", permit.policy(), permit.reason(), f),
            Self::Denied(denial) => display("denied", denial.policy.as_ref(), denial.reason, f),
        }
    }
}

/// Proof that something may pass. Only an evaluation makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Permit {
    policy: Option<Text>,
    reason: Reason,
    log: bool,
}

impl Permit {
    pub(super) fn new(policy: Option<Text>, reason: Reason, log: bool) -> Self {
        Self { policy, reason, log }
    }

    /// The policy that matched, if one did.
    #[must_use]
    pub fn policy(&self) -> Option<&Text> {
        self.policy.as_ref()
    }

    /// Why it may pass.
    #[must_use]
    pub fn reason(&self) -> Reason {
        self.reason
    }

    /// Whether rules that log want it in the access log.
    #[must_use]
    pub fn is_logged(&self) -> bool {
        self.log
    }
}

/// A refusal and what it is due to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denial {
    /// The policy that refused; `None` when no single one did.
    pub policy: Option<Text>,
    /// Why it was refused.
    pub reason: Reason,
}
