//! TPM2_MakeCredential in software (TPM 2.0 Library, part 1, section 24): a secret that only a TPM can recover which holds
//! both the endorsement key and the object of a name.

use aws_lc_rs::cipher::{AES_128, AES_256, EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::hmac;
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::rsa::{OAEP_SHA256_MGF1SHA256, OaepPublicEncryptingKey, PublicEncryptingKey};

use super::structure::{Hash, Public};

/// `IDENTITY` with its end.
const IDENTITY: &[u8] = b"IDENTITY\0";

/// A credential, and the seed that protects it.
pub(super) struct Credential {
    /// `TPMS_ID_OBJECT`: the sized integrity and the encrypted secret.
    pub(super) blob: Vec<u8>,
    /// The seed, encrypted to the endorsement key.
    pub(super) seed: Vec<u8>,
}

/// Wraps a secret for the TPM of an endorsement key (RSA, names by SHA-256), to be had only with the object of a name.
pub(super) fn make(endorsement: &Public, name: &[u8], secret: &[u8; 32]) -> Option<Credential> {
    if endorsement.name_algorithm != Hash::Sha256 {
        return None;
    }
    let bits = endorsement.symmetric_bits?;
    let cipher = match bits {
        128 => &AES_128,
        256 => &AES_256,
        _ => return None,
    };
    let mut seed = [0; 32];
    aws_lc_rs::rand::fill(&mut seed).ok()?;
    let to = PublicEncryptingKey::from_der(&endorsement.key.to_der()).ok()?;
    let to = OaepPublicEncryptingKey::new(to).ok()?;
    let mut encrypted = vec![0; to.ciphertext_size()];
    let seed_for_it = to.encrypt(&OAEP_SHA256_MGF1SHA256, &seed, &mut encrypted, Some(IDENTITY)).ok()?.to_vec();

    let symmetric = derive(&seed, b"STORAGE", name, u32::from(bits));
    let key = EncryptingKey::cfb128(UnboundCipherKey::new(cipher, &symmetric).ok()?).ok()?;
    let mut identity = [&32_u16.to_be_bytes()[..], secret].concat();
    let none = EncryptionContext::Iv128(FixedLength::from([0; 16]));
    key.less_safe_encrypt(&mut identity, none).ok()?;

    let integrity = derive(&seed, b"INTEGRITY", &[], 256);
    let integrity = hmac::Key::new(hmac::HMAC_SHA256, &integrity);
    let integrity = hmac::sign(&integrity, &[&identity[..], name].concat());
    let blob = [&32_u16.to_be_bytes()[..], integrity.as_ref(), &identity].concat();
    Some(Credential { blob, seed: seed_for_it })
}

/// KDFa by SHA-256 (part 1, section 11.4.10.2), of at most 256 bits: one round is enough.
pub(super) fn derive(key: &[u8], label: &[u8], context: &[u8], bits: u32) -> Vec<u8> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, key);
    let message = [&1_u32.to_be_bytes()[..], label, &[0], context, &bits.to_be_bytes()].concat();
    let length = usize::try_from(bits / 8).unwrap_or(0);
    hmac::sign(&key, &message).as_ref().iter().copied().take(length).collect()
}
