use ipnet::IpNet;

use crate::name::{NamespacedName, Text};
use crate::string_match::StringMatch;

/// A policy: who may connect to the workloads in its scope, or who may not.
///
/// The nesting is that of `istio.security.Authorization`: a policy matches when any rule does; a rule when all its
/// clauses do; a clause when any of its matches does; a match when all its fields do.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Policy {
    /// Namespace and name: the primary key, and what a refusal is explained with.
    pub name: NamespacedName,
    /// To which workloads it applies.
    pub scope: Scope,
    /// What a match means.
    pub action: Action,
    /// Any of these; none at all never matches (an allow policy without rules denies everything).
    pub rules: Vec<Rule>,
    /// Evaluated and reported, never enforced.
    pub dry_run: bool,
}

impl Policy {
    /// An enforced policy.
    #[must_use]
    pub fn new(name: NamespacedName, scope: Scope, action: Action, rules: Vec<Rule>) -> Self {
        Self { name, scope, action, rules, dry_run: false }
    }
}

/// To which workloads a policy applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Scope {
    /// To all.
    Global,
    /// To those of the policy's namespace.
    Namespace,
    /// To those that name the policy in [`Workload::policies`](crate::workload::Workload::policies).
    WorkloadSelector,
}

/// What a match means.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Action {
    /// A match allows.
    Allow,
    /// A match denies, before any allow policy is asked.
    Deny,
}

/// All clauses must match; a rule without clauses matches everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rule {
    /// The clauses, AND-ed.
    pub clauses: Vec<Clause>,
}

/// Any match must match; a clause without matches matches everything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Clause {
    /// The matches, OR-ed.
    pub matches: Vec<Match>,
}

/// All fields that hold values must match. Values of one field are OR-ed; of a `not_` field none may match.
///
/// A match without any value never matches: it is what remains of a condition that L4 cannot express.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Match {
    /// Namespace of the peer.
    pub namespaces: Vec<StringMatch>,
    /// Namespaces the peer must not be of. A peer without identity is of none.
    pub not_namespaces: Vec<StringMatch>,
    /// Identity of the peer, written without `spiffe://`. A peer without identity never matches.
    pub principals: Vec<StringMatch>,
    /// Identities the peer must not have. A peer without identity has none of them.
    pub not_principals: Vec<StringMatch>,
    /// Address of the peer.
    pub source_ips: Vec<IpNet>,
    /// Addresses the peer must not have.
    pub not_source_ips: Vec<IpNet>,
    /// Address of the destination.
    pub destination_ips: Vec<IpNet>,
    /// Addresses the destination must not have.
    pub not_destination_ips: Vec<IpNet>,
    /// Port of the destination.
    pub destination_ports: Vec<u16>,
    /// Ports the destination must not have.
    pub not_destination_ports: Vec<u16>,
    /// Service account of the peer, whatever its trust domain.
    pub service_accounts: Vec<ServiceAccountMatch>,
    /// Service accounts the peer must not have.
    pub not_service_accounts: Vec<ServiceAccountMatch>,
}

impl Match {
    /// Whether no field holds a value. Such a match never matches.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A service account by namespace and name; the trust domain does not count.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ServiceAccountMatch {
    /// The namespace.
    pub namespace: Text,
    /// The account.
    pub name: Text,
}
