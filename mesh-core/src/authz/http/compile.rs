use std::collections::{BTreeMap, BTreeSet};

use super::condition::Lenience;
use super::policy::{AuthorizationPolicy, PolicyAction};
use super::problem::{Effect, Problem, Unusable};
use super::rule::Place;
use crate::authz::rbac::{Action, Permission, Policy, Principal, Rbac, RbacFilter};
use crate::name::Text;
use crate::request::{MetadataMatch, ValueMatch};
use crate::string_match::Pattern;

/// What policies refer to without saying it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mesh {
    /// The names of the mesh's trust domain: its own first, then its aliases. A principal of one of them is meant under each;
    /// `cluster.local` means them too.
    pub trust_domains: Vec<Text>,
    /// The external authorizers that are there. What would be put to another is denied.
    pub authorizers: BTreeSet<Text>,
}

/// Policies as Envoy's filters of access control. Requests pass them in the order of the fields.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Compiled {
    /// What external authorizers are asked about, one entry for each of them, by name.
    pub custom: Vec<Custom>,
    /// What is logged.
    pub audit: Option<RbacFilter>,
    /// What may not pass.
    pub deny: Option<RbacFilter>,
    /// What may; `None` without a policy that allows.
    pub allow: Option<RbacFilter>,
    /// What could not be understood.
    pub problems: Vec<Problem>,
}

/// What an external authorizer is asked about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Custom {
    /// Its name.
    pub authorizer: Text,
    /// The rules that a request passes before it comes to the authorizer. They only note what they say, unless the authorizer
    /// is not there: then they deny.
    pub filter: RbacFilter,
    /// Whether the authorizer is asked about a request that has passed the rules: Envoy's `filter_enabled_metadata`. `None` if
    /// the authorizer is not there.
    pub asked: Option<MetadataMatch>,
}

impl Compiled {
    /// All filters in the order in which requests pass them, without the authorizers, each of which comes behind its own.
    pub fn filters(&self) -> impl Iterator<Item = &RbacFilter> {
        let custom = self.custom.iter().map(|custom| &custom.filter);
        custom.chain(&self.audit).chain(&self.deny).chain(&self.allow)
    }
}

/// The filter that says whether an authorizer is asked, in metadata.
const FILTER: &str = "envoy.filters.http.rbac";
/// Beginning of what that filter says there.
const AUTHORIZER_PREFIX: &str = "istio_ext_authz_";

/// Compiles the policies that apply to some requests. Their order does not matter, and each has a name of its own; if two have
/// the same, both count.
#[must_use]
pub fn compile(policies: &[AuthorizationPolicy], mesh: &Mesh) -> Compiled {
    let mut problems = Vec::new();
    let mut filter = |action, prefix: &str, applies: fn(&PolicyAction) -> bool| {
        let mut rules = RuleSet::new(action);
        for policy in policies.iter().filter(|policy| applies(&policy.action)) {
            rules.add(policy, "", mesh, &mut problems);
        }
        rules.finish(prefix)
    };
    let audit = filter(Action::Log, "", |action| *action == PolicyAction::Audit);
    let deny = filter(Action::Deny, "istio_dry_run_deny_", |action| *action == PolicyAction::Deny);
    let allow = filter(Action::Allow, "istio_dry_run_allow_", |action| *action == PolicyAction::Allow);
    let custom = custom(policies, mesh, &mut problems);
    problems.sort_by(|a, b| (&a.policy, &a.field).cmp(&(&b.policy, &b.field)));
    Compiled { custom, audit, deny, allow, problems }
}

