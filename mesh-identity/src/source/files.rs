use std::path::{Path, PathBuf};

use mesh_core::name::SpiffeId;

use super::{Error, Fetch, Issued, SvidSource};
use crate::bundle::{Bundle, BundleSet};
use crate::clock::Clock;
use crate::file;
use crate::svid::X509Svid;
use crate::verify::{self, Purpose};

/// An SVID in files that somebody else keeps fresh, such as a SPIFFE helper or cert-manager: the chain, the key and the roots,
/// all PEM. They are read anew at each renewal; files that do not belong together, as in the middle of a change, are refused
/// and tried again.
#[derive(Debug)]
pub struct FileSource {
    chain: PathBuf,
    key: PathBuf,
    roots: PathBuf,
    clock: std::sync::Arc<dyn Clock>,
}

impl FileSource {
    /// A source over three files.
    #[must_use]
    pub fn new(chain: &Path, key: &Path, roots: &Path, clock: std::sync::Arc<dyn Clock>) -> Self {
        Self { chain: chain.to_owned(), key: key.to_owned(), roots: roots.to_owned(), clock }
    }

    fn read(&self, id: &SpiffeId) -> Result<Issued, Error> {
        let text = [file::read(&self.chain)?, b"\n".to_vec(), file::read(&self.key)?].concat();
        let svid = X509Svid::from_pem(&text).map_err(|source| Error::Svid { id: id.to_string(), source })?;
        if svid.id() != id {
            return Err(Error::OtherIdentity { asked: id.to_string(), got: svid.id().to_string() });
        }
        let roots = file::read(&self.roots)?;
        let bundle = Bundle::from_pem(id.trust_domain().clone(), &roots).map_err(Error::Bundle)?;
        let only = BundleSet::default().with(bundle.clone());
        verify::peer(Some(svid.chain()), &only, Purpose::Server, self.clock.now()).map_err(Error::Verify)?;
        Ok(Issued { svid, bundle })
    }
}

impl SvidSource for FileSource {
    fn fetch<'a>(&'a self, id: &'a SpiffeId) -> Fetch<'a> {
        Box::pin(std::future::ready(self.read(id)))
    }
}
