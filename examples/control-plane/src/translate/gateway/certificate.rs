//! Certificates and authorities that Gateways refer to. What is missing, not permitted or broken is none.

use std::collections::BTreeMap;
use std::sync::Arc;

use mesh_core::name::{NamespacedName, Text};
use mesh_core::tls::{
    Certificate, CertificateSource, ClientCertificate, DataSource, DownstreamTls, Secret, SecretKind, Sensitive,
    TrustedCa, Validation, ValidationSource,
};
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use crate::resource::{self, Gateway, Kind, ListenerTls, ObjectId, ObjectReference};
use crate::translate::facts::Reader;

/// Where Secrets and ConfigMaps have authorities.
const AUTHORITIES: &str = "ca.crt";

/// Option of a listener: whether clients must prove themselves, as Istio has it.
const MODE: &str = "gateway.istio.io/tls-terminate-mode";

/// How TLS is ended at a listener; `None` if there is nothing to do it with. What is needed for it is added to `secrets`.
pub(super) fn downstream(
    reader: &Reader<'_>,
    owner: &ObjectId,
    tls: &ListenerTls,
    secrets: &mut BTreeMap<Text, Secret>,
) -> Option<DownstreamTls> {
    let found: Vec<_> =
        tls.certificate_refs.iter().map(|reference| certificate(reader, owner, reference)).collect::<Option<_>>()?;
    if found.is_empty() {
        return None;
    }
    let names = found.iter().map(|(secret, _)| CertificateSource::Secret(secret.name.clone())).collect();
    let mut made = DownstreamTls::new(names);
    let required = match tls.options.get(MODE).map_or("SIMPLE", String::as_str) {
        "SIMPLE" => None,
        "MUTUAL" => Some(true),
        "OPTIONAL_MUTUAL" => Some(false),
        // It asks for more than is done here.
        _ => return None,
    };
    if let Some(required) = required {
        // Beside the certificate stands who signs those of clients.
        let authorities = found.iter().find_map(|(_, source)| source.get(AUTHORITIES));
        let (secret, _) = found.first()?;
        let name: Text = format!("client-ca|{}", secret.name).into();
        let trusted = bundle(vec![authorities.filter(|pem| is_bundle(pem))?.to_vec()]);
        made.client = asked(name.clone(), required);
        secrets.insert(name.clone(), validation(name, trusted));
    }
    secrets.extend(found.into_iter().map(|(secret, _)| (secret.name.clone(), secret)));
    Some(made)
}

/// Has clients of HTTPS listeners on a port prove themselves, if the Gateway says so. `None` if it says so and nobody could be
/// believed.
pub(super) fn validate_clients(
    reader: &Reader<'_>,
    gateway: &Gateway,
    port: u16,
    tls: &mut DownstreamTls,
    secrets: &mut BTreeMap<Text, Secret>,
) -> Option<()> {
    let frontend = &gateway.spec.tls.frontend;
    let of_port = frontend.per_port.iter().find(|of_port| of_port.port == port).map(|of_port| &of_port.tls);
    let Some(wanted) = &of_port.unwrap_or(&frontend.default).validation else { return Some(()) };
    let namespace = gateway.metadata.namespace.as_str();
    let good = wanted.ca_certificate_refs.iter().filter_map(|reference| authorities(reader, namespace, reference));
    let good: Vec<Vec<u8>> = good.collect();
    if good.is_empty() {
        return None;
    }
    let required = match wanted.mode.as_deref() {
        None | Some("AllowValidOnly") => true,
        Some("AllowInsecureFallback") => false,
        Some(_) => return None,
    };
    let name: Text = format!("client-ca|{port}").into();
    tls.client = asked(name.clone(), required);
    secrets.insert(name.clone(), validation(name, bundle(good)));
    Some(())
}

/// The certificate that a Gateway shows to backends.
pub(super) fn of_backends(reader: &Reader<'_>, gateway: &Gateway) -> Option<Secret> {
    let reference = gateway.spec.tls.backend.client_certificate_ref.as_ref()?;
    let name = NamespacedName::new(gateway.metadata.namespace.as_str(), gateway.metadata.name.as_str());
    certificate(reader, &ObjectId { kind: Kind::Gateway, name }, reference).map(|(secret, _)| secret)
}

