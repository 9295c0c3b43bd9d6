use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

use aws_lc_rs::digest::{SHA256, digest};
use parking_lot::Mutex;
use rustls_pki_types::CertificateRevocationListDer;
use rustls_pki_types::pem::PemObject;
use x509_parser::extensions::ParsedExtension;
use x509_parser::prelude::{CertificateRevocationList, FromDer};

use crate::crypto::provider;
use crate::svid;

/// Largest file of revocation lists that is read, in bytes.
pub const MAX_REVOCATION_BYTES: usize = 64 * 1024 * 1024;

/// Longest serial number, in octets (RFC 5280 section 4.1.2.2).
const SERIAL_BYTES: usize = 20;

/// Most signing keys whose verdict on one list is remembered.
const MAX_VERDICTS: usize = 16;

/// Most lists of one issuer and scope that are kept beside each other while nobody knows who signed them.
const MAX_UNPROVEN: usize = 8;

/// Certificate revocation lists (RFC 5280 section 5). Immutable and cheap to clone.
///
/// Every certificate of a chain is looked up in the lists of its own issuer: same name, same key, signed by it. A list that
/// its supposed issuer did not sign says nothing. A list past its `nextUpdate` still revokes: revocation is news that is
/// never unlearned by silence.
#[derive(Clone, Default)]
pub struct Revocations(Arc<Vec<Arc<List>>>);

struct List {
    encoded: Vec<u8>,
    /// Where in `encoded` that stands which is signed.
    signed: std::ops::Range<usize>,
    issuer: Vec<u8>,
    key_id: Option<Vec<u8>>,
    number: Vec<u8>,
    this_update: SystemTime,
    next_update: Option<SystemTime>,
    algorithm: Vec<u8>,
    signature: Vec<u8>,
    scope: Scope,
    /// Sorted; each serial number at the end of its octets.
    serials: Vec<[u8; SERIAL_BYTES]>,
    verdicts: Mutex<Verdicts>,
}

/// Who signed a list, as far as was asked.
#[derive(Default)]
struct Verdicts {
    /// Whether keys (by digest) signed it: a signature over megabytes is checked once.
    asked: Vec<([u8; 32], bool)>,
    /// SubjectPublicKeyInfo of the key that did.
    signer: Option<Arc<[u8]>>,
}

/// Of which certificates a list speaks (RFC 5280 section 5.2.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scope {
    All,
    Leaves,
    Authorities,
    /// Of what is not understood here: it says nothing.
    Nothing,
}

/// What the lists say of a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Status {
    Revoked,
    /// A fresh list of its issuer does not have it.
    Good,
    /// There is no fresh list of its issuer.
    Unknown,
}

/// The issuer of a certificate whose status is asked for.
pub(crate) struct ListIssuer<'a> {
    /// Subject of the issuer, in DER with tag and length.
    pub(crate) name: &'a [u8],
    /// SubjectPublicKeyInfo of the issuer in DER.
    pub(crate) key: &'a [u8],
    pub(crate) key_id: Option<&'a [u8]>,
    pub(crate) signs_lists: bool,
}

impl Revocations {
    /// Reads one DER list, or any number of PEM ones.
    ///
    /// # Errors
    /// [`RevocationError`]; a single bad list makes the whole unusable, as leaving it out would trust what it revokes.
    pub fn parse(bytes: &[u8]) -> Result<Self, RevocationError> {
        if bytes.len() > MAX_REVOCATION_BYTES {
            return Err(RevocationError::TooLarge(bytes.len()));
        }
        let is_pem = bytes.windows(11).any(|window| window == b"-----BEGIN ");
        let encoded: Vec<Vec<u8>> = if is_pem {
            let lists = CertificateRevocationListDer::pem_slice_iter(bytes);
            let lists: Result<Vec<_>, _> = lists.map(|list| list.map(|list| list.as_ref().to_vec())).collect();
            lists.map_err(|error| RevocationError::Pem(error.to_string()))?
        } else {
            vec![bytes.to_vec()]
        };
        if encoded.is_empty() {
            return Err(RevocationError::Empty);
        }
        let read = |(index, der)| List::parse(der).map_err(|what| RevocationError::Der(index, what)).map(Arc::new);
        Ok(Self(Arc::new(encoded.into_iter().enumerate().map(read).collect::<Result<_, _>>()?)))
    }

