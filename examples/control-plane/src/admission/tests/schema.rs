//! What an API server would refuse of each kind.

use super::findings;

fn check(head: &str, cases: &[(&str, &str)]) {
    for (rest, wanted) in cases {
        let text = format!("{head}\n{rest}\n");
        let found = findings(&text);
        match *wanted {
            "" => assert!(!found.iter().any(|finding| finding.contains("error")), "{text}: {found:#?}"),
            wanted => assert!(found.iter().any(|finding| finding.contains(wanted)), "{wanted} is not in {found:#?}"),
        }
    }
}

#[test]
fn metadata() {
    check(
        "apiVersion: v1\nkind: ServiceAccount",
        &[
            ("metadata: {name: a.b-c}", ""),
            ("metadata: {name: A}", "a.yaml:3: error: metadata.name: `A` is not a DNS name"),
            ("metadata: {name: a_b}", "metadata.name: `a_b` is not a DNS name"),
            ("metadata: {name: a, namespace: a.b}", "metadata.namespace: `a.b` is not a DNS label"),
            ("metadata: {name: a, labels: {'a/b/c': d}}", "metadata.labels[a/b/c]: is no key of a label"),
            ("metadata: {name: a, labels: {a: 'b c'}}", "metadata.labels.a: `b c` is no value of a label"),
            ("metadata: {name: a, labels: {a: -b}}", "metadata.labels.a: `-b` is no value of a label"),
            ("metadata: {name: a, labels: {Example.com/a: b}}", "is no key of a label"),
            ("metadata: {name: a, annotations: {'a b': c}}", "metadata.annotations[a b]: is no key of an annotation"),
            ("metadata: {name: a, labels: {a: ''}, annotations: {Example.com/a: 'b c'}}", ""),
            (
                "metadata: {name: a, label: {a: b}}",
                "warning: metadata.label: is not known and has no effect; is `labels` meant?",
            ),
            ("metadata: {name: a, finalizers: [b], managedFields: []}\nsecrets: []", ""),
        ],
    );
    let distribution = |value: &str| {
        findings(&format!(
            "apiVersion: v1\nkind: Namespace\nmetadata: {{name: a, annotations: {{networking.istio.io/traffic-distribution: {value}}}}}\n"
        ))
    };
    assert_eq!(distribution("preferclose"), [""; 0]);
    let wanted =
        "warning: metadata.annotations[networking.istio.io/traffic-distribution]: `Near` is none of Any, PreferClose";
    assert!(distribution("Near").iter().any(|finding| finding.contains(wanted)), "{:?}", distribution("Near"));
    check(
        "apiVersion: v1\nkind: Namespace",
        &[
            ("metadata: {name: a.b}", "metadata.name: `a.b` is not a DNS label"),
            ("metadata: {name: a, namespace: b}", "warning: metadata.namespace: a Namespace is in none"),
        ],
    );
}

#[test]
fn kinds_of_kubernetes() {
    check(
        "apiVersion: v1\nkind: Service\nmetadata: {name: a}",
        &[
            ("spec: {ports: [{port: 80}], sessionAffinity: None, ipFamilies: [IPv4]}", ""),
            (
                "spec: {ports: [{port: 80}], selectors: {a: b}}",
                "spec.selectors: is not known and has no effect; is `selector` meant?",
            ),
            (
                "spec: {ports: [{port: 80}, {port: 81, name: b}]}",
                "spec.ports[0].name: is missing; there are several ports",
            ),
            ("spec: {ports: [{port: 80, name: a}, {port: 81, name: a}]}", "spec.ports: two have one name"),
            ("spec: {ports: [{port: 80, name: a}, {port: 80, name: b}]}", "spec.ports: two have one port and protocol"),
            ("spec: {ports: [{port: 80, protocol: HTTP}]}", "spec.ports[0].protocol: `HTTP` is none of TCP, UDP, SCTP"),
            ("spec: {ports: [{port: 80, targetPort: 'a_b'}]}", "spec.ports[0].targetPort: `a_b` is neither a port nor"),
            ("spec: {type: Cluster, ports: [{port: 80}]}", "spec.type: `Cluster` is none of"),
            ("spec: {trafficDistribution: Near, ports: [{port: 80}]}", "spec.trafficDistribution: `Near` is none of"),
            ("spec: {ipFamilies: [v4], ports: [{port: 80}]}", "spec.ipFamilies[0]: `v4` is none of IPv4, IPv6"),
        ],
    );
    check(
        "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: a}",
        &[
            (
                "addressType: IPv4\nendpoints: [{addresses: [10.0.0.1], zone: z}]\nports: [{port: 80, protocol: TCP}]",
                "",
            ),
            ("endpoints: []", "addressType: `` is none of IPv4, IPv6, FQDN"),
            (
                "addressType: IPv4\nendpoints: [{addresses: ['::1']}]",
                "a.yaml:5: error: endpoints[0].addresses: `::1` is no IPv4",
            ),
            (
                "addressType: IPv4\nendpoints: []\nports: [{port: 80, protocol: HTTP}]",
                "ports[0].protocol: `HTTP` is none of",
            ),
            ("addressType: IPv4\nendpoints: [{addresses: []}]", "endpoints[0].addresses: there must be 1 to 100"),
        ],
    );
    check(
        "apiVersion: v1\nkind: Secret\nmetadata: {name: a}",
        &[
            ("type: kubernetes.io/tls\ndata: {tls.crt: YQ==, tls.key: YQ==}", ""),
            ("type: kubernetes.io/tls\ndata: {tls.crt: YQ==}", "data[tls.key]: is missing"),
            ("data: {k: 'hush!'}", "data.k: is no base64"),
        ],
    );
}

