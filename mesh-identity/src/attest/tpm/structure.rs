//! Structures of a TPM (TPM 2.0 Library, part 2), as far as attestation reads them.

use aws_lc_rs::digest::{self, SHA256, SHA384, digest};

use crate::der;
use crate::jose::{Algorithm, KeyKind, PublicKey};

const ALG_RSA: u16 = 0x0001;
const ALG_SHA256: u16 = 0x000b;
const ALG_SHA384: u16 = 0x000c;
const ALG_NULL: u16 = 0x0010;
const ALG_AES: u16 = 0x0006;
const ALG_CFB: u16 = 0x0043;
const ALG_RSASSA: u16 = 0x0014;
const ALG_RSAES: u16 = 0x0015;
const ALG_RSAPSS: u16 = 0x0016;
const ALG_ECDSA: u16 = 0x0018;
const ALG_ECC: u16 = 0x0023;

const ECC_P256: u16 = 0x0003;
const ECC_P384: u16 = 0x0004;

/// `TPM_GENERATED_VALUE`: only a TPM itself begins a structure so that it signs with a restricted key.
const GENERATED: u32 = 0xff54_4347;
const ATTEST_CERTIFY: u16 = 0x8017;

/// Attributes of an object (part 2, section 8.3).
pub(super) mod attribute {
    pub(crate) const FIXED_TPM: u32 = 1 << 1;
    pub(crate) const FIXED_PARENT: u32 = 1 << 4;
    pub(crate) const SENSITIVE_DATA_ORIGIN: u32 = 1 << 5;
    pub(crate) const RESTRICTED: u32 = 1 << 16;
    pub(crate) const DECRYPT: u32 = 1 << 17;
    pub(crate) const SIGN: u32 = 1 << 18;
}

/// Bytes read from the front; `None` when there are too few.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn bytes(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    pub(super) fn u16(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(self.bytes(2)?.try_into().ok()?))
    }

    pub(super) fn u32(&mut self) -> Option<u32> {
        Some(u32::from_be_bytes(self.bytes(4)?.try_into().ok()?))
    }

    /// A `TPM2B`: its length, and so many bytes.
    pub(super) fn sized(&mut self) -> Option<&'a [u8]> {
        let length = self.u16()?;
        self.bytes(usize::from(length))
    }
}

/// The public part of a key in a TPM (`TPMT_PUBLIC`).
pub(super) struct Public {
    pub(super) attributes: u32,
    pub(super) key: PublicKey,
    /// Bits of the AES key by which it protects what is below it, for storage keys.
    pub(super) symmetric_bits: Option<u16>,
    pub(super) name_algorithm: Hash,
    /// By which hash it signs, where that is fixed.
    signs: Option<(u16, u16)>,
    name: Vec<u8>,
}

/// A hash by which names are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hash {
    Sha256,
    Sha384,
}

impl Hash {
    fn of(algorithm: u16) -> Option<Self> {
        match algorithm {
            ALG_SHA256 => Some(Self::Sha256),
            ALG_SHA384 => Some(Self::Sha384),
            _ => None,
        }
    }

    fn digest(self) -> &'static digest::Algorithm {
        match self {
            Self::Sha256 => &SHA256,
            Self::Sha384 => &SHA384,
        }
    }
}

