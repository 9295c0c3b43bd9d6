use std::collections::HashMap;
use std::fmt;
use std::num::NonZeroU64;
use std::time::{Duration, SystemTime};

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::Ed25519KeyPair;
use tough::editor::signed::SignedRole;
use tough::key_source::KeySource;
use tough::schema::{KeyHolder, RoleKeys, RoleType, Root, Signed};
use tough::sign::{Sign, parse_keypair};

use super::BucketError;

/// A private key of a repository: Ed25519 or ECDSA P-256.
#[derive(Clone)]
pub struct RepositoryKey(Vec<u8>);

impl RepositoryKey {
    /// A new Ed25519 key.
    ///
    /// # Errors
    /// [`BucketError::Keys`] when there are no random numbers.
    pub fn generate() -> Result<Self, BucketError> {
        let pkcs8 = Ed25519KeyPair::generate_pkcs8v1(&SystemRandom::new());
        Ok(Self(pkcs8.map_err(|_| BucketError::Keys("no random numbers".to_owned()))?.as_ref().to_vec()))
    }

    /// Reads a key in PKCS#8.
    ///
    /// # Errors
    /// [`BucketError::Keys`] for other keys.
    pub fn from_pkcs8(der: &[u8]) -> Result<Self, BucketError> {
        parse_keypair(der).map_err(|_| BucketError::Keys("neither Ed25519 nor ECDSA P-256 in PKCS#8".to_owned()))?;
        Ok(Self(der.to_vec()))
    }

    /// The key in PKCS#8. A secret.
    #[must_use]
    pub fn to_pkcs8(&self) -> &[u8] {
        &self.0
    }

    fn public(&self) -> Result<tough::schema::key::Key, BucketError> {
        let pair = parse_keypair(&self.0).map_err(|error| BucketError::Keys(error.to_string()))?;
        Ok(pair.tuf_key())
    }

    pub(super) fn source(&self) -> Box<dyn KeySource> {
        Box::new(self.clone())
    }
}

impl fmt::Debug for RepositoryKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RepositoryKey(..)")
    }
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[tough::async_trait]
impl KeySource for RepositoryKey {
    async fn as_sign(&self) -> Result<Box<dyn Sign>, Failure> {
        Ok(Box::new(parse_keypair(&self.0)?))
    }

    async fn write(&self, _value: &str, _key_id: &str) -> Result<(), Failure> {
        Err("keys are not written".into())
    }
}

/// The keys of one role, and how many of them must sign.
#[derive(Debug, Clone)]
pub struct RoleKeySet {
    /// The keys.
    pub keys: Vec<RepositoryKey>,
    /// How many.
    pub threshold: u64,
}

/// The root of a repository: who may sign what. Its own keys belong offline; the bucket and the publisher need the signed text
/// alone.
#[derive(Debug, Clone)]
pub struct RepositoryRoot {
    /// Who signs this root and the next.
    pub root: RoleKeySet,
    /// Who signs the list of bundles.
    pub targets: RoleKeySet,
    /// Who signs which versions belong together.
    pub snapshot: RoleKeySet,
    /// Who signs what is newest.
    pub timestamp: RoleKeySet,
    /// For how long it counts from now.
    pub life: Duration,
}

impl RepositoryRoot {
    /// Signs it as a version: the text of `N.root.json`, which readers begin with. A version after the first is signed by the
    /// keys of the one `before` it as well.
    ///
    /// # Errors
    /// [`BucketError::Keys`] when there are fewer keys than must sign.
    pub async fn sign(
        &self,
        version: NonZeroU64,
        before: Option<&RoleKeySet>,
        now: SystemTime,
    ) -> Result<Vec<u8>, BucketError> {
        let mut root = Root {
            spec_version: "1.0.0".to_owned(),
            consistent_snapshot: true,
            version,
            expires: timestamp(now + self.life)?,
            keys: HashMap::new(),
            roles: HashMap::new(),
            _extra: HashMap::new(),
        };
        let roles = [
            (RoleType::Root, &self.root),
            (RoleType::Targets, &self.targets),
            (RoleType::Snapshot, &self.snapshot),
            (RoleType::Timestamp, &self.timestamp),
        ];
        for (role, set) in roles {
            let mut keyids = Vec::new();
            for key in &set.keys {
                let key = key.public()?;
                let id = key.key_id().map_err(|error| BucketError::Keys(error.to_string()))?;
                root.keys.insert(id.clone(), key);
                keyids.push(id);
            }
            let threshold = NonZeroU64::new(set.threshold).filter(|least| least.get() <= keyids.len() as u64);
            let threshold = threshold.ok_or_else(|| BucketError::Keys(format!("role {role} has too few")))?;
            root.roles.insert(role, RoleKeys { keyids, threshold, _extra: HashMap::new() });
        }
        let random = SystemRandom::new();
        let sources = |set: &RoleKeySet| set.keys.iter().map(RepositoryKey::source).collect::<Vec<_>>();
        let signed =
            SignedRole::new(root.clone(), &KeyHolder::Root(root.clone()), &sources(&self.root), &random).await?;
        let Some(before) = before else { return Ok(signed.buffer().clone()) };
        // The keys of before sign the same content. Their names are not in the new root, so a root that has them is asked.
        let mut holder = root.clone();
        let mut keyids = Vec::new();
        for key in &before.keys {
            let key = key.public()?;
            let id = key.key_id().map_err(|error| BucketError::Keys(error.to_string()))?;
            holder.keys.insert(id.clone(), key);
            keyids.push(id);
        }
        let threshold = NonZeroU64::new(before.threshold).unwrap_or(NonZeroU64::MIN);
        holder.roles.insert(RoleType::Root, RoleKeys { keyids, threshold, _extra: HashMap::new() });
        let by_old = SignedRole::new(root, &KeyHolder::Root(holder), &sources(before), &random).await?;
        let mut both: Signed<Root> = signed.signed().clone();
        for signature in &by_old.signed().signatures {
            if !both.signatures.iter().any(|known| known.keyid == signature.keyid) {
                both.signatures.push(signature.clone());
            }
        }
        serde_json::to_vec_pretty(&both).map_err(|error| BucketError::Keys(error.to_string()))
    }
}

/// A time as TUF writes it, in whole seconds.
pub(super) fn timestamp(time: SystemTime) -> Result<jiff::Timestamp, BucketError> {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let seconds = i64::try_from(since.as_secs()).unwrap_or(i64::MAX);
    jiff::Timestamp::from_second(seconds).map_err(|error| BucketError::Keys(error.to_string()))
}
