use std::collections::BTreeMap;
use std::sync::Arc;

use mesh_core::live::Live;
use mesh_core::name::{Text, TrustDomain, parse_spiffe_id};
use mesh_core::tls::{
    Certificate, CertificateSource, DataSource, Revocation, Secret, SecretKind, TrustedCa, Validation, ValidationSource,
};
use rustls::crypto::CryptoProvider;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer, TrustAnchor};
use webpki::{CertRevocationList, OwnedCertRevocationList};

use super::error::ContextError;
use super::names::{ALL, DEFAULT, ROOTCA};
use super::rules::{Path, Rules};
use super::shown::Shown;
use crate::clock::{Clock, SystemClock};
use crate::crypto::web_provider;
use crate::tls::Identity;

/// Secrets by name.
pub type Secrets = BTreeMap<Text, Arc<Secret>>;

/// What configurations of TLS name and do not hold: secrets, and the identity of the workload itself. Cheap to clone.
///
/// A secret that is not among the secrets may be a name of the own identity, as Istio and SPIRE have it: `default` or the
/// SPIFFE id for the certificate, `ROOTCA` or the id of the trust domain (`spiffe://td`) for its roots, `ALL` for those of all
/// trust domains that are trusted, each for its own members.
#[derive(Debug, Clone)]
pub struct Credentials {
    identity: Option<Identity>,
    secrets: Live<Secrets>,
}

impl Default for Credentials {
    /// None: configurations must hold all that they need.
    fn default() -> Self {
        Self::new(None, Live::constant(Secrets::new()))
    }
}

impl Credentials {
    /// These secrets, and this identity if there is one.
    #[must_use]
    pub fn new(identity: Option<Identity>, secrets: Live<Secrets>) -> Self {
        Self { identity, secrets }
    }

    /// The secrets as they are now.
    pub(super) fn secrets(&self) -> Arc<Secrets> {
        self.secrets.snapshot()
    }

    pub(super) fn clock(&self) -> Arc<dyn Clock> {
        self.identity.as_ref().map_or_else(|| Arc::new(SystemClock) as _, Identity::clock)
    }

    /// The cryptography: of the Web, with the exchange of keys that the identity prefers.
    pub(super) fn provider(&self) -> CryptoProvider {
        let web = CryptoProvider::clone(&web_provider());
        match &self.identity {
            Some(identity) => CryptoProvider { kx_groups: identity.provider().kx_groups.clone(), ..web },
            None => web,
        }
    }

    /// What is shown of oneself.
    pub(super) fn shown(&self, source: &CertificateSource, secrets: &Secrets) -> Result<Shown, ContextError> {
        let certificate = match source {
            CertificateSource::Inline(certificate) => certificate,
            CertificateSource::Provider(provider) => return Err(ContextError::Provider(provider.instance.clone())),
            CertificateSource::Secret(name) => match (secrets.get(name), self.own(name)) {
                (Some(secret), _) => match &secret.kind {
                    SecretKind::Certificate(certificate) => certificate,
                    _ => return Err(ContextError::SecretKind { name: name.clone(), wanted: "certificate" }),
                },
                (None, Some(identity)) => return Ok(Shown::Own(identity)),
                (None, None) => return Err(ContextError::SecretMissing(name.clone())),
            },
        };
        self.certified(certificate).map(Shown::fixed)
    }

    /// The own identity, if a secret of this name is its certificate.
    fn own(&self, name: &Text) -> Option<Identity> {
        let own = |identity: &&Identity| {
            name == DEFAULT || parse_spiffe_id(name.as_str()).is_ok_and(|id| id == *identity.id())
        };
        self.identity.as_ref().filter(own).cloned()
    }

    fn certified(&self, certificate: &Certificate) -> Result<CertifiedKey, ContextError> {
        const CHAIN: &str = "the certificate";
        let chain = CertificateDer::pem_slice_iter(&bytes(&certificate.chain)?).collect::<Result<Vec<_>, _>>();
        let chain = chain.map_err(|error| ContextError::material(CHAIN, error))?;
        let key = PrivateKeyDer::from_pem_slice(&bytes(&certificate.key.0)?);
        let key = key.map_err(|error| ContextError::material("the private key", error))?;
        if chain.is_empty() {
            return Err(ContextError::material(CHAIN, "there is none"));
        }
        let mut certified = CertifiedKey::from_der(chain, key, &self.provider())?;
        certified.ocsp = certificate.ocsp_staple.as_ref().map(bytes).transpose()?.map(|staple| staple.to_vec());
        Ok(certified)
    }

