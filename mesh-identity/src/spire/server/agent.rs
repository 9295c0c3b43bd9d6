use std::sync::Arc;
use std::time::Duration;

use envoy_types::pb::google::protobuf::Empty;
use mesh_core::name::{SpiffeId, parse_spiffe_id};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::super::convert::{id, seconds, svid_message};
use super::{NODE_LIFE, SpireServer, caller, refusal};
use crate::attest::{Answer, Asked, AttestError, Attested, Challenges, MAX_EVIDENCE_BYTES};
use crate::authority::audit;
use crate::proto::spire::api::server::agent::v1::agent_server::Agent;
use crate::proto::spire::api::server::agent::v1::attest_agent_request::{Params, Step as Asks};
use crate::proto::spire::api::server::agent::v1::attest_agent_response::{Result as Outcome, Step as Tells};
use crate::proto::spire::api::server::agent::v1::{
    AttestAgentRequest, AttestAgentResponse, BanAgentRequest, CreateJoinTokenRequest, DeleteAgentRequest,
    PostStatusRequest, PostStatusResponse, RenewAgentRequest, RenewAgentResponse,
};
use crate::proto::spire::api::types;

/// Deadline of an attestation, with all its challenges.
const DEADLINE: Duration = Duration::from_secs(30);

/// Most challenges of one attestation.
const MAX_CHALLENGES: usize = 8;

/// Life of a join token, unless asked for.
const TOKEN_LIFE: Duration = Duration::from_secs(10 * 60);

/// Longest life of a join token.
const MAX_TOKEN_LIFE: Duration = Duration::from_secs(30 * 24 * 60 * 60);

type Steps = mpsc::Sender<Result<AttestAgentResponse, Status>>;

/// Sends challenges down a stream and takes the answers from the other.
struct Dialogue {
    asked: Streaming<AttestAgentRequest>,
    steps: Steps,
    left: usize,
}

impl Challenges for Dialogue {
    fn ask(&mut self, challenge: Vec<u8>) -> Answer<'_> {
        Box::pin(async move {
            let failed = |why: &str| AttestError::Challenge(why.to_owned());
            self.left = self.left.checked_sub(1).ok_or_else(|| failed("too many challenges"))?;
            let step = AttestAgentResponse { step: Some(Tells::Challenge(challenge)) };
            self.steps.send(Ok(step)).await.map_err(|_| failed("the node has gone"))?;
            match self.asked.message().await {
                Ok(Some(AttestAgentRequest { step: Some(Asks::ChallengeResponse(answer)) }))
                    if answer.len() <= MAX_EVIDENCE_BYTES =>
                {
                    Ok(answer)
                }
                Ok(Some(_)) => Err(failed("an answer to the challenge was expected")),
                Ok(None) | Err(_) => Err(failed("the node has gone")),
            }
        })
    }
}

