//! `gateway.networking.k8s.io` Gateway, GatewayClass and ListenerSet.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Metadata, ObjectReference, ParentRef};

/// Class of the Gateways that are waypoints.
pub const WAYPOINT_CLASS: &str = "istio-waypoint";

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
    /// What is made for it.
    #[serde(default)]
    pub infrastructure: Infrastructure,
    /// Whose ListenerSets may add listeners.
    #[serde(default)]
    pub allowed_listeners: AllowedListeners,
    /// TLS with clients and backends.
    #[serde(default)]
    pub tls: GatewayTls,
    /// `All`: routes that ask for a default Gateway are its own. Experimental.
    #[serde(default)]
    pub default_scope: Option<String>,
}

/// What is made for a Gateway.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Infrastructure {
    /// Labels of what is made.
    pub labels: BTreeMap<String, String>,
    /// Annotations of what is made.
    pub annotations: BTreeMap<String, String>,
    /// Further settings, in the Gateway's namespace.
    pub parameters_ref: Option<ParametersRef>,
}

/// An object that holds further settings.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ParametersRef {
    /// API group.
    pub group: String,
    /// Kind.
    pub kind: String,
    /// Name.
    pub name: String,
    /// Namespace; of GatewayClasses only.
    #[serde(default)]
    pub namespace: Option<String>,
}

/// Whose ListenerSets may add listeners to a Gateway.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct AllowedListeners {
    /// Of which namespaces. `from` is `None` when absent.
    pub namespaces: AllowedNamespaces,
}

/// TLS of a Gateway as a whole.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct GatewayTls {
    /// With backends.
    pub backend: BackendTls,
    /// With clients.
    pub frontend: FrontendTls,
}

/// TLS of a Gateway with backends.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct BackendTls {
    /// The certificate that backends are shown.
    pub client_certificate_ref: Option<ObjectReference>,
}

/// TLS of a Gateway with clients.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct FrontendTls {
    /// Of all HTTPS listeners.
    pub default: PortTls,
    /// Of those of single ports, instead.
    pub per_port: Vec<PortValidation>,
}

/// TLS with clients on one port.
#[derive(Debug, Clone, Deserialize)]
pub struct PortValidation {
    /// The port.
    pub port: u16,
    /// What counts there instead.
    #[serde(default)]
    pub tls: PortTls,
}

/// TLS with clients.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub struct PortTls {
    /// Which certificates of clients are believed; without, clients need none.
    pub validation: Option<ClientValidation>,
}

/// Which certificates of clients are believed.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ClientValidation {
    /// Who signs them.
    pub ca_certificate_refs: Vec<ObjectReference>,
    /// `AllowValidOnly` when absent; `AllowInsecureFallback`.
    pub mode: Option<String>,
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
    pub tls: Option<ListenerTls>,
    /// What may attach to it.
    #[serde(default)]
    pub allowed_routes: AllowedRoutes,
}

/// How TLS is ended.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ListenerTls {
    /// `Terminate` when absent; `Passthrough`.
    pub mode: Option<String>,
    /// The certificates.
    pub certificate_refs: Vec<ObjectReference>,
    /// What implementations understand beside.
    pub options: BTreeMap<String, String>,
}

/// What may attach to a listener.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct AllowedRoutes {
    /// From which namespaces.
    pub namespaces: AllowedNamespaces,
    /// Which kinds of routes; those of its protocol when there is none.
    pub kinds: Vec<RouteKind>,
}

/// A kind of routes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub struct RouteKind {
    /// API group; that of the Gateway API when absent.
    #[serde(default)]
    pub group: Option<String>,
    /// Kind.
    pub kind: String,
}

/// From which namespaces something may attach.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
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
    /// Whose it is.
    #[serde(default)]
    pub spec: GatewayClassSpec,
}

/// Specification of a GatewayClass.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct GatewayClassSpec {
    /// The controller that serves Gateways of the class, as `domain/path`.
    pub controller_name: String,
    /// Further settings.
    pub parameters_ref: Option<ParametersRef>,
    /// What it is, for people.
    pub description: Option<String>,
}

/// `gateway.networking.k8s.io ListenerSet`, and `XListenerSet` of before.
#[derive(Debug, Clone, Deserialize)]
pub struct ListenerSet {
    /// Name and age.
    pub metadata: Metadata,
    /// What it is.
    pub spec: ListenerSetSpec,
}

/// Specification of a ListenerSet.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ListenerSetSpec {
    /// The Gateway that it adds listeners to.
    pub parent_ref: ParentRef,
    /// The listeners.
    #[serde(default)]
    pub listeners: Vec<Listener>,
}

impl AllowedNamespaces {
    /// Whether something of a namespace may attach to what is in its own. Unless it says otherwise, only what is in the same.
    #[must_use]
    pub fn admit(&self, own: &str, namespace: &str, labels: impl FnOnce() -> BTreeMap<String, String>) -> bool {
        match (self.from.as_deref(), &self.selector) {
            (Some("All"), _) => true,
            (Some("Selector"), Some(selector)) => selector.selects(&labels()),
            _ => own == namespace,
        }
    }
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
