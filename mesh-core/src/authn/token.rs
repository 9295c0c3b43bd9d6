use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use serde_json::{Map, Value};

use super::{Failure, Provider};
use crate::name::Text;

/// A token that was taken apart. Nothing in it may be believed before a [`Keys`](super::Keys) says that its provider signed
/// it.
pub struct Token {
    text: Box<str>,
    header: Map<String, Value>,
    payload: Map<String, Value>,
    audiences: Vec<String>,
    not_before: u64,
    expires: Option<u64>,
    signed_by: AtomicU64,
}

impl Token {
    /// A token of this text, whose first two parts hold this.
    ///
    /// # Errors
    /// [`Failure`] with the field that has not the type that it must have.
    pub fn new(text: &str, header: Map<String, Value>, payload: Map<String, Value>) -> Result<Self, Failure> {
        // RFC 7515 section 4.1.11: what must be understood and is not makes a token invalid. No extension is understood.
        if let Some(name) = ["crit", "b64"].into_iter().find(|name| header.contains_key(*name)) {
            return Err(Failure::Header(name));
        }
        if header.get("kid").is_some_and(|kid| !kid.is_string()) {
            return Err(Failure::KeyId);
        }
        for claim in ["iss", "sub", "jti"] {
            if payload.get(claim).is_some_and(|value| !value.is_string()) {
                return Err(Failure::Claim { claim, wanted: "a string" });
            }
        }
        seconds(&payload, "iat")?;
        let not_before = seconds(&payload, "nbf")?.unwrap_or_default();
        let expires = seconds(&payload, "exp")?;
        let audiences = audiences(&payload)?;
        let signed_by = AtomicU64::new(0);
        Ok(Self { text: text.into(), header, payload, audiences, not_before, expires, signed_by })
    }

    /// The text as it was sent.
    #[must_use]
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The members of its header.
    #[must_use]
    pub fn header(&self) -> &Map<String, Value> {
        &self.header
    }

    /// Its claims.
    #[must_use]
    pub fn payload(&self) -> &Map<String, Value> {
        &self.payload
    }

    /// Its claims as they were sent: base64url without padding.
    #[must_use]
    pub fn encoded_payload(&self) -> &str {
        self.text.split('.').nth(1).unwrap_or_default()
    }

    /// The name of the key that is said to have signed it; none if it is empty.
    #[must_use]
    pub fn key_id(&self) -> Option<&str> {
        self.header.get("kid").and_then(Value::as_str).filter(|kid| !kid.is_empty())
    }

    /// `iss`, or an empty text.
    #[must_use]
    pub fn issuer(&self) -> &str {
        self.claim_text("iss")
    }

    /// `sub`, or an empty text.
    #[must_use]
    pub fn subject(&self) -> &str {
        self.claim_text("sub")
    }

    fn claim_text(&self, claim: &str) -> &str {
        self.payload.get(claim).and_then(Value::as_str).unwrap_or_default()
    }

    /// The number of the key set that was found to have signed it; 0 if none was yet. It is for whoever verifies signatures
    /// and keeps tokens: a token that comes again need not be verified again, as long as the keys are the same.
    #[must_use]
    pub fn signed_by(&self) -> u64 {
        self.signed_by.load(Ordering::Acquire)
    }

    /// Notes which key set signed it.
    pub fn set_signed_by(&self, keys: u64) {
        self.signed_by.store(keys, Ordering::Release);
    }

    /// Whether it says what a provider demands, whoever signed it. The order of the checks is Envoy's.
    ///
    /// # Errors
    /// [`Failure`] with the first reason against it.
    pub fn check(&self, provider: &Provider, audiences: Option<&[Text]>, now: SystemTime) -> Result<(), Failure> {
        if provider.issuer.as_ref().is_some_and(|issuer| *issuer != *self.issuer()) {
            return Err(Failure::Issuer);
        }
        if provider.subjects.as_ref().is_some_and(|pattern| !pattern.is_match(self.subject())) {
            return Err(Failure::Subject);
        }
        self.check_time(provider, now)?;
        let wanted = audiences.unwrap_or(&provider.audiences);
        let is_wanted = |given: &String| wanted.iter().any(|one| bare(one.as_str()) == bare(given));
        if !wanted.is_empty() && !self.audiences.iter().any(is_wanted) {
            return Err(Failure::Audience);
        }
        Ok(())
    }

    fn check_time(&self, provider: &Provider, now: SystemTime) -> Result<(), Failure> {
        let now = now.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let skew = provider.clock_skew;
        if now.saturating_add(skew) < Duration::from_secs(self.not_before) {
            return Err(Failure::NotYetValid);
        }
        let Some(expires) = self.expires.map(Duration::from_secs) else {
            let needed = provider.require_expiration || provider.max_lifetime.is_some();
            return if needed { Err(Failure::NoExpiration) } else { Ok(()) };
        };
        // Whole seconds, as issuers count them.
        if now.as_secs() > expires.saturating_add(skew).as_secs() {
            return Err(Failure::Expired);
        }
        if provider.max_lifetime.is_some_and(|most| expires.saturating_sub(now) > most) {
            return Err(Failure::Lifetime);
        }
        Ok(())
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A token is a secret as long as it is valid.
        f.debug_struct("Token")
            .field("issuer", &self.issuer())
            .field("subject", &self.subject())
            .finish_non_exhaustive()
    }
}

/// A NumericDate (RFC 7519 section 2): seconds since 1970, of which a fraction does not count.
fn seconds(payload: &Map<String, Value>, claim: &'static str) -> Result<Option<u64>, Failure> {
    let Some(value) = payload.get(claim) else { return Ok(None) };
    let whole = value.as_u64().filter(|seconds| *seconds <= i64::MAX as u64);
    let seconds = whole.or_else(|| {
        let seconds = value.as_f64().filter(|seconds| (0.0..1e15).contains(seconds))?;
        Duration::try_from_secs_f64(seconds).ok().map(|since| since.as_secs())
    });
    seconds.map(Some).ok_or(Failure::Claim { claim, wanted: "a positive 64 bit integer" })
}

/// One text or a list of texts.
fn audiences(payload: &Map<String, Value>) -> Result<Vec<String>, Failure> {
    let texts = match payload.get("aud") {
        None => Some(Vec::new()),
        Some(Value::String(one)) => Some(vec![one.clone()]),
        Some(Value::Array(many)) => many.iter().map(|value| value.as_str().map(str::to_owned)).collect(),
        Some(_) => None,
    };
    texts.ok_or(Failure::Claim { claim: "aud", wanted: "a string or string list" })
}

/// An audience as it is compared: issuers and services write it with and without a scheme and a slash.
fn bare(audience: &str) -> &str {
    let rest = audience.strip_prefix("http://").or_else(|| audience.strip_prefix("https://")).unwrap_or(audience);
    rest.strip_suffix('/').unwrap_or(rest)
}
