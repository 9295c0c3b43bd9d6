use std::fmt;
use std::sync::Arc;

use mesh_core::name::SpiffeId;
use mesh_core::tls::{ClientCertificate, DownstreamTls, San};
use rustls::ServerConfig;
use rustls::server::NoServerSessionStorage;
use rustls_pki_types::CertificateDer;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use x509_parser::certificate::X509Certificate;
use x509_parser::objects::{oid_registry, oid2abbrev};
use x509_parser::prelude::FromDer;
use x509_parser::x509::AttributeTypeAndValue;

use super::credentials::{Credentials, Secrets};
use super::error::{ContextError, HandshakeError};
use super::kept::Kept;
use super::parameters;
use super::rules::Sans;
use super::shown::{Shown, ShownByServer};
use crate::tls::config::time;
use crate::verify::{PeerVerifier, Role};

/// Secures connections that are accepted, as a [`DownstreamTls`] says.
///
/// What it needs is read when it is first needed, and again when secrets have changed.
pub struct Termination {
    tls: DownstreamTls,
    credentials: Credentials,
    made: Kept<Made>,
}

#[derive(Clone)]
struct Made {
    config: Arc<ServerConfig>,
    /// Who we are, if what is shown is the own SVID.
    own: Option<SpiffeId>,
}

/// What a handshake told of the client.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TlsPeer {
    /// The server name that it asked for.
    pub server_name: Option<String>,
    /// The certificates that it showed, all verified, its own first; empty if it showed none.
    pub certificates: Vec<CertificateDer<'static>>,
    /// The URIs in its certificate.
    pub uris: Vec<String>,
    /// The DNS names in its certificate.
    pub dns_names: Vec<String>,
    /// The subject of its certificate, as RFC 2253 writes it; empty without.
    pub subject: String,
    /// Who we are to it, if we showed an SVID of our own.
    pub local: Option<SpiffeId>,
}

impl Termination {
    /// By these settings, with what they name among `credentials`.
    #[must_use]
    pub fn new(tls: DownstreamTls, credentials: Credentials) -> Self {
        Self { tls, credentials, made: Kept::default() }
    }

    /// Whether connections can be secured, as far as that is known without one.
    ///
    /// # Errors
    /// [`ContextError`], if not.
    pub fn ready(&self) -> Result<(), ContextError> {
        self.made().map(drop)
    }

    /// Secures a connection that was accepted.
    ///
    /// # Errors
    /// [`HandshakeError`]
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection.
    pub async fn accept<I>(&self, io: I) -> Result<(TlsStream<I>, TlsPeer), HandshakeError>
    where
        I: AsyncRead + AsyncWrite + Unpin,
    {
        let Made { config, own } = self.made()?;
        let stream = TlsAcceptor::from(config).accept(io).await.map_err(HandshakeError::of)?;
        let (_, session) = stream.get_ref();
        let shown = session.peer_certificates().unwrap_or_default();
        let mut peer = TlsPeer {
            server_name: session.server_name().map(str::to_owned),
            certificates: shown.iter().map(|der| der.clone().into_owned()).collect(),
            local: own,
            ..TlsPeer::default()
        };
        if let Some(Ok((_, leaf))) = shown.first().map(|der| X509Certificate::from_der(der)) {
            peer.subject = subject(&leaf);
            for name in Sans::of(&leaf).all() {
                match name {
                    San::Uri(uri) => peer.uris.push(uri.to_owned()),
                    San::Dns(name) => peer.dns_names.push(name.to_owned()),
                    San::Email(_) | San::Ip(_) => {}
                }
            }
        }
        Ok((stream, peer))
    }

    fn made(&self) -> Result<Made, ContextError> {
        self.made.get(&self.credentials, |secrets| self.make(secrets))
    }

    fn make(&self, secrets: &Secrets) -> Result<Made, ContextError> {
        let Self { tls, credentials, .. } = self;
        let certificates = tls.certificates.iter().map(|source| credentials.shown(source, secrets));
        let certificates = certificates.collect::<Result<Vec<_>, _>>()?;
        let own = certificates.iter().find_map(|shown| match shown {
            Shown::Own(identity) => Some(identity.id().clone()),
            Shown::Fixed { .. } => None,
        });
        let provider = Arc::new(parameters::provider(credentials.provider(), &tls.parameters));
        let builder = ServerConfig::builder_with_details(provider, time(credentials.clock()))
            .with_protocol_versions(&parameters::versions(&tls.parameters))?;
        let verifier = |validation, optional| {
            let rules = credentials.rules(validation, secrets)?;
            Ok::<_, ContextError>(PeerVerifier::judging(rules, Role::Server, optional))
        };
        let builder = match &tls.client {
            ClientCertificate::NotAsked => builder.with_no_client_auth(),
            ClientCertificate::Optional(validation) => builder.with_client_cert_verifier(verifier(validation, true)?),
            ClientCertificate::Required(validation) => builder.with_client_cert_verifier(verifier(validation, false)?),
        };
        let shown = ShownByServer { certificates, require_sni: tls.require_sni };
        let mut config = builder.with_cert_resolver(Arc::new(shown));
        config.alpn_protocols = tls.alpn.iter().map(|protocol| protocol.as_str().into()).collect();
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Made { config: Arc::new(config), own })
    }
}

/// The most specific name first, escaped, as RFC 2253 writes it: what one name holds cannot pass for another.
fn subject(leaf: &X509Certificate<'_>) -> String {
    let of = |attribute: &AttributeTypeAndValue<'_>| {
        let oid = attribute.attr_type();
        let name = oid2abbrev(oid, oid_registry()).map_or_else(|_| oid.to_id_string(), str::to_owned);
        format!("{name}={}", escaped(attribute.as_str().unwrap_or_default()))
    };
    let mut names: Vec<String> =
        leaf.subject().iter_rdn().map(|rdn| rdn.iter().map(of).collect::<Vec<_>>().join("+")).collect();
    names.reverse();
    names.join(",")
}

fn escaped(value: &str) -> String {
    let mut escaped = String::with_capacity(value.len());
    for (at, character) in value.char_indices() {
        let at_end = at == 0 || at + character.len_utf8() == value.len();
        if matches!(character, ',' | '+' | '"' | '\\' | '<' | '>' | ';')
            || (character == '#' && at == 0)
            || (character == ' ' && at_end)
        {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    escaped
}

impl fmt::Debug for Termination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Termination").field("tls", &self.tls).finish_non_exhaustive()
    }
}
