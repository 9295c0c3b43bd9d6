//! From what the sources say to what is served, again and again.

use std::sync::Arc;

use mesh_core::live::{Live, Publisher};
use mesh_core::report::chain;
use mesh_host::ready::Ready;
use tokio::time::Instant;

use crate::finding::{Finding, Severity};
use crate::metrics::Metrics;
use crate::policies::Policies;
use crate::projection::Projection;
use crate::source::{DIRECTORY, Merged, State};

/// Judges and publishes.
pub(crate) struct Publish {
    pub(crate) sources: Live<Merged>,
    pub(crate) policies: Policies,
    pub(crate) projection: Projection,
    pub(crate) findings: Publisher<Vec<Finding>>,
    pub(crate) ready: Ready,
    pub(crate) metrics: Metrics,
}

impl Publish {
    /// Runs until dropped.
    ///
    /// A large change is at work for seconds. Meanwhile streams are served and certificates issued: it is taken beside the
    /// threads of these.
    pub(crate) async fn run(self) {
        let publish = Arc::new(self);
        let mut changes = publish.sources.changes();
        let mut merged = publish.sources.snapshot();
        loop {
            let taking = Arc::clone(&publish);
            if let Err(error) = tokio::task::spawn_blocking(move || taking.take(&merged)).await {
                // How far it came is not known, so nothing may build upon it. What was published stays.
                tracing::error!(error = chain(&error), "a change could not be taken; nothing is published any more");
                publish.ready.set("configuration", false);
                return;
            }
            let Ok(next) = changes.changed().await else { return };
            merged = next;
        }
    }

    fn take(&self, merged: &Merged) {
        let taken = Instant::now();
        let mut findings = merged.findings.to_vec();
        findings.extend(self.policies.faults());
        self.tell(merged);
        if !merged.waiting.is_empty() {
            // Half of what there is may be less protected than the whole.
            self.report(findings);
            return;
        }
        let published = self.projection.publish(merged.world.clone(), taken);
        let (changed, computed) = (published.changed, published.computed);
        tracing::info!(objects = merged.world.len(), changed, computed, "configuration taken");
        if findings.iter().any(|finding| finding.severity == Severity::Error) {
            tracing::error!("configuration not taken whole: what is in error stays as it was");
        }
        self.report(findings);
        self.ready.set("configuration", true);
    }

    /// Tells how the sources do, and for which of them nothing is served yet.
    fn tell(&self, merged: &Merged) {
        for name in merged.waiting.iter().chain(merged.revisions.keys()) {
            let of_source = merged.findings.iter().filter(|finding| finding.origin.source == *name);
            let is_waiting = merged.waiting.contains(name);
            let label = if name.is_empty() { DIRECTORY } else { name };
            self.metrics.source(label, State::of(of_source, !is_waiting));
            // Once it has spoken it has for good: what is lost later is a source that serves from its last good state.
            self.ready.set(format!("source `{label}`"), !is_waiting);
        }
    }

    /// Shows what there is to say, and puts into the log what was not said before.
    fn report(&self, mut findings: Vec<Finding>) {
        findings.sort();
        let known = self.findings.live().snapshot();
        for finding in findings.iter().filter(|finding| known.binary_search(finding).is_err()) {
            match finding.severity {
                Severity::Error => tracing::error!("{finding}"),
                Severity::Warning => tracing::warn!("{finding}"),
                Severity::Note => tracing::info!("{finding}"),
            }
        }
        self.findings.publish(findings);
    }
}
