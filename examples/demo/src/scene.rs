//! The scene: addresses, manifests, tokens and directories of the demo.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::Error;

/// Port of the SOCKS5 way into the mesh, on each workload's own address.
pub(crate) const SOCKS_PORT: u16 = 15080;

/// Everything the processes of the demo need to know of each other.
#[derive(Debug)]
pub(crate) struct Scene {
    /// Root of all files.
    pub(crate) dir: PathBuf,
    /// Life of an SVID.
    pub(crate) svid_ttl: Duration,
    block: u8,
    /// Removes the directory at the end, when the demo made it.
    _temporary: Option<tempfile::TempDir>,
}

/// A workload of the demo.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Who {
    /// Calls the others. On node a.
    Frontend,
    /// Must not call anybody. On node a.
    Batch,
    /// A real HTTP server. On node b.
    Catalog,
    /// A real gRPC server. On node b.
    Checkout,
}

impl Who {
    /// All of them.
    pub(crate) const ALL: [Self; 4] = [Self::Frontend, Self::Batch, Self::Catalog, Self::Checkout];

    /// Name of workload and service account.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Frontend => "frontend",
            Self::Batch => "batch",
            Self::Catalog => "catalog",
            Self::Checkout => "checkout",
        }
    }

    /// Its identity.
    pub(crate) fn id(self) -> String {
        format!("spiffe://cluster.local/ns/shop/sa/{}", self.name())
    }

    fn node(self) -> Node {
        match self {
            Self::Frontend | Self::Batch => Node::A,
            Self::Catalog | Self::Checkout => Node::B,
        }
    }

    fn host(self) -> u8 {
        match self {
            Self::Frontend | Self::Catalog => 1,
            Self::Batch | Self::Checkout => 2,
        }
    }
}

/// A node: a node proxy and the workloads behind it, on loopback addresses of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Node {
    /// The callers' node.
    A,
    /// The servers' node.
    B,
}

impl Node {
    /// Name of the node.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::A => "node-a",
            Self::B => "node-b",
        }
    }

    fn octet(self) -> u8 {
        match self {
            Self::A => 1,
            Self::B => 2,
        }
    }
}

impl Scene {
    /// Chooses free loopback addresses and writes the manifests.
    pub(crate) fn lay(dir: Option<PathBuf>, svid_ttl: Duration) -> Result<Self, Error> {
        let (dir, temporary) = match dir {
            Some(dir) => (dir, None),
            None => {
                let temporary = tempfile::Builder::new().prefix("mesh-demo-").tempdir()?;
                (temporary.path().to_owned(), Some(temporary))
            }
        };
        for part in ["manifests", "authority", "tokens", "node-a", "node-b", "logs"] {
            fs::create_dir_all(dir.join(part)).map_err(|error| format!("{}: {error}", dir.join(part).display()))?;
        }
        let block = free_block().ok_or(
            "found no free block of loopback addresses; 127.64.0.0/10 must be usable, as it is by default on Linux",
        )?;
        let scene = Self { dir, svid_ttl, block, _temporary: temporary };
        write(&scene.manifest("mesh.yaml"), &scene.mesh_manifest())?;
        write(&scene.manifest("policies.yaml"), &policies())?;
        Ok(scene)
    }

    /// Address of a workload.
    pub(crate) fn ip(&self, who: Who) -> IpAddr {
        self.address(who.node().octet(), who.host())
    }

    /// Where a workload's application listens.
    pub(crate) fn application(&self, who: Who) -> SocketAddr {
        SocketAddr::new(self.ip(who), if who == Who::Checkout { 9090 } else { 8080 })
    }

    /// Where a workload's way into the mesh listens.
    pub(crate) fn socks(&self, who: Who) -> SocketAddr {
        SocketAddr::new(self.ip(who), SOCKS_PORT)
    }

    /// Admin endpoint of a node proxy.
    pub(crate) fn node_admin(&self, node: Node) -> SocketAddr {
        SocketAddr::new(self.address(node.octet(), 254), 15000)
    }

    /// Where the control plane serves discovery and certificates.
    pub(crate) fn control_plane(&self) -> SocketAddr {
        SocketAddr::new(self.address(0, 1), 15012)
    }

    /// Admin endpoint of the control plane.
    pub(crate) fn control_plane_admin(&self) -> SocketAddr {
        SocketAddr::new(self.address(0, 1), 15014)
    }

    /// Path of a manifest.
    pub(crate) fn manifest(&self, name: &str) -> PathBuf {
        self.dir.join("manifests").join(name)
    }

