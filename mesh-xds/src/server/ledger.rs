use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::cache::Entry;
use super::limits::{MAX_REASON_BYTES, MAX_REASONS};
use crate::pb;

/// How far a client is with a type.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Progress {
    /// Nonce of the last answer sent.
    pub sent: Option<String>,
    /// Nonce of the last answer accepted.
    pub acknowledged: Option<String>,
    /// What the client said against the last answer it rejected, cut to
    /// [`MAX_REASON_BYTES`](super::limits::MAX_REASON_BYTES).
    pub rejected: Option<String>,
}

/// What a request says about the answers before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// Nothing, or something about an answer that is not open.
    Nothing,
    /// The client took an answer.
    Accepted,
    /// The client did not.
    Rejected,
}

/// Seconds since the stream was opened.
pub(super) type Seconds = u32;

/// What a client said against an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rejection {
    pub(super) reason: Arc<str>,
    pub(super) at: Seconds,
}

/// How a resource stands with a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Standing {
    /// Sent, and not answered yet.
    Open,
    /// Accepted.
    Accepted,
    /// In an answer that was rejected. Which resources of it were meant, the protocol does not say.
    Rejected(Rejection),
}

/// What is remembered of a resource that was sent.
pub(super) trait Versioned {
    fn version(&self) -> &Arc<str>;
}

impl Versioned for Arc<str> {
    fn version(&self) -> &Self {
        self
    }
}

impl Versioned for Entry {
    fn version(&self) -> &Arc<str> {
        &self.version
    }
}

/// What one client was sent of one type, and what it said to it. Grows with what the client holds, and not with what it says.
#[derive(Debug)]
pub(super) struct Ledger<T> {
    sent: HashMap<Arc<str>, Sent<T>>,
    /// Nonce of the newest answer, of the newest that the client answered, and of the newest that it accepted.
    newest: u64,
    answered: u64,
    accepted: u64,
    /// Why it rejected the last one, unless it accepted one since.
    reason: Option<Arc<str>>,
    /// Rejected answers of which resources may be left.
    rejections: BTreeMap<u64, Rejection>,
    /// At how many of them those are looked for of which none is.
    crowded: usize,
}

#[derive(Debug)]
struct Sent<T> {
    content: T,
    /// The answer in which it was; 0: the client said that it holds it.
    nonce: u64,
    at: Seconds,
    /// The version that the client accepted before, when it has not accepted this one.
    before: Option<Arc<str>>,
}

impl<T> Default for Ledger<T> {
    fn default() -> Self {
        Self {
            sent: HashMap::new(),
            newest: 0,
            answered: 0,
            accepted: 0,
            reason: None,
            rejections: BTreeMap::new(),
            crowded: 2 * MAX_REASONS,
        }
    }
}

impl<T: Versioned> Ledger<T> {
    /// The client says that it holds a resource.
    pub(super) fn restore(&mut self, name: Arc<str>, content: T) {
        self.sent.insert(name, Sent { content, nonce: 0, at: 0, before: None });
    }

    /// A resource goes out in an answer. Whether the client did not have it at all.
    pub(super) fn send(&mut self, name: &Arc<str>, content: T, nonce: u64, at: Seconds) -> bool {
        let before = self.sent.get(name).and_then(|sent| match self.standing_of(sent) {
            Standing::Accepted => Some(Arc::clone(sent.content.version())),
            Standing::Open | Standing::Rejected(_) => sent.before.clone(),
        });
        // Sent once more, and accepted already.
        let (nonce, at) = match self.sent.get(name) {
            Some(sent) if before.as_ref() == Some(content.version()) && sent.content.version() == content.version() => {
                (sent.nonce, sent.at)
            }
            _ => (nonce, at),
        };
        self.sent.insert(Arc::clone(name), Sent { content, nonce, at, before }).is_none()
    }

    /// An answer went out.
    pub(super) fn close(&mut self, nonce: u64) {
        self.newest = nonce;
    }

    /// The client says something about an answer. A rejection counts once.
    pub(super) fn answer(&mut self, nonce: &str, error: Option<&pb::Status>, at: Seconds) -> Heard {
        let Some(nonce) = nonce.parse().ok().filter(|nonce| (self.answered + 1..=self.newest).contains(nonce)) else {
            return Heard::Nothing;
        };
        self.answered = nonce;
        let Some(error) = error else {
            self.accepted = nonce;
            self.reason = None;
            return Heard::Accepted;
        };
        let reason: Arc<str> = truncated(&error.message).into();
        self.reason = Some(Arc::clone(&reason));
        if let Some((_, old)) = self.rejections.iter_mut().rev().nth(MAX_REASONS - 1) {
            old.reason = Arc::default();
        }
        self.rejections.insert(nonce, Rejection { reason, at });
        if self.rejections.len() >= self.crowded {
            let nonces: HashSet<u64> = self.sent.values().map(|sent| sent.nonce).collect();
            self.rejections.retain(|nonce, _| nonces.contains(nonce));
            self.crowded = 2 * self.rejections.len().max(MAX_REASONS);
        }
        Heard::Rejected
    }

    pub(super) fn remove(&mut self, name: &str) {
        self.sent.remove(name);
    }

    pub(super) fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        self.sent.retain(|name, _| keep(name));
    }

    pub(super) fn contains(&self, name: &str) -> bool {
        self.sent.contains_key(name)
    }

    pub(super) fn get(&self, name: &str) -> Option<&T> {
        self.sent.get(name).map(|sent| &sent.content)
    }

    pub(super) fn version(&self, name: &str) -> Option<&Arc<str>> {
        self.get(name).map(Versioned::version)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&Arc<str>, &T)> {
        self.sent.iter().map(|(name, sent)| (name, &sent.content))
    }

    /// Whether the client has yet to answer what it was sent last.
    pub(super) fn is_waiting(&self) -> bool {
        self.answered < self.newest
    }

    /// Whether a nonce is that of the newest answer; the empty one is, before there is an answer.
    pub(super) fn is_newest(&self, nonce: &str) -> bool {
        match self.newest {
            0 => nonce.is_empty(),
            newest => nonce.parse() == Ok(newest),
        }
    }

    pub(super) fn progress(&self) -> Progress {
        Progress {
            sent: told(self.newest),
            acknowledged: told(self.accepted),
            rejected: self.reason.as_deref().map(str::to_owned),
        }
    }

    /// How a resource stands with the client, when it was sent, and the version that the client accepted last.
    pub(super) fn standing(&self, name: &str) -> Option<(Standing, Seconds, Option<&Arc<str>>)> {
        let sent = self.sent.get(name)?;
        let standing = self.standing_of(sent);
        let accepted = match standing {
            Standing::Accepted => Some(sent.content.version()),
            Standing::Open | Standing::Rejected(_) => sent.before.as_ref(),
        };
        Some((standing, sent.at, accepted))
    }

    fn standing_of(&self, sent: &Sent<T>) -> Standing {
        if sent.nonce > self.answered {
            return Standing::Open;
        }
        self.rejections.get(&sent.nonce).map_or(Standing::Accepted, |rejection| Standing::Rejected(rejection.clone()))
    }
}

fn told(nonce: u64) -> Option<String> {
    (nonce > 0).then(|| nonce.to_string())
}

/// The beginning of what a client says, and not in the middle of a character.
pub(super) fn truncated(text: &str) -> &str {
    text.get(..text.floor_char_boundary(MAX_REASON_BYTES)).unwrap_or_default()
}
