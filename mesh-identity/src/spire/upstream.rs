use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mesh_core::report::chain;
use rcgen::{CertificateParams, DistinguishedName, KeyPair};
use rustls_pki_types::CertificateDer;
use tonic::{Request, Status};

use super::SERVER_PATH;
use super::client::channel;
use crate::proto::spire::api::server::svid::v1::NewDownstreamX509caRequest;
use crate::proto::spire::api::server::svid::v1::svid_client::SvidClient;
use crate::source::rotate::Schedule;
use crate::tls::{self, Identity};
use crate::verify::Expected;
use crate::{file, pem, svid};

/// Deadline of one call.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Longest sleep between two looks at the wall clock.
const MAX_SLEEP: Duration = Duration::from_secs(30);

/// A signing certificate below a SPIRE server's (`NewDownstreamX509CA`), kept fresh in a directory in the layout of Istio's
/// `cacerts`. An [`Authority`](crate::authority::Authority) that is opened there follows it.
///
/// The caller must be a workload that the server has a downstream entry for.
pub struct UpstreamAuthority {
    server: String,
    caller: Identity,
    directory: PathBuf,
    life: Duration,
}

impl UpstreamAuthority {
    /// Asks a server as a caller, and writes to a directory. `life` is asked for; the server decides.
    #[must_use]
    pub fn new(server: impl Into<String>, caller: Identity, directory: &Path, life: Duration) -> Self {
        Self { server: server.into(), caller, directory: directory.to_owned(), life }
    }

    /// Gets a new signing certificate, with a new key, and replaces the files.
    ///
    /// # Errors
    /// [`UpstreamError`]; the files then stay as they were.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn renew(&self) -> Result<(), UpstreamError> {
        self.fetch().await.map(|_| ())
    }

    async fn fetch(&self) -> Result<(std::time::SystemTime, std::time::SystemTime), UpstreamError> {
        let key = KeyPair::generate().map_err(UpstreamError::Request)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        let csr = params.serialize_request(&key).map_err(UpstreamError::Request)?.der().to_vec();
        let domain = self.caller.id().trust_domain();
        let server = mesh_core::name::parse_spiffe_id(&format!("spiffe://{domain}{SERVER_PATH}"));
        let server = server.map_err(|_| UpstreamError::Answer("no server in this trust domain"))?;
        let config = self.caller.client_config(Expected::Ids(vec![server]), &[b"h2"])?;
        let channel = channel(&self.server, config);
        let channel = channel.map_err(|_| UpstreamError::Answer("the address is no host with a port"))?;
        let preferred_ttl = i32::try_from(self.life.as_secs()).unwrap_or(i32::MAX);
        let mut asked = Request::new(NewDownstreamX509caRequest { csr, preferred_ttl });
        asked.set_timeout(TIMEOUT);
        let answer = SvidClient::new(channel).new_downstream_x509ca(asked).await?.into_inner();

        let certificates: Vec<CertificateDer<'static>> =
            answer.ca_cert_chain.into_iter().map(CertificateDer::from).collect();
        let first = certificates.first().ok_or(UpstreamError::Answer("no certificate"))?;
        let parsed = svid::parse(first).map_err(UpstreamError::Certificate)?;
        svid::signing(&parsed).map_err(UpstreamError::Certificate)?;
        if parsed.public_key().subject_public_key.data != rcgen::PublicKeyData::der_bytes(&key) {
            return Err(UpstreamError::Answer("a certificate for another key"));
        }
        let validity = svid::validity(&parsed).map_err(UpstreamError::Certificate)?;
        if answer.x509_authorities.is_empty() {
            return Err(UpstreamError::Answer("no roots"));
        }
        let text = |ders: &mut dyn Iterator<Item = &[u8]>| -> String {
            ders.map(|der| pem::encode("CERTIFICATE", der)).collect()
        };
        file::private_directory(&self.directory)?;
        let write =
            |name: &str, content: &str, mode| file::replace(&self.directory.join(name), content.as_bytes(), mode);
        // The key goes last: files that do not belong together are refused by whoever reads them meanwhile.
        write("root-cert.pem", &text(&mut answer.x509_authorities.iter().map(|der| &der[..])), file::Mode::Public)?;
        write("cert-chain.pem", &text(&mut certificates.iter().map(|der| der.as_ref())), file::Mode::Public)?;
        write("ca-cert.pem", &text(&mut std::iter::once(first.as_ref())), file::Mode::Public)?;
        write("ca-key.pem", &pem::encode("PRIVATE KEY", &key.serialize_der()), file::Mode::Private)?;
        Ok(validity)
    }

    /// Renews at half of the certificate's life, for ever.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn keep(self) {
        let mut schedule = Schedule::default();
        loop {
            let now = self.caller.now();
            if schedule.poll_wait(now).is_zero() {
                match self.fetch().await {
                    Ok((begin, end)) => schedule.handle_issued(begin.max(now), end, fastrand::f64()),
                    Err(error) => {
                        tracing::error!(server = self.server, error = chain(&error), "no new signing certificate");
                        schedule.handle_failure(now);
                    }
                }
            }
            tokio::time::sleep(schedule.poll_wait(self.caller.now()).clamp(Duration::from_secs(1), MAX_SLEEP)).await;
        }
    }
}

impl fmt::Debug for UpstreamAuthority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("UpstreamAuthority").field("server", &self.server).field("caller", &self.caller).finish()
    }
}

/// No signing certificate could be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum UpstreamError {
    /// The server refused, or could not be reached.
    #[error("the SPIRE server answered {}: {}", status.code(), status.message())]
    Status {
        /// What it answered.
        status: Box<Status>,
    },
    /// The answer makes no sense.
    #[error("the SPIRE server's answer cannot be used: {0}")]
    Answer(&'static str),
    /// A key or a request could not be made.
    #[error("cannot make a certificate request")]
    Request(#[source] rcgen::Error),
    /// What was issued may not sign.
    #[error("what was issued may not sign")]
    Certificate(#[source] svid::Error),
    /// A file could not be written.
    #[error("the authority's files")]
    File(#[from] file::Error),
    /// TLS cannot be set up.
    #[error("TLS to the SPIRE server")]
    Tls(#[from] tls::Error),
}

impl From<Status> for UpstreamError {
    fn from(status: Status) -> Self {
        Self::Status { status: Box::new(status) }
    }
}
