use std::fmt;
use std::sync::Arc;

use mesh_core::name::{Hostname, Text};
use mesh_core::tls::UpstreamTls;
use rustls::ClientConfig;
use rustls::client::Resumption;
use rustls_pki_types::{DnsName, ServerName};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::credentials::{Credentials, Secrets};
use super::error::{ContextError, HandshakeError};
use super::kept::Kept;
use super::parameters;
use crate::tls::config::time;
use crate::verify::{PeerVerifier, Role};

/// Secures connections to endpoints, as an [`UpstreamTls`] says.
///
/// What it needs is read when it is first needed, and again when secrets have changed.
pub struct Origination {
    tls: UpstreamTls,
    credentials: Credentials,
    made: Kept<Made>,
}

/// The application protocols that are offered on a connection.
#[derive(Debug, Clone, Copy, Default)]
pub struct Offer<'a> {
    /// These, whatever the settings say, unless there are none.
    pub instead: &'a [Text],
    /// These, where the settings name none either.
    pub otherwise: &'a [&'a [u8]],
}

/// With a server name that is sent, and without.
#[derive(Clone)]
struct Made {
    named: Arc<ClientConfig>,
    nameless: Arc<ClientConfig>,
}

impl Origination {
    /// By these settings, with what they name among `credentials`.
    #[must_use]
    pub fn new(tls: UpstreamTls, credentials: Credentials) -> Self {
        Self { tls, credentials, made: Kept::default() }
    }

    /// Whether connections can be secured, as far as that is known without one.
    ///
    /// # Errors
    /// [`ContextError`], if not.
    pub fn ready(&self) -> Result<(), ContextError> {
        self.made().map(drop)
    }

    /// Secures a connection to an endpoint of this host name, if it has one.
    ///
    /// # Errors
    /// [`HandshakeError`]
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection.
    pub async fn connect<I>(&self, io: I, host: &str, offer: &Offer<'_>) -> Result<TlsStream<I>, HandshakeError>
    where
        I: AsyncRead + AsyncWrite + Unpin,
    {
        let Made { named, nameless } = self.made()?;
        let of_endpoint = self.tls.sni_from_endpoint.then(|| DnsName::try_from(host.to_owned()).ok()).flatten();
        let said = || self.tls.sni.as_ref().and_then(|sni| DnsName::try_from(Hostname::as_str(sni).to_owned()).ok());
        let (config, name) = match of_endpoint.or_else(said) {
            Some(name) => (named, name),
            None if self.tls.validate_sni => return Err(HandshakeError::NoServerName),
            // Neither sent nor looked at; rustls wants one.
            None => (nameless, DnsName::try_from_str("nameless").map_err(|_| HandshakeError::NoServerName)?.to_owned()),
        };
        let connector = TlsConnector::from(config);
        let bytes = |protocols: &[Text]| protocols.iter().map(|protocol| protocol.as_str().into()).collect();
        let protocols = match (offer.instead, self.tls.alpn.as_slice()) {
            ([], []) => offer.otherwise.iter().map(|protocol| protocol.to_vec()).collect(),
            ([], settings) => bytes(settings),
            (instead, _) => bytes(instead),
        };
        let secured = connector.with_alpn(protocols).connect(ServerName::DnsName(name), io).await;
        secured.map_err(HandshakeError::of)
    }

    fn made(&self) -> Result<Made, ContextError> {
        self.made.get(&self.credentials, |secrets| self.make(secrets))
    }

    fn make(&self, secrets: &Secrets) -> Result<Made, ContextError> {
        let Self { tls, credentials, .. } = self;
        let rules = credentials.rules(&tls.validation, secrets)?.holding_server_name(tls.validate_sni);
        let provider = Arc::new(parameters::provider(credentials.provider(), &tls.parameters));
        let builder = ClientConfig::builder_with_details(provider, time(credentials.clock()))
            .with_protocol_versions(&parameters::versions(&tls.parameters))?
            .dangerous()
            .with_custom_certificate_verifier(PeerVerifier::judging(rules, Role::Client, false));
        let mut config = match &tls.certificate {
            Some(source) => builder.with_client_cert_resolver(Arc::new(credentials.shown(source, secrets)?)),
            None => builder.with_no_client_auth(),
        };
        config.resumption = Resumption::disabled();
        let mut nameless = config.clone();
        nameless.enable_sni = false;
        Ok(Made { named: Arc::new(config), nameless: Arc::new(nameless) })
    }
}

impl fmt::Debug for Origination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Origination").field("tls", &self.tls).finish_non_exhaustive()
    }
}
