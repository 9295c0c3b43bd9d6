//! Routes of the mesh: those with a Service, ServiceEntry or ServiceImport as parent (GAMMA).

use std::collections::BTreeMap;

use mesh_core::name::NamespacedName;

use super::{Read, Refusal, Route, parent};
use crate::resource::{Kind, ObjectId, ParentRef};

/// What becomes of a reference from a route to a Service, ServiceEntry or ServiceImport.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MeshParent {
    /// The route.
    pub route: ObjectId,
    /// Which of its `parentRefs` it is, counted from 0.
    pub index: usize,
    /// The ports for which the route counts. One that is not accepted for its rules counts all the same: its requests are
    /// answered with errors, and none goes by what it demands.
    pub ports: Vec<u16>,
    /// Whether it is accepted.
    pub outcome: Result<(), Refusal>,
}

/// The routes that name a Service, ServiceEntry or ServiceImport as parent, in the order of their ids; none if it is not there.
///
/// Of several kinds for one port one counts: GRPCRoutes before HTTPRoutes. Hosts of routes do not count here. A route of another
/// namespace is for the clients of its own namespace only.
#[must_use]
pub fn of_service(read: &impl Read, id: &ObjectId) -> Vec<MeshParent> {
    let Some(ports) = ports(read, id) else { return Vec::new() };
    let routes: Vec<Route<'_>> = read.naming(id).iter().filter_map(|route| Route::find(read, route)).collect();
    let mut all = Vec::new();
    for route in &routes {
        let namespace = route.metadata.namespace.as_str();
        for (index, reference) in route.parents.iter().enumerate() {
            if parent(namespace, reference).as_ref() == Some(id) {
                let selected = select(route, id, reference, &ports);
                let (ports, outcome) = match selected {
                    Ok(ports) => (ports, route.rule_faults().refusal().map_or(Ok(()), Err)),
                    Err(refusal) => (Vec::new(), Err(refusal)),
                };
                all.push(MeshParent { route: route.id.clone(), index, ports, outcome });
            }
        }
    }
    let mut by_port: BTreeMap<u16, ObjectId> = BTreeMap::new();
    for one in all.iter().filter(|one| one.route.kind == Kind::GrpcRoute) {
        for port in &one.ports {
            by_port.entry(*port).or_insert_with(|| one.route.clone());
        }
    }
    for one in all.iter_mut().filter(|one| one.route.kind == Kind::HttpRoute) {
        let rival = one.ports.iter().find_map(|port| by_port.get(port));
        one.ports.retain(|port| !by_port.contains_key(port));
        if let Some(rival) = rival.filter(|_| one.ports.is_empty() && one.outcome.is_ok()) {
            let message = format!("{rival} is for the same port; GRPCRoutes go before HTTPRoutes");
            one.outcome = Err(Refusal::Conflicted(message));
        }
    }
    all
}

/// The ports of a Service, ServiceEntry or ServiceImport with their names; none for one that is nobody's parent.
fn ports(read: &impl Read, id: &ObjectId) -> Option<Vec<(u16, String)>> {
    match id.kind {
        Kind::Service => {
            let service = read.service(&id.name)?;
            let is_external = service.spec.r#type.as_deref() == Some("ExternalName");
            let ports = service.spec.ports.iter().filter(|_| !is_external);
            Some(ports.map(|port| (port.port, port.name.clone())).collect())
        }
        Kind::ServiceImport => of_import(read, &id.name),
        _ => {
            let entry = read.service_entry(&id.name)?;
            Some(entry.spec.ports.iter().map(|port| (port.number, port.name.clone())).collect())
        }
    }
}

/// The ports of a ServiceImport with their names: its own, else those of the Service that it is about.
pub(super) fn of_import(read: &impl Read, key: &NamespacedName) -> Option<Vec<(u16, String)>> {
    let own = &read.import(key)?.spec.ports;
    if !own.is_empty() {
        return Some(own.iter().map(|port| (port.port, port.name.clone())).collect());
    }
    let ports = read.service(key).into_iter().flat_map(|service| &service.spec.ports);
    Some(ports.map(|port| (port.port, port.name.clone())).collect())
}

fn select(route: &Route<'_>, id: &ObjectId, to: &ParentRef, ports: &[(u16, String)]) -> Result<Vec<u16>, Refusal> {
    let fits = |(port, name): &&(u16, String)| {
        to.port.is_none_or(|wanted| wanted == *port) && to.section_name.as_ref().is_none_or(|wanted| wanted == name)
    };
    let selected: Vec<u16> = ports.iter().filter(fits).map(|(port, _)| *port).collect();
    if selected.is_empty() {
        return Err(Refusal::NoMatchingParent(format!("{id} has no such port")));
    }
    if !matches!(route.id.kind, Kind::HttpRoute | Kind::GrpcRoute) {
        return Err(Refusal::NotAllowed(format!("waypoints have no {}s", route.id.kind)));
    }
    Ok(selected)
}
