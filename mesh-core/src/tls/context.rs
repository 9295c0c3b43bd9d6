use super::certificate::CertificateSource;
use super::parameters::Parameters;
use super::validation::ValidationSource;
use crate::name::{Hostname, Text};

/// How a connection to an endpoint is secured. Envoy's `UpstreamTlsContext`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpstreamTls {
    /// What may be agreed on.
    pub parameters: Parameters,
    /// What we prove ourselves with, if the server asks.
    pub certificate: Option<CertificateSource>,
    /// How the server is verified.
    pub validation: ValidationSource,
    /// Application protocols, best first; empty for none.
    pub alpn: Vec<Text>,
    /// The server name that is sent, never a wildcard; `None` for none.
    pub sni: Option<Hostname>,
    /// Whether the endpoint's host name is sent instead, where it has one.
    pub sni_from_endpoint: bool,
    /// Whether the certificate must hold the server name that is sent, in place of [`Validation::names`]. A connection
    /// that sends no name is then refused.
    ///
    /// [`Validation::names`]: super::Validation::names
    pub validate_sni: bool,
    /// Most sessions that are kept to be resumed; 0 for none.
    pub max_sessions: u32,
}

impl UpstreamTls {
    /// A connection whose server is verified like this and that asks for nothing else.
    #[must_use]
    pub fn new(validation: ValidationSource) -> Self {
        Self {
            parameters: Parameters::default(),
            certificate: None,
            validation,
            alpn: Vec::new(),
            sni: None,
            sni_from_endpoint: false,
            validate_sni: false,
            max_sessions: 1,
        }
    }

    /// The secrets that must be there first.
    pub fn secrets(&self) -> impl Iterator<Item = &Text> {
        self.certificate.iter().filter_map(CertificateSource::secret).chain(self.validation.secret())
    }
}

/// How a connection that is accepted is secured. Envoy's `DownstreamTlsContext`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DownstreamTls {
    /// What may be agreed on.
    pub parameters: Parameters,
    /// What we prove ourselves with, at least one; the one that fits the client is taken, else the first.
    pub certificates: Vec<CertificateSource>,
    /// Whether and how the client is verified.
    pub client: ClientCertificate,
    /// Application protocols, best first; empty for none.
    pub alpn: Vec<Text>,
    /// Whether a client that sends no server name is refused.
    pub require_sni: bool,
    /// Whether sessions are kept to be resumed.
    pub stateful_resumption: bool,
    /// Whether clients are given tickets to resume their sessions with.
    pub stateless_resumption: bool,
}

impl DownstreamTls {
    /// A connection with these certificates; clients need none.
    #[must_use]
    pub fn new(certificates: Vec<CertificateSource>) -> Self {
        Self {
            parameters: Parameters::default(),
            certificates,
            client: ClientCertificate::NotAsked,
            alpn: Vec::new(),
            require_sni: false,
            stateful_resumption: true,
            stateless_resumption: true,
        }
    }

    /// The secrets that must be there first.
    pub fn secrets(&self) -> impl Iterator<Item = &Text> {
        let validation = match &self.client {
            ClientCertificate::NotAsked => None,
            ClientCertificate::Optional(validation) | ClientCertificate::Required(validation) => validation.secret(),
        };
        self.certificates.iter().filter_map(CertificateSource::secret).chain(validation)
    }
}

/// Whether a client must prove itself. One that proves itself is always verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClientCertificate {
    /// It is not asked to.
    NotAsked,
    /// It may.
    Optional(ValidationSource),
    /// It must.
    Required(ValidationSource),
}
