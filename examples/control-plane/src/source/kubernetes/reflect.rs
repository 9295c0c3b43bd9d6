//! The loop that keeps one kind in the store as it is in the API server.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use mesh_xds::client::backoff::Backoff;
use tokio::time::Instant;

use super::api::Api;
use super::error::Error;
use super::say::Say;
use super::shared::Shared;
use super::told::Reader;
use super::watch::{self, Event, Listed, Watch};

/// How often it is looked whether a kind that is not installed has been.
const LOOK: Duration = Duration::from_secs(5);

/// For so long a kind that had objects must have been away until it counts as not installed: its objects would go with it,
/// and an API server that starts may not know its own kinds yet.
const AWAY: Duration = Duration::from_secs(30);

/// A connection that has lasted so long had no trouble.
const STEADY: Duration = Duration::from_secs(10);

/// Keeps one kind up to date, for ever.
pub(super) struct Reflector {
    pub(super) api: Api,
    pub(super) reader: Reader,
    pub(super) shared: Arc<Shared>,
    pub(super) say: Option<Say>,
}

impl Reflector {
    /// Runs until dropped.
    pub(super) async fn run(self) {
        let mut backoff = Backoff::new(Duration::from_millis(250), Duration::from_secs(30));
        let mut away: Option<Instant> = None;
        loop {
            let began = Instant::now();
            match watch::list(&self.api, self.reader.collection).await {
                Ok(Some(listed)) => {
                    away = None;
                    let error = self.follow(listed).await;
                    if began.elapsed() >= STEADY {
                        backoff.reset();
                    }
                    // What the API server forgot is listed at once; what cannot be had or understood, after a while.
                    if !error.is_expired() {
                        tracing::warn!(kind = self.reader.collection.name, %error, "a watch ended");
                        self.lost(&error);
                    }
                    pause(&mut backoff, &error).await;
                }
                Ok(None) => {
                    let since = *away.get_or_insert(began);
                    if self.shared.look(|store| store.is_empty(self.reader.kind)) || since.elapsed() >= AWAY {
                        let kind = self.reader.kind;
                        let gone = self.shared.look(|store| store.missing(kind, &BTreeSet::new()));
                        let held = self.say.as_ref().map(|say| say.gone(kind, gone)).unwrap_or_default();
                        self.shared.change(|store| store.absent(kind, held));
                    } else {
                        let reason = format!("`{}` is not served any more", self.reader.collection.full_name());
                        self.shared.change(|store| store.lost(self.reader.kind, reason));
                    }
                    tokio::time::sleep(LOOK).await;
                }
                Err(error) => {
                    tracing::warn!(kind = self.reader.collection.name, %error, "cannot be listed");
                    self.lost(&error);
                    pause(&mut backoff, &error).await;
                }
            }
        }
    }

    /// Takes a list and what happens after it, over as many watches as it takes. Gives why it must be listed anew.
    async fn follow(&self, listed: Listed) -> Error {
        let Listed { served, mut version, objects } = listed;
        let (reader, say, shared) = (self.reader.clone(), self.say.clone(), Arc::clone(&self.shared));
        let since = version.clone();
        // Reading 100,000 pods takes seconds, in which nobody should wait for this thread or for the store.
        let reading = tokio::task::spawn_blocking(move || {
            let read: Vec<_> = objects.iter().filter_map(|object| reader.read(served, object)).collect();
            let Some(say) = say else { return (read, BTreeMap::new()) };
            let gone = shared.look(|store| store.missing(reader.kind, &read.iter().map(|told| &told.name).collect()));
            (say.judged(reader.kind, read), say.gone(reader.kind, gone))
        });
        match reading.await {
            Ok((objects, held)) => {
                self.shared.change(|store| store.replace(self.reader.kind, served, &since, objects, held));
            }
            Err(error) => return Error::Malformed(error.to_string()),
        }
        let mut backoff = Backoff::new(Duration::from_millis(250), Duration::from_secs(10));
        loop {
            let began = Instant::now();
            let ended = self.watch(served, &mut version).await;
            if began.elapsed() >= STEADY {
                backoff.reset();
            }
            match ended {
                // The API server ended it, as it was asked to after a time.
                Ok(()) => tokio::time::sleep(backoff.next(fastrand::f64()).min(Duration::from_secs(1))).await,
                // What was read is whole up to `version`: nothing is listed anew because a connection broke.
                Err(error) if error.may_retry() => {
                    self.lost(&error);
                    pause(&mut backoff, &error).await;
                }
                Err(error) => return error,
            }
        }
    }

    async fn watch(&self, served: &'static str, version: &mut String) -> Result<(), Error> {
        let mut watch = Watch::begin(&self.api, self.reader.collection, served, version, fastrand::f64()).await?;
        self.shared.change(|store| store.found(self.reader.kind));
        while let Some(event) = watch.next(version).await? {
            self.shared.change_quietly(|store| store.reach(version));
            match event {
                Event::Put(object) => {
                    let told: Vec<_> = self.reader.read(served, &object).into_iter().collect();
                    let told = match &self.say {
                        Some(say) => say.judged(self.reader.kind, told),
                        None => told,
                    };
                    for told in told {
                        self.shared.change(|store| store.put(self.reader.kind, told));
                    }
                }
                Event::Gone(object) => {
                    let kind = self.reader.kind;
                    if let Some(name) = self.reader.name(&object) {
                        let held =
                            self.say.as_ref().and_then(|say| say.gone(kind, [name.clone()].into()).remove(&name));
                        self.shared.change(|store| match held {
                            Some(faults) => store.hold(kind, &name, faults),
                            None => store.remove(kind, &name),
                        });
                    }
                }
            }
        }
        Ok(())
    }

    fn lost(&self, error: &Error) {
        self.shared.change(|store| store.lost(self.reader.kind, error.to_string()));
    }
}

async fn pause(backoff: &mut Backoff, error: &Error) {
    let pause = backoff.next(fastrand::f64());
    tokio::time::sleep(error.retry_after().map_or(pause, |wanted| wanted.max(pause))).await;
}
