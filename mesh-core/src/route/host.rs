use std::cmp::Reverse;
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};

use smallvec::SmallVec;

use super::table::{TableError, VirtualHost};

/// Domains by kind, so that a lookup costs one probe per length of wildcard in use, however many domains there are.
#[derive(Debug, Clone, Default)]
pub(super) struct HostIndex {
    exact: HashMap<Box<[u8]>, usize>,
    suffixes: Wildcards,
    prefixes: Wildcards,
    any: Option<usize>,
}

/// What stands beside the asterisk, by its length, longest first.
type Wildcards = BTreeMap<Reverse<usize>, HashMap<Box<[u8]>, usize>>;

impl HostIndex {
    pub(super) fn new(hosts: &[VirtualHost]) -> Result<Self, TableError> {
        let mut index = Self::default();
        for (at, host) in hosts.iter().enumerate() {
            for domain in &host.domains {
                index.insert(domain.as_str(), at)?;
            }
        }
        Ok(index)
    }

    fn insert(&mut self, domain: &str, at: usize) -> Result<(), TableError> {
        let folded = domain.to_ascii_lowercase();
        let wildcard =
            |wildcards: &'_ mut Wildcards, text: &str| put(wildcards.entry(Reverse(text.len())).or_default(), text, at);
        let new = if folded.is_empty() {
            return Err(TableError::EmptyDomain);
        } else if folded == "*" {
            self.any.replace(at).is_none()
        } else if let Some(suffix) = folded.strip_prefix('*') {
            wildcard(&mut self.suffixes, suffix)
        } else if let Some(prefix) = folded.strip_suffix('*') {
            wildcard(&mut self.prefixes, prefix)
        } else {
            put(&mut self.exact, &folded, at)
        };
        if new { Ok(()) } else { Err(TableError::DuplicateDomain { domain: domain.to_owned() }) }
    }

    /// The host for a name that was asked for.
    pub(super) fn find(&self, name: &str) -> Option<usize> {
        let mut folded: SmallVec<[u8; 256]> = SmallVec::from_slice(name.as_bytes());
        folded.make_ascii_lowercase();
        let name = folded.as_slice();
        let exact = self.exact.get(name).copied();
        let suffix = || longest(&self.suffixes, name, |len| name.get(name.len() - len..));
        let prefix = || longest(&self.prefixes, name, |len| name.get(..len));
        exact.or_else(suffix).or_else(prefix).or(self.any)
    }
}

fn put(map: &mut HashMap<Box<[u8]>, usize>, text: &str, at: usize) -> bool {
    match map.entry(text.as_bytes().into()) {
        Entry::Occupied(_) => false,
        Entry::Vacant(entry) => *entry.insert(at) == at,
    }
}

fn longest<'n>(wildcards: &Wildcards, name: &[u8], part: impl Fn(usize) -> Option<&'n [u8]>) -> Option<usize> {
    // Shorter than the name: the asterisk stands for at least one character.
    let fitting = wildcards.range(Reverse(name.len().checked_sub(1)?)..);
    let mut found = fitting.filter_map(|(Reverse(len), texts)| texts.get(part(*len)?).copied());
    found.next()
}

/// A host without its port. The colons of an IPv6 address in brackets belong to no port.
pub(super) fn without_port(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port))
            if port.bytes().all(|digit| digit.is_ascii_digit()) && (!host.contains(':') || host.ends_with(']')) =>
        {
            host
        }
        _ => authority,
    }
}
