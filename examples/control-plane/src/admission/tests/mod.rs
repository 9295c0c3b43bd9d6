mod bad;
mod istio;
mod mutated;
mod schema;

use std::path::PathBuf;

use super::admit;
use crate::source::dir::SourceFile;

fn file(path: &str, text: &str) -> SourceFile {
    SourceFile { path: PathBuf::from(path), text: Ok(text.to_owned()) }
}

fn findings(text: &str) -> Vec<String> {
    match admit(&[file("a.yaml", text)]) {
        Ok((_, findings)) | Err(findings) => findings.iter().map(ToString::to_string).collect(),
    }
}

const POLICY: &str =
    "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: p, namespace: ns}\n";

#[test]
fn what_is_wrong_is_named_with_file_and_line() {
    for (text, wanted) in [
        ("a: [", "a.yaml:1: error:"),
        (
            "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {ports: [{port: 99999}]}\n",
            "a.yaml:4: error: spec.ports[0].port: integer `99999` is not a number from 0 to 65535",
        ),
        ("# nothing\n---\nmetadata: {name: a}\n", "a.yaml:3: error: kind: is missing"),
        (
            "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nstatus: {podIPs: [{ip: x}]}\n",
            "a.yaml:4: error: status.podIPs[0].ip: `x` is no IP address",
        ),
        (
            "apiVersion: v1\nkind: Service\nmetadata: {name: a}\nspec: {clusterIP: x}\n",
            "a.yaml:4: error: spec.clusterIP: `x` is no IP address",
        ),
        (
            "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: a}\n",
            "a.yaml:1: note: `apps/v1 Deployment` has no effect here",
        ),
        (
            "apiVersion: security.istio.io/v1\nkind: Unheard\nmetadata: {name: a}\n",
            "a.yaml:1: error: security kind `Unheard` is not supported; it would not be enforced",
        ),
        (
            "apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n---\napiVersion: v1\nkind: Pod\nmetadata: {name: a}\n",
            "a.yaml:5: error: Pod default/a stands already at a.yaml:1",
        ),
        (
            "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: a}\nspec: {hosts: ['a b']}\n",
            "a.yaml:4: error: spec.hosts[0]: `a b` is no host name",
        ),
    ] {
        let found = findings(text);
        assert!(found.iter().any(|finding| finding.starts_with(wanted)), "{wanted} is not in {found:#?}");
    }
}

#[test]
fn security_kinds_are_strict() {
    for (spec, wanted) in [
        (
            "spec:\n  rules:\n  - from:\n    - source: {principalss: [a]}\n",
            "a.yaml:7: error: spec.rules[0].from[0].source.principalss: unknown field `principalss`; is `principals` meant?",
        ),
        ("spec: {action: DENYY}\n", "spec.action: `DENYY` is not enforced at L4"),
        ("spec: {action: CUSTOM}\n", "spec.action: `CUSTOM` is not enforced at L4"),
        (
            "spec: {rules: [{to: [{operation: {ports: ['80a']}}]}]}\n",
            "spec.rules[0].to.operation.ports: `80a` is no port",
        ),
        (
            "spec: {rules: [{from: [{source: {ipBlocks: [x]}}]}]}\n",
            "spec.rules[0].from.source.ipBlocks: `x` is neither",
        ),
        (
            "spec: {rules: [{from: [{source: {principals: ['spiffe://a/b']}}]}]}\n",
            "principals are written without `spiffe://`",
        ),
        (
            "spec: {action: DENY, rules: [{to: [{operation: {paths: [/a]}}]}]}\n",
            "spec.rules[0]: denies by `paths`, which only a waypoint can judge; it would deny nothing",
        ),
        (
            "spec: {rules: [{to: [{operation: {methods: [GET]}}]}]}\n",
            "warning: spec.rules[0]: has no effect at L4: `methods`",
        ),
        (
            "spec: {rules: [{from: [{source: {}}]}]}\n",
            "spec.rules[0].from[0].source: says nothing; it would match nobody",
        ),
        ("spec: {rules: [{from: []}]}\n", "spec.rules[0]: an empty list; leave the field out to match everything"),
        ("spec: {rules: [{to: []}]}\n", "spec.rules[0]: an empty list; leave the field out to match everything"),
        ("spec:\n  rules:\n  - from:\n", "spec.rules[0]: an empty list; leave the field out to match everything"),
    ] {
        let found = findings(&format!("{POLICY}{spec}"));
        assert!(found.iter().any(|finding| finding.contains(wanted)), "{wanted} is not in {found:#?}");
    }
    let port = "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: p}\nspec: {portLevelMtls: {x: {mode: STRICT}}}\n";
    assert!(findings(port)[0].contains("keys are port numbers"));
}

