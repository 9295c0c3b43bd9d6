use std::sync::Arc;

use mesh_core::name::Text;
use mesh_core::tls::ValidationError;

/// What a configuration says of TLS cannot be honoured. Its connections are refused.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum ContextError {
    /// A secret is not there, nor is it a name of the workload's own identity.
    #[error("the secret `{0}` is not there")]
    SecretMissing(Text),
    /// A secret is there and is something else.
    #[error("the secret `{name}` holds no {wanted}")]
    SecretKind {
        /// Its name.
        name: Text,
        /// What it should hold.
        wanted: &'static str,
    },
    /// It names no one to believe.
    #[error("the peer cannot be verified")]
    Validation(#[from] ValidationError),
    /// It names a certificate provider, which only clients of gRPC have.
    #[error("the certificate provider `{0}` is not known here")]
    Provider(Text),
    /// A file cannot be read.
    #[error("cannot read `{path}`")]
    File {
        /// The file.
        path: Text,
        /// Why not.
        source: Arc<std::io::Error>,
    },
    /// What should be certificates, a key or revocation lists in PEM is not.
    #[error("{what}: {reason}")]
    Material {
        /// What it should be.
        what: &'static str,
        /// What is wrong with it.
        reason: String,
    },
    /// It asks for something that is not done for peers that are verified by the mesh's own trust.
    #[error("`{0}` is not supported beside the trust of the mesh")]
    Unsupported(&'static str),
    /// rustls refuses the settings.
    #[error("TLS cannot be set up")]
    Tls(#[from] rustls::Error),
}

impl ContextError {
    pub(super) fn material(what: &'static str, reason: impl ToString) -> Self {
        Self::Material { what, reason: reason.to_string() }
    }
}

/// A connection was not secured.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// It cannot be, by what the configuration says.
    #[error(transparent)]
    Context(#[from] ContextError),
    /// The certificate must hold the server name that is sent, and none is.
    #[error("no server name is sent that the certificate could be held to")]
    NoServerName,
    /// The certificate of the peer is not accepted.
    #[error("the peer's certificate is not accepted")]
    Rejected(#[source] crate::verify::Error),
    /// The handshake failed otherwise.
    #[error("the TLS handshake failed")]
    Handshake(#[source] std::io::Error),
}

impl HandshakeError {
    pub(super) fn of(error: std::io::Error) -> Self {
        match crate::verify::rejection(&error) {
            Some(reason) => Self::Rejected(reason.clone()),
            None => Self::Handshake(error),
        }
    }
}
