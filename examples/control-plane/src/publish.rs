//! From what the sources say to what is served, again and again.

use mesh_core::live::{Live, Publisher};
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
    pub(crate) async fn run(self) {
        let mut changes = self.sources.changes();
        self.take(&self.sources.snapshot());
        while let Ok(merged) = changes.changed().await {
            self.take(&merged);
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
