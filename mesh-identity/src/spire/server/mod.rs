mod agent;
mod bundle;
mod entry;
mod svid;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use mesh_core::live::Live;
use mesh_core::name::SpiffeId;
use prost::Message as _;
use tonic::{Code, Request, Status};

use super::nodes::{NodeRefused, NodeView, Nodes};
use crate::attest::{Attestor, JoinTokens};
use crate::authority::{Authority, RateLimit};
use crate::bundle::BundleSet;
use crate::clock::Clock;
use crate::proto::spire::api::server::agent::v1::agent_server::AgentServer;
use crate::proto::spire::api::server::bundle::v1::bundle_server::BundleServer;
use crate::proto::spire::api::server::entry::v1::entry_server::EntryServer;
use crate::proto::spire::api::server::svid::v1::svid_server::SvidServer;
use crate::proto::spire::api::types::PermissionDeniedDetails;
use crate::proto::spire::api::types::permission_denied_details::Reason;
use crate::registry::{Entries, Entry};
use crate::serve::Caller;
use crate::task::Tasks;

/// Life of a node's certificate, unless set.
const NODE_LIFE: Duration = Duration::from_secs(60 * 60);

/// Attestations of one address: so many at once, so many per second in the long run.
const ATTESTATIONS: (u32, u32) = (20, 1);

/// Signatures for one node: so many at once, so many per second in the long run.
const SIGNATURES: (u32, u32) = (2_000, 500);

/// What a SPIRE server serves from.
#[derive(Debug, Clone)]
pub struct SpireParts {
    /// Issues.
    pub authority: Arc<Authority>,
    /// Who may have which identity; `None` until that is known.
    pub entries: Live<Option<Entries>>,
    /// Foreign bundles, for whoever federates with them.
    pub bundles: Live<BundleSet>,
    /// The nodes.
    pub nodes: Arc<Nodes>,
    /// Join tokens, which administrators make over the API. They let nodes in when they are among the attestors.
    pub tokens: Arc<JoinTokens>,
    /// What evidence is taken, by its kind.
    pub attestors: Vec<Arc<dyn Attestor>>,
    /// Who may make join tokens, ban and delete nodes over the API.
    pub administrators: Vec<SpiffeId>,
    /// Life of a node's certificate; an hour, when there is none.
    pub node_life: Option<Duration>,
    /// Judges ends.
    pub clock: Arc<dyn Clock>,
}

/// SPIRE's server API: `spire.api.server.{agent,bundle,entry,svid}.v1`.
///
/// Serve it by an identity of path [`SERVER_PATH`](super::SERVER_PATH) over
/// [`Incoming`](crate::serve::Incoming) with optional client certificates: callers are known by the
/// [`Caller`] that it leaves.
#[derive(Clone)]
pub struct SpireServer {
    inner: Arc<Inner>,
}

struct Inner {
    parts: SpireParts,
    attestors: BTreeMap<&'static str, Arc<dyn Attestor>>,
    attestations: RateLimit,
    signatures: RateLimit,
    tasks: Tasks,
}

impl SpireServer {
    /// A server over its parts.
    #[must_use]
    pub fn new(parts: SpireParts) -> Self {
        let attestors = parts.attestors.iter().map(|one| (one.kind(), Arc::clone(one))).collect();
        let (attestations, signatures) =
            (RateLimit::new(ATTESTATIONS.0, ATTESTATIONS.1), RateLimit::new(SIGNATURES.0, SIGNATURES.1));
        Self { inner: Arc::new(Inner { parts, attestors, attestations, signatures, tasks: Tasks::default() }) }
    }

    /// The services, to be added to a tonic server.
    #[must_use]
    pub fn services(&self) -> (AgentServer<Self>, BundleServer<Self>, EntryServer<Self>, SvidServer<Self>) {
        (
            AgentServer::new(self.clone()).max_decoding_message_size(crate::attest::MAX_EVIDENCE_BYTES + 32 * 1024),
            BundleServer::new(self.clone()),
            EntryServer::new(self.clone()),
            SvidServer::new(self.clone()),
        )
    }

