//! What is wrong among objects of a world that are good by themselves. None of it refuses one of them: the other may change,
//! or come later.

use mesh_core::name::NamespacedName;

use crate::finding::{Code, Faults, Finding, Origin};
use crate::resource::{Kind, Metadata};
use crate::translate::binding::{self, Traffic};
use crate::world::{Objects, World};

/// What is wrong among the objects of a world.
pub(crate) fn whole(world: &World) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (key, (origin, pod)) in &world.pods {
        let account = pod.spec.service_account_name.as_deref().unwrap_or("default");
        let known =
            account == "default" || world.accounts.contains_key(&NamespacedName::new(key.namespace.clone(), account));
        if !known {
            let message = format_args!("service account `{account}` of pod `{key}` is not declared");
            let faults = &mut Faults::new(origin, &mut findings).of(Kind::Pod, key);
            faults.coded(Code::NOT_FOUND, "serviceAccountName", message);
        }
    }
    let services = objects(&world.services, Kind::Service, Traffic::Service, |service| &service.metadata);
    let hosts = objects(&world.service_entries, Kind::ServiceEntry, Traffic::Service, |entry| &entry.metadata);
    let pods = objects(&world.pods, Kind::Pod, Traffic::Workload, |pod| &pod.metadata);
    let entries = objects(&world.entries, Kind::WorkloadEntry, Traffic::Workload, |entry| &entry.metadata);
    for (kind, key, origin, object) in services.chain(hosts).chain(pods).chain(entries) {
        let bound = binding::bound(world, object);
        let faults = &mut Faults::at("metadata", origin, &mut findings).of(kind, key);
        bound.faults.iter().for_each(|fault| faults.coded(Code::WAYPOINT_LABEL, "labels", fault));
    }
    super::references(world, &mut findings);
    findings
}

type Bindable<'a> = (Kind, &'a NamespacedName, &'a Origin, binding::Object<'a>);

/// Objects of a kind whose labels may name a waypoint.
fn objects<'a, T>(
    objects: &'a Objects<T>,
    kind: Kind,
    traffic: Traffic,
    metadata: fn(&T) -> &Metadata,
) -> impl Iterator<Item = Bindable<'a>> {
    objects
        .iter()
        .map(move |(key, (origin, object))| (kind, key, origin, binding::Object::new(traffic, metadata(object))))
}
