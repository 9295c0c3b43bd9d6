//! Trust bundles in a bucket (S3 and what speaks like it, Google's, Azure's, a directory), as a TUF repository
//! (The Update Framework 1.0). Feature `s3`.
//!
//! Whoever owns the bucket, or a cache before it, can withhold it and no more: every object is signed by keys that the bucket
//! never sees, versions only grow, and what is old says when it ends. Other TUF clients read the same repository.
//!
//! `metadata/` holds `N.root.json`, `timestamp.json`, `N.snapshot.json`, `N.targets.json`; `targets/` holds
//! `<sha256>.trust.<trust domain>.json` with members `trust_domain` and `bundle`, the SPIFFE document.
//!
//! # What the TUF library leaves to us
//!
//! - Its records of what was seen are changed one by one, and not synced: here a copy is changed, and becomes the record whole,
//!   when all has been verified.
//! - It begins anew at the root that it is given: here at the newest root that was ever verified, so that a bucket without the
//!   newer ones brings no old keys back.
//! - It reads the machine's clock and fails when that steps back: here ends are judged by a [`Clock`](crate::clock::Clock).
//! - It takes another timestamp of the same version: here that is a fork, and refused.

mod keys;
mod publish;
mod read;
mod sts;
mod transport;

use std::fmt;
use std::sync::Arc;

use futures_util::TryStreamExt as _;
use object_store::path::Path;
use object_store::{GetResult, ObjectStore};

pub use keys::{RepositoryKey, RepositoryRoot, RoleKeySet};
pub use publish::{Published, Publisher, PublisherSettings};
pub use read::{Contents, Reader};
pub use sts::AssumeRole;

/// Largest object that is read, in bytes.
pub const MAX_OBJECT_BYTES: u64 = 4 * 1024 * 1024;

/// Most trust domains in one repository.
pub const MAX_TRUST_DOMAINS: usize = 10_000;

/// A place in an object store. Cheap to clone.
#[derive(Clone)]
pub struct Bucket {
    store: Arc<dyn ObjectStore>,
    prefix: Path,
}

impl Bucket {
    /// The objects below a prefix.
    #[must_use]
    pub fn new(store: Arc<dyn ObjectStore>, prefix: &str) -> Self {
        Self { store, prefix: Path::from(prefix) }
    }

    fn at(&self, path: &str) -> Path {
        path.split('/').filter(|part| !part.is_empty()).fold(self.prefix.clone(), |at, part| at.join(part))
    }
}

/// What comes of an object; `None` when it is larger than [`MAX_OBJECT_BYTES`].
async fn bounded(got: GetResult) -> object_store::Result<Option<Vec<u8>>> {
    let mut parts = got.into_stream();
    let mut whole = Vec::new();
    while let Some(part) = parts.try_next().await? {
        whole.extend_from_slice(&part);
        if whole.len() as u64 > MAX_OBJECT_BYTES {
            return Ok(None);
        }
    }
    Ok(Some(whole))
}

impl fmt::Debug for Bucket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bucket").field("store", &self.store.to_string()).field("prefix", &self.prefix.as_ref()).finish()
    }
}

/// A bucket could not be read or written, or holds what is not to be trusted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BucketError {
    /// The bucket failed.
    #[error("the bucket")]
    Store(#[from] object_store::Error),
    /// Signatures, versions, digests or sizes are wrong, or an object is missing.
    #[error("the repository in the bucket is refused: {}", first_line(.0))]
    Repository(#[source] Box<tough::error::Error>),
    /// It is older than it may be: frozen, or its publisher is away.
    #[error("`{role}` of the repository in the bucket has expired")]
    Expired {
        /// What has expired.
        role: &'static str,
    },
    /// Another object than before under the same version.
    #[error("the timestamp of version {0} is another than before")]
    Fork(u64),
    /// An object is signed and yet makes no sense.
    #[error("`{name}` in the bucket: {reason}")]
    Object {
        /// Its name.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// Somebody else published meanwhile.
    #[error("somebody else published meanwhile")]
    Conflict,
    /// A key cannot be used, or a role lacks keys.
    #[error("the keys of the repository: {0}")]
    Keys(String),
    /// The records of what was seen cannot be read or written.
    #[error("the records of the bucket")]
    File(#[from] crate::file::Error),
}

impl From<tough::error::Error> for BucketError {
    fn from(error: tough::error::Error) -> Self {
        Self::Repository(Box::new(error))
    }
}

fn first_line(error: &tough::error::Error) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}

/// The name of a trust domain's target, and back.
fn target_name(trust_domain: &mesh_core::name::TrustDomain) -> String {
    format!("trust.{trust_domain}.json")
}

fn trust_domain_of(target: &str) -> Option<mesh_core::name::TrustDomain> {
    let name = target.strip_prefix("trust.")?.strip_suffix(".json")?;
    mesh_core::name::parse_trust_domain(name).ok()
}
