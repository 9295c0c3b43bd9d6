//! A namespace with a waypoint, two services and who uses them.

use super::Block;

/// The manifests, in which `first` is the service that requests go to by default.
///
/// On `node-a` there are `client` and `thief`, on `node-b` there are `one` and `two`, the endpoints of `carts` and of
/// `canary`; the waypoint's is `node-w`.
pub fn mesh(block: Block, first: &str) -> String {
    let (waypoint, one, two) = (block.waypoint(), block.ip(11), block.ip(12));
    let pods = [("client", "node-a", 21), ("thief", "node-a", 22)].map(|(name, node, host)| {
        format!(
            "---\napiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: shop}}\n\
             spec: {{nodeName: {node}, serviceAccountName: {name}}}\n\
             status: {{podIP: {}, conditions: [{{type: Ready, status: \"True\"}}]}}\n",
            block.ip(host)
        )
    });
    format!(
        r#"
apiVersion: v1
kind: Namespace
metadata: {{name: shop, labels: {{istio.io/dataplane-mode: ambient, istio.io/use-waypoint: waypoint}}}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {{name: waypoint, namespace: shop, labels: {{istio.io/waypoint-for: all}}}}
spec: {{gatewayClassName: istio-waypoint, listeners: [{{name: mesh, port: 15008, protocol: HBONE}}]}}
status: {{addresses: [{{type: IPAddress, value: {waypoint}}}]}}
---
apiVersion: v1
kind: Pod
metadata: {{name: waypoint-1, namespace: shop, labels: {{gateway.networking.k8s.io/gateway-name: waypoint}}}}
spec: {{nodeName: node-w, serviceAccountName: waypoint}}
status: {{podIP: {waypoint}, conditions: [{{type: Ready, status: "True"}}]}}
---
apiVersion: v1
kind: Service
metadata: {{name: carts, namespace: shop}}
spec: {{clusterIP: 10.1.0.1, selector: {{app: one}}, ports: [{{name: http, port: 80, targetPort: 8080}}]}}
---
apiVersion: v1
kind: Service
metadata: {{name: canary, namespace: shop}}
spec: {{clusterIP: 10.1.0.2, selector: {{app: two}}, ports: [{{name: http, port: 80, targetPort: 8080}}]}}
---
apiVersion: v1
kind: Service
metadata: {{name: ledger, namespace: shop}}
spec: {{clusterIP: 10.1.0.3, selector: {{app: one}}, ports: [{{name: tcp, port: 90, targetPort: 9090}}]}}
---
apiVersion: v1
kind: Pod
metadata: {{name: one, namespace: shop, labels: {{app: one}}}}
spec: {{nodeName: node-b, serviceAccountName: one}}
status: {{podIP: {one}, conditions: [{{type: Ready, status: "True"}}]}}
---
apiVersion: v1
kind: Pod
metadata: {{name: two, namespace: shop, labels: {{app: two}}}}
spec: {{nodeName: node-b, serviceAccountName: two}}
status: {{podIP: {two}, conditions: [{{type: Ready, status: "True"}}]}}
{}---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {{name: carts, namespace: shop}}
spec:
  parentRefs: [{{group: "", kind: Service, name: carts}}]
  rules:
  - matches: [{{headers: [{{name: x-canary, value: "yes"}}]}}]
    filters: [{{type: RequestHeaderModifier, requestHeaderModifier: {{set: [{{name: x-by, value: waypoint}}]}}}}]
    backendRefs: [{{name: canary, port: 80}}]
  - matches: [{{path: {{type: PathPrefix, value: /split}}}}]
    backendRefs: [{{name: carts, port: 80, weight: 1}}, {{name: canary, port: 80, weight: 1}}]
  - backendRefs: [{{name: {first}, port: 80}}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: no-admin, namespace: shop}}
spec:
  targetRefs: [{{group: "", kind: Service, name: carts}}]
  action: DENY
  rules: [{{to: [{{operation: {{paths: [/admin*]}}}}]}}, {{from: [{{source: {{serviceAccounts: [shop/thief]}}}}]}}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: no-thief, namespace: shop}}
spec:
  targetRefs: [{{group: "", kind: Service, name: ledger}}]
  action: DENY
  rules: [{{from: [{{source: {{serviceAccounts: [shop/thief]}}}}]}}]
---
# The port is that of the workloads themselves. Of what is no HTTP, a path cannot be told, and all of it would be denied.
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {{name: closed, namespace: shop}}
spec:
  targetRefs: [{{group: gateway.networking.k8s.io, kind: Gateway, name: waypoint}}]
  action: DENY
  rules: [{{to: [{{operation: {{paths: [/closed*], ports: ["8080"]}}}}]}}]
"#,
        pods.concat()
    )
}

/// A policy of the servers themselves: they are reached through the waypoint only.
pub const SERVERS_BEHIND_WAYPOINT: &str = r#"
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: behind-waypoint, namespace: shop}
spec:
  selector: {matchLabels: {app: one}}
  action: ALLOW
  rules: [{from: [{source: {principals: [cluster.local/ns/shop/sa/waypoint]}}]}]
"#;
