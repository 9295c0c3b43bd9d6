//! Statuses beside serving: never on the way of a change.

use std::sync::Arc;
use std::time::Duration;

use mesh_core::live::{Live, Publisher};

use super::{Generations, Input, Statuses, statuses, with_absent};
use crate::caller::Assignments;
use crate::finding::Finding;
use crate::resource::{Kind, ObjectId};
use crate::translate::Place;
use crate::translate::binding::GATEWAY_NAME;
use crate::world::World;

/// Least time between two times that statuses are told: what changes in between is told together.
const INTERVAL: Duration = Duration::from_millis(100);

/// What statuses are told from, and where to.
pub(crate) struct Task {
    pub(crate) in_force: Live<Assignments>,
    pub(crate) findings: Live<Vec<Finding>>,
    pub(crate) place: Place,
    /// For people.
    pub(crate) told: Publisher<Statuses>,
    /// For API servers, with what is not to be said any more.
    pub(crate) desired: Publisher<Statuses>,
}

/// Tells the statuses of what is in force as often as it changes. Runs until dropped.
pub(crate) async fn run(task: Task) {
    let Task { in_force, findings, place, told, desired } = task;
    let shared = Arc::new(place);
    let (mut worlds, mut found) = (in_force.changes(), findings.changes());
    let mut generations = Generations::default();
    let mut known: Option<(Arc<World>, Arc<Vec<Finding>>)> = None;
    loop {
        let changed = tokio::select! {
            changed = worlds.changed() => changed.map(|_| ()),
            changed = found.changed() => changed.map(|_| ()),
        };
        if changed.is_err() {
            return;
        }
        let (world, findings) = (Arc::clone(in_force.load().world()), findings.snapshot());
        let matters = known.as_ref().is_none_or(|(before, said)| {
            concerns(before, &world) || (!Arc::ptr_eq(said, &findings) && **said != *findings)
        });
        known = Some((Arc::clone(&world), Arc::clone(&findings)));
        if !matters {
            continue;
        }
        generations.take(&world);
        let (shared, counted) = (Arc::clone(&shared), generations.clone());
        let telling = tokio::task::spawn_blocking(move || {
            let input = Input { world: &world, place: &shared, findings: &findings, generations: &counted };
            let all = statuses(&input);
            let wanted = with_absent(&world, &all);
            (all, wanted)
        });
        match telling.await {
            Ok((all, wanted)) => {
                if *told.live().load() != all {
                    told.publish(all);
                }
                if *desired.live().load() != wanted {
                    desired.publish(wanted);
                }
            }
            Err(error) => tracing::error!(%error, "the statuses could not be told"),
        }
        tokio::time::sleep(INTERVAL).await;
    }
}

/// Whether anything differs that a status could tell of. Endpoints change most often and are not told of; pods are, as far as
/// they are instances of Gateways.
fn concerns(before: &World, now: &World) -> bool {
    let is_instance = |world: &World, id: &ObjectId| {
        world.pods.get(&id.name).is_some_and(|(_, pod)| pod.metadata.labels.contains_key(GATEWAY_NAME))
    };
    now.changed_since(before).iter().any(|id| match id.kind {
        Kind::EndpointSlice | Kind::Node | Kind::ServiceAccount | Kind::Telemetry | Kind::PeerAuthentication => false,
        Kind::Pod => is_instance(before, id) || is_instance(now, id),
        _ => true,
    })
}