    /// The rules by which a peer is verified.
    pub(super) fn rules(&self, source: &ValidationSource, secrets: &Secrets) -> Result<Rules, ContextError> {
        let Some(name) = source.secret() else { return self.by_validation(source.resolve(None)?) };
        match secrets.get(name).map(|secret| &secret.kind) {
            Some(SecretKind::Validation(validation)) => self.by_validation(source.resolve(Some(validation))?),
            Some(_) => Err(ContextError::SecretKind { name: name.clone(), wanted: "trusted authorities" }),
            None => {
                let trust = self.trust(name).ok_or_else(|| ContextError::SecretMissing(name.clone()))?;
                let default = match source {
                    ValidationSource::Combined { default, .. } => default.clone(),
                    ValidationSource::Secret(_) | ValidationSource::Inline(_) => Validation::default(),
                };
                by_trust(trust, default)
            }
        }
    }

    /// The trust of the mesh, if a secret of this name is that, and of which members.
    fn trust(&self, name: &Text) -> Option<Path> {
        let identity = self.identity.as_ref()?;
        let domain: Option<TrustDomain> = match name.as_str() {
            ROOTCA => Some(identity.id().trust_domain().clone()),
            ALL => None,
            name => {
                let id = parse_spiffe_id(name).ok()?;
                Some(id.path().is_empty().then(|| id.trust_domain().clone())?)
            }
        };
        Some(Path::Mesh { bundles: identity.bundles().clone(), domain })
    }

    fn by_validation(&self, validation: Validation) -> Result<Rules, ContextError> {
        let anchors = match &validation.trusted_ca {
            None => return Err(mesh_core::tls::ValidationError::NobodyTrusted.into()),
            Some(TrustedCa::Provider(provider)) => return Err(ContextError::Provider(provider.instance.clone())),
            Some(TrustedCa::System) => rustls_native_certs::load_native_certs().certs,
            Some(TrustedCa::Bundle(bundle)) => {
                let roots = CertificateDer::pem_slice_iter(&bytes(bundle)?).collect::<Result<Vec<_>, _>>();
                roots.map_err(|error| ContextError::material("the trusted authorities", error))?
            }
        };
        let anchors: Vec<TrustAnchor<'static>> = anchors
            .iter()
            .filter_map(|root| webpki::anchor_from_trusted_cert(root).ok().map(|anchor| anchor.to_owned()))
            .collect();
        if anchors.is_empty() {
            return Err(ContextError::material("the trusted authorities", "there are none"));
        }
        let lists = validation.crl.as_ref().map(lists).transpose()?.unwrap_or_default();
        Ok(Rules::new(Path::Web { anchors, lists }, validation))
    }
}

/// The trust of the mesh decides about chains; it has revocation lists of its own.
fn by_trust(path: Path, validation: Validation) -> Result<Rules, ContextError> {
    if validation.crl.is_some() || validation.revocation != Revocation::default() {
        return Err(ContextError::Unsupported("crl"));
    }
    if validation.max_depth.is_some() {
        return Err(ContextError::Unsupported("max_verify_depth"));
    }
    Ok(Rules::new(path, validation))
}

fn lists(source: &DataSource) -> Result<Vec<CertRevocationList<'static>>, ContextError> {
    const LISTS: &str = "the revocation lists";
    let text = bytes(source)?;
    let lists = CertificateRevocationListDer::pem_slice_iter(&text).map(|list| {
        let list = list.map_err(|error| ContextError::material(LISTS, error))?;
        let list = OwnedCertRevocationList::from_der(&list).map_err(|error| ContextError::material(LISTS, error))?;
        Ok(CertRevocationList::Owned(list))
    });
    let lists = lists.collect::<Result<Vec<_>, ContextError>>()?;
    match lists.is_empty() {
        true => Err(ContextError::material(LISTS, "there are none")),
        false => Ok(lists),
    }
}

fn bytes(source: &DataSource) -> Result<Arc<[u8]>, ContextError> {
    match source {
        DataSource::Inline(bytes) => Ok(Arc::clone(bytes)),
        DataSource::File(path) => match std::fs::read(path.as_str()) {
            Ok(bytes) => Ok(bytes.into()),
            Err(source) => Err(ContextError::File { path: path.clone(), source: Arc::new(source) }),
        },
    }
}
