//! Envoy's secret discovery (`envoy.service.secret.v3`) on the socket of the Workload API, with SPIRE's names of secrets.

use std::sync::Arc;

use envoy_types::pb::envoy::config::core::v3::data_source::Specifier;
use envoy_types::pb::envoy::config::core::v3::{DataSource, TypedExtensionConfig};
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::secret::Type;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::spiffe_cert_validator_config::TrustDomain;
use envoy_types::pb::envoy::extensions::transport_sockets::tls::v3::{
    CertificateValidationContext, Secret, SpiffeCertValidatorConfig, TlsCertificate,
};
use envoy_types::pb::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, DiscoveryRequest, DiscoveryResponse,
};
use envoy_types::pb::envoy::service::secret::v3::secret_discovery_service_server::{
    SecretDiscoveryService, SecretDiscoveryServiceServer,
};
use envoy_types::pb::google::protobuf::Any;
use envoy_types::pb::google::protobuf::value::Kind;
use mesh_core::name::parse_spiffe_id;
use prost::Message;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use super::server::{WorkloadApi, ending};
use super::view::Attested;
use crate::bundle::Bundle;
use crate::pem;
use crate::registry::Entry;
use crate::tls::{ALL, DEFAULT, Identity, ROOTCA};

/// The type of a secret.
const SECRET_TYPE: &str = "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret";

/// Most names in one request.
const MAX_NAMES: usize = 1_000;

/// What an Envoy asked for last.
#[derive(Debug, Clone, Default, PartialEq)]
struct Wish {
    names: Vec<String>,
    /// It wants plain roots instead of the validator that knows SPIFFE.
    plain: bool,
}

impl Wish {
    fn of(request: &DiscoveryRequest, before: &Self) -> Result<Self, Status> {
        if !request.type_url.is_empty() && request.type_url != SECRET_TYPE {
            return Err(Status::invalid_argument(format!("`{}` is not served here", request.type_url)));
        }
        if request.resource_names.len() > MAX_NAMES {
            return Err(Status::invalid_argument("too many names"));
        }
        let metadata = request.node.as_ref().and_then(|node| node.metadata.as_ref());
        let plain = metadata.map_or(before.plain, |metadata| {
            let flag = metadata.fields.get("disable_spiffe_cert_validation").and_then(|value| value.kind.as_ref());
            matches!(flag, Some(Kind::BoolValue(true)))
                || matches!(flag, Some(Kind::StringValue(text)) if text == "true")
        });
        let mut names = request.resource_names.clone();
        names.sort();
        names.dedup();
        Ok(Self { names, plain })
    }
}

impl WorkloadApi {
    pub(super) fn secret_discovery(&self) -> SecretDiscoveryServiceServer<Self> {
        SecretDiscoveryServiceServer::new(self.clone())
    }

