//! Proxies of versions that are too far apart.

use std::collections::BTreeMap;

use mesh_xds::server::ClientStatus;

use crate::finding::{Code, Finding, Origin, Severity};
use crate::kind::kind;

/// Proxies that are more than one minor version behind the newest, as far as proxies say theirs: one finding for each kind and
/// version. What they make of the same resources may differ by more than what is supported side by side.
pub(super) fn skew(clients: &[ClientStatus]) -> Vec<Finding> {
    let mut behind: BTreeMap<(&str, (u64, u64)), Vec<&str>> = BTreeMap::new();
    let said = clients.iter().filter_map(|client| Some((client, number(&client.version)?)));
    let Some(newest) = said.clone().map(|(_, number)| number).max() else { return Vec::new() };
    for (client, of) in said.filter(|(_, of)| of.0 < newest.0 || of.1 + 1 < newest.1) {
        behind.entry((kind(&client.node), of)).or_default().push(&client.node);
    }
    let finding = |((kind, (major, minor)), nodes): ((&str, (u64, u64)), Vec<&str>)| {
        let first = nodes.first().copied().unwrap_or_default();
        let message = format!(
            "{} proxies of kind {kind} are of version {major}.{minor}, {first} among them, while others are of {}.{}: more than one minor version apart",
            nodes.len(),
            newest.0,
            newest.1
        );
        Finding { code: Code::PROXY_VERSIONS, ..Origin::file("clients").finding(Severity::Warning, message) }
    };
    behind.into_iter().map(finding).collect()
}

/// The first two numbers of a version: `1.28.0-dev` is 1.28.
fn number(version: &str) -> Option<(u64, u64)> {
    let mut parts = version.trim_start_matches('v').split(|one: char| !one.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_than_one_minor_version_apart() {
        let client = |node: &str, version: &str| {
            let mut status = ClientStatus::default();
            (status.node, status.version) = (node.to_owned(), version.to_owned());
            status
        };
        let zt =
            |index: u8, version: &str| client(&format!("ztunnel~10.0.0.{index}~zt-{index}.istio-system~x"), version);
        assert_eq!(skew(&[]), []);
        assert_eq!(skew(&[zt(1, "1.28.0"), zt(2, "1.27.3-alpha.0"), zt(3, ""), zt(4, "unknown"), zt(5, "1.28")]), []);
        let found = skew(&[zt(1, "1.26.1"), zt(2, "1.28.0"), zt(3, "1.26.9"), client("waypoint~a~b~c", "0.9.0")]);
        let messages: Vec<&str> = found.iter().map(|finding| finding.message.as_str()).collect();
        assert_eq!(
            messages,
            [
                "1 proxies of kind waypoint are of version 0.9, waypoint~a~b~c among them, while others are of 1.28: more than one minor version apart",
                "2 proxies of kind ztunnel are of version 1.26, ztunnel~10.0.0.1~zt-1.istio-system~x among them, while others are of 1.28: more than one minor version apart",
            ]
        );
    }
}
