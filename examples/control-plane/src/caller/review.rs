use std::fmt;
use std::future::Future;
use std::pin::Pin;

/// Finds out whose token of a Kubernetes service account somebody brings. Whoever implements it answers within seconds: a call
/// waits for it.
pub trait ReviewToken: fmt::Debug + Send + Sync + 'static {
    /// Judges a token: signature, issuer, audience and time, and that its service account and pod are still there as far as the
    /// reviewer knows.
    fn review<'a>(&'a self, token: &'a str) -> Review<'a>;
}

/// A review under way.
pub type Review<'a> = Pin<Box<dyn Future<Output = Result<ServiceAccountToken, ReviewError>> + Send + 'a>>;

/// Whose a good token is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceAccountToken {
    /// Namespace of the service account.
    pub namespace: String,
    /// Name of the service account.
    pub account: String,
    /// The pod that it is bound to.
    pub pod: Option<Bound>,
    /// The node of that pod. Kubernetes says it from 1.30 on.
    pub node: Option<Bound>,
}

/// An object that a token is bound to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bound {
    /// Its name.
    pub name: String,
    /// Its uid; empty where nobody says.
    pub uid: String,
}

impl ServiceAccountToken {
    /// What a subject names: `system:serviceaccount:<namespace>:<name>`.
    ///
    /// # Errors
    /// [`ReviewError::Claim`] when it names no service account.
    pub(super) fn of_subject(subject: &str) -> Result<Self, ReviewError> {
        let named = subject.strip_prefix("system:serviceaccount:").and_then(|rest| rest.split_once(':'));
        let (namespace, account) = named.ok_or(ReviewError::Claim("sub"))?;
        if namespace.is_empty() || account.is_empty() || account.contains(':') {
            return Err(ReviewError::Claim("sub"));
        }
        Ok(Self { namespace: namespace.to_owned(), account: account.to_owned(), pod: None, node: None })
    }
}

/// Why a token tells nothing of who brings it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReviewError {
    /// No issuer that is believed signed it, or not for us, or not for now.
    #[error("the token is not good: {0}")]
    Refused(String),
    /// A claim is absent, malformed, or contradicts another.
    #[error("claim `{0}` of the token is absent, malformed, or contradicts another")]
    Claim(&'static str),
    /// It could not be judged now.
    #[error("the token cannot be judged now: {0}")]
    Unavailable(String),
}
