//! The authority's state on disk: one file, replaced whole, so that a crash at any moment leaves the state before or the
//! state after. Keys are in it; it is readable by its owner only, and sealed where a sealing key is given.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_lc_rs::aead::{AES_256_GCM, Aad, Nonce, RandomizedNonceKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mesh_core::name::TrustDomain;
use rcgen::KeyPair;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use serde::{Deserialize, Serialize};

use super::Error;
use super::resume::{self, Known, Resumed};
use super::rotate::Life;
use super::signer::Signer;
use super::state::{Revoked, Slots, State, TokenKey};
use crate::bundle::{self, Bundle, JwtAuthority};
use crate::clock::seconds;
use crate::file;
use crate::jose::{PublicKey, SigningKey};

/// Name of the file.
pub(super) const FILE: &str = "authority.json";

/// What seals keys at rest: AES-256-GCM under a key that stands elsewhere.
#[derive(Clone)]
pub struct SealingKey(Arc<[u8; 32]>);

impl SealingKey {
    /// A key of 32 bytes.
    #[must_use]
    pub fn new(key: [u8; 32]) -> Self {
        Self(Arc::new(key))
    }

    /// Reads a key of 32 bytes from a file: raw, or in base64.
    ///
    /// # Errors
    /// [`Error::File`], and [`Error::FileContent`] for another length.
    pub fn from_file(path: &Path) -> Result<Self, Error> {
        let bytes = file::read(path)?;
        let decoded = STANDARD.decode(bytes.trim_ascii()).unwrap_or_default();
        [bytes, decoded]
            .into_iter()
            .find_map(|bytes| bytes.try_into().ok())
            .map(Self::new)
            .ok_or(Error::FileContent { file: "sealing key", what: "32 bytes, raw or in base64" })
    }

    fn cipher(&self) -> Result<RandomizedNonceKey, Error> {
        RandomizedNonceKey::new(&AES_256_GCM, self.0.as_ref()).map_err(|_| Error::Sealed)
    }
}

impl fmt::Debug for SealingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SealingKey(..)")
    }
}

#[derive(Debug)]
pub(super) struct Store {
    directory: PathBuf,
    trust_domain: TrustDomain,
    sealing: Option<SealingKey>,
    /// Whether the signing key stands in files of others, and so not here.
    plugged: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum File {
    Sealed { sealed: String, nonce: String },
    Open(Box<Stored>),
}

#[derive(Serialize, Deserialize)]
pub(super) struct Stored {
    /// Version of the format.
    format: u32,
    /// A file that was moved to another authority's place is not taken.
    trust_domain: String,
    signing: Vec<StoredSigner>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    announced: Option<u64>,
    tokens: Vec<StoredToken>,
    retired: Vec<(String, u64)>,
    retired_tokens: Vec<(String, String, u64)>,
    #[serde(default)]
    former: Vec<(StoredSigner, u64)>,
    revoked: Vec<(String, u64, u64)>,
    list_number: u64,
    sequence: u64,
}

#[derive(Serialize, Deserialize)]
struct StoredSigner {
    /// Absent while it stands in files of others; when those are replaced, what still needs the key has it from here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    key: Option<String>,
    chain: Vec<String>,
    roots: Vec<String>,
}

#[derive(Serialize, Deserialize)]
struct StoredToken {
    key: String,
    key_id: String,
    begin: u64,
    end: u64,
}

const FORMAT: u32 = 1;

impl Store {
    pub(super) fn new(directory: &Path, trust_domain: TrustDomain, sealing: Option<SealingKey>, plugged: bool) -> Self {
        Self { directory: directory.to_owned(), trust_domain, sealing, plugged }
    }

    fn path(&self) -> PathBuf {
        self.directory.join(FILE)
    }

    pub(super) fn save(&self, state: &State) -> Result<(), Error> {
        let stored = Stored::of(state, &self.trust_domain, self.plugged)?;
        let open = serde_json::to_vec(&File::Open(Box::new(stored))).map_err(|_| Error::Stored("cannot be written"))?;
        let bytes = match &self.sealing {
            None => open,
            Some(key) => self.seal(key, open)?,
        };
        file::replace(&self.path(), &bytes, file::Mode::Private)?;
        if self.plugged {
            return Ok(());
        }
        // For operators and for nodes that bootstrap from a file.
        let roots = state.bundle(&self.trust_domain, Duration::ZERO).to_pem();
        Ok(file::replace(&self.directory.join("root-cert.pem"), roots.as_bytes(), file::Mode::Public)?)
    }

