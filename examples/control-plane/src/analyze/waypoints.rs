//! Waypoints that are referred to and that are not there to answer.

use std::collections::BTreeMap;

use mesh_core::name::NamespacedName;

use super::context::{Context, Report, some_of};
use crate::finding::Code;
use crate::resource::{Kind, Metadata};
use crate::translate::binding::{GATEWAY_NAME, Traffic};

/// Gateways to which services or workloads are bound, and none of whose instances is ready.
pub(super) fn analyze(context: &Context<'_>, report: &mut Report) {
    let world = context.world;
    let mut bound: BTreeMap<NamespacedName, Vec<String>> = BTreeMap::new();
    let mut look = |traffic, kind: Kind, metadata: &Metadata| {
        if let Some(waypoint) = context.waypoint(traffic, metadata) {
            bound.entry(waypoint).or_default().push(format!("{kind} {}/{}", metadata.namespace, metadata.name));
        }
    };
    world.services.values().for_each(|(_, one)| look(Traffic::Service, Kind::Service, &one.metadata));
    world.service_entries.values().for_each(|(_, one)| look(Traffic::Service, Kind::ServiceEntry, &one.metadata));
    world.pods.values().for_each(|(_, one)| look(Traffic::Workload, Kind::Pod, &one.metadata));
    world.entries.values().for_each(|(_, one)| look(Traffic::Workload, Kind::WorkloadEntry, &one.metadata));
    for (key, names) in bound {
        // One that is not there at all is said of what refers to it.
        let Some((origin, gateway)) = world.gateways.get(&key) else { continue };
        let labels = BTreeMap::from([(GATEWAY_NAME.to_owned(), key.name.to_string())]);
        let namespace = key.namespace.to_string();
        let (mut count, mut ready) = (0, 0);
        for instance in context.selected(&namespace, &labels) {
            count += 1;
            ready += usize::from(instance.is_ready);
        }
        if ready == 0 {
            let state = match count {
                0 => format!("there is no pod with the label `{GATEWAY_NAME}: {}`", key.name),
                _ => format!("of its {count} instances none is ready"),
            };
            let message = format!("{state}; what is addressed to {} is refused until one is", some_of(&names));
            report.say(Code::WAYPOINT_NOT_READY, (Kind::Gateway, &gateway.metadata), origin, "metadata.name", message);
        }
    }
}