#[test]
fn one_bad_file_holds_back_the_whole_change() {
    let good = file("good.yaml", "apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n");
    assert!(admit(std::slice::from_ref(&good)).is_ok());
    assert!(admit(&[good.clone(), file("bad.yaml", "kind: [")]).is_err());
    let unreadable = SourceFile { path: "u.yaml".into(), text: Err("no UTF-8".into()) };
    let refused = admit(&[good, unreadable]).unwrap_err();
    assert_eq!(refused[0].to_string(), "u.yaml:1: error: no UTF-8");
}

#[test]
fn lists_are_read_item_by_item() {
    let list = "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: Namespace, metadata: {name: a}}\n- {kind: Service, apiVersion: v1, metadata: {name: s}, spec: {clusterIP: None}}\n";
    let (world, findings) = admit(&[file("a.yaml", list)]).unwrap();
    assert!(findings.is_empty());
    assert_eq!((world.namespaces.len(), world.services.len()), (1, 1));
}

#[test]
fn conditions_with_and_without_quotes() {
    for (written, wanted) in [("\"True\"", "True"), ("True", "True"), ("false", "False"), ("Unknown", "Unknown")] {
        let pod = format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: a}}\nstatus: {{conditions: [{{type: Ready, status: {written}}}]}}\n"
        );
        let (world, _) = admit(&[file("a.yaml", &pod)]).unwrap();
        let (_, pod) = world.pods.values().next().unwrap();
        assert_eq!(pod.status.conditions[0].status, wanted, "{written}");
    }
}

fn gateway_api(kind: &str, spec: &str) -> Vec<String> {
    findings(&format!("apiVersion: gateway.networking.k8s.io/v1\nkind: {kind}\nmetadata: {{name: a}}\nspec: {spec}\n"))
}

#[test]
fn what_the_gateway_api_refuses_is_refused() {
    let listeners = |of: &str| format!("{{gatewayClassName: istio-waypoint, listeners: [{of}]}}");
    let mesh = "{name: mesh, port: 15008, protocol: HBONE}";
    for (spec, wanted) in [
        (listeners(mesh), ""),
        (listeners(""), "spec.listeners: there is none"),
        (
            listeners("{name: a, port: 80, protocol: HTTP}"),
            "spec.listeners: a waypoint has a listener of protocol HBONE",
        ),
        (listeners(&format!("{mesh}, {mesh}")), "spec.listeners: two have one name"),
        (listeners("{name: A, port: 15008, protocol: HBONE}"), "spec.listeners[0].name: `A` is no name"),
        (listeners("{name: a, port: 0, protocol: HBONE}"), "spec.listeners[0].port: 0 is no port"),
        (listeners("{name: a, port: 1, protocol: HTTP, tls: {}}"), "spec.listeners[0].tls: HTTP has no TLS"),
        (
            listeners("{name: a, port: 15008, protocol: HBONE, allowedRoutes: {namespaces: {from: Some}}}"),
            "spec.listeners[0].allowedRoutes.namespaces.from: `Some` is none of Same, All, Selector",
        ),
        (
            listeners("{name: a, port: 15008, protocol: HBONE, allowedRoutes: {namespaces: {from: Selector}}}"),
            "spec.listeners[0].allowedRoutes.namespaces.selector: is missing",
        ),
    ] {
        let found = gateway_api("Gateway", &spec);
        match wanted {
            "" => assert!(found.iter().all(|finding| finding.contains("warning")), "{spec}: {found:#?}"),
            wanted => assert!(found.iter().any(|finding| finding.contains(wanted)), "{wanted} is not in {found:#?}"),
        }
    }
}

