use std::sync::Arc;
use std::time::Duration;

use mesh_core::live::Live;
use mesh_core::name::SpiffeId;

use super::{Error, Fetch, Issued, SvidSource};
use crate::authority::{Authority, Names};
use crate::bundle::Bundle;
use crate::pem;
use crate::registry::Entries;
use crate::svid::{KeyKind, X509Svid, certificate_request};

/// SVIDs straight from an authority in this process: how a control plane gets its own.
#[derive(Debug)]
pub struct LocalSource {
    authority: Arc<Authority>,
    life: Duration,
    names: Names,
    entries: Option<Live<Option<Entries>>>,
    keys: KeyKind,
}

impl LocalSource {
    /// A source over an authority. `names` are written into the certificates beside the SPIFFE ID.
    #[must_use]
    pub fn new(authority: Arc<Authority>, life: Duration, names: Names) -> Self {
        Self { authority, life, names, entries: None, keys: KeyKind::default() }
    }

    /// Gives those identities alone that have an entry, with the life and the DNS names of the entry.
    #[must_use]
    pub fn by_entries(self, entries: Live<Option<Entries>>) -> Self {
        Self { entries: Some(entries), ..self }
    }

    /// Makes keys of another kind than P-256.
    #[must_use]
    pub fn keys(self, keys: KeyKind) -> Self {
        Self { keys, ..self }
    }

    fn issue(&self, id: &SpiffeId) -> Result<Issued, Error> {
        let (key, csr) =
            certificate_request(id, self.keys).map_err(|source| Error::Request { id: id.to_string(), source })?;
        let csr = pem::encode("CERTIFICATE REQUEST", &csr);
        let (mut life, mut names) = (self.life, self.names.clone());
        if let Some(entries) = &self.entries {
            let all = entries.load();
            let entry = all.as_ref().and_then(|all| all.of(id)).ok_or_else(|| Error::NoEntry(id.to_string()))?;
            life = entry.x509_life.unwrap_or(life);
            names.dns.clone_from(&entry.dns_names);
        }
        let issued = self.authority.issue_to_server(&csr, id, life, &names).map_err(Error::Authority)?;
        let svid = X509Svid::parse(issued, key).map_err(|source| Error::Svid { id: id.to_string(), source })?;
        Ok(Issued { svid, bundle: Bundle::clone(&self.authority.bundle()) })
    }
}

impl SvidSource for LocalSource {
    fn fetch<'a>(&'a self, id: &'a SpiffeId) -> Fetch<'a> {
        Box::pin(std::future::ready(self.issue(id)))
    }
}
