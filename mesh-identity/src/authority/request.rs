//! Certificate requests: read, held to the key policy, proven to be signed by their own key.

use mesh_core::name::SpiffeId;
use rustls_pki_types::CertificateSigningRequestDer;
use rustls_pki_types::pem::PemObject;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::FromDer;
use x509_parser::x509::SubjectPublicKeyInfo;

use super::Error;
use crate::jose::{KeyKind, PublicKey};
use crate::limits::MAX_REQUEST_BYTES;

/// The public key of a request (SubjectPublicKeyInfo, byte for byte) and its bare key bits.
pub(super) struct RequestKey {
    pub(super) info: Vec<u8>,
    pub(super) bits: Vec<u8>,
}

/// Reads a request in PEM; see [`read_der`].
pub(super) fn read_pem(text: &str, granted: Option<&SpiffeId>) -> Result<RequestKey, Error> {
    if text.len() > MAX_REQUEST_BYTES {
        return Err(Error::RequestTooLarge(text.len()));
    }
    let der = CertificateSigningRequestDer::from_pem_slice(text.as_bytes()).map_err(|_| Error::RequestMalformed)?;
    read_der(&der, granted)
}

/// Reads a request for `granted`. Only its key counts: names and extensions are ignored, but a SPIFFE ID that is not the
/// one granted refuses the request, since the caller would not get what it thinks.
pub(super) fn read_der(der: &[u8], granted: Option<&SpiffeId>) -> Result<RequestKey, Error> {
    if der.len() > MAX_REQUEST_BYTES {
        return Err(Error::RequestTooLarge(der.len()));
    }
    let (rest, request) = X509CertificationRequest::from_der(der).map_err(|_| Error::RequestMalformed)?;
    if !rest.is_empty() {
        return Err(Error::RequestMalformed);
    }
    let info = &request.certification_request_info;
    key_policy(&info.subject_pki)?;
    request.verify_signature().map_err(|_| Error::RequestSignature)?;
    for extension in request.requested_extensions().into_iter().flatten() {
        let ParsedExtension::SubjectAlternativeName(names) = extension else { continue };
        for name in &names.general_names {
            if let GeneralName::URI(uri) = name
                && let Some(granted) = granted
                && *uri != granted.to_string()
            {
                return Err(Error::RequestIdentity { requested: (*uri).to_owned(), granted: granted.to_string() });
            }
        }
    }
    Ok(RequestKey { info: info.subject_pki.raw.to_vec(), bits: info.subject_pki.subject_public_key.data.to_vec() })
}

fn key_policy(info: &SubjectPublicKeyInfo<'_>) -> Result<(), Error> {
    let key = PublicKey::from_info(info).map_err(|error| Error::RequestKey(error.to_string()))?;
    match (key.kind(), key.rsa_size()) {
        (KeyKind::P256 | KeyKind::P384, _) | (KeyKind::Rsa, Some((2048..=4096, 65537))) => Ok(()),
        (KeyKind::Rsa, Some((bits, exponent))) => {
            Err(Error::RequestKey(format!("RSA of {bits} bits with exponent {exponent}")))
        }
        (kind, _) => Err(Error::RequestKey(format!("{kind:?}"))),
    }
}