fn custom(policies: &[AuthorizationPolicy], mesh: &Mesh, problems: &mut Vec<Problem>) -> Vec<Custom> {
    let mut authorizers: BTreeMap<&Text, RuleSet> = BTreeMap::new();
    for policy in policies {
        let PolicyAction::Custom(authorizer) = &policy.action else { continue };
        let rules = authorizers.entry(authorizer).or_insert_with(|| RuleSet::new(Action::Deny));
        rules.add(policy, &policy_prefix(authorizer), mesh, problems);
        if !policy.dry_run && !mesh.authorizers.contains(authorizer) {
            problems.push(Problem {
                policy: policy.name.clone(),
                field: "provider.name".to_owned(),
                reason: Unusable::Provider(authorizer.to_string()),
                effect: Effect::Denies,
            });
        }
    }
    let known = |authorizer: &Text, rules: RuleSet| {
        // Only noted, so that the authorizer decides.
        let filter = RbacFilter { rules: None, shadow: rules.enforced, shadow_prefix: AUTHORIZER_PREFIX.into() };
        let key = format!("{AUTHORIZER_PREFIX}shadow_effective_policy_id");
        // With the bracket, so that no authorizer takes another's for its own.
        let mine = Pattern::prefix(&format!("{}ns[", policy_prefix(authorizer)));
        let asked = MetadataMatch::new(FILTER, vec![key.into()], ValueMatch::Text(mine));
        Custom { authorizer: authorizer.clone(), filter, asked: Some(asked) }
    };
    let unknown = |authorizer: &Text, rules: RuleSet| {
        let filter = RbacFilter { rules: rules.enforced, ..RbacFilter::default() };
        Custom { authorizer: authorizer.clone(), filter, asked: None }
    };
    let one = |(authorizer, rules): (&Text, RuleSet)| match mesh.authorizers.contains(authorizer) {
        true => known(authorizer, rules),
        false => unknown(authorizer, rules),
    };
    // A policy in dry run has nobody asked.
    authorizers.into_iter().filter(|(_, rules)| rules.enforced.is_some()).map(one).collect()
}

fn policy_prefix(authorizer: &Text) -> String {
    format!("istio-ext-authz-{authorizer}-")
}

/// The rules of the policies of one action.
struct RuleSet {
    action: Action,
    enforced: Option<Rbac>,
    shadow: Option<Rbac>,
}

impl RuleSet {
    fn new(action: Action) -> Self {
        Self { action, enforced: None, shadow: None }
    }

    fn add(&mut self, policy: &AuthorizationPolicy, prefix: &str, mesh: &Mesh, problems: &mut Vec<Problem>) {
        let Self { action, enforced, shadow } = self;
        let rbac = if policy.dry_run { shadow } else { enforced };
        // From here on there are rules, even if none of them can be used: an ALLOW policy denies what it does not match.
        let rbac = rbac.get_or_insert_with(|| Rbac { action: *action, policies: BTreeMap::new() });
        let name = |at: usize| -> Text {
            let namespaced = &policy.name;
            format!("{prefix}ns[{}]-policy[{}]-rule[{at}]", namespaced.namespace, namespaced.name).into()
        };
        if policy.rules.is_empty() {
            insert(rbac, name(0), never());
        }
        let (lenience, effect) = match action {
            Action::Allow => (Lenience::Drop, Effect::RuleDropped),
            Action::Deny | Action::Log => (Lenience::Widen, Effect::RuleWidened),
        };
        let place = Place { namespace: &policy.name.namespace, trust_domains: &mesh.trust_domains, lenience };
        for (at, rule) in policy.rules.iter().enumerate() {
            let mut refuse = |field, reason| {
                let field = format!("rules[{at}].{field}");
                problems.push(Problem { policy: policy.name.clone(), field, reason, effect });
            };
            if let Ok(compiled) = place.compile(rule, &mut refuse) {
                insert(rbac, name(at), compiled);
            }
        }
    }

    fn finish(self, prefix: &str) -> Option<RbacFilter> {
        let Self { enforced: rules, shadow, .. } = self;
        let shadow_prefix = if shadow.is_some() { prefix.into() } else { Text::default() };
        (rules.is_some() || shadow.is_some()).then_some(RbacFilter { rules, shadow, shadow_prefix })
    }
}

/// Adds a policy. One of the same name stays: nothing that denies gets lost.
fn insert(rbac: &mut Rbac, name: Text, policy: Policy) {
    let mut free = name;
    while rbac.policies.contains_key(&free) {
        free = format!("{free}+").into();
    }
    rbac.policies.insert(free, policy);
}

/// A policy without rules.
fn never() -> Policy {
    Policy {
        permissions: vec![Permission::Not(Box::new(Permission::Any))],
        principals: vec![Principal::Not(Box::new(Principal::Any))],
    }
}
