//! The SPIFFE bundle format: a JWK Set with a sequence number and a refresh hint (SPIFFE Trust Domain and Bundle,
//! section 4), and the bundle map of section 5.

use std::collections::BTreeMap;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mesh_core::name::{TrustDomain, parse_trust_domain};
use rustls_pki_types::CertificateDer;
use serde_json::{Map, Value, json};

use super::{Authority, Bundle, JwtAuthority};
use crate::jose::{Algorithm, KeyError, KeyKind, PublicKey, json};
use crate::limits::{MAX_AUTHORITIES, MAX_DOCUMENT_BYTES};
use crate::svid;

/// Longest refresh hint that is believed: a year.
const MAX_HINT: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// A bundle that was read, and the keys in it that were not understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// The bundle. It may be empty: then its trust domain revoked everything.
    pub bundle: Bundle,
    /// Keys that were left out, by their place in the document. One bad key never rejects a bundle.
    pub skipped: Vec<(usize, Skipped)>,
}

impl Bundle {
    /// Reads a bundle in SPIFFE's format. A bundle does not name its trust domain: the caller knows it.
    ///
    /// # Errors
    /// [`DocumentError`] for what is no such document; a key that cannot be used is left out and reported.
    pub fn from_document(trust_domain: TrustDomain, bytes: &[u8]) -> Result<Document, DocumentError> {
        Self::from_value(trust_domain, &parse(bytes)?)
    }

    /// As [`Bundle::from_document`], of JSON that was read before, and whose size was bounded.
    pub(crate) fn from_value(trust_domain: TrustDomain, document: &Value) -> Result<Document, DocumentError> {
        read(trust_domain, document, true)
    }

    /// Reads a JWK Set of JWT authorities alone, as the Workload API carries it: there, keys need no `use`.
    ///
    /// # Errors
    /// As [`Bundle::from_document`].
    pub fn from_jwks(trust_domain: TrustDomain, bytes: &[u8]) -> Result<Document, DocumentError> {
        read(trust_domain, &parse(bytes)?, false)
    }

    /// The bundle in SPIFFE's format. Equal bundles give equal bytes.
    ///
    /// Left out is what other implementations refuse a whole bundle for: X.509 authorities whose key is neither EC nor
    /// RSA.
    #[must_use]
    pub fn to_document(&self) -> String {
        self.to_value().to_string()
    }

    /// As [`Bundle::to_document`], as part of another document.
    pub(crate) fn to_value(&self) -> Value {
        let x509 = self.authorities().iter().filter_map(x509_jwk);
        let jwt = self.jwt_authorities().iter().map(|authority| jwt_jwk(authority, true));
        let mut members = Map::new();
        members.insert("keys".into(), x509.chain(jwt).collect());
        if let Some(sequence) = self.sequence() {
            members.insert("spiffe_sequence".into(), sequence.into());
        }
        if let Some(hint) = self.refresh_hint() {
            members.insert("spiffe_refresh_hint".into(), hint.as_secs().into());
        }
        Value::Object(members)
    }

    /// The JWT authorities as a JWK Set, as the Workload API carries it: without `use`, as its clients expect.
    #[must_use]
    pub fn to_jwks(&self) -> String {
        let keys: Value = self.jwt_authorities().iter().map(|authority| jwt_jwk(authority, false)).collect();
        json!({ "keys": keys }).to_string()
    }
}

fn x509_jwk(authority: &Authority) -> Option<Value> {
    let mut jwk = authority.public_key()?.to_jwk();
    jwk.insert("use".into(), "x509-svid".into());
    jwk.insert("x5c".into(), json!([STANDARD.encode(authority.certificate())]));
    Some(Value::Object(jwk))
}

fn jwt_jwk(authority: &JwtAuthority, with_use: bool) -> Value {
    let mut jwk = authority.key().to_jwk();
    if with_use {
        jwk.insert("use".into(), "jwt-svid".into());
    }
    jwk.insert("kid".into(), authority.key_id().into());
    Value::Object(jwk)
}

fn parse(bytes: &[u8]) -> Result<Value, DocumentError> {
    if bytes.len() > MAX_DOCUMENT_BYTES {
        return Err(DocumentError::TooLarge(bytes.len()));
    }
    json::parse(bytes).map_err(DocumentError::Json)
}

