use std::fmt;

use mesh_core::name::{SpiffeId, TrustDomain};

use super::{Error, VerifiedPeer};

/// Who may be at the other end, beside having a valid chain.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Expected {
    /// Anybody of a trusted trust domain; policy decides later.
    Anyone,
    /// One of these. Nobody, when there are none.
    Ids(Vec<SpiffeId>),
    /// A member of this trust domain.
    TrustDomain(TrustDomain),
}

impl Expected {
    /// Checks a verified peer.
    ///
    /// # Errors
    /// [`Error::Unexpected`] with both sides.
    pub fn check(&self, peer: &VerifiedPeer) -> Result<(), Error> {
        let fits = match self {
            Self::Anyone => true,
            Self::Ids(ids) => ids.contains(peer.id()),
            Self::TrustDomain(domain) => peer.id().is_member_of(domain),
        };
        if fits {
            return Ok(());
        }
        Err(Error::Unexpected { presented: peer.id().to_string(), expected: self.clone() })
    }
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anyone => f.write_str("anyone"),
            Self::Ids(ids) if ids.is_empty() => f.write_str("nobody"),
            Self::Ids(ids) => {
                for (index, id) in ids.iter().enumerate() {
                    write!(f, "{}`{id}`", if index == 0 { "" } else { " or " })?;
                }
                Ok(())
            }
            Self::TrustDomain(domain) => write!(f, "a member of `{domain}`"),
        }
    }
}
