use std::net::IpAddr;

use proptest::prelude::*;

use super::*;
use crate::name::{NamespacedName, SpiffeId, parse_spiffe_id, parse_trust_domain};
use crate::string_match::StringMatch;
use crate::workload::Workload;

fn name(text: &str) -> NamespacedName {
    text.parse().unwrap()
}

fn on(entry: Match) -> Vec<Rule> {
    vec![Rule { clauses: vec![Clause { matches: vec![entry] }] }]
}

fn policy(text: &str, action: Action, rules: Vec<Rule>) -> Policy {
    Policy::new(name(text), Scope::Namespace, action, rules)
}

fn set(policies: Vec<Policy>) -> PolicySet {
    let mut delta = PolicyDelta::new();
    policies.into_iter().for_each(|policy| delta.upsert(policy));
    PolicySet::default().apply(delta)
}

fn workload() -> Workload {
    Workload::new("c1//Pod/shop/web", parse_trust_domain("cluster.local").unwrap(), "shop", "web").unwrap()
}

fn ask(policies: &PolicySet, workload: &Workload, peer: Option<&str>) -> String {
    let peer = peer.map(|id| parse_spiffe_id(id).unwrap());
    evaluate(policies, workload, &connection(peer.as_ref())).to_string()
}

fn connection(peer: Option<&SpiffeId>) -> Connection<'_> {
    Connection { peer, source: "10.0.0.1".parse().unwrap(), destination: "10.0.0.7:8080".parse().unwrap() }
}

fn principal(pattern: &str) -> Match {
    Match { principals: vec![StringMatch::parse(pattern)], ..Match::default() }
}

const WEB: &str = "spiffe://cluster.local/ns/shop/sa/web";
const BATCH: &str = "spiffe://cluster.local/ns/jobs/sa/batch";

#[test]
fn deny_before_allow_and_names_the_policy() {
    let policies = set(vec![
        policy("shop/allow-all", Action::Allow, vec![Rule::default()]),
        policy("shop/no-batch", Action::Deny, on(principal("cluster.local/ns/jobs/sa/batch"))),
    ]);
    assert_eq!(ask(&policies, &workload(), Some(WEB)), "allowed: an allow policy matches (shop/allow-all)");
    assert_eq!(ask(&policies, &workload(), Some(BATCH)), "denied: a deny policy matches (shop/no-batch)");
}

#[test]
fn allow_policies_restrict_and_none_means_open() {
    let workload = workload();
    assert_eq!(ask(&PolicySet::default(), &workload, None), "allowed: no allow policy applies");
    let deny_all = set(vec![policy("shop/nobody", Action::Allow, vec![])]);
    assert_eq!(ask(&deny_all, &workload, Some(WEB)), "denied: allow policies apply and none of them matches");
    let other_namespace = set(vec![policy("other/nobody", Action::Allow, vec![])]);
    assert_eq!(ask(&other_namespace, &workload, Some(WEB)), "allowed: no allow policy applies");
}

#[test]
fn scopes() {
    let scoped = |scope| {
        let mut policy = policy("root/deny", Action::Deny, vec![Rule::default()]);
        policy.scope = scope;
        set(vec![policy])
    };
    let mut selected = workload();
    selected.policies = vec![name("root/deny")];
    let denied = |policies: &PolicySet, workload: &Workload| ask(policies, workload, None).starts_with("denied");
    assert!(denied(&scoped(Scope::Global), &workload()));
    assert!(!denied(&scoped(Scope::Namespace), &workload()));
    assert!(!denied(&scoped(Scope::WorkloadSelector), &workload()));
    assert!(denied(&scoped(Scope::WorkloadSelector), &selected));
}

#[test]
fn a_named_policy_that_is_not_known_refuses() {
    let mut selected = workload();
    selected.policies = vec![name("shop/strict")];
    assert_eq!(
        ask(&PolicySet::default(), &selected, Some(WEB)),
        "denied: the workload names a policy that is not known (shop/strict)"
    );
}

#[test]
fn strict_mutual_tls_is_a_deny_of_absent_principals() {
    let absent = Match { not_principals: vec![StringMatch::Present], ..Match::default() };
    let policies = set(vec![policy("shop/strict", Action::Deny, on(absent))]);
    assert!(ask(&policies, &workload(), None).starts_with("denied"));
    assert!(ask(&policies, &workload(), Some(WEB)).starts_with("allowed"));
}

