//! Services without endpoints.

use std::collections::BTreeMap;

use mesh_core::name::NamespacedHostname;
use mesh_core::workload::Health;

use super::context::{Context, Report};
use crate::finding::Code;
use crate::resource::Kind;
use crate::translate::service_key;

/// Services that nobody answers for, as node proxies see it.
pub(super) fn analyze(context: &Context<'_>, report: &mut Report) {
    let (world, place) = (context.world, context.input.place);
    // How many endpoints each service has, and how many of them take traffic.
    let mut endpoints: BTreeMap<&NamespacedHostname, (usize, usize)> = BTreeMap::new();
    for workload in &context.input.translation.workloads {
        for key in workload.services.keys() {
            let (all, ready) = endpoints.entry(key).or_default();
            *all += 1;
            *ready += usize::from(workload.health == Health::Healthy && workload.capacity > 0);
        }
    }
    for (name, (origin, service)) in &world.services {
        // Istio puts no pods behind the Service of a Gateway that is bound to no instance yet; `waypoints` says that.
        let key = service_key(service, place).filter(|_| !world.gateways.contains_key(name));
        let Some(key) = key else { continue };
        let (spec, about) = (&service.spec, (Kind::Service, &service.metadata));
        let selected = match spec.selector.is_empty() {
            true => 0,
            false => context.selected(name.namespace.as_str(), &spec.selector).count(),
        };
        let message = match endpoints.get(&key).copied().unwrap_or_default() {
            (_, 1..) => continue,
            (1.., 0) if spec.publish_not_ready_addresses => continue,
            _ if selected > 0 => format!("selects {selected} pods, of which none is ready"),
            (0, _) if spec.selector.is_empty() => {
                "there is none, and no EndpointSlice names the service: it has no endpoints".to_owned()
            }
            (0, _) => "selects no pod: the service has no endpoints".to_owned(),
            (all, _) => format!("of the {all} endpoints in slices none is ready"),
        };
        report.say(Code::NO_ENDPOINTS, about, origin, "spec.selector", message);
    }
    for (origin, entry) in world.service_entries.values() {
        let (spec, metadata) = (&entry.spec, &entry.metadata);
        let selected = spec.workload_selector.as_ref();
        let none = selected.is_none_or(|one| context.selected(&metadata.namespace, &one.labels).next().is_none());
        if spec.resolution.as_deref() == Some("STATIC") && spec.endpoints.is_empty() && none {
            let message = "there are none, and no workload is selected: nobody answers for the hosts";
            report.say(Code::NO_ENDPOINTS, (Kind::ServiceEntry, metadata), origin, "spec.endpoints", message);
        }
    }
}
