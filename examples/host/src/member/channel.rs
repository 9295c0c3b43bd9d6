//! The channel to a control plane: TLS, its identity verified by SPIFFE id or by DNS name, ours proven by token.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use mesh_core::live::Live;
use mesh_core::name::{TrustDomain, parse_spiffe_id, parse_trust_domain};
use mesh_identity::bundle::BundleSet;
use mesh_identity::clock::SystemClock;
use mesh_identity::source::TokenSource;
use mesh_identity::tls::Identity;
use mesh_identity::tls::{server_authenticated_client, server_named_client};
use mesh_identity::verify::Expected;
use mesh_transport::socket::Sockets;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tonic::metadata::{Ascii, MetadataKey, MetadataMap, MetadataValue};
use tonic::transport::{Channel, Endpoint, Uri};

use super::roots::Roots;
use super::{Error, Settings};

const ALPN: &[&[u8]] = &[b"h2"];

/// Where a control plane is.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Address {
    host: String,
    port: u16,
    tls: bool,
}

impl Address {
    fn parse(text: &str) -> Result<Self, Error> {
        let bad =
            || format!("`{text}` is no address of a control plane: host:port, https://host:port or http://host:port");
        let (scheme, rest) = text.split_once("://").unwrap_or(("https", text));
        let (host, port) = rest.trim_end_matches('/').rsplit_once(':').ok_or_else(bad)?;
        let tls = match scheme {
            "https" => true,
            "http" => false,
            _ => return Err(bad().into()),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        if host.is_empty() {
            return Err(bad().into());
        }
        Ok(Self { host, port: port.parse().map_err(|_| bad())?, tls })
    }
}

/// Bytes to a control plane, with TLS or without.
trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}
impl<T: AsyncRead + AsyncWrite + Unpin + Send> Stream for T {}

/// A gRPC channel. Connects when it is used, and again when it breaks.
pub(super) fn channel(
    address: &str,
    settings: &Settings,
    trusted: Live<BundleSet>,
    roots: &Roots,
    identity: Option<&Identity>,
) -> Result<Channel, Error> {
    let (address, sockets) = (Address::parse(address)?, settings.sockets.clone());
    let tls = if address.tls { Some(Verify::new(settings, trusted, roots, identity)?) } else { None };
    let uri = format!("http://{}:{}", settings.control_plane_name.as_deref().unwrap_or("control-plane"), address.port);
    let connect = tower::service_fn(move |_: Uri| {
        let (address, tls, sockets) = (address.clone(), tls.clone(), sockets.clone());
        async move {
            let tcp = first_that_answers(&address, &sockets).await?;
            let stream: Box<dyn Stream> = match tls {
                Some(verify) => {
                    let (config, name) = verify.config().map_err(std::io::Error::other)?;
                    Box::new(TlsConnector::from(config).connect(name, tcp).await?)
                }
                None => Box::new(tcp),
            };
            Ok::<_, std::io::Error>(TokioIo::new(stream))
        }
    });
    let endpoint = Endpoint::from_shared(uri)?
        .http2_keep_alive_interval(Duration::from_secs(30))
        .keep_alive_timeout(Duration::from_secs(10))
        .keep_alive_while_idle(true)
        .initial_stream_window_size(1024 * 1024)
        .initial_connection_window_size(4 * 1024 * 1024);
    Ok(endpoint.connect_with_connector_lazy(connect))
}

/// Whether a control plane is shown the certificate of who connects: over TLS, where it is known by its SPIFFE id.
pub(super) fn shows_certificate(address: &str, settings: &Settings) -> Result<bool, Error> {
    Ok(Address::parse(address)?.tls && settings.control_plane_name.is_none())
}

