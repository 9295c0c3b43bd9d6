use std::sync::Arc;

use tonic::Code;

use super::access::Permissions;
use super::cache::{Entry, Snapshot, TypeSnapshot};
use crate::pb;
use crate::pb::discovery::{ResourceError, ResourceName};

/// The resources of one type, as far as a client may see them. The machines know no other way to a resource.
#[derive(Debug, Clone, Copy)]
pub(super) struct Visible<'a> {
    type_url: &'a str,
    of_type: Option<&'a TypeSnapshot>,
    permissions: Option<&'a dyn Permissions>,
}

impl<'a> Visible<'a> {
    /// A type that is not served is seen as one without resources.
    pub(super) fn new(snapshot: &'a Snapshot, type_url: &'a str, permissions: Option<&'a dyn Permissions>) -> Self {
        Self { type_url, of_type: snapshot.of(type_url), permissions }
    }

    pub(super) fn get(&self, name: &str) -> Option<(&'a Arc<str>, &'a Entry)> {
        let found = self.of_type?.entries.get_key_value(name)?;
        self.permits(name).then_some(found)
    }

    /// The resource that a client means by a name: its own, or an alias.
    pub(super) fn find(&self, name: &str) -> Option<(&'a Arc<str>, &'a Entry)> {
        if !self.permits(name) {
            return None;
        }
        self.get(name).or_else(|| self.of_type?.named(name).find_map(|name| self.get(name)))
    }

    /// The names of all resources that have a name, as their own or as an alias.
    pub(super) fn called(&self, name: &str) -> impl Iterator<Item = &'a Arc<str>> {
        let own = self.get(name).map(|(name, _)| name);
        let aliased = self.of_type.into_iter().flat_map(move |of_type| of_type.named(name));
        own.into_iter().chain(aliased.filter(|name| self.permits(name)))
    }

    /// The resources that come with a name.
    pub(super) fn companions(&self, name: &str) -> impl Iterator<Item = (&'a Arc<str>, &'a Entry)> {
        let names = self.of_type.into_iter().flat_map(move |of_type| of_type.companions(name));
        names.filter_map(|name| self.get(name))
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &'a Arc<str>> {
        let names = self.of_type.into_iter().flat_map(|of_type| of_type.entries.keys());
        names.filter(|name| self.permits(name))
    }

    /// Number of changes so far.
    pub(super) fn changes(&self) -> u64 {
        self.of_type.map_or(0, |of_type| of_type.changes)
    }

    /// Names changed since a number of changes, whether they may be seen or not; `None` when that is not known any more.
    pub(super) fn changed_since(&self, seen: u64) -> Option<Vec<Arc<str>>> {
        match self.of_type {
            Some(of_type) => of_type.changed_since(seen).map(|names| names.cloned().collect()),
            None => Some(Vec::new()),
        }
    }

    /// Why a name that was asked for is not answered by a resource.
    pub(super) fn absence(&self, name: &str) -> ResourceError {
        let there = || {
            self.of_type
                .is_some_and(|of_type| of_type.entries.contains_key(name) || of_type.named(name).next().is_some())
        };
        let (code, message) = match !self.permits(name) || there() {
            true => (Code::PermissionDenied, "not permitted"),
            false => (Code::NotFound, "does not exist"),
        };
        let detail = pb::Status { code: code.into(), message: message.to_owned(), details: Vec::new() };
        ResourceError {
            resource_name: Some(ResourceName { name: name.to_owned(), ..ResourceName::default() }),
            error_detail: Some(detail),
        }
    }

    fn permits(&self, name: &str) -> bool {
        self.permissions.is_none_or(|permissions| permissions.permits(self.type_url, name))
    }
}