fn read(trust_domain: TrustDomain, document: &Value, with_use: bool) -> Result<Document, DocumentError> {
    let Value::Object(members) = document else { return Err(DocumentError::NoObject) };
    let Some(Value::Array(keys)) = members.get("keys") else { return Err(DocumentError::NoKeys) };
    if keys.len() > MAX_AUTHORITIES {
        return Err(DocumentError::TooManyKeys(keys.len()));
    }
    let sequence = match members.get("spiffe_sequence") {
        None => None,
        Some(value) => Some(value.as_u64().ok_or(DocumentError::Sequence)?),
    };
    let hint = match members.get("spiffe_refresh_hint") {
        None => None,
        Some(Value::Number(number)) if number.is_i64() || number.is_u64() => {
            Some(Duration::from_secs(number.as_u64().unwrap_or_default()).min(MAX_HINT))
        }
        Some(_) => return Err(DocumentError::RefreshHint),
    };
    let (mut x509, mut jwt, mut skipped) = (Vec::new(), BTreeMap::new(), Vec::new());
    let mut twice = Vec::new();
    for (index, key) in keys.iter().enumerate() {
        match read_key(key, with_use) {
            Ok(Key::X509(authority)) => x509.push(*authority),
            Ok(Key::Jwt(authority)) => {
                let id = authority.key_id().to_owned();
                // Whose the name is cannot be told: neither is used.
                if jwt.insert(id.clone(), (index, authority)).is_some() {
                    skipped.push((index, Skipped::KeyIdTwice(id.clone())));
                    twice.push(id);
                }
            }
            Err(reason) => skipped.push((index, reason)),
        }
    }
    for id in twice {
        jwt.remove(&id);
    }
    let jwt = jwt.into_values().map(|(_, authority)| authority).collect();
    let bundle = Bundle::of(trust_domain, x509, jwt).with_sequence(sequence).with_refresh_hint(hint);
    Ok(Document { bundle, skipped })
}

enum Key {
    X509(Box<Authority>),
    Jwt(JwtAuthority),
}

fn read_key(jwk: &Value, with_use: bool) -> Result<Key, Skipped> {
    let Value::Object(jwk) = jwk else { return Err(Skipped::NoObject) };
    if ["d", "p", "q", "dp", "dq", "qi", "oth", "k"].iter().any(|secret| jwk.contains_key(*secret)) {
        return Err(Skipped::Private);
    }
    match jwk.get("use").and_then(Value::as_str) {
        Some("x509-svid") if with_use => read_x509(jwk),
        Some("jwt-svid") => read_jwt(jwk),
        None if !with_use && !jwk.contains_key("use") => read_jwt(jwk),
        other => Err(Skipped::Use(other.unwrap_or_default().to_owned())),
    }
}

fn read_x509(jwk: &Map<String, Value>) -> Result<Key, Skipped> {
    if !matches!(jwk.get("kty").and_then(Value::as_str), Some("EC" | "RSA")) {
        return Err(Skipped::Key(KeyError::Member("kty")));
    }
    // Several certificates: the first alone counts (X509-SVID section 6.2).
    let text = jwk.get("x5c").and_then(Value::as_array).and_then(|list| list.first()).and_then(Value::as_str);
    let text = text.ok_or(Skipped::NoCertificate)?;
    let der = STANDARD.decode(text).map_err(|_| Skipped::NoCertificate)?;
    let authority = Authority::parse(CertificateDer::from(der)).map_err(Skipped::Certificate)?;
    // An authority whose key no document can carry would be lost when the bundle is written again.
    let kind = || Skipped::Key(KeyError::Kind("the certificate's".to_owned()));
    let key = authority.public_key().ok_or_else(kind)?;
    let named = ["n", "x"].iter().any(|member| jwk.contains_key(*member));
    if named && PublicKey::from_jwk(jwk).ok().as_ref() != Some(key) {
        return Err(Skipped::OtherKey);
    }
    Ok(Key::X509(Box::new(authority)))
}

fn read_jwt(jwk: &Map<String, Value>) -> Result<Key, Skipped> {
    let id = jwk.get("kid").and_then(Value::as_str).filter(|id| !id.is_empty()).ok_or(Skipped::NoKeyId)?;
    let algorithm = match jwk.get("alg") {
        None => None,
        Some(name) => {
            let algorithm: Option<Algorithm> =
                name.as_str().and_then(|name| name.parse().ok()).filter(|name: &Algorithm| name.is_svid());
            Some(algorithm.ok_or_else(|| Skipped::Key(KeyError::Kind(name.to_string())))?)
        }
    };
    let key = PublicKey::from_jwk(jwk).map_err(Skipped::Key)?;
    if key.kind() == KeyKind::Ed25519 {
        // No algorithm of JWT-SVIDs fits.
        return Err(Skipped::Key(KeyError::Kind("OKP".to_owned())));
    }
    Ok(Key::Jwt(JwtAuthority::new(id, key).with_algorithm(algorithm)))
}

