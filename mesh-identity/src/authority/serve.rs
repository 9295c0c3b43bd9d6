use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use envoy_types::pb::google::protobuf::value::Kind;
use mesh_core::name::{SpiffeId, parse_spiffe_id};
use tonic::{Code, Request, Response, Status};

use super::{Authority, Error, Names, RateLimit, audit};
use crate::pem;
use crate::proto::IMPERSONATED_IDENTITY;
use crate::proto::istio_ca::istio_certificate_service_server::{
    IstioCertificateService, IstioCertificateServiceServer,
};
use crate::proto::istio_ca::{IstioCertificateRequest, IstioCertificateResponse};

/// Who calls, and for which identities it may act. The authority signs nothing that this does not grant.
pub trait CallerPolicy: fmt::Debug + Send + Sync + 'static {
    /// Decides which identity a caller gets: `wanted` if it may act for it, or its own when it wants none.
    ///
    /// # Errors
    /// [`Refusal`] when the caller is unknown or may not act for `wanted`.
    fn grant(&self, caller: &Caller<'_>, wanted: Option<&SpiffeId>) -> Result<Grant, Refusal>;

    /// Is told what became of each request, for metrics. Does nothing by default.
    fn decided(&self, outcome: Outcome) {
        let _ = outcome;
    }
}

/// What became of a request for a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// It was issued.
    Issued,
    /// Who called did not prove who it is.
    Unauthenticated,
    /// It may not act for the identity.
    Forbidden,
    /// The identity, or who calls, is of another trust domain.
    TrustDomain,
    /// It asks too often.
    TooMany,
    /// The request is malformed, or asks for a life that is not issued.
    Request,
    /// The authority cannot issue.
    Authority,
}

impl Outcome {
    /// The same as a label of a metric.
    #[must_use]
    pub fn label(self) -> &'static str {
        match self {
            Self::Issued => "issued",
            Self::Unauthenticated => "unauthenticated",
            Self::Forbidden => "forbidden",
            Self::TrustDomain => "trust_domain",
            Self::TooMany => "too_many",
            Self::Request => "request",
            Self::Authority => "authority",
        }
    }
}

/// What a policy grants.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grant {
    /// Who calls, by what it has proved, such as the name of its node: its requests are counted by this, and the audit log
    /// has it.
    pub caller: String,
    /// The identity that it gets.
    pub identity: SpiffeId,
}

/// What a call carries that may prove who makes it.
#[derive(Debug)]
pub struct Caller<'a> {
    /// Headers of the call, the bearer token among them.
    pub metadata: &'a tonic::metadata::MetadataMap,
    /// What the listener put there, such as a verified peer.
    pub extensions: &'a tonic::Extensions,
}

/// Why a caller gets nothing. The caller hears one opaque sentence; the audit log has the reason.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// It does not prove who it is.
    #[error("the caller is not authenticated: {0}")]
    Unauthenticated(String),
    /// It is known, and may not act for the identity.
    #[error("`{caller}` may not act for `{wanted}`")]
    Forbidden {
        /// Who calls.
        caller: String,
        /// What it wants.
        wanted: String,
    },
    /// It, or what it may want to be, is of a trust domain for which nothing is issued here.
    #[error("`{caller}` asks for `{wanted}`, and nothing is issued here between trust domains")]
    TrustDomain {
        /// Who calls.
        caller: String,
        /// What it wants.
        wanted: String,
    },
}

/// Istio's certificate service (`istio.v1.auth.IstioCertificateService`) over an authority.
#[derive(Debug)]
pub struct CertificateService {
    authority: Arc<Authority>,
    policy: Arc<dyn CallerPolicy>,
    limit: RateLimit,
}

/// Certificates that one caller may ask for at once, and per second in the long run. A node that starts asks for all its
/// workloads at once; afterwards half of their life lies between two requests.
const BURST: u32 = 1_000;
const PER_SECOND: u32 = 50;

impl CertificateService {
    /// A tonic service. What is issued and what is refused is logged with the target `mesh_identity::audit`.
    #[must_use]
    pub fn server(authority: Arc<Authority>, policy: Arc<dyn CallerPolicy>) -> IstioCertificateServiceServer<Self> {
        IstioCertificateServiceServer::new(Self { authority, policy, limit: RateLimit::new(BURST, PER_SECOND) })
            .max_decoding_message_size(4 * crate::limits::MAX_REQUEST_BYTES)
    }

