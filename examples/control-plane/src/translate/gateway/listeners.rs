//! The listeners of a Gateway: its own and those of its ListenerSets, without those that are in conflict or cannot be served.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use mesh_core::name::{Hostname, NamespacedName, Text};
use mesh_core::tls::{DownstreamTls, Secret};

use super::{certificate, served};
use crate::resource::{self, AllowedNamespaces, AllowedRoutes, Kind, ListenerTls, ObjectId};
use crate::translate::facts::{By, Reader};
use crate::world::Lookup;

/// What a Gateway listens on, and all that holds for the whole of it.
#[derive(Debug, Default, PartialEq)]
pub(in crate::translate) struct Frame {
    ports: BTreeMap<u16, Vec<Entry>>,
    /// What listeners and clusters need, by name.
    pub(super) secrets: BTreeMap<Text, Secret>,
    /// Whether its instances have addresses of these families.
    families: BTreeSet<Family>,
    /// The labels of its instances, each with those that all have.
    pub(super) labels: Vec<BTreeMap<String, String>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Family {
    V4,
    V6,
}

/// A listener that is served.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entry {
    /// The Gateway or ListenerSet in which it stands.
    pub(super) owner: ObjectId,
    pub(super) name: Text,
    pub(super) port: u16,
    pub(super) hostname: Option<Hostname>,
    pub(super) protocol: Protocol,
    pub(super) allowed: AllowedRoutes,
}

/// What is spoken on a listener.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Protocol {
    Http,
    Https(Box<DownstreamTls>),
    /// TLS that is ended here.
    Tls(Box<DownstreamTls>),
    /// TLS that is passed on unread.
    Passthrough,
    Tcp,
}

impl Frame {
    /// The ports that there are listeners on.
    pub(in crate::translate) fn ports(&self) -> impl Iterator<Item = u16> {
        self.ports.keys().copied()
    }

    /// The listeners on a port.
    pub(super) fn of_port(&self, port: u16) -> &[Entry] {
        self.ports.get(&port).map(Vec::as_slice).unwrap_or_default()
    }

    /// Where a port is bound: at all addresses of the families that the instances have, of IPv4 where nobody knows.
    pub(super) fn addresses(&self, port: u16) -> Vec<SocketAddr> {
        let at = |ip: IpAddr| SocketAddr::new(ip, port);
        let all = [(Family::V4, Ipv4Addr::UNSPECIFIED.into()), (Family::V6, Ipv6Addr::UNSPECIFIED.into())];
        let known: Vec<_> = all.into_iter().filter(|(family, _)| self.families.contains(family)).collect();
        if known.is_empty() {
            vec![at(Ipv4Addr::UNSPECIFIED.into())]
        } else {
            known.into_iter().map(|(_, ip)| at(ip)).collect()
        }
    }

    /// Whether a port needs to be made anew after a change.
    pub(in crate::translate) fn differs_at(&self, before: &Self, port: u16) -> bool {
        self.of_port(port) != before.of_port(port) || self.families != before.families || self.labels != before.labels
    }
}

/// The listeners of a Gateway; none, if it is not served here.
pub(in crate::translate) fn frame(reader: &Reader<'_>, key: &NamespacedName) -> Frame {
    let Some(gateway) = served::find(reader, reader.place(), key) else { return Frame::default() };
    let mut frame = Frame::default();
    let (labels, families) = instances(reader, key, gateway);
    (frame.labels, frame.families) = (labels, families);
    frame.secrets.extend(certificate::of_backends(reader, gateway).map(|secret| (secret.name.clone(), secret)));
    for Candidate { owner, listener } in distinct(&candidates(reader, key, gateway)) {
        let mut secrets = BTreeMap::new();
        let hostname = listener.hostname.as_deref().filter(|name| !name.is_empty()).map(Hostname::parse).transpose();
        let Ok(hostname) = hostname else { continue };
        let Some(protocol) = protocol(reader, gateway, owner, listener, &mut secrets) else { continue };
        frame.secrets.append(&mut secrets);
        frame.ports.entry(listener.port).or_default().push(Entry {
            owner: owner.clone(),
            name: listener.name.as_str().into(),
            port: listener.port,
            hostname,
            protocol,
            allowed: listener.allowed_routes.clone(),
        });
    }
    frame
}

