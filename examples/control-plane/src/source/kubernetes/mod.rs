//! The Kubernetes API as a source.
//!
//! Each kind is listed in pages and watched, on its own. Objects are taken one by one, since nobody changes a cluster as one
//! whole: a bad object is a finding, and its last good version goes on. A security resource without one is replaced by what
//! closes its scope (`stand_in`), as proxies do with policies that they cannot decode.
//!
//! | what happens | what follows |
//! | --- | --- |
//! | a kind is not installed | it is empty, and looked for every 5 s |
//! | an installed kind goes away | its objects count for 30 s more, in case the API server has only just started |
//! | a watch ends, or its connection breaks | another one goes on where it was; nothing is listed anew |
//! | the API server no longer remembers so far back (410) | the kind is listed anew, and what is not in the list is gone |
//! | an event cannot be understood | as above, after a pause: something may have been missed |
//! | the API server is gone or refuses | what was read before goes on, and a finding says so; tried again after up to 30 s |
//! | the control plane starts and the API server is gone | this source is not ready |
//! | admission policies deny an object | its last good version goes on |
//! | admission policies deny that an object goes | it counts as it was last; the next start does not know it any more |
//! | admission policies change | all objects are judged again |

mod api;
mod begin;
mod collection;
mod election;
mod error;
mod leader;
mod merge;
mod reflect;
mod say;
mod shared;
mod source;
mod stand_in;
mod status;
mod store;
mod time;
mod told;
mod watch;

pub use api::{Access, Api};
pub use begin::{Settings, StatusSettings, begin};
pub use collection::{COLLECTIONS, Collection};
pub use election::Terms;
pub use error::Error;
pub use leader::{Candidate, Leadership};
pub use source::Cluster;
pub use status::{Desired, StatusWriter};

use std::sync::Arc;
use std::time::Duration;

use mesh_core::live::Publisher;
use mesh_identity::clock::Clock;
use mesh_identity::task::Tasks;

use self::reflect::Reflector;
use self::say::Say;
use self::shared::Shared;
use self::store::Store;
use self::told::Reader;
use crate::admission::gate::Gate;
use crate::resource::LabelSelector;
use crate::source::Said;

/// So long changes are gathered: an application of many objects comes as one.
const GATHER: Duration = Duration::from_millis(20);

/// How often it is looked whether what was judged may be judged otherwise.
const LOOK: Duration = Duration::from_millis(300);

/// A cluster, as it is read. Cheap to clone.
#[derive(Clone)]
pub struct Kubernetes {
    name: Arc<str>,
    api: Api,
    shared: Arc<Shared>,
    gate: Option<Arc<Gate>>,
}

impl Kubernetes {
    /// A cluster, by the name that findings have it under. Objects of namespaces that none of `selectors` selects are left out
    /// (Istio's `discoverySelectors`); without selectors, none is.
    #[must_use]
    pub fn new(name: &str, api: Api, selectors: Vec<LabelSelector>) -> Self {
        let name: Arc<str> = name.into();
        let shared = Arc::new(Shared::new(Store::new(Arc::clone(&name), selectors)));
        Self { name, api, shared, gate: None }
    }

    /// The same, where somebody else has a say in each object as it comes.
    #[must_use]
    pub fn judged(self, gate: Option<Arc<Gate>>) -> Self {
        gate.iter().for_each(|gate| gate.join(&self.name));
        Self { gate, ..self }
    }

    /// One who writes statuses of this cluster's objects as the controller of this name (`controllerName` of Gateway API), as
    /// long as it leads. It knows of the objects what [`Kubernetes::run`] reads.
    #[must_use]
    pub fn status_writer(&self, controller: &str, leadership: Leadership, clock: Arc<dyn Clock>) -> StatusWriter {
        let (api, shared) = (self.api.clone(), Arc::clone(&self.shared));
        StatusWriter { api, shared, controller: controller.to_owned(), clock, leadership }
    }

    /// Reads all kinds and publishes what is known, again whenever that has changed. Nothing but findings before every kind was
    /// read once: what is missing could be what was meant to protect. Never ends; what it begins ends with `tasks`.
    ///
    /// # Cancel safety
    /// Safe; nothing more is published.
    pub async fn run(&self, tasks: &Tasks, said: &Publisher<Said>) {
        let say = self.gate.clone().map(|gate| {
            let (source, shared) = (Arc::clone(&self.name), Arc::clone(&self.shared));
            Say { gate, source, shared }
        });
        for collection in COLLECTIONS {
            let Some(kind) = collection.kind() else { continue };
            let reader =
                Reader { source: Arc::clone(&self.name), kind, collection, keeps_manifests: self.gate.is_some() };
            let (api, shared, say) = (self.api.clone(), Arc::clone(&self.shared), say.clone());
            let reflector = Reflector { api, reader, shared, say };
            tasks.spawn(reflector.run());
        }
        let mut judged = None;
        loop {
            let has_changed = tokio::select! {
                () = self.shared.world.notified() => true,
                () = tokio::time::sleep(LOOK), if say.is_some() => false,
            };
            if has_changed {
                tokio::time::sleep(GATHER).await;
            }
            if let Some(say) = &say {
                let say = say.clone();
                match tokio::task::spawn_blocking(move || say.again(judged)).await {
                    Ok(revision) => judged = Some(revision),
                    Err(error) => tracing::error!(%error, "what was judged could not be judged again"),
                }
            }
            // What was judged otherwise now is told of by another notification.
            if has_changed {
                said.publish(self.shared.look(Store::said));
            }
        }
    }
}

impl std::fmt::Debug for Kubernetes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kubernetes").field("name", &self.name).finish_non_exhaustive()
    }
}
