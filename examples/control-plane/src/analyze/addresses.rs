//! Services that nothing tells apart.

use std::collections::BTreeMap;

use super::context::{Context, Report};
use crate::finding::{Code, Origin};
use crate::resource::{Kind, Metadata};
use crate::translate::{Vips, is_automatic};

/// Two services with one address, ServiceEntries without any that need one, and protocols that contradict each other.
pub(super) fn analyze(context: &Context<'_>, report: &mut Report) {
    shared(context, report);
    without(context, report);
    let mut spoken: BTreeMap<(String, u16), (&str, &Metadata)> = BTreeMap::new();
    for (origin, entry) in context.world.service_entries.values() {
        let (spec, about) = (&entry.spec, (Kind::ServiceEntry, &entry.metadata));
        let is_named = spec.hosts.iter().all(|host| is_automatic(entry, host));
        for (index, port) in spec.ports.iter().enumerate() {
            let protocol = port.protocol.as_deref().unwrap_or_default();
            if spec.addresses.is_empty() && !is_named && matches!(protocol.to_ascii_uppercase().as_str(), "" | "TCP") {
                let message = "TCP has no names: without an address, all that goes to the port is taken for it";
                report.say(Code::ADDRESSES_REQUIRED, about, origin, format_args!("spec.ports[{index}]"), message);
            }
            for host in &spec.hosts {
                let key = (host.to_ascii_lowercase(), port.number);
                let (first, by) = *spoken.entry(key).or_insert((protocol, &entry.metadata));
                if !first.eq_ignore_ascii_case(protocol) {
                    let other = format!("ServiceEntry {}/{}", by.namespace, by.name);
                    let message = format!("`{host}` speaks `{protocol}` here, and `{first}` by {other}");
                    let field = format!("spec.ports[{index}].protocol");
                    report.say(Code::PROTOCOLS_CONFLICT, about, origin, field, message);
                }
            }
        }
    }
}

/// Hosts for which there is no automatic address.
fn without(context: &Context<'_>, report: &mut Report) {
    let world = context.world;
    for (service, by) in Vips::of(world).without() {
        let entry = world.service_entries.get(&by.name).map(|(origin, entry)| (origin, &entry.metadata));
        let export = || world.exports.get(&by.name).map(|(origin, export)| (origin, &export.metadata));
        let import = || world.imports.get(&by.name).map(|(origin, import)| (origin, &import.metadata));
        let (kind, found) = match by.kind {
            Kind::ServiceEntry => (Kind::ServiceEntry, entry),
            _ if world.exports.contains_key(&by.name) => (Kind::ServiceExport, export()),
            _ => (Kind::ServiceImport, import()),
        };
        if let Some((origin, metadata)) = found {
            let message = format!(
                "`{}` gets no address of its own, as older hosts have those that it tried; give it one",
                service.hostname
            );
            report.say(Code::NO_AUTOMATIC_ADDRESS, (kind, metadata), origin, "spec", message);
        }
    }
}

fn shared(context: &Context<'_>, report: &mut Report) {
    let mut taken: BTreeMap<(&str, u16), (Kind, &Metadata)> = BTreeMap::new();
    let mut take = |address, port, about: (Kind, _), origin: &Origin, field: &str| {
        let (kind, first): (Kind, &Metadata) = *taken.entry((address, port)).or_insert(about);
        let same = kind == about.0 && (&first.namespace, &first.name) == (&about.1.namespace, &about.1.name);
        if !same {
            let message = format!(
                "{address}:{port} is that of {kind} {}/{} too; one of them is not reached",
                first.namespace, first.name
            );
            report.say(Code::SHARED_ADDRESS, about, origin, field, message);
        }
    };
    for (origin, service) in context.world.services.values() {
        let spec = &service.spec;
        let first = spec.cluster_ip.iter().filter(|ip| !spec.cluster_ips.contains(ip));
        for ip in first.chain(&spec.cluster_ips).filter(|ip| *ip != "None" && !ip.is_empty()) {
            for port in &spec.ports {
                take(ip, port.port, (Kind::Service, &service.metadata), origin, "spec.clusterIP");
            }
        }
    }
    for (origin, entry) in context.world.service_entries.values() {
        for address in &entry.spec.addresses {
            for port in &entry.spec.ports {
                take(address, port.number, (Kind::ServiceEntry, &entry.metadata), origin, "spec.addresses");
            }
        }
    }
}
