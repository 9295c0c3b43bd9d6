use std::collections::{BTreeSet, VecDeque};

use crate::pb::Status;

/// One stream.
#[derive(Debug, Clone, Default)]
pub(super) struct Stream {
    /// By the index of the type.
    types: Vec<OnStream>,
}

/// How far a stream is with a type.
#[derive(Debug, Clone, Default)]
pub(super) struct OnStream {
    /// Whether the first request was sent.
    pub(super) begun: bool,
    /// Nonce of the last response.
    pub(super) nonce: String,
    /// What is to be said to responses.
    pub(super) answers: VecDeque<Answer>,
    /// Whether what is wanted is not what was asked for.
    pub(super) changed: bool,
    subscribe: BTreeSet<String>,
    unsubscribe: BTreeSet<String>,
}

/// What is to be said to a response.
#[derive(Debug, Clone)]
pub(super) struct Answer {
    pub(super) nonce: String,
    /// Of a NACK.
    pub(super) error: Option<Status>,
}

impl Stream {
    pub(super) fn of(&mut self, index: usize) -> &mut OnStream {
        if self.types.len() <= index {
            self.types.resize_with(index + 1, OnStream::default);
        }
        &mut self.types[index]
    }
}

impl OnStream {
    /// The first request is sent: it says all that is wanted.
    pub(super) fn begin(&mut self) {
        *self = Self { begun: true, ..Self::default() };
    }

    /// A name is wanted, or is wanted no more. The later word counts.
    pub(super) fn touch(&mut self, wanted: bool, name: &str) {
        if !self.begun {
            return;
        }
        self.changed = true;
        let (into, out_of) = match wanted {
            true => (&mut self.subscribe, &mut self.unsubscribe),
            false => (&mut self.unsubscribe, &mut self.subscribe),
        };
        out_of.remove(name);
        into.insert(name.to_owned());
    }

    /// The names to ask for, and those to give up.
    pub(super) fn take_changes(&mut self) -> Option<(Vec<String>, Vec<String>)> {
        self.changed = false;
        if self.subscribe.is_empty() && self.unsubscribe.is_empty() {
            return None;
        }
        let take = |names: &mut BTreeSet<String>| std::mem::take(names).into_iter().collect();
        Some((take(&mut self.subscribe), take(&mut self.unsubscribe)))
    }
}
