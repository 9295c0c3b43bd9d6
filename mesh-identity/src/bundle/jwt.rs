use crate::jose::{Algorithm, PublicKey};

/// A key by which JWT-SVIDs of a trust domain are signed (JWT-SVID section 6).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct JwtAuthority {
    key_id: String,
    key: PublicKey,
    algorithm: Option<Algorithm>,
}

impl JwtAuthority {
    /// A key and its name.
    #[must_use]
    pub fn new(key_id: &str, key: PublicKey) -> Self {
        Self { key_id: key_id.to_owned(), key, algorithm: None }
    }

    /// Allows one algorithm only. Default: every one that fits the key.
    #[must_use]
    pub fn with_algorithm(self, algorithm: Option<Algorithm>) -> Self {
        Self { algorithm, ..self }
    }

    /// Its name, the `kid` of what it signs.
    #[must_use]
    pub fn key_id(&self) -> &str {
        &self.key_id
    }

    /// The key.
    #[must_use]
    pub fn key(&self) -> &PublicKey {
        &self.key
    }

    /// Whether it signs by an algorithm.
    #[must_use]
    pub fn signs_by(&self, algorithm: Algorithm) -> bool {
        algorithm.fits(self.key.kind()) && self.algorithm.is_none_or(|own| own == algorithm)
    }
}