#[test]
fn every_field_both_ways() {
    let account = |namespace: &str, name: &str| ServiceAccountMatch { namespace: namespace.into(), name: name.into() };
    let net = |text: &str| vec![text.parse().unwrap()];
    let text = |text: &str| vec![StringMatch::parse(text)];
    let table: Vec<(&str, Match, bool, bool)> = vec![
        // field, match, verdict for WEB, verdict without identity
        ("namespaces", Match { namespaces: text("shop"), ..Match::default() }, true, false),
        ("namespaces other", Match { namespaces: text("jobs"), ..Match::default() }, false, false),
        ("not_namespaces", Match { not_namespaces: text("shop"), ..Match::default() }, false, true),
        ("principals", principal("cluster.local/ns/shop/sa/web"), true, false),
        ("principals with scheme", principal(WEB), false, false),
        ("principals prefix", principal("cluster.local/ns/sh*"), true, false),
        ("principals suffix", principal("*/sa/web"), true, false),
        ("principals across the boundary", principal("*local/ns/shop/sa/web"), true, false),
        ("principals case", principal("cluster.local/ns/shop/sa/WEB"), false, false),
        ("not_principals", Match { not_principals: text("*"), ..Match::default() }, false, true),
        ("source_ips", Match { source_ips: net("10.0.0.0/24"), ..Match::default() }, true, true),
        ("source_ips other", Match { source_ips: net("10.0.1.0/24"), ..Match::default() }, false, false),
        ("source_ips v6", Match { source_ips: net("::/0"), ..Match::default() }, false, false),
        ("not_source_ips", Match { not_source_ips: net("10.0.0.1/32"), ..Match::default() }, false, false),
        ("destination_ips", Match { destination_ips: net("10.0.0.7/32"), ..Match::default() }, true, true),
        ("not_destination_ips", Match { not_destination_ips: net("10.0.0.8/32"), ..Match::default() }, true, true),
        ("destination_ports", Match { destination_ports: vec![1, 8080], ..Match::default() }, true, true),
        ("not_destination_ports", Match { not_destination_ports: vec![8080], ..Match::default() }, false, false),
        ("service_accounts", Match { service_accounts: vec![account("shop", "web")], ..Match::default() }, true, false),
        (
            "service_accounts ns",
            Match { service_accounts: vec![account("x", "web")], ..Match::default() },
            false,
            false,
        ),
        (
            "not_service_accounts",
            Match { not_service_accounts: vec![account("shop", "web")], ..Match::default() },
            false,
            true,
        ),
        ("empty match", Match::default(), false, false),
        (
            "and of fields",
            Match { namespaces: text("shop"), destination_ports: vec![1], ..Match::default() },
            false,
            false,
        ),
        (
            "positive and negative of one field",
            Match { principals: text("*"), not_principals: text("*/sa/web"), ..Match::default() },
            false,
            false,
        ),
    ];
    for (field, entry, with, without) in table {
        let policies = set(vec![policy("shop/p", Action::Deny, on(entry))]);
        let denied = |peer| ask(&policies, &workload(), peer).starts_with("denied");
        assert_eq!((denied(Some(WEB)), denied(None)), (with, without), "{field}");
    }
}

#[test]
fn mapped_addresses_match_as_what_they_are() {
    let entry = Match { source_ips: vec!["10.0.0.0/8".parse().unwrap()], ..Match::default() };
    let policies = set(vec![policy("shop/p", Action::Deny, on(entry))]);
    let mut mapped = connection(None);
    mapped.source = "::ffff:10.0.0.1".parse::<IpAddr>().unwrap();
    assert!(matches!(evaluate(&policies, &workload(), &mapped), Verdict::Denied(_)));
}

#[test]
fn nesting_and_its_edges() {
    let clause = |matches: Vec<Match>| Clause { matches };
    let (yes, no) = (|| principal("*"), || principal("nobody"));
    for (case, rules, want) in [
        ("no rules", vec![], false),
        ("rule without clauses", vec![Rule::default()], true),
        ("clause without matches", vec![Rule { clauses: vec![clause(vec![])] }], true),
        (
            "or of rules",
            vec![Rule { clauses: vec![clause(vec![no()])] }, Rule { clauses: vec![clause(vec![yes()])] }],
            true,
        ),
        ("and of clauses", vec![Rule { clauses: vec![clause(vec![yes()]), clause(vec![no()])] }], false),
        ("or of matches", vec![Rule { clauses: vec![clause(vec![no(), yes()])] }], true),
    ] {
        let policies = set(vec![policy("shop/p", Action::Deny, rules)]);
        assert_eq!(ask(&policies, &workload(), Some(WEB)).starts_with("denied"), want, "{case}");
    }
}