    /// What is stored, and whether as it should be: an open file where keys are to be sealed is not. `None` without a file.
    pub(super) fn read(&self) -> Result<Option<(Stored, bool)>, Error> {
        if !file::exists(&self.path())? {
            return Ok(None);
        }
        let malformed = || Error::Stored("is not what this program writes");
        let read: File = serde_json::from_slice(&file::read(&self.path())?).map_err(|_| malformed())?;
        match (read, &self.sealing) {
            (File::Open(stored), sealing) => Ok(Some((*stored, sealing.is_none()))),
            (File::Sealed { .. }, None) => Err(Error::Sealed),
            (File::Sealed { sealed, nonce }, Some(key)) => {
                let nonce = STANDARD.decode(nonce).map_err(|_| malformed())?;
                let nonce = Nonce::try_assume_unique_for_key(&nonce).map_err(|_| malformed())?;
                let mut bytes = STANDARD.decode(sealed).map_err(|_| malformed())?;
                let domain = Aad::from(self.trust_domain.as_str().as_bytes());
                let open = key.cipher()?.open_in_place(nonce, domain, &mut bytes).map_err(|_| Error::Sealed)?;
                match serde_json::from_slice(open).map_err(|_| malformed())? {
                    File::Open(stored) => Ok(Some((*stored, true))),
                    File::Sealed { .. } => Err(malformed()),
                }
            }
        }
    }

    fn seal(&self, key: &SealingKey, mut bytes: Vec<u8>) -> Result<Vec<u8>, Error> {
        let domain = Aad::from(self.trust_domain.as_str().as_bytes());
        let nonce = key.cipher()?.seal_in_place_append_tag(domain, &mut bytes).map_err(|_| Error::Sealed)?;
        let file = File::Sealed { sealed: STANDARD.encode(&bytes), nonce: STANDARD.encode(nonce.as_ref()) };
        serde_json::to_vec(&file).map_err(|_| Error::Stored("cannot be written"))
    }
}

impl Stored {
    fn of(state: &State, trust_domain: &TrustDomain, plugged: bool) -> Result<Self, Error> {
        let encode = |der: &CertificateDer<'_>| STANDARD.encode(der);
        // The newest one is what stands in the files of a plugged-in authority.
        let in_files = plugged.then(|| state.signing.next.as_ref().unwrap_or(&state.signing.current));
        let signer = |signer: &Arc<Signer>| StoredSigner {
            key: (!in_files.is_some_and(|one| Arc::ptr_eq(one, signer)))
                .then(|| STANDARD.encode(signer.key.serialize_der())),
            chain: signer.chain.iter().map(encode).collect(),
            roots: signer.root_authorities().iter().map(|authority| encode(authority.certificate())).collect(),
        };
        let token = |token: &Arc<TokenKey>| {
            let key = token.key.to_pkcs8().map_err(|_| Error::Stored("cannot be written"))?;
            let (begin, end) = (seconds(token.life.begin), seconds(token.life.end));
            Ok(StoredToken { key: STANDARD.encode(key), key_id: token.key_id.clone(), begin, end })
        };
        let tokens = std::iter::once(&state.tokens.current).chain(&state.tokens.next).map(token);
        Ok(Self {
            format: FORMAT,
            trust_domain: trust_domain.to_string(),
            signing: std::iter::once(&state.signing.current).chain(&state.signing.next).map(signer).collect(),
            announced: state.announced.map(seconds),
            tokens: tokens.collect::<Result<_, Error>>()?,
            retired: state.retired.iter().map(|(one, until)| (encode(one.certificate()), seconds(*until))).collect(),
            retired_tokens: state
                .retired_tokens
                .iter()
                .map(|(one, until)| (one.key_id().to_owned(), STANDARD.encode(one.key().to_der()), seconds(*until)))
                .collect(),
            former: state.former.iter().map(|(one, until)| (signer(one), seconds(*until))).collect(),
            revoked: state
                .revoked
                .iter()
                .map(|one| (STANDARD.encode(&one.serial), seconds(one.at), seconds(one.not_after)))
                .collect(),
            list_number: state.list_number,
            sequence: state.sequence,
        })
    }

