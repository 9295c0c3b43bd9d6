use std::fmt;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, ParsedPublicKey, UnparsedPublicKey,
};
use serde_json::{Map, Value, json};
use x509_parser::x509::SubjectPublicKeyInfo;

use super::{Algorithm, decode, encode};
use crate::der;

/// Kinds of public keys that are understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyKind {
    /// NIST P-256.
    P256,
    /// NIST P-384.
    P384,
    /// NIST P-521.
    P521,
    /// Ed25519 (RFC 8032). No SVID has such a key.
    Ed25519,
    /// RSA of 2,048 to 8,192 bits.
    Rsa,
}

impl KeyKind {
    /// Name of the curve in a JWK, bytes of a coordinate, content bytes of its object identifier.
    fn curve(self) -> Option<(&'static str, usize, &'static [u8])> {
        match self {
            Self::P256 => Some(("P-256", 32, &[0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7])),
            Self::P384 => Some(("P-384", 48, &[0x2b, 0x81, 4, 0, 34])),
            Self::P521 => Some(("P-521", 66, &[0x2b, 0x81, 4, 0, 35])),
            Self::Ed25519 | Self::Rsa => None,
        }
    }

    /// An algorithm of the kind, by which its public keys are checked.
    fn algorithm(self) -> Algorithm {
        match self {
            Self::P256 => Algorithm::ES256,
            Self::P384 => Algorithm::ES384,
            Self::P521 => Algorithm::ES512,
            Self::Ed25519 => Algorithm::EdDSA,
            Self::Rsa => Algorithm::RS256,
        }
    }
}

/// A public key: a point of a curve, Ed25519, or RSA.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PublicKey {
    kind: KeyKind,
    /// The uncompressed point, the 32 bytes of RFC 8032, or RSAPublicKey (RFC 8017 appendix A.1.1) in DER.
    bytes: Vec<u8>,
}

impl PublicKey {
    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> KeyKind {
        self.kind
    }

