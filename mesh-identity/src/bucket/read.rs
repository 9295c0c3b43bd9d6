use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use mesh_core::report::chain;
use serde_json::Value;
use tough::{ExpirationEnforcement, IntoVec as _, Limits, Repository, RepositoryLoader};
use url::Url;

use super::keys::timestamp;
use super::transport::BASE;
use super::{Bucket, BucketError, MAX_OBJECT_BYTES, MAX_TRUST_DOMAINS, trust_domain_of};
use crate::bundle::Bundle;
use crate::clock::Clock;
use crate::file;
use crate::jose::json;
use crate::trust::{Source, TrustError, TrustStore};

/// Deadline of one reading of the whole repository.
const DEADLINE: Duration = Duration::from_secs(60);

/// How often the bucket is read.
const INTERVAL: Duration = Duration::from_secs(5 * 60);

/// Most roots that are walked in one reading.
const MAX_ROOTS: u64 = 32;

/// Metadata that is written whole with each reading.
const RECORDS: [&str; 4] = ["root.json", "timestamp.json", "snapshot.json", "targets.json"];

/// Reads trust bundles from a bucket, and believes nothing that is not signed, older than what was seen, or past its end.
#[derive(Debug)]
pub struct Reader {
    bucket: Bucket,
    root: Vec<u8>,
    directory: PathBuf,
    clock: Arc<dyn Clock>,
}

/// What a repository holds, verified.
#[derive(Debug, Clone)]
pub struct Contents {
    /// Its version.
    pub version: u64,
    /// The bundles.
    pub bundles: Vec<Arc<Bundle>>,
}

impl Reader {
    /// A reader that trusts a root (the text of any `N.root.json`, which came by another way than the bucket) and keeps what it
    /// has seen in a directory. Of that root and the newest one seen, the one with the higher version counts.
    ///
    /// # Errors
    /// [`BucketError::File`] when the directory cannot be made.
    pub fn new(bucket: Bucket, root: Vec<u8>, directory: &Path, clock: Arc<dyn Clock>) -> Result<Self, BucketError> {
        file::private_directory(directory)?;
        Ok(Self { bucket, root, directory: directory.to_owned(), clock })
    }

