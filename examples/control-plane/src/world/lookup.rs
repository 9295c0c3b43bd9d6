use std::collections::BTreeMap;

use mesh_core::name::NamespacedName;

use super::World;
use crate::resource::{Gateway, GatewayClass, Namespace};

/// Finds single objects that others hang on: in a world, or in what takes note of what was looked up.
pub trait Lookup {
    /// A namespace that an object declares.
    fn namespace(&self, name: &str) -> Option<&Namespace>;

    /// A Gateway.
    fn gateway(&self, key: &NamespacedName) -> Option<&Gateway>;

    /// A class of Gateways.
    fn class(&self, name: &str) -> Option<&GatewayClass>;

    /// Whether the workloads of a namespace are in the mesh by its label.
    fn is_ambient(&self, namespace: &str) -> bool {
        let labels = self.namespace(namespace).map(|namespace| &namespace.metadata.labels);
        labels.and_then(|labels| labels.get("istio.io/dataplane-mode")).is_some_and(|mode| mode == "ambient")
    }

    /// The labels of a namespace, with the one that names it. A namespace that no object declares has that one.
    fn namespace_labels(&self, namespace: &str) -> BTreeMap<String, String> {
        let mut labels = self.namespace(namespace).map(|found| found.metadata.labels.clone()).unwrap_or_default();
        labels.insert("kubernetes.io/metadata.name".to_owned(), namespace.to_owned());
        labels
    }
}

impl Lookup for World {
    fn namespace(&self, name: &str) -> Option<&Namespace> {
        self.namespaces.get(&NamespacedName::new("", name)).map(|(_, namespace)| namespace)
    }

    fn gateway(&self, key: &NamespacedName) -> Option<&Gateway> {
        self.gateways.get(key).map(|(_, gateway)| gateway)
    }

    fn class(&self, name: &str) -> Option<&GatewayClass> {
        self.classes.get(&NamespacedName::new("", name)).map(|(_, class)| class)
    }
}
