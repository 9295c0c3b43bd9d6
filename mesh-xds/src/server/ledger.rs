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
pub(super) trait Versioned: Clone {
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
    /// Nonce of the newest answer in which there was something of which the client had not accepted any version.
    introducing: u64,
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
    /// What the client accepted before, when it has not accepted this.
    before: Option<Box<T>>,
}

impl<T> Default for Ledger<T> {
    fn default() -> Self {
        Self {
            sent: HashMap::new(),
            newest: 0,
            answered: 0,
            accepted: 0,
            introducing: 0,
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

    /// A resource goes out in an answer.
    pub(super) fn send(&mut self, name: &Arc<str>, content: T, nonce: u64, at: Seconds) {
        let before = match self.sent.get(name).map(|sent| (sent, self.standing_of(sent))) {
            Some((sent, Standing::Accepted)) if sent.content.version() == content.version() => {
                // Sent once more, and accepted already.
                let (nonce, at) = (sent.nonce, sent.at);
                self.sent.insert(Arc::clone(name), Sent { content, nonce, at, before: None });
                return;
            }
            Some((sent, Standing::Accepted)) => Some(Box::new(sent.content.clone())),
            Some((sent, Standing::Open | Standing::Rejected(_))) => sent.before.clone(),
            None => None,
        };
        if before.is_none() {
            self.introducing = nonce;
        }
        self.sent.insert(Arc::clone(name), Sent { content, nonce, at, before });
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

    /// Whether the client has yet to answer something of which it has not accepted any version.
    pub(super) fn is_introducing(&self) -> bool {
        self.answered < self.introducing
    }

    /// What the client rejected last, and rejected in an answer later than `after`.
    pub(super) fn rejected_after(&self, after: u64) -> impl Iterator<Item = &Arc<str>> {
        // Nothing is looked through when nothing was rejected, as is the rule.
        let sent = self.rejections.range(after.saturating_add(1)..).next().map(|_| &self.sent).into_iter().flatten();
        let rejected = move |sent: &Sent<T>| sent.nonce > after && self.rejections.contains_key(&sent.nonce);
        sent.filter(move |(_, sent)| rejected(sent)).map(|(name, _)| name)
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
            Standing::Open | Standing::Rejected(_) => sent.before.as_ref().map(|before| before.version()),
        };
        Some((standing, sent.at, accepted))
    }

    /// What the client has of a resource: what it accepted, or else what it was sent.
    pub(super) fn held(&self, name: &str) -> Option<&T> {
        let sent = self.sent.get(name)?;
        let before = sent.before.as_deref().filter(|_| self.standing_of(sent) != Standing::Accepted);
        Some(before.unwrap_or(&sent.content))
    }

    /// Whether the client never accepted a resource, and rejected it in an answer later than `after`.
    pub(super) fn is_refused(&self, name: &str, after: u64) -> bool {
        let sent = self.sent.get(name).filter(|sent| sent.before.is_none() && sent.nonce > after);
        sent.is_some_and(|sent| self.rejections.contains_key(&sent.nonce))
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn no(message: &str) -> pb::Status {
        pb::Status { code: 3, message: message.to_owned(), details: Vec::new() }
    }

    fn version(number: u8) -> Arc<str> {
        number.to_string().into()
    }

    proptest! {
        /// Against a plain list of answers, each with what was in it and what became of it.
        #[test]
        fn stands_as_a_list_of_answers_says(
            steps in proptest::collection::vec((0_u8..4, 0_u8..3, 0_u8..4, 0_u64..4), 0..60),
        ) {
            let mut ledger = Ledger::default();
            // Per name: version, answer, version accepted before. Per answer: whether it was accepted.
            let mut sent: BTreeMap<u8, (u8, u64, Option<u8>)> = BTreeMap::new();
            let mut answers: Vec<Option<bool>> = vec![Some(true)];
            for (name, number, kind, back) in steps {
                let newest = answers.len() as u64 - 1;
                if kind < 2 {
                    let at = |nonce: u64| answers[usize::try_from(nonce).unwrap()];
                    let old = sent.get(&name).copied();
                    let before = old.and_then(|(old, nonce, before)| if at(nonce) == Some(true) { Some(old) } else { before });
                    let again = old.filter(|(old, nonce, _)| *old == number && at(*nonce) == Some(true));
                    let nonce = again.map_or(newest + 1, |(_, nonce, _)| nonce);
                    sent.insert(name, (number, nonce, before));
                    answers.push(None);
                    ledger.send(&version(name), version(number), newest + 1, 0);
                    ledger.close(newest + 1);
                } else {
                    let nonce = newest.saturating_sub(back);
                    let open = answers[usize::try_from(nonce).unwrap()].is_none();
                    let error = (kind == 3).then(|| no("no"));
                    let heard = ledger.answer(&nonce.to_string(), error.as_ref(), 0);
                    prop_assert_eq!(heard != Heard::Nothing, open);
                    if open {
                        // Who answers one has taken those before it.
                        answers.iter_mut().take(usize::try_from(nonce).unwrap()).for_each(|one| *one = one.or(Some(true)));
                        answers[usize::try_from(nonce).unwrap()] = Some(kind != 3);
                    }
                }
                for (name, (number, nonce, before)) in &sent {
                    let (standing, _, accepted) = ledger.standing(&version(*name)).unwrap();
                    let (told, good) = match answers[usize::try_from(*nonce).unwrap()] {
                        None => (standing == Standing::Open, *before),
                        Some(true) => (standing == Standing::Accepted, Some(*number)),
                        Some(false) => (matches!(standing, Standing::Rejected(_)), *before),
                    };
                    prop_assert!(told, "{name}: {standing:?}");
                    prop_assert_eq!(accepted.map(|text| text.to_string()), good.map(|number| number.to_string()));
                }
                prop_assert_eq!(ledger.is_waiting(), answers.last() == Some(&None));
            }
        }
    }

    #[test]
    fn a_rejection_is_remembered_as_long_as_its_resource_and_its_reason_for_a_while() {
        let mut ledger = Ledger::default();
        let name: Arc<str> = "a".into();
        for nonce in 1..=1_000 {
            // The first stays as it is; another is rejected again and again.
            let rejected = if nonce == 1 { &name } else { &"b".into() };
            ledger.send(rejected, version(u8::try_from(nonce % 200).unwrap()), nonce, 0);
            ledger.close(nonce);
            assert_eq!(ledger.answer(&nonce.to_string(), Some(&no("why")), 0), Heard::Rejected);
            assert!(ledger.rejections.len() <= 2 * MAX_REASONS);
            assert!(ledger.rejections.values().filter(|rejection| !rejection.reason.is_empty()).count() <= MAX_REASONS);
        }
        let reason = |name: &str| match ledger.standing(name) {
            Some((Standing::Rejected(rejection), ..)) => rejection.reason,
            standing => panic!("{standing:?}"),
        };
        assert_eq!((&*reason("a"), &*reason("b")), ("", "why"));
    }

    #[test]
    fn a_reason_is_cut_between_characters() {
        for (text, kept) in
            [("ü".repeat(MAX_REASON_BYTES), MAX_REASON_BYTES), (format!("x{}", "ü".repeat(2_000)), 1_023)]
        {
            assert_eq!(truncated(&text).len(), kept);
        }
        assert_eq!(truncated("short"), "short");
    }
}
