//! ServiceExports and ServiceImports (KEP-1645), as far as one cluster can say it.

use serde_json::{Value, json};

use super::Statuses;
use super::condition::Said;
use super::context::{Context, id};
use crate::resource::{Kind, Service, ServiceImport};

/// The statuses of exports, and of imports who contributes to them.
pub(super) fn add(context: &Context<'_>, all: &mut Statuses) {
    let world = context.input.world;
    for (key, (_, export)) in &world.exports {
        let service = world.services.get(key).map(|(_, service)| service);
        let valid = valid(service);
        let mut conditions = context.conditions(Kind::ServiceExport, &export.metadata);
        conditions.say("Valid", valid.clone());
        conditions.say(
            "Ready",
            match valid.is_true {
                true => Said::yes("Exported", "the Service is exported"),
                false => Said::no("Pending", valid.message),
            },
        );
        let import = world.imports.get(key).map(|(_, import)| import);
        conditions.say("Conflict", conflict(service, import));
        all.insert(id(Kind::ServiceExport, &export.metadata), json!({"conditions": conditions.finish()}));
    }
    let own = context.input.place.cluster_id.as_str();
    for (key, (_, import)) in &world.imports {
        let service = world.services.get(key).map(|(_, service)| service);
        let contributes = world.exports.contains_key(key) && valid(service).is_true;
        // What other clusters say of themselves stays.
        let others = import.status.clusters.iter().map(|one| one.cluster.as_str()).filter(|name| *name != own);
        let mut clusters: Vec<&str> = others.chain(contributes.then_some(own)).collect();
        clusters.sort_unstable();
        let clusters: Vec<Value> = clusters.into_iter().map(|name| json!({"cluster": name})).collect();
        all.insert(id(Kind::ServiceImport, &import.metadata), json!({ "clusters": clusters }));
    }
}

fn valid(service: Option<&Service>) -> Said {
    match service {
        None => Said::no("NoService", "there is no Service of this name and namespace"),
        Some(service) if service.spec.r#type.as_deref() == Some("ExternalName") => {
            Said::no("InvalidServiceType", "a Service of type ExternalName cannot be exported")
        }
        Some(_) => Said::yes("Valid", "the Service can be exported"),
    }
}

/// What the Service says otherwise than the import, which is made of the oldest export. The reasons are joined by commas.
fn conflict(service: Option<&Service>, import: Option<&ServiceImport>) -> Said {
    let none = || Said::no("NoConflicts", "the Service agrees with the import");
    let (Some(service), Some(import)) = (service, import) else { return none() };
    let is_headless = service.spec.cluster_ip.as_deref() == Some("None");
    let other_type = is_headless != (import.spec.r#type == "Headless");
    // The union of ports is served: one that only one of them has is no conflict, one that they tell differently is.
    let differs = service.spec.ports.iter().find(|port| {
        let same_name = import.spec.ports.iter().find(|other| other.name == port.name);
        same_name.is_some_and(|other| {
            let protocol = |text: &Option<String>| text.clone().unwrap_or_else(|| "TCP".to_owned());
            other.port != port.port || protocol(&other.protocol) != protocol(&port.protocol)
        })
    });
    match (other_type, differs) {
        (true, Some(port)) => Said::yes(
            "TypeConflict,PortConflict",
            format!("the import is {}, and tells port `{}` otherwise", import.spec.r#type, port.name),
        ),
        (true, None) => Said::yes("TypeConflict", format!("the import is {}; that counts", import.spec.r#type)),
        (false, Some(port)) => {
            Said::yes("PortConflict", format!("the import tells port `{}` otherwise; that counts", port.name))
        }
        (false, None) => none(),
    }
}
