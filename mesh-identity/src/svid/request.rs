use mesh_core::name::SpiffeId;
use rcgen::{CertificateParams, DistinguishedName, KeyPair, SanType};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

/// What keys are made for SVIDs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum KeyKind {
    /// ECDSA P-256: what every peer understands, and fast.
    #[default]
    P256,
    /// ECDSA P-384.
    P384,
    /// RSA of 2,048 bits, for peers that know nothing else. Made in tens of milliseconds.
    Rsa2048,
}

impl KeyKind {
    fn generate(self) -> Result<KeyPair, rcgen::Error> {
        KeyPair::generate_for(match self {
            Self::P256 => &rcgen::PKCS_ECDSA_P256_SHA256,
            Self::P384 => &rcgen::PKCS_ECDSA_P384_SHA384,
            Self::Rsa2048 => &rcgen::PKCS_RSA_SHA256,
        })
    }
}

/// A new key and a request for an identity in DER: empty subject, the SPIFFE ID as the only name.
pub(crate) fn certificate_request(
    id: &SpiffeId,
    kind: KeyKind,
) -> Result<(PrivateKeyDer<'static>, Vec<u8>), rcgen::Error> {
    let key = kind.generate()?;
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.subject_alt_names = vec![SanType::URI(id.to_string().try_into()?)];
    let request = params.serialize_request(&key)?;
    Ok((PrivatePkcs8KeyDer::from(key.serialize_der()).into(), request.der().to_vec()))
}
