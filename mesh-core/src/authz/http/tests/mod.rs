#![allow(clippy::unwrap_used, reason = "tests")]

mod plain;

use http::{HeaderMap, HeaderValue, Method};
use serde_json::{Value, json};

use super::*;
use crate::authz::rbac::{
    Action, Facts, FilterRules, Outcome, Peer, Permission, Policy, Principal, Rbac, RbacFilter, Verdict,
};
use crate::name::Text;
use crate::request::{Metadata, Request};
use crate::string_match::{Pattern, Regex};

/// A request and where it comes from.
struct World {
    peer: Option<Text>,
    method: Method,
    host: &'static str,
    target: &'static str,
    headers: HeaderMap,
    claims: Value,
    remote: &'static str,
    port: u16,
}

impl World {
    fn new() -> Self {
        Self {
            peer: Some("spiffe://cluster.local/ns/shop/sa/web".into()),
            method: Method::GET,
            host: "shop.example",
            target: "/cart",
            headers: HeaderMap::new(),
            claims: Value::Null,
            remote: "198.51.100.7",
            port: 8080,
        }
    }

    fn with<T>(&self, then: impl FnOnce(&Facts<'_>) -> T) -> T {
        let mut metadata = Metadata::default();
        if !self.claims.is_null() {
            metadata.set("envoy.filters.http.jwt_authn", "payload", self.claims.clone());
        }
        metadata.set("envoy.filters.http.other", "kind", json!("a"));
        metadata.set("envoy.filters.http.other", "kinds", json!(["a", "b"]));
        let uris: Vec<Text> = self.peer.iter().cloned().collect();
        let destination = format!("10.0.0.7:{}", self.port).parse().unwrap();
        then(&Facts {
            peer: self.peer.as_ref().map(|_| Peer { uris: &uris, ..Peer::default() }),
            remote: self.remote.parse().unwrap(),
            server_name: Some("sni.example"),
            request: Some(Request::new(&self.method, self.host, self.target, &self.headers)),
            metadata: Some(&metadata),
            ..Facts::new("10.0.0.1".parse().unwrap(), destination)
        })
    }
}

fn policy(name: &str, action: PolicyAction, rules: Vec<Rule>) -> AuthorizationPolicy {
    AuthorizationPolicy::new(name.parse().unwrap(), action, rules)
}

fn from(source: Source) -> Rule {
    Rule { from: vec![source], ..Rule::default() }
}

fn to(operation: Operation) -> Rule {
    Rule { to: vec![operation], ..Rule::default() }
}

fn when(key: &str, values: Values) -> Rule {
    Rule { when: vec![Condition { key: key.into(), values }], ..Rule::default() }
}

/// Whether a rule matches, asked of a policy that denies.
fn matches(rule: Rule, world: &World) -> bool {
    let authorization = Authorization::compile(&[policy("shop/p", PolicyAction::Deny, vec![rule])], &Mesh::default());
    assert_eq!(authorization.problems(), []);
    world.with(|facts| matches!(authorization.evaluate(facts), Some(Verdict::Denied(_))))
}

#[test]
fn sources() {
    let any_of = |value: &str| Values::any_of([value]);
    let anonymous = World { peer: None, ..World::new() };
    for (source, web, nobody) in [
        (Source::default(), true, true),
        (Source { principals: any_of("cluster.local/ns/shop/sa/web"), ..Source::default() }, true, false),
        (Source { principals: any_of("spiffe://cluster.local/ns/shop/sa/web"), ..Source::default() }, false, false),
        (Source { principals: any_of("cluster.local/ns/shop/*"), ..Source::default() }, true, false),
        (Source { principals: any_of("*/sa/web"), ..Source::default() }, true, false),
        (Source { principals: any_of("*/sa/w"), ..Source::default() }, false, false),
        (Source { principals: any_of("*"), ..Source::default() }, true, false),
        (Source { principals: Values::none_of(["*"]), ..Source::default() }, false, true),
        (Source { namespaces: any_of("shop"), ..Source::default() }, true, false),
        (Source { namespaces: any_of("sho"), ..Source::default() }, false, false),
        (Source { namespaces: any_of("s*"), ..Source::default() }, true, false),
        (Source { namespaces: any_of("*op"), ..Source::default() }, true, false),
        // The `sa` behind the namespace is not part of it.
        (Source { namespaces: any_of("*a"), ..Source::default() }, false, false),
        (Source { namespaces: any_of("s.op"), ..Source::default() }, false, false),
        (Source { namespaces: Values::none_of(["shop"]), ..Source::default() }, false, true),
        (Source { service_accounts: any_of("web"), ..Source::default() }, true, false),
        (Source { service_accounts: any_of("shop/web"), ..Source::default() }, true, false),
        (Source { service_accounts: any_of("jobs/web"), ..Source::default() }, false, false),
        (Source { service_accounts: any_of("we"), ..Source::default() }, false, false),
        (Source { trust_domains: any_of("cluster.local"), ..Source::default() }, true, false),
        (Source { trust_domains: any_of("cluster"), ..Source::default() }, false, false),
        (Source { trust_domains: any_of("*.local"), ..Source::default() }, true, false),
        (Source { ip_blocks: any_of("10.0.0.1"), ..Source::default() }, true, true),
        (Source { ip_blocks: any_of("10.0.0.0/8"), ..Source::default() }, true, true),
        (Source { ip_blocks: any_of("198.51.100.7"), ..Source::default() }, false, false),
        (Source { remote_ip_blocks: any_of("198.51.100.0/24"), ..Source::default() }, true, true),
        (Source { remote_ip_blocks: Values::none_of(["198.51.100.0/24"]), ..Source::default() }, false, false),
        (
            Source { namespaces: any_of("shop"), principals: Values::none_of(["*/sa/web"]), ..Source::default() },
            false,
            false,
        ),
    ] {
        let said = (matches(from(source.clone()), &World::new()), matches(from(source.clone()), &anonymous));
        assert_eq!(said, (web, nobody), "{source:?}");
    }
}

#[test]
fn operations() {
    let any_of = |value: &str| Values::any_of([value]);
    let world = || World { target: "/users/7/cart?x=/admin", ..World::new() };
    let paths = |value: &str| Operation { paths: Values::any_of([value]), ..Operation::default() };
    for (operation, yes) in [
        (Operation::default(), true),
        (Operation { hosts: any_of("SHOP.example"), ..Operation::default() }, true),
        (Operation { hosts: any_of("shop.example:*"), ..Operation::default() }, false),
        (Operation { hosts: any_of("*.EXAMPLE"), ..Operation::default() }, true),
        (Operation { hosts: any_of("*"), ..Operation::default() }, true),
        (Operation { methods: any_of("GET"), ..Operation::default() }, true),
        (Operation { methods: any_of("get"), ..Operation::default() }, false),
        (Operation { methods: Values::none_of(["GET", "HEAD"]), ..Operation::default() }, false),
        (Operation { ports: any_of("8080"), ..Operation::default() }, true),
        (Operation { ports: any_of("80"), ..Operation::default() }, false),
        (paths("/users/7/cart"), true),
        (paths("/users/*"), true),
        (paths("*/cart"), true),
        (paths("*/admin"), false),
        (paths("*"), true),
        (paths("/users/{*}/cart"), true),
        (paths("/users/{*}"), false),
        (paths("/users/{**}"), true),
        (
            Operation {
                paths: Values { any_of: vec!["/users/*".into()], none_of: vec!["*/cart".into()] },
                ..paths("x")
            },
            false,
        ),
    ] {
        assert_eq!(matches(to(operation.clone()), &world()), yes, "{operation:?}");
    }
}

#[test]
fn conditions() {
    let mut world = World::new();
    world.headers.insert("x-team", HeaderValue::from_static("blue"));
    world.headers.insert("x-empty", HeaderValue::from_static(""));
    world.claims = json!({
        "iss": "https://issuer.example/realm", "sub": "alice", "aud": ["a", "b"], "azp": "app", "scope": "read",
        "groups": ["admin", "ops"], "realm": {"roles": ["r1"], "name": "n"}, "age": 7, "ok": true,
    });
    let bare = World::new();
    for (key, value, yes) in [
        ("request.headers[x-team]", "blue", true),
        ("request.headers[X-Team]", "bl*", true),
        ("request.headers[x-team]", "red", false),
        ("request.headers[x-empty]", "*", true),
        ("request.headers[x-none]", "*", false),
        ("source.ip", "10.0.0.0/24", true),
        ("remote.ip", "10.0.0.0/24", false),
        ("destination.ip", "10.0.0.7", true),
        ("destination.port", "8080", true),
        ("source.namespace", "shop", true),
        ("source.principal", "*/sa/web", true),
        ("source.serviceAccount", "shop/web", true),
        ("connection.sni", "*.example", true),
        ("connection.sni", "other", false),
        ("request.auth.principal", "https://issuer.example/realm/alice", true),
        ("request.auth.principal", "https://issuer.example/realm/bob", false),
        ("request.auth.principal", "https://issuer.example/realm/*", true),
        ("request.auth.principal", "https://issuer.example/realm/al*", true),
        ("request.auth.principal", "https://issuer.example/*", false),
        ("request.auth.principal", "*/alice", true),
        ("request.auth.principal", "*/realm/alice", true),
        ("request.auth.principal", "*lice", true),
        ("request.auth.principal", "https:*", true),
        ("request.auth.principal", "*", true),
        ("request.auth.audiences", "b", true),
        ("request.auth.audiences", "c", false),
        ("request.auth.presenter", "app", true),
        ("request.auth.claims[groups]", "admin", true),
        ("request.auth.claims[groups]", "adm*", true),
        ("request.auth.claims[groups]", "none", false),
        ("request.auth.claims[scope]", "read", true),
        ("request.auth.claims[realm][roles]", "r1", true),
        ("request.auth.claims[realm][name]", "*", true),
        ("request.auth.claims[realm]", "*", false),
        ("request.auth.claims[age]", "7", false),
        ("request.auth.claims[none]", "*", false),
        ("experimental.envoy.filters.http.other[kind]", "a", true),
        ("experimental.envoy.filters.http.other[kind]", "[a]", false),
        ("experimental.envoy.filters.http.other[kinds]", "[b]", true),
        ("experimental.envoy.filters.http.other[kinds]", "b", false),
    ] {
        assert_eq!(matches(when(key, Values::any_of([value])), &world), yes, "{key} {value}");
        assert_eq!(matches(when(key, Values::none_of([value])), &world), !yes, "not {key} {value}");
        if key.starts_with("request.") {
            assert!(!matches(when(key, Values::any_of([value])), &bare), "{key} {value} without");
            assert!(matches(when(key, Values::none_of([value])), &bare), "not {key} {value} without");
        }
    }
}

#[test]
fn a_trust_domain_has_many_names() {
    let mesh =
        |names: &[&str]| Mesh { trust_domains: names.iter().map(|name| (*name).into()).collect(), ..Mesh::default() };
    let principals = |value: &str, mesh: &Mesh| -> Vec<String> {
        let source = Source { principals: Values::any_of([value]), ..Source::default() };
        let compiled = compile(&[policy("shop/p", PolicyAction::Allow, vec![from(source)])], mesh);
        let policy = compiled.allow.unwrap().rules.unwrap().policies.into_values().next().unwrap();
        let [principal] = policy.principals.try_into().unwrap();
        let all = if let Principal::Or(all) = principal { all } else { vec![principal] };
        all.iter().map(ToString::to_string).collect()
    };
    for (value, names, expected) in [
        ("old/ns/a/sa/b", &[][..], &["old/ns/a/sa/b"][..]),
        ("new/ns/a/sa/b", &["new", "old"], &["new/ns/a/sa/b", "old/ns/a/sa/b"]),
        ("old/ns/a/sa/b", &["new", "old"], &["new/ns/a/sa/b", "old/ns/a/sa/b"]),
        ("cluster.local/ns/a/sa/b", &["new", "old"], &["new/ns/a/sa/b", "old/ns/a/sa/b"]),
        ("cluster.local/ns/a/sa/b", &[], &["cluster.local/ns/a/sa/b"]),
        ("other/ns/a/sa/b", &["new", "old"], &["other/ns/a/sa/b"]),
        ("new/ns/a/*", &["new", "old"], &["new/ns/a/*"]),
        ("new/ns/a/sa/*", &["new", "old"], &["new/ns/a/sa/*", "old/ns/a/sa/*"]),
    ] {
        let expected: Vec<_> = expected.iter().map(|name| format!("peer \"spiffe://{name}\"")).collect();
        assert_eq!(principals(value, &mesh(names)), expected, "{value} {names:?}");
    }
    let open = principals("*d/ns/a/sa/b", &mesh(&["new", "old"]));
    assert_eq!(open, ["peer \"spiffe://new/ns/a/sa/b\"", "peer /spiffe://.*d/ns/a/sa/b/"]);
}

#[test]
fn names_and_nesting_are_istios() {
    let web = Source { principals: Values::any_of(["d/ns/shop/sa/web"]), ..Source::default() };
    let jobs = Source { service_accounts: Values::any_of(["batch"]), ..Source::default() };
    let read = Operation {
        methods: Values::any_of(["GET", "HEAD"]),
        paths: Values::none_of(["/admin*"]),
        ..Operation::default()
    };
    let condition = Condition { key: "destination.port".into(), values: Values::any_of(["80"]) };
    let rule = Rule { from: vec![web, jobs], to: vec![read], when: vec![condition] };
    let compiled = compile(&[policy("shop/p", PolicyAction::Allow, vec![rule, Rule::default()])], &Mesh::default());

    let header = |name: &str| Permission::Header(value::header(&":method".parse().unwrap(), name, false).unwrap());
    let peer = |pattern| Principal::PeerPrincipal(pattern);
    let account = "spiffe://.+/ns/shop/(.+/|)sa/batch(/.+)?";
    let first = Policy {
        permissions: vec![Permission::And(vec![
            Permission::Or(vec![header("GET"), header("HEAD")]),
            Permission::Not(Box::new(Permission::Path(Pattern::prefix("/admin")))),
            Permission::DestinationPort(80),
        ])],
        principals: vec![
            peer(Pattern::exact("spiffe://d/ns/shop/sa/web")),
            peer(Pattern::Regex(Regex::new(account).unwrap())),
        ],
    };
    let second = Policy { permissions: vec![Permission::Any], principals: vec![Principal::Any] };
    let policies = [("ns[shop]-policy[p]-rule[0]".into(), first), ("ns[shop]-policy[p]-rule[1]".into(), second)].into();
    let rules = Some(Rbac { action: Action::Allow, policies });
    let allow = Some(RbacFilter { rules, ..RbacFilter::default() });
    assert_eq!(compiled, Compiled { allow, ..Compiled::default() });
}

#[test]
fn a_policy_without_rules_never_matches() {
    let verdict = |action| {
        let authorization = Authorization::compile(&[policy("shop/p", action, vec![])], &Mesh::default());
        World::new().with(|facts| authorization.evaluate(facts).unwrap().to_string())
    };
    assert_eq!(verdict(PolicyAction::Allow), "denied: allow policies apply and none of them matches");
    assert_eq!(verdict(PolicyAction::Deny), "allowed: no allow policy applies");
    let none = Authorization::compile(&[], &Mesh::default());
    assert_eq!(World::new().with(|facts| none.evaluate(facts)), None);
}

#[test]
fn policies_of_one_name_all_count() {
    let paths = |path: &str| to(Operation { paths: Values::any_of([path]), ..Operation::default() });
    let policies = ["/a", "/b", "/cart"].map(|path| policy("shop/p", PolicyAction::Deny, vec![paths(path)]));
    let authorization = Authorization::compile(&policies, &Mesh::default());
    let verdict = World::new().with(|facts| authorization.evaluate(facts).unwrap().to_string());
    assert_eq!(verdict, "denied: a deny policy matches (ns[shop]-policy[p]-rule[0]++)");
}

#[test]
fn what_an_audit_policy_matches_is_logged_and_passes() {
    let methods = |method: &str| to(Operation { methods: Values::any_of([method]), ..Operation::default() });
    for (method, is_logged) in [("GET", true), ("PUT", false)] {
        let audit = compile(&[policy("shop/p", PolicyAction::Audit, vec![methods(method)])], &Mesh::default()).audit;
        let audit = audit.unwrap();
        let Verdict::Allowed(permit) = World::new().with(|facts| audit.evaluate(facts)) else { panic!("it denies") };
        assert_eq!((audit.logs(), permit.is_logged()), (true, is_logged), "{method}");
    }
}

#[test]
fn dry_runs_are_shadows() {
    let dry = |name, action| AuthorizationPolicy { dry_run: true, ..policy(name, action, vec![Rule::default()]) };
    let compiled = compile(&[dry("shop/d", PolicyAction::Deny), dry("shop/a", PolicyAction::Allow)], &Mesh::default());
    let (deny, allow) = (compiled.deny.unwrap(), compiled.allow.unwrap());
    assert_eq!((deny.rules, allow.rules), (None, None));
    assert_eq!(
        (deny.shadow_prefix.as_str(), allow.shadow_prefix.as_str()),
        ("istio_dry_run_deny_", "istio_dry_run_allow_")
    );
    assert_eq!(deny.shadow.unwrap().policies.len() + allow.shadow.unwrap().policies.len(), 2);
    let custom = compile(&[dry("shop/c", PolicyAction::Custom("opa".into()))], &Mesh::default());
    // Nobody is asked, so nobody is missing.
    assert_eq!((custom.custom, custom.problems), (vec![], vec![]));
}

#[test]
fn an_authorizer_is_asked_about_what_its_policies_match() {
    let paths = |path: &str| to(Operation { paths: Values::any_of([path]), ..Operation::default() });
    let custom =
        |name, authorizer: &str, path| policy(name, PolicyAction::Custom(authorizer.into()), vec![paths(path)]);
    let policies =
        [custom("shop/c1", "opa", "/cart"), custom("shop/c2", "opa-b", "/cart"), custom("shop/c3", "gone", "/gone")];
    let mesh = Mesh { authorizers: ["opa".into(), "opa-b".into()].into(), ..Mesh::default() };
    let compiled = compile(&policies, &mesh);
    let [gone, opa, opa_b] = compiled.custom.as_slice() else { panic!("three") };
    assert_eq!((gone.authorizer.as_str(), &gone.asked), ("gone", &None));
    assert_eq!(
        compiled.problems.iter().map(ToString::to_string).collect::<Vec<_>>(),
        ["policy shop/c3: `provider.name`: authorizer `gone` is not known; what it matches is denied"]
    );
    let (cart, lost) = (World::new(), World { target: "/gone", ..World::new() });
    for (world, denied) in [(&cart, false), (&lost, true)] {
        assert_eq!(world.with(|facts| matches!(gone.filter.evaluate(facts), Verdict::Denied(_))), denied);
    }
    // What the rules note is what the authorizer's condition looks at, and not the other one's.
    assert!(cart.with(|facts| matches!(opa.filter.evaluate(facts), Verdict::Allowed(_))));
    let noted = |world: &World, rules: &RbacFilter| {
        let mut metadata = Metadata::default();
        if let Some(Verdict::Denied(denial)) = world.with(|facts| rules.evaluate_shadow(facts)) {
            let key = format!("{}shadow_effective_policy_id", rules.shadow_prefix);
            metadata.set("envoy.filters.http.rbac", &key, json!(denial.policy.unwrap().as_str()));
        }
        metadata
    };
    let asked = |custom: &Custom, metadata: &Metadata| custom.asked.as_ref().unwrap().is_match(metadata);
    assert!(asked(opa, &noted(&cart, &opa.filter)) && !asked(opa_b, &noted(&cart, &opa.filter)));
    assert!(asked(opa_b, &noted(&cart, &opa_b.filter)) && !asked(opa, &noted(&cart, &opa_b.filter)));
    assert!(!asked(opa, &noted(&lost, &opa.filter)));

    // Alone there is nobody to ask.
    let alone = Authorization::compile(&policies, &mesh);
    assert!(cart.with(|facts| matches!(alone.evaluate(facts), Some(Verdict::Denied(_)))));
}

#[test]
fn what_is_not_understood_closes() {
    let source = |source: Source| from(source);
    let operation = |operation: Operation| to(operation);
    let bad = |value: &str| Values::any_of([value]);
    let some_bad = |good: &str, bad: &str| Values::any_of([good, bad]);
    let cases = [
        ("from[0].ipBlocks[0]", source(Source { ip_blocks: bad("10.0.0.300"), ..Source::default() })),
        ("from[0].ipBlocks[1]", source(Source { ip_blocks: some_bad("10.9.9.9", "x"), ..Source::default() })),
        (
            "from[0].notRemoteIpBlocks[0]",
            source(Source { remote_ip_blocks: Values::none_of(["x"]), ..Source::default() }),
        ),
        ("from[0].serviceAccounts[0]", source(Source { service_accounts: bad("a/b/c"), ..Source::default() })),
        ("from[0].serviceAccounts[0]", source(Source { service_accounts: bad("a*"), ..Source::default() })),
        ("from[0].principals[0]", source(Source { principals: bad(""), ..Source::default() })),
        ("from[0].namespaces[0]", source(Source { namespaces: bad(""), ..Source::default() })),
        ("from[0].trustDomains[0]", source(Source { trust_domains: bad(""), ..Source::default() })),
        ("from[0].requestPrincipals[0]", source(Source { request_principals: bad(""), ..Source::default() })),
        ("to[0].ports[0]", operation(Operation { ports: bad("65536"), ..Operation::default() })),
        ("to[0].notPorts[0]", operation(Operation { ports: Values::none_of(["http"]), ..Operation::default() })),
        ("to[0].paths[0]", operation(Operation { paths: bad("/{**}/{*}"), ..Operation::default() })),
        ("to[0].hosts[0]", operation(Operation { hosts: bad(""), ..Operation::default() })),
        ("when[0].key", when("request.unknown", bad("x"))),
        ("when[0].key", when("request.headers[]", bad("x"))),
        ("when[0].key", when("request.headers[a b]", bad("x"))),
        ("when[0].key", when("request.headers[a][b]", bad("x"))),
        ("when[0].key", when("request.auth.claims", bad("x"))),
        ("when[0].key", when("request.auth.claims[a", bad("x"))),
        ("when[0].key", when("request.auth.claims[a]b]", bad("x"))),
        ("when[0].key", when("experimental.envoy.filters.a", bad("x"))),
        ("when[0].key", when("experimental.other[a]", bad("x"))),
        ("when[0].values", when("source.ip", Values::default())),
        ("when[0].values.values[0]", when("source.ip", bad("x"))),
    ];
    for (field, rule) in cases {
        let field = field.replace("values.values", "values");
        let compiled = |action: PolicyAction| {
            let compiled = compile(&[policy("shop/p", action, vec![rule.clone()])], &Mesh::default());
            let [problem] = compiled.problems.as_slice() else { panic!("{field}: {:?}", compiled.problems) };
            assert_eq!(problem.field, format!("rules[0].{field}"));
            compiled
        };
        // Nobody is let in by it.
        let allow = compiled(PolicyAction::Allow).allow.unwrap();
        assert_eq!(allow.rules.as_ref().unwrap().policies.len(), 0, "{field}");
        assert!(World::new().with(|facts| matches!(allow.evaluate(facts), Verdict::Denied(_))), "{field}");
        // Everybody is kept out by it.
        let deny = compiled(PolicyAction::Deny).deny.unwrap();
        assert!(World::new().with(|facts| matches!(deny.evaluate(facts), Verdict::Denied(_))), "{field}");
    }
    // The other rules of a policy, and the other conditions of a rule, stay.
    let other = operation(Operation { paths: bad("/cart"), ports: bad("x"), ..Operation::default() });
    let deny = Authorization::compile(&[policy("shop/p", PolicyAction::Deny, vec![other])], &Mesh::default());
    let elsewhere = World { target: "/elsewhere", ..World::new() };
    let denied = |world: &World| world.with(|facts| matches!(deny.evaluate(facts), Some(Verdict::Denied(_))));
    assert!(denied(&World::new()) && !denied(&elsewhere));
    assert_eq!(
        deny.problems()[0].to_string(),
        "policy shop/p: `rules[0].to[0].ports[0]`: `x` is no port; the rule matches more than it says"
    );
}

#[test]
fn an_explanation_names_what_failed() {
    let read =
        Operation { methods: Values::any_of(["POST"]), paths: Values::any_of(["/cart"]), ..Operation::default() };
    let web = Source { principals: Values::any_of(["d/ns/a/sa/b"]), ..Source::default() };
    let rules = vec![to(read), from(web), Rule::default()];
    let authorization = Authorization::compile(&[policy("shop/p", PolicyAction::Allow, rules)], &Mesh::default());
    let [explanation] = World::new().with(|facts| authorization.explain(facts)).try_into().unwrap();
    assert_eq!(explanation.verdict.to_string(), "allowed: an allow policy matches (ns[shop]-policy[p]-rule[2])");
    let outcomes: Vec<_> = explanation.considered.into_iter().map(|considered| considered.outcome).collect();
    assert_eq!(
        outcomes,
        [
            Outcome::Fails("wants header :method \"POST\", sees \"GET\"".to_owned()),
            Outcome::Fails(
                "wants peer \"spiffe://d/ns/a/sa/b\", sees \"spiffe://cluster.local/ns/shop/sa/web\"".to_owned()
            ),
            Outcome::Matches,
        ]
    );
}
