//! Statuses, written to where the objects stand.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use http::Method;
use mesh_core::limit::{Bucket, TokenBucket};
use mesh_core::live::Live;
use mesh_identity::clock::Clock;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::api::Api;
use super::collection::Collection;
use super::error::Error;
use super::leader::Leadership;
use super::merge::merged;
use super::shared::Shared;
use super::time;
use super::told::Current;
use crate::resource::ObjectId;

/// What statuses are to say: the content of `status`, by object. Conditions need no `lastTransitionTime`, entries of `parents`
/// and `ancestors` no `controllerName`. An object that is not named is left alone; what was said of it before stays.
pub type Desired = BTreeMap<ObjectId, Value>;

/// Writes at most so many statuses per second, and as many at once: a leader that is new may have thousands to write, and the
/// API server has others to serve.
const RATE: TokenBucket = TokenBucket::new(10, Duration::from_millis(200));

/// A status that the API server refuses is tried again after this time, or when its object or it has changed.
const REFUSED: Duration = Duration::from_secs(60);

/// Changes are gathered for this long: a route and its parents change together.
const GATHER: Duration = Duration::from_millis(50);

/// Keeps statuses as they are to be, while it leads.
pub struct StatusWriter {
    pub(super) api: Api,
    pub(super) shared: Arc<Shared>,
    pub(super) controller: String,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) leadership: Leadership,
}

impl std::fmt::Debug for StatusWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("StatusWriter").field("controller", &self.controller).finish_non_exhaustive()
    }
}

impl StatusWriter {
    /// Writes what is otherwise than it is to be, and nothing else; again when somebody changes it. Never ends.
    ///
    /// # Cancel safety
    /// Safe: a write is done or not.
    pub async fn run(self, desired: Live<Desired>) {
        let mut changes = desired.changes();
        let bucket = Bucket::new(RATE, Instant::now().into_std());
        // What was refused, and what it was that was.
        let mut refused = BTreeMap::<ObjectId, (Instant, Value, Option<Current>)>::new();
        loop {
            let wanted = desired.snapshot();
            refused.retain(|id, _| wanted.contains_key(id));
            let mut missed = false;
            for id in self.different(&wanted) {
                if !self.leadership.is_held() {
                    break;
                }
                let Some(status) = wanted.get(&id) else { continue };
                let current = self.shared.look(|store| store.current(&id).cloned());
                let is_known = refused
                    .get(&id)
                    .is_some_and(|(since, what, of)| since.elapsed() < REFUSED && what == status && *of == current);
                if is_known {
                    missed = true;
                    continue;
                }
                loop {
                    let taken = bucket.take(Instant::now().into_std());
                    if taken.allowed {
                        break;
                    }
                    tokio::time::sleep(taken.refill.max(Duration::from_millis(10))).await;
                }
                match self.write(&id, status).await {
                    Ok(()) => {
                        refused.remove(&id);
                    }
                    // After many conflicts too: others write all the time.
                    Err(error) if error.may_retry() || error.is_conflict() => {
                        tracing::warn!(object = %id, %error, "a status was not written; tried again");
                        missed = true;
                        // Nobody is asked for the next one when nobody answers.
                        tokio::time::sleep(error.retry_after().unwrap_or(Duration::from_secs(1))).await;
                        break;
                    }
                    Err(error) => {
                        tracing::warn!(object = %id, %error, "a status is refused");
                        refused.insert(id, (Instant::now(), status.clone(), current));
                        missed = true;
                    }
                }
            }
            let again = if missed { Duration::from_secs(1) } else { Duration::from_secs(600) };
            tokio::select! {
                changed = changes.changed() => if changed.is_err() { return std::future::pending().await },
                () = self.shared.status.notified() => {}
                () = self.leadership.changed() => {}
                () = tokio::time::sleep(again) => {}
            }
            tokio::time::sleep(GATHER).await;
        }
    }

    /// The objects whose statuses are otherwise than they are to be.
    fn different(&self, desired: &Desired) -> BTreeSet<ObjectId> {
        if !self.leadership.is_held() {
            return BTreeSet::new();
        }
        let now = time::seconds(self.clock.now());
        self.shared.look(|store| {
            let differs = |(id, status): &(&ObjectId, &Value)| {
                let current = store.current(id);
                current.is_some_and(|current| merged(&current.status, status, &self.controller, &now) != current.status)
            };
            desired.iter().filter(differs).map(|(id, _)| id.clone()).collect()
        })
    }

    async fn write(&self, id: &ObjectId, desired: &Value) -> Result<(), Error> {
        /// So often somebody else may be faster.
        const ATTEMPTS: usize = 5;
        let Some(collection) = Collection::of(id.kind).filter(|collection| collection.has_status) else {
            return Ok(());
        };
        let Some(mut current) = self.shared.look(|store| store.current(id).cloned()) else { return Ok(()) };
        let known = current.version.clone();
        let path = collection.object_path(current.served, id.name.namespace.as_str(), id.name.name.as_str())?;
        for attempt in 1.. {
            let now = time::seconds(self.clock.now());
            let status = merged(&current.status, desired, &self.controller, &now);
            if status == current.status || !self.leadership.is_held() {
                return Ok(());
            }
            // With its version, so that what others wrote is never overwritten unseen.
            let patch = json!({"metadata": {"resourceVersion": current.version}, "status": status});
            match self.api.write(Method::PATCH, &format!("{path}/status"), &patch).await {
                Ok(written) => {
                    let (version, status) = version_and_status(&written);
                    self.shared.change_quietly(|store| store.written(id, &known, version, status));
                    return Ok(());
                }
                Err(error) if error.is_conflict() && attempt < ATTEMPTS => {
                    let text = self.api.get(&path).await;
                    let text = match text {
                        Err(error) if error.is_absent() => return Ok(()),
                        text => text?,
                    };
                    let object = serde_json::from_slice::<Value>(&text);
                    let object = object.map_err(|error| Error::Malformed(error.to_string()))?;
                    (current.version, current.status) = version_and_status(&object);
                }
                // It went in between; the watch tells.
                Err(error) if error.is_absent() => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

fn version_and_status(object: &Value) -> (String, Value) {
    let version = object.pointer("/metadata/resourceVersion").and_then(Value::as_str).unwrap_or_default();
    (version.to_owned(), object.get("status").cloned().unwrap_or_default())
}
