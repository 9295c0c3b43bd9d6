//! Objects for several revisions of a control plane.

use std::collections::BTreeMap;

use super::context::{Context, Report};
use crate::finding::Code;
use crate::inventory::{self, Item};
use crate::resource::Kind;

/// By which an object says for which revision it is.
const REVISION: &str = "istio.io/rev";

/// Each revision but the one that most objects name. A control plane of Istio passes over the objects of others; here all count.
pub(super) fn analyze(context: &Context<'_>, report: &mut Report) {
    let mut revisions: BTreeMap<&str, (Item<'_>, usize)> = BTreeMap::new();
    // Pods name the revision that injected them, or whose control plane they are.
    for item in inventory::items(context.world).filter(|item| item.id.kind != Kind::Pod) {
        if let Some(revision) = item.metadata.labels.get(REVISION).filter(|revision| !revision.is_empty()) {
            revisions.entry(revision).or_insert((item, 0)).1 += 1;
        }
    }
    let Some((most, _)) = revisions.iter().max_by_key(|(_, (_, count))| *count) else { return };
    for (revision, (item, count)) in revisions.iter().filter(|(revision, _)| *revision != most) {
        let message = format!(
            "{count} objects are for revision `{revision}`, and others for `{most}`: here all of them count, whatever revision they name"
        );
        report.say(Code::REVISIONS, (item.id.kind, item.metadata), item.origin, "metadata.labels", message);
    }
}
