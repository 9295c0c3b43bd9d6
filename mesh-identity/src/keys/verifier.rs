use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::SystemTime;

use mesh_core::authn::{Failure, KeySource, Keys, Part, Token, Verification, Verifier};
use mesh_core::report::chain;
use parking_lot::Mutex;

use super::cache::Cache;
use super::remote::{self, Remote};
use super::{Fetch, KeySet, Web};
use crate::clock::Clock;
use crate::jose::{Compact, JwsError};
use crate::task::Tasks;

/// Verifies tokens of requests by the keys of their issuers.
///
/// One of it serves all filters of a process: keys of one source are fetched once, whoever speaks of them, and as long as
/// somebody does. It must be used within a Tokio runtime where keys are at a URL.
#[derive(Debug)]
pub struct TokenVerifier {
    clock: Arc<dyn Clock>,
    fetch: Arc<dyn Fetch>,
    cache: Arc<Cache>,
    tasks: Tasks,
    sources: Mutex<HashMap<KeySource, Weak<Source>>>,
}

impl TokenVerifier {
    /// Fetches keys as the Web does, by the roots of the machine.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self::fetching(clock, Arc::new(Web::new()))
    }

    /// Fetches keys in another way.
    #[must_use]
    pub fn fetching(clock: Arc<dyn Clock>, fetch: Arc<dyn Fetch>) -> Self {
        let (cache, tasks, sources) = (Arc::default(), Tasks::default(), Mutex::default());
        Self { clock, fetch, cache, tasks, sources }
    }

    fn source(&self, source: &KeySource) -> Arc<Source> {
        let mut sources = self.sources.lock();
        if let Some(known) = sources.get(source).and_then(Weak::upgrade) {
            return known;
        }
        let new = Arc::new(match source {
            KeySource::Inline(text) => Source::Inline(inline(text.as_str()), Arc::clone(&self.cache)),
            KeySource::Remote(keys) => {
                let (fetch, cache) = (Arc::clone(&self.fetch), Arc::clone(&self.cache));
                Source::Remote(Arc::new(Remote::new(keys.clone(), fetch, cache, &self.tasks)))
            }
        });
        sources.retain(|_, known| known.strong_count() > 0);
        sources.insert(source.clone(), Arc::downgrade(&new));
        new
    }
}

impl Verifier for TokenVerifier {
    fn now(&self) -> SystemTime {
        self.clock.now()
    }

    fn read(&self, text: &str) -> Result<Arc<Token>, Failure> {
        if let Some(known) = self.cache.get(text) {
            return Ok(known);
        }
        if text.split('.').any(str::is_empty) {
            return Err(Failure::Shape);
        }
        let Compact { header, unverified, .. } = Compact::parse(text).map_err(failure)?;
        Token::new(text, header, unverified).map(Arc::new)
    }

    fn keys(&self, source: &KeySource) -> Arc<dyn Keys> {
        self.source(source)
    }
}

/// The keys of one source.
#[derive(Debug)]
enum Source {
    /// `None` if no key can be used: then no token is good.
    Inline(Option<KeySet>, Arc<Cache>),
    Remote(Arc<Remote>),
}

impl Keys for Source {
    fn verify(&self, token: &Arc<Token>) -> Verification {
        match self {
            Self::Inline(Some(keys), cache) => Verification::Done(remote::verify(keys, cache, token)),
            Self::Inline(None, _) => Verification::Done(Err(Failure::NoKeys)),
            Self::Remote(remote) => Remote::verify(remote, token),
        }
    }
}

fn inline(text: &str) -> Option<KeySet> {
    match KeySet::from_jwks(text.as_bytes()) {
        Ok(keys) => {
            for (index, reason) in keys.skipped() {
                tracing::warn!(index, error = chain(reason), "a key for tokens is not used");
            }
            Some(keys)
        }
        Err(error) => {
            tracing::error!(error = chain(&error), "keys for tokens cannot be read; no token of theirs is good");
            None
        }
    }
}

fn failure(error: JwsError) -> Failure {
    let part = |name| match name {
        "header" => Part::Header,
        "payload" => Part::Payload,
        _ => Part::Signature,
    };
    match error {
        JwsError::TooLarge(_) => Failure::TooLarge,
        JwsError::Shape => Failure::Shape,
        JwsError::Encoding(name) => Failure::Encoding(part(name)),
        JwsError::Json(name, _) | JwsError::NoObject(name) => Failure::Json(part(name)),
        JwsError::Algorithm(name) if name.is_empty() => Failure::NoAlgorithm,
        JwsError::Algorithm(_) => Failure::Algorithm,
    }
}
