//! What a policy means, read off its documentation, beside what it is compiled into.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::*;

/// Names of the mesh's trust domain.
const DOMAINS: [&str; 2] = ["d1", "d2"];

/// A request, in the terms of policies.
#[derive(Debug, Clone)]
struct Asked {
    peer: Option<(&'static str, &'static str, &'static str)>,
    method: &'static str,
    host: &'static str,
    path: &'static str,
    header: Option<&'static str>,
    token: Option<(&'static str, &'static str, Vec<&'static str>)>,
    remote: &'static str,
    port: u16,
}

fn asked() -> impl Strategy<Value = Asked> {
    let peer = (select(&["d1", "d2", "other"][..]), select(&["shop", "jobs"][..]), select(&["web", "batch"][..]));
    let token = (select(&["i", "https://i/x"][..]), select(&["s", "st"][..]), vec(select(&["g1", "g2"][..]), 0..3));
    (
        proptest::option::of(peer),
        select(&["GET", "POST"][..]),
        select(&["shop.example", "SHOP.example:80", "other"][..]),
        select(&["/", "/a", "/a/b", "/a/b/c", "/admin", "/administrator"][..]),
        proptest::option::of(select(&["", "x", "xy"][..])),
        proptest::option::of(token),
        select(&["10.0.0.9", "192.0.2.1"][..]),
        select(&[80, 8080][..]),
    )
        .prop_map(|(peer, method, host, path, header, token, remote, port)| Asked {
            peer,
            method,
            host,
            path,
            header,
            token,
            remote,
            port,
        })
}

impl Asked {
    fn world(&self) -> World {
        let mut headers = HeaderMap::new();
        if let Some(value) = self.header {
            headers.insert("x-h", HeaderValue::from_static(value));
        }
        World {
            peer: self.peer.map(|(domain, namespace, account)| {
                format!("spiffe://{domain}/ns/{namespace}/sa/{account}").into()
            }),
            method: self.method.parse().unwrap(),
            host: self.host,
            target: self.path,
            headers,
            claims: self.token.as_ref().map_or(Value::Null, |(iss, sub, groups)| {
                json!({"iss": iss, "sub": sub, "groups": groups, "aud": groups.first().unwrap_or(&"none")})
            }),
            remote: self.remote,
            port: self.port,
        }
    }

    fn matches(&self, policy: &AuthorizationPolicy, rule: &Rule) -> bool {
        let own = policy.name.namespace.as_str();
        (rule.from.is_empty() || rule.from.iter().any(|source| self.comes_from(source, own)))
            && (rule.to.is_empty() || rule.to.iter().any(|operation| self.wants(operation)))
            && rule.when.iter().all(|condition| self.holds(condition, own))
    }

    fn comes_from(&self, source: &Source, own: &str) -> bool {
        all(&source.principals, |value| self.principal(value))
            && all(&source.request_principals, |value| self.request_principal(value))
            && all(&source.namespaces, |value| self.peer.is_some_and(|(_, namespace, _)| like(value, namespace)))
            && all(&source.service_accounts, |value| self.account(value, own))
            && all(&source.trust_domains, |value| self.peer.is_some_and(|(domain, ..)| like(value, domain)))
            && all(&source.ip_blocks, |value| within(value, "10.0.0.1"))
            && all(&source.remote_ip_blocks, |value| within(value, self.remote))
    }

    fn wants(&self, operation: &Operation) -> bool {
        all(&operation.hosts, |value| like(&value.to_lowercase(), &self.host.to_lowercase()))
            && all(&operation.methods, |value| like(value, self.method))
            && all(&operation.ports, |value| value == self.port.to_string())
            && all(&operation.paths, |value| self.path_is(value))
    }

    fn holds(&self, Condition { key, values }: &Condition, own: &str) -> bool {
        let claims: Vec<&str> = self.token.iter().flat_map(|(_, _, groups)| groups.iter().copied()).collect();
        all(values, |value| match key.as_str() {
            "request.headers[x-h]" => self.header.is_some_and(|header| value == "*" || like(value, header)),
            "source.principal" => self.principal(value),
            "source.serviceAccount" => self.account(value, own),
            "remote.ip" => within(value, self.remote),
            "destination.port" => value == self.port.to_string(),
            "connection.sni" => like(value, "sni.example"),
            "request.auth.claims[groups]" => claims.iter().any(|claim| like(value, claim)),
            "request.auth.audiences" => self.token.is_some() && like(value, claims.first().copied().unwrap_or("none")),
            key => panic!("{key}"),
        })
    }

    /// A principal is meant under each name of the mesh's trust domain, if it is whole and of this domain.
    fn principal(&self, value: &str) -> bool {
        let Some((domain, namespace, account)) = self.peer else { return false };
        let rest = format!("ns/{namespace}/sa/{account}");
        let parts: Vec<&str> = value.splitn(2, '/').collect();
        if let [wanted, tail] = parts[..]
            && tail.matches('/').count() == 3
            && (DOMAINS.contains(&wanted) || wanted == "cluster.local")
        {
            return DOMAINS.contains(&domain) && like(tail, &rest);
        }
        like(value, &format!("{domain}/{rest}"))
    }

    fn account(&self, value: &str, own: &str) -> bool {
        let (namespace, name) = value.split_once('/').unwrap_or((own, value));
        self.peer.is_some_and(|(_, of, account)| of == namespace && account == name)
    }

    fn request_principal(&self, value: &str) -> bool {
        let Some((iss, sub, _)) = &self.token else { return false };
        match value {
            "*" => true,
            "i/s" => *iss == "i" && *sub == "s",
            "i/*" => *iss == "i",
            "*/s" => *sub == "s",
            "https://i/x/s*" => *iss == "https://i/x" && sub.starts_with('s'),
            "*t" => sub.ends_with('t'),
            value => panic!("{value}"),
        }
    }

    fn path_is(&self, value: &str) -> bool {
        let segments: Vec<&str> = self.path.split('/').skip(1).collect();
        match value {
            "/a/{*}" => segments.len() == 2 && segments[0] == "a" && !segments[1].is_empty(),
            "/a/{**}" => segments.len() > 1 && segments[0] == "a",
            value => like(value, self.path),
        }
    }
}

fn all(Values { any_of, none_of }: &Values, fits: impl Fn(&str) -> bool) -> bool {
    (any_of.is_empty() || any_of.iter().any(|value| fits(value.as_str())))
        && !none_of.iter().any(|value| fits(value.as_str()))
}

fn like(value: &str, text: &str) -> bool {
    match (value, value.strip_prefix('*'), value.strip_suffix('*')) {
        ("*", ..) => !text.is_empty(),
        (_, Some(end), _) => text.ends_with(end),
        (_, _, Some(beginning)) => text.starts_with(beginning),
        _ => value == text,
    }
}

fn within(range: &str, address: &str) -> bool {
    match range.split_once('/') {
        Some(("10.0.0.0", "8")) => address.starts_with("10."),
        Some(_) => panic!("{range}"),
        None => range == address,
    }
}

/// Values of a field, mostly none.
fn values(pool: &'static [&'static str]) -> impl Strategy<Value = Values> {
    let some = move || vec(select(pool), 0..3);
    let said = (some(), some()).prop_map(|(any_of, none_of)| {
        let texts = |list: Vec<&str>| list.into_iter().map(Text::from).collect();
        Values { any_of: texts(any_of), none_of: texts(none_of) }
    });
    prop_oneof![3 => Just(Values::default()), 1 => said]
}

const PRINCIPALS: &[&str] = &[
    "d1/ns/shop/sa/web",
    "d2/ns/jobs/sa/*",
    "cluster.local/ns/shop/sa/batch",
    "other/ns/shop/sa/web",
    "*/sa/web",
    "d1/*",
    "*",
];

fn source() -> impl Strategy<Value = Source> {
    (
        values(PRINCIPALS),
        values(&["*", "i/s", "i/*", "*/s", "https://i/x/s*", "*t"]),
        values(&["shop", "j*", "*s", "*a", "*"]),
        values(&["web", "jobs/batch", "shop/web"]),
        values(&["d1", "o*", "*2"]),
        values(&["10.0.0.0/8", "192.0.2.1"]),
        values(&["10.0.0.0/8", "192.0.2.1"]),
    )
        .prop_map(
            |(
                principals,
                request_principals,
                namespaces,
                service_accounts,
                trust_domains,
                ip_blocks,
                remote_ip_blocks,
            )| Source {
                principals,
                request_principals,
                namespaces,
                service_accounts,
                trust_domains,
                ip_blocks,
                remote_ip_blocks,
            },
        )
}

fn operation() -> impl Strategy<Value = Operation> {
    (
        values(&["shop.EXAMPLE", "shop.example:*", "*.example", "*"]),
        values(&["80", "443"]),
        values(&["GET", "P*", "*"]),
        values(&["/a", "/a/*", "*/b", "*", "/a/{*}", "/a/{**}", "/admin*"]),
    )
        .prop_map(|(hosts, ports, methods, paths)| Operation { hosts, ports, methods, paths })
}

fn condition() -> impl Strategy<Value = Condition> {
    let one = |key: &'static str, pool: &'static [&'static str]| {
        (select(pool), select(pool), 0..3_u8).prop_map(move |(wanted, unwanted, which)| {
            let (any_of, none_of) = (vec![wanted.into()], vec![unwanted.into()]);
            let values = match which {
                0 => Values { any_of, none_of: Vec::new() },
                1 => Values { any_of: Vec::new(), none_of },
                _ => Values { any_of, none_of },
            };
            Condition { key: key.into(), values }
        })
    };
    prop_oneof![
        one("request.headers[x-h]", &["x", "x*", "*y", "*"]),
        one("source.principal", PRINCIPALS),
        one("source.serviceAccount", &["web", "jobs/batch"]),
        one("remote.ip", &["10.0.0.0/8", "192.0.2.1"]),
        one("destination.port", &["80", "443"]),
        one("connection.sni", &["sni.example", "*.other", "*"]),
        one("request.auth.claims[groups]", &["g1", "g*", "*"]),
        one("request.auth.audiences", &["g1", "none", "*"]),
    ]
}

fn rule() -> impl Strategy<Value = Rule> {
    (vec(source(), 0..3), vec(operation(), 0..3), vec(condition(), 0..2)).prop_map(|(from, to, when)| Rule {
        from,
        to,
        when,
    })
}

fn policies() -> impl Strategy<Value = Vec<AuthorizationPolicy>> {
    let action = prop_oneof![
        4 => Just(PolicyAction::Allow),
        4 => Just(PolicyAction::Deny),
        1 => Just(PolicyAction::Audit),
        1 => select(&["opa", "other"][..]).prop_map(|name| PolicyAction::Custom(name.into())),
    ];
    let one = (select(&["shop", "jobs"][..]), action, vec(rule(), 0..4), prop::bool::weighted(0.1));
    vec(one, 0..5).prop_map(|policies| {
        let named = policies.into_iter().enumerate().map(|(at, (namespace, action, rules, dry_run))| {
            AuthorizationPolicy { dry_run, ..policy(&format!("{namespace}/p{at}"), action, rules) }
        });
        named.collect()
    })
}

/// The names of the rules of an action that match, in order.
fn matching(policies: &[AuthorizationPolicy], action: &PolicyAction, asked: &Asked) -> Vec<String> {
    let mut names = Vec::new();
    for policy in policies.iter().filter(|policy| policy.action == *action && !policy.dry_run) {
        let prefix = match &policy.action {
            PolicyAction::Custom(name) => format!("istio-ext-authz-{name}-"),
            _ => String::new(),
        };
        for (at, rule) in policy.rules.iter().enumerate() {
            if asked.matches(policy, rule) {
                names.push(format!("{prefix}ns[{}]-policy[{}]-rule[{at}]", policy.name.namespace, policy.name.name));
            }
        }
    }
    names.sort();
    names
}

/// Whether a request is refused, and by which rule.
fn expected(policies: &[AuthorizationPolicy], asked: &Asked) -> Option<Option<String>> {
    let denying = [PolicyAction::Custom("opa".into()), PolicyAction::Custom("other".into()), PolicyAction::Deny];
    for action in &denying {
        if let Some(first) = matching(policies, action, asked).into_iter().next() {
            return Some(Some(first));
        }
    }
    let restricts = policies.iter().any(|policy| policy.action == PolicyAction::Allow && !policy.dry_run);
    (restricts && matching(policies, &PolicyAction::Allow, asked).is_empty()).then_some(None)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn compiled_is_what_is_written(policies in policies(), asked in vec(asked(), 8)) {
        let mesh = Mesh { trust_domains: DOMAINS.map(Text::from).into(), ..Mesh::default() };
        let authorization = Authorization::compile(&policies, &mesh);
        prop_assert!(authorization.problems().iter().all(|problem| problem.effect == Effect::Denies));
        for asked in &asked {
            let (verdict, explained, scanned) = asked.world().with(|facts| {
                let scanned: Vec<_> =
                    authorization.filters().iter().filter_map(FilterRules::rules).map(|rules| rules.evaluate(facts)).collect();
                (authorization.evaluate(facts), authorization.explain(facts), scanned)
            });
            let refused = match &verdict {
                Some(Verdict::Denied(denial)) => Some(denial.policy.as_ref().map(ToString::to_string)),
                _ => None,
            };
            prop_assert_eq!(refused, expected(&policies, asked), "{:?}", asked);
            // The index and the explanation say the same as the rules one by one.
            let indexed: Vec<_> = asked.world().with(|facts| {
                authorization.filters().iter().filter(|filter| filter.rules().is_some()).map(|filter| filter.evaluate(facts)).collect()
            });
            prop_assert_eq!(&indexed, &scanned);
            prop_assert_eq!(explained.into_iter().map(|explanation| explanation.verdict).collect::<Vec<_>>(), scanned);
        }
    }
}
