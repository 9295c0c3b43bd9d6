//! Manifests of a mesh of some size.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// How large a mesh is.
#[derive(Debug, Clone, Copy)]
pub struct Size {
    pub services: usize,
    pub workloads: usize,
    pub routes: usize,
    pub policies: usize,
    /// Namespaces, each with a waypoint for all of its services.
    pub namespaces: usize,
}

/// How manifests are laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    OneFile,
    /// A file for each namespace.
    Namespaces,
    /// A file for each service with its workloads, its route and its policy, in a directory for each namespace.
    Services,
}

impl Size {
    pub const LARGE: Self =
        Self { services: 20_000, workloads: 100_000, routes: 2_000, policies: 5_000, namespaces: 200 };

    /// A part of it.
    pub fn part(self, part: usize) -> Self {
        Self {
            services: self.services / part,
            workloads: self.workloads / part,
            routes: self.routes / part,
            policies: self.policies / part,
            namespaces: self.namespaces / part,
        }
    }

    /// How many objects there are: with a namespace come its waypoint and the pod of that.
    pub fn objects(self) -> usize {
        self.services + self.workloads + self.routes + self.policies + 3 * self.namespaces
    }

    /// How many resources workload discovery has of it.
    pub fn addresses(self) -> usize {
        self.services + self.workloads + self.namespaces
    }

    fn per_service(self) -> usize {
        self.workloads / self.services
    }

    fn namespace(self, service: usize) -> usize {
        service % self.namespaces
    }
}

/// What is different in a mesh from how it was written first: of service 0, the first workload and the policy.
#[derive(Debug, Clone, Copy, Default)]
pub struct Changed {
    pub endpoint: bool,
    pub policy: bool,
}

impl Layout {
    /// Writes all of it.
    pub fn write(self, directory: &Path, size: Size) {
        let mut all = String::new();
        for namespace in 0..size.namespaces {
            match self {
                Self::OneFile => all.push_str(&of_namespace(size, namespace, Changed::default())),
                Self::Namespaces => {
                    let text = of_namespace(size, namespace, Changed::default());
                    fs::write(directory.join(format!("n{namespace}.yaml")), text).unwrap();
                }
                Self::Services => {
                    let directory = directory.join(format!("n{namespace}"));
                    fs::create_dir(&directory).unwrap();
                    fs::write(directory.join("namespace.yaml"), head(namespace)).unwrap();
                    for service in (namespace..size.services).step_by(size.namespaces) {
                        let text = of_service(size, service, Changed::default());
                        fs::write(directory.join(format!("s{service}.yaml")), text).unwrap();
                    }
                }
            }
        }
        if self == Self::OneFile {
            fs::write(directory.join("mesh.yaml"), all).unwrap();
        }
    }

    /// The file in which service 0 stands, and its text.
    pub fn changed(self, size: Size, changed: Changed) -> (PathBuf, String) {
        match self {
            Self::OneFile => {
                let of = |namespace| {
                    let changed = if namespace == 0 { changed } else { Changed::default() };
                    of_namespace(size, namespace, changed)
                };
                ("mesh.yaml".into(), (0..size.namespaces).map(of).collect())
            }
            Self::Namespaces => ("n0.yaml".into(), of_namespace(size, 0, changed)),
            Self::Services => ("n0/s0.yaml".into(), of_service(size, 0, changed)),
        }
    }
}

fn of_namespace(size: Size, namespace: usize, changed: Changed) -> String {
    let services = (namespace..size.services).step_by(size.namespaces);
    let services =
        services.map(|service| of_service(size, service, if service == 0 { changed } else { Changed::default() }));
    head(namespace) + &services.collect::<String>()
}