    /// Stops what is under way.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn stop(&self) {
        self.inner.tasks.stop().await;
    }

    fn parts(&self) -> &SpireParts {
        &self.inner.parts
    }

    /// The node that calls.
    async fn node<T>(&self, request: &Request<T>) -> Result<NodeView, Status> {
        let peer =
            caller(request)?.peer().ok_or_else(|| Status::permission_denied("a node's certificate is needed"))?;
        let now = self.parts().clock.now();
        let seen = match self.parts().nodes.look(peer, now) {
            Ok(None) => {
                let peer = peer.clone();
                self.with_nodes(move |nodes| nodes.authorize(&peer, now)).await?
            }
            Ok(Some(view)) => Ok(view),
            Err(refused) => Err(refused),
        };
        seen.map_err(|refused| {
            tracing::warn!(node = %peer.id(), reason = %refused, "a call of a node is refused");
            refusal(&refused)
        })
    }

    /// Does something with the nodes that may wait for the disk. It is done to its end, whether or not the call goes on.
    async fn with_nodes<T: Send + 'static>(
        &self,
        change: impl FnOnce(&Nodes) -> T + Send + 'static,
    ) -> Result<T, Status> {
        let nodes = Arc::clone(&self.parts().nodes);
        let done = tokio::task::spawn_blocking(move || change(&nodes)).await;
        done.map_err(|_| Status::internal("the nodes cannot be asked"))
    }

    /// An administrator calls.
    fn administrator<T>(&self, request: &Request<T>) -> Result<SpiffeId, Status> {
        let peer = caller(request)?.peer();
        let id = peer.map(crate::verify::VerifiedPeer::id).filter(|id| self.parts().administrators.contains(id));
        id.cloned().ok_or_else(|| Status::permission_denied("only administrators may do that"))
    }

    /// The entries of what may run on a node, by name.
    fn entries(&self, node: &NodeView) -> Result<BTreeMap<String, Arc<Entry>>, Status> {
        let entries = self.parts().entries.load();
        let entries = entries.as_ref().ok_or_else(|| Status::unavailable("the entries are not known yet"))?;
        let now = self.parts().clock.now();
        let mut all = entries.authorized(&node.id, &node.selectors, now);
        if let Some(alias) = &node.alias {
            all.extend(entries.authorized(alias, &Default::default(), now));
        }
        Ok(all.into_iter().map(|entry| (entry.id.clone(), entry)).collect())
    }

    /// Counts a signature for a node.
    fn count(&self, node: &NodeView) -> Result<(), Status> {
        let taken = self.inner.signatures.take(&node.id.to_string(), self.parts().clock.now());
        taken.map_err(|wait| Status::resource_exhausted(format!("too many requests: wait {} ms", wait.as_millis())))
    }
}

fn caller<T>(request: &Request<T>) -> Result<&Caller, Status> {
    request.extensions().get::<Caller>().ok_or_else(|| Status::internal("the connection does not tell who calls"))
}

/// Tells a node why it is refused, in the way that SPIRE's agents read.
fn refusal(refused: &NodeRefused) -> Status {
    let reason = match refused {
        NodeRefused::Banned => Reason::AgentBanned,
        NodeRefused::Unknown => Reason::AgentNotAttested,
        NodeRefused::Replaced => Reason::AgentNotActive,
        NodeRefused::Expired => Reason::AgentExpired,
        NodeRefused::Used | NodeRefused::OtherNodesKey => return Status::permission_denied(refused.to_string()),
        NodeRefused::TooMany => return Status::resource_exhausted(refused.to_string()),
        NodeRefused::Unreadable | NodeRefused::Store(_) => {
            tracing::error!(error = mesh_core::report::chain(refused), "nodes cannot be kept");
            return Status::unavailable("nodes cannot be kept now");
        }
    };
    let details = PermissionDeniedDetails { reason: reason.into() };
    let any = envoy_types::pb::google::protobuf::Any {
        type_url: "type.googleapis.com/spire.api.types.PermissionDeniedDetails".to_owned(),
        value: details.encode_to_vec(),
    };
    let message = refused.to_string();
    let status = envoy_types::pb::google::rpc::Status {
        code: Code::PermissionDenied.into(),
        message: message.clone(),
        details: vec![any],
    };
    Status::with_details(Code::PermissionDenied, message, status.encode_to_vec().into())
}

impl fmt::Debug for SpireServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SpireServer").field("attestors", &self.inner.attestors.keys()).finish_non_exhaustive()
    }
}
