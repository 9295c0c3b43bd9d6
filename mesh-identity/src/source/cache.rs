use std::path::{Path, PathBuf};

use mesh_core::name::{SpiffeId, TrustDomain};

use super::Error;
use crate::bundle::Bundle;
use crate::file;
use crate::svid::X509Svid;

/// SVIDs and the bundle on disk, so that a restart needs no issuer. Keys are readable by their owner only.
#[derive(Debug, Clone)]
pub struct Cache {
    directory: PathBuf,
}

impl Cache {
    /// A cache in a directory, which is made if it is not there.
    ///
    /// # Errors
    /// [`Error::File`] with the path.
    pub fn open(directory: &Path) -> Result<Self, Error> {
        file::private_directory(directory)?;
        Ok(Self { directory: directory.to_owned() })
    }

    /// The SVID of an identity, if one is cached. Whether it is still valid is for the caller to see.
    ///
    /// # Errors
    /// [`Error`] for a file that is torn or belongs to somebody else: it is then as good as absent, but worth a line.
    pub fn load_svid(&self, id: &SpiffeId) -> Result<Option<X509Svid>, Error> {
        let text = match file::read(&self.svid_path(id)) {
            Ok(text) => text,
            Err(error) if error.is_not_found() => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let svid = X509Svid::from_pem(&text).map_err(|source| Error::Svid { id: id.to_string(), source })?;
        if svid.id() != id {
            return Err(Error::OtherIdentity { asked: id.to_string(), got: svid.id().to_string() });
        }
        Ok(Some(svid))
    }

    /// Keeps an SVID.
    ///
    /// # Errors
    /// [`Error::File`]; what was cached before is untouched then.
    pub fn store_svid(&self, svid: &X509Svid) -> Result<(), Error> {
        Ok(file::replace(&self.svid_path(svid.id()), svid.to_pem().as_bytes(), file::Mode::Private)?)
    }

    /// Drops the SVID of an identity that is not needed any more.
    pub fn forget_svid(&self, id: &SpiffeId) {
        let _ = std::fs::remove_file(self.svid_path(id));
    }

    /// The bundle of a trust domain, if one is cached.
    ///
    /// # Errors
    /// [`Error`] for a file that is torn or holds something else. An empty trust store is never mistaken for a loaded one.
    pub fn load_bundle(&self, trust_domain: &TrustDomain) -> Result<Option<Bundle>, Error> {
        match file::read(&self.bundle_path(trust_domain)) {
            Ok(text) => Bundle::from_pem(trust_domain.clone(), &text).map(Some).map_err(Error::Bundle),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Keeps a bundle.
    ///
    /// # Errors
    /// [`Error::File`]; what was cached before is untouched then.
    pub fn store_bundle(&self, bundle: &Bundle) -> Result<(), Error> {
        let path = self.bundle_path(bundle.trust_domain());
        Ok(file::replace(&path, bundle.to_pem().as_bytes(), file::Mode::Public)?)
    }

    fn svid_path(&self, id: &SpiffeId) -> PathBuf {
        // Segments of a SPIFFE ID hold no `+`, so the flattened name is unambiguous; and never leaves the directory.
        let flat = id.path().trim_start_matches('/').replace('/', "+");
        self.directory.join(format!("svid+{}+{flat}.pem", id.trust_domain_name()))
    }

    fn bundle_path(&self, trust_domain: &TrustDomain) -> PathBuf {
        self.directory.join(format!("bundle+{trust_domain}.pem"))
    }
}
