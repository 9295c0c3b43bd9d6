use std::collections::HashMap;

use super::evaluate::{unrestricted, verdict};
use super::facts::{Facts, Peer};
use super::policy::{Action, Permission, Policy, Principal, Rbac, RbacFilter};
use super::verdict::Verdict;
use crate::name::Text;
use crate::string_match::Pattern;

/// An [`Rbac`] that is asked often: what a policy needs at least of its peer, or else of the path, is looked up, so that among
/// many policies only those are evaluated that could match. It gives the verdicts that the [`Rbac`] gives.
#[derive(Debug, Clone)]
pub struct Rules {
    rbac: Rbac,
    /// The policies, in the order of their names.
    policies: Vec<(Text, Policy)>,
    /// Those that want one of some peers.
    by_peer: HashMap<Text, Vec<u32>>,
    /// Those that want the path to have one of some first segments.
    by_segment: HashMap<Text, Vec<u32>>,
    /// All others.
    others: Vec<u32>,
}

impl Rules {
    /// Indexes policies.
    #[must_use]
    pub fn new(rbac: Rbac) -> Self {
        let policies: Vec<_> = rbac.policies.iter().map(|(name, policy)| (name.clone(), policy.clone())).collect();
        let (mut by_peer, mut by_segment) = (HashMap::<Text, Vec<u32>>::new(), HashMap::<Text, Vec<u32>>::new());
        let mut others = Vec::new();
        for (at, (_, policy)) in (0..).zip(&policies) {
            let (keys, index) = match (any_of(&policy.principals, peers), any_of(&policy.permissions, segments)) {
                (Some(keys), _) => (keys, &mut by_peer),
                (None, Some(keys)) => (keys, &mut by_segment),
                (None, None) => {
                    others.push(at);
                    continue;
                }
            };
            for key in keys {
                let known = index.entry(key).or_default();
                if known.last() != Some(&at) {
                    known.push(at);
                }
            }
        }
        Self { rbac, policies, by_peer, by_segment, others }
    }

    /// What was indexed.
    #[must_use]
    pub fn rbac(&self) -> &Rbac {
        &self.rbac
    }

    /// As [`Rbac::evaluate`]. Does not allocate.
    pub fn evaluate(&self, facts: &Facts<'_>) -> Verdict {
        verdict(self.rbac.action, self.matching(facts).cloned())
    }

    /// The first policy that matches, by name.
    fn matching(&self, facts: &Facts<'_>) -> Option<&Text> {
        let of = |index: &HashMap<Text, Vec<u32>>, key: Option<&str>| -> Option<u32> {
            self.first(index.get(key?)?, u32::MAX, facts)
        };
        let mut first = of(&self.by_peer, facts.peer.as_ref().and_then(Peer::principal));
        let segment = of(&self.by_segment, facts.path().and_then(first_segment));
        first = first.into_iter().chain(segment).min();
        let other = self.first(&self.others, first.unwrap_or(u32::MAX), facts);
        let first = other.or(first)?;
        self.policies.get(first as usize).map(|(name, _)| name)
    }

    /// The first of some policies that matches and comes before another.
    fn first(&self, candidates: &[u32], before: u32, facts: &Facts<'_>) -> Option<u32> {
        let candidates = candidates.iter().copied().take_while(|at| *at < before);
        let mut matching =
            candidates.filter(|at| self.policies.get(*at as usize).is_some_and(|(_, policy)| policy.is_match(facts)));
        matching.next()
    }
}

impl PartialEq for Rules {
    fn eq(&self, other: &Self) -> bool {
        self.rbac == other.rbac
    }
}

impl Eq for Rules {}

/// An [`RbacFilter`] that is asked often; see [`Rules`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FilterRules {
    rules: Option<Rules>,
    shadow: Option<Rules>,
    shadow_prefix: Text,
}

impl FilterRules {
    /// Indexes rules.
    #[must_use]
    pub fn new(RbacFilter { rules, shadow, shadow_prefix }: RbacFilter) -> Self {
        Self { rules: rules.map(Rules::new), shadow: shadow.map(Rules::new), shadow_prefix }
    }

    /// As [`RbacFilter::evaluate`]. Does not allocate.
    pub fn evaluate(&self, facts: &Facts<'_>) -> Verdict {
        self.rules.as_ref().map_or_else(unrestricted, |rules| rules.evaluate(facts))
    }

    /// As [`RbacFilter::evaluate_shadow`]. Does not allocate.
    #[must_use]
    pub fn evaluate_shadow(&self, facts: &Facts<'_>) -> Option<Verdict> {
        self.shadow.as_ref().map(|shadow| shadow.evaluate(facts))
    }

    /// What was indexed.
    #[must_use]
    pub fn to_filter(&self) -> RbacFilter {
        let of = |rules: &Option<Rules>| rules.as_ref().map(|rules| rules.rbac().clone());
        RbacFilter { rules: of(&self.rules), shadow: of(&self.shadow), shadow_prefix: self.shadow_prefix.clone() }
    }

    /// The rules that are enforced.
    #[must_use]
    pub fn rules(&self) -> Option<&Rbac> {
        self.rules.as_ref().map(Rules::rbac)
    }

    /// The rules that are only reported.
    #[must_use]
    pub fn shadow(&self) -> Option<&Rbac> {
        self.shadow.as_ref().map(Rules::rbac)
    }

    /// As [`RbacFilter::shadow_prefix`].
    #[must_use]
    pub fn shadow_prefix(&self) -> &Text {
        &self.shadow_prefix
    }

    /// As [`RbacFilter::logs`].
    #[must_use]
    pub fn logs(&self) -> bool {
        self.rules().is_some_and(|rules| rules.action == Action::Log)
    }
}

/// The keys of which one is needed for any of the conditions to hold; `None` if some condition needs none.
fn any_of<T>(conditions: &[T], keys: fn(&T) -> Option<Vec<Text>>) -> Option<Vec<Text>> {
    let keys: Option<Vec<Vec<Text>>> = conditions.iter().map(keys).collect();
    keys.map(|keys| keys.concat())
}

/// The peers of which the condition wants one.
fn peers(principal: &Principal) -> Option<Vec<Text>> {
    match principal {
        Principal::PeerPrincipal(Pattern::Exact { text, ignore_case: false }) => Some(vec![text.clone()]),
        Principal::And(all) => all.iter().find_map(peers),
        Principal::Or(some) => any_of(some, peers),
        _ => None,
    }
}

/// The first segments of paths of which the condition wants one.
fn segments(permission: &Permission) -> Option<Vec<Text>> {
    match permission {
        Permission::Path(Pattern::Exact { text, ignore_case: false }) => {
            Some(vec![first_segment(text.as_str())?.into()])
        }
        Permission::Path(Pattern::Prefix { text, ignore_case: false }) => whole_first_segment(text.as_str()),
        Permission::PathTemplate(template) => whole_first_segment(template.literal_prefix()),
        Permission::And(all) => all.iter().find_map(segments),
        Permission::Or(some) => any_of(some, segments),
        _ => None,
    }
}

/// The first segment of a path; `None` of what is none.
fn first_segment(path: &str) -> Option<&str> {
    path.strip_prefix('/')?.split('/').next()
}

/// The first segment of every path that begins so, if they have the same.
fn whole_first_segment(beginning: &str) -> Option<Vec<Text>> {
    let (segment, _) = beginning.strip_prefix('/')?.split_once('/')?;
    Some(vec![segment.into()])
}
