use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use mesh_core::listener::Listener;
use mesh_core::name::{Hostname, Locality, NamespacedHostname, Text, parse_trust_domain};
use mesh_core::route::RouteTable;
use mesh_core::tls::Secret;
use mesh_core::workload::Health;
use proptest::prelude::*;
use proptest::sample::Index;

use super::*;
use crate::admission::{ReadObject, read_file};
use crate::translate::proxyless::Value;
use crate::translate::waypoint::Made;

fn place() -> Place {
    Place::new(parse_trust_domain("cluster.local").unwrap(), "c1")
}

fn read(text: &str) -> Vec<ReadObject> {
    let read = read_file(&"".into(), Path::new("a.yaml"), text);
    assert!(read.is_good(), "{:?} in {text}", read.findings);
    read.objects
}

fn put(world: &mut World, text: &str) {
    for ReadObject { origin, digest, object } in read(text) {
        world.put(origin, digest, object);
    }
}

fn remove(world: &mut World, text: &str) {
    for one in read(text) {
        world.remove(&one.object.id());
    }
}

/// Objects, each with the versions in which it may stand.
const OBJECTS: &[&[&str]] = &[
    &[
        "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {name: front, namespace: a}\nspec: {gatewayClassName: istio, listeners: [{name: http, port: 80, protocol: HTTP}, {name: tcp, port: 90, protocol: TCP}]}",
        "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {name: front, namespace: a}\nspec: {gatewayClassName: istio, allowedListeners: {namespaces: {from: All}}, listeners: [{name: http, port: 80, protocol: HTTP, hostname: '*.test', allowedRoutes: {namespaces: {from: All}}}, {name: through, port: 443, protocol: TLS, tls: {mode: Passthrough}}]}",
        "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {name: front, namespace: a}\nspec: {gatewayClassName: other, listeners: [{name: http, port: 80, protocol: HTTP}]}",
    ],
    &[
        "apiVersion: gateway.networking.k8s.io/v1\nkind: GatewayClass\nmetadata: {name: other}\nspec: {controllerName: istio.io/gateway-controller}",
    ],
    &[
        "apiVersion: gateway.networking.k8s.io/v1\nkind: ListenerSet\nmetadata: {name: set, namespace: b}\nspec: {parentRef: {name: front, namespace: a}, listeners: [{name: more, port: 8080, protocol: HTTP}]}",
    ],
    &[
        "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: enter, namespace: a}\nspec: {parentRefs: [{name: front}], rules: [{backendRefs: [{name: s, port: 80}, {name: t, port: 90}]}]}",
        "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: enter, namespace: b}\nspec: {parentRefs: [{name: front, namespace: a}, {kind: ListenerSet, name: set}], hostnames: [x.test], rules: [{backendRefs: [{name: s, namespace: a, port: 80}]}]}",
    ],
    &[
        "apiVersion: gateway.networking.k8s.io/v1\nkind: ReferenceGrant\nmetadata: {name: all, namespace: a}\nspec: {from: [{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: b}], to: [{group: '', kind: Service}]}",
        "apiVersion: gateway.networking.k8s.io/v1\nkind: ReferenceGrant\nmetadata: {name: all, namespace: a}\nspec: {from: [{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: b}], to: [{group: '', kind: Service, name: t}]}",
    ],
    &[
        "apiVersion: gateway.networking.k8s.io/v1\nkind: TCPRoute\nmetadata: {name: enter, namespace: a}\nspec: {parentRefs: [{name: front}], rules: [{backendRefs: [{name: t, port: 80}]}]}",
    ],
    &[
        "apiVersion: gateway.networking.k8s.io/v1\nkind: TLSRoute\nmetadata: {name: enter, namespace: a}\nspec: {parentRefs: [{name: front}], hostnames: [s.test], rules: [{backendRefs: [{name: s, port: 80}]}]}",
    ],
    &[
        "apiVersion: gateway.networking.k8s.io/v1\nkind: BackendTLSPolicy\nmetadata: {name: s, namespace: a}\nspec: {targetRefs: [{group: '', kind: Service, name: s}], validation: {hostname: s.test, wellKnownCACertificates: System}}",
        "apiVersion: gateway.networking.k8s.io/v1\nkind: BackendTLSPolicy\nmetadata: {name: s, namespace: a}\nspec: {targetRefs: [{group: '', kind: Service, name: s}], validation: {hostname: s.test, caCertificateRefs: [{group: '', kind: ConfigMap, name: nothing}]}}",
    ],
    &[
        "apiVersion: v1\nkind: Pod\nmetadata: {name: front-1, namespace: a, labels: {gateway.networking.k8s.io/gateway-name: front, app: p}}\nspec: {nodeName: n1}\nstatus: {podIP: 10.0.0.90}",
        "apiVersion: v1\nkind: Pod\nmetadata: {name: front-1, namespace: a, labels: {gateway.networking.k8s.io/gateway-name: front}}\nspec: {nodeName: n1}\nstatus: {podIP: 'fd00::1'}",
    ],
    &[
        "apiVersion: v1\nkind: Namespace\nmetadata: {name: a, annotations: {networking.istio.io/traffic-distribution: PreferClose}}",
        "apiVersion: v1\nkind: Namespace\nmetadata: {name: a, labels: {istio.io/dataplane-mode: ambient, istio.io/use-waypoint: w}}",
        "apiVersion: v1\nkind: Namespace\nmetadata: {name: a, labels: {istio.io/use-waypoint: x, istio.io/use-waypoint-namespace: b, team: red}}",
    ],
    &[
        "apiVersion: v1\nkind: Namespace\nmetadata: {name: b, labels: {istio.io/dataplane-mode: ambient, team: red}}",
        "apiVersion: v1\nkind: Namespace\nmetadata: {name: b, labels: {istio.io/use-waypoint: x}}",
    ],
    &[
        "apiVersion: v1\nkind: Node\nmetadata: {name: n1, labels: {topology.kubernetes.io/region: eu, topology.kubernetes.io/zone: a}}",
        "apiVersion: v1\nkind: Node\nmetadata: {name: n1, labels: {topology.kubernetes.io/region: us}}",
    ],
    &[
        "apiVersion: gateway.networking.k8s.io/v1\nkind: GatewayClass\nmetadata: {name: istio-waypoint, labels: {istio.io/waypoint-for: all}}\nspec: {controllerName: a/b}",
        "apiVersion: gateway.networking.k8s.io/v1\nkind: GatewayClass\nmetadata: {name: istio-waypoint}\nspec: {controllerName: a/b}",
    ],
    &[
        "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {name: w, namespace: a}\nspec: {gatewayClassName: istio-waypoint, listeners: [{name: mesh, port: 15008, protocol: HBONE}]}",
        "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {name: w, namespace: a, labels: {istio.io/waypoint-for: workload}}\nspec: {gatewayClassName: istio-waypoint, listeners: [{name: mesh, port: 15009, protocol: HBONE}]}",
        "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {name: w, namespace: a}\nspec: {gatewayClassName: other, listeners: [{name: mesh, port: 15008, protocol: HBONE}]}",
    ],
    &[
        "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {name: x, namespace: b, labels: {istio.io/waypoint-for: all}}\nspec: {gatewayClassName: istio-waypoint, listeners: [{name: mesh, port: 15008, protocol: HBONE, allowedRoutes: {namespaces: {from: All}}}]}",
        "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {name: x, namespace: b}\nspec: {gatewayClassName: istio-waypoint, listeners: [{name: mesh, port: 15008, protocol: HBONE, allowedRoutes: {namespaces: {from: Selector, selector: {matchLabels: {team: red}}}}}], addresses: [{value: 10.9.9.9}]}",
    ],
    &[
        "apiVersion: v1\nkind: Service\nmetadata: {name: s, namespace: a}\nspec: {clusterIP: 10.1.0.1, selector: {app: p}, ports: [{name: http, port: 80, targetPort: web}]}",
        "apiVersion: v1\nkind: Service\nmetadata: {name: s, namespace: a, labels: {istio.io/use-waypoint: w}}\nspec: {clusterIP: 10.1.0.1, selector: {app: q, tier: front}, ports: [{name: http, port: 80}, {name: odd, port: 81}]}",
        "apiVersion: v1\nkind: Service\nmetadata: {name: s, namespace: a, labels: {istio.io/use-waypoint-canary: x, istio.io/use-waypoint-canary-namespace: b}, annotations: {istio.io/use-waypoint-canary-weight: '20'}}\nspec: {clusterIP: 10.1.0.3, ports: [{name: http, port: 80}]}",
        "apiVersion: v1\nkind: Service\nmetadata: {name: s, namespace: a}\nspec: {type: ExternalName}",
    ],
    &[
        "apiVersion: v1\nkind: Service\nmetadata: {name: t, namespace: a}\nspec: {clusterIP: 10.1.0.1, selector: {tier: front}, ports: [{name: tcp, port: 80}, {name: http, port: 90}]}",
        "apiVersion: v1\nkind: Service\nmetadata: {name: t, namespace: a, labels: {istio.io/use-waypoint: none}}\nspec: {clusterIP: 10.1.0.2, selector: {tier: front}, trafficDistribution: PreferClose, ports: [{name: http, port: 80}]}",
    ],
    &[
        "apiVersion: v1\nkind: Service\nmetadata: {name: w, namespace: a, labels: {gateway.networking.k8s.io/gateway-name: w}}\nspec: {clusterIP: 10.1.0.9, selector: {gateway.networking.k8s.io/gateway-name: w}, ports: [{name: mesh, port: 15008}]}",
    ],
    &[
        "apiVersion: v1\nkind: Pod\nmetadata: {name: p1, namespace: a, labels: {app: p, tier: front}}\nspec: {nodeName: n1, containers: [{ports: [{name: web, containerPort: 8080}]}]}\nstatus: {podIP: 10.0.0.1, conditions: [{type: Ready, status: 'True'}]}",
        "apiVersion: v1\nkind: Pod\nmetadata: {name: p1, namespace: a, labels: {app: p, version: v1}}\nspec: {nodeName: n1, serviceAccountName: other}\nstatus: {podIP: 10.0.0.1}",
        "apiVersion: v1\nkind: Pod\nmetadata: {name: p1, namespace: a, labels: {app: q, tier: front, istio.io/use-waypoint: w}}\nspec: {nodeName: n2}\nstatus: {podIP: 10.0.0.4, conditions: [{type: Ready, status: 'True'}]}",
        "apiVersion: v1\nkind: Pod\nmetadata: {name: p1, namespace: a}\nspec: {nodeName: n2}\nstatus: {phase: Succeeded, podIP: 10.0.0.4}",
    ],
    &[
        "apiVersion: v1\nkind: Pod\nmetadata: {name: p2, namespace: a, labels: {gateway.networking.k8s.io/gateway-name: w, tier: front}}\nspec: {nodeName: n1, serviceAccountName: w}\nstatus: {podIP: 10.0.0.2}",
        "apiVersion: v1\nkind: Pod\nmetadata: {name: p2, namespace: a, labels: {app: p, version: v2}}\nspec: {nodeName: n1}\nstatus: {podIP: 10.0.0.2}",
        "apiVersion: v1\nkind: Pod\nmetadata: {name: p2, namespace: a, labels: {app: p, tier: front}, deletionTimestamp: '2030-01-01T00:00:00Z'}\nspec: {nodeName: n1}\nstatus: {podIP: 10.0.0.2, conditions: [{type: Ready, status: 'True'}]}",
        "apiVersion: v1\nkind: Pod\nmetadata: {name: p2, namespace: a, labels: {app: q, tier: front, istio.io/draining: 'true'}}\nspec: {nodeName: n1}\nstatus: {podIP: 10.0.0.2, conditions: [{type: Ready, status: 'True'}]}",
    ],
    &[
        "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\naddressType: IPv4\nmetadata: {name: other, namespace: a, labels: {kubernetes.io/service-name: s}}\nendpoints: [{addresses: [10.8.0.1], conditions: {ready: false, serving: true, terminating: true}}, {addresses: [10.8.0.2], targetRef: {kind: Machine, name: m}, zone: a}]\nports: [{name: odd, port: 8083}]",
        "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\naddressType: IPv6\nmetadata: {name: other, namespace: a, labels: {kubernetes.io/service-name: s}}\nendpoints: [{addresses: ['fd00::1'], targetRef: {kind: Machine, name: m}, conditions: {ready: false, serving: true, terminating: true}}]\nports: [{name: http, port: 8081}]",
        "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\naddressType: IPv4\nmetadata: {name: other, namespace: a, labels: {kubernetes.io/service-name: t}}\nendpoints: [{addresses: [10.8.0.1], zone: a}]\nports: [{name: http, port: 8081}]",
    ],
    &[
        "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\naddressType: IPv4\nmetadata: {name: a-first, namespace: a, labels: {kubernetes.io/service-name: s}}\nendpoints: [{addresses: [10.8.0.2], targetRef: {kind: Machine, name: m}}]\nports: [{name: http, port: 8084}]",
    ],
    &[
        "apiVersion: multicluster.x-k8s.io/v1alpha1\nkind: ServiceExport\nmetadata: {name: s, namespace: a}",
        "apiVersion: multicluster.x-k8s.io/v1alpha1\nkind: ServiceExport\nmetadata: {name: s, namespace: a, creationTimestamp: '2020-01-01T00:00:00Z'}",
    ],
    &[
        "apiVersion: multicluster.x-k8s.io/v1alpha1\nkind: ServiceImport\nmetadata: {name: s, namespace: a}\nspec: {type: ClusterSetIP, ips: [10.5.0.1], ports: [{name: http, port: 8000}, {name: more, port: 81}]}",
        "apiVersion: multicluster.x-k8s.io/v1alpha1\nkind: ServiceImport\nmetadata: {name: s, namespace: a, labels: {istio.io/use-waypoint: w}}\nspec: {type: ClusterSetIP}",
        "apiVersion: multicluster.x-k8s.io/v1alpha1\nkind: ServiceImport\nmetadata: {name: s, namespace: a}\nspec: {type: Headless, ports: [{port: 80}]}",
    ],
    &[
        "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: mcs, namespace: a}\nspec: {parentRefs: [{group: multicluster.x-k8s.io, kind: ServiceImport, name: s}], rules: [{backendRefs: [{group: multicluster.x-k8s.io, kind: ServiceImport, name: s, port: 80}, {name: t, port: 80}]}]}",
    ],
    &[
        "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\naddressType: IPv4\nmetadata: {name: sl, namespace: a, labels: {kubernetes.io/service-name: s}}\nendpoints: [{addresses: [10.0.0.1], targetRef: {kind: Pod, name: p1}}, {addresses: [10.8.0.1], nodeName: n1}]\nports: [{name: http, port: 8081}]",
        "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\naddressType: IPv4\nmetadata: {name: sl, namespace: a, labels: {kubernetes.io/service-name: s}}\nendpoints: [{addresses: [10.0.0.1], targetRef: {kind: Pod, name: p2}}, {addresses: [10.8.0.1], conditions: {ready: false}}]\nports: [{name: http, port: 8081}]",
        "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\naddressType: IPv4\nmetadata: {name: sl, namespace: a, labels: {kubernetes.io/service-name: t}}\nendpoints: [{addresses: [10.0.0.1], targetRef: {kind: Pod, name: p1}}]\nports: [{name: http, port: 8082}]",
    ],
    &[
        "apiVersion: networking.istio.io/v1\nkind: WorkloadEntry\nmetadata: {name: e, namespace: a}\nspec: {address: 10.0.1.1, labels: {app: q, tier: front, version: v1}, locality: eu/a}",
        "apiVersion: networking.istio.io/v1\nkind: WorkloadEntry\nmetadata: {name: e, namespace: a, labels: {istio.io/dataplane-mode: ambient, app: p}}\nspec: {address: 10.0.1.1, weight: 3, locality: us/a}",
        "apiVersion: networking.istio.io/v1\nkind: WorkloadEntry\nmetadata: {name: e, namespace: a, labels: {app: p}}\nspec: {address: vm.example.com}",
        "apiVersion: networking.istio.io/v1\nkind: WorkloadEntry\nmetadata: {name: e, namespace: a, annotations: {proxy.istio.io/health-checks-enabled: 'true'}}\nspec: {address: 10.0.1.1, labels: {app: p, tier: front}}\nstatus: {conditions: [{type: Healthy, status: 'False'}]}",
    ],
    &[
        "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: se, namespace: a}\nspec: {hosts: [api.example.com, s.a.svc.cluster.local], addresses: [10.2.0.1], resolution: STATIC, ports: [{number: 80, name: http, protocol: HTTP}], endpoints: [{address: 10.3.0.1}, {address: 10.3.0.1}, {address: 10.3.0.2}]}",
        "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: se, namespace: a}\nspec: {hosts: [api.example.com], resolution: STATIC, ports: [{number: 80, name: http}], workloadSelector: {labels: {tier: front}}}",
        "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: se, namespace: a, labels: {istio.io/use-waypoint: w}}\nspec: {hosts: [api.example.com], addresses: [10.2.0.1], resolution: DNS, ports: [{number: 80, name: http}]}",
    ],
    &[
        "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: zz, namespace: a}\nspec: {hosts: [api.example.com], exportTo: ['.'], resolution: STATIC, ports: [{number: 80, name: grpc}], endpoints: [{address: 10.3.0.1}]}",
        "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: zz, namespace: b}\nspec: {hosts: [api.example.com], ports: [{number: 80, name: http}]}",
        "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: zz, namespace: a, creationTimestamp: '2020-01-01T00:00:00Z', annotations: {networking.istio.io/traffic-distribution: PreferSameNode}}\nspec: {hosts: [api.example.com, '*.wild.example.com', also.example.com], resolution: DYNAMIC_DNS, ports: [{number: 80, name: http}]}",
        "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: zz, namespace: a, labels: {networking.istio.io/enable-autoallocate-ip: 'false'}}\nspec: {hosts: [api.example.com], resolution: DNS, ports: [{number: 80, name: http}]}",
    ],
    &[
        "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: d, namespace: a}\nspec: {host: s, subsets: [{name: one, labels: {version: v1}}], trafficPolicy: {outlierDetection: {consecutive5xxErrors: 3}, loadBalancer: {consistentHash: {httpHeaderName: x-user}}}}",
        "apiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: d, namespace: a}\nspec: {host: '*.svc.cluster.local', trafficPolicy: {tls: {mode: ISTIO_MUTUAL}}}",
    ],
    &[
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: v, namespace: a}\nspec: {hosts: [s], http: [{route: [{destination: {host: s, subset: one}}, {destination: {host: t}, weight: 3}]}], tcp: [{route: [{destination: {host: t}}]}]}",
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: v, namespace: a}\nspec: {hosts: [api.example.com, t], http: [{timeout: 3s, route: [{destination: {host: api.example.com}}]}]}",
    ],
    &[
        "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: h, namespace: a}\nspec: {parentRefs: [{group: '', kind: Service, name: s, port: 80}], rules: [{backendRefs: [{name: t, port: 90}]}]}",
        "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: h, namespace: a}\nspec: {parentRefs: [{group: '', kind: Service, name: t, sectionName: http}, {group: networking.istio.io, kind: ServiceEntry, name: se}], rules: [{backendRefs: [{group: networking.istio.io, kind: Hostname, name: api.example.com, port: 80}]}]}",
    ],
    &[
        "apiVersion: gateway.networking.k8s.io/v1\nkind: GRPCRoute\nmetadata: {name: g, namespace: a}\nspec: {parentRefs: [{group: '', kind: Service, name: s}], rules: [{backendRefs: [{name: s, port: 80, weight: 2}]}]}",
    ],
    &[
        "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: l4, namespace: a}\nspec: {selector: {matchLabels: {app: p}}, rules: [{from: [{source: {namespaces: [b]}}]}]}",
        "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: l4, namespace: a}\nspec: {rules: [{from: [{source: {namespaces: [b]}}]}]}",
        "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: l4, namespace: a}\nspec: {targetRefs: [{group: '', kind: Service, name: s}], action: DENY, rules: [{to: [{operation: {methods: [DELETE]}}]}]}",
        "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: l4, namespace: a}\nspec: {targetRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: w}], action: CUSTOM, provider: {name: asks}, rules: [{}]}",
    ],
    &[
        "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: wide, namespace: istio-system}\nspec: {selector: {matchLabels: {tier: front}}, action: DENY, rules: [{from: [{source: {namespaces: [c]}}]}]}",
        "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: wide, namespace: istio-system}\nspec: {targetRefs: [{group: gateway.networking.k8s.io, kind: GatewayClass, name: istio-waypoint}], rules: [{from: [{source: {namespaces: [c]}}]}]}",
    ],
    &[
        "apiVersion: security.istio.io/v1\nkind: RequestAuthentication\nmetadata: {name: j, namespace: a}\nspec: {targetRefs: [{group: networking.istio.io, kind: ServiceEntry, name: se}, {group: '', kind: Service, name: t}], jwtRules: [{issuer: me, jwksUri: 'https://keys.example.com/a'}]}",
    ],
    &[
        "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: mesh, namespace: istio-system}\nspec: {mtls: {mode: STRICT}}",
        "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: mesh, namespace: istio-system}\nspec: {selector: {matchLabels: {app: q}}, mtls: {mode: STRICT}}",
    ],
    &[
        "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: own, namespace: a}\nspec: {selector: {matchLabels: {app: p}}, portLevelMtls: {'8080': {mode: STRICT}}}",
        "apiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {name: own, namespace: a}\nspec: {mtls: {mode: PERMISSIVE}}",
    ],
    &[
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: istio, namespace: istio-system}\ndata: {mesh: 'extensionProviders: [{name: asks, envoyExtAuthzGrpc: {service: s.a.svc.cluster.local, port: 80}}]'}",
        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: istio, namespace: istio-system}\ndata: {mesh: 'extensionProviders: [{name: asks, envoyExtAuthzHttp: {service: t.a.svc.cluster.local, port: 90}}]'}",
    ],
];

