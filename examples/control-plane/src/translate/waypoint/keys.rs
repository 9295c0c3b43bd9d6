//! Clusters by which an Envoy fetches the keys of issuers. Proxies of ours fetch them by themselves.

use http::Uri;
use mesh_core::balance::{Assignment, Cluster, Discovery, Dns, DnsHost, Endpoint, LocalityEndpoints};
use mesh_core::name::{Hostname, Locality};
use mesh_core::string_match::Pattern;
use mesh_core::tls::{SanKind, SanMatcher, TrustedCa, UpstreamTls, Validation, ValidationSource};

/// Where keys are served.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::translate) struct KeyCluster {
    host: String,
    port: u16,
    tls: bool,
}

impl KeyCluster {
    /// That of a URL of `https` or `http`.
    pub(super) fn of(uri: &Uri) -> Option<Self> {
        let tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => return None,
        };
        let host = uri.host().filter(|host| !host.is_empty())?.to_ascii_lowercase();
        let port = uri.port_u16().unwrap_or(if tls { 443 } else { 80 });
        Some(Self { host, port, tls })
    }

    pub(in crate::translate) fn name(&self) -> String {
        format!("jwks|{}|{}", self.port, self.host)
    }

    pub(super) fn cluster(&self) -> Cluster {
        let host = DnsHost { name: self.host.as_str().into(), port: self.port };
        let endpoints = LocalityEndpoints::new(Locality::default(), vec![Endpoint::new(host)]);
        let name = self.name();
        let hosts = Assignment::new(name.as_str(), vec![endpoints]);
        let mut cluster = Cluster::new(name, Discovery::StrictDns(Dns::new(hosts)));
        cluster.tls = self.tls.then(|| {
            let validation = Validation {
                trusted_ca: Some(TrustedCa::System),
                names: vec![SanMatcher { kind: SanKind::Dns, pattern: Pattern::exact(&self.host) }],
                ..Validation::default()
            };
            UpstreamTls {
                sni: Hostname::parse(&self.host).ok(),
                ..UpstreamTls::new(ValidationSource::Inline(validation))
            }
        });
        cluster
    }
}
