use std::fmt;

pub use spiffe::{SpiffeId, TrustDomain};

use super::{Error, Text};

/// Reads a SPIFFE ID byte for byte in canonical form (SPIFFE-ID sections 2.1 to 2.4).
///
/// The `spiffe` crate lowers the case of a trust domain; here an upper-case spelling is refused. Two spellings of one
/// principal would be a way past a policy. Whatever comes from a certificate, a token, a message or a file goes through
/// this function.
///
/// # Errors
/// [`Error::SpiffeId`] with the text; [`Error::SpiffeIdLength`] for more than 2,048 bytes.
pub fn parse_spiffe_id(text: &str) -> Result<SpiffeId, Error> {
    if text.len() > MAX_ID_BYTES {
        return Err(Error::SpiffeIdLength(text.len()));
    }
    match SpiffeId::new(text) {
        Ok(id) if id.to_string() == text => Ok(id),
        _ => Err(Error::SpiffeId(text.to_owned())),
    }
}

/// Reads a trust domain name in canonical form: `[a-z0-9._-]`, 1 to 255 bytes (SPIFFE-ID section 2.1).
///
/// # Errors
/// [`Error::TrustDomain`] with the text.
pub fn parse_trust_domain(text: &str) -> Result<TrustDomain, Error> {
    match TrustDomain::new(text) {
        Ok(domain) if domain.as_str() == text => Ok(domain),
        _ => Err(Error::TrustDomain(text.to_owned())),
    }
}

/// Longest SPIFFE ID: what every implementation must accept (SPIFFE-ID section 2.3), and no more, so that none of them sees a
/// name that another refuses.
const MAX_ID_BYTES: usize = 2048;

/// Longest namespace or service account: that of a Kubernetes name. Two of them, a trust domain of 255 bytes and the
/// fixed parts stay below the 2,048 bytes that every SPIFFE implementation must accept (SPIFFE-ID section 2.3).
const MAX_SEGMENT_BYTES: usize = 253;

/// The identity of a workload in the form that Kubernetes meshes use:
/// `spiffe://<trust domain>/ns/<namespace>/sa/<service account>`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceAccount {
    trust_domain: TrustDomain,
    namespace: Text,
    name: Text,
}

impl ServiceAccount {
    /// A service account of a trust domain.
    ///
    /// # Errors
    /// [`Error::Segment`] when namespace or name cannot be a path segment of a SPIFFE ID.
    pub fn new(trust_domain: TrustDomain, namespace: &str, name: &str) -> Result<Self, Error> {
        for segment in [namespace, name] {
            let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
            if segment.is_empty()
                || segment.len() > MAX_SEGMENT_BYTES
                || matches!(segment, "." | "..")
                || !segment.bytes().all(allowed)
            {
                return Err(Error::Segment(segment.to_owned()));
            }
        }
        Ok(Self { trust_domain, namespace: namespace.into(), name: name.into() })
    }

    /// The service account that a SPIFFE ID names, or `None` when the ID has another form.
    #[must_use]
    pub fn from_spiffe_id(id: &SpiffeId) -> Option<Self> {
        let (namespace, name) = service_account_path(id.path())?;
        Some(Self { trust_domain: id.trust_domain().clone(), namespace: namespace.into(), name: name.into() })
    }

    /// The same identity as a SPIFFE ID.
    #[must_use]
    #[expect(clippy::missing_panics_doc, clippy::expect_used, reason = "the segments were checked at construction")]
    pub fn to_spiffe_id(&self) -> SpiffeId {
        SpiffeId::from_segments(self.trust_domain.clone(), &["ns", self.namespace.as_str(), "sa", self.name.as_str()])
            .expect("both segments were checked when the account was made")
    }

    /// The trust domain.
    #[must_use]
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.trust_domain
    }

    /// The namespace.
    #[must_use]
    pub fn namespace(&self) -> &Text {
        &self.namespace
    }

    /// The name of the account inside its namespace.
    #[must_use]
    pub fn name(&self) -> &Text {
        &self.name
    }
}

impl fmt::Display for ServiceAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "spiffe://{}/ns/{}/sa/{}", self.trust_domain, self.namespace, self.name)
    }
}

/// Namespace and name of a `/ns/<namespace>/sa/<name>` path, without allocating.
pub(crate) fn service_account_path(path: &str) -> Option<(&str, &str)> {
    let (namespace, name) = path.strip_prefix("/ns/")?.split_once("/sa/")?;
    (!namespace.is_empty() && !namespace.contains('/') && !name.is_empty() && !name.contains('/'))
        .then_some((namespace, name))
}
