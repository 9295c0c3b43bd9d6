//! Which routes are attached to a listener.

use std::time::Duration;

use mesh_core::gateway::{intersection, intersects};
use mesh_core::name::Hostname;

use super::listeners::{Entry, Protocol, is_allowed};
use crate::resource::{GrpcRoute, HttpRoute};
use crate::resource::{Kind, Metadata, ObjectId, ParentRef, TcpRoute, TlsRoute};
use crate::translate::facts::{By, Reader};

/// A route that is attached, with the hosts that it names.
#[derive(Debug, Clone)]
pub(super) struct Attached<'a> {
    pub(super) id: &'a ObjectId,
    pub(super) route: Route<'a>,
    /// Empty for all that the listener is for.
    pub(super) hostnames: Vec<Hostname>,
    created: Duration,
}

/// A route of any kind.
#[derive(Debug, Clone, Copy)]
pub(super) enum Route<'a> {
    Http(&'a HttpRoute),
    Grpc(&'a GrpcRoute),
    Tls(&'a TlsRoute),
    Tcp(&'a TcpRoute),
}

impl<'a> Route<'a> {
    fn find(reader: &Reader<'a>, id: &ObjectId) -> Option<Self> {
        match id.kind {
            Kind::HttpRoute => reader.http_route(&id.name).map(Self::Http),
            Kind::GrpcRoute => reader.grpc_route(&id.name).map(Self::Grpc),
            Kind::TlsRoute => reader.tls_route(&id.name).map(Self::Tls),
            Kind::TcpRoute => reader.tcp_route(&id.name).map(Self::Tcp),
            _ => None,
        }
    }

    fn parts(self) -> (&'a Metadata, &'a [ParentRef], &'a [String]) {
        match self {
            Self::Http(route) => (&route.metadata, &route.spec.parent_refs, &route.spec.hostnames),
            Self::Grpc(route) => (&route.metadata, &route.spec.parent_refs, &route.spec.hostnames),
            Self::Tls(route) => (&route.metadata, &route.spec.parent_refs, &route.spec.hostnames),
            Self::Tcp(route) => (&route.metadata, &route.spec.parent_refs, &[]),
        }
    }
}

/// The routes that are attached to a listener, the older first.
pub(super) fn routes<'a>(reader: &Reader<'a>, entry: &Entry) -> Vec<Attached<'a>> {
    let ids = reader.index(By::Parent(entry.owner.clone())).filter(|id| admits(entry, id.kind));
    let mut found: Vec<Attached<'a>> = ids.filter_map(|id| attached(reader, entry, id)).collect();
    found.sort_by_key(|one| (one.created, &one.id.name, one.id.kind));
    without_rivals(entry, found)
}

fn attached<'a>(reader: &Reader<'a>, entry: &Entry, id: &'a ObjectId) -> Option<Attached<'a>> {
    let route = Route::find(reader, id)?;
    let (metadata, parents, names) = route.parts();
    let namespace = id.name.namespace.as_str();
    let fits = |parent: &ParentRef| {
        crate::attach::parent(namespace, parent).is_some_and(|to| to == entry.owner)
            && parent.section_name.as_deref().is_none_or(|section| entry.name == *section)
            && parent.port.is_none_or(|port| port == entry.port)
    };
    let own = entry.owner.name.namespace.as_str();
    if !parents.iter().any(fits) || !is_allowed(reader, &entry.allowed.namespaces, own, namespace) {
        return None;
    }
    let hostnames: Vec<Hostname> = names.iter().filter_map(|name| Hostname::parse(name).ok()).collect();
    // A route whose names are none is for nothing, not for everything.
    if hostnames.is_empty() && !names.is_empty() || !intersects(entry.hostname.as_ref(), &hostnames) {
        return None;
    }
    Some(Attached { id, route, hostnames, created: metadata.created() })
}

/// Whether routes of a kind may attach to a listener.
fn admits(entry: &Entry, kind: Kind) -> bool {
    let speaks = match entry.protocol {
        Protocol::Http | Protocol::Https(_) => matches!(kind, Kind::HttpRoute | Kind::GrpcRoute),
        Protocol::Tls(_) | Protocol::Passthrough => kind == Kind::TlsRoute,
        Protocol::Tcp => kind == Kind::TcpRoute,
    };
    let kinds = &entry.allowed.kinds;
    let named = |one: &crate::resource::RouteKind| {
        one.group.as_deref().is_none_or(|group| group == kind.group()) && one.kind == kind.name()
    };
    speaks && (kinds.is_empty() || kinds.iter().any(named))
}

/// Of routes of HTTP and of gRPC for one host the older counts.
fn without_rivals<'a>(entry: &Entry, all: Vec<Attached<'a>>) -> Vec<Attached<'a>> {
    let mut kept: Vec<Attached<'a>> = Vec::with_capacity(all.len());
    let mixed = [Kind::HttpRoute, Kind::GrpcRoute].iter().all(|kind| all.iter().any(|one| one.id.kind == *kind));
    if !mixed {
        return all;
    }
    for one in all {
        let rival = |other: &Attached<'_>| other.id.kind != one.id.kind && share_host(entry, other, &one);
        if !kept.iter().any(rival) {
            kept.push(one);
        }
    }
    kept
}

fn share_host(entry: &Entry, one: &Attached<'_>, other: &Attached<'_>) -> bool {
    let served = |route: &Attached<'_>| -> Vec<Option<Hostname>> {
        match route.hostnames.as_slice() {
            [] => vec![entry.hostname.clone()],
            names => names.iter().filter_map(|name| intersection(entry.hostname.as_ref(), name)).map(Some).collect(),
        }
    };
    let others = served(other);
    served(one).iter().any(|one| {
        others.iter().any(|other| match (one, other) {
            (Some(one), Some(other)) => intersection(Some(one), other).is_some(),
            _ => true,
        })
    })
}

/// Whether a server name, or any where there is none, belongs to a listener: the one of a port with the most specific name for
/// it.
pub(super) fn is_for<'e>(entry: &Entry, entries: impl Iterator<Item = &'e Entry>, host: Option<&Hostname>) -> bool {
    let covers = |entry: &Entry| match (&entry.hostname, host) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(own), Some(host)) => intersection(Some(own), host).as_ref() == Some(host),
    };
    let rank = |entry: &Entry| {
        entry.hostname.as_ref().map_or((0, 0), |own| (if own.is_wildcard() { 1 } else { 2 }, own.as_str().len()))
    };
    let found = entries.filter(|entry| covers(entry)).max_by_key(|entry| rank(entry));
    found.is_some_and(|found| (&found.owner, &found.name) == (&entry.owner, &entry.name))
}
