use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_lc_rs::digest::{SHA256, digest};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use super::{Answer, Asked, Attest, AttestError, Attested, Attestor, Challenges, Evidence};
use crate::clock::seconds;
use crate::file;
use crate::hex::hex;

/// Most tokens that wait to be used.
const MAX_TOKENS: usize = 100_000;

/// Join tokens: secrets of minutes that let one node in, once.
///
/// Only their digests are kept. A token is used up by the attempt to use it, in time or not, and that is kept before the node
/// hears of it; two that bring one token at once get one identity. Several processes may share a file: a command makes a token,
/// the server takes it.
///
/// Those in a file wait for its lock and for the disk: on an async runtime, make them where blocking is allowed.
#[derive(Debug)]
pub struct JoinTokens(Arc<Store>);

type Tokens = BTreeMap<String, Waiting>;

#[derive(Debug)]
enum Store {
    Memory(Mutex<Tokens>),
    File { path: PathBuf, lock: PathBuf },
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Waiting {
    /// Seconds since 1970.
    expires: u64,
    alias: Option<String>,
}

/// A new join token. A secret until it is used.
#[derive(Clone)]
pub struct Minted {
    /// The token.
    pub token: String,
    /// Until when it may be used.
    pub expires: SystemTime,
}

impl fmt::Debug for Minted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Minted").field("expires", &self.expires).finish_non_exhaustive()
    }
}

impl JoinTokens {
    /// Tokens that are forgotten when the process ends.
    #[must_use]
    pub fn in_memory() -> Self {
        Self(Arc::new(Store::Memory(Mutex::default())))
    }

    /// Tokens that are kept in a file.
    ///
    /// # Errors
    /// [`file::Error`] when it cannot be read.
    pub fn open(path: &Path) -> Result<Self, file::Error> {
        let mut lock = path.as_os_str().to_owned();
        lock.push(".lock");
        read(path)?;
        Ok(Self(Arc::new(Store::File { path: path.to_owned(), lock: PathBuf::from(lock) })))
    }

    /// Makes a token, or takes one that was made elsewhere. `alias` is the path of a further identity for the node that uses
    /// it.
    ///
    /// # Errors
    /// [`AttestError::Unavailable`] when it cannot be kept, [`AttestError::Evidence`] when a text is no token.
    pub fn mint(
        &self,
        token: Option<String>,
        life: Duration,
        alias: Option<String>,
        now: SystemTime,
    ) -> Result<Minted, AttestError> {
        let token = match token.filter(|token| !token.is_empty()) {
            Some(token) if is_segment(&token) => token,
            Some(_) => return Err(AttestError::Evidence("not a join token".to_owned())),
            None => uuid()?,
        };
        let expires = now + life;
        self.0.change(|waiting| {
            let second = seconds(now);
            waiting.retain(|_, waiting| waiting.expires > second);
            if waiting.len() >= MAX_TOKENS {
                return Err(AttestError::Unavailable("too many tokens wait to be used".to_owned()));
            }
            waiting.insert(name(token.as_bytes()), Waiting { expires: seconds(expires), alias });
            Ok(())
        })?;
        Ok(Minted { token, expires })
    }
}

impl Store {
    /// Uses a token up.
    fn redeem(&self, token: &[u8], now: SystemTime) -> Result<Attested, AttestError> {
        let text = std::str::from_utf8(token).ok().filter(|text| is_segment(text));
        let text = text.ok_or_else(|| AttestError::Evidence("not a join token".to_owned()))?;
        // Looked up by digest: how long that takes tells nothing of the token.
        let unknown = || AttestError::Evidence("unknown join token".to_owned());
        let found = self.change(|waiting| waiting.remove(&name(token)).ok_or_else(unknown))?;
        if seconds(now) >= found.expires {
            return Err(AttestError::Evidence("the join token has expired".to_owned()));
        }
        let mut attested = Attested::new(format!("join_token/{text}"), Vec::<String>::new()).once();
        attested.alias = found.alias;
        Ok(attested)
    }

    /// Changes the tokens, and keeps them so, unless the change fails.
    fn change<T>(&self, edit: impl FnOnce(&mut Tokens) -> Result<T, AttestError>) -> Result<T, AttestError> {
        match self {
            Self::Memory(tokens) => edit(&mut tokens.lock()),
            Self::File { path, lock } => {
                let _locked = file::lock(lock).map_err(unavailable)?;
                let mut tokens = read(path).map_err(unavailable)?;
                let outcome = edit(&mut tokens)?;
                let text = serde_json::to_vec(&tokens).map_err(unavailable)?;
                file::replace(path, &text, file::Mode::Private).map_err(unavailable)?;
                Ok(outcome)
            }
        }
    }
}

fn unavailable(error: impl std::error::Error + 'static) -> AttestError {
    AttestError::Unavailable(mesh_core::report::chain(&error))
}

fn read(path: &Path) -> Result<Tokens, file::Error> {
    match file::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(|_| file::Error::malformed(path, "no join tokens")),
        Err(error) if error.is_not_found() => Ok(Tokens::new()),
        Err(error) => Err(error),
    }
}

impl Attestor for JoinTokens {
    fn kind(&self) -> &'static str {
        "join_token"
    }

    fn attest<'a>(&'a self, asked: Asked<'a>, _challenges: &'a mut dyn Challenges) -> Attest<'a> {
        let (store, token, now) = (Arc::clone(&self.0), asked.payload.to_vec(), asked.now);
        Box::pin(async move {
            // It waits for a lock and for the disk; and it is done to its end, even if the node goes.
            let redeemed = tokio::task::spawn_blocking(move || store.redeem(&token, now)).await;
            redeemed.map_err(|_| AttestError::Unavailable("the tokens cannot be asked".to_owned()))?
        })
    }
}

/// A join token that this node was given.
#[derive(Clone)]
pub struct JoinTokenEvidence(String);

impl JoinTokenEvidence {
    /// Evidence of a token.
    #[must_use]
    pub fn new(token: impl Into<String>) -> Self {
        Self(token.into())
    }
}

impl Evidence for JoinTokenEvidence {
    fn kind(&self) -> &'static str {
        "join_token"
    }

    fn payload(&self) -> Answer<'_> {
        Box::pin(std::future::ready(Ok(self.0.clone().into_bytes())))
    }
}

impl fmt::Debug for JoinTokenEvidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JoinTokenEvidence(..)")
    }
}

/// The token becomes a segment of the node's SPIFFE ID.
fn is_segment(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    !text.is_empty() && text.len() <= 128 && text != "." && text != ".." && text.bytes().all(allowed)
}

fn name(token: &[u8]) -> String {
    hex(digest(&SHA256, token).as_ref())
}

/// A random UUID (RFC 9562 section 5.4), the form that SPIRE's tokens have.
fn uuid() -> Result<String, AttestError> {
    let mut bytes = super::nonce()?;
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let text = hex(&bytes[..16]);
    Ok(format!("{}-{}-{}-{}-{}", &text[..8], &text[8..12], &text[12..16], &text[16..20], &text[20..]))
}
