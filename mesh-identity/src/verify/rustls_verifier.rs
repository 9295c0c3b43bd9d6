use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use mesh_core::live::Live;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{verify_tls12_signature, verify_tls13_signature};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, OtherError, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};

use super::{Error, Expected, Purpose, chain};
use crate::bundle::BundleSet;
use crate::crypto::provider;

/// rustls' verifier of clients and of servers over live bundles: what is trusted is read anew in every handshake.
pub struct PeerVerifier {
    judge: Box<dyn Judge>,
    role: Role,
    optional: bool,
}

/// Decides about the certificates that a peer presented.
pub(crate) trait Judge: fmt::Debug + Send + Sync {
    /// Whether they are good. `server_name` is what a client asked for.
    fn judge(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: Option<&ServerName<'_>>,
        purpose: Purpose,
        now: SystemTime,
    ) -> Result<(), Error>;
}

/// Members of trusted trust domains, as far as they are expected.
#[derive(Debug)]
struct Members {
    bundles: Live<BundleSet>,
    expected: Expected,
}

impl Judge for Members {
    fn judge(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _server_name: Option<&ServerName<'_>>,
        purpose: Purpose,
        now: SystemTime,
    ) -> Result<(), Error> {
        self.expected.check(&chain(end_entity, intermediates, &self.bundles.load(), purpose, now)?)
    }
}

/// On which side of a handshake a verifier stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It verifies servers.
    Client,
    /// It verifies clients.
    Server,
}

impl PeerVerifier {
    /// A verifier that accepts `expected` peers with a chain to a bundle of their own trust domain.
    #[must_use]
    pub fn new(bundles: Live<BundleSet>, expected: Expected, role: Role) -> Arc<Self> {
        Self::judging(Members { bundles, expected }, role, false)
    }

    /// A server's verifier that also lets in who presents no certificate; one that is presented must be good.
    pub(crate) fn optional(bundles: Live<BundleSet>) -> Arc<Self> {
        Self::judging(Members { bundles, expected: Expected::Anyone }, Role::Server, true)
    }

    /// A verifier by other rules. If it is `optional`, clients may present nothing.
    pub(crate) fn judging(judge: impl Judge + 'static, role: Role, optional: bool) -> Arc<Self> {
        Arc::new(Self { judge: Box::new(judge), role, optional })
    }

    fn verify(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: Option<&ServerName<'_>>,
        now: UnixTime,
    ) -> Result<(), rustls::Error> {
        let purpose = match self.role {
            Role::Client => Purpose::Server,
            Role::Server => Purpose::Client,
        };
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(now.as_secs());
        self.judge.judge(end_entity, intermediates, server_name, purpose, now).map_err(to_rustls)
    }
}

/// Our own reason inside the error of a failed handshake, if it failed because of the peer's certificate.
///
/// rustls prints what an application's verifier said in debugging form; this gives it back as it was.
#[must_use]
pub fn rejection<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a Error> {
    match certificate_error(error)? {
        CertificateError::Other(OtherError(reason)) => reason.downcast_ref(),
        _ => None,
    }
}

/// Whether a handshake failed because the peer's certificate was revoked.
#[must_use]
pub fn is_revoked(error: &(dyn std::error::Error + 'static)) -> bool {
    matches!(certificate_error(error), Some(CertificateError::Revoked))
}

fn certificate_error<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a CertificateError> {
    let mut next = Some(error);
    while let Some(error) = next {
        // An `io::Error` hides what it wraps from `source`, which gives the source of the wrapped.
        let inner = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
        let inner = inner.map_or(error, |inner| inner);
        if let Some(rustls::Error::InvalidCertificate(reason)) = inner.downcast_ref() {
            return Some(reason);
        }
        next = inner.source();
    }
    None
}

/// The alert that tells the peer most, while the error keeps our own reason in its source chain where rustls can carry
/// it.
fn to_rustls(error: Error) -> rustls::Error {
    let certificate = match error {
        Error::Expired(_) => CertificateError::Expired,
        Error::NotValidYet(_) => CertificateError::NotValidYet,
        Error::Revoked(_) => CertificateError::Revoked,
        other => CertificateError::Other(OtherError(Arc::new(other))),
    };
    rustls::Error::InvalidCertificate(certificate)
}

impl ServerCertVerifier for PeerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        self.verify(end_entity, intermediates, Some(server_name), now).map(|()| ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, cert, dss, &provider().signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, cert, dss, &provider().signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        provider().signature_verification_algorithms.supported_schemes()
    }
}

impl ClientCertVerifier for PeerVerifier {
    fn client_auth_mandatory(&self) -> bool {
        !self.optional
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        // The hint would have to be fixed when the configuration is made, and tells every caller whom we trust.
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, rustls::Error> {
        self.verify(end_entity, intermediates, None, now).map(|()| ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        ServerCertVerifier::verify_tls12_signature(self, message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        ServerCertVerifier::verify_tls13_signature(self, message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ServerCertVerifier::supported_verify_schemes(self)
    }
}

impl fmt::Debug for PeerVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PeerVerifier").field("judge", &self.judge).field("role", &self.role).finish()
    }
}
