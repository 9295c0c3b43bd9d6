use super::super::pick::PickError;

/// Why a request has no response.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BalancedError<E> {
    /// There is no endpoint for it.
    #[error(transparent)]
    Pick(PickError),
    /// The service of its endpoint failed.
    #[error("the endpoint failed")]
    Endpoint(#[source] E),
}