#[test]
fn kinds_of_the_gateway_api() {
    let kind = |kind: &str| format!("apiVersion: gateway.networking.k8s.io/v1\nkind: {kind}\nmetadata: {{name: a}}");
    let refs = "parentRefs: [{name: g}]";
    check(
        &kind("TLSRoute"),
        &[
            ("spec: {parentRefs: [{name: g}], hostnames: [a.b], rules: [{backendRefs: [{name: s, port: 1}]}]}", ""),
            (
                "spec: {parentRefs: [{name: g}], rules: [{backendRefs: [{name: s, port: 1}]}]}",
                "spec.hostnames: there is none",
            ),
            ("spec: {hostnames: [a.b]}", "spec.rules: 0 entries; there must be one"),
            ("spec: {hostnames: [a.b], rules: [{}]}", "spec.rules[0].backendRefs: there is none"),
        ],
    );
    check(
        &kind("TCPRoute"),
        &[
            (&format!("spec: {{{refs}, rules: [{{backendRefs: [{{name: s, port: 1}}]}}]}}"), ""),
            ("spec: {rules: [{backendRefs: [{name: s}]}]}", "spec.rules[0].backendRefs[0].port: is missing"),
        ],
    );
    check(
        &kind("ReferenceGrant"),
        &[
            ("spec: {from: [{group: a, kind: B, namespace: c}], to: [{group: '', kind: Secret}]}", ""),
            ("spec: {to: [{group: '', kind: Secret}]}", "spec.from: there is none"),
            (
                "spec: {from: [{group: a, kind: B, namespace: '*'}], to: [{group: '', kind: Secret}]}",
                "spec.from[0].namespace: `*`",
            ),
        ],
    );
    check(
        &kind("BackendTLSPolicy"),
        &[
            (
                "spec: {targetRefs: [{group: '', kind: Service, name: s}], validation: {hostname: a.b, wellKnownCACertificates: System}}",
                "",
            ),
            (
                "spec: {targetRefs: [{group: '', kind: Service, name: s}], validation: {hostname: a.b}}",
                "spec.validation.caCertificateRefs: there is none",
            ),
            (
                "spec: {targetRefs: [{group: '', kind: Service, name: s}], validation: {hostname: '*.b', wellKnownCACertificates: System}}",
                "spec.validation.hostname: `*.b` is no precise host name",
            ),
            (
                "spec: {targetRefs: [{group: '', kind: Service, name: s}], validation: {hostname: a.b, wellKnownCACertificates: System, subjectAltNames: [{type: URI, hostname: a}]}}",
                "spec.validation.subjectAltNames[0].uri: is missing",
            ),
        ],
    );
    check(
        &kind("Gateway"),
        &[
            (
                "spec: {gatewayClassName: c, listeners: [{name: a, port: 443, protocol: HTTPS, tls: {certificateRefs: [{name: s}]}}]}",
                "",
            ),
            (
                "spec: {gatewayClassName: c, listeners: [{name: a, port: 443, protocol: HTTPS, tls: {}}]}",
                "spec.listeners[0].tls.certificateRefs: there is none",
            ),
            (
                "spec: {gatewayClassName: c, listeners: [{name: a, port: 443, protocol: TLS, tls: {certificateRefs: [{name: s}]}}]}",
                "spec.listeners[0].tls.mode: is missing",
            ),
            (
                "spec: {gatewayClassName: c, listeners: [{name: a, port: 443, protocol: HTTPS, tls: {mode: Passthrough}}]}",
                "spec.listeners[0].tls.mode: HTTPS is ended here",
            ),
            (
                "spec: {gatewayClassName: c, listeners: [{name: a, port: 80, protocol: HTTP}], addresses: [{value: x}]}",
                "spec.addresses[0].value: `x` is no IP address",
            ),
            (
                "spec: {gatewayClassName: c, listener: [], listeners: [{name: a, port: 80, protocol: HTTP}]}",
                "warning: spec.listener: is not known and has no effect; is `listeners` meant?",
            ),
            (
                "spec: {gatewayClassName: c, listeners: [{name: a, port: 80, protocol: HTTP}], tls: {frontend: {default: {validation: {}}}}}",
                "spec.tls.frontend.default.validation.caCertificateRefs: there is none",
            ),
        ],
    );
    check(
        "apiVersion: gateway.networking.x-k8s.io/v1alpha1\nkind: XListenerSet\nmetadata: {name: a}",
        &[
            ("spec: {parentRef: {name: g}, listeners: [{name: a, port: 80, protocol: HTTP}]}", ""),
            ("spec: {parentRef: {name: g}, listeners: []}", "spec.listeners: there is none"),
        ],
    );
}

