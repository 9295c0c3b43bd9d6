//! What kind of proxy a client is.

/// Kinds of proxies, as their node ids begin.
pub(crate) const KINDS: [&str; 6] = ["ztunnel", "waypoint", "router", "sidecar", "agentgateway", "other"];

/// What kind of proxy a node id is of.
pub(crate) fn kind(node: &str) -> &'static str {
    let said = node.split_once('~').map_or("", |(kind, _)| kind);
    KINDS.into_iter().find(|known| *known == said).unwrap_or("other")
}
