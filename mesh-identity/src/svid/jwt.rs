use std::fmt;
use std::time::SystemTime;

use mesh_core::name::SpiffeId;
use serde_json::{Map, Value};

/// A JWT-SVID that was verified, or was issued to us (SPIFFE JWT-SVID document).
#[derive(Clone, PartialEq, Eq)]
pub struct JwtSvid {
    pub(crate) id: SpiffeId,
    pub(crate) audience: Vec<String>,
    pub(crate) expires: SystemTime,
    pub(crate) issued: Option<SystemTime>,
    pub(crate) claims: Map<String, Value>,
    pub(crate) token: String,
}

impl JwtSvid {
    /// Of whom it speaks (`sub`).
    #[must_use]
    pub fn id(&self) -> &SpiffeId {
        &self.id
    }

    /// For whom it is meant (`aud`).
    #[must_use]
    pub fn audience(&self) -> &[String] {
        &self.audience
    }

    /// Its end (`exp`).
    #[must_use]
    pub fn expires(&self) -> SystemTime {
        self.expires
    }

    /// When it was issued (`iat`), if it says so.
    #[must_use]
    pub fn issued(&self) -> Option<SystemTime> {
        self.issued
    }

    /// All claims. Those of a foreign trust domain beyond SPIFFE's own mean nothing here without a rule that says so.
    #[must_use]
    pub fn claims(&self) -> &Map<String, Value> {
        &self.claims
    }

    /// The token. Whoever holds it can pass for the subject before its audience: a secret.
    #[must_use]
    pub fn token(&self) -> &str {
        &self.token
    }
}

impl fmt::Debug for JwtSvid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JwtSvid")
            .field("id", &self.id.to_string())
            .field("audience", &self.audience)
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}
