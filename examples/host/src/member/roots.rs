//! The roots of the first contact.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use mesh_core::report::chain;
use mesh_identity::file;
use parking_lot::Mutex;

use super::Error;

/// What `trust_bundle` names: a file, which others may replace, or the text itself. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub(super) struct Roots {
    path: Option<PathBuf>,
    last: Arc<Mutex<Vec<u8>>>,
}

impl Roots {
    /// Reads them. On a machine that boots, the file may be written after us: it is waited for.
    pub(super) async fn load(path: &Path) -> Result<Self, Error> {
        if let Some(text) = path.to_str().filter(|text| text.starts_with("-----BEGIN")) {
            return Ok(Self { path: None, last: Arc::new(Mutex::new(text.as_bytes().to_vec())) });
        }
        let mut told = false;
        loop {
            match file::read(path) {
                Ok(text) => return Ok(Self { path: Some(path.to_owned()), last: Arc::new(Mutex::new(text)) }),
                Err(error) if error.is_not_found() => {
                    if !std::mem::replace(&mut told, true) {
                        tracing::warn!(path = %path.display(), "waiting for the trust bundle");
                    }
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The PEM text as it is now, or as it was when it could be read last.
    pub(super) fn text(&self) -> Vec<u8> {
        let mut last = self.last.lock();
        match self.path.as_deref().map(file::read) {
            Some(Ok(text)) => *last = text,
            Some(Err(error)) => tracing::warn!(error = chain(&error), "the roots read before go on"),
            None => {}
        }
        last.clone()
    }
}
