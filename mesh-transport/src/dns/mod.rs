//! The mesh's DNS proxy (feature `dns`): answers names of services from the catalog, as the client's own namespace and
//! network see them, and passes everything else on.
//!
//! A name that the mesh knows is answered here and nowhere else, also when it has no address of the family asked for: the
//! question must not leak to a server outside. Only A and AAAA are answered; other types are passed on.

mod candidates;
mod forward;
mod lookup;
mod message;
mod server;
mod upstream;

use mesh_core::name::{Hostname, Text};

pub use forward::{ForwardError, Forwarder};
pub use lookup::{Answer, Family, lookup};
pub use message::{Question, Reply, parse_question};
pub use server::{Dns, Event, Observer};
pub use upstream::{ResolvConf, parse_resolv_conf};

/// Life of answers about the mesh, in seconds.
pub const TTL: u32 = 30;

/// What names mean beside what the catalog says.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Zone {
    /// The domain of the Kubernetes cluster.
    pub cluster_domain: Hostname,
    /// Domains that a client's stub appends to short names; `None`: those of a pod, by its namespace.
    pub search: Option<Vec<Hostname>>,
    /// The namespace that wins where neither the client's own nor a canonical service decides.
    pub preferred_namespace: Option<Text>,
    /// Whether IPv6 addresses are given out.
    pub ipv6: bool,
}

impl Zone {
    /// A zone of this cluster domain, with the search domains of a pod.
    #[must_use]
    pub fn new(cluster_domain: Hostname) -> Self {
        Self { cluster_domain, search: None, preferred_namespace: None, ipv6: true }
    }
}

#[cfg(test)]
mod tests;
