//! Which services are for clients of all networks, and which for those of their own.
//!
//! Workload discovery does not say it: a node proxy is told of endpoints elsewhere, or is not. So what is here is the
//! decision, for those who tell other networks what there is.

use mesh_core::name::NamespacedName;

use super::Place;
use crate::resource::{LabelSelector, MESH_CONFIG, MeshConfig, Metadata, ServiceScopeConfig};
use crate::world::{Lookup, World};

/// Label of a Service: with `true` it is for all networks, where the settings of the mesh say nothing else.
pub(crate) const GLOBAL: &str = "istio.io/global";

/// For whom a service is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ServiceScope {
    /// Clients of its own network.
    Local,
    /// Clients of all networks.
    Global,
}

/// For whom a Service is: for all networks if one of `serviceScopeConfigs` of the MeshConfig selects it, with its
/// namespace, and says so; without any, if its label `istio.io/global` is `true`.
#[must_use]
pub fn service_scope(world: &World, place: &Place, service: &Metadata) -> ServiceScope {
    let key = NamespacedName::new(place.root_namespace.as_str(), MESH_CONFIG);
    let config = world.config_maps.get(&key).and_then(|(_, map)| map.mesh.as_deref());
    let is_global = match config {
        Some(MeshConfig { service_scope_configs: Some(configs), .. }) => {
            let namespace = world.namespace_labels(&service.namespace);
            let selects = |selector: &Option<LabelSelector>, labels| {
                selector.as_ref().is_none_or(|selector| selector.selects(labels))
            };
            configs.iter().any(|ServiceScopeConfig { namespace_selector, services_selector, scope }| {
                scope == "GLOBAL"
                    && selects(namespace_selector, &namespace)
                    && selects(services_selector, &service.labels)
            })
        }
        _ => service.labels.get(GLOBAL).is_some_and(|value| value == "true"),
    };
    if is_global { ServiceScope::Global } else { ServiceScope::Local }
}

#[cfg(test)]
mod tests {
    use mesh_core::name::parse_trust_domain;

    use super::*;
    use crate::admission::admit;
    use crate::source::dir::SourceFile;

    /// The names of the services that are for all networks.
    fn global(config: &str) -> Vec<String> {
        let text = format!(
            "{{apiVersion: v1, kind: Namespace, metadata: {{name: shop, labels: {{team: red}}}}}}\n---\n\
             {{apiVersion: v1, kind: Service, metadata: {{name: plain, namespace: shop}}, spec: {{ports: [{{port: 80}}]}}}}\n---\n\
             {{apiVersion: v1, kind: Service, metadata: {{name: labelled, namespace: shop, labels: {{istio.io/global: 'true', tier: front}}}}, spec: {{ports: [{{port: 80}}]}}}}\n---\n\
             {{apiVersion: v1, kind: Service, metadata: {{name: elsewhere, namespace: office, labels: {{tier: front}}}}, spec: {{ports: [{{port: 80}}]}}}}\n---\n\
             {{apiVersion: v1, kind: ConfigMap, metadata: {{name: istio, namespace: istio-system}}, data: {{mesh: '{config}'}}}}\n"
        );
        let file = SourceFile { path: "a.yaml".into(), text: Ok(text) };
        let (world, findings) = admit(&[file]).unwrap_or_else(|findings| panic!("{findings:#?}"));
        assert!(findings.is_empty(), "{findings:?}");
        let place = Place { network: "n1".into(), ..Place::new(parse_trust_domain("cluster.local").unwrap(), "c1") };
        let services = world.services.values().map(|(_, service)| &service.metadata);
        let global = services.filter(|service| service_scope(&world, &place, service) == ServiceScope::Global);
        global.map(|service| service.name.clone()).collect()
    }

    #[test]
    fn the_settings_say_which_services_are_global_and_else_their_label() {
        for (config, expected) in [
            ("{}", &["labelled"][..]),
            ("serviceScopeConfigs: []", &[]),
            ("serviceScopeConfigs: [{scope: GLOBAL}]", &["elsewhere", "labelled", "plain"]),
            ("serviceScopeConfigs: [{scope: LOCAL}]", &[]),
            (
                "serviceScopeConfigs: [{servicesSelector: {matchLabels: {tier: front}}, scope: GLOBAL}]",
                &["elsewhere", "labelled"],
            ),
            (
                "serviceScopeConfigs: [{namespaceSelector: {matchExpressions: [{key: team, operator: In, values: [red]}]}, servicesSelector: {matchLabels: {tier: front}}, scope: GLOBAL}]",
                &["labelled"],
            ),
            (
                "serviceScopeConfigs: [{namespaceSelector: {matchLabels: {team: blue}}, scope: GLOBAL}, {servicesSelector: {matchExpressions: [{key: tier, operator: DoesNotExist}]}, scope: GLOBAL}]",
                &["plain"],
            ),
        ] {
            assert_eq!(global(config), expected, "{config}");
        }
    }
}
