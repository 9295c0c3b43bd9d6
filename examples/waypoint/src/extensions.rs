//! Whom filters ask.

use std::fmt;
use std::sync::Arc;

use mesh_core::authn::Verifier;
use mesh_core::name::Text;
use mesh_transport::l7::Extensions;

/// Whom the filters of a waypoint ask.
pub(crate) struct Asked {
    verifier: Arc<dyn Verifier>,
    own: Text,
}

impl Asked {
    /// Tokens are verified by `verifier`; `own` is the cluster that the waypoint is of.
    pub(crate) fn new(verifier: Arc<dyn Verifier>, own: Text) -> Self {
        Self { verifier, own }
    }
}

impl fmt::Debug for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Asked").field("own", &self.own).finish_non_exhaustive()
    }
}

impl Extensions for Asked {
    fn verifier(&self) -> Option<Arc<dyn Verifier>> {
        Some(Arc::clone(&self.verifier))
    }

    fn own_cluster(&self) -> Text {
        self.own.clone()
    }
}
