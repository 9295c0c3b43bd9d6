use std::net::IpAddr;

use ipnet::IpNet;

use super::facts::{Facts, Peer};
use super::policy::{Action, Permission, Policy, Principal, Rbac, RbacFilter};
use super::verdict::{Denial, Permit, Verdict};
use crate::authz::Reason;
use crate::name::Text;
use crate::request::{HeaderMatch, MetadataMatch};
use crate::string_match::Pattern;

impl RbacFilter {
    /// Decides whether a connection or a request may pass.
    pub fn evaluate(&self, facts: &Facts<'_>) -> Verdict {
        match &self.rules {
            Some(rules) => rules.evaluate(facts),
            None => unrestricted(),
        }
    }

    /// What the shadow rules say, when there are any.
    #[must_use]
    pub fn evaluate_shadow(&self, facts: &Facts<'_>) -> Option<Verdict> {
        self.shadow.as_ref().map(|shadow| shadow.evaluate(facts))
    }

    /// Whether what matches is to be logged.
    #[must_use]
    pub fn logs(&self) -> bool {
        self.rules.as_ref().is_some_and(|rules| rules.action == Action::Log)
    }
}

impl Rbac {
    /// Decides whether a connection or a request may pass. The verdict's policy shares the text of the name.
    pub fn evaluate(&self, facts: &Facts<'_>) -> Verdict {
        verdict(self.action, self.matching(facts).cloned())
    }

    fn matching(&self, facts: &Facts<'_>) -> Option<&Text> {
        self.policies.iter().find(|(_, policy)| policy.is_match(facts)).map(|(name, _)| name)
    }
}

/// What no rules mean.
pub(super) fn unrestricted() -> Verdict {
    Verdict::Allowed(Permit::new(None, Reason::NoAllowPolicy, false))
}

/// What it means that this policy matches, or none.
pub(super) fn verdict(action: Action, matching: Option<Text>) -> Verdict {
    match (action, matching) {
        (Action::Allow, Some(policy)) => Verdict::Allowed(Permit::new(Some(policy), Reason::AllowPolicy, false)),
        (Action::Allow, None) => Verdict::Denied(Denial { policy: None, reason: Reason::NoAllowPolicyMatches }),
        (Action::Deny, Some(policy)) => Verdict::Denied(Denial { policy: Some(policy), reason: Reason::DenyPolicy }),
        (Action::Deny, None) => Verdict::Allowed(Permit::new(None, Reason::NoAllowPolicy, false)),
        (Action::Log, policy) => {
            let log = policy.is_some();
            Verdict::Allowed(Permit::new(policy, Reason::NoAllowPolicy, log))
        }
    }
}

impl Policy {
    pub(super) fn is_match(&self, facts: &Facts<'_>) -> bool {
        self.permissions.iter().any(|permission| permission.is_match(facts))
            && self.principals.iter().any(|principal| principal.is_match(facts))
    }
}

impl Permission {
    pub(super) fn is_match(&self, facts: &Facts<'_>) -> bool {
        match self {
            Self::Any => true,
            Self::And(all) => all.iter().all(|permission| permission.is_match(facts)),
            Self::Or(some) => some.iter().any(|permission| permission.is_match(facts)),
            Self::Not(permission) => !permission.is_match(facts),
            Self::Header(matcher) => header(matcher, facts),
            Self::Path(pattern) => path(pattern, facts),
            Self::PathTemplate(template) => facts.path().is_some_and(|path| template.is_match(path)),
            Self::Metadata(matcher) => metadata(matcher, facts),
            Self::DestinationIp(range) => contains(range, facts.destination.ip()),
            Self::DestinationPort(port) => *port == facts.destination.port(),
            Self::DestinationPorts(ports) => ports.contains(&facts.destination.port().into()),
            Self::ServerName(pattern) => pattern.is_match(facts.server_name.unwrap_or_default()),
        }
    }
}

impl Principal {
    pub(super) fn is_match(&self, facts: &Facts<'_>) -> bool {
        match self {
            Self::Any => true,
            Self::And(all) => all.iter().all(|principal| principal.is_match(facts)),
            Self::Or(some) => some.iter().any(|principal| principal.is_match(facts)),
            Self::Not(principal) => !principal.is_match(facts),
            Self::Authenticated(name) => facts
                .peer
                .is_some_and(|peer| name.as_ref().is_none_or(|pattern| peer.any_name(|name| pattern.is_match(name)))),
            Self::PeerPrincipal(pattern) => {
                facts.peer.as_ref().and_then(Peer::principal).is_some_and(|principal| pattern.is_match(principal))
            }
            Self::Metadata(matcher) => metadata(matcher, facts),
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

/// Where no filter could have said anything, nothing was said: an inverted condition holds.
fn metadata(matcher: &MetadataMatch, facts: &Facts<'_>) -> bool {
    facts.metadata.map_or(matcher.invert, |metadata| matcher.is_match(metadata))
}

fn path(pattern: &Pattern, facts: &Facts<'_>) -> bool {
    facts.path().is_some_and(|path| pattern.is_match(path))
}

/// An IPv4 address is the same when a socket of both families wraps it into IPv6.
fn contains(range: &IpNet, address: IpAddr) -> bool {
    range.contains(&address.to_canonical())
}
