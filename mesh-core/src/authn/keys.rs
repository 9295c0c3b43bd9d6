use std::pin::Pin;
use std::sync::Arc;
use std::time::SystemTime;

use super::{Failure, KeySource, Token};

/// Reads tokens, and tells who signed them and what time it is. There is no cryptography in this crate: `mesh-identity` has
/// an implementation, `keys::TokenVerifier`.
pub trait Verifier: Send + Sync {
    /// The wall time by which tokens are judged.
    fn now(&self) -> SystemTime;

    /// Takes a token apart: three parts of base64url, a header and a payload that are JSON objects without members of the
    /// same name, an algorithm that is accepted.
    ///
    /// # Errors
    /// [`Failure`] with the part.
    fn read(&self, text: &str) -> Result<Arc<Token>, Failure>;

    /// The keys of a provider. They are kept fresh as long as the value is held.
    fn keys(&self, source: &KeySource) -> Arc<dyn Keys>;
}

/// The keys of a provider.
pub trait Keys: Send + Sync {
    /// Whether one of them signed a token.
    fn verify(&self, token: &Arc<Token>) -> Verification;
}

/// What keys say about a token.
#[must_use]
pub enum Verification {
    /// Whether one of them signed it.
    Done(Result<(), Failure>),
    /// The keys are being fetched; the future says it then.
    Wait(Fetching),
}

/// A wait for keys, and what they say about the token.
pub type Fetching = Pin<Box<dyn Future<Output = Result<(), Failure>> + Send>>;

impl std::fmt::Debug for Verification {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Done(result) => f.debug_tuple("Done").field(result).finish(),
            Self::Wait(_) => f.write_str("Wait"),
        }
    }
}
