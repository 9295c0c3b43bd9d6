//! VirtualServices that contradict each other.

use std::collections::BTreeMap;

use super::context::{Context, Report};
use crate::finding::{Code, Origin};
use crate::resource::virtual_service::is_for_mesh;
use crate::resource::{Kind, VirtualService};

/// Hosts that two VirtualServices say something of.
pub(super) fn analyze(context: &Context<'_>, report: &mut Report) {
    let mut by_host: BTreeMap<String, Vec<(&Origin, &VirtualService, usize)>> = BTreeMap::new();
    for (origin, service) in context.world.virtual_services.values() {
        if is_for_mesh(&service.spec.gateways) {
            for (index, host) in service.spec.hosts.iter().enumerate() {
                let host = context.full_name(&service.metadata.namespace, host);
                by_host.entry(host).or_default().push((origin, service, index));
            }
        }
    }
    for (host, mut services) in by_host {
        let rank = |service: &VirtualService| {
            let metadata = &service.metadata;
            (metadata.created(), metadata.namespace.clone(), metadata.name.clone())
        };
        services.sort_by_key(|(_, service, _)| rank(service));
        let Some(((_, first, _), others)) = services.split_first() else { continue };
        for (origin, service, index) in others.iter().filter(|(_, service, _)| sees_the_same(first, service)) {
            let message = format!(
                "`{host}`: VirtualService {}/{} is older, or its name comes first, and says where its requests go",
                first.metadata.namespace, first.metadata.name
            );
            let about = (Kind::VirtualService, &service.metadata);
            let field = format!("spec.hosts[{index}]");
            report.say(Code::VIRTUAL_SERVICES_CONFLICT, about, origin, field, message);
        }
    }
}

/// Whether two are for the same clients: not if each is for its own namespace only.
fn sees_the_same(one: &VirtualService, other: &VirtualService) -> bool {
    let private = |service: &VirtualService| service.spec.export_to.iter().any(|scope| scope == ".");
    one.metadata.namespace == other.metadata.namespace || !(private(one) || private(other))
}