    /// These lists and others. A list gives way to one of the same issuer and scope with a higher number when the same key is
    /// known to have signed both: an issuer's name and a number can be written by anybody. Those of which nobody knows who
    /// signed them are kept beside each other, eight of one issuer and scope with the highest numbers.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        let mut all: Vec<Arc<List>> = Vec::clone(&self.0);
        for list in other.0.iter() {
            if !all.iter().any(|known| known.encoded == list.encoded) {
                all.push(Arc::clone(list));
            }
        }
        let current: Vec<_> =
            all.iter().filter(|old| !all.iter().any(|new| new.supersedes(old))).map(Arc::clone).collect();
        let kept = |list: &&Arc<List>| {
            let newer = current.iter().filter(|other| other.is_rival(list) && other.number > list.number);
            list.signer().is_some() || newer.filter(|other| other.signer().is_none()).count() < MAX_UNPROVEN
        };
        Self(Arc::new(current.iter().filter(kept).cloned().collect()))
    }

    /// Finds out which of the lists these issuers signed.
    pub(crate) fn prove<'a>(&self, issuers: impl IntoIterator<Item = ListIssuer<'a>>) {
        for issuer in issuers {
            for list in self.0.iter().filter(|list| list.is_of(&issuer)) {
                list.is_signed_by(issuer.key);
            }
        }
    }

    /// How many lists there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The lists in DER.
    pub fn encoded(&self) -> impl Iterator<Item = &[u8]> {
        self.0.iter().map(|list| list.encoded.as_slice())
    }

    /// What the lists of an issuer say of one of its certificates.
    pub(crate) fn status(&self, issuer: &ListIssuer<'_>, serial: &[u8], leaf: bool, now: SystemTime) -> Status {
        let signed = |list: &&Arc<List>| list.speaks_of(issuer, leaf, now) && list.is_signed_by(issuer.key);
        let signed: Vec<&Arc<List>> = self.0.iter().filter(signed).collect();
        let newest = |list: &List| !signed.iter().any(|other| other.scope == list.scope && other.number > list.number);
        let mut status = Status::Unknown;
        for list in signed.iter().filter(|list| newest(list)) {
            if list.has(serial) {
                return Status::Revoked;
            }
            if list.next_update.is_none_or(|end| now <= end) {
                status = Status::Good;
            }
        }
        status
    }
}

impl List {
    fn parse(encoded: Vec<u8>) -> Result<Self, String> {
        let (rest, list) =
            CertificateRevocationList::from_der(&encoded).map_err(|error| format!("not DER: {error}"))?;
        if !rest.is_empty() {
            return Err("trailing bytes".to_owned());
        }
        let body = &list.tbs_cert_list;
        let time = |time: x509_parser::time::ASN1Time| svid::time(time.timestamp()).map_err(|error| error.to_string());
        let serials = body.revoked_certificates.iter().map(|entry| padded(entry.raw_serial()));
        let mut serials = serials.collect::<Option<Vec<_>>>().ok_or("a serial number is longer than 20 octets")?;
        serials.sort_unstable();
        let key_id = list.extensions().iter().find_map(|extension| match extension.parsed_extension() {
            ParsedExtension::AuthorityKeyIdentifier(id) => id.key_identifier.as_ref().map(|id| id.0.to_vec()),
            _ => None,
        });
        // With its length in front, a number without leading zeros compares as an integer does.
        let number = list.crl_number().map(|number| number.to_bytes_be()).unwrap_or_default();
        let number = [&[u8::try_from(number.len()).unwrap_or(u8::MAX)], number.as_slice()].concat();
        let raw: &[u8] = body.as_ref();
        let start = raw.as_ptr() as usize - encoded.as_ptr() as usize;
        Ok(Self {
            signed: start..start + raw.len(),
            issuer: list.issuer().as_raw().to_vec(),
            key_id,
            number,
            this_update: time(list.last_update())?,
            next_update: list.next_update().map(time).transpose()?,
            algorithm: algorithm_content(&encoded, start + raw.len()).ok_or("no signature algorithm")?.to_vec(),
            signature: list.signature_value.data.to_vec(),
            scope: scope(&list),
            serials,
            verdicts: Mutex::default(),
            encoded,
        })
    }

    /// Whether both say that they are of one issuer, of one scope.
    fn is_rival(&self, other: &Self) -> bool {
        (&self.issuer, &self.key_id, self.scope) == (&other.issuer, &other.key_id, other.scope)
    }

    /// Whether this list is known to stand in the place of an older one.
    fn supersedes(&self, old: &Self) -> bool {
        self.number > old.number
            && self.is_rival(old)
            && self
                .signer()
                .or_else(|| old.signer())
                .is_some_and(|key| self.is_signed_by(&key) && old.is_signed_by(&key))
    }

    fn is_of(&self, issuer: &ListIssuer<'_>) -> bool {
        let same_key = match (&self.key_id, issuer.key_id) {
            (Some(own), Some(theirs)) => own == theirs,
            _ => true,
        };
        self.issuer == issuer.name && same_key && issuer.signs_lists
    }

