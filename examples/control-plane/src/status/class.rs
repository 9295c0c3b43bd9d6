use serde_json::{Value, json};

use super::Statuses;
use super::condition::Said;
use super::context::{Context, id};
use super::features::FEATURES;
use crate::resource::{Kind, ParametersRef};
use crate::world::World;
use mesh_core::name::NamespacedName;

/// The statuses of the GatewayClasses that are ours.
pub(super) fn add(context: &Context<'_>, all: &mut Statuses) {
    for (key, (_, class)) in &context.input.world.classes {
        if context.input.place.controller.role(context.input.world, key.name.as_str()).is_none() {
            continue;
        }
        let parameters = class.spec.parameters_ref.as_ref();
        let fault = parameters.and_then(|parameters| parameters_fault(context.input.world, parameters, None));
        let mut conditions = context.conditions(Kind::GatewayClass, &class.metadata);
        conditions.say(
            "Accepted",
            match fault {
                Some(fault) => Said::no("InvalidParameters", fault),
                None => Said::yes("Accepted", "Gateways of the class are served"),
            },
        );
        let features: Vec<Value> = FEATURES.iter().map(|name| json!({"name": name})).collect();
        let status = json!({"conditions": conditions.finish(), "supportedFeatures": features});
        all.insert(id(Kind::GatewayClass, &class.metadata), status);
    }
}

/// Why further settings cannot be used. They are in a ConfigMap, as in Istio: of the same namespace, or for a class of the one
/// that is named.
pub(super) fn parameters_fault(world: &World, parameters: &ParametersRef, own: Option<&str>) -> Option<String> {
    let ParametersRef { group, kind, name, namespace } = parameters;
    if !matches!(group.as_str(), "" | "core") || kind != "ConfigMap" {
        return Some(format!("parametersRef: `{kind}` is no kind for this; ConfigMap is"));
    }
    let Some(namespace) = own.or(namespace.as_deref()) else {
        return Some("parametersRef: the namespace is missing".to_owned());
    };
    let key = NamespacedName::new(namespace, name.as_str());
    (!world.config_maps.contains_key(&key))
        .then(|| format!("parametersRef: {} is not there", Kind::ConfigMap.called(&key)))
}
