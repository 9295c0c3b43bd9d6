use crate::pb::{Kind, Node};

/// The name with which the workloads of a node come to it.
#[must_use]
pub fn node_key(node: &str) -> String {
    // No resource is named so: a uid does not begin with a slash, a service key has one slash.
    format!("//node/{node}")
}

/// The node that a client runs on, as Istio's proxies say it.
#[must_use]
pub fn node_name(node: &Node) -> Option<&str> {
    match node.metadata.as_ref()?.fields.get("NODE_NAME")?.kind.as_ref()? {
        Kind::StringValue(name) if !name.is_empty() => Some(name),
        _ => None,
    }
}

/// Features by which a state-of-the-world client says that it understands resources with a wrapper: what gRPC sends, what the
/// protocol's text says, and the one for times to live, which need the wrapper.
const WRAPPED: [&str; 3] =
    ["xds.config.resource-in-sotw", "xds.config.supports-resource-in-sotw", "xds.config.supports-resource-ttl"];

/// Whether a state-of-the-world client understands resources with a wrapper.
pub(super) fn understands_wrapper(node: &Node) -> bool {
    node.client_features.iter().any(|feature| WRAPPED.contains(&feature.as_str()))
}
