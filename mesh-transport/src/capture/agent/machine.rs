//! What a proxy serves by what agents have said, without sockets or clocks.
//!
//! ```text
//! connected ──► add, keep … ──► snapshot sent ──► add, delete …
//!     ▲              what was not listed is stopped      │
//!     └────────────── connection ends: pods go on ◄──────┘
//! ```

use std::collections::{BTreeMap, BTreeSet};

use super::{Error, PodInfo};

/// The pods of a proxy. `N` tells network namespaces apart.
#[derive(Debug, Clone)]
pub struct Machine<N> {
    pods: BTreeMap<String, Pod<N>>,
    /// Pods listed since the connection began; `None` once the list is complete.
    listed: Option<BTreeSet<String>>,
    complete: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Pod<N> {
    info: PodInfo,
    namespace: N,
    /// Whether it could not be started yet.
    pending: bool,
}

/// What an addition asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Added {
    /// Nothing: the pod is served already.
    Known,
    /// To start serving it.
    Start,
    /// To stop serving what had its uid, in another namespace, and start serving it.
    Replace,
}

impl<N: PartialEq + Clone> Machine<N> {
    /// A proxy that serves nothing.
    #[must_use]
    pub fn new() -> Self {
        Self { pods: BTreeMap::new(), listed: None, complete: false }
    }

    /// An agent was reached: it will list what there is.
    pub fn handle_connected(&mut self) {
        self.listed = Some(BTreeSet::new());
    }

    /// The agent wants a pod served. The caller does what the answer says and tells with [`Machine::handle_started`].
    pub fn handle_add(&mut self, uid: &str, info: &PodInfo, namespace: &N) -> Added {
        if let Some(listed) = &mut self.listed {
            listed.insert(uid.to_owned());
        }
        let added = match self.pods.get(uid) {
            Some(known) if known.namespace == *namespace && known.info == *info => {
                if known.pending {
                    Added::Start
                } else {
                    Added::Known
                }
            }
            Some(_) => Added::Replace,
            None => Added::Start,
        };
        if added != Added::Known {
            let pod = Pod { info: info.clone(), namespace: namespace.clone(), pending: true };
            self.pods.insert(uid.to_owned(), pod);
        }
        added
    }

    /// A pod was started, or could not be and is to be tried again.
    pub fn handle_started(&mut self, uid: &str, started: bool) {
        if let Some(pod) = self.pods.get_mut(uid) {
            pod.pending = !started;
        }
    }

    /// The agent has no namespace for a pod; it stays if it is there.
    ///
    /// # Errors
    /// [`Error::AfterSnapshot`].
    pub fn handle_keep(&mut self, uid: &str) -> Result<(), Error> {
        let listed = self.listed.as_mut().ok_or(Error::AfterSnapshot("a pod to keep"))?;
        listed.insert(uid.to_owned());
        Ok(())
    }

    /// A pod is gone. Whether it was there, and so must be stopped.
    pub fn handle_delete(&mut self, uid: &str) -> bool {
        if let Some(listed) = &mut self.listed {
            listed.remove(uid);
        }
        self.pods.remove(uid).is_some()
    }

    /// The list is complete. Gives the pods to stop.
    ///
    /// # Errors
    /// [`Error::AfterSnapshot`].
    pub fn handle_snapshot_sent(&mut self) -> Result<Vec<String>, Error> {
        let listed = self.listed.take().ok_or(Error::AfterSnapshot("a second snapshot"))?;
        self.complete = true;
        let gone: Vec<String> = self.pods.keys().filter(|uid| !listed.contains(*uid)).cloned().collect();
        for uid in &gone {
            self.pods.remove(uid);
        }
        Ok(gone)
    }

    /// Pods that are to be tried again.
    pub fn pending(&self) -> impl Iterator<Item = (&str, &PodInfo, &N)> {
        let pending = self.pods.iter().filter(|(_, pod)| pod.pending);
        pending.map(|(uid, pod)| (uid.as_str(), &pod.info, &pod.namespace))
    }

    /// All pods, and whether each is pending.
    pub fn pods(&self) -> impl Iterator<Item = (&str, &PodInfo, bool)> {
        self.pods.iter().map(|(uid, pod)| (uid.as_str(), &pod.info, pod.pending))
    }

    /// Whether a list was once complete and every pod is served.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.complete && self.pods.values().all(|pod| !pod.pending)
    }
}

impl<N: PartialEq + Clone> Default for Machine<N> {
    fn default() -> Self {
        Self::new()
    }
}