/// How a listener is served; `None` if it cannot be.
fn protocol(
    reader: &Reader<'_>,
    gateway: &resource::Gateway,
    owner: &ObjectId,
    listener: &resource::Listener,
    secrets: &mut BTreeMap<Text, Secret>,
) -> Option<Protocol> {
    let passes = listener.tls.as_ref().and_then(|tls| tls.mode.as_deref()) == Some("Passthrough");
    Some(match listener.protocol.as_str() {
        "HTTP" => Protocol::Http,
        "TCP" => Protocol::Tcp,
        "TLS" if passes => Protocol::Passthrough,
        "HTTPS" | "TLS" => {
            let is_https = listener.protocol == "HTTPS";
            let tls: &ListenerTls = listener.tls.as_ref()?;
            let mut made = certificate::downstream(reader, owner, tls, secrets)?;
            if is_https {
                made.alpn = vec!["h2".into(), "http/1.1".into()];
                certificate::validate_clients(reader, gateway, listener.port, &mut made, secrets)?;
            }
            let made = Box::new(made);
            if is_https { Protocol::Https(made) } else { Protocol::Tls(made) }
        }
        _ => return None,
    })
}

/// A listener as it is written.
#[derive(Debug, Clone)]
pub(super) struct Candidate<'a> {
    pub(super) owner: ObjectId,
    pub(super) listener: &'a resource::Listener,
}

/// All listeners: the Gateway's own, then those of its ListenerSets, the older first.
fn candidates<'a>(reader: &Reader<'a>, key: &NamespacedName, gateway: &'a resource::Gateway) -> Vec<Candidate<'a>> {
    let owner = ObjectId { kind: Kind::Gateway, name: key.clone() };
    let own = gateway.spec.listeners.iter().map(|listener| Candidate { owner: owner.clone(), listener });
    let mut all: Vec<Candidate<'a>> = own.collect();
    let ids = reader.index(By::ListenerSets(key.clone()));
    let sets = ids.filter_map(|id| Some((id, reader.listener_set(&id.name)?)));
    let allowed = &gateway.spec.allowed_listeners.namespaces;
    let mut sets: Vec<_> = sets
        .filter(|(id, _)| {
            allowed.from.is_some() && is_allowed(reader, allowed, key.namespace.as_str(), id.name.namespace.as_str())
        })
        .collect();
    sets.sort_by_key(|(id, set)| (set.metadata.created(), &id.name));
    for (id, set) in sets {
        all.extend(set.spec.listeners.iter().map(|listener| Candidate { owner: id.clone(), listener }));
    }
    all
}

/// Whether something of a namespace may attach to what is in another, or the same.
pub(super) fn is_allowed(reader: &Reader<'_>, allowed: &AllowedNamespaces, own: &str, from: &str) -> bool {
    match (allowed.from.as_deref().unwrap_or("Same"), &allowed.selector) {
        ("All", _) => true,
        ("Same", _) => own == from,
        ("Selector", Some(selector)) => selector.selects(&reader.namespace_labels(from)),
        _ => false,
    }
}

/// Those that are in conflict with no other. Among a Gateway's own nobody wins. What a ListenerSet adds gives way to what was
/// there before it, and to all of the Gateway's own, even those that are in conflict themselves.
pub(super) fn distinct<'c, 'a>(all: &'c [Candidate<'a>]) -> Vec<&'c Candidate<'a>> {
    let mut kept: Vec<&Candidate<'a>> = Vec::new();
    for (at, one) in all.iter().enumerate() {
        let clashes = |other: &Candidate<'_>| conflict(one.listener, other.listener);
        let mut others = all.iter().enumerate().filter(|(other, _)| *other != at);
        let of_gateway = others.any(|(_, other)| other.owner.kind == Kind::Gateway && clashes(other));
        let lost = of_gateway || (one.owner.kind != Kind::Gateway && kept.iter().any(|other| clashes(other)));
        if !lost {
            kept.push(one);
        }
    }
    kept
}

fn is_known(listener: &resource::Listener) -> bool {
    matches!(listener.protocol.as_str(), "HTTP" | "HTTPS" | "TLS" | "TCP")
}

