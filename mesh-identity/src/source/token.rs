use std::collections::HashMap;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

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

/// Most tokens that are kept of one identity: with the largest tokens, a mebibyte. Beyond it those that end first go, so that
/// a workload that asks for ever new audiences takes nothing from others.
const MAX_TOKENS: usize = 64;

/// Tokens by identity and audience, in memory only: served to half of their life, and to their end while the issuer cannot
/// be reached.
pub struct JwtCache {
    source: Arc<dyn JwtSource>,
    clock: Arc<dyn Clock>,
    tokens: Mutex<HashMap<SpiffeId, HashMap<Vec<String>, JwtSvid>>>,
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
        let now = self.clock.now();
        let known = self.tokens.lock().get(id).and_then(|tokens| tokens.get(&sorted)).cloned();
        let known = known.filter(|known| now < known.expires());
        if let Some(known) = &known {
            let left = known.expires().duration_since(now).unwrap_or_default();
            let whole = known.issued().and_then(|begin| known.expires().duration_since(begin).ok()).unwrap_or_default();
            if left > whole / 2 {
                return Ok(known.clone());
            }
        }
        match (self.source.fetch_token(id, audience, life).await, known) {
            (Ok(token), _) => {
                self.keep(id, sorted, token.clone(), now);
                Ok(token)
            }
            (Err(error), Some(known)) => {
                tracing::warn!(identity = %id, error = mesh_core::report::chain(&error), "token not renewed; the last one still counts");
                Ok(known)
            }
            (Err(error), None) => Err(error),
        }
    }

    #[cfg(test)]
    pub(super) fn kept(&self, id: &SpiffeId) -> usize {
        self.tokens.lock().get(id).map_or(0, HashMap::len)
    }

    fn keep(&self, id: &SpiffeId, audience: Vec<String>, token: JwtSvid, now: SystemTime) {
        let mut all = self.tokens.lock();
        if !all.contains_key(id) {
            // Identities that went leave nothing behind.
            all.retain(|_, tokens| tokens.values().any(|token| now < token.expires()));
        }
        let tokens = all.entry(id.clone()).or_default();
        tokens.insert(audience, token);
        if tokens.len() > MAX_TOKENS {
            let first = tokens.iter().min_by_key(|(_, token)| token.expires()).map(|(audience, _)| audience.clone());
            first.and_then(|first| tokens.remove(&first));
        }
    }
}

impl fmt::Debug for JwtCache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JwtCache").field("identities", &self.tokens.lock().len()).finish_non_exhaustive()
    }
}
