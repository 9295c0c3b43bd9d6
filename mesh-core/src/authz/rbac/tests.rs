use http::{HeaderMap, HeaderValue, Method};
use proptest::prelude::*;

use super::*;
use crate::authz::Reason;
use crate::path::PathTemplate;
use crate::request::{Condition, HeaderMatch, Metadata, MetadataMatch, Request, ValueMatch};
use crate::string_match::Pattern;

fn facts<'a>() -> Facts<'a> {
    Facts::new("10.0.0.1".parse().unwrap(), "10.0.0.7:80".parse().unwrap())
}

fn of_anybody(permission: Permission) -> Policy {
    Policy { permissions: vec![permission], principals: vec![Principal::Any] }
}

fn by(principal: Principal) -> Policy {
    Policy { permissions: vec![Permission::Any], principals: vec![principal] }
}

fn passes(policy: Policy, facts: &Facts<'_>) -> bool {
    let rbac = Rbac { action: Action::Allow, policies: [("p".into(), policy)].into() };
    matches!(rbac.evaluate(facts), Verdict::Allowed(_))
}

#[test]
fn an_action_says_what_a_match_means() {
    let (yes, no) = (of_anybody(Permission::Any), of_anybody(Permission::DestinationPort(1)));
    let none = || Policy::default();
    for (action, policies, allowed, policy, reason, logged) in [
        (Action::Allow, vec![], false, None, Reason::NoAllowPolicyMatches, false),
        (Action::Allow, vec![("a", no.clone())], false, None, Reason::NoAllowPolicyMatches, false),
        (Action::Allow, vec![("b", yes.clone()), ("a", no.clone())], true, Some("b"), Reason::AllowPolicy, false),
        (Action::Allow, vec![("c", yes.clone()), ("b", yes.clone())], true, Some("b"), Reason::AllowPolicy, false),
        (Action::Allow, vec![("a", none())], false, None, Reason::NoAllowPolicyMatches, false),
        (Action::Deny, vec![], true, None, Reason::NoAllowPolicy, false),
        (Action::Deny, vec![("a", no.clone())], true, None, Reason::NoAllowPolicy, false),
        (Action::Deny, vec![("b", yes.clone()), ("a", no.clone())], false, Some("b"), Reason::DenyPolicy, false),
        (Action::Log, vec![("a", yes.clone())], true, Some("a"), Reason::NoAllowPolicy, true),
        (Action::Log, vec![("a", no.clone())], true, None, Reason::NoAllowPolicy, false),
    ] {
        let policies = policies.into_iter().map(|(name, policy)| (name.into(), policy)).collect();
        let verdict = Rbac { action, policies }.evaluate(&facts());
        let seen = match &verdict {
            Verdict::Allowed(permit) => (true, permit.policy().cloned(), permit.reason(), permit.is_logged()),
            Verdict::Denied(denial) => (false, denial.policy.clone(), denial.reason, false),
        };
        assert_eq!(seen, (allowed, policy.map(Into::into), reason, logged), "{action:?}: {verdict}");
    }
}

#[test]
fn a_policy_wants_a_permission_and_a_principal() {
    let no = Permission::Not(Box::new(Permission::Any));
    let nobody = Principal::Not(Box::new(Principal::Any));
    assert!(!passes(of_anybody(no.clone()), &facts()));
    assert!(!passes(by(nobody.clone()), &facts()));
    let some = Policy { permissions: vec![no, Permission::Any], principals: vec![nobody, Principal::Any] };
    assert!(passes(some, &facts()));
}

#[test]
fn without_rules_everything_passes_and_shadows_do_not_count() {
    let closed = Rbac { action: Action::Allow, policies: [].into() };
    let filter = RbacFilter { rules: None, shadow: Some(closed.clone()), ..RbacFilter::default() };
    assert!(matches!(filter.evaluate(&facts()), Verdict::Allowed(_)));
    assert!(matches!(filter.evaluate_shadow(&facts()), Some(Verdict::Denied(_))));
    let filter = RbacFilter { rules: Some(closed), ..RbacFilter::default() };
    assert!(matches!(filter.evaluate(&facts()), Verdict::Denied(_)));
    assert_eq!(filter.evaluate_shadow(&facts()), None);
}

