use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use envoy_types::pb::google::protobuf::value::Kind;
use envoy_types::pb::google::protobuf::{Struct, Value};
use mesh_core::name::SpiffeId;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::Channel;

use super::{Error, Fetch, Issued, SvidSource};
use crate::bundle::{Bundle, BundleSet};
use crate::clock::Clock;
use crate::proto::IMPERSONATED_IDENTITY;
use crate::proto::istio_ca::IstioCertificateRequest;
use crate::proto::istio_ca::istio_certificate_service_client::IstioCertificateServiceClient;
use crate::svid::{KeyKind, X509Svid, certificate_request};
use crate::verify::{self, Purpose};
use crate::{file, pem};

/// Deadline of one request.
const TIMEOUT: Duration = Duration::from_secs(10);

/// SVIDs from Istio's certificate service (`istio.v1.auth.IstioCertificateService/CreateCertificate`).
///
/// The key is made here and never leaves: P-256 unless set otherwise, new for every request. The caller proves who it is by a bearer token and
/// names the identity that it wants; the answer is taken only if it is for that identity and verifies against the roots
/// that came with it. Those roots are believed because the channel is: it must be authenticated by the caller.
pub struct CsrSource {
    channel: Channel,
    token: TokenSource,
    life: Duration,
    clock: Arc<dyn Clock>,
    impersonate: bool,
    keys: KeyKind,
}

/// Where the bearer token comes from.
#[derive(Clone)]
#[non_exhaustive]
pub enum TokenSource {
    /// A file, read anew for every request, as its content is rotated by others.
    File(PathBuf),
    /// The token itself.
    Fixed(String),
}

impl TokenSource {
    /// The value of the `authorization` header: `Bearer` and the token as it is now.
    ///
    /// # Errors
    /// [`Error::Token`] when the file cannot be read, [`Error::TokenCharacters`] when no header can carry it.
    pub fn authorization(&self) -> Result<MetadataValue<Ascii>, Error> {
        let token = match self {
            Self::File(path) => {
                let text = file::read(path).map_err(Error::Token)?;
                String::from_utf8(text).map_err(|_| Error::TokenCharacters)?
            }
            Self::Fixed(token) => token.clone(),
        };
        let mut value: MetadataValue<Ascii> =
            format!("Bearer {}", token.trim()).parse().map_err(|_| Error::TokenCharacters)?;
        value.set_sensitive(true);
        Ok(value)
    }
}

impl fmt::Debug for TokenSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => f.debug_tuple("File").field(path).finish(),
            Self::Fixed(_) => f.write_str("Fixed(..)"),
        }
    }
}

impl CsrSource {
    /// A source over a channel to the issuer. `life` is asked for; the issuer decides.
    #[must_use]
    pub fn new(channel: Channel, token: TokenSource, life: Duration, clock: Arc<dyn Clock>) -> Self {
        Self { channel, token, life, clock, impersonate: true, keys: KeyKind::default() }
    }

    /// Names no identity in the request: the issuer gives the caller its own, as to a proxy of a single workload.
    #[must_use]
    pub fn without_impersonation(self) -> Self {
        Self { impersonate: false, ..self }
    }

    /// Makes keys of another kind than P-256.
    #[must_use]
    pub fn keys(self, keys: KeyKind) -> Self {
        Self { keys, ..self }
    }

    async fn request(&self, id: &SpiffeId) -> Result<Issued, Error> {
        let (key, csr) =
            certificate_request(id, self.keys).map_err(|source| Error::Request { id: id.to_string(), source })?;
        let csr = pem::encode("CERTIFICATE REQUEST", &csr);
        let wanted = Value { kind: Some(Kind::StringValue(id.to_string())) };
        let mut request = tonic::Request::new(IstioCertificateRequest {
            csr,
            validity_duration: i64::try_from(self.life.as_secs()).unwrap_or(i64::MAX),
            metadata: self.impersonate.then(|| Struct { fields: [(IMPERSONATED_IDENTITY.to_owned(), wanted)].into() }),
        });
        request.metadata_mut().insert("authorization", self.token.authorization()?);

        let mut client = IstioCertificateServiceClient::new(self.channel.clone());
        let response = tokio::time::timeout(TIMEOUT, client.create_certificate(request))
            .await
            .map_err(|_| Error::Timeout { id: id.to_string(), seconds: TIMEOUT.as_secs() })?
            .map_err(|status| Error::Issuer { id: id.to_string(), status: Box::new(status) })?;
        self.accept(id, key, &response.into_inner().cert_chain)
    }

    /// Takes an answer: leaf first, the last element holds the roots.
    fn accept(&self, id: &SpiffeId, key: PrivateKeyDer<'static>, texts: &[String]) -> Result<Issued, Error> {
        let Some((roots, chain)) = texts.split_last().filter(|(_, chain)| !chain.is_empty()) else {
            return Err(Error::ShortAnswer(texts.len()));
        };
        let malformed = |source| Error::Svid { id: id.to_string(), source };
        let mut certificates = Vec::new();
        for text in chain {
            for certificate in CertificateDer::pem_slice_iter(text.as_bytes()) {
                certificates.push(certificate.map_err(|_| malformed(crate::svid::Error::Malformed("not PEM")))?);
            }
        }
        let svid = X509Svid::parse(certificates, key).map_err(malformed)?;
        if svid.id() != id {
            return Err(Error::OtherIdentity { asked: id.to_string(), got: svid.id().to_string() });
        }
        let bundle = Bundle::from_pem(id.trust_domain().clone(), roots.as_bytes()).map_err(Error::Bundle)?;
        let only = BundleSet::default().with(bundle.clone());
        verify::peer(Some(svid.chain()), &only, Purpose::Server, self.clock.now()).map_err(Error::Verify)?;
        Ok(Issued { svid, bundle })
    }
}

impl SvidSource for CsrSource {
    fn fetch<'a>(&'a self, id: &'a SpiffeId) -> Fetch<'a> {
        Box::pin(self.request(id))
    }
}

impl fmt::Debug for CsrSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CsrSource").field("token", &self.token).field("life", &self.life).finish_non_exhaustive()
    }
}
