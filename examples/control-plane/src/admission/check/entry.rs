//! ServiceEntry and WorkloadEntry by themselves.

use std::net::IpAddr;

use ipnet::IpNet;
use mesh_core::name::{Hostname, parse_spiffe_id};

use super::metadata::is_label;
use crate::finding::Faults;
use crate::resource::{ServiceEntry, ServiceEntryEndpoint, WorkloadEntry};

/// A WorkloadEntry.
pub(super) fn workload_entry(entry: &WorkloadEntry, faults: &mut Faults<'_>) {
    endpoint(&entry.spec, faults);
}

/// A ServiceEntry.
pub(super) fn service_entry(entry: &ServiceEntry, faults: &mut Faults<'_>) {
    let spec = &entry.spec;
    faults.some("hosts", spec.hosts.len());
    let resolution = spec.resolution.as_deref().unwrap_or("NONE");
    let resolutions = ["NONE", "STATIC", "DNS", "DNS_ROUND_ROBIN", "DYNAMIC_DNS"];
    faults.one_of("resolution", Some(resolution), &resolutions);
    faults.one_of("location", spec.location.as_deref(), &["MESH_EXTERNAL", "MESH_INTERNAL"]);
    for (index, host) in spec.hosts.iter().enumerate() {
        let field = format!("hosts[{index}]");
        match Hostname::parse(host) {
            Err(error) => faults.error(field, error),
            Ok(_)
                if host.starts_with('*')
                    && matches!(resolution, "DNS" | "DNS_ROUND_ROBIN")
                    && spec.endpoints.is_empty() =>
            {
                faults.warning(field, format_args!("a wildcard cannot be looked up; `resolution` is {resolution}"));
            }
            Ok(_) => {}
        }
    }
    for (index, address) in spec.addresses.iter().enumerate() {
        if address.parse::<IpAddr>().is_err() && address.parse::<IpNet>().is_err() {
            faults.error(
                format_args!("addresses[{index}]"),
                format_args!("`{address}` is neither an address nor a range"),
            );
        }
    }
    faults.each("ports", &spec.ports, |faults, port| {
        faults.port("number", port.number);
        if let Some(target) = port.target_port {
            faults.port("targetPort", target);
        }
        if !port.name.is_empty() && !is_label(&port.name) {
            faults.error("name", format_args!("`{}` is not a DNS label of at most 63 characters", port.name));
        }
    });
    faults.distinct("ports", spec.ports.iter().map(|port| port.number), "number");
    faults.distinct("ports", spec.ports.iter().map(|port| &port.name).filter(|name| !name.is_empty()), "name");
    if spec.workload_selector.is_some() && !spec.endpoints.is_empty() {
        faults.error("workloadSelector", "there are `endpoints` too");
    }
    faults.each("endpoints", &spec.endpoints, |faults, one| endpoint(one, faults));
    for (index, to) in spec.export_to.iter().enumerate() {
        if !matches!(to.as_str(), "*" | "." | "~") && !is_label(to) {
            faults.error(
                format_args!("exportTo[{index}]"),
                format_args!("`{to}` is neither `*`, `.`, `~` nor a namespace"),
            );
        }
    }
    for (index, name) in spec.subject_alt_names.iter().enumerate() {
        if let Err(error) = parse_spiffe_id(name) {
            faults.error(format_args!("subjectAltNames[{index}]"), error);
        }
    }
}

fn endpoint(endpoint: &ServiceEntryEndpoint, faults: &mut Faults<'_>) {
    if endpoint.address.is_empty() {
        faults.error("address", "is missing");
    }
    for (name, _) in endpoint.ports.iter().filter(|(_, port)| **port == 0) {
        faults.error("ports", format_args!("`{name}`: 0 is no port"));
    }
}