#[test]
fn addresses_and_ports() {
    let range = |text: &str| text.parse().unwrap();
    for (permission, yes) in [
        (Permission::DestinationIp(range("10.0.0.0/29")), true),
        (Permission::DestinationIp(range("10.0.0.0/30")), false),
        (Permission::DestinationPort(80), true),
        (Permission::DestinationPort(81), false),
        (Permission::DestinationPorts(80..81), true),
        (Permission::DestinationPorts(70..80), false),
        (Permission::DestinationPorts(1..65536), true),
    ] {
        assert_eq!(passes(of_anybody(permission.clone()), &facts()), yes, "{permission:?}");
    }
    let facts = Facts {
        direct_remote: "10.0.0.1".parse().unwrap(),
        source: "::ffff:10.0.0.2".parse().unwrap(),
        remote: "2001:db8::3".parse().unwrap(),
        ..facts()
    };
    let seen = |make: fn(ipnet::IpNet) -> Principal| {
        ["10.0.0.1/32", "10.0.0.2/32", "2001:db8::/32"].map(|text| passes(by(make(range(text))), &facts))
    };
    assert_eq!(seen(Principal::DirectRemoteIp), [true, false, false]);
    assert_eq!(seen(Principal::SourceIp), [false, true, false]);
    assert_eq!(seen(Principal::RemoteIp), [false, false, true]);
}

#[test]
fn a_peer_is_named_by_its_best_kind_of_name() {
    let texts = |names: &[&str]| names.iter().map(|name| (*name).into()).collect::<Vec<crate::name::Text>>();
    let (dns_names, uris, one) =
        (texts(&["a", "web.shop"]), texts(&["spiffe://d/b", "spiffe://d/web"]), texts(&["web.shop"]));
    let peers = [
        None,
        Some(Peer::default()),
        Some(Peer { subject: "CN=web", ..Peer::default() }),
        Some(Peer { dns_names: &dns_names, subject: "CN=web", ..Peer::default() }),
        Some(Peer { uris: &uris, dns_names: &one, subject: "CN=web" }),
    ];
    for (name, expected) in [
        (None, [false, true, true, true, true]),
        (Some(Pattern::exact("")), [false, true, false, false, false]),
        (Some(Pattern::exact("CN=web")), [false, false, true, false, false]),
        (Some(Pattern::exact("web.shop")), [false, false, false, true, false]),
        (Some(Pattern::exact("spiffe://d/web")), [false, false, false, false, true]),
    ] {
        let policy = by(Principal::Authenticated(name.clone()));
        let seen = peers.map(|peer| passes(policy.clone(), &Facts { peer, ..facts() }));
        assert_eq!(seen, expected, "{name:?}");
    }
}

#[test]
fn what_is_asked_of_a_request_does_not_hold_without_one() {
    let headers = HeaderMap::from_iter([("x-team".parse().unwrap(), HeaderValue::from_static("a"))]);
    let request = Some(Request::new(&Method::GET, "shop", "/cart?admin=1", &headers));
    let with = Facts { request, ..facts() };
    let team = |name: &str| HeaderMatch::new("x-team".parse().unwrap(), Condition::Text(Pattern::exact(name)));
    let method = HeaderMatch::new(":method".parse().unwrap(), Condition::Text(Pattern::exact("GET")));
    let absent = HeaderMatch::new("x-other".parse().unwrap(), Condition::Present(false));
    for (header, yes) in [(team("a"), true), (team("b"), false), (method, true), (absent, true)] {
        for policy in [of_anybody(Permission::Header(header.clone())), by(Principal::Header(header.clone()))] {
            assert_eq!(passes(policy.clone(), &with), yes, "{header:?}");
            assert!(!passes(policy, &facts()), "{header:?} without a request");
        }
    }
    for (pattern, yes) in [("/cart", true), ("/cart?admin=1", false), ("/", false)] {
        for policy in
            [of_anybody(Permission::Path(Pattern::exact(pattern))), by(Principal::Path(Pattern::exact(pattern)))]
        {
            assert_eq!(passes(policy.clone(), &with), yes, "{pattern}");
            assert!(!passes(policy, &facts()), "{pattern} without a request");
        }
    }
}

