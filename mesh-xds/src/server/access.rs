use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tonic::metadata::MetadataMap;
use tonic::{Extensions, Status};

use super::cache::Cache;
use crate::pb::Node;

/// Decides who may open a stream, what it is served, and who may look at all that.
pub trait Access: fmt::Debug + Send + Sync + 'static {
    /// Names the client that a call comes from.
    ///
    /// # Errors
    /// The status with which the call is refused.
    fn admit(&self, metadata: &MetadataMap, extensions: &Extensions) -> Result<String, Status>;

    /// What a client is served; asked once per stream, with the node of its first request. The default is everything that
    /// the service has.
    ///
    /// `client` is what [`Access::admit`] made of proven facts; the node is what the client says of itself, and nobody has
    /// checked it. Who serves by node must compare the two here: that the node id, or the namespace and service account in
    /// its metadata, are those of the certificate or token, as istiod does with `INSTANCE_IPS` and the service account. A
    /// node that says something else is refused with PERMISSION_DENIED. What a later request says of the node has no effect.
    ///
    /// # Errors
    /// The status with which the stream ends.
    fn view(&self, client: &str, node: &Node) -> Result<View, Status> {
        let _ = (client, node);
        Ok(View::default())
    }

    /// Whether a call may ask the status service which clients there are and what they were sent. Nobody may by default.
    ///
    /// # Errors
    /// The status with which the call is refused.
    fn inspect(&self, metadata: &MetadataMap, extensions: &Extensions) -> Result<(), Status> {
        let _ = (metadata, extensions);
        Err(Status::permission_denied("the status of clients is not shown"))
    }
}

/// What one client sees. Stays as it is for the life of a stream; who must see less ends the stream
/// ([`Service::disconnect`](super::Service::disconnect)), and what is outside the new view is then told to be gone.
#[derive(Debug, Clone, Default)]
pub struct View {
    /// The resources; `None`: those of the service. Clients with equal views share one cache, and caches may share entries:
    /// an [`Entry`](super::Entry) that is cloned into several is encoded once.
    pub cache: Option<Cache>,
    /// Which of them; `None`: all, and no resource is asked about.
    pub permissions: Option<Arc<dyn Permissions>>,
    /// Who is told what the client asks for, so that it can be made; `None`: nobody, the resources are there in any case.
    /// Where there is one, a list without names never means everything.
    pub demand: Option<Arc<dyn Demand>>,
    /// When this is cancelled, the stream ends: the client comes back, and is asked about anew.
    pub end: CancellationToken,
}

/// Makes what a client asks for by name, where a view is too large to be made before anybody looks at it.
///
/// [`Access::view`] gives each stream its own, which is dropped with the stream: what nobody else asks for can go then.
pub trait Demand: fmt::Debug + Send + Sync + 'static {
    /// The client asks for these names of a type, in the place of those that it asked for before. Called for each request
    /// before it is answered, also when nothing differs: what is put into the view's cache before this returns is in the
    /// answer.
    fn asked(&self, type_url: &str, names: &BTreeSet<String>);
}

/// What of a view one client is permitted to see.
///
/// What is not permitted is not sent, in whatever way it is asked for. Who asks for it by name is told so
/// (PERMISSION_DENIED), whether it exists or not.
pub trait Permissions: fmt::Debug + Send + Sync + 'static {
    /// Whether the client may see a resource. Asked for every resource that is compared, so it must be quick; and the same
    /// question must have the same answer as long as the stream lives. Who asks by an alias needs to be permitted both the
    /// alias and the name.
    fn permits(&self, type_url: &str, name: &str) -> bool;
}
