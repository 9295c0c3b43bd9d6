use std::sync::atomic::{AtomicU64, Ordering};

use mesh_core::authn::{Failure, Part, Token};
use serde_json::{Map, Value};

use crate::jose::{Algorithm, KeyError, PublicKey, decode, json};
use crate::limits::{MAX_KEY_SET_BYTES, MAX_KEY_SET_KEYS};

/// Most keys that are tried on one token, if it names none.
const MAX_TRIED: usize = 16;

/// Members that only a private or a symmetric key has (RFC 7518 sections 6.2.2, 6.3.2, 6.4).
const SECRETS: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

/// Public keys by which an issuer signs tokens.
#[derive(Debug)]
pub struct KeySet {
    /// What tells it from every other set.
    number: u64,
    keys: Vec<Key>,
    skipped: Vec<(usize, Skipped)>,
}

#[derive(Debug, PartialEq, Eq)]
struct Key {
    id: Option<String>,
    algorithm: Option<Algorithm>,
    key: PublicKey,
}

impl KeySet {
    /// Reads a JWK set (RFC 7517 section 5). A key that cannot be used is left out.
    ///
    /// # Errors
    /// [`KeySetError`] for what is no such set, or holds no key that can be used.
    pub fn from_jwks(text: &[u8]) -> Result<Self, KeySetError> {
        if text.len() > MAX_KEY_SET_BYTES {
            return Err(KeySetError::TooLarge(text.len()));
        }
        Self::from_value(&json::parse(text).map_err(KeySetError::Json)?)
    }

    /// As [`KeySet::from_jwks`], of JSON that was read before, and whose size was bounded.
    pub(super) fn from_value(set: &Value) -> Result<Self, KeySetError> {
        let Some(Value::Array(list)) = set.get("keys") else { return Err(KeySetError::NoKeys) };
        if list.len() > MAX_KEY_SET_KEYS {
            return Err(KeySetError::TooMany(list.len()));
        }
        let (mut keys, mut skipped) = (Vec::new(), Vec::new());
        for (index, jwk) in list.iter().enumerate() {
            match Key::from_jwk(jwk) {
                Ok(key) => keys.push(key),
                Err(reason) => skipped.push((index, reason)),
            }
        }
        if keys.is_empty() {
            return Err(KeySetError::NoUsableKey(skipped));
        }
        static NUMBERS: AtomicU64 = AtomicU64::new(1);
        Ok(Self { number: NUMBERS.fetch_add(1, Ordering::Relaxed), keys, skipped })
    }

    /// How many keys it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Whether it has none; it never is so.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Keys that were left out, by their place.
    #[must_use]
    pub fn skipped(&self) -> &[(usize, Skipped)] {
        &self.skipped
    }

    /// Whether both hold the same keys.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.keys == other.keys
    }

    /// Whether a token is known to be signed by one of the keys.
    pub(super) fn is_known(&self, token: &Token) -> bool {
        token.signed_by() == self.number
    }

    /// Whether one of the keys signed a token; if so, the token remembers it.
    ///
    /// A key counts if it has the name that the token gives, or either of them has none, and if the token's algorithm is its
    /// own, or it has none and the algorithm fits its kind.
    ///
    /// # Errors
    /// [`Failure::UnknownKey`] when no key counts, [`Failure::Signature`] when none of them signed it.
    pub fn verify(&self, token: &Token) -> Result<(), Failure> {
        if self.is_known(token) {
            return Ok(());
        }
        let name = token.header().get("alg").and_then(Value::as_str).ok_or(Failure::NoAlgorithm)?;
        let algorithm: Algorithm = name.parse().map_err(|()| Failure::Algorithm)?;
        let (signed, signature) = token.text().rsplit_once('.').ok_or(Failure::Shape)?;
        let signature = decode(signature).ok_or(Failure::Encoding(Part::Signature))?;
        let mut fitting = self.keys.iter().filter(|key| key.fits(token.key_id(), algorithm)).take(MAX_TRIED).peekable();
        if fitting.peek().is_none() {
            return Err(Failure::UnknownKey);
        }
        if !fitting.any(|key| key.key.verify(algorithm, signed.as_bytes(), &signature)) {
            return Err(Failure::Signature);
        }
        token.set_signed_by(self.number);
        Ok(())
    }
}

