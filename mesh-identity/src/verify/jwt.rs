use std::time::{Duration, SystemTime};

use mesh_core::name::{SpiffeId, parse_spiffe_id};
use serde_json::{Map, Value};

use crate::bundle::{BundleSet, JwtAuthority};
use crate::jose::{Compact, JwsError};
use crate::svid::JwtSvid;

/// How far clocks may lie apart, both ways.
const LEEWAY: Duration = Duration::from_secs(30);

/// Most keys that are tried on a token that names none.
const MAX_TRIED: usize = 8;

/// The values by which a verifier knows itself in `aud`. Never empty: a verifier that accepts every audience would accept
/// what was meant for others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Audiences(Vec<String>);

impl Audiences {
    /// Any one of these, which must not be empty.
    ///
    /// # Errors
    /// [`JwtError::NoAudiences`] when there is none, or an empty one.
    pub fn new<T: Into<String>>(values: impl IntoIterator<Item = T>) -> Result<Self, JwtError> {
        let values: Vec<String> = values.into_iter().map(Into::into).collect();
        if values.is_empty() || values.iter().any(String::is_empty) {
            return Err(JwtError::NoAudiences);
        }
        Ok(Self(values))
    }
}

/// Verifies a JWT-SVID: shape, header, signature by a JWT authority of the subject's own trust domain, times, audience.
///
/// The header may hold `alg`, `kid` and `typ` and nothing else (JWT-SVID section 2): no key ever comes from the token. The
/// payload is read before the signature is checked only to know whose keys to ask.
///
/// # Errors
/// [`JwtError`] with the reason. No error holds any part of the token but names that it claims.
pub fn jwt(token: &str, bundles: &BundleSet, audiences: &Audiences, now: SystemTime) -> Result<JwtSvid, JwtError> {
    let parsed = Compact::parse(token).map_err(JwtError::Token)?;
    if !parsed.algorithm.is_svid() {
        return Err(JwtError::Token(JwsError::Algorithm(parsed.algorithm.name().to_owned())));
    }
    let key_id = header(&parsed.header)?;
    let id = subject(&parsed.unverified)?;

    let domain = id.trust_domain();
    let trusted = bundles.trusted(domain).ok_or_else(|| JwtError::UnknownTrustDomain(domain.to_string()))?;
    if trusted.until.is_some_and(|until| now > until) {
        return Err(JwtError::StaleBundle(domain.to_string()));
    }
    let fits =
        |key: &&JwtAuthority| key.signs_by(parsed.algorithm) && key_id.is_none_or(|wanted| key.key_id() == wanted);
    let mut candidates = trusted.bundle.jwt_authorities().iter().filter(fits).take(MAX_TRIED).peekable();
    if candidates.peek().is_none() {
        return Err(JwtError::UnknownKey { id: id.to_string(), key_id: key_id.unwrap_or_default().to_owned() });
    }
    if !candidates.any(|key| parsed.verify(key.key())) {
        return Err(JwtError::Signature(id.to_string()));
    }

    // From here on the claims are the subject's trust domain's own word.
    let claims = parsed.unverified;
    let expires = time(&claims, "exp")?.ok_or(JwtError::Claim("exp"))?;
    if now > expires + LEEWAY {
        return Err(JwtError::Expired(id.to_string()));
    }
    let issued = time(&claims, "iat")?;
    for begin in [time(&claims, "nbf")?, issued].into_iter().flatten() {
        if begin > now + LEEWAY {
            return Err(JwtError::NotValidYet(id.to_string()));
        }
    }
    let audience = audience(&claims)?;
    if !audience.iter().any(|one| audiences.0.contains(one)) {
        return Err(JwtError::OtherAudience { id: id.to_string(), audience });
    }
    Ok(JwtSvid { id, audience, expires, issued, claims, token: token.to_owned() })
}

