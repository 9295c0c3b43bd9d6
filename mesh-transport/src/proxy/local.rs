use std::sync::Arc;
use std::time::Duration;

use mesh_core::catalog::Catalog;
use mesh_core::live::Live;
use mesh_core::name::{Text, Uid};
use mesh_core::workload::Workload;
use parking_lot::Mutex;

/// The local workload that a listener belongs to, as far as it is known without its record. Cheap to clone.
#[derive(Debug, Clone)]
pub struct LocalWorkload(Arc<Known>);

#[derive(Debug)]
enum Known {
    Uid(Uid),
    Pod {
        namespace: Text,
        name: Text,
        service_account: Text,
        /// The uid under which its record was found last. Records are indexed by uid, not by name.
        uid: Mutex<Option<Uid>>,
    },
}

impl LocalWorkload {
    /// A pod by what its node says of it.
    #[must_use]
    pub fn pod(namespace: &str, name: &str, service_account: &str) -> Self {
        Self(Arc::new(Known::Pod {
            namespace: namespace.into(),
            name: name.into(),
            service_account: service_account.into(),
            uid: Mutex::default(),
        }))
    }

    /// Its record.
    #[must_use]
    pub fn find<'a>(&self, catalog: &'a Catalog) -> Option<&'a Arc<Workload>> {
        match &*self.0 {
            Known::Uid(uid) => catalog.workload(uid.as_str()),
            Known::Pod { namespace, name, service_account, uid } => {
                let fits = |workload: &&Arc<Workload>| {
                    workload.name == *name
                        && workload.namespace == *namespace
                        && workload.identity.name() == service_account
                };
                let mut last = uid.lock();
                let known = last.as_ref().and_then(|uid| catalog.workload(uid.as_str())).filter(fits);
                let found = known.or_else(|| catalog.workloads().filter(fits).min_by_key(|workload| &workload.uid));
                if known.is_none() {
                    *last = found.map(|workload| workload.uid.clone());
                }
                found
            }
        }
    }

    /// Its record, waited for if it is not there yet.
    pub(crate) async fn wait(&self, catalog: &Live<Catalog>, limit: Duration) -> Option<Arc<Workload>> {
        if let Some(workload) = self.find(&catalog.load()) {
            return Some(Arc::clone(workload));
        }
        let mut changes = catalog.changes();
        let arrival = async {
            loop {
                if let Some(workload) = self.find(&changes.current()) {
                    return Some(Arc::clone(workload));
                }
                changes.changed().await.ok()?;
            }
        };
        tokio::time::timeout(limit, arrival).await.ok().flatten()
    }
}

impl From<Uid> for LocalWorkload {
    fn from(uid: Uid) -> Self {
        Self(Arc::new(Known::Uid(uid)))
    }
}

impl From<&str> for LocalWorkload {
    fn from(uid: &str) -> Self {
        Uid::from(uid).into()
    }
}

impl From<String> for LocalWorkload {
    fn from(uid: String) -> Self {
        Uid::from(uid).into()
    }
}
