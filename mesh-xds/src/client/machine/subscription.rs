use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::WILDCARD;
use crate::pb::discovery::Resource;

/// What is wanted of a type.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Interest {
    /// The resources that are subscribed to by name, and no others.
    #[default]
    Named,
    /// Those, and whatever the server sends with them. The server is told at once that the client is there, so that it can
    /// send what belongs to its node. As ztunnel asks for workloads on demand.
    OnDemand,
    /// Everything.
    All,
}

/// A type, as it is wanted and held.
#[derive(Debug, Clone)]
pub(super) struct Subscription {
    pub(super) type_url: String,
    pub(super) interest: Interest,
    pub(super) names: BTreeSet<String>,
    /// Names asked for that do not exist, as far as is known.
    pub(super) absent: BTreeSet<String>,
    /// Every resource that was accepted and is in use. Outlives streams.
    pub(super) held: BTreeMap<String, Held>,
    /// By server, the version of its last response that was accepted. Of the state-of-the-world variant.
    pub(super) accepted: HashMap<usize, String>,
    /// Whether an answer was accepted whole since start.
    pub(super) synced: bool,
}

/// A resource that is in use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) version: String,
    /// The server it came from, if that is known.
    pub(super) server: Option<usize>,
}

impl Subscription {
    pub(super) fn new(type_url: &str) -> Self {
        Self {
            type_url: type_url.to_owned(),
            interest: Interest::Named,
            names: BTreeSet::new(),
            absent: BTreeSet::new(),
            held: BTreeMap::new(),
            accepted: HashMap::new(),
            synced: false,
        }
    }

    /// Whether there is anything to ask for.
    pub(super) fn is_wanted(&self) -> bool {
        self.interest != Interest::Named || !self.names.is_empty()
    }

    /// Whether a resource that a server sends is one that was asked for.
    pub(super) fn covers(&self, resource: &Resource) -> bool {
        self.interest != Interest::Named
            || self.names.contains(&resource.name)
            || resource.aliases.iter().any(|alias| self.names.contains(alias))
    }

    pub(super) fn is_complete(&self) -> bool {
        let known = |name: &String| self.held.contains_key(name) || self.absent.contains(name);
        (self.interest != Interest::All || self.synced || !self.held.is_empty()) && self.names.iter().all(known)
    }

    /// The names of the first delta request of a stream: those asked for, and those taken back at once.
    pub(super) fn first_names(&self) -> (Vec<String>, Vec<String>) {
        let mut names: Vec<String> = self.names.iter().cloned().collect();
        match self.interest {
            Interest::Named => (names, Vec::new()),
            // A request that names nothing asks for everything, in the form that every server knows.
            Interest::All if names.is_empty() => (names, Vec::new()),
            Interest::All => {
                names.push(WILDCARD.to_owned());
                (names, Vec::new())
            }
            // One that names nothing would ask for everything; one that takes the wildcard back does not.
            Interest::OnDemand => {
                names.push(WILDCARD.to_owned());
                (names, vec![WILDCARD.to_owned()])
            }
        }
    }

    /// The names of a state-of-the-world request.
    pub(super) fn all_names(&self) -> Vec<String> {
        let mut names: Vec<String> = self.names.iter().cloned().collect();
        if self.interest == Interest::All && !names.is_empty() {
            names.push(WILDCARD.to_owned());
        }
        names
    }
}