    fn create(&self, request: &Request<IstioCertificateRequest>) -> Result<IstioCertificateResponse, Status> {
        let wanted = wanted(request.get_ref()).inspect_err(|_| self.policy.decided(Outcome::Request))?;
        let caller = Caller { metadata: request.metadata(), extensions: request.extensions() };
        let Grant { caller, identity } = self.policy.grant(&caller, wanted.as_ref()).map_err(|refusal| {
            tracing::warn!(
                target: "mesh_identity::audit",
                wanted = wanted.as_ref().map(tracing::field::display),
                reason = %refusal,
                "certificate refused"
            );
            let (outcome, told) = match refusal {
                Refusal::Unauthenticated(_) => (Outcome::Unauthenticated, "request authenticate failure"),
                Refusal::Forbidden { .. } => (Outcome::Forbidden, "request impersonation authentication failure"),
                Refusal::TrustDomain { .. } => (Outcome::TrustDomain, "request impersonation authentication failure"),
            };
            self.policy.decided(outcome);
            Status::unauthenticated(told)
        })?;
        if let Err(wait) = self.limit.take(&caller, self.authority.now()) {
            audit::refused("CreateCertificate", &identity, &"too many requests");
            self.policy.decided(Outcome::TooMany);
            return Err(Status::resource_exhausted(format!("too many requests: wait {} ms", wait.as_millis())));
        }
        let asked = request.get_ref().validity_duration;
        let life = u64::try_from(asked).ok().filter(|seconds| *seconds > 0).map(Duration::from_secs);
        let issued = self.authority.issue(&request.get_ref().csr, &identity, life, &Names::default());
        let chain = issued.map_err(|error| {
            audit::refused("CreateCertificate", &identity, &error);
            self.policy.decided(error.outcome());
            Status::new(error.code(), format!("CSR signing error: {error}"))
        })?;
        audit::issued("CreateCertificate", &caller, &identity, &chain);
        self.policy.decided(Outcome::Issued);
        let mut texts: Vec<String> = chain.iter().map(|der| pem::encode("CERTIFICATE", der)).collect();
        texts.push(self.authority.bundle().to_pem());
        Ok(IstioCertificateResponse { cert_chain: texts })
    }
}

/// The identity that a request names, in canonical form.
fn wanted(request: &IstioCertificateRequest) -> Result<Option<SpiffeId>, Status> {
    let value = request.metadata.as_ref().and_then(|metadata| metadata.fields.get(IMPERSONATED_IDENTITY));
    match value.and_then(|value| value.kind.as_ref()) {
        None => Ok(None),
        Some(Kind::StringValue(text)) => {
            parse_spiffe_id(text).map(Some).map_err(|error| Status::invalid_argument(error.to_string()))
        }
        Some(_) => Err(Status::invalid_argument(format!("{IMPERSONATED_IDENTITY} is not a string"))),
    }
}

impl Error {
    /// The same as what became of a request.
    fn outcome(&self) -> Outcome {
        match self.code() {
            Code::InvalidArgument => Outcome::Request,
            // The authority issues for its own trust domain only.
            Code::PermissionDenied => Outcome::TrustDomain,
            _ => Outcome::Authority,
        }
    }

    /// What a caller is told, over gRPC, who asked for what could not be issued.
    pub(crate) fn code(&self) -> Code {
        match self {
            Self::RequestTooLarge(_)
            | Self::RequestMalformed
            | Self::RequestSignature
            | Self::RequestKey(_)
            | Self::RequestIdentity { .. }
            | Self::Token(_)
            | Self::LifeTooLong { .. }
            | Self::LifeTooShort { .. } => Code::InvalidArgument,
            Self::Identity(_) => Code::PermissionDenied,
            Self::Ending { .. } | Self::NotValidNow => Code::Unavailable,
            _ => Code::Internal,
        }
    }
}

#[tonic::async_trait]
impl IstioCertificateService for CertificateService {
    async fn create_certificate(
        &self,
        request: Request<IstioCertificateRequest>,
    ) -> Result<Response<IstioCertificateResponse>, Status> {
        self.create(&request).map(Response::new)
    }
}

#[cfg(test)]
mod tests {
    use mesh_core::name::parse_trust_domain;

    use super::*;
    use crate::authority::Rules;
    use crate::clock::SystemClock;

    /// Believes what a call says of itself. Not for use.
    #[derive(Debug)]
    struct Believing;

    impl CallerPolicy for Believing {
        fn grant(&self, caller: &Caller<'_>, wanted: Option<&SpiffeId>) -> Result<Grant, Refusal> {
            let name = caller.metadata.get("name").and_then(|name| name.to_str().ok());
            let name = name.ok_or_else(|| Refusal::Unauthenticated("no name".to_owned()))?;
            let identity = wanted.cloned().ok_or_else(|| Refusal::Unauthenticated("no wish".to_owned()))?;
            Ok(Grant { caller: name.to_owned(), identity })
        }
    }

    #[test]
    fn requests_are_counted_by_caller() {
        let domain = parse_trust_domain("td.test").unwrap();
        let authority = Arc::new(Authority::ephemeral(domain, Rules::default(), Arc::new(SystemClock)).unwrap());
        let limit = RateLimit::new(3, 1);
        let service = CertificateService { authority, policy: Arc::new(Believing), limit };
        let call = |name: Option<&'static str>| {
            let kind = Some(Kind::StringValue("spiffe://td.test/web".to_owned()));
            let wish = envoy_types::pb::google::protobuf::Value { kind };
            let metadata =
                envoy_types::pb::google::protobuf::Struct { fields: [(IMPERSONATED_IDENTITY.to_owned(), wish)].into() };
            let mut request = Request::new(IstioCertificateRequest { metadata: Some(metadata), ..Default::default() });
            if let Some(name) = name {
                request.metadata_mut().insert("name", tonic::metadata::MetadataValue::from_static(name));
            }
            service.create(&request).unwrap_err().code()
        };
        for _ in 0..10 {
            assert_eq!(call(None), Code::Unauthenticated, "nobody uses up what others have");
        }
        let codes = [(); 5].map(|()| call(Some("one")));
        assert_eq!(codes[..3], [Code::InvalidArgument; 3], "there is no request to certify");
        assert_eq!(codes[4], Code::ResourceExhausted);
        assert_eq!(call(Some("two")), Code::InvalidArgument);
    }
}
