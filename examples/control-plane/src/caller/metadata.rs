//! What a client says of itself beside what it has proved.

use mesh_core::name::{ServiceAccount, SpiffeId};
use mesh_xds::pb::{Kind, Node};
use mesh_xds::server::machine::node_name;

/// Why a node's proxy is not what it says: it has proved to be that of a node, and names another. What is sent to it unasked
/// follows from the node, and so do the certificates that it may have.
///
/// Who names none is not compared, as in istiod.
pub(super) fn of_node(proved: &str, said: &Node) -> Result<(), String> {
    match node_name(said) {
        Some(name) if name != proved => {
            Err(format!("the metadata say NODE_NAME `{name}`; the caller is the proxy of node `{proved}`"))
        }
        _ => Ok(()),
    }
}

/// Why a workload is not what it says: its identity is of another namespace or service account.
pub(super) fn of_identity(proved: &SpiffeId, said: &Node) -> Result<(), String> {
    let Some(account) = ServiceAccount::from_spiffe_id(proved) else { return Ok(()) };
    for (key, proved_part) in
        [("NAMESPACE", account.namespace().as_str()), ("SERVICE_ACCOUNT", account.name().as_str())]
    {
        if let Some(value) = text(said, key).filter(|value| *value != proved_part) {
            return Err(format!("the metadata say {key} `{value}`; the caller is {proved}"));
        }
    }
    Ok(())
}

/// A text of the metadata, unless it is empty.
fn text<'a>(node: &'a Node, key: &str) -> Option<&'a str> {
    match node.metadata.as_ref()?.fields.get(key)?.kind.as_ref()? {
        Kind::StringValue(text) if !text.is_empty() => Some(text),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use mesh_core::name::parse_spiffe_id;
    use mesh_xds::pb::{Struct, Value};

    use super::*;

    fn saying(fields: &[(&str, Kind)]) -> Node {
        let field = |(key, kind): &(&str, Kind)| ((*key).to_owned(), Value { kind: Some(kind.clone()) });
        Node { metadata: Some(Struct { fields: fields.iter().map(field).collect() }), ..Node::default() }
    }

    fn words(fields: &[(&str, &str)]) -> Node {
        let fields: Vec<_> = fields.iter().map(|(key, value)| (*key, Kind::StringValue((*value).to_owned()))).collect();
        saying(&fields)
    }

    #[test]
    fn only_a_contradiction_counts() {
        for (said, good) in [
            (Node::default(), true),
            (words(&[("NODE_NAME", "node-a")]), true),
            (words(&[("NODE_NAME", "")]), true),
            (saying(&[("NODE_NAME", Kind::NumberValue(1.0))]), true),
            (words(&[("NAMESPACE", "anything")]), true),
            (words(&[("NODE_NAME", "node-b")]), false),
            (words(&[("NODE_NAME", "Node-a")]), false),
        ] {
            assert_eq!(of_node("node-a", &said).is_ok(), good, "{said:?}");
        }
        let id = parse_spiffe_id("spiffe://cluster.local/ns/shop/sa/waypoint").unwrap();
        for (said, good) in [
            (Node::default(), true),
            (words(&[("NAMESPACE", "shop"), ("SERVICE_ACCOUNT", "waypoint")]), true),
            (words(&[("NAMESPACE", ""), ("SERVICE_ACCOUNT", "")]), true),
            (words(&[("NODE_NAME", "anything")]), true),
            (words(&[("NAMESPACE", "bank")]), false),
            (words(&[("NAMESPACE", "shop"), ("SERVICE_ACCOUNT", "carts")]), false),
        ] {
            assert_eq!(of_identity(&id, &said).is_ok(), good, "{said:?}");
        }
        let other = parse_spiffe_id("spiffe://cluster.local/spire/agent").unwrap();
        assert!(of_identity(&other, &words(&[("NAMESPACE", "bank")])).is_ok(), "nothing that could be compared");
    }
}
