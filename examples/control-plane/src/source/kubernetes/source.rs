use std::sync::Arc;

use mesh_core::live::{Live, Publisher};
use mesh_core::report::chain;
use mesh_identity::clock::{Clock, SystemClock};
use mesh_identity::task::Tasks;
use tokio_util::sync::CancellationToken;

use super::{Desired, Settings, begin};
use crate::admission::gate::Gate;
use crate::finding::{Code, Origin, Severity};
use crate::source::outlet::Outlet;
use crate::source::{Beside, Said, Source, State};

/// A cluster, as one of several sources.
pub struct Cluster {
    name: Arc<str>,
    settings: Settings,
    gate: Option<Arc<Gate>>,
    statuses: Option<Live<Desired>>,
    ending: CancellationToken,
    tasks: Tasks,
}

impl Cluster {
    /// A cluster of some settings, which is read by tasks beside.
    #[must_use]
    pub fn new(name: Arc<str>, settings: Settings, beside: &Beside, tasks: &Tasks) -> Self {
        let (gate, statuses, ending) = (beside.gate.clone(), beside.statuses.clone(), beside.ending.clone());
        Self { name, settings, gate, statuses, ending, tasks: tasks.clone() }
    }
}

impl std::fmt::Debug for Cluster {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cluster").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Source for Cluster {
    async fn run(self, outlet: Outlet) {
        let Self { name, settings, gate, statuses, ending, tasks } = self;
        let (_kept, none) = Publisher::new(Desired::default());
        let settings = Settings { name: name.to_string(), ..settings };
        let said = match begin(settings, gate, statuses.unwrap_or(none), ending.cancelled_owned(), &tasks).await {
            Ok(said) => said,
            Err(error) => {
                let origin = Origin { source: name, ..Origin::file("kubernetes") };
                let finding = Code::SOURCE_UNREADABLE.at(&origin, Severity::Error, chain(&error));
                outlet.progress(|progress| progress.failed(SystemClock.now()));
                outlet.publish(Said { findings: [finding].into(), ..Said::default() });
                return;
            }
        };
        let mut changes = said.changes();
        let mut now = said.snapshot();
        loop {
            // A watch that lives tells of every change: what is in force is confirmed for as long as none is lost.
            let is_lost = State::of(&*now.findings, true) == State::Unreadable;
            outlet.progress(|progress| match is_lost {
                true => progress.failed(SystemClock.now()),
                false => progress.failing_since = None,
            });
            outlet.publish((*now).clone());
            match changes.changed().await {
                Ok(next) => now = next,
                Err(_) => return,
            }
        }
    }
}
