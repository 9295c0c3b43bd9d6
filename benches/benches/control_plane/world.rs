//! Manifests of a mesh of some size.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

/// How large a mesh is.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    pub services: usize,
    pub workloads: usize,
    pub routes: usize,
    pub policies: usize,
    pub waypoints: usize,
}

impl Size {
    pub const LARGE: Self =
        Self { services: 20_000, workloads: 100_000, routes: 2_000, policies: 5_000, waypoints: 200 };

    /// A part of it.
    pub fn part(self, part: usize) -> Self {
        Self {
            services: self.services / part,
            workloads: self.workloads / part,
            routes: self.routes / part,
            policies: self.policies / part,
            waypoints: self.waypoints / part,
        }
    }

    fn per_service(self) -> usize {
        self.workloads / self.services
    }

    /// The namespace of a service: each has as many as the others, and a waypoint for all of them.
    pub fn namespace(self, service: usize) -> usize {
        service % self.waypoints
    }
}

/// Writes a file per namespace.
pub fn write(directory: &Path, size: Size) {
    for namespace in 0..size.waypoints {
        let mut text = format!(
            "apiVersion: v1\nkind: Namespace\nmetadata: {{name: n{namespace}, labels: {{istio.io/dataplane-mode: ambient, istio.io/use-waypoint: w}}}}\n---\napiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {{name: w, namespace: n{namespace}}}\nspec: {{gatewayClassName: istio-waypoint, listeners: [{{name: mesh, port: 15008, protocol: HBONE}}]}}\n"
        );
        for service in (namespace..size.services).step_by(size.waypoints) {
            let [_, high, middle, low] = u32::try_from(service).unwrap().to_be_bytes();
            writeln!(
                text,
                "---\napiVersion: v1\nkind: Service\nmetadata: {{name: s{service}, namespace: n{namespace}}}\nspec: {{clusterIP: 10.{}.{middle}.{low}, selector: {{app: s{service}}}, ports: [{{name: http, port: 80, targetPort: 8080}}]}}",
                128 + high
            )
            .unwrap();
            for pod in 0..size.per_service() {
                writeln!(text, "---\n{}", self::pod(size, service, pod, true)).unwrap();
            }
            if service < size.routes {
                writeln!(
                    text,
                    "---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {{name: r{service}, namespace: n{namespace}}}\nspec: {{parentRefs: [{{group: '', kind: Service, name: s{service}}}], rules: [{{matches: [{{path: {{value: /a}}}}], backendRefs: [{{name: s{service}, port: 80}}]}}]}}"
                )
                .unwrap();
            }
            if service < size.policies {
                writeln!(text, "---\n{}", policy(size, service, "GET")).unwrap();
            }
        }
        fs::write(directory.join(format!("n{namespace}.yaml")), text).unwrap();
    }
}

/// A pod of a service.
pub fn pod(size: Size, service: usize, pod: usize, ready: bool) -> String {
    let index = service * size.per_service() + pod;
    let [_, high, middle, low] = u32::try_from(index).unwrap().to_be_bytes();
    let namespace = size.namespace(service);
    let status = if ready { "True" } else { "False" };
    format!(
        "apiVersion: v1\nkind: Pod\nmetadata: {{name: s{service}-{pod}, namespace: n{namespace}, labels: {{app: s{service}, version: v1, pod-template-hash: h{service}}}}}\nspec: {{nodeName: node-{}, serviceAccountName: s{service}}}\nstatus: {{podIP: 10.{high}.{middle}.{low}, conditions: [{{type: Ready, status: '{status}'}}]}}",
        index % 1_000
    )
}

/// A policy: of two services one's is the waypoint's, the other's that of node proxies.
pub fn policy(size: Size, service: usize, method: &str) -> String {
    let namespace = size.namespace(service);
    let head = format!(
        "apiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\nmetadata: {{name: p{service}, namespace: n{namespace}}}"
    );
    match service % 2 {
        0 => format!(
            "{head}\nspec: {{targetRefs: [{{group: '', kind: Service, name: s{service}}}], rules: [{{to: [{{operation: {{methods: [{method}]}}}}]}}]}}"
        ),
        _ => format!(
            "{head}\nspec: {{selector: {{matchLabels: {{app: s{service}}}}}, rules: [{{from: [{{source: {{namespaces: [{method}]}}}}]}}]}}"
        ),
    }
}
