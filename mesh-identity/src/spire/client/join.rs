use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use mesh_core::name::SpiffeId;
use mesh_core::report::chain;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;

use super::{ALPN, NodeError};
use crate::attest::Evidence;
use crate::clock::Clock;
use crate::connect::Connector;
use crate::file;
use crate::proto::spire::api::server::agent::v1::agent_client::AgentClient;
use crate::proto::spire::api::server::agent::v1::attest_agent_request::{Params, Step as Asks};
use crate::proto::spire::api::server::agent::v1::attest_agent_response::Step as Tells;
use crate::proto::spire::api::server::agent::v1::{AgentX509svidParams, AttestAgentRequest};
use crate::proto::spire::api::types;
use crate::svid::{KeyKind, X509Svid, certificate_request};
use crate::tls::server_authenticated_client;
use crate::trust::TrustStore;
use crate::verify::{self, Expected, Purpose};

/// Deadline of an attestation.
const ATTESTATION: Duration = Duration::from_secs(30);

/// How to join a SPIRE server, real or ours.
#[derive(Debug, Clone)]
pub struct Joining {
    /// Host and port of the server.
    pub server: String,
    /// Whom to trust: it must hold the server's trust domain already, from the configuration or from an earlier run. The node
    /// keeps it fresh.
    pub trust: TrustStore,
    /// What proves who this machine is.
    pub evidence: Arc<dyn Evidence>,
    /// The server's trust domain.
    pub trust_domain: mesh_core::name::TrustDomain,
    /// Where to keep the node's SVID over restarts. Without it the node attests at each start, which evidence that counts once
    /// does not survive.
    pub directory: Option<PathBuf>,
    /// Judges certificates.
    pub clock: Arc<dyn Clock>,
}

impl Joining {
    pub(super) fn remembered(&self) -> Result<Option<X509Svid>, NodeError> {
        let Some(path) = self.file() else { return Ok(None) };
        let text = match file::read(&path) {
            Ok(text) => text,
            Err(error) if error.is_not_found() => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        match X509Svid::from_pem(&text) {
            Ok(svid) if self.clock.now() < svid.not_after() && svid.id().is_member_of(&self.trust_domain) => {
                Ok(Some(svid))
            }
            Ok(_) => Ok(None),
            Err(error) => {
                tracing::warn!(path = %path.display(), error = chain(&error), "the node's last SVID cannot be used");
                Ok(None)
            }
        }
    }

    fn file(&self) -> Option<PathBuf> {
        self.directory.as_deref().map(|directory: &Path| directory.join("node-svid.pem"))
    }

    pub(super) fn remember(&self, svid: &X509Svid) -> Result<(), NodeError> {
        if let (Some(directory), Some(path)) = (&self.directory, self.file()) {
            file::private_directory(directory)?;
            file::replace(&path, svid.to_pem().as_bytes(), file::Mode::Private)?;
        }
        Ok(())
    }

    pub(super) async fn attest(&self, server: &SpiffeId) -> Result<X509Svid, NodeError> {
        let expected = Expected::Ids(vec![server.clone()]);
        let config = server_authenticated_client(self.trust.bundles(), expected, Arc::clone(&self.clock), ALPN)?;
        let mut client = AgentClient::new(channel(&self.server, config)?);
        let (key, csr) = certificate_request(server, KeyKind::P256).map_err(NodeError::Request)?;
        let exchange = async {
            let payload = self.evidence.payload().await?;
            let data = types::AttestationData { r#type: self.evidence.kind().to_owned(), payload };
            let params = Params { data: Some(data), params: Some(AgentX509svidParams { csr }) };
            let (sender, receiver) = mpsc::channel(1);
            let gone = |_| NodeError::Answer("the server hung up");
            sender.send(AttestAgentRequest { step: Some(Asks::Params(params)) }).await.map_err(gone)?;
            let mut answers = client.attest_agent(ReceiverStream::new(receiver)).await?.into_inner();
            while let Some(answer) = answers.message().await? {
                match answer.step {
                    Some(Tells::Challenge(challenge)) => {
                        let answer = self.evidence.answer(&challenge)?;
                        let step = AttestAgentRequest { step: Some(Asks::ChallengeResponse(answer)) };
                        sender.send(step).await.map_err(gone)?;
                    }
                    Some(Tells::Result(result)) => return Ok(result.svid.unwrap_or_default()),
                    None => break,
                }
            }
            Err(NodeError::Answer("no SVID"))
        };
        let issued = tokio::time::timeout(ATTESTATION, exchange).await.map_err(|_| NodeError::Timeout)??;
        let svid = self.take(&issued, key)?;
        self.remember(&svid)?;
        Ok(svid)
    }

    /// Takes an SVID for the node itself.
    pub(super) fn take(&self, issued: &types::X509svid, key: PrivateKeyDer<'static>) -> Result<X509Svid, NodeError> {
        let chain = issued.cert_chain.iter().map(|der| CertificateDer::from(der.clone())).collect();
        let svid = X509Svid::parse(chain, key).map_err(NodeError::Svid)?;
        let node = svid.id().path().starts_with("/spire/agent/") && svid.id().is_member_of(&self.trust_domain);
        if !node {
            return Err(NodeError::Answer("an SVID of nobody's node"));
        }
        let now = self.clock.now();
        verify::peer(Some(svid.chain()), &self.trust.bundles().load(), Purpose::Client, now)
            .map_err(NodeError::Verify)?;
        Ok(svid)
    }
}

/// A channel that is not connected yet, and that notices when the server is gone.
pub(in crate::spire) fn channel(server: &str, config: Arc<rustls::ClientConfig>) -> Result<Channel, NodeError> {
    let endpoint = tonic::transport::Endpoint::from_shared(format!("http://{server}"));
    let endpoint = endpoint.map_err(|_| NodeError::Address(server.to_owned()))?;
    let endpoint = endpoint
        .http2_keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(10))
        .keep_alive_while_idle(true);
    Ok(endpoint.connect_with_connector_lazy(Connector::new(config)))
}
