use std::collections::HashMap;
use std::fmt;
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand::SystemRandom;
use object_store::{Error as StoreError, ObjectStoreExt as _, PutMode, PutOptions, PutPayload, UpdateVersion};
use serde::Serialize;
use serde_json::json;
use tough::TargetName;
use tough::editor::signed::SignedRole;
use tough::schema::{Hashes, KeyHolder, Metafile, Role, Root, Signed, Snapshot, Target, Targets, Timestamp};

use super::keys::{RepositoryKey, timestamp};
use super::{Bucket, BucketError, bounded, target_name};
use crate::bundle::Bundle;
use crate::clock::Clock;
use crate::file;
use crate::hex::hex;

/// Of what a publisher makes a repository.
#[derive(Debug, Clone)]
pub struct PublisherSettings {
    /// The signed root: the text of `N.root.json`.
    pub root: Vec<u8>,
    /// Keys of targets, snapshot and timestamp. Which signs what, the root says.
    pub keys: Vec<RepositoryKey>,
    /// A file of the last version that was published: a bucket that was emptied or set back cannot make it count backwards.
    pub record: PathBuf,
    /// For how long a timestamp counts: how long readers take the bucket for fresh when the publisher is away. A day, usually.
    pub fresh_for: Duration,
    /// For how long the list of bundles counts. A week, usually.
    pub listed_for: Duration,
}

/// Publishes bundles as a TUF repository. One publisher at a time: another's work is noticed, and refused.
pub struct Publisher {
    bucket: Bucket,
    root: Root,
    settings: PublisherSettings,
    clock: Arc<dyn Clock>,
}

/// What was published.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Published {
    /// The version of targets, snapshot and timestamp.
    pub version: u64,
    /// Until when readers take it for fresh.
    pub until: SystemTime,
}

impl Publisher {
    /// A publisher to a bucket.
    ///
    /// # Errors
    /// [`BucketError::Keys`] when the root is none.
    pub fn new(bucket: Bucket, settings: PublisherSettings, clock: Arc<dyn Clock>) -> Result<Self, BucketError> {
        let root: Signed<Root> = serde_json::from_slice(&settings.root)
            .map_err(|error| BucketError::Keys(format!("the root cannot be read: {error}")))?;
        let wrong = |error: tough::schema::Error| BucketError::Keys(format!("the root is not signed: {error}"));
        root.signed.verify_role(&root).map_err(wrong)?;
        Ok(Self { bucket, root: root.signed, settings, clock })
    }

    /// Publishes bundles, in the place of those before. Written from below: a reader in the midst sees the old state whole.
    ///
    /// # Errors
    /// [`BucketError`]; readers then see what was there before.
    ///
    /// # Cancel safety
    /// Safe: what is written before the timestamp is seen by nobody.
    pub async fn publish(&self, bundles: &[Arc<Bundle>]) -> Result<Published, BucketError> {
        let now = self.clock.now();
        let (before, tag) = self.newest().await?;
        let version = before.max(self.recorded()?) + 1;
        let number = NonZeroU64::new(version).unwrap_or(NonZeroU64::MIN);
        self.record(version)?;

        let root_name = format!("metadata/{}.root.json", self.root.version);
        self.create(&root_name, self.settings.root.clone()).await?;
        let listed_until = timestamp(now + self.settings.listed_for)?;
        let mut targets = Targets::new(SPEC.to_owned(), number, listed_until);
        targets.delegations = None;
        for bundle in bundles {
            let text = trust_document(bundle);
            let name = target_name(bundle.trust_domain());
            let hash = hex(digest(&SHA256, &text).as_ref());
            let target = Target {
                length: text.len() as u64,
                hashes: hashes(&text),
                custom: HashMap::new(),
                _extra: HashMap::new(),
            };
            let key = TargetName::new(name.clone())?;
            targets.targets.insert(key, target);
            self.create(&format!("targets/{hash}.{name}"), text).await?;
        }
        let targets = self.sign(targets).await?;
        self.create(&format!("metadata/{version}.targets.json"), targets.buffer().clone()).await?;
        let mut snapshot = Snapshot::new(SPEC.to_owned(), number, listed_until);
        snapshot.meta.insert("targets.json".to_owned(), metafile(targets.buffer(), number));
        let snapshot = self.sign(snapshot).await?;
        self.create(&format!("metadata/{version}.snapshot.json"), snapshot.buffer().clone()).await?;

        let until = now + self.settings.fresh_for;
        let mut newest = Timestamp::new(SPEC.to_owned(), number, timestamp(until)?);
        newest.meta.insert("snapshot.json".to_owned(), metafile(snapshot.buffer(), number));
        let newest = self.sign(newest).await?;
        self.replace("metadata/timestamp.json", newest.buffer().clone(), tag).await?;
        tracing::info!(version, bundles = bundles.len(), "trust published to the bucket");
        Ok(Published { version, until })
    }

