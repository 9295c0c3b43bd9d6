//! The names by which clients ask.

use mesh_core::name::{Hostname, Text};
use mesh_core::service::{Service, ServicePort};

use crate::translate::facts::Reader;
use crate::translate::waypoint::service_of_host;

/// What the name of routes or of a cluster means: `outbound|<port>|<subset>|<host>`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Target<'n> {
    pub(super) port: u16,
    pub(super) subset: Option<&'n str>,
    host: &'n str,
}

impl<'n> Target<'n> {
    pub(super) fn parse(name: &'n Text) -> Option<Self> {
        let mut parts = name.as_str().split('|');
        let (kind, port, subset, host) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        if kind != "outbound" || parts.next().is_some() {
            return None;
        }
        Some(Self { port: number(port)?, subset: Some(subset).filter(|subset| !subset.is_empty()), host })
    }

    /// The port that is meant, if clients of a namespace may see it.
    pub(super) fn find<'a>(&self, reader: &Reader<'a>, namespace: &Text) -> Option<(&'a Service, &'a ServicePort)> {
        // It is a name in full: a short one would be somebody else's elsewhere.
        let host = Hostname::parse(self.host).ok().filter(|host| host.as_str() == self.host)?;
        let service = reader.service_of_host(namespace.as_str(), &host)?;
        let port = service.ports.get(self.port)?;
        service.is_visible_to(namespace.as_str()).then_some((service, port))
    }
}

/// What a program means by `host:port` or `host`.
pub(super) fn called<'a>(reader: &Reader<'a>, namespace: &Text, name: &Text) -> Option<(&'a Service, &'a ServicePort)> {
    let (host, port) = match name.as_str().rsplit_once(':') {
        Some((host, port)) => (host, Some(number(port)?)),
        None => (name.as_str(), None),
    };
    let host = host.strip_suffix('.').unwrap_or(host);
    let domain = &reader.place().cluster_domain;
    let in_cluster = match (host.split('.').count(), host.strip_suffix(".svc")) {
        (2, _) => Some(format!("{host}.svc.{domain}")),
        (3, Some(_)) => Some(format!("{host}.{domain}")),
        _ => None,
    };
    // A host of a ServiceEntry may look as if it were a service and its namespace.
    let candidates = [Some(host.to_owned()), in_cluster];
    let mut found = candidates.into_iter().flatten().filter_map(|host| {
        let service = service_of_host(reader, namespace.as_str(), &host)?;
        let port = match (port, service.ports.iter().as_slice()) {
            (Some(port), _) => service.ports.get(port)?,
            (None, [only]) => only,
            (None, _) => return None,
        };
        service.is_visible_to(namespace.as_str()).then_some((service, port))
    });
    found.next()
}

/// A port as it is written; not `080`, which would be another name of the same.
fn number(text: &str) -> Option<u16> {
    text.parse().ok().filter(|port: &u16| *port > 0 && port.to_string() == text)
}
