use std::path::PathBuf;

use mesh_core::name::parse_trust_domain;

use super::{Input, Suppression, Suppressions, analyze};
use crate::admission::admit;
use crate::source::dir::SourceFile;
use crate::translate::{Place, translate};

fn place() -> Place {
    Place::new(parse_trust_domain("cluster.local").unwrap(), "Kubernetes")
}

fn said(text: &str) -> Vec<String> {
    let file = SourceFile { path: PathBuf::from("a.yaml"), text: Ok(text.to_owned()) };
    let (world, _) = admit(&[file]).unwrap_or_else(|findings| panic!("{text}\n{findings:#?}"));
    let place = place();
    let translation = translate(&world, &place);
    let input =
        Input { world: &world, place: &place, translation: &translation, trust_domains: &["west.example".into()] };
    let findings = analyze(&input);
    findings.iter().map(|finding| format!("{} {}: {}", finding.code.0, finding.object, finding.text())).collect()
}

/// What stands around the objects in question: a namespace in the mesh with a waypoint that is ready.
const AROUND: &str = "
{apiVersion: v1, kind: Namespace, metadata: {name: shop, labels: {istio.io/dataplane-mode: ambient}}}
---
{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {name: wp, namespace: shop}, spec: {gatewayClassName: istio-waypoint, listeners: [{name: mesh, port: 15008, protocol: HBONE}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: wp, namespace: shop}, spec: {clusterIP: 10.0.0.200, ports: [{name: hbone, port: 15008, appProtocol: tcp}], selector: {gateway.networking.k8s.io/gateway-name: wp}}}
---
{apiVersion: v1, kind: ServiceAccount, metadata: {name: wp, namespace: shop}}
---
{apiVersion: v1, kind: Pod, metadata: {name: wp-1, namespace: shop, labels: {gateway.networking.k8s.io/gateway-name: wp}}, spec: {nodeName: node, serviceAccountName: wp}, status: {phase: Running, podIP: 10.1.0.200, conditions: [{type: Ready, status: 'True'}]}}
---
{apiVersion: v1, kind: Pod, metadata: {name: a-1, namespace: shop, labels: {app: a, version: v1}}, spec: {nodeName: node}, status: {phase: Running, podIP: 10.1.0.1, conditions: [{type: Ready, status: 'True'}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: a, namespace: shop, labels: {istio.io/use-waypoint: wp}}, spec: {clusterIP: 10.0.0.1, ports: [{name: http, port: 80}], selector: {app: a}}}
";

fn policy(name: &str, spec: &str) -> String {
    format!(
        "{{apiVersion: security.istio.io/v1, kind: AuthorizationPolicy, metadata: {{name: {name}, namespace: shop}}, spec: {spec}}}"
    )
}

fn service(name: &str, ip: &str, spec: &str) -> String {
    format!(
        "{{apiVersion: v1, kind: Service, metadata: {{name: {name}, namespace: shop}}, spec: {{clusterIP: {ip}, {spec}}}}}"
    )
}

fn entry(name: &str, spec: &str) -> String {
    format!(
        "{{apiVersion: networking.istio.io/v1, kind: ServiceEntry, metadata: {{name: {name}, namespace: shop}}, spec: {spec}}}"
    )
}

fn slice(service: &str, conditions: &str) -> String {
    format!(
        "{{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, addressType: IPv4, metadata: {{name: s, namespace: shop, labels: {{kubernetes.io/service-name: {service}}}}}, ports: [{{name: http, port: 80}}], endpoints: [{{addresses: [192.0.2.9], conditions: {{{conditions}}}}}]}}"
    )
}

fn networking(kind: &str, name: &str, spec: &str) -> String {
    format!(
        "{{apiVersion: networking.istio.io/v1, kind: {kind}, metadata: {{name: {name}, namespace: shop}}, spec: {spec}}}"
    )
}

fn route(name: &str, rules: &str) -> String {
    format!(
        "{{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {{name: {name}, namespace: shop}}, spec: {{parentRefs: [{{group: '', kind: Service, name: a, port: 80}}], rules: {rules}}}}}"
    )
}

fn tokens(uri: &str) -> String {
    format!(
        "{{apiVersion: security.istio.io/v1, kind: RequestAuthentication, metadata: {{name: t, namespace: shop}}, spec: {{targetRefs: [{{kind: Service, name: a}}], jwtRules: [{{issuer: i, jwksUri: '{uri}'}}]}}}}"
    )
}

fn pod(namespace: &str, name: &str, labels: &str) -> String {
    format!(
        "{{apiVersion: v1, kind: Pod, metadata: {{name: {name}, namespace: {namespace}, labels: {{{labels}}}}}, spec: {{nodeName: node}}, status: {{phase: Running, podIP: 10.1.1.1, conditions: [{{type: Ready, status: 'False'}}]}}}}"
    )
}

fn peer(namespace: &str, spec: &str) -> String {
    format!(
        "{{apiVersion: security.istio.io/v1, kind: PeerAuthentication, metadata: {{name: p, namespace: {namespace}}}, spec: {spec}}}"
    )
}

fn with_port(app: &str, port: u16) -> String {
    format!(
        "{{apiVersion: v1, kind: Pod, metadata: {{name: {app}-1, namespace: shop, labels: {{app: {app}}}}}, spec: {{nodeName: node, containers: [{{ports: [{{containerPort: {port}}}]}}]}}, status: {{phase: Running, podIP: 10.1.1.2}}}}"
    )
}

fn revised(name: &str, last: u8, revision: &str) -> String {
    service(name, &format!("10.0.1.{last}"), "ports: [{name: http, port: 80}], selector: {app: a}")
        .replace("namespace: shop", &format!("namespace: shop, labels: {{istio.io/rev: {revision}}}"))
}

fn gateway(listeners: &str, more: &str) -> String {
    format!(
        "{{apiVersion: gateway.networking.k8s.io/v1, kind: Gateway, metadata: {{name: gw, namespace: shop}}, spec: {{gatewayClassName: istio, listeners: {listeners}{more}}}}}"
    )
}

/// A Gateway that pods answer for, on port 80.
fn served(listeners: &str) -> String {
    all(&[
        gateway(listeners, ""),
        service("gw", "10.0.0.9", "ports: [{name: http, port: 80, appProtocol: http}], selector: {app: a}"),
    ])
}

/// A route of it.
fn of_gateway(parent: &str, more: &str) -> String {
    format!(
        "{{apiVersion: gateway.networking.k8s.io/v1, kind: HTTPRoute, metadata: {{name: r, namespace: shop}}, spec: {{parentRefs: [{parent}]{more}, rules: [{{backendRefs: [{{name: a, port: 80}}]}}]}}}}"
    )
}

fn tls_route() -> String {
    "{apiVersion: gateway.networking.k8s.io/v1, kind: TLSRoute, metadata: {name: r, namespace: shop}, spec: {parentRefs: [{name: gw}], hostnames: [a.example], rules: [{backendRefs: [{name: a, port: 80}]}]}}".to_owned()
}

fn listener_set(listener: &str) -> String {
    format!(
        "{{apiVersion: gateway.networking.k8s.io/v1, kind: ListenerSet, metadata: {{name: more, namespace: shop}}, spec: {{parentRef: {{name: gw}}, listeners: [{listener}]}}}}"
    )
}

fn all(documents: &[String]) -> String {
    documents.join("\n---\n")
}

#[test]
fn what_stands_around_is_good() {
    assert_eq!(said(AROUND), [""; 0]);
}

/// Each bad case gives one finding that begins thus, each good one none.
#[test]
fn findings_and_their_absence() {
    let cases: &[(&str, String, String)] = &[
        (
            "MESH0109 VirtualService shop/b: spec.hosts[0]: `a.shop.svc.cluster.local`: VirtualService shop/a is older",
            all(&["a", "b"].map(|name| networking("VirtualService", name, "{hosts: [a], http: [{route: [{destination: {host: a}}]}]}"))),
            networking("VirtualService", "a", "{hosts: [a], http: [{route: [{destination: {host: a}}]}]}"),
        ),
        (
            "MESH0118 Service shop/a: spec.ports[0].name: port 80 (`web`)",
            AROUND.replace("{name: http, port: 80}", "{name: web, port: 80}"),
            AROUND.replace("{name: http, port: 80}", "{name: web, port: 80, appProtocol: http}"),
        ),
        (
            "MESH0127 AuthorizationPolicy shop/p: spec.selector.matchLabels: app=gone selects no workload",
            policy("p", "{selector: {matchLabels: {app: gone}}, action: DENY, rules: [{from: [{source: {namespaces: [x]}}]}]}"),
            policy("p", "{selector: {matchLabels: {app: a}}, action: DENY, rules: [{from: [{source: {namespaces: [x]}}]}]}"),
        ),
        (
            "MESH0130 HTTPRoute shop/r: spec.rules[1].matches[0]: `spec.rules[0].matches[0]` matches the same",
            route("r", "[{matches: [{path: {value: /a}}], backendRefs: [{name: a, port: 80}]}, {matches: [{path: {type: PathPrefix, value: /a}}], backendRefs: [{name: a, port: 80}]}]"),
            route("r", "[{matches: [{path: {value: /a}}], backendRefs: [{name: a, port: 80}]}, {matches: [{path: {type: Exact, value: /a}}], backendRefs: [{name: a, port: 80}]}]"),
        ),
        (
            "MESH1020 HTTPRoute shop/s: spec.rules[0]: HTTPRoute shop/r is older, or its name comes first",
            all(&["r", "s"].map(|name| route(name, "[{backendRefs: [{name: a, port: 80}]}]"))),
            all(&[route("r", "[{backendRefs: [{name: a, port: 80}]}]"), route("s", "[{matches: [{method: GET}], backendRefs: [{name: a, port: 80}]}]")]),
        ),
        (
            "MESH0134 ServiceEntry shop/e: spec.ports[0]: TCP has no names",
            entry("e", "{hosts: [db.example], ports: [{number: 5432, name: tcp, protocol: TCP}], resolution: NONE}"),
            entry("e", "{hosts: [db.example], addresses: [192.0.2.1], ports: [{number: 5432, name: tcp, protocol: TCP}], resolution: NONE}"),
        ),
        (
            "MESH0177 ServiceEntry shop/f: spec.ports[0].protocol: `x.example` speaks `HTTP` here, and `TLS` by ServiceEntry shop/e",
            all(&[("e", "TLS"), ("f", "HTTP")].map(|(name, protocol)| entry(name, &format!("{{hosts: [x.example], ports: [{{number: 443, name: p, protocol: {protocol}}}], resolution: DNS}}")))),
            all(&["e", "f"].map(|name| entry(name, "{hosts: [x.example], ports: [{number: 443, name: p, protocol: TLS}], resolution: DNS}"))),
        ),
        (
            "MESH0173 DestinationRule shop/d: spec.subsets[0].labels: subset `two` selects no endpoint",
            networking("DestinationRule", "d", "{host: a, subsets: [{name: two, labels: {version: v2}}]}"),
            networking("DestinationRule", "d", "{host: a, subsets: [{name: one, labels: {version: v1}}]}"),
        ),
        (
            "MESH0174 DestinationRule shop/d: spec.host: `b` is no service that is there",
            networking("DestinationRule", "d", "{host: b}"),
            networking("DestinationRule", "d", "{host: '*.shop.svc.cluster.local'}"),
        ),
        (
            "MESH0175 RequestAuthentication shop/t: spec.jwtRules[0].jwksUri: `http://idp.example/keys` is fetched without TLS",
            tokens("http://idp.example/keys"),
            tokens("http://a.shop.svc.cluster.local:80/keys"),
        ),
        (
            "MESH1010 Gateway shop/wp: metadata.name: of its 1 instances none is ready; what is addressed to Service shop/a is refused",
            AROUND.replacen("status: 'True'", "status: 'False'", 1),
            String::new(),
        ),
        (
            "MESH1011 AuthorizationPolicy shop/p: spec.rules: what is addressed to `a.shop.svc.cluster.local` comes through waypoint `shop/wp`",
            policy("p", "{selector: {matchLabels: {app: a}}, rules: [{from: [{source: {principals: [cluster.local/ns/shop/sa/web]}}]}]}"),
            policy("p", "{selector: {matchLabels: {app: a}}, rules: [{from: [{source: {principals: [cluster.local/ns/shop/sa/wp]}}]}]}"),
        ),
        (
            "MESH1013 AuthorizationPolicy shop/p: spec.rules: AuthorizationPolicy shop/z denies everything where this one allows",
            all(&[policy("p", "{selector: {matchLabels: {app: a, version: v1}}, rules: [{from: [{source: {namespaces: [shop]}}]}]}"), policy("z", "{selector: {matchLabels: {app: a}}, action: DENY, rules: [{}]}")]),
            policy("p", "{selector: {matchLabels: {app: a}}, rules: [{from: [{source: {namespaces: [shop]}}]}]}"),
        ),
        (
            "MESH1013 AuthorizationPolicy shop/p: spec.rules: AuthorizationPolicy shop/z allows everything where this one allows",
            all(&[policy("p", "{rules: [{from: [{source: {namespaces: [shop]}}]}]}"), policy("z", "{rules: [{}]}")]),
            policy("z", "{rules: [{}]}"),
        ),
        (
            "MESH1014 Service shop/b: spec.selector: selects no pod",
            service("b", "10.0.0.2", "ports: [{name: http, port: 80}], selector: {app: b}"),
            service("b", "10.0.0.2", "ports: [{name: http, port: 80}], selector: {app: a}"),
        ),
        (
            "MESH1014 Service shop/b: spec.selector: selects 1 pods, of which none is ready",
            all(&[pod("shop", "b-1", "app: b"), service("b", "10.0.0.2", "ports: [{name: http, port: 80}], selector: {app: b}")]),
            all(&[pod("shop", "b-1", "app: b"), service("b", "10.0.0.2", "publishNotReadyAddresses: true, ports: [{name: http, port: 80}], selector: {app: b}")]),
        ),
        (
            "MESH1015 Service shop/b: spec.clusterIP: 10.0.0.1:80 is that of Service shop/a too",
            service("b", "10.0.0.1", "ports: [{name: http, port: 80}], selector: {app: a}"),
            service("b", "10.0.0.1", "ports: [{name: http, port: 81}], selector: {app: a}"),
        ),
        (
            "MESH1014 Service shop/b: spec.selector: of the 1 endpoints in slices none is ready",
            all(&[service("b", "10.0.0.2", "ports: [{name: http, port: 80}]"), slice("b", "ready: false, serving: false, terminating: true")]),
            all(&[service("b", "10.0.0.2", "ports: [{name: http, port: 80}]"), slice("b", "ready: false, serving: true, terminating: true")]),
        ),
        (
            "MESH0134 ServiceEntry shop/e: spec.ports[0]: TCP has no names",
            entry("e, labels: {networking.istio.io/enable-autoallocate-ip: 'false'}", "{hosts: [db.example], ports: [{number: 5432, name: tcp, protocol: TCP}], resolution: DNS}"),
            entry("e", "{hosts: [db.example], ports: [{number: 5432, name: tcp, protocol: TCP}], resolution: DNS}"),
        ),
        (
            "MESH0174 DestinationRule shop/d: spec.host: `b.shop.svc.clusterset.local` is no service",
            networking("DestinationRule", "d", "{host: b.shop.svc.clusterset.local}"),
            all(&["{apiVersion: multicluster.x-k8s.io/v1alpha1, kind: ServiceExport, metadata: {name: a, namespace: shop}}".to_owned(), networking("DestinationRule", "d", "{host: a.shop.svc.clusterset.local}")]),
        ),
        (
            "MESH1172 Service shop/a: metadata.labels: `istio.io/global` has no effect",
            all(&[AROUND.replace("labels: {istio.io/use-waypoint: wp}", "labels: {istio.io/use-waypoint: wp, istio.io/global: 'true'}"), "{apiVersion: v1, kind: ConfigMap, metadata: {name: istio, namespace: istio-system}, data: {mesh: 'serviceScopeConfigs: []'}}".to_owned()]),
            AROUND.replace("labels: {istio.io/use-waypoint: wp}", "labels: {istio.io/use-waypoint: wp, istio.io/global: 'true'}"),
        ),
        (
            "MESH1016 AuthorizationPolicy shop/p: spec.rules[0].from[0].source.principals: `east.example/ns/a/sa/b`",
            policy("p", "{action: DENY, rules: [{from: [{source: {principals: [east.example/ns/a/sa/b]}}]}]}"),
            policy("p", "{action: DENY, rules: [{from: [{source: {principals: [west.example/ns/a/sa/b, '*/ns/a/sa/b', cluster.local/ns/a/sa/b]}}]}]}"),
        ),
        (
            "MESH1017 PeerAuthentication plain/p: spec.mtls.mode: plain/b is outside the mesh",
            all(&[pod("plain", "b", "app: b"), peer("plain", "{mtls: {mode: STRICT}}")]),
            all(&[pod("plain", "b", "app: b"), peer("istio-system", "{mtls: {mode: STRICT}}")]),
        ),
        (
            "MESH1017 PeerAuthentication plain/p: spec.portLevelMtls[\"80\"]: plain/b is outside the mesh",
            all(&[pod("plain", "b", "app: b"), peer("plain", "{selector: {matchLabels: {app: b}}, portLevelMtls: {'80': {mode: STRICT}}}")]),
            all(&[pod("plain", "b", "app: b"), peer("plain", "{selector: {matchLabels: {app: b}}, portLevelMtls: {'80': {mode: PERMISSIVE}}}")]),
        ),
        (
            "MESH1060 PeerAuthentication shop/p: spec.portLevelMtls[\"81\"]: none of the workloads that are selected has port 81",
            all(&[with_port("c", 80), peer("shop", "{selector: {matchLabels: {app: c}}, portLevelMtls: {'81': {mode: STRICT}}}")]),
            all(&[with_port("c", 81), peer("shop", "{selector: {matchLabels: {app: c}}, portLevelMtls: {'81': {mode: STRICT}}}")]),
        ),
        (
            "MESH0166 AuthorizationPolicy shop/p: spec.selector.matchLabels: selects nothing but instances of Gateways",
            policy("p", "{selector: {matchLabels: {gateway.networking.k8s.io/gateway-name: wp}}, action: DENY, rules: [{from: [{source: {namespaces: [x]}}]}]}"),
            policy("p", "{targetRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: wp}], action: DENY, rules: [{from: [{source: {namespaces: [x]}}]}]}"),
        ),
        (
            "MESH0162 Gateway shop/wp: spec.listeners[0].port: Service shop/wp of the Gateway has no port 15009",
            AROUND.replacen("port: 15008", "port: 15009", 1),
            AROUND.replace("port: 15008", "port: 15009"),
        ),
        (
            "MESH1071 Gateway shop/gw: spec.gatewayClassName: Gateways of class `other` are not served here",
            served("[{name: http, port: 80, protocol: HTTP}]").replace("gatewayClassName: istio", "gatewayClassName: other"),
            all(&[served("[{name: http, port: 80, protocol: HTTP}]"), of_gateway("{name: gw}", "")]),
        ),
        (
            "MESH1072 Gateway shop/gw: metadata.name: it has no address, and there is no Service",
            all(&[gateway("[{name: http, port: 80, protocol: HTTP}]", ""), of_gateway("{name: gw}", "")]),
            all(&[gateway("[{name: http, port: 80, protocol: HTTP}]", ", addresses: [{value: 192.0.2.1}]"), of_gateway("{name: gw}", "")]),
        ),
        (
            "MESH1072 Gateway shop/gw: metadata.name: Service shop/gw selects no pod",
            all(&[gateway("[{name: http, port: 80, protocol: HTTP}]", ""), service("gw", "10.0.0.9", "ports: [{name: http, port: 80}], selector: {app: gone}"), of_gateway("{name: gw}", "")]),
            all(&[gateway("[{name: http, port: 80, protocol: HTTP}]", ""), service("gw", "10.0.0.9", "ports: [{name: http, port: 80}], selector: {app: a}"), of_gateway("{name: gw}", "")]),
        ),
        (
            "MESH1073 ListenerSet shop/more: spec.listeners[0].port: port 80 is that of listener `http` (HTTP) of Gateway shop/gw already",
            all(&[served("[{name: http, port: 80, protocol: HTTP}]"), listener_set("{name: tcp, port: 80, protocol: TCP}"), of_gateway("{name: gw}", "")]),
            all(&[served("[{name: http, port: 80, protocol: HTTP}]"), listener_set("{name: b, hostname: b.example, port: 80, protocol: HTTP}"), of_gateway("{name: gw}", "")]),
        ),
        (
            "MESH0161 Gateway shop/gw: spec.listeners[0].tls.certificateRefs[0]: Secret `shop/cert` is not there",
            all(&[served("[{name: https, port: 80, protocol: HTTPS, tls: {certificateRefs: [{name: cert}]}}]"), of_gateway("{name: gw}", "")]),
            all(&[served("[{name: tls, port: 80, protocol: TLS, tls: {mode: Passthrough}}]"), tls_route()]),
        ),
        (
            "MESH1074 Gateway shop/gw: spec.listeners: no route is attached",
            served("[{name: http, port: 80, protocol: HTTP}]"),
            all(&[served("[{name: http, port: 80, protocol: HTTP}]"), of_gateway("{name: gw, sectionName: http, port: 80}", "")]),
        ),
        (
            "MESH1077 Service shop/third: metadata.labels: 1 objects are for revision `canary`, and others for `stable`",
            all(&[revised("first", 1, "stable"), revised("second", 2, "stable"), revised("third", 3, "canary")]),
            all(&[revised("first", 1, "stable"), revised("second", 2, "stable")]),
        ),
        (
            "MESH1018 Namespace istio-system: metadata.labels: has no `topology.istio.io/network`, while plain/b name",
            all(&["{apiVersion: v1, kind: Namespace, metadata: {name: istio-system}}".to_owned(), pod("plain", "b", "topology.istio.io/network: n1")]),
            all(&["{apiVersion: v1, kind: Namespace, metadata: {name: istio-system, labels: {topology.istio.io/network: n1}}}".to_owned(), pod("plain", "b", "topology.istio.io/network: n1")]),
        ),
        (
            "MESH1022 Pod istio-system/istiod-1: metadata.labels: istiod of revision `default` runs here",
            pod("istio-system", "istiod-1", "app: istiod"),
            pod("istio-system", "istiod-1", "app: other"),
        ),
    ];
    let whole = |text: &str| match text.contains("name: wp-1") {
        true => text.to_owned(),
        false => format!("{AROUND}\n---\n{text}"),
    };
    for (wanted, bad, good) in cases {
        let found = said(&whole(bad));
        assert!(found.len() == 1 && found[0].starts_with(wanted), "{wanted}\n{found:#?}");
        assert_eq!(said(&whole(good)), [""; 0], "{wanted}: the good case");
    }
}

#[test]
fn routes_that_no_listener_takes() {
    let listeners = "[{name: http, hostname: '*.example', port: 80, protocol: HTTP, allowedRoutes: {namespaces: {from: Selector, selector: {matchLabels: {istio.io/dataplane-mode: ambient}}}}}]";
    let around = format!("{AROUND}\n---\n{}", served(listeners));
    for (parent, more, wanted) in [
        ("{name: gw}", ", hostnames: [a.example]", None),
        ("{name: gw}", "", None),
        ("{name: gw, port: 80}", ", hostnames: ['*.a.example', b.test]", None),
        ("{name: gw, sectionName: https}", "", Some("it has no such listener")),
        ("{name: gw, port: 81}", "", Some("it has no such listener")),
        ("{name: gw}", ", hostnames: [a.test]", Some("none of its listeners is for a host of the route")),
    ] {
        let found = said(&format!("{around}\n---\n{}", of_gateway(parent, more)));
        match wanted {
            None => assert_eq!(found, [""; 0], "{parent} {more}"),
            Some(reason) => {
                let message = format!(
                    "MESH1075 HTTPRoute shop/r: spec.parentRefs[0]: Gateway `shop/gw`: {reason}; the route is not attached"
                );
                assert!(found.contains(&message), "{parent} {more}: {found:#?}");
                assert!(found.iter().any(|line| line.starts_with("MESH1074 ")), "{found:#?}");
            }
        }
    }
    let elsewhere = of_gateway("{name: gw, namespace: shop}", "").replacen("namespace: shop", "namespace: plain", 1);
    let found = said(&format!("{around}\n---\n{elsewhere}"));
    assert!(found.iter().any(|line| line.contains("it admits nothing of namespace `plain`")), "{found:#?}");
    let other_kind = said(&format!("{around}\n---\n{}", tls_route()));
    assert!(other_kind.iter().any(|line| line.contains("none of its listeners is for TLSRoutes")), "{other_kind:#?}");
}

/// A repository holds neither what is made for Gateways, nor their certificates.
#[test]
fn of_a_repository_nothing_is_asked_that_only_a_cluster_has() {
    let listeners = "[{name: https, port: 443, protocol: HTTPS, tls: {certificateRefs: [{name: cert}]}}]";
    let parts = [gateway(listeners, ""), of_gateway("{name: gw}", "")];
    assert_eq!(said(&all(&parts)), [""; 0]);
}

#[test]
fn what_is_suppressed_is_not_said() {
    let bare = service("b", "10.0.0.2", "ports: [{name: http, port: 80}], selector: {app: b}");
    let annotated = |codes: &str| {
        bare.replace(
            "namespace: shop",
            &format!("namespace: shop, annotations: {{galley.istio.io/analyze-suppress: '{codes}'}}"),
        )
    };
    for (codes, left) in [("*", 0), ("MESH1014", 0), ("IST0103, IST1014", 0), ("IST0103", 1), ("", 1)] {
        assert_eq!(said(&annotated(codes)).len(), left, "{codes}");
    }
    let file = SourceFile { path: PathBuf::from("a.yaml"), text: Ok(bare.clone()) };
    let (world, _) = admit(&[file]).unwrap();
    let place = place();
    let input = Input { world: &world, place: &place, translation: &translate(&world, &place), trust_domains: &[] };
    for (asked, left) in
        [("MESH1014=Service b.shop", 0), ("MESH1014=Service shop/*", 0), ("MESH1014=Pod *", 1), ("MESH1015=*", 1)]
    {
        let mut findings = analyze(&input);
        let asked = [asked.parse::<Suppression>().unwrap()];
        Suppressions::with(&world, &asked).retain(&mut findings);
        assert_eq!(findings.len(), left, "{asked:?}");
    }
}