#[test]
fn claims_templates_and_the_peer_of_a_tunnel() {
    let headers = HeaderMap::new();
    let mut metadata = Metadata::default();
    metadata.set("jwt", "sub", serde_json::json!("alice"));
    let uris = ["spiffe://d/web".into(), "spiffe://d/second".into()];
    let with = Facts {
        peer: Some(Peer { uris: &uris, ..Peer::default() }),
        request: Some(Request::new(&Method::GET, "shop", "/a/b?c", &headers)),
        metadata: Some(&metadata),
        ..facts()
    };
    let nameless = Facts { peer: Some(Peer::default()), ..facts() };
    let sub = |name| MetadataMatch::new("jwt", vec!["sub".into()], ValueMatch::Text(Pattern::exact(name)));
    let not = |matcher| MetadataMatch { invert: true, ..matcher };
    for (matcher, seen) in [
        (sub("alice"), [true, false]),
        (sub("bob"), [false, false]),
        (not(sub("alice")), [false, true]),
        (not(sub("bob")), [true, true]),
    ] {
        for policy in [of_anybody(Permission::Metadata(matcher.clone())), by(Principal::Metadata(matcher.clone()))] {
            assert_eq!([&with, &nameless].map(|facts| passes(policy.clone(), facts)), seen, "{matcher}");
        }
    }
    for (name, seen) in [("spiffe://d/web", [true, false]), ("spiffe://d/second", [false, false]), ("", [false, false])]
    {
        let policy = by(Principal::PeerPrincipal(Pattern::exact(name)));
        assert_eq!([&with, &nameless].map(|facts| passes(policy.clone(), facts)), seen, "{name}");
    }
    for (template, seen) in [("/a/*", [true, false]), ("/*", [false, false]), ("/**", [true, false])] {
        let policy = of_anybody(Permission::PathTemplate(PathTemplate::new(template).unwrap()));
        assert_eq!([&with, &nameless].map(|facts| passes(policy.clone(), facts)), seen, "{template}");
    }
}

#[test]
fn a_server_name_that_is_not_there_is_empty() {
    let policy = |pattern| of_anybody(Permission::ServerName(pattern));
    let with = Facts { server_name: Some("shop.example"), ..facts() };
    assert!(passes(policy(Pattern::exact("shop.example")), &with));
    assert!(!passes(policy(Pattern::exact("shop.example")), &facts()));
    assert!(passes(policy(Pattern::exact("")), &facts()) && !passes(policy(Pattern::exact("")), &with));
}

/// A tree of conditions on the port, and what it should say.
fn tree() -> impl Strategy<Value = (Permission, bool)> {
    let leaf = prop_oneof![
        Just((Permission::Any, true)),
        Just((Permission::DestinationPort(80), true)),
        Just((Permission::DestinationPort(1), false)),
    ];
    leaf.prop_recursive(4, 24, 3, |inner| {
        let list = proptest::collection::vec(inner.clone(), 1..3);
        let split = |list: Vec<(Permission, bool)>| list.into_iter().unzip::<_, _, Vec<_>, Vec<_>>();
        prop_oneof![
            inner.prop_map(|(tree, said)| (Permission::Not(Box::new(tree)), !said)),
            list.clone().prop_map(move |list| {
                let (trees, said) = split(list);
                (Permission::And(trees), !said.contains(&false))
            }),
            list.prop_map(move |list| {
                let (trees, said) = split(list);
                (Permission::Or(trees), said.contains(&true))
            }),
        ]
    })
}

/// The same tree as one of principals: any port is the client 10.0.0.1, any other the client 10.9.9.9.
fn principal(tree: &Permission) -> Principal {
    let all = |list: &[Permission]| list.iter().map(principal).collect();
    match tree {
        Permission::Any => Principal::Any,
        Permission::And(list) => Principal::And(all(list)),
        Permission::Or(list) => Principal::Or(all(list)),
        Permission::Not(tree) => Principal::Not(Box::new(principal(tree))),
        Permission::DestinationPort(80) => Principal::RemoteIp("10.0.0.1/32".parse().unwrap()),
        _ => Principal::RemoteIp("10.9.9.9/32".parse().unwrap()),
    }
}

