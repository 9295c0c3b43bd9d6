//! Several control planes.

use std::collections::BTreeMap;

use super::context::{Context, Report};
use crate::finding::{Code, Origin};
use crate::resource::{Kind, Metadata};

/// Pods of Istio's control plane, one finding for each of its revisions.
pub(super) fn analyze(context: &Context<'_>, report: &mut Report) {
    let mut revisions: BTreeMap<&str, (&Origin, &Metadata)> = BTreeMap::new();
    for (origin, pod) in context.world.pods.values() {
        let labels = &pod.metadata.labels;
        if labels.get("app").is_some_and(|app| app == "istiod") && pod.status.phase == "Running" {
            let revision = labels.get("istio.io/rev").map_or("default", String::as_str);
            revisions.entry(revision).or_insert((origin, &pod.metadata));
        }
    }
    for (revision, (origin, metadata)) in revisions {
        let message = format!(
            "istiod of revision `{revision}` runs here: node proxies that ask it are told what it makes of the objects, and both write status"
        );
        report.say(Code::SEVERAL_CONTROLLERS, (Kind::Pod, metadata), origin, "metadata.labels", message);
    }
}