    /// Path of a process's log.
    pub(crate) fn log(&self, process: &str) -> PathBuf {
        self.dir.join("logs").join(format!("{process}.log"))
    }

    /// Writes a settings file and gives its path.
    pub(crate) fn settings(&self, name: &str, text: &str) -> Result<PathBuf, Error> {
        let path = self.dir.join(name);
        write(&path, text)?;
        Ok(path)
    }

    /// Replaces the policies.
    pub(crate) fn publish_policies(&self, text: &str) -> Result<(), Error> {
        write(&self.manifest("policies.yaml"), text)
    }

    fn address(&self, third: u8, fourth: u8) -> IpAddr {
        Ipv4Addr::new(127, self.block, third, fourth).into()
    }

    fn mesh_manifest(&self) -> String {
        let mut text = String::from(NAMESPACE);
        for who in Who::ALL {
            let (name, node, ip) = (who.name(), who.node().name(), self.ip(who));
            text.push_str(&format!(
                "---\napiVersion: v1\nkind: ServiceAccount\nmetadata: {{name: {name}, namespace: shop}}\n\
                 ---\napiVersion: v1\nkind: Pod\n\
                 metadata: {{name: {name}-0, namespace: shop, labels: {{app: {name}}}}}\n\
                 spec: {{nodeName: {node}, serviceAccountName: {name}}}\n\
                 status: {{phase: Running, podIPs: [{{ip: {ip}}}], conditions: [{{type: Ready, status: \"True\"}}]}}\n"
            ));
        }
        text.push_str(SERVICES);
        text
    }
}

/// Virtual addresses of the services. Nobody listens there: only the mesh knows them.
pub(crate) const CATALOG_VIP: &str = "10.96.7.1";

const NAMESPACE: &str = "\
apiVersion: v1
kind: Namespace
metadata:
  name: shop
  labels: {istio.io/dataplane-mode: ambient}
---
# Nobody without a verified identity reaches a workload of this namespace.
apiVersion: security.istio.io/v1
kind: PeerAuthentication
metadata: {name: strict, namespace: shop}
spec: {mtls: {mode: STRICT}}
";

const SERVICES: &str = "\
---
apiVersion: v1
kind: Service
metadata: {name: catalog, namespace: shop}
spec:
  clusterIP: 10.96.7.1
  selector: {app: catalog}
  ports: [{name: http, port: 80, targetPort: 8080}]
---
apiVersion: v1
kind: Service
metadata: {name: checkout, namespace: shop}
spec:
  clusterIP: 10.96.7.2
  selector: {app: checkout}
  ports: [{name: grpc, port: 9090, targetPort: 9090}]
";

/// The policies at the start: the batch job is denied by name, the frontend may call both servers.
pub(crate) fn policies() -> String {
    NO_BATCH.to_owned() + &catalog_policy("catalog-callers", "ALLOW")
}

/// The policies after the edit: the catalog is closed for the frontend, the checkout is not.
pub(crate) fn policies_without_frontend() -> String {
    NO_BATCH.to_owned() + &catalog_policy("catalog-closed", "DENY")
}

const NO_BATCH: &str = "\
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: no-batch-jobs, namespace: shop}
spec:
  action: DENY
  rules:
  - from: [{source: {principals: [cluster.local/ns/shop/sa/batch]}}]
";

fn catalog_policy(name: &str, action: &str) -> String {
    format!(
        "---\napiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\n\
         metadata: {{name: {name}, namespace: shop}}\n\
         spec:\n  selector: {{matchLabels: {{app: catalog}}}}\n  action: {action}\n  rules:\n  \
         - from: [{{source: {{principals: [cluster.local/ns/shop/sa/frontend]}}}}]\n"
    )
}

/// A second octet of which no address in use by the demo is taken.
fn free_block() -> Option<u8> {
    let start = u8::try_from(std::process::id() % 64).unwrap_or(0);
    (0..64).map(|n| 64 + (start + n) % 64).find(|block| {
        let free = |third, fourth, port| {
            TcpListener::bind(SocketAddr::new(Ipv4Addr::new(127, *block, third, fourth).into(), port)).is_ok()
        };
        free(0, 1, 15012) && free(1, 1, 15008) && free(2, 1, 15008) && free(1, 254, 15000) && free(2, 254, 15000)
    })
}

/// Replaces a file as an editor or a GitOps agent does: whole, by renaming.
fn write(path: &Path, text: &str) -> Result<(), Error> {
    let scratch = path.with_extension("tmp");
    let replace = || -> io::Result<()> {
        fs::write(&scratch, text)?;
        fs::rename(&scratch, path)
    };
    replace().map_err(|error| format!("{}: {error}", path.display()).into())
}