/// What somebody has who was told of all changes.
#[derive(Default)]
struct Told {
    translation: Translation,
    by_node: BTreeMap<String, BTreeSet<SpiffeId>>,
    served: BTreeMap<NamespacedHostname, BTreeSet<NamespacedHostname>>,
    views: BTreeMap<View, Seen>,
    asked: BTreeMap<(Clients, Named), Option<Value>>,
}

/// What an instance of a waypoint, or of another Gateway, has.
#[derive(Default)]
struct Seen {
    clusters: BTreeMap<Text, Made>,
    listeners: BTreeMap<Text, Listener>,
    routes: BTreeMap<Text, Arc<RouteTable>>,
    secrets: BTreeMap<Text, Secret>,
}

/// Takes what differs.
fn take<T>(all: &mut BTreeMap<Text, T>, change: BTreeMap<Text, Option<T>>) {
    for (name, now) in change {
        match now {
            Some(now) => all.insert(name, now),
            None => all.remove(&name),
        };
    }
}

impl Told {
    fn take(&mut self, engine: &Engine, changes: Changes) {
        let Self { translation, by_node, served, .. } = self;
        for key in &changes.differs.services {
            translation.services.retain(|service| service.key != *key);
            served.remove(key);
            if let Some((service, of)) = engine.service(key) {
                translation.services.push(service.clone());
                served.insert(key.clone(), of.cloned().collect());
            }
        }
        for uid in &changes.differs.workloads {
            translation.workloads.retain(|workload| workload.uid != *uid);
            translation.workloads.extend(engine.workload(uid).cloned());
        }
        for name in &changes.differs.policies {
            translation.policies.retain(|policy| policy.name != *name);
            translation.policies.extend(engine.policy(name).cloned());
        }
        translation.services.sort_by(|a, b| a.key.cmp(&b.key));
        translation.workloads.sort_by(|a, b| a.uid.cmp(&b.uid));
        translation.policies.sort_by(|a, b| a.name.cmp(&b.name));
        for node in changes.differs.nodes {
            by_node.insert(node.to_string(), engine.on_node(node.as_str()));
        }
        by_node.retain(|_, identities| !identities.is_empty());
        for (view, change) in changes.views {
            self.look(view, change);
        }
        for (clients, asked) in changes.clients {
            self.ask(&clients, asked);
        }
    }

