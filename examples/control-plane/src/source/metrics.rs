use std::time::SystemTime;

use mesh_identity::clock::{Clock, SystemClock};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::sources::{Named, Sources};
use crate::finding::Severity;

/// How sources fare, for the metrics.
#[derive(Debug, Clone)]
pub struct Metrics {
    sources: Vec<Named>,
    ready: Family<Source, Gauge>,
    look_age: Family<Source, Gauge>,
    success_age: Family<Source, Gauge>,
    restored_age: Family<Source, Gauge>,
    failing: Family<Source, Gauge>,
    stale: Family<Source, Gauge>,
    files: Family<Source, Gauge>,
    objects: Family<Source, Gauge>,
    findings: Family<Found, Gauge>,
    revision: Family<Revision, Gauge>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Source {
    source: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Found {
    source: String,
    severity: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Revision {
    source: String,
    revision: String,
}

impl Metrics {
    /// Registers them.
    #[must_use]
    pub fn new(sources: &Sources, registry: &mut Registry) -> Self {
        let metrics = Self {
            sources: sources.all().to_vec(),
            ready: Family::default(),
            look_age: Family::default(),
            success_age: Family::default(),
            restored_age: Family::default(),
            failing: Family::default(),
            stale: Family::default(),
            files: Family::default(),
            objects: Family::default(),
            findings: Family::default(),
            revision: Family::default(),
        };
        for (name, help, family) in [
            ("source_ready", "Whether the source has said something", &metrics.ready),
            ("source_look_age_seconds", "Seconds since the source was looked at", &metrics.look_age),
            ("source_success_age_seconds", "Seconds since it could be read", &metrics.success_age),
            (
                "source_restored_age_seconds",
                "Seconds since what it said was kept; 0: it is newer",
                &metrics.restored_age,
            ),
            (
                "source_failing",
                "Whether the source cannot be read now; what it said before is in force",
                &metrics.failing,
            ),
            (
                "source_stale_seconds",
                "Seconds for which nobody knows whether what is in force is still what the source says; 0: it can be read",
                &metrics.stale,
            ),
            ("source_files", "Files of the source", &metrics.files),
            ("source_objects", "Objects of the source that are in force", &metrics.objects),
        ] {
            registry.register(name, help, family.clone());
        }
        registry.register("source_findings", "Findings in the source", metrics.findings.clone());
        registry.register(
            "source_revision",
            "1 for the state of the source that is in force",
            metrics.revision.clone(),
        );
        metrics
    }

    /// Takes the figures as they are now.
    pub fn set(&self) {
        let now = SystemClock.now();
        let count = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        self.revision.clear();
        for named in &self.sources {
            let said = named.inlet.said.load();
            let progress = named.inlet.progress.lock().clone();
            let age = |time: Option<SystemTime>| {
                let age = time.and_then(|time| now.duration_since(time).ok()).unwrap_or_default();
                i64::try_from(age.as_secs()).unwrap_or(i64::MAX)
            };
            let source = Source { source: named.label().to_owned() };
            self.ready.get_or_create(&source).set(i64::from(!said.revision.is_empty()));
            self.files.get_or_create(&source).set(count(progress.files));
            self.objects.get_or_create(&source).set(count(said.world.len()));
            self.restored_age.get_or_create(&source).set(age(progress.restored));
            self.failing.get_or_create(&source).set(i64::from(progress.failing_since.is_some()));
            let stale = i64::try_from(progress.stale(now).as_secs()).unwrap_or(i64::MAX);
            self.stale.get_or_create(&source).set(stale);
            // Nothing rather than an age of something that has not been.
            if progress.looked.is_some() {
                self.look_age.get_or_create(&source).set(age(progress.looked));
            }
            if progress.succeeded.is_some() {
                self.success_age.get_or_create(&source).set(age(progress.succeeded));
            }
            for (severity, name) in [(Severity::Error, "error"), (Severity::Warning, "warning")] {
                let found = said.findings.iter().filter(|finding| finding.severity == severity).count();
                let labels = Found { source: source.source.clone(), severity: name };
                self.findings.get_or_create(&labels).set(count(found));
            }
            if !said.revision.is_empty() {
                let labels = Revision { source: source.source, revision: said.revision.to_string() };
                self.revision.get_or_create(&labels).set(1);
            }
        }
    }
}
