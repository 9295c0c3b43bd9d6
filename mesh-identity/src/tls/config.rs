use std::sync::Arc;

use mesh_core::live::Live;
use rustls::client::{Resumption, WantsClientCert};
use rustls::crypto::CryptoProvider;
use rustls::server::{NoServerSessionStorage, WantsServerCert};
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, ConfigBuilder, ServerConfig};
use rustls_pki_types::UnixTime;
use rustls_pki_types::pem::PemObject;

use super::resolver::Resolver;
use super::{Error, Identity};
use crate::bundle::BundleSet;
use crate::clock::Clock;
use crate::crypto::{provider, web_provider};
use crate::verify::{Expected, PeerVerifier, Role};

/// A client configuration that presents no certificate and accepts only `expected` servers: how a node reaches a control
/// plane before it has an identity.
///
/// # Errors
/// [`Error`] when rustls refuses the settings.
pub fn server_authenticated_client(
    bundles: Live<BundleSet>,
    expected: Expected,
    clock: Arc<dyn Clock>,
    alpn: &[&[u8]],
) -> Result<Arc<ClientConfig>, Error> {
    let config = client_builder(provider(), bundles, expected, clock)?.with_no_client_auth();
    Ok(finish_client(config, alpn))
}

pub(super) fn client(identity: &Identity, expected: Expected, alpn: &[&[u8]]) -> Result<Arc<ClientConfig>, Error> {
    let builder = client_builder(identity.provider(), identity.bundles().clone(), expected, identity.clock())?;
    Ok(finish_client(builder.with_client_cert_resolver(Arc::new(Resolver(identity.clone()))), alpn))
}

pub(super) fn server(identity: &Identity, alpn: &[&[u8]]) -> Result<Arc<ServerConfig>, Error> {
    let verifier = PeerVerifier::new(identity.bundles().clone(), Expected::Anyone, Role::Server);
    let builder = ServerConfig::builder_with_details(identity.provider(), time(identity.clock()))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(verifier);
    Ok(finish_server(builder, identity, alpn))
}

pub(super) fn server_with_optional_client_certificates(
    identity: &Identity,
    alpn: &[&[u8]],
) -> Result<Arc<ServerConfig>, Error> {
    let verifier = PeerVerifier::optional(identity.bundles().clone());
    let builder = ServerConfig::builder_with_details(identity.provider(), time(identity.clock()))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_client_cert_verifier(verifier);
    Ok(finish_server(builder, identity, alpn))
}

pub(super) fn server_without_client_certificates(
    identity: &Identity,
    alpn: &[&[u8]],
) -> Result<Arc<ServerConfig>, Error> {
    let builder = ServerConfig::builder_with_details(identity.provider(), time(identity.clock()))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .with_no_client_auth();
    Ok(finish_server(builder, identity, alpn))
}

fn client_builder(
    provider: Arc<CryptoProvider>,
    bundles: Live<BundleSet>,
    expected: Expected,
    clock: Arc<dyn Clock>,
) -> Result<ConfigBuilder<ClientConfig, WantsClientCert>, Error> {
    let verifier = PeerVerifier::new(bundles, expected, Role::Client);
    Ok(ClientConfig::builder_with_details(provider, time(clock))
        .with_protocol_versions(&[&rustls::version::TLS13])?
        .dangerous()
        .with_custom_certificate_verifier(verifier))
}

fn finish_client(mut config: ClientConfig, alpn: &[&[u8]]) -> Arc<ClientConfig> {
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    config.enable_sni = false;
    config.resumption = Resumption::disabled();
    Arc::new(config)
}

fn finish_server(
    builder: ConfigBuilder<ServerConfig, WantsServerCert>,
    identity: &Identity,
    alpn: &[&[u8]],
) -> Arc<ServerConfig> {
    let mut config = builder.with_cert_resolver(Arc::new(Resolver(identity.clone())));
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Arc::new(config)
}

/// rustls asks our clock, so that handshakes and decisions judge by one time.
#[derive(Debug)]
struct Time(Arc<dyn Clock>);

impl TimeProvider for Time {
    fn current_time(&self) -> Option<UnixTime> {
        self.0.now().duration_since(std::time::SystemTime::UNIX_EPOCH).ok().map(UnixTime::since_unix_epoch)
    }
}

pub(super) fn time(clock: Arc<dyn Clock>) -> Arc<dyn TimeProvider> {
    Arc::new(Time(clock))
}

/// A server configuration of the Web: a certificate for its host and the key, in one PEM text, and no word about clients.
///
/// # Errors
/// [`Error`] when one of both is absent or they do not belong together.
pub fn named_server(pem: &[u8], alpn: &[&[u8]]) -> Result<Arc<ServerConfig>, Error> {
    let chain = rustls_pki_types::CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
    let chain = chain.map_err(|_| rustls::Error::General("the certificate is not PEM".to_owned()))?;
    let key = rustls_pki_types::PrivateKeyDer::from_pem_slice(pem);
    let key = key.map_err(|_| rustls::Error::General("no private key in the text".to_owned()))?;
    let mut config = ServerConfig::builder_with_provider(web_provider())
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .with_no_client_auth()
        .with_single_cert(chain, key)?;
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    Ok(Arc::new(config))
}

/// A client configuration that presents no certificate and accepts servers by their DNS name, as the Web does, with a chain
/// to one of `roots` (PEM): how a node reaches a control plane that has no SPIFFE id.
///
/// # Errors
/// [`Error`] when there is no root in the text or rustls refuses the settings.
pub fn server_named_client(roots: &[u8], alpn: &[&[u8]]) -> Result<Arc<ClientConfig>, Error> {
    let mut store = rustls::RootCertStore::empty();
    let certificates = rustls_pki_types::CertificateDer::pem_slice_iter(roots);
    store.add_parsable_certificates(certificates.filter_map(Result::ok));
    named(store, alpn, "no root certificate in the text")
}

/// As [`server_named_client`], with the roots of the machine.
///
/// # Errors
/// [`Error`] when the machine has none.
pub fn web_client(alpn: &[&[u8]]) -> Result<Arc<ClientConfig>, Error> {
    let mut store = rustls::RootCertStore::empty();
    store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    named(store, alpn, "the machine has no root certificates")
}

fn named(store: rustls::RootCertStore, alpn: &[&[u8]], empty: &str) -> Result<Arc<ClientConfig>, Error> {
    if store.is_empty() {
        return Err(rustls::Error::General(empty.to_owned()).into());
    }
    // The Web still has servers without TLS 1.3.
    let mut config = ClientConfig::builder_with_provider(web_provider())
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .with_root_certificates(store)
        .with_no_client_auth();
    config.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
    config.resumption = Resumption::disabled();
    Ok(Arc::new(config))
}