    /// Reads the key members of a JWK (RFC 7518 section 6).
    ///
    /// # Errors
    /// [`KeyError`] for kinds that are not understood, malformed members, points off the curve, RSA that is too weak.
    pub fn from_jwk(jwk: &Map<String, Value>) -> Result<Self, KeyError> {
        let text = |name: &'static str| match jwk.get(name) {
            Some(Value::String(text)) => Ok(text.as_str()),
            _ => Err(KeyError::Member(name)),
        };
        let bytes = |name: &'static str| decode(text(name)?).ok_or(KeyError::Member(name));
        match text("kty")? {
            "EC" => {
                let curve = text("crv")?;
                let kinds = [KeyKind::P256, KeyKind::P384, KeyKind::P521];
                let kind = kinds.into_iter().find(|kind| kind.curve().is_some_and(|(name, ..)| name == curve));
                let kind = kind.ok_or_else(|| KeyError::Kind(curve.to_owned()))?;
                let length = kind.curve().map_or(0, |(_, length, _)| length);
                let (x, y) = (bytes("x")?, bytes("y")?);
                if x.len() != length || y.len() != length {
                    return Err(KeyError::Member("x"));
                }
                Self::checked(kind, [&[4][..], &x, &y].concat())
            }
            "OKP" => match text("crv")? {
                "Ed25519" => Self::checked(KeyKind::Ed25519, bytes("x")?),
                curve => Err(KeyError::Kind(curve.to_owned())),
            },
            "RSA" => Self::rsa(&bytes("n")?, &bytes("e")?),
            other => Err(KeyError::Kind(other.to_owned())),
        }
    }

    /// The key members of a JWK.
    #[must_use]
    pub fn to_jwk(&self) -> Map<String, Value> {
        let members = match self.kind.curve() {
            Some((curve, length, _)) => {
                let (x, y) = self.bytes[1..].split_at(length);
                json!({ "kty": "EC", "crv": curve, "x": encode(x), "y": encode(y) })
            }
            None if self.kind == KeyKind::Ed25519 => {
                json!({ "kty": "OKP", "crv": "Ed25519", "x": encode(&self.bytes) })
            }
            None => {
                let (modulus, exponent) = self.rsa_parts().unwrap_or_default();
                json!({ "kty": "RSA", "n": encode(modulus), "e": encode(exponent) })
            }
        };
        match members {
            Value::Object(members) => members,
            _ => Map::new(),
        }
    }

    /// The key of a certificate or request.
    ///
    /// # Errors
    /// [`KeyError`] for kinds that are not understood and for keys that are malformed or too weak.
    pub fn from_info(info: &SubjectPublicKeyInfo<'_>) -> Result<Self, KeyError> {
        use x509_parser::public_key::PublicKey as Parsed;
        let unknown = || KeyError::Kind(info.algorithm.algorithm.to_id_string());
        match info.parsed() {
            Ok(Parsed::EC(point)) => {
                let curve = info.algorithm.parameters.as_ref().and_then(|curve| curve.as_oid().ok());
                let kinds = [KeyKind::P256, KeyKind::P384, KeyKind::P521];
                let kind = kinds.into_iter().find(|kind| {
                    let own = kind.curve().map(|(_, _, identifier)| identifier);
                    curve.as_ref().map(|curve| curve.as_bytes()) == own
                });
                Self::checked(kind.ok_or_else(unknown)?, point.data().to_vec())
            }
            Ok(Parsed::RSA(rsa)) => Self::rsa(rsa.modulus, rsa.exponent),
            _ => Err(unknown()),
        }
    }

    /// Reads a SubjectPublicKeyInfo (RFC 5280 section 4.1) in DER.
    ///
    /// # Errors
    /// As [`PublicKey::from_info`].
    pub fn from_der(info: &[u8]) -> Result<Self, KeyError> {
        use x509_parser::prelude::FromDer as _;
        match SubjectPublicKeyInfo::from_der(info) {
            Ok(([], info)) => Self::from_info(&info),
            _ => Err(KeyError::Kind("not DER".to_owned())),
        }
    }

    /// The SubjectPublicKeyInfo (RFC 5280 section 4.1) in DER.
    #[must_use]
    pub fn to_der(&self) -> Vec<u8> {
        const EC: &[u8] = &[0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1];
        const ED25519: &[u8] = &[0x2b, 101, 112];
        const RSA: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1];
        let identifier = |content: &[u8]| der::value(der::OBJECT_IDENTIFIER, content);
        let algorithm = match self.kind.curve() {
            Some((_, _, curve)) => der::sequence(&[&identifier(EC), &identifier(curve)]),
            None if self.kind == KeyKind::Ed25519 => der::sequence(&[&identifier(ED25519)]),
            None => der::sequence(&[&identifier(RSA), &[5, 0]]),
        };
        der::sequence(&[&algorithm, &der::bit_string(&self.bytes)])
    }

    /// Whether the key made a signature by an algorithm.
    #[must_use]
    pub fn verify(&self, algorithm: Algorithm, message: &[u8], signature: &[u8]) -> bool {
        algorithm.fits(self.kind)
            && UnparsedPublicKey::new(algorithm.verification(), &self.bytes).verify(message, signature).is_ok()
    }

    /// A point of a curve. Coordinates may lack leading zeros.
    #[cfg(feature = "tpm")]
    pub(crate) fn point(kind: KeyKind, x: &[u8], y: &[u8]) -> Result<Self, KeyError> {
        let length = kind.curve().map_or(0, |(_, length, _)| length);
        let padded = |bytes: &[u8]| {
            let zeros = length.checked_sub(bytes.len()).ok_or(KeyError::Member("x"))?;
            Ok([vec![0; zeros], bytes.to_vec()].concat())
        };
        Self::checked(kind, [&[4][..], &padded(x)?, &padded(y)?].concat())
    }

    pub(crate) fn rsa(modulus: &[u8], exponent: &[u8]) -> Result<Self, KeyError> {
        let (modulus, exponent) = (der::significant(modulus), der::significant(exponent));
        let bits = bits(modulus);
        if !(2048..=8192).contains(&bits) {
            return Err(KeyError::Weak(format!("RSA of {bits} bits")));
        }
        let odd = exponent.last().is_some_and(|byte| byte & 1 == 1);
        if !odd || exponent == [1] || exponent.len() > 8 {
            return Err(KeyError::Weak("RSA with that exponent".to_owned()));
        }
        let bytes = der::sequence(&[&der::positive_integer(modulus), &der::positive_integer(exponent)]);
        Self::checked(KeyKind::Rsa, bytes)
    }

    /// Modulus and exponent, if it is RSA, without leading zeros.
    fn rsa_parts(&self) -> Option<(&[u8], &[u8])> {
        if self.kind != KeyKind::Rsa {
            return None;
        }
        let (_, content, _) = der::take(&self.bytes)?;
        let (_, modulus, rest) = der::take(content)?;
        let (_, exponent, _) = der::take(rest)?;
        Some((der::significant(modulus), der::significant(exponent)))
    }

    /// Bits of the modulus, and the exponent, if it is RSA.
    pub(crate) fn rsa_size(&self) -> Option<(usize, u64)> {
        let (modulus, exponent) = self.rsa_parts()?;
        Some((bits(modulus), exponent.iter().fold(0, |all, byte| all << 8 | u64::from(*byte))))
    }

    /// Takes a key that the cryptography library takes: a point on its curve, a plausible modulus.
    fn checked(kind: KeyKind, bytes: Vec<u8>) -> Result<Self, KeyError> {
        // `ParsedPublicKey` checks what a signature check would find out only later.
        ParsedPublicKey::new(kind.algorithm().verification(), &bytes)
            .map_err(|_| KeyError::Weak("not a valid public key".to_owned()))?;
        Ok(Self { kind, bytes })
    }
}