impl Public {
    /// Reads one. Keys of P-256, P-384 and RSA of 2,048 bits or more, with names by SHA-256 or SHA-384, are understood.
    pub(super) fn parse(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader(bytes);
        let kind = reader.u16()?;
        let name_code = reader.u16()?;
        let name_algorithm = Hash::of(name_code)?;
        let attributes = reader.u32()?;
        reader.sized()?;
        let mut symmetric_bits = None;
        match reader.u16()? {
            ALG_NULL => {}
            ALG_AES => {
                symmetric_bits = Some(reader.u16()?);
                if reader.u16()? != ALG_CFB {
                    return None;
                }
            }
            _ => return None,
        }
        let scheme = reader.u16()?;
        let signs = match scheme {
            ALG_NULL | ALG_RSAES => None,
            _ => Some((scheme, reader.u16()?)),
        };
        let key = match kind {
            ALG_RSA => {
                reader.u16()?;
                // Zero stands for the usual exponent.
                let exponent = Some(reader.u32()?).filter(|exponent| *exponent != 0).unwrap_or(65_537);
                PublicKey::rsa(reader.sized()?, &exponent.to_be_bytes()).ok()?
            }
            ALG_ECC => {
                let kind = match reader.u16()? {
                    ECC_P256 => KeyKind::P256,
                    ECC_P384 => KeyKind::P384,
                    _ => return None,
                };
                if reader.u16()? != ALG_NULL {
                    reader.u16()?;
                }
                let (x, y) = (reader.sized()?, reader.sized()?);
                PublicKey::point(kind, x, y).ok()?
            }
            _ => return None,
        };
        if !reader.0.is_empty() {
            return None;
        }
        let name = [&name_code.to_be_bytes()[..], digest(name_algorithm.digest(), bytes).as_ref()].concat();
        Some(Self { attributes, key, symmetric_bits, name_algorithm, signs, name })
    }

    /// Its name (part 1, section 16): the algorithm and the digest of the public part.
    pub(super) fn name(&self) -> &[u8] {
        &self.name
    }

    /// Whether all of these attributes are set.
    pub(super) fn has(&self, attributes: u32) -> bool {
        self.attributes & attributes == attributes
    }

    /// Whether it signed a message, by a signature of the TPM (`TPMT_SIGNATURE`).
    pub(super) fn signed(&self, message: &[u8], signature: &[u8]) -> bool {
        let verified = || {
            let mut reader = Reader(signature);
            let (scheme, hash) = (reader.u16()?, reader.u16()?);
            if self.signs.is_some_and(|fixed| fixed != (scheme, hash)) {
                return None;
            }
            let (algorithm, bytes) = match (scheme, hash) {
                (ALG_RSASSA, ALG_SHA256) => (Algorithm::RS256, reader.sized()?.to_vec()),
                (ALG_RSASSA, ALG_SHA384) => (Algorithm::RS384, reader.sized()?.to_vec()),
                (ALG_RSAPSS, ALG_SHA256) => (Algorithm::PS256, reader.sized()?.to_vec()),
                (ALG_ECDSA, ALG_SHA256) => (Algorithm::ES256, fixed(32, reader.sized()?, reader.sized()?)?),
                (ALG_ECDSA, ALG_SHA384) => (Algorithm::ES384, fixed(48, reader.sized()?, reader.sized()?)?),
                _ => return None,
            };
            (reader.0.is_empty() && self.key.verify(algorithm, message, &bytes)).then_some(())
        };
        verified().is_some()
    }
}

/// Both integers of a signature in so many bytes each.
fn fixed(length: usize, r: &[u8], s: &[u8]) -> Option<Vec<u8>> {
    let padded = |bytes: &[u8]| {
        let bare = der::significant(bytes);
        Some([&vec![0; length.checked_sub(bare.len())?][..], bare].concat())
    };
    Some([padded(r)?, padded(s)?].concat())
}

/// An ECDSA signature in DER, in the form that keys here verify.
pub(super) fn from_der(kind: KeyKind, signature: &[u8]) -> Option<Vec<u8>> {
    let length = if kind == KeyKind::P384 { 48 } else { 32 };
    let (r, s) = der::ecdsa_integers(signature)?;
    fixed(length, r, s)
}

/// The name of the object that a `TPMS_ATTEST` of the kind CERTIFY certifies.
pub(super) fn certified(bytes: &[u8]) -> Option<&[u8]> {
    let mut reader = Reader(bytes);
    if reader.u32()? != GENERATED || reader.u16()? != ATTEST_CERTIFY {
        return None;
    }
    reader.sized()?;
    reader.sized()?;
    // The clock (8, 4, 4, 1) and the version of the firmware (8).
    reader.bytes(25)?;
    let name = reader.sized()?;
    reader.sized()?;
    reader.0.is_empty().then_some(name)
}