/// Policies of conditions that an index could be made of, and some more.
fn indexable() -> impl Strategy<Value = Policy> {
    use proptest::collection::vec;
    let path = proptest::sample::select(vec!["/", "/a", "/a/", "/a/b", "/ab", "/ab/"]);
    let template = proptest::sample::select(vec!["/a/*", "/a/**", "/*/b", "/a*"]);
    let permission = prop_oneof![
        path.clone().prop_map(|path| Permission::Path(Pattern::exact(path))),
        path.prop_map(|path| Permission::Path(Pattern::prefix(path))),
        template
            .prop_filter_map("no template", |source| PathTemplate::new(source).ok())
            .prop_map(Permission::PathTemplate),
        Just(Permission::DestinationPort(80)),
        Just(Permission::DestinationPort(1)),
        Just(Permission::Any),
    ];
    let permission = permission.prop_recursive(2, 6, 2, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..3).prop_map(Permission::And),
            vec(inner.clone(), 0..3).prop_map(Permission::Or),
            inner.prop_map(|inner| Permission::Not(Box::new(inner))),
        ]
    });
    let peer = proptest::sample::select(vec!["p", "q"]);
    let principal = prop_oneof![
        peer.clone().prop_map(|peer| Principal::PeerPrincipal(Pattern::exact(peer))),
        peer.clone().prop_map(|peer| Principal::PeerPrincipal(Pattern::Exact {
            text: peer.to_uppercase().into(),
            ignore_case: true
        })),
        peer.prop_map(|peer| Principal::PeerPrincipal(Pattern::prefix(peer))),
        Just(Principal::Any),
    ];
    let principal = principal.prop_recursive(2, 6, 2, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..3).prop_map(Principal::And),
            vec(inner.clone(), 0..3).prop_map(Principal::Or),
            inner.prop_map(|inner| Principal::Not(Box::new(inner))),
        ]
    });
    (vec(permission, 0..3), vec(principal, 0..3))
        .prop_map(|(permissions, principals)| Policy { permissions, principals })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    #[test]
    fn an_index_changes_nothing(
        policies in proptest::collection::vec(indexable(), 0..6),
        peer in proptest::option::of("[pqr]"),
        path in "(|/|/a|/a/|/a/b|/ab|/abc/b|/b/b)",
    ) {
        let policies = (0..).zip(policies).map(|(at, policy)| (format!("{at}").into(), policy)).collect();
        let rbac = Rbac { action: Action::Deny, policies };
        let headers = HeaderMap::new();
        let uris: Vec<crate::name::Text> = peer.iter().map(|peer| peer.as_str().into()).collect();
        let facts = Facts {
            peer: peer.as_ref().map(|_| Peer { uris: &uris, ..Peer::default() }),
            request: Some(Request::new(&Method::GET, "shop", &path, &headers)),
            ..facts()
        };
        let rules = Rules::new(rbac.clone());
        prop_assert_eq!(rules.evaluate(&facts), rbac.evaluate(&facts));
        let bare = Facts { request: None, peer: None, ..facts };
        prop_assert_eq!(rules.evaluate(&bare), rbac.evaluate(&bare));
        let explained = rbac.explain(&facts);
        let matching = explained.considered.iter().find(|considered| considered.outcome == Outcome::Matches);
        let named = match explained.verdict {
            Verdict::Denied(denial) => denial.policy,
            Verdict::Allowed(_) => None,
        };
        prop_assert_eq!(matching.map(|considered| considered.policy.clone()), named);
    }
}

proptest! {
    #[test]
    fn trees_are_logic((tree, said) in tree()) {
        prop_assert_eq!(passes(by(principal(&tree)), &facts()), said);
        prop_assert_eq!(passes(of_anybody(tree), &facts()), said);
    }
}