/// Bits of a number without leading zeros.
fn bits(number: &[u8]) -> usize {
    number.first().map_or(0, |first| number.len() * 8 - first.leading_zeros() as usize)
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PublicKey").field(&self.kind).finish()
    }
}

/// A private key that signs tokens: P-256, ES256.
pub struct SigningKey {
    pair: EcdsaKeyPair,
}

impl SigningKey {
    /// A new key.
    ///
    /// # Errors
    /// [`KeyError::Library`].
    pub fn generate() -> Result<Self, KeyError> {
        let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).map_err(|_| KeyError::Library)?;
        Ok(Self { pair })
    }

    /// Reads a PKCS#8 key.
    ///
    /// # Errors
    /// [`KeyError::Private`] when it is none of P-256.
    pub fn from_pkcs8(der: &[u8]) -> Result<Self, KeyError> {
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der).map_err(|_| KeyError::Private)?;
        Ok(Self { pair })
    }

    /// The key in PKCS#8. A secret.
    ///
    /// # Errors
    /// [`KeyError::Library`].
    pub fn to_pkcs8(&self) -> Result<Vec<u8>, KeyError> {
        Ok(self.pair.to_pkcs8v1().map_err(|_| KeyError::Library)?.as_ref().to_vec())
    }

    /// Its public half.
    #[must_use]
    pub fn public(&self) -> PublicKey {
        PublicKey { kind: KeyKind::P256, bytes: self.pair.public_key().as_ref().to_vec() }
    }

    /// By which algorithm it signs.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        Algorithm::ES256
    }

    pub(super) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, KeyError> {
        let signature = self.pair.sign(&SystemRandom::new(), message).map_err(|_| KeyError::Library)?;
        Ok(signature.as_ref().to_vec())
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SigningKey(..)")
    }
}

/// A key cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// A member of the JWK is absent or malformed.
    #[error("member `{0}` is absent or malformed")]
    Member(&'static str),
    /// A kind that is not understood.
    #[error("keys of kind `{0}` are not understood")]
    Kind(String),
    /// Too weak, or no key at all.
    #[error("the key is refused: {0}")]
    Weak(String),
    /// No private key of P-256 in PKCS#8.
    #[error("not a P-256 private key in PKCS#8")]
    Private,
    /// The cryptography library failed.
    #[error("the cryptography library failed")]
    Library,
}