/// The authorities in a ConfigMap of a namespace; `None` if it holds none.
pub(super) fn of_config_map(reader: &Reader<'_>, key: &NamespacedName) -> Option<Vec<u8>> {
    let pem = reader.config_map(key)?.data.get(AUTHORITIES)?.as_bytes();
    is_bundle(pem).then(|| pem.to_vec())
}

/// Who may be believed by this PEM.
pub(super) fn bundle(pems: Vec<Vec<u8>>) -> TrustedCa {
    let mut all = Vec::new();
    for pem in pems {
        all.extend(pem);
        if all.last() != Some(&b'\n') {
            all.push(b'\n');
        }
    }
    TrustedCa::Bundle(DataSource::Inline(all.into()))
}

/// A certificate with its key that an object refers to, and the Secret in which it stands.
fn certificate<'a>(
    reader: &Reader<'a>,
    owner: &ObjectId,
    reference: &ObjectReference,
) -> Option<(Secret, &'a resource::Secret)> {
    let own = owner.name.namespace.as_str();
    let (group, kind) = (reference.group.as_deref().unwrap_or_default(), reference.kind.as_deref().unwrap_or("Secret"));
    let key = NamespacedName::new(reference.namespace.as_deref().unwrap_or(own), reference.name.as_str());
    // Asked first, so that nobody learns what there is.
    if !reader.permits((owner.kind, own), (group, kind, &key)) || (group, kind) != ("", "Secret") {
        return None;
    }
    let source = reader.secret(&key)?;
    let (chain, private) = (source.get("tls.crt")?, source.get("tls.key")?);
    if !is_pair(chain, private) {
        return None;
    }
    let inline = |bytes: &[u8]| DataSource::Inline(Arc::from(bytes));
    let certificate = Certificate { chain: inline(chain), key: Sensitive(inline(private)), ocsp_staple: None };
    let name = format!("kubernetes-gateway://{}/{}", key.namespace, key.name);
    Some((Secret { name: name.into(), kind: SecretKind::Certificate(certificate) }, source))
}

/// The authorities that a Gateway of a namespace refers to.
fn authorities(reader: &Reader<'_>, namespace: &str, reference: &ObjectReference) -> Option<Vec<u8>> {
    let (group, kind) = (reference.group.as_deref().unwrap_or_default(), reference.kind.as_deref().unwrap_or("Secret"));
    let key = NamespacedName::new(reference.namespace.as_deref().unwrap_or(namespace), reference.name.as_str());
    if !reader.permits((Kind::Gateway, namespace), (group, kind, &key)) {
        return None;
    }
    match (group, kind) {
        ("", "ConfigMap") => of_config_map(reader, &key),
        ("", "Secret") => {
            let pem = reader.secret(&key)?.get(AUTHORITIES)?;
            is_bundle(pem).then(|| pem.to_vec())
        }
        _ => None,
    }
}

/// Whether clients must prove themselves, or only may.
fn asked(secret: Text, required: bool) -> ClientCertificate {
    let source = ValidationSource::Secret(secret);
    if required { ClientCertificate::Required(source) } else { ClientCertificate::Optional(source) }
}

fn validation(name: Text, trusted: TrustedCa) -> Secret {
    let validation = Validation { trusted_ca: Some(trusted), ..Validation::default() };
    Secret { name, kind: SecretKind::Validation(Box::new(validation)) }
}

/// Whether a chain can be read, and a key is that of its first certificate.
fn is_pair(chain: &[u8], key: &[u8]) -> bool {
    let chain = CertificateDer::pem_slice_iter(chain).collect::<Result<Vec<_>, _>>();
    let (Ok(chain), Ok(key)) = (chain, PrivateKeyDer::from_pem_slice(key)) else { return false };
    !chain.is_empty() && CertifiedKey::from_der(chain, key, &default_provider()).is_ok()
}

/// Whether certificates can be read, at least one.
fn is_bundle(pem: &[u8]) -> bool {
    let all = CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>();
    let is_anchor = |der: &CertificateDer<'_>| rustls::RootCertStore::empty().add(der.clone().into_owned()).is_ok();
    all.is_ok_and(|all| !all.is_empty() && all.iter().all(is_anchor))
}