#[test]
fn what_the_gateway_api_refuses_of_routes_is_refused() {
    let rule = |of: &str| format!("{{parentRefs: [{{group: '', kind: Service, name: s}}], rules: [{of}]}}");
    let filter = |of: &str| rule(&format!("{{filters: [{of}]}}"));
    let rewrite = "{type: URLRewrite, urlRewrite: {path: {type: ReplacePrefixMatch, replacePrefixMatch: /}}}";
    for (spec, wanted) in [
        (rule("{backendRefs: [{name: s, port: 80}]}"), ""),
        (rule(&format!("{{matches: [{{path: {{value: /a}}}}], filters: [{rewrite}]}}")), ""),
        (rule("{backendRefs: [{name: s}]}"), "spec.rules[0].backendRefs[0].port: is missing"),
        (rule("{backendRefs: [{name: s, port: 1, weight: 1000001}]}"), "backendRefs[0].weight: is above 1000000"),
        (rule("{matches: [{path: {type: Exact, value: a}}]}"), "matches[0].path.value: `a` does not begin with /"),
        (rule("{matches: [{path: {value: /a//b}}]}"), "matches[0].path.value: `/a//b` must not hold"),
        (rule("{matches: [{path: {type: RegularExpression, value: '('}}]}"), "matches[0].path.value: `(` is no usable"),
        (rule("{matches: [{path: {type: Like, value: /}}]}"), "matches[0].path.type: `Like` is not known"),
        (rule("{matches: [{method: get}]}"), "matches[0].method: `get` is none of GET"),
        (rule("{matches: [{headers: [{name: ':authority', value: a}]}]}"), "matches[0].headers[0].name: `:authority`"),
        (
            rule("{matches: [{queryParams: [{name: a, value: ''}]}]}"),
            "matches[0].queryParams[0].value: must have 1 to 1024",
        ),
        (rule("{name: r}, {name: r}"), "spec.rules: two have one name"),
        (rule("{timeouts: {request: 1s, backendRequest: 2s}}"), "timeouts.backendRequest: is longer than `request`"),
        (rule("{timeouts: {request: 1.5s}}"), "timeouts.request: `1.5s` is no duration"),
        (rule("{timeouts: {request: 0s, backendRequest: 2s}}"), ""),
        (rule("{retry: {codes: [200]}}"), "retry.codes: 200 is none of 400 to 599"),
        (filter("{type: Sing}"), "filters[0].type: `Sing` is not known"),
        (filter("{type: RequestRedirect}"), "filters[0].requestRedirect: is missing"),
        (filter("{type: CORS, cors: {}, urlRewrite: {}}"), "filters[0].urlRewrite: does not fit the type"),
        (filter("{type: CORS, cors: {allowOrigins: ['*', 'https://a']}}"), "cors.allowOrigins: `*` stands alone"),
        (
            filter("{type: RequestRedirect, requestRedirect: {}}, {type: URLRewrite, urlRewrite: {}}"),
            "RequestRedirect and URLRewrite exclude each other",
        ),
        (filter(&format!("{rewrite}, {rewrite}")), "spec.rules[0].filters: two have one type"),
        (
            rule(&format!("{{matches: [{{path: {{type: Exact, value: /a}}}}], filters: [{rewrite}]}}")),
            "filters[0].urlRewrite.path.type: ReplacePrefixMatch needs a rule with one match",
        ),
        (
            rule("{filters: [{type: RequestRedirect, requestRedirect: {}}], backendRefs: [{name: s, port: 1}]}"),
            "spec.rules[0].backendRefs: a rule that redirects has none",
        ),
        (
            filter("{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: A, value: b}], remove: [a]}}"),
            "filters[0].requestHeaderModifier.(name): two have one name",
        ),
        (
            filter(
                "{type: RequestMirror, requestMirror: {backendRef: {name: s, port: 1}, percent: 1, fraction: {numerator: 1}}}",
            ),
            "filters[0].requestMirror.fraction: there is `percent` too",
        ),
        (
            filter("{type: RequestRedirect, requestRedirect: {statusCode: 300}}"),
            "requestRedirect.statusCode: 300 is none of 301",
        ),
        (
            rule("{sessionPersistence: {cookie: {lifetimeType: Permanent}}}"),
            "sessionPersistence.absoluteTimeout: a permanent cookie needs it",
        ),
        ("{parentRefs: [{name: a}, {name: a}]}".to_owned(), "spec.parentRefs[1]: stands there twice"),
        ("{parentRefs: [{name: a, port: 1}, {name: a}]}".to_owned(), "spec.parentRefs[1]: of references to one parent"),
        ("{hostnames: ['a.*']}".to_owned(), "spec.hostnames[0]: `a.*` is no host name"),
    ] {
        let found = gateway_api("HTTPRoute", &spec);
        match wanted {
            "" => assert!(found.iter().all(|finding| finding.contains("warning")), "{spec}: {found:#?}"),
            wanted => assert!(found.iter().any(|finding| finding.contains(wanted)), "{wanted} is not in {found:#?}"),
        }
    }
    for (spec, wanted) in [
        ("{rules: [{matches: [{method: {}}]}]}", "matches[0].method: names neither a service nor a method"),
        ("{rules: [{matches: [{method: {service: a/b}}]}]}", "matches[0].method.service: `a/b` holds a slash"),
        ("{rules: [{filters: [{type: URLRewrite, urlRewrite: {}}]}]}", "`URLRewrite` is no filter of a GRPCRoute"),
    ] {
        let found = gateway_api("GRPCRoute", spec);
        assert!(found.iter().any(|finding| finding.contains(wanted)), "{wanted} is not in {found:#?}");
    }
}

