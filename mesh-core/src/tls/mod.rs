//! How a connection is to be secured: certificates, whom to believe, what to offer. Values only: no TLS is done here and no
//! file is read.
//!
//! [`UpstreamTls`] and [`DownstreamTls`] stand in clusters and listeners; the [`Secret`]s that they name come on their own
//! (Envoy's secret discovery). A server is always verified: there is no [`UpstreamTls`] without a [`ValidationSource`], and
//! [`ValidationSource::resolve`] gives nothing that believes in nobody.
//!
//! ```
//! use mesh_core::string_match::Pattern;
//! use mesh_core::tls::{DataSource, SanKind, SanMatcher, TrustedCa, Validation, ValidationSource};
//!
//! // The listener says which names are good, the secret says whom to believe.
//! let web = SanMatcher { kind: SanKind::Uri, pattern: Pattern::exact("spiffe://cluster.local/ns/shop/sa/web") };
//! let default = Validation { names: vec![web], ..Validation::default() };
//! let source = ValidationSource::Combined { default, secret: "roots".into() };
//! assert!(source.resolve(None).is_err(), "not ready without the secret");
//!
//! let roots = Validation { trusted_ca: Some(TrustedCa::Bundle(DataSource::File("/roots.pem".into()))), ..Validation::default() };
//! let validation = source.resolve(Some(&roots))?;
//! assert_eq!((validation.names.len(), validation.trusted_ca), (1, roots.trusted_ca));
//! # Ok::<(), mesh_core::tls::ValidationError>(())
//! ```

mod certificate;
mod context;
mod data;
mod parameters;
mod validation;

pub use certificate::{Certificate, CertificateSource, Secret, SecretKind};
pub use context::{ClientCertificate, DownstreamTls, UpstreamTls};
pub use data::{DataSource, ProviderInstance, Sensitive};
pub use parameters::{CipherSuite, Group, Parameters, Version};
pub use validation::{
    Fingerprint, Revocation, San, SanKind, SanMatcher, TrustedCa, Validation, ValidationError, ValidationSource,
};

#[cfg(test)]
mod tests;