/// Holds the header to its three members and gives the key's name.
fn header(header: &Map<String, Value>) -> Result<Option<&str>, JwtError> {
    let mut key_id = None;
    for (name, value) in header {
        match (name.as_str(), value) {
            ("alg", _) => {}
            ("kid", Value::String(value)) => key_id = Some(value.as_str()),
            ("typ", Value::String(value)) if value == "JWT" || value == "JOSE" => {}
            _ => return Err(JwtError::Header(name.clone())),
        }
    }
    Ok(key_id)
}

fn subject(claims: &Map<String, Value>) -> Result<SpiffeId, JwtError> {
    let text = claims.get("sub").and_then(Value::as_str).ok_or(JwtError::Claim("sub"))?;
    let id = parse_spiffe_id(text).map_err(JwtError::Subject)?;
    if id.path().is_empty() { Err(JwtError::Claim("sub")) } else { Ok(id) }
}

/// A NumericDate (RFC 7519 section 2): seconds since 1970, whole or not.
fn time(claims: &Map<String, Value>, name: &'static str) -> Result<Option<SystemTime>, JwtError> {
    let Some(value) = claims.get(name) else { return Ok(None) };
    let seconds = value.as_f64().filter(|seconds| (0.0..1e15).contains(seconds)).ok_or(JwtError::Claim(name))?;
    let since = Duration::try_from_secs_f64(seconds).map_err(|_| JwtError::Claim(name))?;
    SystemTime::UNIX_EPOCH.checked_add(since).map(Some).ok_or(JwtError::Claim(name))
}

/// One value or a list of them, none empty.
fn audience(claims: &Map<String, Value>) -> Result<Vec<String>, JwtError> {
    let values = match claims.get("aud") {
        Some(Value::String(one)) => vec![one.clone()],
        Some(Value::Array(many)) => {
            let texts: Option<Vec<String>> = many.iter().map(|value| value.as_str().map(str::to_owned)).collect();
            texts.ok_or(JwtError::Claim("aud"))?
        }
        _ => return Err(JwtError::Claim("aud")),
    };
    if values.is_empty() || values.iter().any(String::is_empty) {
        return Err(JwtError::Claim("aud"));
    }
    Ok(values)
}

/// Why a token is no JWT-SVID for us.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JwtError {
    /// The verifier was given no audience, or an empty one.
    #[error("a verifier of tokens needs an audience that is not empty")]
    NoAudiences,
    /// Not a signed token of an allowed algorithm.
    #[error("not a JWT-SVID")]
    Token(#[source] JwsError),
    /// A header member that a JWT-SVID must not have, or an unknown value.
    #[error("header member `{0}` is not allowed, or its value is not")]
    Header(String),
    /// A claim is absent or malformed.
    #[error("claim `{0}` is absent or malformed")]
    Claim(&'static str),
    /// The subject is no SPIFFE ID.
    #[error("the subject is no SPIFFE ID")]
    Subject(#[source] mesh_core::name::Error),
    /// No bundle of the subject's trust domain is known.
    #[error("trust domain `{0}` is not trusted here")]
    UnknownTrustDomain(String),
    /// The bundle of the subject's trust domain has not been confirmed for too long.
    #[error("the bundle of trust domain `{0}` has not been confirmed for too long")]
    StaleBundle(String),
    /// The subject's trust domain has no such key, or not for this algorithm.
    #[error("the trust domain of `{id}` has no key `{key_id}` for this signature")]
    UnknownKey {
        /// The subject claimed.
        id: String,
        /// The key named.
        key_id: String,
    },
    /// The signature does not verify.
    #[error("the signature on the token for `{0}` does not verify")]
    Signature(String),
    /// Its end has passed.
    #[error("the token of `{0}` has expired")]
    Expired(String),
    /// Its begin, or its time of issue, lies ahead.
    #[error("the token of `{0}` is not valid yet")]
    NotValidYet(String),
    /// It is meant for others.
    #[error("the token of `{id}` is meant for {audience:?}")]
    OtherAudience {
        /// The subject.
        id: String,
        /// For whom it is meant.
        audience: Vec<String>,
    },
}
