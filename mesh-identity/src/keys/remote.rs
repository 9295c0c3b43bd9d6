use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use mesh_core::authn::{Failure, RemoteKeys, Token, Verification};
use mesh_core::live::{Live, Publisher};
use mesh_core::report::chain;
use serde_json::Value;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::cache::Cache;
use super::{Document, Fetch, FetchError, KeySet, KeySetError};
use crate::jose::json;
use crate::task::Tasks;

/// Shortest time that a server's `max-age` is taken for.
const SHORTEST_AGE: Duration = Duration::from_secs(60);

/// Shortest time between fetches that succeed, however short settings say that keys live: who serves them must not be flooded.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);

/// After a fetch, nobody can cause another one for this long by naming a key that is not known.
const QUIET: Duration = Duration::from_secs(10);

/// After a fetch that failed, nobody can cause another one for this long, although there are no keys.
const QUIET_WITHOUT_KEYS: Duration = Duration::from_secs(1);

/// Times between fetches that fail: from the first on, doubled each time, up to the second.
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_secs(60);

/// Keys at a URL. They are fetched by a task that ends when this is dropped.
#[derive(Debug)]
pub(super) struct Remote {
    state: Live<State>,
    wanted: Arc<Notify>,
    cache: Arc<Cache>,
    _end: DropGuard,
}

#[derive(Debug, Clone, Default)]
struct State {
    /// What is known: the last set that came.
    keys: Option<Arc<KeySet>>,
    /// Fetches that have ended, one way or the other.
    fetches: u64,
    /// When the last of them ended; `None` while the next is under way.
    ended: Option<Instant>,
}

impl Remote {
    /// Begins to fetch.
    pub(super) fn new(keys: RemoteKeys, fetch: Arc<dyn Fetch>, cache: Arc<Cache>, tasks: &Tasks) -> Self {
        let (publisher, state) = Publisher::new(State::default());
        let (wanted, end) = (Arc::new(Notify::new()), CancellationToken::new());
        match tokio::runtime::Handle::try_current() {
            Ok(_) => tasks.spawn_until(end.clone(), keep(keys, fetch, publisher, Arc::clone(&wanted))),
            Err(_) => tracing::error!(uri = %keys.uri, "keys for tokens cannot be fetched outside of a Tokio runtime"),
        }
        Self { state, wanted, cache, _end: end.drop_guard() }
    }

    /// Whether one of the keys signed a token.
    pub(super) fn verify(this: &Arc<Self>, token: &Arc<Token>) -> Verification {
        let state = this.state.load();
        let result = match &state.keys {
            Some(keys) => verify(keys, &this.cache, token),
            None => Err(Failure::KeysUnavailable),
        };
        match result {
            Err(Failure::UnknownKey | Failure::KeysUnavailable) if this.want(&state) => {
                Verification::Wait(Box::pin(Arc::clone(this).after(state.fetches, Arc::clone(token))))
            }
            result => Verification::Done(result),
        }
    }

    /// Whether a fetch is under way, or is begun because of this.
    fn want(&self, state: &State) -> bool {
        let quiet = if state.keys.is_some() { QUIET } else { QUIET_WITHOUT_KEYS };
        match state.ended {
            None => true,
            Some(ended) if ended.elapsed() >= quiet => {
                self.wanted.notify_one();
                true
            }
            Some(_) => false,
        }
    }

    /// What the keys say when one more fetch than these has ended.
    async fn after(self: Arc<Self>, seen: u64, token: Arc<Token>) -> Result<(), Failure> {
        let mut changes = self.state.changes();
        let mut state = changes.current();
        while state.fetches <= seen {
            state = changes.changed().await.map_err(|_| Failure::KeysUnavailable)?;
        }
        let keys = state.keys.as_ref().ok_or(Failure::KeysUnavailable)?;
        verify(keys, &self.cache, &token)
    }
}

/// Verifies a token, and remembers it if it is good.
pub(super) fn verify(keys: &KeySet, cache: &Cache, token: &Arc<Token>) -> Result<(), Failure> {
    if keys.is_known(token) {
        return Ok(());
    }
    keys.verify(token)?;
    cache.insert(token);
    Ok(())
}

