use std::path::PathBuf;

use mesh_core::name::parse_trust_domain;

use super::{Input, Suppression, Suppressions, analyze};
use crate::admission::admit;
use crate::source::dir::SourceFile;
use crate::translate::{Place, translate};

fn place() -> Place {
    Place {
        trust_domain: parse_trust_domain("cluster.local").unwrap(),
        cluster_id: "Kubernetes".to_owned(),
        network: String::new(),
        root_namespace: "istio-system".to_owned(),
        cluster_domain: "cluster.local".to_owned(),
    }
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