    fn ask(&mut self, clients: &Clients, asked: Asked) {
        self.asked.extend(asked.into_iter().map(|(named, value)| ((clients.clone(), named), value)));
    }

    fn look(&mut self, view: View, change: ViewChange) {
        let seen = self.views.entry(view).or_default();
        take(&mut seen.clusters, change.clusters);
        take(&mut seen.listeners, change.listeners);
        take(&mut seen.routes, change.routes);
        take(&mut seen.secrets, change.secrets);
    }
}

fn views() -> Vec<View> {
    let of = |namespace: &str, name: &str, locality: Locality, role: Role| View {
        waypoint: NamespacedName::new(namespace, name),
        locality,
        role,
    };
    vec![
        of("a", "w", Locality::new("eu", "a", ""), Role::Waypoint),
        of("b", "x", Locality::default(), Role::Waypoint),
        of("b", "x", Locality::new("us", "a", ""), Role::Waypoint),
        of("a", "front", Locality::new("eu", "a", ""), Role::Gateway),
        of("a", "front", Locality::default(), Role::Gateway),
        of("a", "w", Locality::default(), Role::Gateway),
    ]
}

/// Clients without a proxy, and what all of them ask for.
fn clients() -> (Vec<Clients>, Vec<Named>) {
    let of = |namespace: &str, are_captured| {
        let locality = Locality::new("eu", "a", "");
        Clients { namespace: namespace.into(), locality, are_captured }
    };
    let called =
        ["s:80", "s.a", "t.a.svc.cluster.local:90", "api.example.com:80"].map(|name| Named::Listener(name.into()));
    let hosts = ["s.a.svc.cluster.local", "t.a.svc.cluster.local", "api.example.com"];
    let of_port = |host: &str| {
        let name = |subset: &str| format!("outbound|80|{subset}|{host}").into();
        [Named::Routes(name("")), Named::Cluster(name("")), Named::Cluster(name("one"))]
    };
    let asked = called.into_iter().chain(hosts.into_iter().flat_map(of_port)).collect();
    (vec![of("a", true), of("a", false), of("b", false)], asked)
}