    /// The state; `plugged` is the signing key that stands elsewhere. Nothing that was signed lives for more than `max_life`.
    pub(super) fn into_state(
        self,
        trust_domain: &TrustDomain,
        plugged: Option<Signer>,
        now: SystemTime,
        max_life: Duration,
    ) -> Result<State, Error> {
        if self.format != FORMAT {
            return Err(Error::Stored("is of another format"));
        }
        if self.trust_domain != trust_domain.as_str() {
            return Err(Error::Stored("belongs to another trust domain"));
        }
        let malformed = || Error::Stored("is not what this program writes");
        let decode = |text: &String| STANDARD.decode(text).map_err(|_| malformed());
        let certificates = |texts: &[String]| -> Result<Vec<CertificateDer<'static>>, Error> {
            texts.iter().map(|text| decode(text).map(CertificateDer::from)).collect()
        };
        let known = |one: &StoredSigner| -> Result<Known, Error> {
            let key = one.key.as_ref().map(|key| {
                let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(decode(key)?));
                KeyPair::try_from(&key).map_err(Error::Crypto)
            });
            let roots = Bundle::new(trust_domain.clone(), certificates(&one.roots)?).map_err(Error::Bundle)?;
            Ok(Known { key: key.transpose()?, chain: certificates(&one.chain)?, roots })
        };
        let mut signing = self.signing.iter().map(known).collect::<Result<Vec<_>, _>>()?.into_iter();
        let (current, next) = (signing.next(), signing.next());
        let mut published: Vec<_> =
            current.iter().chain(&next).flat_map(|known| known.roots.authorities()).cloned().collect();
        let resumed = match plugged {
            Some(files) => resume::resume(current, next.as_ref(), files)?,
            None => {
                let gone = || Error::Stored("is of a plugged-in authority, whose files are gone");
                let signer = |known: Known| known.into_signer()?.map(Arc::new).ok_or_else(gone);
                let current = signer(current.ok_or_else(gone)?)?;
                let next = next.map(signer).transpose()?;
                Resumed { signing: Slots { current, next }, is_announced: false, ended: None }
            }
        };
        let mut tokens = Vec::new();
        for one in &self.tokens {
            let key = SigningKey::from_pkcs8(&decode(&one.key)?).map_err(|_| malformed())?;
            let life = Life { begin: time(one.begin), end: time(one.end) };
            tokens.push(Arc::new(TokenKey { key, key_id: one.key_id.clone(), life }));
        }
        let mut retired = Vec::new();
        for (certificate, until) in &self.retired {
            let authority = bundle::Authority::parse(decode(certificate)?.into()).map_err(Error::Signing)?;
            retired.push((authority, time(*until)));
        }
        published.extend(retired.iter().map(|(root, _)| root).cloned());
        let mut retired_tokens = Vec::new();
        for (key_id, key, until) in &self.retired_tokens {
            let key = PublicKey::from_der(&decode(key)?).map_err(|_| malformed())?;
            retired_tokens.push((JwtAuthority::new(key_id, key), time(*until)));
        }
        let mut former = Vec::new();
        for (one, until) in &self.former {
            former.extend(known(one)?.into_signer()?.map(|signer| (Arc::new(signer), time(*until))));
        }
        let mut revoked = Vec::new();
        for (serial, at, not_after) in &self.revoked {
            revoked.push(Revoked { serial: decode(serial)?, at: time(*at), not_after: time(*not_after) });
        }
        let mut tokens = tokens.into_iter();
        let mut state = State {
            signing: resumed.signing,
            announced: self.announced.map(time).filter(|_| resumed.is_announced),
            tokens: Slots { current: tokens.next().ok_or_else(malformed)?, next: tokens.next() },
            retired,
            retired_tokens,
            former,
            revoked,
            list_number: self.list_number,
            sequence: self.sequence,
        };
        if let Some((roots, life)) = resumed.ended {
            state.retire(&roots, life.retired_after(now, max_life));
        }
        let before = Bundle::of(trust_domain.clone(), published, Vec::new());
        let changed = before.authorities() != state.bundle(trust_domain, Duration::ZERO).authorities();
        state.sequence += u64::from(changed);
        Ok(state)
    }
}

fn time(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds.min(1 << 40))
}
