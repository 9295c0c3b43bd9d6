//! TLSRoute, TCPRoute and UDPRoute by themselves, and what the other kinds of the Gateway API demand.

use super::route;
use crate::finding::Faults;
use crate::resource::text::is_hostname;
use crate::resource::{
    BackendTlsPolicy, BackendTlsValidation, ListenerSet, ParentRef, ReferenceGrant, ServiceImport, StreamRouteRule,
    TcpRouteSpec, TlsRoute,
};

/// A TLSRoute.
pub(super) fn tls_route(route: &TlsRoute, faults: &mut Faults<'_>) {
    let spec = &route.spec;
    faults.some("hostnames", spec.hostnames.len());
    stream(&spec.parent_refs, &spec.hostnames, &spec.rules, faults);
}

/// A TCPRoute or UDPRoute.
pub(super) fn tcp_route(spec: &TcpRouteSpec, faults: &mut Faults<'_>) {
    stream(&spec.parent_refs, &[], &spec.rules, faults);
}

fn stream(parents: &[ParentRef], hostnames: &[String], rules: &[StreamRouteRule], faults: &mut Faults<'_>) {
    route::parents(parents, hostnames, faults);
    if rules.len() != 1 {
        faults.error("rules", format_args!("{} entries; there must be one", rules.len()));
    }
    faults.each("rules", rules, |faults, rule| {
        faults.some("backendRefs", rule.backend_refs.len());
        faults.at_most("backendRefs", rule.backend_refs.len(), 16);
        faults.each("backendRefs", &rule.backend_refs, |faults, one| {
            route::backend(one, faults);
            if !one.filters.is_empty() {
                faults.error("filters", "there are none for connections");
            }
        });
    });
}

/// A ReferenceGrant.
pub(super) fn reference_grant(grant: &ReferenceGrant, faults: &mut Faults<'_>) {
    for (field, length) in [("from", grant.spec.from.len()), ("to", grant.spec.to.len())] {
        faults.some(field, length);
        faults.at_most(field, length, 16);
    }
    faults.each("from", &grant.spec.from, |faults, from| {
        for (field, text) in [("kind", &from.kind), ("namespace", &from.namespace)] {
            if text.is_empty() || text.contains('*') {
                faults.error(field, format_args!("`{text}` is no name; there are no wildcards"));
            }
        }
    });
    faults.each("to", &grant.spec.to, |faults, to| {
        if to.kind.is_empty() || to.kind.contains('*') {
            faults.error("kind", format_args!("`{}` is no name; there are no wildcards", to.kind));
        }
    });
}

/// A ListenerSet.
pub(super) fn listener_set(set: &ListenerSet, faults: &mut Faults<'_>) {
    let parent = &set.spec.parent_ref;
    if parent.section_name.is_some() || parent.port.is_some() {
        faults.error("parentRef", "is a Gateway as a whole: there is neither `sectionName` nor `port`");
    }
    super::gateway::listeners(&set.spec.listeners, false, faults);
}

/// A BackendTLSPolicy.
pub(super) fn backend_tls(policy: &BackendTlsPolicy, faults: &mut Faults<'_>) {
    let targets = &policy.spec.target_refs;
    faults.some("targetRefs", targets.len());
    faults.at_most("targetRefs", targets.len(), 16);
    for (index, target) in targets.iter().enumerate() {
        for before in targets.iter().take(index) {
            let same = (&before.group, &before.kind, &before.name) == (&target.group, &target.kind, &target.name);
            let field = format!("targetRefs[{index}]");
            if same && before.section_name == target.section_name {
                faults.error(field, "stands there twice");
            } else if same && before.section_name.is_some() != target.section_name.is_some() {
                faults.error(field, "of references to one object, all or none have a sectionName");
            }
        }
    }
    faults.within("validation", |faults| validation(&policy.spec.validation, faults));
}

fn validation(validation: &BackendTlsValidation, faults: &mut Faults<'_>) {
    let BackendTlsValidation { ca_certificate_refs, well_known_ca_certificates, hostname, subject_alt_names } =
        validation;
    match (ca_certificate_refs.is_empty(), well_known_ca_certificates.as_deref().unwrap_or_default()) {
        (true, "") => faults.error("caCertificateRefs", "there is none, and no `wellKnownCACertificates` either"),
        (false, known) if !known.is_empty() => {
            faults.error("wellKnownCACertificates", "there are `caCertificateRefs` too");
        }
        _ => {}
    }
    faults.at_most("caCertificateRefs", ca_certificate_refs.len(), 8);
    if !is_hostname(hostname) || hostname.starts_with('*') {
        faults.error("hostname", format_args!("`{hostname}` is no precise host name"));
    }
    faults.at_most("subjectAltNames", subject_alt_names.len(), 5);
    faults.each("subjectAltNames", subject_alt_names, |faults, name| {
        faults.one_of("type", Some(&name.r#type), &["Hostname", "URI"]);
        for (kind, field, value) in [("Hostname", "hostname", &name.hostname), ("URI", "uri", &name.uri)] {
            let given = value.as_deref().is_some_and(|value| !value.is_empty());
            if given != (kind == name.r#type) {
                faults.error(field, if given { "does not fit the type" } else { "is missing" });
            }
        }
        if let Some(hostname) = name.hostname.as_ref().filter(|name| !name.is_empty() && !is_hostname(name)) {
            faults.error("hostname", format_args!("`{hostname}` is no host name"));
        }
        if let Some(uri) = name.uri.as_ref().filter(|uri| !uri.is_empty() && !uri.contains(':')) {
            faults.error("uri", format_args!("`{uri}` is no URI: it has no scheme"));
        }
    });
}

/// A ServiceImport.
pub(super) fn service_import(import: &ServiceImport, faults: &mut Faults<'_>) {
    faults.one_of("type", Some(&import.spec.r#type), &["ClusterSetIP", "Headless"]);
    faults.each("ports", &import.spec.ports, |faults, port| faults.port("port", port.port));
    for (index, ip) in import.spec.ips.iter().enumerate() {
        if ip.parse::<std::net::IpAddr>().is_err() {
            faults.error(format_args!("ips[{index}]"), format_args!("`{ip}` is no IP address"));
        }
    }
}