/// What those who are served have is what a translation from scratch gives them.
fn assert_same(told: &Told, world: &World, step: usize) {
    let place = place();
    let whole = Waypoints::new(world, &place);
    let translation = whole.translation();
    assert_eq!(told.translation, translation, "step {step}");
    assert_eq!(told.by_node, whole.identities_by_node(), "step {step}");
    let of_whole = |key: &NamespacedHostname| whole.0.service(key).map(|(_, of)| of.cloned().collect());
    for (key, served) in &told.served {
        assert_eq!(Some(served.clone()), of_whole(key), "step {step}: {key}");
    }
    for ((clients, named), value) in &told.asked {
        assert_eq!(*value, whole.asked(clients, named), "step {step}: {clients:?} {named:?}");
    }
    for (view, Seen { clusters, listeners, routes, secrets }) in &told.views {
        let expected = match view.role {
            Role::Waypoint => {
                let waypoint::Resources { listeners, clusters, assignments } =
                    whole.resources(&view.waypoint, &view.locality);
                gateway::Resources { listeners, clusters, assignments, ..gateway::Resources::default() }
            }
            Role::Gateway => whole.gateway(&view.waypoint, &view.locality),
        };
        let seen = gateway::Resources {
            listeners: listeners.values().cloned().collect(),
            routes: routes.values().map(|table| RouteTable::clone(table)).collect(),
            clusters: Vec::new(),
            assignments: clusters.values().filter_map(|made| made.assignment.clone()).collect(),
            secrets: secrets.values().cloned().collect(),
        };
        let by_name: BTreeMap<_, _> = expected.clusters.iter().map(|cluster| (cluster.name.clone(), cluster)).collect();
        let clusters: BTreeMap<_, _> = clusters.iter().map(|(name, made)| (name.clone(), &made.cluster)).collect();
        assert_eq!(clusters, by_name, "step {step}: {view:?}");
        assert_eq!(seen, gateway::Resources { clusters: Vec::new(), ..expected }, "step {step}: {view:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn step_by_step_comes_to_the_same_as_from_scratch(
        begin in prop::collection::vec(any::<Index>(), OBJECTS.len()),
        steps in prop::collection::vec((any::<Index>(), any::<Index>()), 1..24),
        look in 0..24_usize,
        close in (0..24_usize, any::<Index>()),
    ) {
        let mut world = World::default();
        for (versions, choice) in OBJECTS.iter().zip(begin) {
            if let Some(text) = versions.get(choice.index(versions.len() + 1)) {
                put(&mut world, text);
            }
        }
        let (mut engine, mut told) = (Engine::new(place()), Told::default());
        let changes = engine.apply(world.clone());
        told.take(&engine, changes);
        for (step, (object, version)) in steps.into_iter().enumerate() {
            if step == look {
                for view in views() {
                    let change = engine.open(&view);
                    told.look(view, change);
                }
                let (clients, asked) = clients();
                for clients in clients {
                    let change = engine.demand(&clients, asked.clone());
                    told.ask(&clients, change);
                }
            }
            if step == close.0 {
                let view = close.1.get(&views()).clone();
                engine.close(&view);
                told.views.remove(&view);
            }
            let versions = OBJECTS[object.index(OBJECTS.len())];
            match versions.get(version.index(versions.len() + 1)) {
                Some(text) => put(&mut world, text),
                None => remove(&mut world, versions[0]),
            }
            let changes = engine.apply(world.clone());
            told.take(&engine, changes);
            assert_same(&told, &world, step);
        }
        for (clients, named) in told.asked.into_keys() {
            engine.release(&clients, named);
        }
        views().iter().for_each(|view| engine.close(view));
        let mut never_looked_at = Engine::new(place());
        never_looked_at.apply(world.clone());
        prop_assert_eq!(engine.graph.size(), never_looked_at.graph.size(), "nothing is left of what was closed");
        let nodes = engine.graph.size().0;
        engine.apply(World::default());
        prop_assert!(engine.graph.size().0 <= nodes);
        prop_assert_eq!(Waypoints(engine).translation(), Translation::default());
    }
}

/// A mesh of services, each with ten pods and a slice, in namespaces of a hundred services with a waypoint each.
fn large(services: usize) -> World {
    let mut world = World::default();
    for index in 0..services {
        let namespace = format!("n{}", index / 100);
        if index % 100 == 0 {
            put(
                &mut world,
                &format!(
                    "apiVersion: v1\nkind: Namespace\nmetadata: {{name: {namespace}, labels: {{istio.io/dataplane-mode: ambient, istio.io/use-waypoint: w}}}}\n---\napiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {{name: w, namespace: {namespace}}}\nspec: {{gatewayClassName: istio-waypoint, listeners: [{{name: mesh, port: 15008, protocol: HBONE}}]}}\n---\napiVersion: security.istio.io/v1\nkind: PeerAuthentication\nmetadata: {{name: p, namespace: {namespace}}}\nspec: {{mtls: {{mode: STRICT}}}}"
                ),
            );
        }
        let ip = format!("10.1.{}.{}", index / 250, index % 250);
        put(
            &mut world,
            &format!(
                "apiVersion: v1\nkind: Service\nmetadata: {{name: s{index}, namespace: {namespace}}}\nspec: {{clusterIP: {ip}, selector: {{app: s{index}}}, ports: [{{name: http, port: 80}}]}}"
            ),
        );
        let mut slice = format!(
            "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\naddressType: IPv4\nmetadata: {{name: s{index}, namespace: {namespace}, labels: {{kubernetes.io/service-name: s{index}}}}}\nports: [{{name: http, port: 80}}]\nendpoints:"
        );
        for pod in 0..10 {
            put(&mut world, &pod_of(&namespace, index, pod, true));
            slice += &format!("\n- {{addresses: [10.0.0.1], targetRef: {{kind: Pod, name: s{index}-{pod}}}}}");
        }
        put(&mut world, &slice);
    }
    world
}

fn pod_of(namespace: &str, service: usize, pod: usize, ready: bool) -> String {
    let (high, low) = (service / 20, service % 20 * 10 + pod);
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: s{service}-{pod}, namespace: {namespace}, labels: {{app: s{service}}}}}\nspec: {{nodeName: n{}}}\nstatus: {{podIP: 10.2.{high}.{low}, conditions: [{{type: Ready, status: '{}'}}]}}",
        service % 50,
        if ready { "True" } else { "False" }
    )
}

