//! PEM texts (RFC 7468), written; reading is `rustls_pki_types`' business.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// One PEM block with lines of 64 characters.
#[must_use]
pub fn encode(label: &str, der: &[u8]) -> String {
    let body = STANDARD.encode(der);
    let mut text = format!("-----BEGIN {label}-----\n");
    for line in body.as_bytes().chunks(64) {
        text.extend(line.iter().map(|byte| char::from(*byte)));
        text.push('\n');
    }
    text.push_str("-----END ");
    text.push_str(label);
    text.push_str("-----\n");
    text
}

/// Certificates, one block each.
#[must_use]
pub fn encode_certificates<T: AsRef<[u8]>>(certificates: &[T]) -> String {
    certificates.iter().map(|der| encode("CERTIFICATE", der.as_ref())).collect()
}