#[test]
fn kinds_of_istio() {
    check(
        "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: a}",
        &[
            (
                "spec: {hosts: [a.b], location: MESH_EXTERNAL, resolution: DNS, ports: [{number: 443, name: tls, protocol: TLS}]}",
                "",
            ),
            ("spec: {hosts: [a.b], resolution: SOMETIMES}", "spec.resolution: `SOMETIMES` is none of"),
            ("spec: {hosts: [a.b], ports: [{number: 0}]}", "spec.ports[0].number: 0 is no port"),
            (
                "spec: {hosts: [a.b], ports: [{number: 1, name: a}, {number: 1, name: b}]}",
                "spec.ports: two have one number",
            ),
            (
                "spec: {hosts: [a.b], endpoints: [{address: 1.1.1.1}], workloadSelector: {labels: {a: b}}}",
                "spec.workloadSelector: there are `endpoints` too",
            ),
            ("spec: {hosts: [a.b], exportTo: ['a b']}", "spec.exportTo[0]: `a b` is neither"),
            (
                "spec: {hosts: [a.b], endpoints: [{adress: 1.1.1.1}]}",
                "spec.endpoints[0].adress: is not known and has no effect; is `address` meant?",
            ),
        ],
    );
    check(
        "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: a}",
        &[
            ("spec:\n  selector:\n", "a.yaml:5: error: spec.selector: has no value; leave the field out"),
            (
                "spec:\n  rules:\n  - from:\n    - source:\n        principals:\n",
                "spec.rules[0].from[0].source.principals: has no value",
            ),
        ],
    );
    check(
        "apiVersion: telemetry.istio.io/v1\nkind: Telemetry\nmetadata: {name: a}",
        &[
            (
                "spec: {tracing: [{randomSamplingPercentage: 10, providers: [{name: a}]}], accessLogging: [{disabled: true}]}",
                "",
            ),
            ("spec: {accessLogging: [{disabled: true}]}", "note: spec.accessLogging: has no effect here"),
            ("spec: {tracing: [{}]}", "note: spec.tracing: has no effect here"),
            ("spec: {metrics: [{}]}", "note: spec.metrics: has no effect here"),
            (
                "spec: {tracing: [{randomSamplingPercentage: 101}]}",
                "spec.tracing[0].randomSamplingPercentage: 101 is no share",
            ),
            (
                "spec: {metrics: [{overrides: [{tagOverrides: {a: {operation: UPSERT}}}]}]}",
                "spec.metrics[0].overrides[0].tagOverrides.a.value: is missing",
            ),
        ],
    );
    let mesh = |text: &str| {
        findings(&format!(
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {{name: istio, namespace: istio-system}}\ndata: {{mesh: '{text}'}}\n"
        ))
    };
    let scopes = "serviceScopeConfigs: [{servicesSelector: {matchExpressions: [{key: a, operator: In, values: [b]}]}, scope: GLOBAL}]";
    assert_eq!(mesh(scopes), [""; 0]);
    for (from, to, wanted) in [
        ("GLOBAL", "WIDE", "data.mesh.serviceScopeConfigs[0].scope: `WIDE` is none of LOCAL, GLOBAL"),
        ("In,", "Is,", "servicesSelector.matchExpressions.operator: `Is` is none of"),
        ("servicesSelector", "serviceSelector", "unknown field `serviceSelector`"),
    ] {
        let found = mesh(&scopes.replace(from, to));
        assert!(found.iter().any(|finding| finding.contains(wanted)), "{wanted} is not in {found:#?}");
    }
}