    /// Reads and verifies the whole repository.
    ///
    /// # Errors
    /// [`BucketError`] with what is wrong; what was seen before stays the record.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn read(&self) -> Result<Contents, BucketError> {
        let staging = self.stage()?;
        let reading = self.verify(&staging);
        let (repository, bundles) =
            tokio::time::timeout(DEADLINE, reading).await.map_err(|_| BucketError::Object {
                name: "timestamp.json".to_owned(),
                reason: "the bucket did not answer in time".to_owned(),
            })??;
        self.commit(&staging)?;
        Ok(Contents { version: repository.timestamp().signed.version.get(), bundles })
    }

    /// Reads, and confirms every bundle to a store.
    ///
    /// # Errors
    /// As [`Reader::read`]. A single bundle that the store does not take is logged.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn refresh(&self, trust: &TrustStore) -> Result<u64, BucketError> {
        let contents = self.read().await?;
        for outcome in trust.confirm_all(contents.bundles, Source::Bucket) {
            match outcome {
                // The same bucket serves others, to whom it is foreign.
                Ok(_) | Err(TrustError::Own(_)) => {}
                Err(error) => tracing::error!(%error, "a bundle of the bucket is not taken; the last one counts"),
            }
        }
        Ok(contents.version)
    }

    /// Refreshes a store every five minutes, give or take a tenth, for ever.
    ///
    /// # Cancel safety
    /// Safe.
    pub async fn keep(self, trust: TrustStore) {
        loop {
            match self.refresh(&trust).await {
                Ok(version) => tracing::debug!(version, "trust read from the bucket"),
                Err(error) => {
                    tracing::warn!(error = chain(&error), "trust not read from the bucket; what is known counts");
                }
            }
            tokio::time::sleep(INTERVAL.mul_f64(0.9 + 0.2 * fastrand::f64())).await;
        }
    }

    async fn verify(&self, staging: &Path) -> Result<(Repository, Vec<Arc<Bundle>>), BucketError> {
        let before = |name: &str| file::read(&staging.join(name)).ok();
        let (known_root, known_timestamp) = (before("root.json"), before("timestamp.json"));
        let root =
            known_root.filter(|known| version(&self.root) <= version(known)).unwrap_or_else(|| self.root.clone());
        let base = |part: &str| {
            Url::parse(&format!("{BASE}{part}/"))
                .map_err(|error| BucketError::Object { name: part.to_owned(), reason: error.to_string() })
        };
        let limits = Limits {
            max_root_size: 512 * 1024,
            max_targets_size: MAX_OBJECT_BYTES,
            max_timestamp_size: 64 * 1024,
            max_snapshot_size: MAX_OBJECT_BYTES,
            max_root_updates: MAX_ROOTS,
        };
        let repository = RepositoryLoader::new(&root, base("metadata")?, base("targets")?)
            .transport(self.bucket.clone())
            .limits(limits)
            .datastore(staging)
            // Ends are judged below, by our clock.
            .expiration_enforcement(ExpirationEnforcement::Unsafe)
            .load()
            .await?;
        self.unexpired(&repository)?;
        let newest = repository.timestamp();
        let known: Option<tough::schema::Signed<tough::schema::Timestamp>> =
            known_timestamp.and_then(|text| serde_json::from_slice(&text).ok());
        if known.is_some_and(|known| known.signed.version == newest.signed.version && known.signed != newest.signed) {
            return Err(BucketError::Fork(newest.signed.version.get()));
        }
        let mut bundles = Vec::new();
        for (name, _) in repository.all_targets() {
            let Some(trust_domain) = trust_domain_of(name.raw()) else { continue };
            if bundles.len() >= MAX_TRUST_DOMAINS {
                return Err(BucketError::Object { name: name.raw().to_owned(), reason: "too many bundles".to_owned() });
            }
            let refuse = |reason: &dyn std::fmt::Display| BucketError::Object {
                name: name.raw().to_owned(),
                reason: reason.to_string(),
            };
            let stream = repository.read_target(name).await?.ok_or_else(|| refuse(&"it is missing"))?;
            let text = stream.into_vec().await?;
            let Ok(Value::Object(mut members)) = json::parse(&text) else { return Err(refuse(&"not JSON")) };
            // A bundle under another's name is refused, whoever signed it.
            if members.get("trust_domain").and_then(Value::as_str) != Some(trust_domain.to_string().as_str()) {
                return Err(refuse(&"it is for another trust domain"));
            }
            let document = members.remove("bundle").unwrap_or_default();
            let read = Bundle::from_value(trust_domain, &document).map_err(|error| refuse(&error))?;
            bundles.push(Arc::new(read.bundle));
        }
        Ok((repository, bundles))
    }

    fn unexpired(&self, repository: &Repository) -> Result<(), BucketError> {
        let now = timestamp(self.clock.now())?;
        let ends = [
            ("root", repository.root().signed.expires),
            ("timestamp", repository.timestamp().signed.expires),
            ("snapshot", repository.snapshot().signed.expires),
            ("targets", repository.targets().signed.expires),
        ];
        match ends.into_iter().find(|(_, end)| now > *end) {
            Some((role, _)) => Err(BucketError::Expired { role }),
            None => Ok(()),
        }
    }

    /// A copy of what was seen, to be changed.
    fn stage(&self) -> Result<PathBuf, BucketError> {
        let staging = self.directory.join("staging");
        for old in file::list(&staging).unwrap_or_default() {
            file::remove(&old)?;
        }
        file::private_directory(&staging)?;
        let Some(records) = self.records()? else { return Ok(staging) };
        for (name, content) in records {
            file::replace(&staging.join(name), content.as_bytes(), file::Mode::Private)?;
        }
        Ok(staging)
    }

    /// What was verified becomes the record, in one file and so whole or not at all.
    fn commit(&self, staging: &Path) -> Result<(), BucketError> {
        let mut all = serde_json::Map::new();
        for name in RECORDS {
            match file::read(&staging.join(name)) {
                Ok(text) => {
                    all.insert(name.to_owned(), String::from_utf8_lossy(&text).into_owned().into());
                }
                Err(error) if error.is_not_found() => {}
                Err(error) => return Err(error.into()),
            }
        }
        let text = Value::Object(all).to_string();
        Ok(file::replace(&self.directory.join("seen.json"), text.as_bytes(), file::Mode::Private)?)
    }

    fn records(&self) -> Result<Option<Vec<(String, String)>>, BucketError> {
        let path = self.directory.join("seen.json");
        let text = match file::read(&path) {
            Ok(text) => text,
            Err(error) if error.is_not_found() => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        // A torn record is no record, and without one an old state could be taken for new: that is for an operator.
        let malformed = || file::Error::malformed(&path, "not a record of a bucket");
        let Ok(Value::Object(members)) = json::parse(&text) else { return Err(malformed().into()) };
        let mut all = Vec::new();
        for (name, content) in members {
            let known = RECORDS.contains(&name.as_str());
            let content = content.as_str().filter(|_| known).ok_or_else(malformed)?;
            all.push((name, content.to_owned()));
        }
        Ok(Some(all))
    }

    /// The time by which ends are judged.
    #[must_use]
    pub fn now(&self) -> SystemTime {
        self.clock.now()
    }
}

/// The version of a root; `None` for what is none.
fn version(root: &[u8]) -> Option<std::num::NonZeroU64> {
    let root: tough::schema::Signed<tough::schema::Root> = serde_json::from_slice(root).ok()?;
    Some(root.signed.version)
}