#[test]
fn destination_rules_that_would_send_traffic_otherwise_are_refused() {
    for (spec, wanted) in [
        ("{host: a, trafficPolicy: {loadBalancer: {simple: ROUND_ROBIN}}}", ""),
        ("{host: a, trafficPolicy: {loadBalancers: {}}}", "unknown field `loadBalancers`"),
        ("{host: a, trafficPolicy: {loadBalancer: {simple: BEST}}}", "loadBalancer.simple: `BEST` is none of"),
        (
            "{host: a, trafficPolicy: {loadBalancer: {consistentHash: {}}}}",
            "consistentHash.(key): one of httpHeaderName, httpCookie",
        ),
        ("{host: a, trafficPolicy: {tls: {mode: SIMPLE}}}", ""),
        ("{host: a, trafficPolicy: {tls: {mode: LOOSE}}}", "tls.mode: `LOOSE` is none of"),
        ("{host: a, trafficPolicy: {tls: {mode: MUTUAL, privateKey: /k}}}", "tls.clientCertificate: is missing"),
        (
            "{host: a, trafficPolicy: {tls: {mode: SIMPLE, privateKey: /k}}}",
            "tls.privateKey: belongs to the mode MUTUAL",
        ),
        (
            "{host: a, trafficPolicy: {tls: {mode: SIMPLE, credentialName: c}}}",
            "tls.credentialName: secrets are not read",
        ),
        (
            "{host: a, trafficPolicy: {tls: {mode: SIMPLE, insecureSkipVerify: true}}}",
            "insecureSkipVerify: is not supported",
        ),
        ("{host: a, trafficPolicy: {tls: {mode: SIMPLE, sni: 'a b'}}}", "tls.sni: `a b` is no host name"),
        ("{host: a, trafficPolicy: {tls: {mode: SIMPLE, verify: no}}}", "unknown field `verify`"),
        (
            "{host: a, trafficPolicy: {tls: {sni: a.example}}}",
            "tls.sni: says how TLS is to be, and the mode that there is none",
        ),
        ("{host: a, trafficPolicy: {tls: {mode: ISTIO_MUTUAL}}}", ""),
        (
            "{host: a, trafficPolicy: {outlierDetection: {interval: 1}}}",
            "outlierDetection.interval: integer `1` is not a string",
        ),
        (
            "{host: a, trafficPolicy: {outlierDetection: {maxEjectionPercent: 101}}}",
            "maxEjectionPercent: 101 is no share",
        ),
        ("{host: a, subsets: [{name: v1}, {name: v1}]}", "spec.subsets: two have one name"),
        (
            "{host: a, trafficPolicy: {loadBalancer: {localityLbSetting: {distribute: [{from: a, to: {a: 50}}]}}}}",
            "localityLbSetting.distribute[0].to: the shares sum up to 50, not 100",
        ),
        (
            "{host: a, trafficPolicy: {portLevelSettings: [{port: {number: 0}}]}}",
            "trafficPolicy.portLevelSettings[0].port.number: 0 is no port",
        ),
    ] {
        let text =
            format!("apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {{name: a}}\nspec: {spec}\n");
        let found = findings(&text);
        match wanted {
            "" => assert!(found.iter().all(|finding| finding.contains("warning")), "{spec}: {found:#?}"),
            wanted => assert!(found.iter().any(|finding| finding.contains(wanted)), "{wanted} is not in {found:#?}"),
        }
    }
}

