use std::net::IpAddr;

use ipnet::IpNet;

use super::facts::Facts;
use super::policy::{Action, Permission, Policy, Principal, Rbac, RbacFilter};
use super::verdict::{Denial, Permit, Verdict};
use crate::authz::Reason;
use crate::name::Text;
use crate::request::HeaderMatch;
use crate::string_match::Pattern;

impl RbacFilter {
    /// Decides whether a connection or a request may pass.
    pub fn evaluate(&self, facts: &Facts<'_>) -> Verdict {
        match &self.rules {
            Some(rules) => rules.evaluate(facts),
            None => Verdict::Allowed(Permit::new(None, Reason::NoAllowPolicy, false)),
        }
    }

    /// What the shadow rules say, when there are any.
    #[must_use]
    pub fn evaluate_shadow(&self, facts: &Facts<'_>) -> Option<Verdict> {
        self.shadow.as_ref().map(|shadow| shadow.evaluate(facts))
    }
}

impl Rbac {
    /// Decides whether a connection or a request may pass. The verdict's policy shares the text of the name.
    pub fn evaluate(&self, facts: &Facts<'_>) -> Verdict {
        let matching = self.matching(facts).cloned();
        match (self.action, matching) {
            (Action::Allow, Some(policy)) => Verdict::Allowed(Permit::new(Some(policy), Reason::AllowPolicy, false)),
            (Action::Allow, None) => Verdict::Denied(Denial { policy: None, reason: Reason::NoAllowPolicyMatches }),
            (Action::Deny, Some(policy)) => {
                Verdict::Denied(Denial { policy: Some(policy), reason: Reason::DenyPolicy })
            }
            (Action::Deny, None) => Verdict::Allowed(Permit::new(None, Reason::NoAllowPolicy, false)),
            (Action::Log, policy) => {
                let log = policy.is_some();
                Verdict::Allowed(Permit::new(policy, Reason::NoAllowPolicy, log))
            }
        }
    }

    fn matching(&self, facts: &Facts<'_>) -> Option<&Text> {
        self.policies.iter().find(|(_, policy)| policy.is_match(facts)).map(|(name, _)| name)
    }
}

impl Policy {
    fn is_match(&self, facts: &Facts<'_>) -> bool {
        self.permissions.iter().any(|permission| permission.is_match(facts))
            && self.principals.iter().any(|principal| principal.is_match(facts))
    }
}

impl Permission {
    fn is_match(&self, facts: &Facts<'_>) -> bool {
        match self {
            Self::Any => true,
            Self::And(all) => all.iter().all(|permission| permission.is_match(facts)),
            Self::Or(some) => some.iter().any(|permission| permission.is_match(facts)),
            Self::Not(permission) => !permission.is_match(facts),
            Self::Header(matcher) => header(matcher, facts),
            Self::Path(pattern) => path(pattern, facts),
            Self::DestinationIp(range) => contains(range, facts.destination.ip()),
            Self::DestinationPort(port) => *port == facts.destination.port(),
            Self::DestinationPorts(ports) => ports.contains(&facts.destination.port().into()),
            Self::ServerName(pattern) => pattern.is_match(facts.server_name.unwrap_or_default()),
        }
    }
}

impl Principal {
    fn is_match(&self, facts: &Facts<'_>) -> bool {
        match self {
            Self::Any => true,
            Self::And(all) => all.iter().all(|principal| principal.is_match(facts)),
            Self::Or(some) => some.iter().any(|principal| principal.is_match(facts)),
            Self::Not(principal) => !principal.is_match(facts),
            Self::Authenticated(name) => facts
                .peer
                .is_some_and(|peer| name.as_ref().is_none_or(|pattern| peer.any_name(|name| pattern.is_match(name)))),
            Self::SourceIp(range) => contains(range, facts.source),
            Self::DirectRemoteIp(range) => contains(range, facts.direct_remote),
            Self::RemoteIp(range) => contains(range, facts.remote),
            Self::Header(matcher) => header(matcher, facts),
            Self::Path(pattern) => path(pattern, facts),
        }
    }
}

fn header(matcher: &HeaderMatch, facts: &Facts<'_>) -> bool {
    facts.request.as_ref().is_some_and(|request| matcher.is_match(request))
}

fn path(pattern: &Pattern, facts: &Facts<'_>) -> bool {
    facts.path().is_some_and(|path| pattern.is_match(path))
}

/// An IPv4 address is the same when a socket of both families wraps it into IPv6.
fn contains(range: &IpNet, address: IpAddr) -> bool {
    range.contains(&address.to_canonical())
}
