//! The admission policies of a control plane that serves.

use std::sync::Arc;

use mesh_host::member::Error;

use crate::admission::gate::Gate;
#[cfg(feature = "rego")]
use crate::admission::inventory::Inventory;
#[cfg(feature = "rego")]
use crate::admission::judge::{Judge, Review};
#[cfg(feature = "rego")]
use crate::admission::rego::Follow;
use crate::finding::Finding;
use crate::settings::Settings;

/// Policies that are followed, or none. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(crate) struct Policies {
    #[cfg(feature = "rego")]
    rego: Option<Arc<Followed>>,
}

impl Policies {
    /// Those of settings, as they are now.
    ///
    /// # Errors
    /// There are some, and this program cannot read them.
    pub(crate) fn of(settings: &Settings) -> Result<Self, Error> {
        let Some(admission) = &settings.admission else { return Ok(Self::default()) };
        #[cfg(feature = "rego")]
        {
            let first = settings.sources.0.iter().find_map(|entry| entry.directory.clone());
            let path = match (&admission.path, first) {
                (None, _) => None,
                (Some(path), Some(directory)) => Some(directory.join(path)),
                (Some(_), None) => return Err("admission.path: no source is a directory".into()),
            };
            let directories: Vec<_> = admission.rego.iter().cloned().chain(path).collect();
            if directories.is_empty() {
                return Err("admission: neither `rego` nor `path` is given".into());
            }
            let followed = Arc::new(Followed::new(directories));
            followed.look();
            Ok(Self { rego: Some(followed) })
        }
        #[cfg(not(feature = "rego"))]
        {
            let _ = admission;
            Err("admission: this program was built without the feature `rego`".into())
        }
    }

    /// Where what sources say is judged; none, where there are no policies.
    pub(crate) fn gate(&self) -> Option<Arc<Gate>> {
        #[cfg(feature = "rego")]
        {
            let rego = self.rego.clone()?;
            Some(Arc::new(Gate::new(rego)))
        }
        #[cfg(not(feature = "rego"))]
        None
    }

    /// What is wrong with them.
    pub(crate) fn faults(&self) -> Vec<Finding> {
        #[cfg(feature = "rego")]
        {
            self.rego.as_ref().map(|rego| rego.faults()).unwrap_or_default()
        }
        #[cfg(not(feature = "rego"))]
        Vec::new()
    }

    /// Looks again and again whether they changed. Ends where there are none.
    pub(crate) async fn follow(self) {
        #[cfg(feature = "rego")]
        if let Some(rego) = self.rego {
            loop {
                tokio::time::sleep(LOOK).await;
                let looking = Arc::clone(&rego);
                if let Err(error) = tokio::task::spawn_blocking(move || looking.look()).await {
                    tracing::error!(%error, "the admission policies could not be looked at");
                }
            }
        }
    }
}

/// How often policies are looked at.
#[cfg(feature = "rego")]
const LOOK: std::time::Duration = std::time::Duration::from_millis(300);

/// Policies in Rego that are asked and looked at by several.
#[cfg(feature = "rego")]
#[derive(Debug)]
struct Followed {
    follow: parking_lot::Mutex<Follow>,
    revision: std::sync::atomic::AtomicU64,
    /// Whether a verdict may depend on other objects: asked often, and by those who must not wait until others are judged.
    sees_others: std::sync::atomic::AtomicBool,
}

#[cfg(feature = "rego")]
impl Followed {
    fn new(directories: Vec<std::path::PathBuf>) -> Self {
        Self { follow: Follow::new(directories).into(), revision: 0.into(), sees_others: false.into() }
    }

    fn look(&self) {
        let mut follow = self.follow.lock();
        if follow.look() {
            self.sees_others.store(follow.admission().sees_others(), std::sync::atomic::Ordering::Release);
            self.revision.fetch_add(1, std::sync::atomic::Ordering::Release);
        }
    }

    fn faults(&self) -> Vec<Finding> {
        self.follow.lock().faults().to_vec()
    }
}

#[cfg(feature = "rego")]
impl Judge for Followed {
    fn judge(&self, review: &Review<'_>, inventory: &Inventory) -> Vec<Finding> {
        self.follow.lock().admission().judge(review, inventory)
    }

    fn judge_all(&self, reviews: &[Review<'_>], inventory: &Inventory) -> Vec<Vec<Finding>> {
        self.follow.lock().admission().judge_all(reviews, inventory)
    }

    fn sees_others(&self) -> bool {
        self.sees_others.load(std::sync::atomic::Ordering::Acquire)
    }

    fn revision(&self) -> u64 {
        self.revision.load(std::sync::atomic::Ordering::Acquire)
    }
}
