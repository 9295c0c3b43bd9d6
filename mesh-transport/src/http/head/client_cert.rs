use std::fmt::Write as _;

use http::{HeaderMap, HeaderName, HeaderValue};
use mesh_core::listener::{ClientCertDetails, ClientCertHeader};

const HEADER: HeaderName = HeaderName::from_static("x-forwarded-client-cert");

/// What `x-forwarded-client-cert` says of a client's certificate; told once per connection.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClientCertificate {
    /// Our own URI in the certificate that we showed.
    pub by: Option<String>,
    /// SHA-256 of the client's certificate, in lower-case hexadecimal.
    pub hash: String,
    /// Its subject, as RFC 2253 writes it.
    pub subject: Option<String>,
    /// Its first URI.
    pub uri: Option<String>,
    /// Its DNS names.
    pub dns_names: Vec<String>,
    /// The certificate in PEM.
    pub pem: Option<String>,
    /// The certificate and those that issued it, in PEM.
    pub chain_pem: Option<String>,
}

/// Passes the header on, replaces it, or takes it away.
pub(super) fn apply(headers: &mut HeaderMap, rule: ClientCertHeader, certificate: Option<&ClientCertificate>) {
    match (rule, certificate) {
        (ClientCertHeader::AlwaysForwardOnly, _) | (ClientCertHeader::ForwardOnly, Some(_)) => {}
        (ClientCertHeader::Sanitize, _) | (_, None) => {
            headers.remove(HEADER);
        }
        (ClientCertHeader::AppendForward(details), Some(certificate)) => {
            if let Ok(value) = HeaderValue::from_str(&element(certificate, details)) {
                let before: Vec<_> = headers.get_all(HEADER).iter().map(HeaderValue::as_bytes).collect();
                let joined = before.into_iter().chain([value.as_bytes()]).collect::<Vec<_>>().join(&b","[..]);
                if let Ok(value) = HeaderValue::from_bytes(&joined) {
                    headers.insert(HEADER, value);
                }
            }
        }
        (ClientCertHeader::SanitizeSet(details), Some(certificate)) => {
            headers.remove(HEADER);
            if let Ok(value) = HeaderValue::from_str(&element(certificate, details)) {
                headers.insert(HEADER, value);
            }
        }
    }
}

fn element(certificate: &ClientCertificate, details: ClientCertDetails) -> String {
    let mut element = String::new();
    let mut add = |key: &str, value: std::fmt::Arguments<'_>| {
        if !element.is_empty() {
            element.push(';');
        }
        // Writing to a string does not fail.
        let _ = write!(element, "{key}={value}");
    };
    if let Some(by) = &certificate.by {
        add("By", format_args!("{by}"));
    }
    add("Hash", format_args!("{}", certificate.hash));
    if let Some(pem) = certificate.pem.as_ref().filter(|_| details.certificate) {
        add("Cert", format_args!("\"{}\"", percent_encoded(pem)));
    }
    if let Some(pem) = certificate.chain_pem.as_ref().filter(|_| details.chain) {
        add("Chain", format_args!("\"{}\"", percent_encoded(pem)));
    }
    if details.subject {
        let subject = certificate.subject.as_deref().unwrap_or_default();
        add("Subject", format_args!("\"{}\"", subject.replace('\\', "\\\\").replace('"', "\\\"")));
    }
    if details.uri {
        add("URI", format_args!("{}", certificate.uri.as_deref().unwrap_or_default()));
    }
    if details.dns_names {
        for name in &certificate.dns_names {
            add("DNS", format_args!("{name}"));
        }
    }
    element
}

fn percent_encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len() + text.len() / 8);
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}
