//! Certificate requests: read, held to the key policy, proven to be signed by their own key.

use mesh_core::name::SpiffeId;
use rustls_pki_types::CertificateSigningRequestDer;
use rustls_pki_types::pem::PemObject;
use x509_parser::certification_request::X509CertificationRequest;
use x509_parser::extensions::{GeneralName, ParsedExtension};
use x509_parser::prelude::FromDer;
use x509_parser::public_key::PublicKey;

use super::Error;
use crate::limits::MAX_REQUEST_BYTES;

/// The public key of a request (SubjectPublicKeyInfo, byte for byte) and its bare key bits.
pub(super) struct RequestKey {
    pub(super) info: Vec<u8>,
    pub(super) bits: Vec<u8>,
}

const ID_EC_PUBLIC_KEY: &str = "1.2.840.10045.2.1";
const P256: &str = "1.2.840.10045.3.1.7";
const P384: &str = "1.3.132.0.34";

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

fn key_policy(key: &x509_parser::x509::SubjectPublicKeyInfo<'_>) -> Result<(), Error> {
    let algorithm = key.algorithm.algorithm.to_id_string();
    match key.parsed() {
        Ok(PublicKey::EC(_)) if algorithm == ID_EC_PUBLIC_KEY => {
            let curve = key.algorithm.parameters.as_ref().and_then(|parameters| parameters.as_oid().ok());
            let curve = curve.map(|curve| curve.to_id_string()).unwrap_or_default();
            if curve == P256 || curve == P384 { Ok(()) } else { Err(Error::RequestKey(format!("curve {curve}"))) }
        }
        Ok(PublicKey::RSA(rsa)) => {
            let bits = rsa.key_size();
            let exponent = rsa.try_exponent().ok();
            if (2048..=4096).contains(&bits) && exponent == Some(65537) {
                Ok(())
            } else {
                Err(Error::RequestKey(format!("RSA of {bits} bits")))
            }
        }
        _ => Err(Error::RequestKey(format!("algorithm {algorithm}"))),
    }
}