    fn speaks_of(&self, issuer: &ListIssuer<'_>, leaf: bool, now: SystemTime) -> bool {
        let in_scope = match self.scope {
            Scope::All => true,
            Scope::Leaves => leaf,
            Scope::Authorities => !leaf,
            Scope::Nothing => false,
        };
        in_scope && self.is_of(issuer) && self.this_update <= now
    }

    fn signer(&self) -> Option<Arc<[u8]>> {
        self.verdicts.lock().signer.clone()
    }

    /// Whether the key of a SubjectPublicKeyInfo signed it.
    fn is_signed_by(&self, key: &[u8]) -> bool {
        let mut name = [0; 32];
        name.copy_from_slice(digest(&SHA256, key).as_ref());
        if let Some((_, verdict)) = self.verdicts.lock().asked.iter().find(|(known, _)| *known == name) {
            return *verdict;
        }
        let verdict = self.verify(key);
        let mut verdicts = self.verdicts.lock();
        if verdicts.asked.len() < MAX_VERDICTS {
            verdicts.asked.push((name, verdict));
        }
        if verdict {
            verdicts.signer = Some(key.into());
        }
        verdict
    }

    fn verify(&self, key: &[u8]) -> bool {
        let Some((algorithm, bits)) = key_parts(key) else { return false };
        let fitting = provider().signature_verification_algorithms.all.iter().filter(|candidate| {
            candidate.signature_alg_id().as_ref() == self.algorithm
                && candidate.public_key_alg_id().as_ref() == algorithm
        });
        let message = &self.encoded[self.signed.clone()];
        fitting.into_iter().any(|candidate| candidate.verify_signature(bits, message, &self.signature).is_ok())
    }

    fn has(&self, serial: &[u8]) -> bool {
        padded(serial).is_some_and(|serial| self.serials.binary_search(&serial).is_ok())
    }
}

/// A serial number at the end of its octets, without the octet that only says that it is positive.
fn padded(serial: &[u8]) -> Option<[u8; SERIAL_BYTES]> {
    let first = serial.iter().position(|byte| *byte != 0).unwrap_or(serial.len());
    let significant = &serial[first..];
    let mut padded = [0; SERIAL_BYTES];
    padded[SERIAL_BYTES.checked_sub(significant.len())?..].copy_from_slice(significant);
    Some(padded)
}

fn scope(list: &CertificateRevocationList<'_>) -> Scope {
    let mut scope = Scope::All;
    for extension in list.extensions() {
        match extension.parsed_extension() {
            ParsedExtension::IssuingDistributionPoint(point) => {
                let partial =
                    point.indirect_crl || point.only_contains_attribute_certs || point.only_some_reasons.is_some();
                scope = match (partial, point.only_contains_user_certs, point.only_contains_ca_certs) {
                    (false, false, false) => Scope::All,
                    (false, true, false) => Scope::Leaves,
                    (false, false, true) => Scope::Authorities,
                    _ => return Scope::Nothing,
                };
            }
            // Delta lists among them: they speak only together with a list that we may not have.
            _ if extension.critical => return Scope::Nothing,
            _ => {}
        }
    }
    scope
}

/// The content of the AlgorithmIdentifier that stands at an offset.
fn algorithm_content(encoded: &[u8], at: usize) -> Option<&[u8]> {
    crate::der::take(encoded.get(at..)?).map(|(_, content, _)| content)
}

/// Algorithm (content) and key bits of a SubjectPublicKeyInfo.
fn key_parts(info: &[u8]) -> Option<(&[u8], &[u8])> {
    let (_, content, _) = crate::der::take(info)?;
    let (_, algorithm, rest) = crate::der::take(content)?;
    let (_, bits, _) = crate::der::take(rest)?;
    let (unused, bits) = bits.split_first()?;
    (*unused == 0).then_some((algorithm, bits))
}

impl PartialEq for Revocations {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || self.encoded().eq(other.encoded())
    }
}

impl Eq for Revocations {}

impl fmt::Debug for Revocations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Revocations").field(&self.len()).finish()
    }
}

/// Bytes are no revocation lists.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RevocationError {
    /// More than [`MAX_REVOCATION_BYTES`].
    #[error("revocation lists of {0} bytes exceed the limit of {MAX_REVOCATION_BYTES}")]
    TooLarge(usize),
    /// Broken PEM.
    #[error("malformed PEM: {0}")]
    Pem(String),
    /// No list in it.
    #[error("no revocation list in the file")]
    Empty,
    /// A list is malformed.
    #[error("revocation list {0} is malformed: {1}")]
    Der(usize, String),
}
