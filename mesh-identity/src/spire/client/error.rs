use prost::Message as _;
use tonic::Status;

use crate::attest::AttestError;
use crate::proto::spire::api::types;
use crate::proto::spire::api::types::permission_denied_details::Reason;
use crate::{file, svid, tls, verify};

/// A node could not join, or not be kept.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum NodeError {
    /// The server refused, or could not be reached.
    #[error("the SPIRE server answered {}: {}", status.code(), status.message())]
    Status {
        /// What it answered.
        status: Box<Status>,
    },
    /// Not a host and a port.
    #[error("`{0}` is no host with a port")]
    Address(String),
    /// The evidence could not be gathered, or a challenge not be answered.
    #[error("the evidence of this node")]
    Evidence(#[from] AttestError),
    /// No answer in time.
    #[error("the SPIRE server did not answer in time")]
    Timeout,
    /// The answer makes no sense.
    #[error("the SPIRE server's answer cannot be used: {0}")]
    Answer(&'static str),
    /// The trust domain's name makes no server.
    #[error("the server has no SPIFFE ID")]
    Name(#[source] mesh_core::name::Error),
    /// A key or a request could not be made.
    #[error("cannot make a certificate request")]
    Request(#[source] rcgen::Error),
    /// What was issued is no SVID.
    #[error("what was issued is no SVID")]
    Svid(#[source] svid::Error),
    /// What was issued does not verify.
    #[error("what was issued does not verify against the known bundle")]
    Verify(#[source] verify::Error),
    /// A bundle of the server cannot be used.
    #[error("a bundle of the SPIRE server cannot be used")]
    Bundle(#[source] crate::bundle::Error),
    /// A file could not be read or written.
    #[error("the node's SVID on disk")]
    File(#[from] file::Error),
    /// TLS cannot be set up.
    #[error("TLS to the SPIRE server")]
    Tls(#[from] tls::Error),
    /// The node's SVID has expired.
    #[error("the node's SVID has expired")]
    Expired,
}

impl From<Status> for NodeError {
    fn from(status: Status) -> Self {
        Self::Status { status: Box::new(status) }
    }
}

impl NodeError {
    /// Why the server does not take this node any more, if it said so.
    fn reason(&self) -> Option<Reason> {
        let Self::Status { status } = self else { return None };
        let details = envoy_types::pb::google::rpc::Status::decode(status.details()).ok()?;
        let one =
            details.details.iter().find(|one| one.type_url.ends_with("/spire.api.types.PermissionDeniedDetails"))?;
        let details = types::PermissionDeniedDetails::decode(&*one.value).ok()?;
        Reason::try_from(details.reason).ok()
    }

    /// Whether only a new attestation helps.
    pub(super) fn must_attest(&self) -> bool {
        matches!(
            self.reason(),
            Some(Reason::AgentExpired | Reason::AgentNotAttested | Reason::AgentNotActive | Reason::AgentMustReattest)
        )
    }
}
