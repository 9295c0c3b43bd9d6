//! Kinds that have no effect here, each with what there is to say about it.

use crate::resource::Kind;

/// What becomes of a kind that is not read.
pub(super) enum Fate {
    /// It is for others: Kubernetes, or who installs things.
    Others(&'static str),
    /// It changes traffic where it is read, and it is not read here.
    Matters(&'static str),
    /// It is meant to protect; nobody would.
    NotEnforced(String),
    /// The group has no such kind, and another one has.
    Misplaced(Kind),
    /// Nobody knows it here. The kind that may be meant.
    Unknown(Option<Kind>),
}

/// What becomes of a kind that is not read.
pub(super) fn fate(group: &str, kind: &str) -> Fate {
    let pods = "its pods are read from the API server, or as Pod and WorkloadEntry";
    match (group, kind) {
        ("apps" | "batch" | "extensions", _) | ("", "ReplicationController") => Fate::Others(pods),
        (
            "",
            "PersistentVolume"
            | "PersistentVolumeClaim"
            | "LimitRange"
            | "ResourceQuota"
            | "Event"
            | "Endpoints"
            | "Binding"
            | "PodTemplate",
        ) => Fate::Others("it is for Kubernetes"),
        ("networking.k8s.io", "Ingress" | "IngressClass") => {
            Fate::Matters("an Ingress is not served; an HTTPRoute of the Gateway API says the same")
        }
        ("networking.k8s.io", "NetworkPolicy") => Fate::Others(
            "it is enforced by the network of Kubernetes; meshed traffic arrives on port 15008 and must be let in there",
        ),
        ("networking.istio.io", "Gateway") => {
            Fate::Matters("the Gateway of Istio is not served; a Gateway of gateway.networking.k8s.io says the same")
        }
        ("networking.istio.io", "Sidecar") => Fate::Matters("there are no sidecars; nothing is narrowed by it"),
        ("networking.istio.io", "EnvoyFilter") => {
            Fate::Matters("what waypoints run is not patched; say it by the Gateway API, or by an extension provider")
        }
        ("networking.istio.io", "ProxyConfig") => Fate::Others("there are no sidecars that it could configure"),
        ("networking.istio.io", "WorkloadGroup") => {
            Fate::Others("workloads outside Kubernetes are declared as WorkloadEntry")
        }
        ("extensions.istio.io", "WasmPlugin") => {
            Fate::Matters("WebAssembly is not run; an extension provider of `envoyExtAuthzGrpc` decides about requests")
        }
        ("extensions.istio.io", _) => Fate::Matters("waypoints are not extended by it"),
        ("install.istio.io", _) => Fate::Others("it is for the installation of Istio"),
        ("gateway.networking.x-k8s.io", "XBackendTrafficPolicy" | "XMesh" | "XBackend") => {
            Fate::Matters("this experimental kind is not read")
        }
        ("security.istio.io", kind) => {
            Fate::NotEnforced(format!("security kind `{kind}` is not supported; it would not be enforced"))
        }
        _ if is_of_kubernetes(group) => Fate::Others("it is for Kubernetes"),
        _ => match Kind::ALL.iter().find(|known| known.name() == kind) {
            Some(known) => Fate::Misplaced(*known),
            None => Fate::Unknown(similar(group, kind)),
        },
    }
}

/// Groups of which Kubernetes itself, or those who are installed beside, make sense.
fn is_of_kubernetes(group: &str) -> bool {
    let own = ["policy", "autoscaling", "apiextensions.k8s.io", "apiregistration.k8s.io", "metrics.k8s.io"];
    let others =
        [".k8s.io", "cert-manager.io", "monitoring.coreos.com", "fluxcd.io", "argoproj.io", "kustomize.config.k8s.io"];
    let is_ours =
        ["gateway.networking.k8s.io", "gateway.networking.x-k8s.io", "multicluster.x-k8s.io", "discovery.k8s.io"];
    !is_ours.contains(&group) && (own.contains(&group) || others.iter().any(|end| group.strip_suffix(end).is_some()))
}

/// The kind of a group that is written almost so.
fn similar(group: &str, kind: &str) -> Option<Kind> {
    let of_group = Kind::ALL.iter().filter(|known| known.group() == group);
    let near = of_group.map(|known| (strsim::osa_distance(&known.name().to_lowercase(), &kind.to_lowercase()), *known));
    near.min().filter(|(distance, _)| *distance <= 3).map(|(_, known)| known)
}

/// Names of fields that a kind has and that are not read. `None`: the kind has so many that nobody says of one that it is
/// not known.
pub(super) fn further_fields(kind: Kind) -> Option<&'static [&'static str]> {
    Some(match kind {
        Kind::Pod | Kind::Node => return None,
        Kind::Namespace => &["spec"],
        Kind::ServiceAccount => &["secrets", "imagePullSecrets", "automountServiceAccountToken"],
        Kind::ConfigMap => &["binaryData", "immutable"],
        Kind::Secret => &["immutable"],
        Kind::Service => &[
            "sessionAffinity",
            "sessionAffinityConfig",
            "externalIPs",
            "externalName",
            "externalTrafficPolicy",
            "healthCheckNodePort",
            "ipFamilyPolicy",
            "loadBalancerIP",
            "loadBalancerClass",
            "loadBalancerSourceRanges",
            "allocateLoadBalancerNodePorts",
            "nodePort",
        ],
        Kind::EndpointSlice => &[
            "deprecatedTopology",
            "hostname",
            "hints",
            "appProtocol",
            "namespace",
            "uid",
            "apiVersion",
            "resourceVersion",
            "fieldPath",
        ],
        Kind::Gateway => &["conditions", "listeners", "attachedListenerSets"],
        Kind::ServiceImport | Kind::ServiceExport => return None,
        _ => &[],
    })
}

/// Names of fields of metadata that are not read.
pub(super) const FURTHER_METADATA: [&str; 7] = [
    "generateName",
    "selfLink",
    "deletionGracePeriodSeconds",
    "finalizers",
    "managedFields",
    "clusterName",
    "initializers",
];