impl SpireServer {
    async fn attest(&self, mut dialogue: Dialogue, address: &str) -> Result<Outcome, Status> {
        let first = dialogue.asked.message().await?.and_then(|first| first.step);
        let Some(Asks::Params(Params { data: Some(data), params: Some(params) })) = first else {
            return Err(Status::invalid_argument("malformed param: evidence and a certificate request are needed"));
        };
        if data.payload.len() > MAX_EVIDENCE_BYTES {
            return Err(Status::resource_exhausted(format!(
                "evidence of {} bytes exceeds the limit of {MAX_EVIDENCE_BYTES}",
                data.payload.len()
            )));
        }
        let parts = self.parts();
        let attestor = self.inner.attestors.get(&*data.r#type).cloned().ok_or_else(|| {
            Status::invalid_argument(format!("evidence of type `{}` is not taken", data.r#type.escape_debug()))
        })?;
        let asked =
            Asked { payload: &data.payload, trust_domain: parts.authority.trust_domain(), now: parts.clock.now() };
        let attested = attestor.attest(asked, &mut dialogue).await.map_err(|error| {
            tracing::warn!(
                target: "mesh_identity::audit",
                method = "AttestAgent", kind = attestor.kind(), address, reason = %error, "node refused"
            );
            match error {
                AttestError::Unavailable(_) => Status::unavailable(error.to_string()),
                _ => Status::permission_denied(format!("failed to attest: {error}")),
            }
        })?;
        let node = node_id(&attested, attestor.kind(), parts.authority.trust_domain())?;
        let attested = Attested {
            alias: attested.alias.map(|path| format!("spiffe://{}{path}", parts.authority.trust_domain())),
            ..attested
        };
        let refused = |error: super::NodeRefused| {
            audit::refused("AttestAgent", &node, &error);
            refusal(&error)
        };
        parts.nodes.may_attest(&node).map_err(refused)?;
        let chain = self.node_svid("AttestAgent", &node, &params.csr)?;
        let leaf = chain.first().ok_or_else(|| Status::internal("an empty chain"))?.clone();
        let (id, kind, found) = (node.clone(), attestor.kind(), attested.clone());
        self.with_nodes(move |nodes| nodes.attested(&id, kind, &found, &leaf)).await?.map_err(refused)?;
        audit::issued("AttestAgent", address, &node, &chain);
        Ok(Outcome { svid: Some(svid_message(&node, &chain, "")), reattestable: attested.reattestable })
    }

    fn node_svid(
        &self,
        method: &'static str,
        node: &SpiffeId,
        csr: &[u8],
    ) -> Result<Vec<rustls_pki_types::CertificateDer<'static>>, Status> {
        let authority = &self.parts().authority;
        let life = self.parts().node_life.unwrap_or(NODE_LIFE).min(authority.rules().max_life);
        authority.issue_to_node(csr, node, Some(life)).map_err(|error| {
            audit::refused(method, node, &error);
            Status::new(error.code(), error.to_string())
        })
    }
}

/// The SPIFFE ID of a node, below what is reserved for its kind of evidence.
fn node_id(attested: &Attested, kind: &str, trust_domain: &mesh_core::name::TrustDomain) -> Result<SpiffeId, Status> {
    let own = attested.path.strip_prefix(kind).is_some_and(|rest| rest.starts_with('/'));
    let id = parse_spiffe_id(&format!("spiffe://{trust_domain}/spire/agent/{}", attested.path)).ok();
    id.filter(|_| own).ok_or_else(|| {
        tracing::error!(kind, path = attested.path, "the attestor gives a name that is no node's");
        Status::permission_denied("failed to attest: the evidence names no node")
    })
}

#[tonic::async_trait]
impl Agent for SpireServer {
    type AttestAgentStream = ReceiverStream<Result<AttestAgentResponse, Status>>;