/// Looked up anew for each connection: a control plane moves.
async fn first_that_answers(address: &Address, sockets: &Sockets) -> std::io::Result<tokio::net::TcpStream> {
    let mut last = std::io::Error::from(std::io::ErrorKind::NotFound);
    let found: Vec<SocketAddr> = tokio::net::lookup_host((address.host.as_str(), address.port)).await?.collect();
    for to in found {
        match sockets.connect(to).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// How the certificate of a control plane is verified.
#[derive(Clone)]
enum Verify {
    /// By its SPIFFE id. The verifier itself follows what is trusted.
    Id(Arc<ClientConfig>, ServerName<'static>),
    /// By its DNS name, with the roots of the first contact and those that were learned since: whichever of them is
    /// exchanged first, the other leads to the control plane.
    Name { name: ServerName<'static>, domain: TrustDomain, trusted: Live<BundleSet>, roots: Roots },
}

impl Verify {
    fn new(
        settings: &Settings,
        trusted: Live<BundleSet>,
        roots: &Roots,
        identity: Option<&Identity>,
    ) -> Result<Self, Error> {
        if let Some(name) = &settings.control_plane_name {
            let domain = parse_trust_domain(&settings.trust_domain)?;
            let name = ServerName::try_from(name.clone())?;
            let verify = Self::Name { name, domain, trusted, roots: roots.clone() };
            // What cannot work is refused at start.
            verify.config()?;
            return Ok(verify);
        }
        let id = match &settings.control_plane_id {
            Some(id) => parse_spiffe_id(id)?,
            None => parse_spiffe_id(&format!("spiffe://{}/ns/istio-system/sa/control-plane", settings.trust_domain))?,
        };
        let expected = Expected::Ids(vec![id]);
        let config = match identity {
            Some(identity) => identity.client_config(expected, ALPN)?,
            None => server_authenticated_client(trusted, expected, Arc::new(SystemClock), ALPN)?,
        };
        // The name is ignored by our verifier and not sent; rustls wants one.
        Ok(Self::Id(config, ServerName::try_from("control-plane")?))
    }

    /// The configuration of the next connection.
    fn config(&self) -> Result<(Arc<ClientConfig>, ServerName<'static>), mesh_identity::tls::Error> {
        match self {
            Self::Id(config, name) => Ok((Arc::clone(config), name.clone())),
            Self::Name { name, domain, trusted, roots } => {
                let mut all = roots.text();
                if let Some(learned) = trusted.load().get(domain) {
                    all.push(b'\n');
                    all.extend_from_slice(learned.to_pem().as_bytes());
                }
                Ok((server_named_client(&all, ALPN)?, name.clone()))
            }
        }
    }
}

/// The headers of every call: who we are, as of now.
pub(super) fn headers(settings: &Settings, token: Option<&TokenSource>) -> Result<MetadataMap, Error> {
    let mut metadata = MetadataMap::new();
    if let Some(token) = token {
        metadata.insert("authorization", authorization(token)?);
    }
    metadata.insert("clusterid", settings.cluster_id.parse()?);
    for (name, value) in &settings.control_plane_headers {
        metadata.insert(MetadataKey::<Ascii>::from_bytes(name.as_bytes())?, value.parse()?);
    }
    Ok(metadata)
}

/// The header that proves who we are. An empty file proves nothing, though it may be a token to a careless issuer.
pub(super) fn authorization(token: &TokenSource) -> Result<MetadataValue<Ascii>, Error> {
    let value = token.authorization()?;
    if value.to_str().is_ok_and(|value| value.trim() == "Bearer") {
        return Err("the token file is empty".into());
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let at = |host: &str, port, tls| Address { host: host.to_owned(), port, tls };
        assert_eq!(
            Address::parse("https://istiod.istio-system.svc:15012").unwrap(),
            at("istiod.istio-system.svc", 15012, true)
        );
        assert_eq!(Address::parse("127.0.0.1:15012").unwrap(), at("127.0.0.1", 15012, true));
        assert_eq!(Address::parse("http://[::1]:15010").unwrap(), at("::1", 15010, false));
        for bad in ["", "istiod", "ftp://a:1", "a:b", ":1"] {
            assert!(Address::parse(bad).unwrap_err().to_string().contains("host:port"), "{bad}");
        }
    }
    #[test]
    fn an_empty_token_is_not_sent() {
        let header = |token: &str| authorization(&TokenSource::Fixed(token.to_owned()));
        for empty in ["", "\n", "  "] {
            assert_eq!(header(empty).unwrap_err().to_string(), "the token file is empty");
        }
        assert_eq!(header("secret\n").unwrap().to_str().unwrap(), "Bearer secret");
    }

    /// Serves TLS by certificates that are handed in, one per connection; says whether the client believed it.
    async fn believed(channel: &Verify, leaf: &mesh_test_support::pki::Leaf) -> bool {
        let (near, far) = tokio::io::duplex(64 * 1024);
        let (config, name) = channel.config().unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let server = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(leaf.chain.clone(), leaf.key.clone_key())
            .unwrap();
        let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(server));
        tokio::join!(acceptor.accept(far), TlsConnector::from(config).connect(name, near)).1.is_ok()
    }

    #[tokio::test]
    async fn a_control_plane_known_by_name_is_found_again_after_its_roots_were_exchanged() {
        use mesh_core::live::Publisher;
        use mesh_identity::bundle::Bundle;
        use mesh_test_support::pki::{Ca, Spec};
        let domain = parse_trust_domain("cluster.local").unwrap();
        let cas: Vec<Ca> = (0..4).map(|_| Ca::root("cluster.local")).collect();
        let bundle = |ca: &Ca| Bundle::new(domain.clone(), vec![ca.certificate.clone()]).unwrap();
        let spec = Spec { uris: vec![], dns: vec!["istiod.test".to_owned()], ..Spec::new("") };
        let leaves: Vec<_> = cas.iter().map(|ca| ca.leaf(&spec)).collect();
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("root-cert.pem");
        std::fs::write(&file, bundle(&cas[0]).to_pem()).unwrap();
        let settings = Settings { control_plane_name: Some("istiod.test".to_owned()), ..Settings::default() };
        let (publisher, trusted) = Publisher::new(BundleSet::default().with(bundle(&cas[0])));
        let roots = Roots::load(&file).await.unwrap();
        let verify = Verify::new(&settings, trusted, &roots, None).unwrap();
        let believes = async |wanted: [bool; 4]| {
            for (leaf, wanted) in leaves.iter().zip(wanted) {
                assert_eq!(believed(&verify, leaf).await, wanted);
            }
        };
        believes([true, false, false, false]).await;
        publisher.publish(BundleSet::default().with(bundle(&cas[1])));
        believes([true, true, false, false]).await;
        std::fs::write(&file, bundle(&cas[2]).to_pem()).unwrap();
        believes([false, true, true, false]).await;
        std::fs::remove_file(&file).unwrap();
        believes([false, true, true, false]).await;
    }
}
