//! What the backends of routes come to.

use std::fmt;

use mesh_core::name::NamespacedName;

use super::mesh::of_import;
use super::reference::group;
use super::{Read, Referrer, is_granted};
use crate::resource::{BackendRef, Kind};

/// Where a backend leads.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Backend {
    /// To a port of a Service.
    Service(NamespacedName, u16),
    /// To a port of a ServiceImport.
    Import(NamespacedName, u16),
    /// To a port of a service by its host name in full.
    Host(String, u16),
}

/// Why a backend leads nowhere. Its share of the traffic is answered with an error.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum BackendFault {
    /// It is in another namespace, which does not permit it by a ReferenceGrant.
    NotPermitted(String),
    /// Its kind is no backend.
    InvalidKind(String),
    /// It is not there, or has no such port.
    NotFound(String),
    /// What it speaks cannot be spoken to it.
    UnsupportedProtocol(String),
}

/// What a backend is used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BackendUse {
    /// Requests or connections go there, by weight.
    Traffic,
    /// Copies of requests go there.
    Mirror,
}

impl BackendFault {
    /// The reason, as conditions have it.
    #[must_use]
    pub fn reason(&self) -> &'static str {
        match self {
            Self::NotPermitted(_) => "RefNotPermitted",
            Self::InvalidKind(_) => "InvalidKind",
            Self::NotFound(_) => "BackendNotFound",
            Self::UnsupportedProtocol(_) => "UnsupportedProtocol",
        }
    }
}

impl fmt::Display for BackendFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotPermitted(to) => write!(f, "{to} is in another namespace, and no ReferenceGrant there permits it"),
            Self::InvalidKind(kind) => write!(f, "`{kind}` is no backend"),
            Self::NotFound(text) | Self::UnsupportedProtocol(text) => f.write_str(text),
        }
    }
}

/// What a backend of a route comes to. A route of the mesh needs no grant. Whether a BackendTLSPolicy lets it be spoken to is
/// another matter ([`chosen`](super::backend_tls::chosen)).
pub(super) fn resolve(
    read: &impl Read,
    from: Referrer<'_>,
    one: &BackendRef,
    needs_grant: bool,
) -> Result<Backend, BackendFault> {
    let kind = (group(one.group.as_deref().unwrap_or_default()), one.kind.as_deref().unwrap_or("Service"));
    let namespace = one.namespace.as_deref().unwrap_or(from.namespace);
    let key = NamespacedName::new(namespace, one.name.as_str());
    if needs_grant && !is_granted(read, from, kind, namespace, &one.name) {
        return Err(BackendFault::NotPermitted(format!("{} {key}", kind.1)));
    }
    let has_port = |called: &str, has: &dyn Fn(u16) -> bool| match one.port {
        None => Err(BackendFault::NotFound(format!("{called}: the port is missing"))),
        Some(port) if has(port) => Ok(port),
        Some(port) => Err(BackendFault::NotFound(format!("{called} has no port {port}"))),
    };
    match kind {
        ("", "Service") => {
            let called = Kind::Service.called(&key);
            let missing = || BackendFault::NotFound(format!("{called} is not there"));
            let service = read.service(&key).ok_or_else(missing)?;
            if service.spec.r#type.as_deref() == Some("ExternalName") {
                return Err(BackendFault::NotFound(format!("{called} is an ExternalName, which has no endpoints")));
            }
            let port = has_port(&called, &|port| service.spec.ports.iter().any(|one| one.port == port))?;
            let found = service.spec.ports.iter().find(|one| one.port == port);
            if let Some(protocol) = found.and_then(|one| one.protocol.as_deref()).filter(|one| *one != "TCP") {
                return Err(BackendFault::UnsupportedProtocol(format!("port {port} of {called} speaks {protocol}")));
            }
            Ok(Backend::Service(key, port))
        }
        ("multicluster.x-k8s.io", "ServiceImport") => {
            let called = Kind::ServiceImport.called(&key);
            let missing = || BackendFault::NotFound(format!("{called} is not there"));
            let ports = of_import(read, &key).ok_or_else(missing)?;
            let port = has_port(&called, &|port| ports.iter().any(|(one, _)| *one == port))?;
            Ok(Backend::Import(key, port))
        }
        ("networking.istio.io", "Hostname") => {
            let called = format!("Hostname {}", one.name);
            // It is one in full.
            let found = Some(&one.name).filter(|name| name.contains('.')).and_then(|name| read.host(namespace, name));
            let ports = found.ok_or_else(|| BackendFault::NotFound(format!("{called}: there is no such service")))?;
            let port = has_port(&called, &|port| ports.contains(&port))?;
            Ok(Backend::Host(one.name.clone(), port))
        }
        (group, kind) => Err(BackendFault::InvalidKind(match group {
            "" => kind.to_owned(),
            group => format!("{group}/{kind}"),
        })),
    }
}