#[test]
fn policies_for_waypoints_are_strict() {
    let service = "targetRefs: [{group: '', kind: Service, name: s}]";
    for (spec, wanted) in [
        (format!("{{{service}, rules: [{{to: [{{operation: {{paths: [/a]}}}}]}}]}}"), ""),
        (
            format!("{{{service}, rules: [{{from: [{{source: {{ipBlocks: [x]}}}}]}}]}}"),
            "spec.rules[0].from[0].ipBlocks[0]: `x` is neither an address nor a range",
        ),
        (format!("{{{service}, action: STOP}}"), "spec.action: `STOP` is none of ALLOW, DENY, AUDIT, CUSTOM"),
        (format!("{{{service}, action: DENY}}"), "spec.rules: without any, the policy does nothing"),
        (format!("{{{service}, action: CUSTOM, rules: [{{}}]}}"), "spec.provider: CUSTOM has one"),
        (format!("{{{service}, rules: [{{from: []}}]}}"), "spec.rules[0].from: an empty list"),
        (format!("{{{service}, rules: [{{from: [{{source: {{}}}}]}}]}}"), "spec.rules[0].from[0].source: says nothing"),
        (
            format!("{{{service}, rules: [{{when: [{{key: request.moon, values: [full]}}]}}]}}"),
            "key `request.moon` is not known",
        ),
        (format!("{{{service}, rules: [{{to: [{{operation: {{ports: [x]}}}}]}}]}}"), "`x` is no port"),
        (format!("{{{service}, selector: {{matchLabels: {{a: b}}}}}}"), "spec.selector: there is `targetRefs` too"),
        (
            "{targetRefs: [{kind: Deployment, name: d}]}".to_owned(),
            "spec.targetRefs[0]: `/Deployment` `d` is nothing that",
        ),
        (
            "{targetRefs: [{group: gateway.networking.k8s.io, kind: GatewayClass, name: istio}]}".to_owned(),
            "spec.targetRefs[0]: `gateway.networking.k8s.io/GatewayClass` `istio` is nothing that",
        ),
        (
            "{targetRefs: [{kind: Service, name: s, namespace: x}]}".to_owned(),
            "spec.targetRefs[0].namespace: a policy is for",
        ),
    ] {
        let found = findings(&format!("{POLICY}spec: {spec}\n"));
        match wanted {
            "" => assert!(found.iter().all(|finding| finding.contains("warning")), "{spec}: {found:#?}"),
            wanted => assert!(found.iter().any(|finding| finding.contains(wanted)), "{wanted} is not in {found:#?}"),
        }
    }
    let tokens = "apiVersion: security.istio.io/v1\nkind: RequestAuthentication\nmetadata: {name: t}\n";
    for (spec, wanted) in [
        (format!("{{{service}, jwtRules: [{{issuer: a, jwksUri: 'https://a/b'}}]}}"), ""),
        ("{jwtRules: [{issuer: a}]}".to_owned(), "spec.targetRefs: there is none; only waypoints look at tokens"),
        (format!("{{{service}, jwtRules: [{{jwks: ''}}]}}"), "spec.jwtRules[0].issuer: is missing"),
        (
            format!("{{{service}, jwtRules: [{{issuer: a, jwksUri: 'ftp://a/b'}}]}}"),
            "spec.jwtRules[0].jwksUri: `ftp://a/b` is no URL",
        ),
        (format!("{{{service}, jwtRules: [{{issuer: a, jwkz: ''}}]}}"), "unknown field `jwkz`"),
        (
            format!("{{{service}, jwtRules: [{{issuer: a, jwks: '{{}}'}}]}}"),
            "spec.jwtRules[0].jwks: is no JSON Web Key Set",
        ),
        (format!("{{{service}, jwtRules: [{{issuer: a, outputPayloadToHeader: 'a b'}}]}}"), "`a b` is no header"),
    ] {
        let found = findings(&format!("{tokens}spec: {spec}\n"));
        match wanted {
            "" => assert!(found.iter().all(|finding| finding.contains("warning")), "{spec}: {found:#?}"),
            wanted => assert!(found.iter().any(|finding| finding.contains(wanted)), "{wanted} is not in {found:#?}"),
        }
    }
}

