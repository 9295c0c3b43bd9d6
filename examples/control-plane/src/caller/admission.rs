use std::sync::Arc;

use mesh_core::name::parse_spiffe_id;
use mesh_xds::pb::Node;
use mesh_xds::server::{Access, View};
use tonic::metadata::MetadataMap;
use tonic::{Extensions, Status};

use super::authenticate::{Identified, Known, Unidentified};
use super::metadata;
use super::review::ReviewError;
use crate::view::Views;

/// Who may read what: proxies of nodes workload discovery, instances of waypoints what is theirs, clients without a proxy what
/// their namespace may see.
#[derive(Debug)]
pub(crate) struct Admission {
    views: Arc<Views>,
}

impl Admission {
    pub(crate) fn new(views: Arc<Views>) -> Self {
        Self { views }
    }
}

impl Access for Admission {
    /// The proxy of a node is named by the node, everybody else by its SPIFFE ID.
    fn admit(&self, _: &MetadataMap, extensions: &Extensions) -> Result<String, Status> {
        let reason = match extensions.get::<Known>() {
            Some(Ok(Identified::Node { node, .. })) => return Ok(node.clone()),
            Some(Ok(Identified::ServiceAccount(id) | Identified::Svid(id))) => return Ok(id.to_string()),
            Some(Err(reason)) => reason,
            None => &Unidentified::Nothing,
        };
        tracing::warn!(%reason, "discovery stream refused");
        // A client that is told so tries again sooner than one that is told that it is nobody.
        match reason {
            Unidentified::Review(ReviewError::Unavailable(_)) => Err(Status::unavailable("try again")),
            _ => Err(Status::unauthenticated("request authenticate failure")),
        }
    }

    fn view(&self, client: &str, node: &Node) -> Result<View, Status> {
        // No name of a node is an identity: see `Tokens`.
        let seen = match parse_spiffe_id(client) {
            Err(_) => metadata::of_node(client, node).map(|()| View::default()),
            Ok(identity) => metadata::of_identity(&identity, node).and_then(|()| self.views.view(&identity, node)),
        };
        seen.map_err(|reason| {
            tracing::warn!(client, node = node.id, reason, "discovery stream refused");
            Status::permission_denied(reason)
        })
    }
}