    /// The version in the bucket, if it is ours, and what must not have changed when it is replaced.
    async fn newest(&self) -> Result<(u64, Option<UpdateVersion>), BucketError> {
        let got = match self.bucket.store.get(&self.bucket.at("metadata/timestamp.json")).await {
            Ok(got) => got,
            Err(StoreError::NotFound { .. }) => return Ok((0, None)),
            Err(error) => return Err(error.into()),
        };
        let tag = UpdateVersion { e_tag: got.meta.e_tag.clone(), version: got.meta.version.clone() };
        let text = bounded(got).await?;
        let found: Option<Signed<Timestamp>> = text.and_then(|text| serde_json::from_slice(&text).ok());
        // A number that is not ours counts for nothing: it could be the last there is.
        let ours = found.filter(|found| self.root.verify_role(found).is_ok());
        if ours.is_none() {
            tracing::error!("the timestamp in the bucket is not signed by this repository; it is replaced");
        }
        Ok((ours.map_or(0, |found| found.signed.version.get()), Some(tag)))
    }

    async fn sign<T: Role + Serialize>(&self, role: T) -> Result<SignedRole<T>, BucketError> {
        let keys: Vec<_> = self.settings.keys.iter().map(RepositoryKey::source).collect();
        Ok(SignedRole::new(role, &KeyHolder::Root(self.root.clone()), &keys, &SystemRandom::new()).await?)
    }

    /// Writes an object that never changes.
    async fn create(&self, name: &str, content: Vec<u8>) -> Result<(), BucketError> {
        let at = self.bucket.at(name);
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        match self.bucket.store.put_opts(&at, PutPayload::from(content.clone()), options).await {
            Ok(_) => Ok(()),
            Err(StoreError::AlreadyExists { .. } | StoreError::Precondition { .. }) => {
                // What is larger than any reader takes is nobody's.
                let there = bounded(self.bucket.store.get(&at).await?).await?.unwrap_or_default();
                if there == content {
                    return Ok(());
                }
                // A target is named by its digest; metadata of this version that our keys signed is another publisher's.
                if !name.starts_with("targets/") && self.is_ours(&there) {
                    return Err(BucketError::Conflict);
                }
                tracing::error!(name, "an object in the bucket is not what its name says; it is replaced");
                self.bucket.store.put(&at, PutPayload::from(content)).await?;
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Whether metadata was signed by the keys of this repository.
    fn is_ours(&self, text: &[u8]) -> bool {
        let targets: Option<Signed<Targets>> = serde_json::from_slice(text).ok();
        let snapshot: Option<Signed<Snapshot>> = serde_json::from_slice(text).ok();
        targets.is_some_and(|role| self.root.verify_role(&role).is_ok())
            || snapshot.is_some_and(|role| self.root.verify_role(&role).is_ok())
    }

    /// Writes the one object that changes, unless somebody else did.
    async fn replace(&self, name: &str, content: Vec<u8>, tag: Option<UpdateVersion>) -> Result<(), BucketError> {
        let at = self.bucket.at(name);
        let mode = tag.map_or(PutMode::Create, PutMode::Update);
        let options = PutOptions { mode, ..PutOptions::default() };
        match self.bucket.store.put_opts(&at, PutPayload::from(content.clone()), options).await {
            Ok(_) => Ok(()),
            // A directory has one writer by other means.
            Err(StoreError::NotImplemented { .. }) => {
                self.bucket.store.put(&at, PutPayload::from(content)).await?;
                Ok(())
            }
            Err(
                StoreError::AlreadyExists { .. } | StoreError::Precondition { .. } | StoreError::NotModified { .. },
            ) => Err(BucketError::Conflict),
            Err(error) => Err(error.into()),
        }
    }

    fn recorded(&self) -> Result<u64, BucketError> {
        match file::read(&self.settings.record) {
            Ok(text) => {
                let number = std::str::from_utf8(&text).ok().and_then(|text| text.trim().parse().ok());
                Ok(number.ok_or_else(|| file::Error::malformed(&self.settings.record, "no version"))?)
            }
            Err(error) if error.is_not_found() => Ok(0),
            Err(error) => Err(error.into()),
        }
    }

    fn record(&self, version: u64) -> Result<(), BucketError> {
        Ok(file::replace(&self.settings.record, format!("{version}\n").as_bytes(), file::Mode::Private)?)
    }
}

impl fmt::Debug for Publisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publisher")
            .field("bucket", &self.bucket)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

/// Version of the TUF specification that is written.
const SPEC: &str = "1.0.0";

fn trust_document(bundle: &Bundle) -> Vec<u8> {
    let whole = json!({ "trust_domain": bundle.trust_domain().to_string(), "bundle": bundle.to_value() });
    whole.to_string().into_bytes()
}

fn metafile(content: &[u8], version: NonZeroU64) -> Metafile {
    Metafile { length: Some(content.len() as u64), hashes: Some(hashes(content)), version, _extra: HashMap::new() }
}

fn hashes(content: &[u8]) -> Hashes {
    Hashes { sha256: digest(&SHA256, content).as_ref().to_vec().into(), _extra: HashMap::new() }
}
