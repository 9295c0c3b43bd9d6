//! Services without endpoints.

use std::collections::BTreeSet;

use super::context::{Context, Report};
use crate::finding::Code;
use crate::resource::Kind;

/// Label of a slice: whose endpoints they are.
const SERVICE_NAME: &str = "kubernetes.io/service-name";

/// Services that nobody answers for.
pub(super) fn analyze(context: &Context<'_>, report: &mut Report) {
    let world = context.world;
    let mut sliced: BTreeSet<(&str, &str)> = BTreeSet::new();
    for (_, slice) in world.slices.values() {
        let named = slice.metadata.labels.get(SERVICE_NAME);
        if let Some(name) = named.filter(|_| slice.endpoints.iter().any(|one| one.conditions.ready != Some(false))) {
            sliced.insert((&slice.metadata.namespace, name));
        }
    }
    for (origin, service) in world.services.values() {
        let (spec, metadata) = (&service.spec, &service.metadata);
        let outside =
            spec.r#type.as_deref() == Some("ExternalName") || sliced.contains(&(&metadata.namespace, &metadata.name));
        // Istio puts no pods behind the Service of a Gateway that is bound to no instance yet; `waypoints` says that.
        let is_gateway = world
            .gateways
            .contains_key(&mesh_core::name::NamespacedName::new(metadata.namespace.as_str(), metadata.name.as_str()));
        if outside || is_gateway {
            continue;
        }
        let about = (Kind::Service, metadata);
        if spec.selector.is_empty() {
            let message = "there is none, and no EndpointSlice names the service: it has no endpoints";
            report.say(Code::NO_ENDPOINTS, about, origin, "spec.selector", message);
            continue;
        }
        let (mut count, mut ready) = (0, 0);
        for one in context.selected(&metadata.namespace, &spec.selector) {
            count += 1;
            ready += usize::from(one.is_ready);
        }
        if count == 0 {
            report.say(
                Code::NO_ENDPOINTS,
                about,
                origin,
                "spec.selector",
                "selects no pod: the service has no endpoints",
            );
        } else if ready == 0 && !spec.publish_not_ready_addresses {
            let message = format!("selects {count} pods, of which none is ready");
            report.say(Code::NO_ENDPOINTS, about, origin, "spec.selector", message);
        }
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
