/// A text that is not the name it should be. Every variant carries the text that was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Not a DNS name as Kubernetes and Istio write them (RFC 1123 labels, an optional leading `*.`).
    #[error("`{0}` is no host name: labels of a-z, 0-9, `-` and `_`, 63 bytes each, 253 in all, `*.` only in front")]
    Hostname(String),
    /// Not `namespace/name` with both parts present.
    #[error("`{0}` is not of the form namespace/name")]
    Namespaced(String),
    /// Not a SPIFFE ID in canonical form (SPIFFE-ID section 2).
    #[error("`{0}` is no SPIFFE ID in canonical form")]
    SpiffeId(String),
    /// A SPIFFE ID of more than 2,048 bytes (SPIFFE-ID section 2.3).
    #[error("a SPIFFE ID of {0} bytes exceeds the limit of 2048")]
    SpiffeIdLength(usize),
    /// Not a trust domain name in canonical form (SPIFFE-ID section 2.1).
    #[error("`{0}` is no trust domain name in canonical form")]
    TrustDomain(String),
    /// A namespace or service account that cannot stand in a SPIFFE ID path segment.
    #[error("`{0}` cannot be a path segment of a SPIFFE ID")]
    Segment(String),
}