#[test]
fn dry_run_is_reported_and_never_enforced() {
    let mut shadow = policy("shop/shadow", Action::Deny, vec![Rule::default()]);
    shadow.dry_run = true;
    let policies = set(vec![shadow.clone()]);
    assert_eq!(ask(&policies, &workload(), Some(WEB)), "allowed: no allow policy applies");
    let would = evaluate_dry_run(&policies, &workload(), &connection(None)).unwrap();
    assert_eq!(would.policy, Some(name("shop/shadow")));

    shadow.action = Action::Allow;
    shadow.rules = vec![];
    let policies = set(vec![shadow]);
    assert!(ask(&policies, &workload(), Some(WEB)).starts_with("allowed"));
    assert_eq!(
        evaluate_dry_run(&policies, &workload(), &connection(None)).map(|denial| denial.reason),
        Some(Reason::NoAllowPolicyMatches)
    );
    assert_eq!(evaluate_dry_run(&set(vec![]), &workload(), &connection(None)), None);
}

#[test]
fn explanation_lists_what_was_considered() {
    let policies = set(vec![
        policy("shop/a-allow", Action::Allow, vec![Rule::default()]),
        policy("shop/z-deny", Action::Deny, on(principal("nobody"))),
        policy("other/deny", Action::Deny, vec![Rule::default()]),
    ]);
    let mut workload = workload();
    workload.policies = vec![name("shop/gone"), name("shop/z-deny")];
    let explanation = explain(&policies, &workload, &connection(None));
    let names: Vec<_> = explanation.considered.iter().map(|c| (c.policy.to_string(), c.matching_rule)).collect();
    assert_eq!(names, [("shop/z-deny".to_owned(), None), ("shop/a-allow".to_owned(), Some(0))]);
    assert_eq!(explanation.missing, [name("shop/gone")]);
    assert!(matches!(explanation.verdict, Verdict::Denied(Denial { reason: Reason::PolicyMissing, .. })));
}

#[test]
fn reasons_are_distinct_words() {
    let words: std::collections::BTreeSet<_> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
    assert_eq!(words.len(), Reason::ALL.len());
}

fn any_policy() -> impl Strategy<Value = Policy> {
    let scope = prop_oneof![Just(Scope::Global), Just(Scope::Namespace), Just(Scope::WorkloadSelector)];
    let action = prop_oneof![Just(Action::Allow), Just(Action::Deny)];
    let ports = proptest::collection::vec(0_u16..3, 0..3);
    let rules = proptest::collection::vec(ports, 0..3).prop_map(|rules| {
        rules.into_iter().flat_map(|ports| on(Match { destination_ports: ports, ..Match::default() })).collect()
    });
    ("(shop|jobs)/[ab]", scope, action, rules, any::<bool>()).prop_map(|(key, scope, action, rules, dry_run)| {
        let mut policy = Policy::new(name(&key), scope, action, rules);
        policy.dry_run = dry_run;
        policy
    })
}

proptest! {
    /// The indexed evaluation equals the definition read off the page, after any sequence of updates and removals.
    #[test]
    fn equals_the_plain_definition(
        updates in proptest::collection::vec((any_policy(), any::<bool>()), 0..10),
        port in 0_u16..3,
        selected in proptest::collection::vec("(shop|jobs)/[ab]", 0..2),
    ) {
        let mut policies = PolicySet::default();
        let mut model: std::collections::BTreeMap<NamespacedName, Policy> = std::collections::BTreeMap::new();
        for (policy, remove) in updates {
            let mut delta = PolicyDelta::new();
            if remove {
                model.remove(&policy.name);
                delta.remove(policy.name);
            } else {
                model.insert(policy.name.clone(), policy.clone());
                delta.upsert(policy);
            }
            policies = policies.apply(delta);
        }
        let mut workload = workload();
        workload.policies = selected.iter().map(|text| name(text)).collect();
        let mut asked = connection(None);
        asked.destination.set_port(port);

        let applies = |policy: &&Policy| !policy.dry_run && (policy.scope == Scope::Global
            || (policy.scope == Scope::Namespace && policy.name.namespace == workload.namespace)
            || workload.policies.contains(&policy.name));
        let matches = |policy: &Policy| policy.rules.iter().any(|rule| rule.clauses.iter().all(|clause| {
            clause.matches.iter().any(|entry| !entry.is_empty() && entry.destination_ports.contains(&port))
        }));
        let of = |action| model.values().filter(applies).filter(move |policy| policy.action == action);
        let denied = of(Action::Deny).any(matches)
            || workload.policies.iter().any(|name| !model.contains_key(name))
            || (of(Action::Allow).next().is_some() && !of(Action::Allow).any(matches));
        let verdict = evaluate(&policies, &workload, &asked);
        prop_assert_eq!(matches!(verdict, Verdict::Denied(_)), denied, "{}", verdict);
        prop_assert_eq!(explain(&policies, &workload, &asked).verdict, verdict);
    }
}
