use serde_json::{Map, Value};

use super::{Algorithm, PublicKey, SigningKey, decode, encode, json};
use crate::limits::MAX_TOKEN_BYTES;

/// A JSON Web Signature in compact serialisation (RFC 7515 section 7.1), taken apart and not yet verified.
#[derive(Debug)]
pub struct Compact<'a> {
    signed: &'a str,
    signature: Vec<u8>,
    /// The header's members.
    pub header: Map<String, Value>,
    /// The payload's members. Nothing in it may be believed before [`Compact::verify`].
    pub unverified: Map<String, Value>,
    /// The algorithm that the header names.
    pub algorithm: Algorithm,
}

impl<'a> Compact<'a> {
    /// Takes a text apart: three parts of base64url, a header and a payload that are JSON objects.
    ///
    /// # Errors
    /// [`JwsError`]; among them every algorithm that is not an [`Algorithm`].
    pub fn parse(text: &'a str) -> Result<Self, JwsError> {
        if text.len() > MAX_TOKEN_BYTES {
            return Err(JwsError::TooLarge(text.len()));
        }
        let mut parts = text.split('.');
        let (Some(header), Some(payload), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(JwsError::Shape);
        };
        let object = |part: &str, what| {
            let bytes = decode(part).ok_or(JwsError::Encoding(what))?;
            match json::parse(&bytes) {
                Ok(Value::Object(members)) => Ok(members),
                Ok(_) => Err(JwsError::NoObject(what)),
                Err(error) => Err(JwsError::Json(what, error)),
            }
        };
        let header = object(header, "header")?;
        let algorithm = match header.get("alg") {
            Some(Value::String(name)) => name.parse().map_err(|()| JwsError::Algorithm(name.clone()))?,
            Some(other) => return Err(JwsError::Algorithm(other.to_string())),
            None => return Err(JwsError::Algorithm(String::new())),
        };
        let signature_bytes = decode(signature).ok_or(JwsError::Encoding("signature"))?;
        let unverified = object(payload, "payload")?;
        let signed = &text[..text.len() - signature.len() - 1];
        Ok(Self { signed, signature: signature_bytes, header, unverified, algorithm })
    }

    /// Whether a key made the signature.
    #[must_use]
    pub fn verify(&self, key: &PublicKey) -> bool {
        key.verify(self.algorithm, self.signed.as_bytes(), &self.signature)
    }
}

/// Signs a header and a payload: gives the compact serialisation.
///
/// # Errors
/// When the cryptography library fails.
pub(crate) fn sign(key: &SigningKey, kid: &str, payload: &Value) -> Result<String, super::KeyError> {
    let header = serde_json::json!({ "alg": key.algorithm().name(), "kid": kid, "typ": "JWT" });
    let mut text = format!("{}.{}", encode(header.to_string().as_bytes()), encode(payload.to_string().as_bytes()));
    let signature = key.sign(text.as_bytes())?;
    text.push('.');
    text.push_str(&encode(&signature));
    Ok(text)
}

/// Text is no signature of the kind that is read here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JwsError {
    /// Longer than [`MAX_TOKEN_BYTES`].
    #[error("a token of {0} bytes exceeds the limit of {MAX_TOKEN_BYTES}")]
    TooLarge(usize),
    /// Not three parts: JSON serialisation, an encrypted token, or something else.
    #[error("not a signature in compact serialisation")]
    Shape,
    /// A part is no base64url without padding.
    #[error("the {0} is not base64url")]
    Encoding(&'static str),
    /// A part is no JSON, or holds two members of one name.
    #[error("the {0} cannot be read")]
    Json(&'static str, #[source] json::Error),
    /// A part is JSON, but no object.
    #[error("the {0} is no JSON object")]
    NoObject(&'static str),
    /// The header names no algorithm, or one that is not allowed.
    #[error("the signature algorithm `{0}` is not allowed")]
    Algorithm(String),
}
