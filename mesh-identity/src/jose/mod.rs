//! JSON Web Keys and Signatures (RFC 7515, 7517, 7518) as far as SPIFFE and tokens of requests use them: ten
//! algorithms, public keys, the
//! compact serialisation, and JSON read so that no member can hide behind another of the same name.

mod algorithm;
pub mod json;
mod jws;
mod key;

pub use algorithm::Algorithm;
pub(crate) use jws::sign;
pub use jws::{Compact, JwsError};
pub use key::{KeyError, KeyKind, PublicKey, SigningKey};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// base64url without padding (RFC 7515 section 2), as it is written.
pub(crate) fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The bytes of a base64url text. Padding, other alphabets and stray trailing bits are refused.
pub(crate) fn decode(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}