/// How many values a change of a world is worth.
fn cost(engine: &mut Engine, world: &World) -> u64 {
    let before = engine.computations();
    engine.apply(world.clone());
    engine.computations() - before
}

#[test]
fn one_changed_endpoint_costs_work_for_that_endpoint_only() {
    for services in [100, 1_000] {
        let mut world = large(services);
        let mut engine = Engine::new(place());
        engine.apply(world.clone());
        let waypoint = NamespacedName::new("n0", "w");
        engine.open(&View { waypoint, locality: Locality::default(), role: Role::Waypoint });

        assert_eq!(cost(&mut engine, &world), 0, "nothing has changed");
        // The workload, and its service's one cluster at the one waypoint that is looked at.
        put(&mut world, &pod_of("n0", 7, 3, false));
        assert_eq!(cost(&mut engine, &world), 2, "of {services} services");
        // Of a waypoint that nobody looks at.
        if services > 100 {
            put(&mut world, &pod_of("n5", 507, 3, false));
            assert_eq!(cost(&mut engine, &world), 1, "of {services} services");
        }
        // The slice itself, and the one pod that is not in it any more; the cluster reads the same.
        let slice = "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\naddressType: IPv4\nmetadata: {name: s7, namespace: n0, labels: {kubernetes.io/service-name: s7}}\nports: [{name: http, port: 80}]\nendpoints:";
        let others =
            (1..10).map(|pod| format!("\n- {{addresses: [10.0.0.1], targetRef: {{kind: Pod, name: s7-{pod}}}}}"));
        put(&mut world, &(slice.to_owned() + &others.collect::<String>()));
        assert_eq!(cost(&mut engine, &world), 2, "of {services} services");
        // The service, the ten pods that it selects, its part of the listener, the listener and the cluster.
        put(
            &mut world,
            "apiVersion: v1\nkind: Service\nmetadata: {name: s7, namespace: n0}\nspec: {clusterIP: 10.1.9.9, selector: {app: s7}, ports: [{name: http, port: 80}]}",
        );
        assert_eq!(cost(&mut engine, &world), 14, "of {services} services");
        // A policy that selects the pods of one service: it, and they.
        put(
            &mut world,
            "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {name: p, namespace: n0}\nspec: {selector: {matchLabels: {app: s8}}, rules: [{}]}",
        );
        assert_eq!(cost(&mut engine, &world), 12, "of {services} services");
    }
}

