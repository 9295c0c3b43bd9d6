use http::Uri;
use mesh_core::name::{SpiffeId, TrustDomain};

use crate::bundle::{Bundle, RevocationPolicy};

/// Longest chain of endpoints that authenticate each other.
const MAX_LINKS: usize = 3;

/// How a bundle endpoint proves itself (SPIFFE Federation section 5).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Profile {
    /// `https_web`: by a certificate for the host of its URL.
    Web {
        /// Roots in PEM that may sign it; those of the machine, when there are none.
        roots: Option<Vec<u8>>,
    },
    /// `https_spiffe`: by an SVID of exactly this identity.
    Spiffe {
        /// Its identity.
        endpoint_id: SpiffeId,
        /// A bundle of its trust domain. When it serves that domain, it is verified by this bundle at first, afterwards by the
        /// newest one known. When it serves another, it is verified by this bundle alone, in which nobody else is trusted;
        /// without one, by the bundle in force, of which our own domain or another relationship then tells.
        bootstrap: Option<Bundle>,
    },
}

/// A trust domain to federate with, and where its bundle is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relationship {
    /// The trust domain. Never derived from the URL.
    pub trust_domain: TrustDomain,
    /// `https`, without user information.
    pub url: Uri,
    /// How the endpoint proves itself. Never probed.
    pub profile: Profile,
    /// What revocation lists must say of its members.
    pub revocation: RevocationPolicy,
    /// Whether redirects are followed, three at most, each under the same profile. Default: no.
    pub follow_redirects: bool,
}

impl Relationship {
    /// A relationship, held to the rules of its profile.
    ///
    /// # Errors
    /// [`RelationshipError`].
    pub fn new(trust_domain: TrustDomain, url: &str, profile: Profile) -> Result<Self, RelationshipError> {
        let url = endpoint_url(url)?;
        let relationship =
            Self { trust_domain, url, profile, revocation: RevocationPolicy::Soft, follow_redirects: false };
        if let Profile::Spiffe { endpoint_id, bootstrap } = &relationship.profile {
            if endpoint_id.path().is_empty() {
                return Err(RelationshipError::EndpointId(endpoint_id.to_string()));
            }
            let own = endpoint_id.trust_domain() == &relationship.trust_domain;
            if own && bootstrap.is_none() {
                return Err(RelationshipError::NoBootstrap(relationship.trust_domain.to_string()));
            }
            if bootstrap.as_ref().is_some_and(|bundle| bundle.trust_domain() != endpoint_id.trust_domain()) {
                return Err(RelationshipError::ForeignBootstrap(endpoint_id.to_string()));
            }
        }
        Ok(relationship)
    }

    /// The bundle that the trust domain has until one was fetched.
    pub(super) fn bootstrap(&self) -> Option<&Bundle> {
        match &self.profile {
            Profile::Spiffe { bootstrap, .. } => {
                bootstrap.as_ref().filter(|bundle| *bundle.trust_domain() == self.trust_domain)
            }
            Profile::Web { .. } => None,
        }
    }

    /// The bundle by which an endpoint of another trust domain is verified, and nobody else.
    pub(super) fn pinned(&self) -> Option<&Bundle> {
        match &self.profile {
            Profile::Spiffe { bootstrap, .. } => {
                bootstrap.as_ref().filter(|bundle| *bundle.trust_domain() != self.trust_domain)
            }
            Profile::Web { .. } => None,
        }
    }

    /// The trust domain by whose bundle the endpoint is verified.
    #[must_use]
    pub fn verified_by(&self) -> Option<&TrustDomain> {
        match &self.profile {
            Profile::Web { .. } => None,
            Profile::Spiffe { endpoint_id, .. } => Some(endpoint_id.trust_domain()),
        }
    }
}

/// Holds a URL to the rules of both profiles.
pub(super) fn endpoint_url(text: &str) -> Result<Uri, RelationshipError> {
    let refuse = |why| RelationshipError::Url { url: text.to_owned(), why };
    let url: Uri = text.parse().map_err(|_| refuse("it is no URL"))?;
    if url.scheme_str() != Some("https") {
        return Err(refuse("it must be `https`"));
    }
    let authority = url.authority().ok_or_else(|| refuse("it has no host"))?;
    if authority.as_str().contains('@') {
        return Err(refuse("it must not hold user information"));
    }
    if authority.host().is_empty() {
        return Err(refuse("it has no host"));
    }
    Ok(url)
}

/// Holds relationships against each other: each domain once, and every chain of endpoints that are verified by one
/// another's bundles ends soon, at one that stands by itself.
///
/// # Errors
/// [`RelationshipError`].
pub fn check_all(own: &TrustDomain, all: &[Relationship]) -> Result<(), RelationshipError> {
    for (index, one) in all.iter().enumerate() {
        let name = || one.trust_domain.to_string();
        if one.trust_domain == *own || all[..index].iter().any(|other| other.trust_domain == one.trust_domain) {
            return Err(RelationshipError::Twice(name()));
        }
        let (mut at, mut links) = (one, 0);
        while let Some(by) = at.verified_by().filter(|by| **by != at.trust_domain && *by != own) {
            // A static bundle stands by itself.
            if at.pinned().is_some() {
                break;
            }
            links += 1;
            let next = all.iter().find(|other| other.trust_domain == *by);
            at = next.ok_or_else(|| RelationshipError::Unverified { trust_domain: name(), by: by.to_string() })?;
            if links > MAX_LINKS {
                return Err(RelationshipError::Circle(name()));
            }
        }
    }
    Ok(())
}

/// A relationship that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RelationshipError {
    /// The URL is none of a bundle endpoint.
    #[error("`{url}` is no URL of a bundle endpoint: {why}")]
    Url {
        /// The URL.
        url: String,
        /// Why not.
        why: &'static str,
    },
    /// The endpoint's identity names a trust domain.
    #[error("`{0}` names a trust domain, not an endpoint")]
    EndpointId(String),
    /// The endpoint serves its own trust domain, and nothing says by which bundle it is verified at first.
    #[error("the endpoint of `{0}` serves its own trust domain: a bundle to begin with is needed")]
    NoBootstrap(String),
    /// The bundle to begin with is of another trust domain than the endpoint.
    #[error("the bundle to begin with is not of the trust domain of `{0}`")]
    ForeignBootstrap(String),
    /// The trust domain is our own, or stands there twice.
    #[error("trust domain `{0}` is our own, or named twice")]
    Twice(String),
    /// Nothing tells how the endpoint's own trust domain is verified.
    #[error("the endpoint of `{trust_domain}` is verified by `{by}`, of which no bundle is known")]
    Unverified {
        /// The trust domain.
        trust_domain: String,
        /// The trust domain of its endpoint.
        by: String,
    },
    /// Endpoints are verified by one another's bundles in a circle, or over too many links.
    #[error("the endpoint of `{0}` is verified over more than {MAX_LINKS} others, or in a circle")]
    Circle(String),
}
