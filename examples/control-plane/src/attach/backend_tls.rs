//! BackendTLSPolicies: which of them counts for a port of a Service, and whether it can be honoured.

use mesh_core::name::NamespacedName;

use super::certificate::authorities_in;
use super::{Authorities, Read, RefFault};
use crate::resource::{BackendTlsPolicy, BackendTlsTarget};

/// A BackendTLSPolicy, judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    /// Its name.
    pub name: NamespacedName,
    /// Who may have signed the backend's certificate; none where those of the machine count.
    pub authorities: Vec<Result<Authorities, RefFault>>,
    /// Whether the authorities that the machine believes count.
    pub believes_system: bool,
    /// What else is not understood.
    pub unsupported: Option<String>,
}

/// A target of a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The Service that it means.
    pub service: NamespacedName,
    /// What becomes of it.
    pub outcome: Outcome,
}

/// What becomes of a target of a policy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The policy counts for it.
    Taken,
    /// It is no Service that is there, or has no such port.
    NotFound(String),
    /// Another policy for the same target counts, which is older or comes first by name.
    Conflicted(NamespacedName),
}

impl Judged {
    /// Why connections to its backends fail; `None` if it can be honoured. Nobody is spoken to with some of the authorities
    /// only: that would refuse backends which are in order.
    #[must_use]
    pub fn fault(&self) -> Option<String> {
        let of_authority = || {
            let good = self.authorities.iter().any(Result::is_ok);
            let first = self.authorities.iter().find_map(|one| one.as_ref().err());
            first.filter(|_| !good).map(ToString::to_string)
        };
        self.unsupported.clone().or_else(of_authority)
    }
}

/// Judges a policy by itself.
#[must_use]
pub fn judge(read: &impl Read, policy: &BackendTlsPolicy) -> Judged {
    let validation = &policy.spec.validation;
    let namespace = policy.metadata.namespace.as_str();
    let authorities = validation.ca_certificate_refs.iter().map(|one| {
        let kind = (one.group.as_str(), one.kind.as_str());
        authorities_in(read, kind, NamespacedName::new(namespace, one.name.as_str()))
    });
    let known = validation.well_known_ca_certificates.as_deref().filter(|known| !known.is_empty());
    let unsupported = known.filter(|known| *known != "System");
    Judged {
        name: NamespacedName::new(namespace, policy.metadata.name.as_str()),
        authorities: authorities.collect(),
        believes_system: known == Some("System"),
        unsupported: unsupported.map(|known| format!("wellKnownCACertificates `{known}` is not supported")),
    }
}

/// The policy that counts for the port of this name of a Service, if there is one: one for the port before one for the whole
/// Service, the older before the younger.
#[must_use]
pub fn chosen(read: &impl Read, service: &NamespacedName, port: &str) -> Option<Judged> {
    let policies = read.backend_tls(service.namespace.as_str());
    let fits = |section: Option<&str>| {
        let of_target = |policy: &&BackendTlsPolicy| {
            let mut targets = policy.spec.target_refs.iter();
            targets.any(|target| is_for(target, service) && target.section_name.as_deref() == section)
        };
        policies.iter().copied().filter(of_target).min_by_key(|policy| rank(policy))
    };
    fits(Some(port)).or_else(|| fits(None)).map(|policy| judge(read, policy))
}

/// What becomes of each target of a policy, in their order.
#[must_use]
pub fn targets(read: &impl Read, policy: &BackendTlsPolicy) -> Vec<Target> {
    let namespace = policy.metadata.namespace.as_str();
    let all = read.backend_tls(namespace);
    let one = |target: &BackendTlsTarget| {
        let service = NamespacedName::new(namespace, target.name.as_str());
        let outcome = outcome(read, policy, target, &service, &all);
        Target { service, outcome }
    };
    policy.spec.target_refs.iter().map(one).collect()
}

fn outcome(
    read: &impl Read,
    policy: &BackendTlsPolicy,
    target: &BackendTlsTarget,
    service: &NamespacedName,
    all: &[&BackendTlsPolicy],
) -> Outcome {
    let found = read.service(service).filter(|_| is_for(target, service));
    let Some(found) = found else { return Outcome::NotFound(format!("{} {service} is not there", target.kind)) };
    if let Some(section) = &target.section_name
        && !found.spec.ports.iter().any(|port| port.name == *section)
    {
        return Outcome::NotFound(format!("Service {service} has no port `{section}`"));
    }
    let same = |other: &&BackendTlsPolicy| {
        let mut others = other.spec.target_refs.iter();
        others.any(|other| is_for(other, service) && other.section_name == target.section_name)
    };
    let first = all.iter().copied().filter(same).min_by_key(|policy| rank(policy));
    match first.filter(|first| rank(first) < rank(policy)) {
        Some(first) => {
            Outcome::Conflicted(NamespacedName::new(service.namespace.clone(), first.metadata.name.as_str()))
        }
        None => Outcome::Taken,
    }
}

fn is_for(target: &BackendTlsTarget, service: &NamespacedName) -> bool {
    matches!(target.group.as_str(), "" | "core") && target.kind == "Service" && service.name == *target.name
}

fn rank(policy: &BackendTlsPolicy) -> (std::time::Duration, String) {
    (policy.metadata.created(), policy.metadata.name.clone())
}