impl Key {
    fn from_jwk(jwk: &Value) -> Result<Self, Skipped> {
        let Value::Object(jwk) = jwk else { return Err(Skipped::NoObject) };
        // A private key that is published is everybody's.
        if SECRETS.iter().any(|secret| jwk.contains_key(*secret)) {
            return Err(Skipped::Private);
        }
        // The second is what SPIFFE calls it.
        let signs = |usage: &Value| matches!(usage.as_str(), Some("sig" | "jwt-svid"));
        if let Some(usage) = jwk.get("use").filter(|usage| !signs(usage)) {
            return Err(Skipped::Use(usage.as_str().unwrap_or_default().to_owned()));
        }
        let verifies =
            |operations: &Value| operations.as_array().is_some_and(|all| all.iter().any(|one| one == "verify"));
        if !jwk.get("key_ops").is_none_or(verifies) {
            return Err(Skipped::Operations);
        }
        let algorithm: Option<Algorithm> = match text(jwk, "alg")? {
            None => None,
            Some(name) => Some(name.parse().map_err(|()| Skipped::Algorithm(name.to_owned()))?),
        };
        let id = text(jwk, "kid")?.map(str::to_owned);
        let key = PublicKey::from_jwk(jwk).map_err(Skipped::Key)?;
        match algorithm {
            Some(algorithm) if !algorithm.fits(key.kind()) => Err(Skipped::Algorithm(algorithm.to_string())),
            _ => Ok(Self { id, algorithm, key }),
        }
    }

    fn fits(&self, id: Option<&str>, algorithm: Algorithm) -> bool {
        let named = match (&self.id, id) {
            (Some(own), Some(wanted)) => own == wanted,
            _ => true,
        };
        named && self.algorithm.is_none_or(|own| own == algorithm) && algorithm.fits(self.key.kind())
    }
}

/// A member that is a text, if it is there and not empty.
fn text<'a>(jwk: &'a Map<String, Value>, member: &'static str) -> Result<Option<&'a str>, Skipped> {
    match jwk.get(member) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.as_str()).filter(|text| !text.is_empty())),
        Some(_) => Err(Skipped::Key(KeyError::Member(member))),
    }
}

/// A text is no JWK set that can be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeySetError {
    /// Larger than [`MAX_KEY_SET_BYTES`].
    #[error("a key set of {0} bytes exceeds the limit of {MAX_KEY_SET_BYTES}")]
    TooLarge(usize),
    /// Not JSON, or JSON with two members of one name.
    #[error("the key set cannot be read")]
    Json(#[source] json::Error),
    /// There is no list `keys`.
    #[error("the key set has no list `keys`")]
    NoKeys,
    /// More than [`MAX_KEY_SET_KEYS`].
    #[error("{0} keys exceed the limit of {MAX_KEY_SET_KEYS}")]
    TooMany(usize),
    /// No key in it can be used.
    #[error("none of {} keys can be used", .0.len())]
    NoUsableKey(Vec<(usize, Skipped)>),
}

/// Why a key is left out.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Skipped {
    /// Not a JSON object.
    #[error("not an object")]
    NoObject,
    /// It holds members of a private or symmetric key.
    #[error("it holds a secret")]
    Private,
    /// It is for something else than signatures.
    #[error("its use is `{0}`")]
    Use(String),
    /// Its operations do not include `verify`.
    #[error("its operations do not include `verify`")]
    Operations,
    /// Its algorithm is not accepted, or does not fit it.
    #[error("its algorithm is `{0}`")]
    Algorithm(String),
    /// The key itself cannot be used.
    #[error("it cannot be used")]
    Key(#[source] KeyError),
}