#[test]
fn one_changed_endpoint_of_a_gateway_costs_its_cluster_and_a_route_costs_its_ports() {
    let gateway = |ports: &str| {
        format!(
            "apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {{name: front, namespace: n0}}\nspec: {{gatewayClassName: istio, listeners: [{ports}]}}"
        )
    };
    let route = |index: usize, path: &str| {
        format!(
            "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {{name: r{index}, namespace: n0}}\nspec: {{parentRefs: [{{name: front, sectionName: http}}], rules: [{{matches: [{{path: {{value: {path}}}}}], backendRefs: [{{name: s{index}, port: 80}}]}}]}}"
        )
    };
    let mut world = large(100);
    put(&mut world, &gateway("{name: http, port: 80, protocol: HTTP}, {name: more, port: 8080, protocol: HTTP}"));
    (0..100).for_each(|index| put(&mut world, &route(index, &format!("/{index}"))));
    let mut engine = Engine::new(place());
    engine.apply(world.clone());
    let waypoint = NamespacedName::new("n0", "front");
    let view = View { waypoint, locality: Locality::default(), role: Role::Gateway };
    let change = engine.open(&view);
    assert_eq!((change.clusters.len(), change.routes.len(), change.listeners.len()), (100, 2, 2));

    assert_eq!(cost(&mut engine, &world), 0, "nothing has changed");
    // The workload, and its service's one cluster.
    put(&mut world, &pod_of("n0", 7, 3, false));
    let before = engine.computations();
    let changes = engine.apply(world.clone());
    assert_eq!(engine.computations() - before, 2);
    let change = &changes.views[&view];
    let told = (change.clusters.len(), change.routes.len(), change.listeners.len());
    assert_eq!(told, (1, 0, 0), "and that is all that is told");
    // A route: both ports, for it might have come to either; and what they come to. Of that only the one table is told.
    put(&mut world, &route(7, "/seven"));
    let before = engine.computations();
    let changes = engine.apply(world.clone());
    assert_eq!(engine.computations() - before, 3);
    let change = &changes.views[&view];
    let told: Vec<_> = change.routes.keys().map(Text::as_str).collect();
    assert_eq!((told, change.clusters.len(), change.listeners.len()), (vec!["http.80"], 0, 0));
    // A port that goes takes its listener and routes with it, and nothing else.
    put(&mut world, &gateway("{name: http, port: 80, protocol: HTTP}"));
    let changes = engine.apply(world.clone());
    let change = &changes.views[&view];
    assert!(change.listeners["0.0.0.0_8080"].is_none() && change.routes["http.8080"].is_none());
    assert_eq!((change.listeners.len(), change.routes.len(), change.clusters.len()), (1, 1, 0));
}

