//! Analysis beside serving: never on the way of a change.

use std::sync::Arc;
use std::time::Duration;

use mesh_core::live::{Changes, Publisher};
use tokio::time::Instant;

use super::{Input, analyze};
use crate::caller::Assignments;
use crate::finding::Finding;
use crate::translate::{Place, translate};
use crate::world::World;

/// Least time between two analyses: what changes in between is analyzed together.
const INTERVAL: Duration = Duration::from_secs(10);

/// For each second that an analysis took there are so many without one: of one processor it has a tenth, however large the mesh.
const REST: u32 = 9;

/// What was found in the objects that are in force.
#[derive(Debug, Clone, Default)]
pub(crate) struct Analyzed {
    /// The findings.
    pub(crate) findings: Arc<[Finding]>,
    /// Since when these objects, or ones like them, are in force.
    pub(crate) since: Option<Instant>,
}

/// Analyzes what is in force as often as it changes. Runs until dropped.
pub(crate) async fn run(
    mut in_force: Changes<Assignments>,
    place: Place,
    trust_domains: Vec<String>,
    found: Publisher<Analyzed>,
) {
    let shared = Arc::new((place, trust_domains));
    let mut analyzed: Option<Arc<World>> = None;
    loop {
        let Ok(now) = in_force.changed().await else { return };
        // Who may have which identity is published more often than objects change.
        if analyzed.as_ref().is_some_and(|analyzed| Arc::ptr_eq(analyzed, now.world())) {
            continue;
        }
        analyzed = Some(Arc::clone(now.world()));
        let began = Instant::now();
        let since = Some(began);
        found.publish(Analyzed { since, ..Analyzed::clone(&found.live().load()) });
        let shared = Arc::clone(&shared);
        let analysis = tokio::task::spawn_blocking(move || {
            let (place, trust_domains) = &*shared;
            let translation = translate(now.world(), place);
            let mut findings = crate::admission::check::whole(now.world());
            findings.extend(analyze(&Input { world: now.world(), place, translation: &translation, trust_domains }));
            findings
        });
        match analysis.await {
            Ok(findings) => found.publish(Analyzed { findings: findings.into(), since }),
            Err(error) => tracing::error!(%error, "the analysis failed"),
        }
        tokio::time::sleep(INTERVAL.max(began.elapsed() * REST)).await;
    }
}
