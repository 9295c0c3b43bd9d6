use std::collections::BTreeSet;
use std::sync::Arc;

use super::cache::Entry;
use super::ledger::{Ledger, Rejection, Seconds, Standing, Versioned};
use super::visible::Visible;

/// How one resource stands with one client.
#[derive(Debug)]
pub(super) struct Told<'a> {
    pub(super) type_url: &'a str,
    pub(super) name: &'a str,
    /// As it is now, as far as the client may see it.
    pub(super) entry: Option<&'a Entry>,
    pub(super) status: Status,
    /// The version that the client was sent last, and the one that it accepted last.
    pub(super) sent: Option<&'a Arc<str>>,
    pub(super) accepted: Option<&'a Arc<str>>,
    /// When it was sent.
    pub(super) at: Option<Seconds>,
    pub(super) rejection: Option<Rejection>,
}

/// The same in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    /// The client accepted what is there.
    Synced,
    /// It was not sent what is there, or there is nothing to send.
    NotSent,
    /// It was sent what is there and has not answered.
    Stale,
    /// It rejected what is there.
    Error,
}

/// Goes through the resources of a type that a client holds, asks for by name, or should have.
pub(super) fn visit<T: Versioned>(
    type_url: &str,
    visible: Visible<'_>,
    (wildcard, names): (bool, &BTreeSet<String>),
    ledger: &Ledger<T>,
    visit: &mut dyn FnMut(Told<'_>),
) {
    for (name, content) in ledger.iter() {
        let Some((standing, at, accepted)) = ledger.standing(name) else { continue };
        let (entry, sent) = (visible.get(name).map(|(_, entry)| entry), content.version());
        let (status, rejection) = match standing {
            Standing::Rejected(rejection) => (Status::Error, Some(rejection)),
            Standing::Open => (Status::Stale, None),
            Standing::Accepted => (Status::Synced, None),
        };
        let current = entry.is_none_or(|entry| entry.version == *sent);
        let status = if current { status } else { Status::NotSent };
        let (sent, at) = (Some(sent), Some(at));
        visit(Told { type_url, name, entry, status, sent, accepted, at, rejection });
    }
    let mut missing = |name: &str, entry| {
        let (status, rejection) = (Status::NotSent, None);
        visit(Told { type_url, name, entry, status, sent: None, accepted: None, at: None, rejection });
    };
    for name in names {
        let found = visible.find(name);
        // Asked for by an alias, and sent by its name.
        if !found.is_some_and(|(found, _)| ledger.contains(found)) && !ledger.contains(name) {
            missing(name, found.map(|(_, entry)| entry));
        }
    }
    if wildcard {
        let others = visible.names().filter(|name| !ledger.contains(name) && !names.contains(name.as_ref()));
        others.for_each(|name| missing(name, visible.get(name).map(|(_, entry)| entry)));
    }
}