    /// The secrets that are wished for, and the identities among them.
    async fn secrets(&self, caller: &Attested, wish: &Wish) -> Result<(Vec<Any>, Vec<Identity>), Status> {
        let parts = &self.inner.parts;
        let entries = parts.entries(caller)?;
        let identities = parts.identities(&entries).await?;
        let bundles = parts.bundle_set(&entries);
        let own = entries.first().and_then(|entry| bundles.get(entry.spiffe_id.trust_domain())).cloned();
        let own = own.ok_or_else(|| Status::unavailable("the bundle of the trust domain is not known yet"))?;
        let all: Vec<Arc<Bundle>> = bundles.iter().map(Arc::clone).collect();
        let everything: Vec<String>;
        let names = if wish.names.is_empty() {
            let ids = entries.iter().map(|entry: &Arc<Entry>| entry.spiffe_id.to_string());
            let domains = all.iter().map(|bundle| format!("spiffe://{}", bundle.trust_domain()));
            everything = ids.chain(domains).collect();
            &everything
        } else {
            &wish.names
        };
        let mut secrets = Vec::with_capacity(names.len());
        for name in names {
            let kind = match name.as_str() {
                DEFAULT => certificate(identities.first())?,
                ROOTCA => validation(std::slice::from_ref(&own), wish.plain)?,
                ALL => validation(&all, false)?,
                _ => {
                    let id = parse_spiffe_id(name).map_err(|_| unknown(name))?;
                    if id.path().is_empty() {
                        let bundle = all.iter().find(|bundle| bundle.trust_domain() == id.trust_domain());
                        validation(std::slice::from_ref(bundle.ok_or_else(|| unknown(name))?), wish.plain)?
                    } else {
                        let identity = identities.iter().find(|identity| *identity.id() == id);
                        certificate(Some(identity.ok_or_else(|| unknown(name))?))?
                    }
                }
            };
            let secret = Secret { name: name.clone(), r#type: Some(kind) };
            secrets.push(Any { type_url: SECRET_TYPE.to_owned(), value: secret.encode_to_vec() });
        }
        Ok((secrets, identities))
    }

    async fn run(
        self,
        caller: Attested,
        mut requests: Streaming<DiscoveryRequest>,
        sender: mpsc::Sender<Result<DiscoveryResponse, Status>>,
    ) -> Result<(), Status> {
        let (mut wish, mut asked) = (Wish::default(), false);
        let (mut version, mut sent): (u64, Option<(Wish, Vec<Any>)>) = (0, None);
        loop {
            let watch = self.inner.parts.watch();
            let mut identities = Vec::new();
            if asked {
                let secrets;
                (secrets, identities) = self.inner.unless_draining(self.secrets(&caller, &wish)).await?;
                if sent.as_ref().is_none_or(|(before, known)| (before, known) != (&wish, &secrets)) {
                    version += 1;
                    let response = DiscoveryResponse {
                        version_info: version.to_string(),
                        nonce: version.to_string(),
                        type_url: SECRET_TYPE.to_owned(),
                        resources: secrets.clone(),
                        ..DiscoveryResponse::default()
                    };
                    if sender.send(Ok(response)).await.is_err() {
                        return Ok(());
                    }
                    sent = Some((wish.clone(), secrets));
                }
            }
            tokio::select! {
                request = requests.message() => {
                    let Some(request) = request? else { return Ok(()) };
                    if let Some(error) = &request.error_detail {
                        tracing::warn!(error = error.message, version = request.version_info, "an Envoy refused secrets");
                    }
                    // An answer to what is not the newest any more.
                    if !request.response_nonce.is_empty() && request.response_nonce != version.to_string() {
                        continue;
                    }
                    wish = Wish::of(&request, &wish)?;
                    asked = true;
                }
                () = watch.changed(&identities) => {}
                () = sender.closed() => return Ok(()),
                () = self.inner.draining.cancelled() => return Err(ending()),
            }
        }
    }
}

fn unknown(name: &str) -> Status {
    Status::invalid_argument(format!("the caller has no secret of the name `{name}`"))
}

fn certificate(identity: Option<&Identity>) -> Result<Type, Status> {
    let svid = identity.and_then(Identity::svid);
    let svid = svid.ok_or_else(|| Status::unavailable("the SVID ended and is not renewed yet"))?;
    let inline = |text: String| {
        Some(DataSource { specifier: Some(Specifier::InlineBytes(text.into_bytes())), ..DataSource::default() })
    };
    Ok(Type::TlsCertificate(TlsCertificate {
        certificate_chain: inline(pem::encode_certificates(svid.chain())),
        private_key: inline(pem::encode("PRIVATE KEY", svid.key().secret_der())),
        ..TlsCertificate::default()
    }))
}

/// How to verify members of trust domains, each against its own authorities. Roots of several domains are never pooled.
fn validation(bundles: &[Arc<Bundle>], plain: bool) -> Result<Type, Status> {
    let inline = |bundle: &Bundle| {
        Some(DataSource {
            specifier: Some(Specifier::InlineBytes(bundle.to_pem().into_bytes())),
            ..DataSource::default()
        })
    };
    if let ([bundle], true) = (bundles, plain) {
        let trusted_ca = inline(bundle);
        return Ok(Type::ValidationContext(CertificateValidationContext { trusted_ca, ..Default::default() }));
    }
    let trust_domains = bundles.iter().filter(|bundle| !bundle.authorities().is_empty());
    let trust_domains: Vec<_> = trust_domains
        .map(|bundle| TrustDomain {
            name: bundle.trust_domain().to_string(),
            trust_bundle: inline(bundle),
            ..TrustDomain::default()
        })
        .collect();
    if trust_domains.is_empty() {
        return Err(Status::unavailable("no bundle is known yet"));
    }
    let config = SpiffeCertValidatorConfig { trust_domains, ..Default::default() };
    let custom = TypedExtensionConfig {
        name: "envoy.tls.cert_validator.spiffe".to_owned(),
        typed_config: Some(Any {
            type_url: "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.SPIFFECertValidatorConfig"
                .to_owned(),
            value: config.encode_to_vec(),
        }),
    };
    Ok(Type::ValidationContext(CertificateValidationContext {
        custom_validator_config: Some(custom),
        ..Default::default()
    }))
}

#[tonic::async_trait]
impl SecretDiscoveryService for WorkloadApi {
    type DeltaSecretsStream = ReceiverStream<Result<DeltaDiscoveryResponse, Status>>;
    type StreamSecretsStream = ReceiverStream<Result<DiscoveryResponse, Status>>;

    async fn delta_secrets(
        &self,
        _request: Request<Streaming<DeltaDiscoveryRequest>>,
    ) -> Result<Response<Self::DeltaSecretsStream>, Status> {
        Err(Status::unimplemented("secrets are served as the state of the world"))
    }

    async fn stream_secrets(
        &self,
        request: Request<Streaming<DiscoveryRequest>>,
    ) -> Result<Response<Self::StreamSecretsStream>, Status> {
        let (caller, admitted) = self.admit(&request).await?;
        let (sender, receiver) = mpsc::channel(1);
        let server = self.clone();
        self.inner.tasks.spawn(async move {
            let _admitted = admitted;
            let failed = sender.clone();
            if let Err(status) = server.run(caller, request.into_inner(), sender).await {
                let _ = failed.send(Err(status)).await;
            }
        });
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn fetch_secrets(&self, request: Request<DiscoveryRequest>) -> Result<Response<DiscoveryResponse>, Status> {
        let (caller, _admitted) = self.admit(&request).await?;
        let wish = Wish::of(request.get_ref(), &Wish::default())?;
        let (resources, _) = self.secrets(&caller, &wish).await?;
        Ok(Response::new(DiscoveryResponse {
            version_info: "1".to_owned(),
            type_url: SECRET_TYPE.to_owned(),
            resources,
            ..DiscoveryResponse::default()
        }))
    }
}
