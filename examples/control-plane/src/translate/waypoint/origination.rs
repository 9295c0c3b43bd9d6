//! TLS towards endpoints, as DestinationRules ask for it.
//!
//! | mode | endpoints in the mesh | others |
//! | --- | --- | --- |
//! | none, `DISABLE` | the tunnel | plaintext |
//! | `SIMPLE`, `MUTUAL` | TLS in the tunnel | TLS |
//! | `ISTIO_MUTUAL` | the tunnel | TLS by the waypoint's own identity, if all of the host are others; else they are left out |

use mesh_core::balance::{Assignment, Cluster, HttpProtocol};
use mesh_core::name::{Hostname, SpiffeId, Text};
use mesh_core::service::Service;
use mesh_core::string_match::Pattern;
use mesh_core::tls::{
    Certificate, CertificateSource, DataSource, Parameters, SanKind, SanMatcher, Sensitive, TrustedCa, UpstreamTls,
    Validation, ValidationSource, Version,
};

use super::cluster::Made;
use crate::resource::ClientTls;

/// The waypoint's own certificate, and whom it trusts. They are Istio's names.
pub(super) const OWN_CERTIFICATE: &str = "default";
pub(super) const MESH_ROOTS: &str = "ROOTCA";

/// Whether the waypoint's own identity is asked for, in a tunnel or without one.
pub(in crate::translate) fn is_mutual(tls: Option<&ClientTls>) -> bool {
    tls.and_then(|tls| tls.mode.as_deref()) == Some("ISTIO_MUTUAL")
}

/// Secures a cluster as it is asked for. `identities` are those of its endpoints, of which with `ISTIO_MUTUAL` all have tunnels
/// or none.
pub(super) fn secure(made: &mut Made, tls: Option<&ClientTls>, service: &Service, identities: &[SpiffeId]) {
    let Some((tls, mode)) = tls.and_then(|tls| Some((tls, tls.mode.as_deref()?))) else { return };
    let mut endpoints = made.assignment.iter().flat_map(Assignment::endpoints);
    match mode {
        "SIMPLE" | "MUTUAL" => made.cluster.tls = Some(of_files(tls, service, &made.cluster)),
        "ISTIO_MUTUAL" if !endpoints.any(|endpoint| endpoint.tunnel.is_some()) => {
            made.cluster.tls = Some(of_mesh(tls, service, identities, &made.cluster));
            made.cluster.tunnels = false;
        }
        _ => {}
    }
}

/// By files of the machine on which the waypoint runs.
fn of_files(tls: &ClientTls, service: &Service, cluster: &Cluster) -> UpstreamTls {
    let file = |path: &String| DataSource::File(path.as_str().into());
    let server_name = server_name(tls, service);
    let validation = Validation {
        trusted_ca: Some(tls.ca_certificates.as_ref().map_or(TrustedCa::System, |path| TrustedCa::Bundle(file(path)))),
        names: names(tls, service),
        crl: tls.ca_crl.as_ref().map(file),
        ..Validation::default()
    };
    let certificate = tls.client_certificate.as_ref().zip(tls.private_key.as_ref()).map(|(chain, key)| {
        CertificateSource::Inline(Certificate { chain: file(chain), key: Sensitive(file(key)), ocsp_staple: None })
    });
    UpstreamTls {
        certificate,
        sni: server_name,
        alpn: alpn(cluster),
        ..UpstreamTls::new(ValidationSource::Inline(validation))
    }
}

/// By the waypoint's own identity.
fn of_mesh(tls: &ClientTls, service: &Service, identities: &[SpiffeId], cluster: &Cluster) -> UpstreamTls {
    let default = Validation { names: names_in_mesh(tls, service, identities), ..Validation::default() };
    UpstreamTls {
        // As everywhere in the mesh.
        parameters: Parameters { minimum: Version::Tls13, ..Parameters::default() },
        certificate: Some(CertificateSource::Secret(OWN_CERTIFICATE.into())),
        sni: tls.sni.as_deref().and_then(|name| Hostname::parse(name).ok()),
        alpn: alpn(cluster),
        ..UpstreamTls::new(ValidationSource::Combined { default, secret: MESH_ROOTS.into() })
    }
}

/// Who may be at the end of a connection that is secured by an identity of the mesh.
pub(in crate::translate) fn names_in_mesh(
    tls: &ClientTls,
    service: &Service,
    identities: &[SpiffeId],
) -> Vec<SanMatcher> {
    let given: Vec<Text> = match tls.subject_alt_names.as_slice() {
        [] => identities.iter().chain(&service.subject_alt_names).map(|id| id.to_string().into()).collect(),
        names => names.iter().map(|name| name.as_str().into()).collect(),
    };
    let name = |name: &Text| SanMatcher { kind: SanKind::Uri, pattern: Pattern::exact(name.as_str()) };
    given.iter().map(name).collect()
}

fn server_name(tls: &ClientTls, service: &Service) -> Option<Hostname> {
    match &tls.sni {
        Some(name) => Hostname::parse(name).ok(),
        None => Some(service.key.hostname.clone()).filter(|host| !host.as_str().starts_with('*')),
    }
}

/// Names of which the certificate must have one. There is always one: else anybody whom an authority knows would do.
fn names(tls: &ClientTls, service: &Service) -> Vec<SanMatcher> {
    let given = tls.subject_alt_names.iter().map(|name| match name.starts_with("spiffe://") {
        true => SanMatcher { kind: SanKind::Uri, pattern: Pattern::exact(name) },
        false => SanMatcher { kind: SanKind::Dns, pattern: Pattern::exact(name) },
    });
    let of_service = service
        .subject_alt_names
        .iter()
        .map(|id| SanMatcher { kind: SanKind::Uri, pattern: Pattern::exact(&id.to_string()) });
    let mut names: Vec<SanMatcher> = given.collect();
    if names.is_empty() {
        names.extend(of_service);
    }
    if names.is_empty() {
        let pattern = match server_name(tls, service) {
            Some(name) => Pattern::exact(name.as_str()),
            None => {
                let end = service.key.hostname.as_str().trim_start_matches('*');
                Pattern::Suffix { text: end.into(), ignore_case: true }
            }
        };
        names.push(SanMatcher { kind: SanKind::Dns, pattern });
    }
    names
}

fn alpn(cluster: &Cluster) -> Vec<Text> {
    match cluster.protocol {
        HttpProtocol::Http2 => vec!["h2".into()],
        _ => Vec::new(),
    }
}
