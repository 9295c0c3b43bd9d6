//! Leader election by a Lease (`coordination.k8s.io`).

use std::sync::Arc;

use http::Method;
use mesh_core::live::{Live, Publisher};
use mesh_identity::clock::Clock;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::api::Api;
use super::collection::segment;
use super::election::{Election, Step, Terms};
use super::error::Error;

/// Stands for one Lease. Serving never depends on it: it decides who writes statuses, and nothing else.
#[derive(Debug)]
pub struct Candidate {
    api: Api,
    collection: String,
    name: String,
    election: Election,
    terms: Terms,
    clock: Arc<dyn Clock>,
    until: Publisher<Option<Instant>>,
}

/// Whether the Lease is held.
#[derive(Debug, Clone)]
pub struct Leadership(Live<Option<Instant>>);

impl Leadership {
    /// Always, for one who is alone.
    #[must_use]
    pub fn alone() -> Self {
        // Further ahead there is no need to be.
        Self(Live::constant(Instant::now().checked_add(std::time::Duration::from_secs(u64::from(u32::MAX)))))
    }

    /// Whether the Lease is held now. Ends by itself when it could not be renewed in time.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.0.load().is_some_and(|until| Instant::now() < until)
    }

    /// Waits until it was renewed, gained or lost.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn changed(&self) {
        if self.0.changes().changed().await.is_err() {
            std::future::pending().await
        }
    }
}

impl Candidate {
    /// A candidate for the Lease `name` in `namespace`. `identity` must be nobody else's, not even that of the same replica
    /// before it was started anew: a pod's name and something random.
    ///
    /// # Errors
    /// [`Error::Name`].
    pub fn new(
        api: Api,
        namespace: &str,
        name: &str,
        identity: String,
        terms: Terms,
        clock: Arc<dyn Clock>,
    ) -> Result<(Self, Leadership), Error> {
        let collection = format!("/apis/coordination.k8s.io/v1/namespaces/{}/leases", segment(namespace)?);
        let name = segment(name)?.to_owned();
        let (until, live) = Publisher::new(None);
        let election = Election::new(identity, terms);
        Ok((Self { api, collection, name, election, terms, clock, until }, Leadership(live)))
    }

    /// Stands for the Lease and keeps it, until `end` comes; then gives it back.
    ///
    /// # Cancel safety
    /// Dropped, the Lease is not given back, and others wait for its end.
    pub async fn run(mut self, end: impl Future<Output = ()>) {
        let mut end = std::pin::pin!(end);
        loop {
            // What it holds from is when it was asked for, not when the answer came.
            let asked = Instant::now();
            let held = tokio::select! {
                () = &mut end => break,
                held = self.stand(asked) => held,
            };
            match held {
                Ok(true) => self.hold(Some(asked + self.terms.renew)),
                Ok(false) => self.hold(None),
                // Until it ends by itself, it is still held.
                Err(error) => tracing::warn!(lease = self.name, %error, "the lease cannot be kept"),
            }
            let pause = self.terms.retry.mul_f64(0.8 + 0.4 * fastrand::f64());
            tokio::select! {
                () = &mut end => break,
                () = tokio::time::sleep(pause) => {}
            }
        }
        let was_held = self.until.live().load().is_some();
        self.until.publish(None);
        if was_held && let Err(error) = self.release().await {
            tracing::warn!(lease = self.name, %error, "the lease could not be given back");
        }
    }

    fn hold(&self, until: Option<Instant>) {
        let live = self.until.live();
        if live.load().is_some() != until.is_some() {
            tracing::info!(lease = self.name, held = until.is_some(), "leadership changed");
        }
        if until.is_some() || live.load().is_some() {
            self.until.publish(until);
        }
    }

    async fn stand(&mut self, now: Instant) -> Result<bool, Error> {
        let lease = self.read().await?;
        let spec = lease.as_ref().map(|lease| lease.get("spec").cloned().unwrap_or_default());
        let written = match self.election.handle_lease(now, self.clock.now(), spec.as_ref()) {
            Step::Wait => return Ok(false),
            Step::Create(spec) => {
                let lease = json!({
                    "apiVersion": "coordination.k8s.io/v1",
                    "kind": "Lease",
                    "metadata": {"name": self.name},
                    "spec": spec,
                });
                self.api.write(Method::POST, &self.collection, &lease).await
            }
            Step::Update(spec) => self.replace(lease.unwrap_or_default(), spec).await,
        };
        match written {
            Ok(_) => Ok(true),
            // Another one was faster.
            Err(error) if error.is_conflict() => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn release(&self) -> Result<(), Error> {
        let Some(lease) = self.read().await? else { return Ok(()) };
        let spec = lease.get("spec").and_then(|spec| self.election.release(self.clock.now(), spec));
        match spec {
            Some(spec) => self.replace(lease, spec).await.map(drop),
            None => Ok(()),
        }
    }

    async fn read(&self) -> Result<Option<Value>, Error> {
        match self.api.get(&format!("{}/{}", self.collection, self.name)).await {
            Ok(text) => serde_json::from_slice(&text).map(Some).map_err(|error| Error::Malformed(error.to_string())),
            Err(error) if error.is_absent() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Its version stands in what was read: who wrote in between is not overwritten.
    async fn replace(&self, mut lease: Value, spec: Value) -> Result<Value, Error> {
        lease["spec"] = spec;
        self.api.write(Method::PUT, &format!("{}/{}", self.collection, self.name), &lease).await
    }
}
