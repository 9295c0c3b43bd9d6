use crate::finding::{Code, Finding, Origin, Severity};
use crate::resource::Kind;

use super::error::Error;

/// A kind of objects as the API server serves it.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Collection {
    /// Its API group; empty for the core.
    pub group: &'static str,
    /// Versions that are understood, the preferred one first. The first that is served is read.
    pub versions: &'static [&'static str],
    /// Name of the kind.
    pub name: &'static str,
    /// Its name in paths.
    pub plural: &'static str,
    /// Whether its objects stand in namespaces.
    pub is_namespaced: bool,
    /// Whether statuses are written to its objects.
    pub has_status: bool,
    /// Which of its objects are asked for, as a field selector; empty for all.
    pub fields: &'static str,
}

impl Collection {
    /// The kind, where it is one that has an effect here.
    #[must_use]
    pub fn kind(&self) -> Option<Kind> {
        Kind::of(self.group, self.name)
    }

    /// That of a kind.
    #[must_use]
    pub fn of(kind: Kind) -> Option<&'static Self> {
        COLLECTIONS.iter().find(|collection| (collection.group, collection.name) == (kind.group(), kind.name()))
    }

    /// As kubectl names it: `httproutes.gateway.networking.k8s.io`.
    #[must_use]
    pub fn full_name(&self) -> String {
        match self.group {
            "" => self.plural.to_owned(),
            group => format!("{}.{group}", self.plural),
        }
    }

    /// That the kind is served in an older version only than the newest that is read: its API server drops fields that came since.
    pub(super) fn outdated(&self, served: &str, origin: &Origin) -> Option<Finding> {
        let newest = self.versions.first().filter(|newest| **newest != served)?;
        let name = self.full_name();
        let message = format!(
            "`{name}` is served as {served} and not as {newest}: its CustomResourceDefinition is older than what is read here"
        );
        Some(Code::OLD_VERSION.at(origin, Severity::Warning, message))
    }

    /// Where the objects of a namespace stand, or all of them.
    pub(super) fn path(&self, version: &str, namespace: Option<&str>) -> Result<String, Error> {
        let mut path = match self.group {
            "" => format!("/api/{version}"),
            group => format!("/apis/{group}/{version}"),
        };
        if let Some(namespace) = namespace.filter(|_| self.is_namespaced) {
            path = path + "/namespaces/" + segment(namespace)?;
        }
        Ok(path + "/" + self.plural)
    }

    /// Where an object stands.
    pub(super) fn object_path(&self, version: &str, namespace: &str, name: &str) -> Result<String, Error> {
        Ok(self.path(version, Some(namespace))? + "/" + segment(name)?)
    }
}

/// A name as a part of a path. What Kubernetes would not take as a name must not lead elsewhere.
pub(super) fn segment(name: &str) -> Result<&str, Error> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b':');
    match name {
        "" | "." | ".." => Err(Error::Name(name.to_owned())),
        name if name.bytes().all(is_plain) => Ok(name),
        name => Err(Error::Name(name.to_owned())),
    }
}

const fn core(name: &'static str, plural: &'static str, is_namespaced: bool) -> Collection {
    Collection { group: "", versions: &["v1"], name, plural, is_namespaced, has_status: false, fields: "" }
}

const fn istio(group: &'static str, name: &'static str, plural: &'static str) -> Collection {
    let versions = &["v1", "v1beta1", "v1alpha3"];
    Collection { group, versions, name, plural, is_namespaced: true, has_status: true, fields: "" }
}

const fn gateway(versions: &'static [&'static str], name: &'static str, plural: &'static str) -> Collection {
    let group = "gateway.networking.k8s.io";
    Collection { group, versions, name, plural, is_namespaced: true, has_status: true, fields: "" }
}

const fn multicluster(name: &'static str, plural: &'static str) -> Collection {
    let versions = &["v1beta1", "v1alpha1"];
    let group = "multicluster.x-k8s.io";
    Collection { group, versions, name, plural, is_namespaced: true, has_status: true, fields: "" }
}

/// The kinds that a mesh is made of. Those that [`Kind`] knows are read.
pub static COLLECTIONS: &[Collection] = &[
    core("Namespace", "namespaces", false),
    core("Node", "nodes", false),
    Collection { has_status: true, ..core("Service", "services", true) },
    core("ServiceAccount", "serviceaccounts", true),
    core("Pod", "pods", true),
    core("ConfigMap", "configmaps", true),
    // Certificates for TLS and no others: tokens and passwords are nobody's business here.
    Collection { fields: "type=kubernetes.io/tls", ..core("Secret", "secrets", true) },
    Collection { group: "discovery.k8s.io", ..core("EndpointSlice", "endpointslices", true) },
    istio("networking.istio.io", "WorkloadEntry", "workloadentries"),
    istio("networking.istio.io", "ServiceEntry", "serviceentries"),
    istio("networking.istio.io", "DestinationRule", "destinationrules"),
    istio("networking.istio.io", "VirtualService", "virtualservices"),
    istio("security.istio.io", "AuthorizationPolicy", "authorizationpolicies"),
    istio("security.istio.io", "PeerAuthentication", "peerauthentications"),
    istio("security.istio.io", "RequestAuthentication", "requestauthentications"),
    Collection { versions: &["v1", "v1alpha1"], ..istio("telemetry.istio.io", "Telemetry", "telemetries") },
    Collection { is_namespaced: false, ..gateway(&["v1", "v1beta1"], "GatewayClass", "gatewayclasses") },
    gateway(&["v1", "v1beta1"], "Gateway", "gateways"),
    gateway(&["v1"], "ListenerSet", "listenersets"),
    gateway(&["v1", "v1beta1"], "HTTPRoute", "httproutes"),
    gateway(&["v1"], "GRPCRoute", "grpcroutes"),
    gateway(&["v1", "v1alpha3", "v1alpha2"], "TLSRoute", "tlsroutes"),
    gateway(&["v1", "v1alpha2"], "TCPRoute", "tcproutes"),
    gateway(&["v1", "v1alpha2"], "UDPRoute", "udproutes"),
    Collection { has_status: false, ..gateway(&["v1", "v1beta1"], "ReferenceGrant", "referencegrants") },
    gateway(&["v1", "v1alpha3"], "BackendTLSPolicy", "backendtlspolicies"),
    multicluster("ServiceExport", "serviceexports"),
    multicluster("ServiceImport", "serviceimports"),
];
