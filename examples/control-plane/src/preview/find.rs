//! Who and what is meant by names that people write.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use mesh_core::name::{Hostname, ServiceAccount, SpiffeId, parse_spiffe_id};
use mesh_core::service::Service;
use mesh_core::workload::Workload;

use super::explain::QuestionError;
use super::mesh::Mesh;
use super::walk::{Addressee, Client};

/// Who connects.
pub(super) fn client(mesh: &Mesh, text: &str) -> Result<Client, QuestionError> {
    let unknown = || QuestionError::From(text.to_owned());
    if let Some(workload) = workload(mesh, text) {
        return Ok(Client::of(&workload));
    }
    if let Ok(ip) = text.parse::<IpAddr>() {
        return match mesh.catalog.workload_at(&mesh.network, ip) {
            Some(workload) => Ok(Client::of(workload)),
            None => made_up(mesh, None, Some(ip)).ok_or_else(unknown),
        };
    }
    let identity = match text.split_once('/') {
        _ if text.starts_with("spiffe://") => parse_spiffe_id(text).ok(),
        Some((namespace, name)) => {
            let account = ServiceAccount::new(mesh.place.trust_domain.clone(), namespace, name).ok();
            // A name that nothing has is rather a slip than an account without workloads.
            let is_known = |account: &ServiceAccount| {
                mesh.catalog.workloads().any(|workload| workload.identity == *account)
                    || mesh
                        .world
                        .accounts
                        .iter()
                        .any(|(key, _)| key.namespace == *account.namespace() && key.name == *account.name())
            };
            account.filter(is_known).map(|account| account.to_spiffe_id())
        }
        None => None,
    };
    let identity = identity.ok_or_else(unknown)?;
    let mut of_identity: Vec<_> =
        mesh.catalog.workloads().filter(|workload| workload.spiffe_id() == identity).collect();
    of_identity.sort_by(|a, b| a.uid.cmp(&b.uid));
    match of_identity.first() {
        Some(workload) => Ok(Client::of(workload)),
        None => made_up(mesh, Some(identity), None).ok_or_else(unknown),
    }
}

/// What is addressed, the host by which a request asks for it, and the path, where a URL says one.
pub(super) fn addressee(
    mesh: &Mesh,
    client: &Client,
    text: &str,
) -> Result<(Addressee, String, Option<String>), QuestionError> {
    let unknown = || QuestionError::To(text.to_owned());
    let (authority, path) = match text.split_once("://") {
        Some((scheme, rest)) => {
            let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
            let default = if scheme == "https" { 443 } else { 80 };
            let authority = if has_port(authority) { authority.to_owned() } else { format!("{authority}:{default}") };
            let path = if path.starts_with('/') { path.to_owned() } else { format!("/{path}") };
            (authority, Some(path))
        }
        None => (text.to_owned(), None),
    };
    if let Ok(address) = authority.parse::<SocketAddr>() {
        return Ok((Addressee::Address(address), authority, path));
    }
    let (name, port) = match authority.rsplit_once(':') {
        Some((name, port)) => (name, Some(port.parse::<u16>().map_err(|_| unknown())?)),
        None => (authority.as_str(), None),
    };
    if let Some(service) = service(mesh, client.workload.namespace.as_str(), name) {
        let ports = || service.ports.iter().map(|port| port.service_port);
        let list = || ports().map(|port| port.to_string()).collect::<Vec<_>>().join(", ");
        let port = match (port, ports().next(), ports().nth(1)) {
            (Some(port), ..) => port,
            (None, Some(only), None) => only,
            _ => return Err(QuestionError::Port(text.to_owned(), list())),
        };
        let host = name.to_owned();
        return Ok((Addressee::Service(service.key.clone(), port), host, path));
    }
    if let Some(workload) = workload(mesh, name) {
        let port = port.ok_or_else(|| QuestionError::Port(text.to_owned(), "all that there may be".to_owned()))?;
        return Ok((Addressee::Workload(workload.uid.clone(), port), name.to_owned(), path));
    }
    Err(unknown())
}

/// A client for people.
pub(super) fn describe_client(client: &Client) -> String {
    let address = client.address();
    let is_made_up = client.workload.uid.as_str() == MADE_UP;
    let name =
        if is_made_up { String::new() } else { format!("{}/{} ", client.workload.namespace, client.workload.name) };
    match &client.identity {
        Some(identity) => format!("{name}{identity} at {address}"),
        None => format!("{name}in plaintext from {address}"),
    }
}

/// What is addressed, for people.
pub(super) fn describe(mesh: &Mesh, addressee: &Addressee) -> String {
    match addressee {
        Addressee::Service(key, port) => format!("service {} port {port}", key.hostname),
        Addressee::Workload(uid, port) => match mesh.catalog.workload(uid.as_str()) {
            Some(workload) => format!("workload {}/{} port {port}", workload.namespace, workload.name),
            None => format!("{uid} port {port}"),
        },
        Addressee::Address(address) => address.to_string(),
    }
}

/// The namespace of what is addressed.
pub(super) fn namespace(mesh: &Mesh, addressee: &Addressee) -> Option<String> {
    match addressee {
        Addressee::Service(key, _) => Some(key.namespace.to_string()),
        Addressee::Workload(uid, _) => Some(mesh.catalog.workload(uid.as_str())?.namespace.to_string()),
        Addressee::Address(to) => Some(mesh.catalog.workload_at(&mesh.network, to.ip())?.namespace.to_string()),
    }
}

/// Uid of clients that are no workloads.
const MADE_UP: &str = "preview";

/// A client that is no workload, by its identity or at an address.
pub(super) fn made_up(mesh: &Mesh, identity: Option<SpiffeId>, address: Option<IpAddr>) -> Option<Client> {
    let account = identity.as_ref().and_then(ServiceAccount::from_spiffe_id);
    let namespace = account.as_ref().map_or("nowhere", |account| account.namespace().as_str()).to_owned();
    let mut workload = Workload::new(MADE_UP, mesh.place.trust_domain.clone(), namespace.as_str(), MADE_UP).ok()?;
    workload.network = mesh.network.clone();
    workload.addresses = address.into_iter().collect();
    if let Some(account) = account {
        workload.identity = account;
    }
    Some(Client::new(Arc::new(workload), identity))
}

fn has_port(authority: &str) -> bool {
    authority.rsplit_once(':').is_some_and(|(host, port)| !port.is_empty() && !port.contains(']') && !host.is_empty())
}

/// A workload by its uid, or by namespace and name.
fn workload(mesh: &Mesh, text: &str) -> Option<Arc<Workload>> {
    let by_name = || {
        let (namespace, name) = text.split_once('/')?;
        mesh.catalog.workloads().find(|workload| workload.namespace == *namespace && workload.name == *name)
    };
    mesh.catalog.workload(text).or_else(by_name).map(Arc::clone)
}

/// A service by its host name, or as applications of a namespace call it.
fn service(mesh: &Mesh, namespace: &str, name: &str) -> Option<Arc<Service>> {
    let domain = &mesh.place.cluster_domain;
    let whole = [
        name.to_owned(),
        format!("{name}.{namespace}.svc.{domain}"),
        format!("{name}.svc.{domain}"),
        format!("{name}.{domain}"),
    ];
    whole.iter().filter_map(|host| Hostname::parse(host).ok()).find_map(|host| {
        let mut named: Vec<_> = mesh.catalog.services_named(host.as_str()).collect();
        named.sort_by_key(|service| service.key.namespace != *namespace);
        named.first().map(|service| Arc::clone(service))
    })
}
