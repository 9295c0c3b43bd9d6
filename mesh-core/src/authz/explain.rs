use std::collections::BTreeSet;

use super::evaluate::{applicable, evaluate};
use super::matcher::{Connection, Facts, matching_rule};
use super::policy::Action;
use super::set::PolicySet;
use super::verdict::Verdict;
use crate::name::NamespacedName;
use crate::workload::Workload;

/// A verdict and all that was considered for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Explanation {
    /// What [`evaluate`] says.
    pub verdict: Verdict,
    /// Every policy that applies to the workload, deny policies first, then by name.
    pub considered: Vec<Considered>,
    /// Policies that the workload names but that are not known.
    pub missing: Vec<NamespacedName>,
}

/// One policy that applies to a workload, and whether it matched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Considered {
    /// The policy.
    pub policy: NamespacedName,
    /// What a match of it means.
    pub action: Action,
    /// Whether it is evaluated for show only.
    pub dry_run: bool,
    /// Index of the first rule that matched, if any.
    pub matching_rule: Option<usize>,
}

/// Evaluates, and says what every policy that applies had to say. For `explain` calls and tests; it allocates.
#[must_use]
pub fn explain(policies: &PolicySet, workload: &Workload, connection: &Connection<'_>) -> Explanation {
    let facts = Facts::new(connection);
    let mut seen = BTreeSet::new();
    let mut considered: Vec<Considered> = applicable(policies, workload)
        .filter(|policy| seen.insert(&policy.name))
        .map(|policy| Considered {
            policy: policy.name.clone(),
            action: policy.action,
            dry_run: policy.dry_run,
            matching_rule: matching_rule(policy, &facts),
        })
        .collect();
    considered.sort_by(|a, b| (a.action == Action::Allow, &a.policy).cmp(&(b.action == Action::Allow, &b.policy)));
    let missing = workload.policies.iter().filter(|name| policies.get(name).is_none()).cloned().collect();
    Explanation { verdict: evaluate(policies, workload, connection), considered, missing }
}
