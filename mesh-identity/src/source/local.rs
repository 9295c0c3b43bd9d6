use std::sync::Arc;
use std::time::Duration;

use mesh_core::name::SpiffeId;

use super::csr::certificate_request;
use super::{Error, Fetch, Issued, SvidSource};
use crate::authority::{Authority, Names};
use crate::bundle::Bundle;
use crate::svid::X509Svid;

/// SVIDs straight from an authority in this process: how a control plane gets its own.
#[derive(Debug)]
pub struct LocalSource {
    authority: Arc<Authority>,
    life: Duration,
    names: Names,
}

impl LocalSource {
    /// A source over an authority. `names` are written into the certificates beside the SPIFFE ID.
    #[must_use]
    pub fn new(authority: Arc<Authority>, life: Duration, names: Names) -> Self {
        Self { authority, life, names }
    }

    /// A request for an identity with a key that is thrown away: to see whether it would be granted.
    pub(crate) fn request(id: &SpiffeId) -> Result<String, rcgen::Error> {
        certificate_request(id).map(|(_, request)| request)
    }

    fn issue(&self, id: &SpiffeId) -> Result<Issued, Error> {
        let (key, csr) = certificate_request(id).map_err(|source| Error::Request { id: id.to_string(), source })?;
        let issued = self.authority.issue_to_server(&csr, id, self.life, &self.names).map_err(Error::Authority)?;
        let svid = X509Svid::parse(issued, key).map_err(|source| Error::Svid { id: id.to_string(), source })?;
        Ok(Issued { svid, bundle: Bundle::clone(&self.authority.bundle()) })
    }
}

impl SvidSource for LocalSource {
    fn fetch<'a>(&'a self, id: &'a SpiffeId) -> Fetch<'a> {
        Box::pin(std::future::ready(self.issue(id)))
    }
}