/// Fetches again and again: before what was fetched grows old, soon after a failure, and when it is wanted.
async fn keep(remote: RemoteKeys, fetch: Arc<dyn Fetch>, publisher: Publisher<State>, wanted: Arc<Notify>) {
    let mut known: Option<Arc<KeySet>> = None;
    let (mut fetches, mut failures) = (0, 0);
    loop {
        publisher.publish(State { keys: known.clone(), fetches, ended: None });
        let fetched = tokio::time::timeout(remote.timeout, once(&remote, &*fetch)).await;
        let fetched = fetched.unwrap_or(Err(FetchError::Timeout(remote.timeout)));
        fetches += 1;
        let pause = match fetched {
            Ok((keys, max_age)) => {
                failures = 0;
                report(&remote, known.as_deref(), &keys);
                // Tokens that were verified by a set stay so as long as the set is the same.
                if !known.as_ref().is_some_and(|known| known.is_same(&keys)) {
                    known = Some(Arc::new(keys));
                }
                refresh(remote.life, max_age, fastrand::f64())
            }
            Err(error) => {
                failures += 1;
                let error = chain(&error);
                tracing::warn!(uri = %remote.uri, error, known = known.is_some(), "keys for tokens not fetched");
                retry(failures, fastrand::f64())
            }
        };
        {
            // Whoever wanted a fetch while one was under way has had it.
            let mut spare = pin!(wanted.notified());
            let _ = spare.as_mut().enable();
        }
        publisher.publish(State { keys: known.clone(), fetches, ended: Some(Instant::now()) });
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = wanted.notified() => {}
        }
    }
}

fn report(remote: &RemoteKeys, before: Option<&KeySet>, keys: &KeySet) {
    if before.is_some_and(|before| before.is_same(keys)) {
        tracing::debug!(uri = %remote.uri, keys = keys.len(), "keys for tokens confirmed");
        return;
    }
    for (index, reason) in keys.skipped() {
        tracing::debug!(uri = %remote.uri, index, error = chain(reason), "a key for tokens is not used");
    }
    tracing::info!(uri = %remote.uri, keys = keys.len(), "keys for tokens fetched");
}

/// Time to the next fetch: some way before the end of what was fetched, so that requests never wait for it.
fn refresh(life: Duration, max_age: Option<Duration>, jitter: f64) -> Duration {
    let life = max_age.map_or(life, |age| age.max(SHORTEST_AGE).min(life));
    life.mul_f64(0.8 + 0.1 * jitter).max(SHORTEST_PAUSE)
}

/// Time to the next fetch after so many failures in a row.
fn retry(failures: u32, jitter: f64) -> Duration {
    let doubled = FIRST_RETRY.saturating_mul(1 << failures.saturating_sub(1).min(16));
    doubled.min(LAST_RETRY).mul_f64(0.9 + 0.2 * jitter)
}

/// One fetch: of a key set, or of an issuer's configuration and the key set it leads to.
async fn once(remote: &RemoteKeys, fetch: &dyn Fetch) -> Result<(KeySet, Option<Duration>), FetchError> {
    let mut url = url_of(remote.uri.as_str())?;
    for last in [false, true] {
        let Document { text, max_age } = fetch.fetch(&url, remote).await?;
        if text.len() > crate::limits::MAX_KEY_SET_BYTES {
            return Err(FetchError::KeySet(KeySetError::TooLarge(text.len())));
        }
        let value = json::parse(&text).map_err(|error| FetchError::KeySet(KeySetError::Json(error)))?;
        match value.get("jwks_uri") {
            // OpenID Connect Discovery, section 3.
            Some(Value::String(next)) if !last && value.get("keys").is_none() => {
                let next = url_of(next)?;
                if url.scheme_str() == Some("https") && next.scheme_str() != Some("https") {
                    return Err(FetchError::Downgrade(next.to_string()));
                }
                url = next;
            }
            _ => return KeySet::from_value(&value).map(|keys| (keys, max_age)).map_err(FetchError::KeySet),
        }
    }
    Err(FetchError::KeySet(KeySetError::NoKeys))
}

fn url_of(text: &str) -> Result<Uri, FetchError> {
    let url: Option<Uri> = text.parse().ok();
    let fits = |url: &Uri| matches!(url.scheme_str(), Some("https" | "http")) && url.host().is_some();
    url.filter(fits).ok_or_else(|| FetchError::Url(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_fetched_before_they_are_old_and_seldom_after_failures() {
        let seconds = Duration::from_secs;
        for (life, age, expected) in
            [(300, None, 240), (300, Some(100), 80), (300, Some(0), 48), (300, Some(900), 240), (10, Some(0), 8)]
        {
            assert_eq!(refresh(seconds(life), age.map(seconds), 0.0), seconds(expected), "{life} {age:?}");
            assert!(refresh(seconds(life), age.map(seconds), 1.0) < seconds(life));
        }
        for life in [Duration::ZERO, Duration::from_millis(1), seconds(1)] {
            assert_eq!(refresh(life, None, 1.0), seconds(1), "{life:?}");
        }
        let pauses: Vec<_> = [1, 2, 3, 7, 100, u32::MAX].map(|failures| retry(failures, 0.5)).into();
        assert_eq!(pauses, [1, 2, 4, 60, 60, 60].map(seconds));
    }
}