/// Reads a bundle map (section 5): all bundles or none.
///
/// # Errors
/// [`DocumentError`], with the trust domain for a bundle in it. Trust domain names stand bare and in canonical form.
pub fn read_map(bytes: &[u8]) -> Result<Vec<Document>, DocumentError> {
    let Value::Object(members) = parse(bytes)? else { return Err(DocumentError::NoObject) };
    let Some(Value::Object(bundles)) = members.get("trust_domains") else { return Err(DocumentError::NoTrustDomains) };
    let read_one = |(name, bundle): (&String, &Value)| {
        let domain = parse_trust_domain(name).map_err(|_| DocumentError::TrustDomain(name.clone()))?;
        read(domain, bundle, true)
            .map_err(|source| DocumentError::Of { trust_domain: name.clone(), source: Box::new(source) })
    };
    bundles.iter().map(read_one).collect()
}

/// A bundle map of bundles.
#[must_use]
pub fn write_map<'a>(bundles: impl IntoIterator<Item = &'a Bundle>) -> String {
    let by_domain: Map<String, Value> =
        bundles.into_iter().map(|bundle| (bundle.trust_domain().to_string(), bundle.to_value())).collect();
    json!({ "trust_domains": by_domain }).to_string()
}

/// Why a key of a bundle is not used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Skipped {
    /// Not an object.
    #[error("not a JSON object")]
    NoObject,
    /// It holds private members. Whoever published it gave away a secret.
    #[error("the key holds PRIVATE members: whoever published it gave it away")]
    Private,
    /// No use, or one that SPIFFE does not define.
    #[error("use `{0}` is not understood")]
    Use(String),
    /// An X.509 authority without a certificate in `x5c` (standard base64 of DER).
    #[error("no certificate in `x5c`")]
    NoCertificate,
    /// Its certificate cannot be an authority.
    #[error("the certificate cannot be an authority")]
    Certificate(#[source] svid::Error),
    /// Its certificate is of another key than its members say.
    #[error("the certificate is of another key than the JWK")]
    OtherKey,
    /// A JWT authority without `kid`.
    #[error("no `kid`")]
    NoKeyId,
    /// Two JWT authorities of one `kid`: neither is used.
    #[error("`kid` `{0}` occurs twice")]
    KeyIdTwice(String),
    /// The key cannot be used.
    #[error("the key cannot be used")]
    Key(#[source] KeyError),
}

/// Bytes are no bundle in SPIFFE's format.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DocumentError {
    /// More than [`MAX_DOCUMENT_BYTES`].
    #[error("a bundle of {0} bytes exceeds the limit of {MAX_DOCUMENT_BYTES}")]
    TooLarge(usize),
    /// Not JSON, or with members of one name.
    #[error("the bundle cannot be read")]
    Json(#[source] json::Error),
    /// Not an object.
    #[error("the bundle is no JSON object")]
    NoObject,
    /// No array `keys`.
    #[error("the bundle has no array `keys`")]
    NoKeys,
    /// More keys than [`MAX_AUTHORITIES`].
    #[error("{0} keys exceed the limit of {MAX_AUTHORITIES}")]
    TooManyKeys(usize),
    /// `spiffe_sequence` is no unsigned integer of 64 bits.
    #[error("`spiffe_sequence` is no unsigned integer")]
    Sequence,
    /// `spiffe_refresh_hint` is no integer.
    #[error("`spiffe_refresh_hint` is no integer")]
    RefreshHint,
    /// A bundle map without `trust_domains`.
    #[error("the bundle map has no object `trust_domains`")]
    NoTrustDomains,
    /// A bundle map with a name that is no trust domain.
    #[error("`{0}` is no trust domain name")]
    TrustDomain(String),
    /// A bundle of a bundle map.
    #[error("the bundle of `{trust_domain}` cannot be read")]
    Of {
        /// Its trust domain.
        trust_domain: String,
        /// Why.
        source: Box<Self>,
    },
}
