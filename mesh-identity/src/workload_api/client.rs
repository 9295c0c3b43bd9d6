use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use hyper_util::rt::TokioIo;
use mesh_core::name::{SpiffeId, parse_spiffe_id};
use tokio::net::{TcpStream, UnixStream};
use tonic::metadata::MetadataValue;
use tonic::transport::{Channel, Uri};
use tonic::{Code, Request, Status, Streaming};

use super::SECURITY_HEADER;
use super::endpoint::Endpoint;
use super::source::{Message, WorkloadSource};
use crate::bundle::{self, BundleSet};
use crate::clock::Clock;
use crate::proto::workload::spiffe_workload_api_client::SpiffeWorkloadApiClient;
use crate::proto::workload::{
    JwtBundlesRequest, JwtBundlesResponse, JwtsvidRequest, ValidateJwtsvidRequest, X509svidRequest,
};
use crate::svid::{self, JwtSvid};
use crate::verify::{Audiences, JwtError};

/// Largest message that is taken, in bytes: gRPC's usual limit.
const MAX_MESSAGE: usize = 4 * 1024 * 1024;

/// Deadline of a call that gives one answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A client of a Workload API. Connects when it is used, and again when the connection is lost. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    channel: Channel,
}

/// A Workload API could not be used, or gave what cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The server refused, or could not be reached.
    #[error("the Workload API answered {}: {}", status.code(), status.message())]
    Status {
        /// What it answered.
        status: Box<Status>,
    },
    /// A field that must not be empty is.
    #[error("field `{0}` of the answer is empty")]
    Empty(&'static str),
    /// Not a SPIFFE ID.
    #[error("the answer holds a name that is no SPIFFE ID")]
    Name(#[source] mesh_core::name::Error),
    /// An SVID that cannot be used.
    #[error("the SVID of `{id}` cannot be used")]
    Svid {
        /// For whom it should be.
        id: String,
        /// Why.
        source: svid::Error,
    },
    /// An SVID for somebody else than the answer says.
    #[error("the answer says `{said}`, its certificate `{certified}`")]
    OtherIdentity {
        /// What the answer says.
        said: String,
        /// What the certificate says.
        certified: String,
    },
    /// An SVID that the bundle beside it does not verify.
    #[error("the SVID does not verify against the bundle that came with it")]
    Verify(#[source] crate::verify::Error),
    /// A bundle that cannot be used.
    #[error("the bundle of `{trust_domain}` cannot be used")]
    Bundle {
        /// Of whom.
        trust_domain: String,
        /// Why.
        source: bundle::Error,
    },
    /// A bundle of JWT authorities that cannot be used.
    #[error("the JWT bundle of `{trust_domain}` cannot be used")]
    JwtBundle {
        /// Of whom.
        trust_domain: String,
        /// Why.
        source: bundle::DocumentError,
    },
    /// A revocation list that cannot be used.
    #[error("a revocation list cannot be used")]
    Revocation(#[source] bundle::RevocationError),
    /// A trust domain that is named twice, in two spellings.
    #[error("trust domain `{0}` is named twice")]
    Twice(String),
    /// A token that does not verify.
    #[error("the token cannot be used")]
    Token(#[source] JwtError),
}

impl From<Status> for ClientError {
    fn from(status: Status) -> Self {
        Self::Status { status: Box::new(status) }
    }
}

impl ClientError {
    /// The status that the server answered, if that is what went wrong.
    #[must_use]
    pub fn code(&self) -> Option<Code> {
        match self {
            Self::Status { status } => Some(status.code()),
            _ => None,
        }
    }

    /// Whether it makes no sense to try again (SPIFFE Workload Endpoint, appendix A).
    #[must_use]
    pub fn is_final(&self) -> bool {
        matches!(self.code(), Some(Code::InvalidArgument | Code::Unimplemented))
    }
}

impl Client {
    /// A client of the Workload API at an endpoint.
    #[must_use]
    pub fn connect(endpoint: &Endpoint) -> Self {
        // The URI is not used but for the authority of requests: an address with a zone would make none.
        let uri = tonic::transport::Endpoint::from_static("http://localhost");
        let channel = match endpoint {
            Endpoint::Unix(path) => {
                let path: Arc<PathBuf> = Arc::new(path.clone());
                uri.connect_with_connector_lazy(tower::service_fn(move |_: Uri| {
                    let path = Arc::clone(&path);
                    async move { UnixStream::connect(&*path).await.map(TokioIo::new) }
                }))
            }
            Endpoint::Tcp(address) => {
                let address = *address;
                uri.connect_with_connector_lazy(tower::service_fn(move |_: Uri| async move {
                    let stream = TcpStream::connect(address).await?;
                    stream.set_nodelay(true)?;
                    std::io::Result::Ok(TokioIo::new(stream))
                }))
            }
        };
        Self { channel }
    }

    /// A source that follows the X.509-SVIDs, bundles and JWT authorities of this process.
    #[must_use]
    pub fn source(self, clock: Arc<dyn Clock>) -> WorkloadSource {
        WorkloadSource::start(self, clock)
    }

    fn stub(&self) -> SpiffeWorkloadApiClient<Channel> {
        SpiffeWorkloadApiClient::new(self.channel.clone()).max_decoding_message_size(MAX_MESSAGE)
    }

    /// X.509-SVIDs and bundles of this process, again with every change.
    ///
    /// # Errors
    /// [`ClientError::Status`].
    pub async fn x509(&self) -> Result<X509Stream, ClientError> {
        let answer = self.stub().fetch_x509svid(request(X509svidRequest {})).await?;
        Ok(X509Stream { inner: answer.into_inner() })
    }

    pub(super) async fn jwt_bundles(&self) -> Result<Streaming<JwtBundlesResponse>, ClientError> {
        Ok(self.stub().fetch_jwt_bundles(request(JwtBundlesRequest {})).await?.into_inner())
    }

    /// A token of this process for an audience, and of one of its identities where it has several.
    ///
    /// The token is verified against `bundles` before it is given out.
    ///
    /// # Errors
    /// [`ClientError`] of the server, and for a token that does not verify.
    pub async fn jwt(
        &self,
        audience: &[String],
        id: Option<&SpiffeId>,
        bundles: &BundleSet,
        clock: &dyn Clock,
    ) -> Result<JwtSvid, ClientError> {
        let spiffe_id = id.map(ToString::to_string).unwrap_or_default();
        let mut asking = request(JwtsvidRequest { audience: audience.to_vec(), spiffe_id });
        asking.set_timeout(TIMEOUT);
        let answer = self.stub().fetch_jwtsvid(asking).await?.into_inner();
        let first = answer.svids.first().ok_or(ClientError::Empty("svids"))?;
        let audiences = Audiences::new(audience.iter().cloned()).map_err(ClientError::Token)?;
        let token = crate::verify::jwt(&first.svid, bundles, &audiences, clock.now()).map_err(ClientError::Token)?;
        if first.spiffe_id != token.id().to_string() {
            let said = first.spiffe_id.clone();
            return Err(ClientError::OtherIdentity { said, certified: token.id().to_string() });
        }
        Ok(token)
    }

    /// Lets the server verify a token for an audience: gives its subject.
    ///
    /// # Errors
    /// [`ClientError::Status`]; `INVALID_ARGUMENT` for a token that does not verify.
    pub async fn validate_jwt(&self, audience: &str, token: &str) -> Result<SpiffeId, ClientError> {
        let mut asking = request(ValidateJwtsvidRequest { audience: audience.to_owned(), svid: token.to_owned() });
        asking.set_timeout(TIMEOUT);
        let answer = self.stub().validate_jwtsvid(asking).await?.into_inner();
        parse_spiffe_id(&answer.spiffe_id).map_err(ClientError::Name)
    }
}

/// X.509-SVIDs and bundles as they change.
pub struct X509Stream {
    inner: Streaming<crate::proto::workload::X509svidResponse>,
}

impl X509Stream {
    /// The next message, whole and checked.
    ///
    /// # Errors
    /// [`ClientError`]: of the server, when the stream is then over; or for a message that cannot be used, when the next
    /// one may be better.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn next(&mut self, clock: &dyn Clock) -> Option<Result<Message, ClientError>> {
        match self.inner.message().await {
            Ok(Some(message)) => Some(Message::check(message, clock.now())),
            Ok(None) => None,
            Err(status) => Some(Err(status.into())),
        }
    }
}

impl fmt::Debug for X509Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("X509Stream")
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Client")
    }
}

fn request<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert(SECURITY_HEADER, MetadataValue::from_static("true"));
    request
}
