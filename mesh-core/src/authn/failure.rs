use http::StatusCode;

/// Why a token, or its absence, is not accepted. The texts are Envoy's, as clients know them; where Envoy has no such check,
/// they are like its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// There is no token.
    #[error("Jwt is missing")]
    Missing,
    /// More than [`MAX_TOKENS`](super::limits::MAX_TOKENS).
    #[error("Found multiple Jwt tokens")]
    TooMany,
    /// Larger than [`MAX_TOKEN_BYTES`](super::limits::MAX_TOKEN_BYTES).
    #[error("Jwt is too large")]
    TooLarge,
    /// Not three parts.
    #[error("Jwt is not in the form of Header.Payload.Signature with two dots and 3 sections")]
    Shape,
    /// A part is not base64url.
    #[error("Jwt {0} is an invalid Base64url encoded")]
    Encoding(Part),
    /// A part is no JSON object, or holds two members of one name.
    #[error("Jwt {0} is an invalid JSON")]
    Json(Part),
    /// The header names no algorithm.
    #[error("Jwt header [alg] field is required and must be a string")]
    NoAlgorithm,
    /// The header names an algorithm that is not accepted, `none` among them.
    #[error("Jwt header [alg] is not supported")]
    Algorithm,
    /// The name of the key is no text.
    #[error("Jwt header [kid] field is not a string")]
    KeyId,
    /// The header demands to be understood in a way that is not (RFC 7515 section 4.1.11, RFC 7797).
    #[error("Jwt header [{0}] is not supported")]
    Header(&'static str),
    /// A claim is not of the type that it must have.
    #[error("Jwt payload [{claim}] field is not {wanted}")]
    Claim {
        /// Its name.
        claim: &'static str,
        /// What it must be.
        wanted: &'static str,
    },
    /// No provider has the issuer.
    #[error("Jwt issuer is not configured")]
    Issuer,
    /// None of the audiences counts here.
    #[error("Audiences in Jwt are not allowed")]
    Audience,
    /// The subject does not look as it must.
    #[error("Jwt subject is not allowed")]
    Subject,
    /// Its begin lies ahead.
    #[error("Jwt not yet valid")]
    NotYetValid,
    /// Its end has passed.
    #[error("Jwt is expired")]
    Expired,
    /// It has no end and must have one.
    #[error("Jwt payload [exp] field is required")]
    NoExpiration,
    /// Its end lies too far ahead.
    #[error("Jwt lifetime is too long")]
    Lifetime,
    /// The provider has no key of the name, or none for the algorithm.
    #[error("Jwks doesn't have key to match kid or alg from Jwt")]
    UnknownKey,
    /// None of the provider's keys made the signature.
    #[error("Jwt verification fails")]
    Signature,
    /// The provider's key set holds no usable key.
    #[error("Jwks doesn't have any valid public key")]
    NoKeys,
    /// The provider's keys could not be fetched, and never could.
    #[error("Jwks remote fetch is failed")]
    KeysUnavailable,
}

impl Failure {
    /// The status of the answer: 403 if only the audience is wrong, else 401.
    #[must_use]
    pub fn status(self) -> StatusCode {
        match self {
            Self::Audience => StatusCode::FORBIDDEN,
            _ => StatusCode::UNAUTHORIZED,
        }
    }
}

/// A part of a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Part {
    /// The first.
    Header,
    /// The second.
    Payload,
    /// The third.
    Signature,
}

impl std::fmt::Display for Part {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Header => "header",
            Self::Payload => "payload",
            Self::Signature => "signature",
        })
    }
}
