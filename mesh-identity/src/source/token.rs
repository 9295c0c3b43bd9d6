use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use mesh_core::name::SpiffeId;
use parking_lot::Mutex;

use super::Error;
use crate::authority::Authority;
use crate::clock::Clock;
use crate::svid::JwtSvid;

/// The future of a token's fetch.
pub type FetchToken<'a> = Pin<Box<dyn Future<Output = Result<JwtSvid, Error>> + Send + 'a>>;

/// An origin of JWT-SVIDs.
pub trait JwtSource: fmt::Debug + Send + Sync + 'static {
    /// Fetches a token of an identity for an audience.
    fn fetch_token<'a>(&'a self, id: &'a SpiffeId, audience: &'a [String], life: Option<Duration>) -> FetchToken<'a>;
}

impl JwtSource for Authority {
    fn fetch_token<'a>(&'a self, id: &'a SpiffeId, audience: &'a [String], life: Option<Duration>) -> FetchToken<'a> {
        let issued = self.issue_jwt(id, audience, life).map_err(Error::Authority);
        Box::pin(std::future::ready(issued))
    }
}

/// Most tokens that are kept.
const MAX_TOKENS: usize = 10_000;

/// Tokens by identity and audience, in memory only: served to half of their life, and to their end while the issuer cannot
/// be reached.
pub struct JwtCache {
    source: Arc<dyn JwtSource>,
    clock: Arc<dyn Clock>,
    tokens: Mutex<HashMap<(SpiffeId, Vec<String>), JwtSvid>>,
}

impl JwtCache {
    /// A cache before a source.
    #[must_use]
    pub fn new(source: Arc<dyn JwtSource>, clock: Arc<dyn Clock>) -> Self {
        Self { source, clock, tokens: Mutex::default() }
    }

    /// A token of an identity for an audience.
    ///
    /// # Errors
    /// What the source says, when there is no token that still counts.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn token(&self, id: &SpiffeId, audience: &[String], life: Option<Duration>) -> Result<JwtSvid, Error> {
        let mut sorted = audience.to_vec();
        sorted.sort();
        let name = (id.clone(), sorted);
        let now = self.clock.now();
        let known = self.tokens.lock().get(&name).filter(|known| now < known.expires()).cloned();
        if let Some(known) = &known {
            let left = known.expires().duration_since(now).unwrap_or_default();
            let whole = known.issued().and_then(|begin| known.expires().duration_since(begin).ok()).unwrap_or_default();
            if left > whole / 2 {
                return Ok(known.clone());
            }
        }
        match (self.source.fetch_token(id, audience, life).await, known) {
            (Ok(token), _) => {
                let mut tokens = self.tokens.lock();
                if tokens.len() >= MAX_TOKENS {
                    tokens.retain(|_, token| now < token.expires());
                }
                if tokens.len() < MAX_TOKENS {
                    tokens.insert(name, token.clone());
                }
                Ok(token)
            }
            (Err(error), Some(known)) => {
                tracing::warn!(identity = %id, error = mesh_core::report::chain(&error), "token not renewed; the last one still counts");
                Ok(known)
            }
            (Err(error), None) => Err(error),
        }
    }
}

impl fmt::Debug for JwtCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JwtCache").field("tokens", &self.tokens.lock().len()).finish_non_exhaustive()
    }
}
