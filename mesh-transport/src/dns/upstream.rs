use std::net::{IpAddr, SocketAddr};

use mesh_core::name::Hostname;

/// What a `resolv.conf` says, as far as it is used here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ResolvConf {
    /// Servers, in order; at most three count, as everywhere.
    pub nameservers: Vec<SocketAddr>,
    /// Search domains.
    pub search: Vec<Hostname>,
}

/// Reads a `resolv.conf` (resolv.conf(5)). What is malformed or not known is passed over, as resolvers do.
#[must_use]
pub fn parse_resolv_conf(text: &str) -> ResolvConf {
    let mut conf = ResolvConf::default();
    for line in text.lines() {
        let line = line.split(['#', ';']).next().unwrap_or_default();
        let mut words = line.split_whitespace();
        match words.next() {
            Some("nameserver") if conf.nameservers.len() < 3 => {
                // A scope names an interface of this machine: `fe80::1%eth0`. Without it the address cannot be reached.
                let address = words.next().and_then(|word| word.parse::<IpAddr>().ok());
                conf.nameservers.extend(address.map(|ip| SocketAddr::new(ip, 53)));
            }
            // The last one wins.
            Some("search" | "domain") => {
                conf.search = words.filter_map(|word| Hostname::parse(word).ok()).collect();
            }
            _ => {}
        }
    }
    conf
}