#[test]
fn references_that_lead_nowhere_are_told_of() {
    let world = "apiVersion: v1\nkind: Service\nmetadata: {name: s}\nspec: {ports: [{name: http, port: 80}]}\n---\n\
                 apiVersion: v1\nkind: Service\nmetadata: {name: bound, labels: {istio.io/use-waypoint: w}}\nspec: {ports: [{name: http, port: 80}]}\n---\n\
                 apiVersion: v1\nkind: Service\nmetadata: {name: far}\nspec: {type: ExternalName}\n---\n";
    let import = "apiVersion: multicluster.x-k8s.io/v1alpha1\nkind: ServiceImport\n\
                  metadata: {name: i, labels: {istio.io/use-waypoint: w}}\n\
                  spec: {type: ClusterSetIP, ports: [{name: http, port: 81}]}\n---\n";
    let route = |spec: &str| {
        format!(
            "{world}apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {{name: r}}\nspec: {spec}\n"
        )
    };
    let policy = |target: &str| {
        format!(
            "{world}apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{name: p}}\n\
             spec: {{targetRefs: [{target}], action: DENY, rules: [{{}}]}}\n"
        )
    };
    let parent = |of: &str| route(&format!("{{parentRefs: [{{group: '', kind: Service, {of}}}]}}"));
    let backend = |of: &str| route(&format!("{{rules: [{{backendRefs: [{{{of}}}]}}]}}"));
    for (text, wanted) in [
        (parent("name: none"), "spec.parentRefs[0].name: Service `default/none` is not there"),
        (parent("name: s"), "spec.parentRefs[0].name: `default/s` has no waypoint; the route has no effect"),
        (parent("name: bound, port: 81"), "spec.parentRefs[0].port: `default/bound` has no such port"),
        (parent("name: bound, sectionName: tcp"), "spec.parentRefs[0].port: `default/bound` has no such port"),
        (route("{parentRefs: [{name: g}]}"), "spec.parentRefs[0].name: Gateway `default/g` is not there"),
        (route("{parentRefs: [{kind: ListenerSet, name: l}]}"), "name: ListenerSet `default/l` is not there"),
        (route("{parentRefs: [{kind: Mesh, name: m}]}"), "kind: routes of a Mesh have no effect here"),
        (
            backend("name: none, port: 80"),
            "spec.rules[0].backendRefs[0].name: Service `default/none` is not there; its share",
        ),
        (backend("name: s, port: 81"), "spec.rules[0].backendRefs[0].port: `default/s` has no such port; its share"),
        (backend("name: far, port: 80"), "`default/far` is an ExternalName"),
        (backend("name: s, kind: Pod, port: 80"), "`/Pod` is no backend"),
        (
            policy("{kind: Service, name: none}"),
            "spec.targetRefs[0].name: Service `default/none` is not there; the policy",
        ),
        (
            policy("{kind: Service, name: s}"),
            "spec.targetRefs[0].name: `default/s` has no waypoint; the policy is not enforced",
        ),
        (
            policy("{group: gateway.networking.k8s.io, kind: Gateway, name: g}"),
            "spec.targetRefs[0].name: Gateway `default/g` is not there",
        ),
        (
            "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {name: w}\n\
             spec: {gatewayClassName: istio-waypoint, listeners: [{name: mesh, port: 15008, protocol: HBONE}]}\n"
                .to_owned(),
            "spec.addresses: there are none, and no Service of this name; what is bound to the waypoint is refused",
        ),
        (
            "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\n\
             metadata: {name: e, labels: {istio.io/use-waypoint: w}}\n\
             spec: {hosts: [a.example, b.example], addresses: [10.0.0.1], ports: [{number: 80}]}\n"
                .to_owned(),
            "spec.addresses: `a.example` has 10.0.0.1:80 too; at their waypoint `b.example` is not reached by it",
        ),
        (
            route("{parentRefs: [{group: multicluster.x-k8s.io, kind: ServiceImport, name: s}]}"),
            "spec.parentRefs[0].name: ServiceImport `default/s` is not there",
        ),
        (
            backend("group: multicluster.x-k8s.io, kind: ServiceImport, name: s, port: 80"),
            "spec.rules[0].backendRefs[0].name: ServiceImport `default/s` is not there; its share",
        ),
        (
            format!("{import}{}", backend("group: multicluster.x-k8s.io, kind: ServiceImport, name: i, port: 80")),
            "spec.rules[0].backendRefs[0].port: `default/i` has no such port; its share",
        ),
        (format!("{import}{}", backend("group: multicluster.x-k8s.io, kind: ServiceImport, name: i, port: 81")), ""),
        (
            format!(
                "{import}{}",
                route(
                    "{parentRefs: [{group: multicluster.x-k8s.io, kind: ServiceImport, name: i, sectionName: http}]}"
                )
            ),
            "",
        ),
        (parent("name: bound"), ""),
        (backend("name: s, port: 80"), ""),
        (policy("{kind: Service, name: bound}"), ""),
    ] {
        let found: Vec<_> =
            findings(&text).into_iter().filter(|finding| !finding.contains("Gateway `default/w`")).collect();
        match wanted {
            "" => assert!(found.is_empty(), "{found:#?}"),
            wanted => assert!(found.iter().any(|finding| finding.contains(wanted)), "{wanted} is not in {found:#?}"),
        }
    }
}
