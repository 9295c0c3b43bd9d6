//! Clusters whose endpoints DNS knows.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::sync::Arc;

use mesh_core::balance::{Assignment, Dns, DnsFamily, DnsHost};
use tokio::time::Instant;

/// The addresses of a cluster that DNS knows.
#[derive(Debug)]
pub(crate) struct Names {
    pub(crate) dns: Dns,
    /// Whether the first address that is found is the only one.
    single: bool,
    found: BTreeMap<(String, u16), Vec<SocketAddr>>,
    /// What was found; nothing before it was looked up.
    pub(crate) assignment: Option<Arc<Assignment>>,
    /// When to look again.
    pub(crate) next: Instant,
}

impl Names {
    pub(crate) fn new(dns: Dns, single: bool) -> Self {
        Self { dns, single, found: BTreeMap::new(), assignment: None, next: Instant::now() }
    }

    /// Asks for every host. One that is not found keeps the addresses it had.
    pub(crate) async fn look_up(&mut self) {
        let hosts: BTreeSet<(String, u16)> = self
            .dns
            .hosts
            .endpoints()
            .map(|endpoint| (endpoint.address.name.to_string(), endpoint.address.port))
            .collect();
        for (name, port) in hosts {
            let found = tokio::net::lookup_host((name.as_str(), port)).await.map(Iterator::collect);
            match found {
                Ok(found) => {
                    let mut found = of_family(found, self.dns.family);
                    found.truncate(if self.single { 1 } else { found.len() });
                    self.found.insert((name, port), found);
                }
                Err(error) => tracing::warn!(name, %error, "a host of a cluster is not found"),
            }
        }
        let found = &self.found;
        let lookup = |host: &DnsHost| found.get(&(host.name.to_string(), host.port)).cloned().unwrap_or_default();
        let assignment = self.dns.hosts.resolve(lookup);
        if self.assignment.as_deref() != Some(&assignment) {
            self.assignment = Some(Arc::new(assignment));
        }
        self.next = Instant::now() + self.dns.refresh;
    }
}

fn of_family(found: Vec<SocketAddr>, family: DnsFamily) -> Vec<SocketAddr> {
    let (four, six): (Vec<_>, Vec<_>) = found.into_iter().partition(SocketAddr::is_ipv4);
    match family {
        DnsFamily::Auto if six.is_empty() => four,
        DnsFamily::V4Preferred if four.is_empty() => six,
        DnsFamily::V4Only | DnsFamily::V4Preferred => four,
        DnsFamily::V6Only | DnsFamily::Auto => six,
        DnsFamily::All => six.into_iter().chain(four).collect(),
    }
}
