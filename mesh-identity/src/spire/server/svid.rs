use std::sync::Arc;

use tonic::{Code, Request, Response, Status};

use super::super::convert::{id_message, seconds, svid_message};
use super::SpireServer;
use crate::authority::{Names, audit};
use crate::proto::spire::api::server::svid::v1::batch_new_x509svid_response;
use crate::proto::spire::api::server::svid::v1::svid_server::Svid;
use crate::proto::spire::api::server::svid::v1::{
    BatchNewX509svidRequest, BatchNewX509svidResponse, NewDownstreamX509caRequest, NewDownstreamX509caResponse,
    NewJwtsvidRequest, NewJwtsvidResponse, NewX509svidParams,
};
use crate::proto::spire::api::types;
use crate::registry::Entry;
use crate::spire::NodeView;

/// Most certificates in one request.
const MAX_BATCH: usize = 1_000;

impl SpireServer {
    fn new_svid(&self, node: &NodeView, entry: Option<&Arc<Entry>>, csr: &[u8]) -> Result<types::X509svid, Status> {
        let entry = entry.ok_or_else(|| Status::not_found("entry not found or not authorized"))?;
        self.count(node)?;
        let authority = &self.parts().authority;
        let life = entry.x509_life.map(|life| life.min(authority.rules().max_life));
        let names = Names { dns: entry.dns_names.clone(), ips: Vec::new() };
        let chain = authority.issue_to_key(csr, &entry.spiffe_id, life, &names).map_err(|error| {
            audit::refused("BatchNewX509SVID", &entry.spiffe_id, &error);
            Status::new(error.code(), error.to_string())
        })?;
        audit::issued("BatchNewX509SVID", &node.id.to_string(), &entry.spiffe_id, &chain);
        Ok(svid_message(&entry.spiffe_id, &chain, &entry.hint))
    }
}

#[tonic::async_trait]
impl Svid for SpireServer {
    async fn batch_new_x509svid(
        &self,
        request: Request<BatchNewX509svidRequest>,
    ) -> Result<Response<BatchNewX509svidResponse>, Status> {
        let node = self.node(&request).await?;
        let asked = &request.get_ref().params;
        if asked.is_empty() || asked.len() > MAX_BATCH {
            return Err(Status::invalid_argument(format!("between 1 and {MAX_BATCH} certificates at once")));
        }
        let entries = self.entries(&node)?;
        let one = |NewX509svidParams { entry_id, csr }: &NewX509svidParams| {
            let (svid, code, message) = match self.new_svid(&node, entries.get(entry_id), csr) {
                Ok(svid) => (Some(svid), Code::Ok, "OK".to_owned()),
                Err(status) => (None, status.code(), status.message().to_owned()),
            };
            batch_new_x509svid_response::Result { status: Some(types::Status { code: code.into(), message }), svid }
        };
        Ok(Response::new(BatchNewX509svidResponse { results: asked.iter().map(one).collect() }))
    }

    async fn new_jwtsvid(&self, request: Request<NewJwtsvidRequest>) -> Result<Response<NewJwtsvidResponse>, Status> {
        let node = self.node(&request).await?;
        let NewJwtsvidRequest { entry_id, audience } = request.get_ref();
        let entries = self.entries(&node)?;
        let entry = entries.get(entry_id).ok_or_else(|| Status::not_found("entry not found or not authorized"))?;
        self.count(&node)?;
        let authority = &self.parts().authority;
        let life = entry.jwt_life.map(|life| life.min(authority.rules().max_life));
        let token = authority.issue_jwt(&entry.spiffe_id, audience, life).map_err(|error| {
            audit::refused("NewJWTSVID", &entry.spiffe_id, &error);
            Status::new(error.code(), error.to_string())
        })?;
        tracing::info!(
            target: "mesh_identity::audit",
            method = "NewJWTSVID", caller = %node.id, identity = %entry.spiffe_id, ?audience,
            not_after = seconds(token.expires()), "token issued"
        );
        let svid = types::Jwtsvid {
            token: token.token().to_owned(),
            id: Some(id_message(&entry.spiffe_id)),
            expires_at: seconds(token.expires()),
            issued_at: token.issued().map_or(0, seconds),
            hint: entry.hint.clone(),
        };
        Ok(Response::new(NewJwtsvidResponse { svid: Some(svid) }))
    }

    async fn new_downstream_x509ca(
        &self,
        request: Request<NewDownstreamX509caRequest>,
    ) -> Result<Response<NewDownstreamX509caResponse>, Status> {
        let _ = request;
        // Our own root signs leaves only (path length 0), and a plugged-in intermediate most often has the same limit.
        Err(Status::unimplemented("this server signs no authorities below its own"))
    }
}