/// Whether a connection could be for either of two listeners.
fn conflict(one: &resource::Listener, other: &resource::Listener) -> bool {
    if one.port != other.port || !is_known(one) || !is_known(other) {
        return false;
    }
    let host = |listener: &resource::Listener| listener.hostname.as_deref().unwrap_or_default().to_ascii_lowercase();
    match (one.protocol.as_str(), other.protocol.as_str()) {
        ("TCP", _) | (_, "TCP") => true,
        ("HTTP", "HTTP") => host(one) == host(other),
        ("HTTP", _) | (_, "HTTP") => true,
        // Both by TLS, where the server name tells.
        _ => host(one) == host(other),
    }
}

type Labels = Vec<BTreeMap<String, String>>;

/// What is known of the instances.
fn instances(reader: &Reader<'_>, key: &NamespacedName, gateway: &resource::Gateway) -> (Labels, BTreeSet<Family>) {
    let mut meant = gateway.spec.infrastructure.labels.clone();
    meant.insert(crate::translate::binding::GATEWAY_NAME.to_owned(), key.name.to_string());
    let (mut labels, mut families) = (Vec::new(), BTreeSet::new());
    for id in reader.index(By::Instances(key.clone())) {
        let (own, addresses): (_, Vec<&String>) = match id.kind {
            Kind::Pod => {
                let Some(pod) = reader.pod(&id.name) else { continue };
                let several = pod.status.pod_ips.iter().map(|address| &address.ip);
                (&pod.metadata.labels, pod.status.pod_ip.iter().chain(several).collect())
            }
            _ => {
                let Some(entry) = reader.entry(&id.name) else { continue };
                (&entry.metadata.labels, vec![&entry.spec.address])
            }
        };
        let parsed = addresses.into_iter().filter_map(|address| address.parse::<IpAddr>().ok());
        families.extend(parsed.map(|ip| if ip.is_ipv4() { Family::V4 } else { Family::V6 }));
        let mut all = meant.clone();
        all.extend(own.clone());
        labels.push(all);
    }
    if labels.is_empty() {
        labels.push(meant);
    }
    labels.sort();
    labels.dedup();
    (labels, families)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A listener on one of two ports, of one of the protocols, for one of three names; of the Gateway or one of two sets.
    fn listener() -> impl Strategy<Value = (usize, resource::Listener)> {
        const PROTOCOLS: [&str; 5] = ["HTTP", "HTTPS", "TLS", "TCP", "UDP"];
        let parts = (
            0..3_usize,
            1..3_u16,
            prop::sample::select(&PROTOCOLS),
            prop::option::of(prop::sample::select(&["a", "B"])),
        );
        parts.prop_map(|(owner, port, protocol, hostname)| {
            let hostname = hostname.filter(|_| protocol != "TCP" && protocol != "UDP").map(str::to_owned);
            let value = serde_json::json!({"name": "x", "port": port, "protocol": protocol, "hostname": hostname});
            (owner, serde_json::from_value(value).unwrap())
        })
    }

    proptest! {
        #[test]
        fn no_two_are_for_one_connection_and_nobody_gives_way_without_need(
            mut listeners in prop::collection::vec(listener(), 0..8),
        ) {
            listeners.sort_by_key(|(owner, _)| *owner);
            let kinds = [Kind::Gateway, Kind::ListenerSet, Kind::ListenerSet];
            let all: Vec<Candidate<'_>> = listeners
                .iter()
                .map(|(owner, listener)| {
                    let name = NamespacedName::new("a", owner.to_string().as_str());
                    Candidate { owner: ObjectId { kind: kinds[*owner], name }, listener }
                })
                .collect();
            let kept = distinct(&all);
            let is_kept = |one: &Candidate<'_>| kept.iter().any(|kept| std::ptr::eq(*kept, one));
            for (at, one) in all.iter().enumerate() {
                let rivals = || all.iter().enumerate().filter(|(other, two)| *other != at && conflict(one.listener, two.listener));
                let of_gateway = |two: &Candidate<'_>| two.owner.kind == Kind::Gateway;
                let loses = match of_gateway(one) {
                    true => rivals().any(|(_, two)| of_gateway(two)),
                    false => rivals().any(|(other, two)| of_gateway(two) || other < at && is_kept(two)),
                };
                prop_assert_eq!(is_kept(one), !loses, "{:?}", one.listener);
                prop_assert!(!is_kept(one) || rivals().all(|(_, two)| !is_kept(two)));
            }
        }
    }
}
