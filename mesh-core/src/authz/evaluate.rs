use std::sync::Arc;

use super::matcher::{Connection, Facts, matching_rule};
use super::policy::{Action, Policy};
use super::set::PolicySet;
use super::verdict::{Denial, Permit, Reason, Verdict};
use crate::workload::Workload;

/// Decides whether a connection to a workload may be made. Policies in dry run are left out.
///
/// Neither allocates nor waits: the verdict's policy name shares the text of the policy.
pub fn evaluate(policies: &PolicySet, workload: &Workload, connection: &Connection<'_>) -> Verdict {
    let facts = Facts::new(connection);
    let enforced = || applicable(policies, workload).filter(|policy| !policy.dry_run);

    if let Some(policy) = first_match(enforced(), Action::Deny, &facts) {
        return denied(Some(policy), Reason::DenyPolicy);
    }
    if let Some(name) = workload.policies.iter().find(|name| policies.get(name).is_none()) {
        return Verdict::Denied(Denial { policy: Some(name.clone()), reason: Reason::PolicyMissing });
    }
    if let Some(policy) = first_match(enforced(), Action::Allow, &facts) {
        return Verdict::Allowed(Permit::new(Some(policy.name.clone()), Reason::AllowPolicy));
    }
    if enforced().any(|policy| policy.action == Action::Allow) {
        return denied(None, Reason::NoAllowPolicyMatches);
    }
    Verdict::Allowed(Permit::new(None, Reason::NoAllowPolicy))
}

/// What the policies in dry run would refuse if they were enforced; `None` when they would refuse nothing.
#[must_use]
pub fn evaluate_dry_run(policies: &PolicySet, workload: &Workload, connection: &Connection<'_>) -> Option<Denial> {
    if !policies.has_dry_run() {
        return None;
    }
    let facts = Facts::new(connection);
    let shadow = || applicable(policies, workload).filter(|policy| policy.dry_run);

    if let Some(policy) = first_match(shadow(), Action::Deny, &facts) {
        return Some(Denial { policy: Some(policy.name.clone()), reason: Reason::DenyPolicy });
    }
    let restricts = shadow().any(|policy| policy.action == Action::Allow);
    let allowed = first_match(applicable(policies, workload), Action::Allow, &facts).is_some();
    (restricts && !allowed).then_some(Denial { policy: None, reason: Reason::NoAllowPolicyMatches })
}

/// The policies that apply to a workload: the global ones, those of its namespace, those it names. One that is named
/// although it applies anyway comes twice, which changes no verdict.
pub(super) fn applicable<'a>(policies: &'a PolicySet, workload: &'a Workload) -> impl Iterator<Item = &'a Arc<Policy>> {
    let named = workload.policies.iter().filter_map(|name| policies.get(name));
    policies.of_namespace(&workload.namespace).chain(named)
}

fn first_match<'a>(
    mut policies: impl Iterator<Item = &'a Arc<Policy>>,
    action: Action,
    facts: &Facts<'_>,
) -> Option<&'a Arc<Policy>> {
    policies.find(|policy| policy.action == action && matching_rule(policy, facts).is_some())
}

fn denied(policy: Option<&Arc<Policy>>, reason: Reason) -> Verdict {
    Verdict::Denied(Denial { policy: policy.map(|policy| policy.name.clone()), reason })
}
