//! `gateway.networking.k8s.io` Gateway and GatewayClass.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::Metadata;

/// `gateway.networking.k8s.io Gateway`.
#[derive(Debug, Clone, Deserialize)]
pub struct Gateway {
    /// Name, and the label that says what it is a waypoint for.
    pub metadata: Metadata,
    /// What it is.
    pub spec: GatewaySpec,
    /// What a controller found out about it.
    #[serde(default)]
    pub status: GatewayStatus,
}

/// Specification of a Gateway.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GatewaySpec {
    /// Its class, `istio-waypoint` for waypoints.
    pub gateway_class_name: String,
    /// Where it listens.
    #[serde(default)]
    pub listeners: Vec<Listener>,
    /// Addresses that it is to have.
    #[serde(default)]
    pub addresses: Vec<AddressValue>,
}

/// Where a Gateway listens.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Listener {
    /// Its name.
    pub name: String,
    /// The host it is for; any when absent.
    #[serde(default)]
    pub hostname: Option<String>,
    /// Its port.
    pub port: u16,
    /// What is spoken on it, `HBONE` for waypoints.
    pub protocol: String,
    /// How TLS is ended.
    #[serde(default)]
    pub tls: Option<serde_json::Value>,
    /// What may attach to it.
    #[serde(default)]
    pub allowed_routes: AllowedRoutes,
}

/// What may attach to a listener.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AllowedRoutes {
    /// From which namespaces.
    pub namespaces: AllowedNamespaces,
}

/// From which namespaces something may attach.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AllowedNamespaces {
    /// `Same` when absent; `All`, `Selector`.
    pub from: Option<String>,
    /// For `Selector`: the labels of namespaces.
    pub selector: Option<LabelSelector>,
}

/// A selection by labels.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct LabelSelector {
    /// Labels with their values; all of these.
    pub match_labels: BTreeMap<String, String>,
    /// Conditions on labels; all of these.
    pub match_expressions: Vec<LabelExpression>,
}

/// A condition on a label.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct LabelExpression {
    /// The label.
    pub key: String,
    /// `In`, `NotIn`, `Exists` or `DoesNotExist`.
    pub operator: String,
    /// For the first two, the values.
    #[serde(default)]
    pub values: Vec<String>,
}

/// An address.
#[derive(Debug, Clone, Deserialize)]
pub struct AddressValue {
    /// `IPAddress` when absent, or `Hostname`.
    #[serde(default)]
    pub r#type: Option<String>,
    /// The address.
    #[serde(default)]
    pub value: String,
}

/// Status of a Gateway.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct GatewayStatus {
    /// Addresses that it has.
    pub addresses: Vec<AddressValue>,
}

/// `gateway.networking.k8s.io GatewayClass`.
#[derive(Debug, Clone, Deserialize)]
pub struct GatewayClass {
    /// Name, and the label that says what its Gateways are waypoints for.
    pub metadata: Metadata,
}

impl LabelSelector {
    /// Whether labels are selected. Without any condition, all are; an unknown operator selects none.
    #[must_use]
    pub fn selects(&self, labels: &BTreeMap<String, String>) -> bool {
        let expression = |LabelExpression { key, operator, values }: &LabelExpression| {
            let value = labels.get(key);
            match operator.as_str() {
                "In" => value.is_some_and(|value| values.contains(value)),
                "NotIn" => value.is_none_or(|value| !values.contains(value)),
                "Exists" => value.is_some(),
                "DoesNotExist" => value.is_none(),
                _ => false,
            }
        };
        self.match_labels.iter().all(|(key, value)| labels.get(key) == Some(value))
            && self.match_expressions.iter().all(expression)
    }
}
