use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use aws_lc_rs::digest::{SHA256, digest};
use mesh_core::name::parse_trust_domain;
use serde::{Deserialize, Serialize};

use super::known::{Known, Source};
use super::state::Kept;
use crate::bundle::{Bundle, RevocationPolicy};
use crate::file;

/// Bundles on disk: one file, replaced whole, and the one before it. Every file begins with the digest of the rest, and
/// every bundle in it with the name of its trust domain, so that neither a torn file nor one of another place is taken.
#[derive(Debug, Clone)]
pub struct TrustCache {
    path: PathBuf,
}

/// The bundles on disk cannot be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CacheError {
    /// The file cannot be read or written.
    #[error("the trust cache failed")]
    File(#[from] file::Error),
    /// The file is torn, changed, or of another format.
    #[error("the trust cache {0}")]
    Content(&'static str),
}

#[derive(Serialize, Deserialize)]
struct Stored {
    format: u32,
    bundles: Vec<StoredBundle>,
    /// Trust domains in which trust was ended.
    #[serde(default)]
    terminated: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct StoredBundle {
    trust_domain: String,
    document: String,
    source: Source,
    /// Seconds since 1970.
    confirmed: u64,
    max_age_seconds: Option<u64>,
    revocation_required: bool,
}

const FORMAT: u32 = 1;

impl TrustCache {
    /// A cache in a directory, which is made if it is not there.
    ///
    /// # Errors
    /// [`CacheError::File`].
    pub fn open(directory: &Path) -> Result<Self, CacheError> {
        file::private_directory(directory)?;
        Ok(Self { path: directory.join("trust.json") })
    }

    fn previous(&self) -> PathBuf {
        self.path.with_extension("json.1")
    }

    pub(super) fn save(&self, kept: &Kept) -> Result<(), CacheError> {
        let bundles = kept.known.values().map(|known| StoredBundle {
            trust_domain: known.bundle.trust_domain().to_string(),
            document: known.bundle.to_document(),
            source: known.source,
            confirmed: known.confirmed.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs(),
            max_age_seconds: known.max_age.map(|age| age.as_secs()),
            revocation_required: known.revocation == RevocationPolicy::Required,
        });
        let terminated = kept.terminated.iter().map(ToString::to_string).collect();
        let text = serde_json::to_string(&Stored { format: FORMAT, bundles: bundles.collect(), terminated });
        let text = text.map_err(|_| CacheError::Content("cannot be written"))?;
        let sealed = format!("{}\n{text}", digest_of(&text));
        // The one before stays, for the case that this one is damaged later.
        if let Ok(before) = file::read(&self.path)
            && read(&before).is_ok()
            && before != sealed.as_bytes()
        {
            file::replace(&self.previous(), &before, file::Mode::Private)?;
        }
        Ok(file::replace(&self.path, sealed.as_bytes(), file::Mode::Private)?)
    }

    /// The newest generation that is whole. `None` when there never was one.
    pub(super) fn load(&self) -> Result<Option<Kept>, CacheError> {
        let current = file::read(&self.path);
        match current.map_err(CacheError::from).and_then(|bytes| read(&bytes)) {
            Ok(kept) => Ok(Some(kept)),
            Err(error) => {
                let absent = matches!(&error, CacheError::File(error) if error.is_not_found());
                match file::read(&self.previous()) {
                    Ok(bytes) => {
                        tracing::warn!(
                            error = mesh_core::report::chain(&error),
                            "the newest trust cache is not used, but the one before"
                        );
                        read(&bytes).map(Some)
                    }
                    Err(_) if absent => Ok(None),
                    Err(_) => Err(error),
                }
            }
        }
    }
}

fn read(bytes: &[u8]) -> Result<Kept, CacheError> {
    let text = std::str::from_utf8(bytes).map_err(|_| CacheError::Content("is no text"))?;
    let (sum, text) = text.split_once('\n').ok_or(CacheError::Content("is torn"))?;
    if sum != digest_of(text) {
        return Err(CacheError::Content("is torn or was changed"));
    }
    let stored: Stored = serde_json::from_str(text).map_err(|_| CacheError::Content("is of another format"))?;
    if stored.format != FORMAT {
        return Err(CacheError::Content("is of another format"));
    }
    let domain = |name: &str| parse_trust_domain(name).map_err(|_| CacheError::Content("names no trust domain"));
    let known = stored.bundles.into_iter().map(|one| {
        let domain = domain(&one.trust_domain)?;
        let document = Bundle::from_document(domain.clone(), one.document.as_bytes());
        let bundle = document.map_err(|_| CacheError::Content("holds what is no bundle"))?.bundle;
        let known = Known {
            bundle: bundle.into(),
            source: one.source,
            confirmed: SystemTime::UNIX_EPOCH + Duration::from_secs(one.confirmed.min(1 << 40)),
            max_age: one.max_age_seconds.map(Duration::from_secs),
            revocation: if one.revocation_required { RevocationPolicy::Required } else { RevocationPolicy::Soft },
        };
        Ok((domain, known))
    });
    let known = known.collect::<Result<_, CacheError>>()?;
    let terminated = stored.terminated.iter().map(|name| domain(name)).collect::<Result<_, _>>()?;
    Ok(Kept { known, terminated })
}

fn digest_of(text: &str) -> String {
    crate::hex::hex(digest(&SHA256, text.as_bytes()).as_ref())
}