/// A namespace with its waypoint.
fn head(namespace: usize) -> String {
    let [.., middle, low] = u32::try_from(namespace).unwrap().to_be_bytes();
    format!(
        "---
apiVersion: v1
kind: Namespace
metadata:
  name: n{namespace}
  labels:
    istio.io/dataplane-mode: ambient
    istio.io/use-waypoint: w
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata:
  name: w
  namespace: n{namespace}
spec:
  gatewayClassName: istio-waypoint
  addresses:
  - type: IPAddress
    value: 10.64.{middle}.{low}
  listeners:
  - name: mesh
    port: 15008
    protocol: HBONE
---
apiVersion: v1
kind: Pod
metadata:
  name: w-1
  namespace: n{namespace}
  labels:
    gateway.networking.k8s.io/gateway-name: w
spec:
  nodeName: node-0
  serviceAccountName: w
status:
  podIP: 10.64.{middle}.{low}
  conditions:
  - type: Ready
    status: 'True'
"
    )
}

/// A service with its workloads, and its route and its policy, if it has any.
fn of_service(size: Size, service: usize, changed: Changed) -> String {
    let namespace = size.namespace(service);
    let [_, high, middle, low] = u32::try_from(service).unwrap().to_be_bytes();
    let mut text = format!(
        "---
apiVersion: v1
kind: Service
metadata:
  name: s{service}
  namespace: n{namespace}
spec:
  clusterIP: 10.{}.{middle}.{low}
  selector:
    app: s{service}
  ports:
  - name: http
    port: 80
    targetPort: 8080
",
        128 + high
    );
    for number in 0..size.per_service() {
        pod(&mut text, size, service, number, !(changed.endpoint && number == 0));
    }
    if service < size.routes {
        write!(
            text,
            "---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata:
  name: r{service}
  namespace: n{namespace}
spec:
  parentRefs:
  - group: ''
    kind: Service
    name: s{service}
  rules:
  - matches:
    - path:
        value: /a
    backendRefs:
    - name: s{service}
      port: 80
"
        )
        .unwrap();
    }
    if service < size.policies {
        policy(&mut text, size, service, changed.policy);
    }
    text
}

fn pod(text: &mut String, size: Size, service: usize, number: usize, ready: bool) {
    let index = service * size.per_service() + number;
    let [_, high, middle, low] = u32::try_from(index).unwrap().to_be_bytes();
    let status = if ready { "True" } else { "False" };
    write!(
        text,
        "---
apiVersion: v1
kind: Pod
metadata:
  name: s{service}-{number}
  namespace: n{}
  labels:
    app: s{service}
    version: v1
    pod-template-hash: h{service}
spec:
  nodeName: node-{}
  serviceAccountName: s{service}
status:
  podIP: 10.{high}.{middle}.{low}
  conditions:
  - type: Ready
    status: '{status}'
",
        size.namespace(service),
        index % 1_000
    )
    .unwrap();
}

/// A policy: of two services one's is the waypoint's, the other's that of node proxies. In the changed one another account is
/// let in.
fn policy(text: &mut String, size: Size, service: usize, changed: bool) {
    let namespace = size.namespace(service);
    let caller = |service: usize| format!("cluster.local/ns/n{}/sa/s{service}", size.namespace(service));
    let mut callers = caller((service + 1) % size.services);
    if changed {
        callers = format!("{callers}, {}", caller((service + 2) % size.services));
    }
    let (target, operation) = match service % 2 {
        0 => {
            (format!("targetRefs: [{{group: '', kind: Service, name: s{service}}}]"), "methods: [GET], paths: [/api/*]")
        }
        _ => (format!("selector: {{matchLabels: {{app: s{service}}}}}"), "ports: ['8080']"),
    };
    write!(
        text,
        "---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata:
  name: p{service}
  namespace: n{namespace}
spec:
  {target}
  rules:
  - from:
    - source: {{principals: [{callers}]}}
    to:
    - operation: {{{operation}}}
"
    )
    .unwrap();
}

/// A mesh in which each service has a policy, as one text: as it is, or with another account let in by each policy.
pub fn of_policies(size: Size, changed: bool) -> String {
    let changed = Changed { policy: changed, ..Changed::default() };
    let of_namespace = |namespace: usize| {
        let services = (namespace..size.services).step_by(size.namespaces);
        head(namespace) + &services.map(|service| of_service(size, service, changed)).collect::<String>()
    };
    (0..size.namespaces).map(of_namespace).collect()
}
