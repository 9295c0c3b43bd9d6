//! What the demo looks at: admin endpoints and access logs, as an operator would.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::Error;
use crate::client::admin;
use crate::scene::{Node, Scene, Who};

/// How long anything may take to become true.
pub(crate) const DEADLINE: Duration = Duration::from_secs(10);

/// Waits until a question is answered with a value. The last error tells what was missing.
pub(crate) async fn eventually<T, F>(deadline: Duration, mut ask: impl FnMut() -> F) -> Result<T, Error>
where
    F: Future<Output = Result<T, Error>>,
{
    let end = Instant::now() + deadline;
    loop {
        match ask().await {
            Ok(value) => return Ok(value),
            Err(error) if Instant::now() >= end => return Err(error),
            Err(_) => sleep(Duration::from_millis(50)).await,
        }
    }
}

/// What a node proxy believes.
pub(crate) async fn dump(scene: &Scene, node: Node) -> Result<Value, Error> {
    Ok(serde_json::from_str(&admin(scene.node_admin(node), "/config_dump").await?)?)
}

/// Fails until a node proxy says that it is ready.
pub(crate) async fn ready(scene: &Scene, node: Node) -> Result<(), Error> {
    admin(scene.node_admin(node), "/healthz/ready")
        .await
        .map(drop)
        .map_err(|error| format!("{} is not ready: {error}", node.name()).into())
}

/// Serial number of each identity's certificate at a node proxy.
pub(crate) async fn serials(scene: &Scene, node: Node) -> Result<BTreeMap<String, String>, Error> {
    let dump = dump(scene, node).await?;
    let identities = dump["mesh"]["identities"].as_array().ok_or("the dump lists no identities")?;
    let text = |value: &Value| value.as_str().map(str::to_owned);
    Ok(identities.iter().filter_map(|entry| Some((text(&entry["id"])?, text(&entry["serial"])?))).collect())
}

/// Identity of the peer of an open connection into a workload, as its node proxy verified it.
pub(crate) async fn peer_seen_by(scene: &Scene, who: Who) -> Result<String, Error> {
    let dump = dump(scene, Node::B).await?;
    let into = scene.application(who).to_string();
    let open = dump["mesh"]["connections"].as_array().ok_or("the dump lists no connections")?;
    let connection = open
        .iter()
        .find(|entry| entry["direction"] == "inbound" && entry["application"] == into.as_str())
        .ok_or_else(|| format!("no open connection into {into}"))?;
    connection["src.identity"].as_str().map(str::to_owned).ok_or_else(|| "the peer has no identity".into())
}

/// The newest line of a node's access log that has all these fields.
pub(crate) fn logged(scene: &Scene, node: Node, wanted: &[(&str, &str)]) -> Result<Value, Error> {
    let text = std::fs::read_to_string(scene.log(node.name()))?;
    text.lines()
        .rev()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .find(|line| line["target"] == "access" && wanted.iter().all(|(name, value)| line["fields"][*name] == *value))
        .map(|mut line| line["fields"].take())
        .ok_or_else(|| format!("no access log line of {} with {wanted:?}", node.name()).into())
}
