/// Evidence does not prove what a node is, or could not be given.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AttestError {
    /// The evidence is malformed, wrong, or for somebody else.
    #[error("the evidence is refused: {0}")]
    Evidence(String),
    /// A challenge, or the answer to one, is wrong.
    #[error("the challenge failed: {0}")]
    Challenge(String),
    /// It was used before.
    #[error("the evidence was used before")]
    Used,
    /// What is needed to verify it cannot be had now.
    #[error("the evidence cannot be verified now: {0}")]
    Unavailable(String),
    /// The node cannot gather its evidence.
    #[error("the evidence cannot be gathered: {0}")]
    Gather(String),
}