    async fn attest_agent(
        &self,
        request: Request<Streaming<AttestAgentRequest>>,
    ) -> Result<Response<Self::AttestAgentStream>, Status> {
        let address = caller(&request)?.address().ip().to_string();
        let taken = self.inner.attestations.take(&address, self.parts().clock.now());
        taken.map_err(|wait| {
            Status::resource_exhausted(format!("too many attestations: wait {} s", wait.as_secs() + 1))
        })?;
        let (steps, receiver) = mpsc::channel(1);
        let dialogue = Dialogue { asked: request.into_inner(), steps: steps.clone(), left: MAX_CHALLENGES };
        let server = self.clone();
        self.inner.tasks.spawn(async move {
            let attested = tokio::time::timeout(DEADLINE, server.attest(dialogue, &address)).await;
            let attested = attested.unwrap_or_else(|_| Err(Status::deadline_exceeded("the attestation took too long")));
            let step = attested.map(|outcome| AttestAgentResponse { step: Some(Tells::Result(outcome)) });
            // Nobody reads it when the node has gone.
            let _ = steps.send(step).await;
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn renew_agent(&self, request: Request<RenewAgentRequest>) -> Result<Response<RenewAgentResponse>, Status> {
        let node = self.node(&request).await?;
        self.count(&node)?;
        let params = request.get_ref().params.as_ref();
        let params = params.ok_or_else(|| Status::invalid_argument("a certificate request is needed"))?;
        let chain = self.node_svid("RenewAgent", &node.id, &params.csr)?;
        let leaf = chain.first().ok_or_else(|| Status::internal("an empty chain"))?.clone();
        let id = node.id.clone();
        self.with_nodes(move |nodes| nodes.renewed(&id, &leaf)).await?.map_err(|error| {
            audit::refused("RenewAgent", &node.id, &error);
            refusal(&error)
        })?;
        audit::issued("RenewAgent", &node.id.to_string(), &node.id, &chain);
        Ok(Response::new(RenewAgentResponse { svid: Some(svid_message(&node.id, &chain, "")) }))
    }

    async fn post_status(&self, request: Request<PostStatusRequest>) -> Result<Response<PostStatusResponse>, Status> {
        let node = self.node(&request).await?;
        let PostStatusRequest { current_bundle_serial, agent_version } = request.get_ref();
        tracing::debug!(node = %node.id, current_bundle_serial, agent_version, "a node tells how it is");
        Ok(Response::new(PostStatusResponse {}))
    }

    async fn create_join_token(
        &self,
        request: Request<CreateJoinTokenRequest>,
    ) -> Result<Response<types::JoinToken>, Status> {
        let administrator = self.administrator(&request)?;
        let CreateJoinTokenRequest { ttl, token, agent_id } = request.into_inner();
        let life = u64::try_from(ttl).ok().filter(|ttl| *ttl > 0).map_or(TOKEN_LIFE, Duration::from_secs);
        if life > MAX_TOKEN_LIFE {
            return Err(Status::invalid_argument("a join token lives for 30 days at most"));
        }
        let alias = match agent_id {
            None => None,
            Some(message) => {
                let id = id(Some(&message)).map_err(Status::invalid_argument)?;
                if !id.is_member_of(self.parts().authority.trust_domain()) || id.path().is_empty() {
                    return Err(Status::invalid_argument("the node's further identity is of another trust domain"));
                }
                Some(id.path().to_owned())
            }
        };
        let (tokens, now) = (Arc::clone(&self.parts().tokens), self.parts().clock.now());
        // It waits for a lock and for the disk.
        let minted = tokio::task::spawn_blocking(move || tokens.mint(Some(token), life, alias, now)).await;
        let minted = minted.map_err(|_| Status::internal("no join token could be made"))?;
        let minted = minted.map_err(|error| match error {
            AttestError::Evidence(_) => Status::invalid_argument(error.to_string()),
            _ => Status::unavailable(error.to_string()),
        })?;
        tracing::info!(target: "mesh_identity::audit", method = "CreateJoinToken", caller = %administrator, "join token made");
        Ok(Response::new(types::JoinToken { value: minted.token, expires_at: seconds(minted.expires) }))
    }

    async fn ban_agent(&self, request: Request<BanAgentRequest>) -> Result<Response<Empty>, Status> {
        let administrator = self.administrator(&request)?;
        let node = id(request.get_ref().id.as_ref()).map_err(Status::invalid_argument)?;
        let id = node.clone();
        if !self.with_nodes(move |nodes| nodes.ban(&id)).await?.map_err(|error| refusal(&error))? {
            return Err(Status::not_found("agent not found"));
        }
        tracing::warn!(target: "mesh_identity::audit", method = "BanAgent", caller = %administrator, %node, "node banned");
        Ok(Response::new(Empty {}))
    }

    async fn delete_agent(&self, request: Request<DeleteAgentRequest>) -> Result<Response<Empty>, Status> {
        let administrator = self.administrator(&request)?;
        let node = id(request.get_ref().id.as_ref()).map_err(Status::invalid_argument)?;
        let id = node.clone();
        if !self.with_nodes(move |nodes| nodes.delete(&id)).await?.map_err(|error| refusal(&error))? {
            return Err(Status::not_found("agent not found"));
        }
        tracing::warn!(target: "mesh_identity::audit", method = "DeleteAgent", caller = %administrator, %node, "node deleted");
        Ok(Response::new(Empty {}))
    }
}
