//! TLS with backends, as BackendTLSPolicies ask for it.

use mesh_core::name::{Hostname, NamespacedHostname, NamespacedName};
use mesh_core::string_match::Pattern;
use mesh_core::tls::{CertificateSource, SanKind, SanMatcher, TrustedCa, UpstreamTls, Validation, ValidationSource};

use super::certificate;
use crate::resource::{BackendTlsPolicy, BackendTlsTarget, BackendTlsValidation, Kind, SubjectAltName};
use crate::translate::facts::{By, Reader};
use crate::world::Lookup;

/// A policy is for a backend, and cannot be honoured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unverifiable;

/// How a Gateway speaks to a port of a service; `None` where no policy is for it.
pub(super) fn of(
    reader: &Reader<'_>,
    gateway: &NamespacedName,
    service: &NamespacedHostname,
    port: u16,
) -> Option<Result<UpstreamTls, Unverifiable>> {
    let policy = policy(reader, service, port)?;
    let mut tls = upstream(reader, policy);
    if let (Ok(tls), Some(gateway)) = (&mut tls, reader.gateway(gateway)) {
        let shown = certificate::of_backends(reader, gateway);
        tls.certificate = shown.map(|secret| CertificateSource::Secret(secret.name));
    }
    Some(tls)
}

/// The policy for a port of a service: one that names the port before one for all, then the oldest.
fn policy<'a>(reader: &Reader<'a>, service: &NamespacedHostname, port: u16) -> Option<&'a BackendTlsPolicy> {
    let id = reader.declaring(service).find(|id| id.kind == Kind::Service)?;
    let ports = &reader.service_object(&id.name)?.spec.ports;
    let name = ports.iter().find(|one| one.port == port).map(|one| one.name.as_str());
    let is_service = |target: &&BackendTlsTarget| {
        target.group.is_empty() && target.kind == "Service" && id.name.name == *target.name.as_str()
    };
    let found = reader.index(By::Target(id.clone())).filter(|id| id.kind == Kind::BackendTlsPolicy);
    let candidates = found.filter_map(|id| {
        let policy = reader.backend_tls(&id.name)?;
        let sections =
            || policy.spec.target_refs.iter().filter(is_service).map(|target| target.section_name.as_deref());
        let named = sections().any(|section| section.is_some() && section == name);
        (named || sections().any(|section| section.is_none())).then_some((
            !named,
            policy.metadata.created(),
            id,
            policy,
        ))
    });
    candidates.min_by_key(|(for_all, created, id, _)| (*for_all, *created, *id)).map(|(.., policy)| policy)
}

fn upstream(reader: &Reader<'_>, policy: &BackendTlsPolicy) -> Result<UpstreamTls, Unverifiable> {
    let BackendTlsValidation { ca_certificate_refs, well_known_ca_certificates, hostname, subject_alt_names } =
        &policy.spec.validation;
    let server_name = Hostname::parse(hostname).ok().filter(|name| !name.is_wildcard()).ok_or(Unverifiable)?;
    let trusted = match (ca_certificate_refs.as_slice(), well_known_ca_certificates.as_deref()) {
        ([], Some("System")) => TrustedCa::System,
        ([_, ..], None) => {
            let good =
                ca_certificate_refs.iter().filter(|one| (one.group.as_str(), one.kind.as_str()) == ("", "ConfigMap"));
            let key = |name: &str| NamespacedName::new(policy.metadata.namespace.as_str(), name);
            let good: Vec<_> = good.filter_map(|one| certificate::of_config_map(reader, &key(&one.name))).collect();
            if good.is_empty() {
                return Err(Unverifiable);
            }
            certificate::bundle(good)
        }
        _ => return Err(Unverifiable),
    };
    let mut names: Vec<SanMatcher> = subject_alt_names.iter().map(name).collect::<Option<_>>().ok_or(Unverifiable)?;
    if names.is_empty() {
        names.push(SanMatcher { kind: SanKind::Dns, pattern: Pattern::exact(server_name.as_str()) });
    }
    let validation = Validation { trusted_ca: Some(trusted), names, ..Validation::default() };
    Ok(UpstreamTls { sni: Some(server_name), ..UpstreamTls::new(ValidationSource::Inline(validation)) })
}

/// A name of which a certificate must have one; `None` if it says nothing that is understood.
fn name(name: &SubjectAltName) -> Option<SanMatcher> {
    match (name.r#type.as_str(), &name.hostname, &name.uri) {
        ("Hostname", Some(host), _) => {
            let host = Hostname::parse(host).ok()?;
            let pattern = match host.as_str().strip_prefix('*') {
                Some(end) => Pattern::Suffix { text: end.into(), ignore_case: true },
                None => Pattern::exact(host.as_str()),
            };
            Some(SanMatcher { kind: SanKind::Dns, pattern })
        }
        ("URI", _, Some(uri)) => Some(SanMatcher { kind: SanKind::Uri, pattern: Pattern::exact(uri) }),
        _ => None,
    }
}