#[test]
fn a_kubernetes_service_counts_before_an_entry_of_its_host() {
    let mut engine = Engine::new(place());
    let mut world = World::default();
    let text = "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {name: NAME, namespace: a}\nspec: {hosts: [s.a.svc.cluster.local], ports: [{number: 80, name: http}]}";
    let key = NamespacedHostname::new("a", Hostname::parse("s.a.svc.cluster.local").unwrap());
    let of = |engine: &mut Engine, world: &World| {
        engine.apply(world.clone());
        engine.service(&key).map(|(service, _)| service.name.to_string())
    };
    for (name, counts) in [("b", "b"), ("a", "b"), ("c", "c")] {
        put(&mut world, &text.replace("NAME", name));
        assert_eq!(of(&mut engine, &world).as_deref(), Some(counts));
    }
    let service = "apiVersion: v1\nkind: Service\nmetadata: {name: s, namespace: a}\nspec: {ports: [{port: 80}]}";
    put(&mut world, service);
    assert_eq!(of(&mut engine, &world).as_deref(), Some("s"));
    remove(&mut world, service);
    remove(&mut world, &text.replace("NAME", "c"));
    assert_eq!(of(&mut engine, &world).as_deref(), Some("b"));
}

#[test]
fn places_of_nodes_and_preferences_of_namespaces_count_where_nothing_nearer_is_said() {
    let mut world = World::default();
    put(
        &mut world,
        "apiVersion: v1\nkind: Node\nmetadata: {name: n7, labels: {topology.kubernetes.io/region: eu, topology.kubernetes.io/zone: eu-1, topology.istio.io/subzone: rack}}",
    );
    put(
        &mut world,
        "apiVersion: v1\nkind: Namespace\nmetadata: {name: nn, annotations: {networking.istio.io/traffic-distribution: PreferClose}}",
    );
    for (name, said) in [("plain", ""), ("own", ", trafficDistribution: PreferSameNode")] {
        put(
            &mut world,
            &format!(
                "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: nn}}\nspec: {{ports: [{{port: 80}}]{said}}}"
            ),
        );
    }
    put(&mut world, &pod_of("nn", 7, 0, true));
    let translation = translate(&world, &place());
    assert_eq!(translation.workloads[0].locality, Locality::new("eu", "eu-1", "rack"));
    let preferences: Vec<usize> =
        translation.services.iter().map(|service| service.load_balancing.preference.len()).collect();
    assert_eq!(preferences, [5, 3]);
}

