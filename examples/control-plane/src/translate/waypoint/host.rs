//! Host names in objects of Istio.

use mesh_core::name::Hostname;
use mesh_core::service::Service;

use crate::translate::facts::Reader;

/// How well a host that an object of a namespace is for fits a service; more is better. A short name is a service of the
/// object's namespace.
pub(super) fn fit(host: &str, namespace: &str, service: &Service, domain: &str) -> Option<usize> {
    let name = service.key.hostname.as_str();
    let host = in_full(host, namespace, domain);
    match host.strip_prefix('*') {
        Some(end) => name.ends_with(end).then_some(end.len()),
        None => (host == name).then_some(usize::MAX),
    }
}

/// The name that a host has in full, in lower case.
fn in_full(host: &str, namespace: &str, domain: &str) -> String {
    let host = host.to_ascii_lowercase();
    if host.contains('.') || host.starts_with('*') { host } else { format!("{host}.{namespace}.svc.{domain}") }
}

/// Whether an object of a namespace is for those in another, or the same.
pub(super) fn is_exported(export_to: &[String], from: &str, to: &str) -> bool {
    export_to.is_empty() || export_to.iter().any(|scope| scope == "*" || scope == to || (scope == "." && from == to))
}

/// The service of this host: of the namespace, else of any.
pub(in crate::translate) fn service<'a>(reader: &Reader<'a>, namespace: &str, host: &str) -> Option<&'a Service> {
    let host = Hostname::parse(&in_full(host, namespace, &reader.place().cluster_domain)).ok()?;
    reader.service_of_host(namespace, &host)
}