fn slice_of(name: &str, service: &str, endpoints: &str) -> String {
    format!(
        "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\naddressType: IPv4\nmetadata: {{name: {name}, namespace: n0, labels: {{kubernetes.io/service-name: {service}}}}}\nports: [{{name: http, port: 80}}]\nendpoints: {endpoints}"
    )
}

#[test]
fn endpoints_of_slices_cost_work_for_the_slices_of_their_service_only() {
    let mut world = large(200);
    let outside = "apiVersion: v1\nkind: Service\nmetadata: {name: outside, namespace: n0}\nspec: {clusterIP: 10.3.0.1, ports: [{name: http, port: 80}]}";
    put(&mut world, outside);
    put(&mut world, &slice_of("o1", "outside", "[{addresses: [192.0.2.1]}]"));
    put(&mut world, &slice_of("o2", "outside", "[{addresses: [192.0.2.2]}]"));
    put(&mut world, &slice_of("pods", "outside", "[{addresses: [10.2.0.1], targetRef: {kind: Pod, name: s0-1}}]"));
    let mut engine = Engine::new(place());
    engine.apply(world.clone());
    // It, and the other that has endpoints of its own.
    put(&mut world, &slice_of("o1", "outside", "[{addresses: [192.0.2.1], conditions: {ready: false}}]"));
    assert_eq!(cost(&mut engine, &world), 2);
    // It, and the two pods that it is about.
    put(&mut world, &slice_of("pods", "outside", "[{addresses: [10.2.0.1], targetRef: {kind: Pod, name: s0-2}}]"));
    assert_eq!(cost(&mut engine, &world), 3);
}

#[test]
fn a_new_host_costs_work_for_itself_and_those_it_takes_addresses_from() {
    let entry = |number: usize, age: &str| {
        format!(
            "apiVersion: networking.istio.io/v1\nkind: ServiceEntry\nmetadata: {{name: e{number}, namespace: n0, creationTimestamp: '{age}'}}\nspec: {{hosts: [e{number}.example], resolution: DNS, ports: [{{number: 80, name: http}}]}}"
        )
    };
    let mut world = World::default();
    for number in 0..3_000 {
        put(&mut world, &entry(number, "2024-01-01T00:00:00Z"));
    }
    let mut engine = Engine::new(place());
    engine.apply(world.clone());
    let translation = Waypoints::new(&world, &place()).translation();
    let vips: BTreeSet<_> = translation.services.iter().flat_map(|service| &service.vips).map(|(_, ip)| ip).collect();
    assert_eq!(vips.len(), 2 * 3_000, "no two have one address");
    // The services and the workload of a younger one: the older keep what they have.
    for number in 3_000..3_100 {
        put(&mut world, &entry(number, "2025-01-01T00:00:00Z"));
        let before = engine.computations();
        let changes = engine.apply(world.clone());
        assert_eq!(engine.computations() - before, 2);
        assert_eq!(changes.differs.services.len(), 1);
    }
    // Those of an older one, and a few whose addresses it takes.
    for number in 3_100..3_200 {
        put(&mut world, &entry(number, "2023-01-01T00:00:00Z"));
        assert!(cost(&mut engine, &world) <= 2 + 8);
    }
}

#[test]
fn an_endpoint_on_its_way_out_is_the_last_resort_of_each_of_its_services() {
    let mut world = World::default();
    let pod = |name: &str, labels: &str, more: &str| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: n0, labels: {{{labels}}}{more}}}\nspec: {{nodeName: node}}\nstatus: {{podIP: 10.2.0.1, conditions: [{{type: Ready, status: 'True'}}]}}"
        )
    };
    for name in ["one", "two"] {
        put(
            &mut world,
            &format!(
                "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: n0}}\nspec: {{selector: {{{name}: 'yes'}}, ports: [{{port: 80}}]}}"
            ),
        );
    }
    let going = ", deletionTimestamp: '2030-01-01T00:00:00Z'";
    put(&mut world, &pod("going", "one: 'yes', two: 'yes'", going));
    put(&mut world, &pod("ready", "one: 'yes', two: 'yes'", ""));
    let mut engine = Engine::new(place());
    let health = |engine: &Engine| engine.workload(&"c1//Pod/n0/going".into()).map(|workload| workload.health);
    engine.apply(world.clone());
    assert_eq!(health(&engine), Some(Health::Unhealthy));
    // Service `two` has no other any more.
    put(&mut world, &pod("ready", "one: 'yes'", ""));
    let changes = engine.apply(world.clone());
    assert_eq!(health(&engine), Some(Health::Healthy));
    assert!(changes.differs.workloads.contains("c1//Pod/n0/going"));
    put(&mut world, &pod("new", "two: 'yes'", ""));
    engine.apply(world.clone());
    assert_eq!(health(&engine), Some(Health::Unhealthy));
    remove(&mut world, &pod("new", "", ""));
    remove(&mut world, &pod("ready", "", ""));
    engine.apply(world.clone());
    assert_eq!(health(&engine), Some(Health::Healthy));
}

#[test]
fn a_node_gets_no_identity_for_an_address_in_a_slice() {
    let mut world = World::default();
    put(
        &mut world,
        "apiVersion: v1\nkind: Service\nmetadata: {name: s, namespace: n0}\nspec: {ports: [{name: http, port: 80}]}",
    );
    put(&mut world, &slice_of("o", "s", "[{addresses: [192.0.2.1], nodeName: n1}]"));
    let waypoints = Waypoints::new(&world, &place());
    assert_eq!(waypoints.translation().workloads[0].node.as_str(), "n1");
    assert!(waypoints.identities_by_node().is_empty() && waypoints.0.on_node("n1").is_empty());
}
