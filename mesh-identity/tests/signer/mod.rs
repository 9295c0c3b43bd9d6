//! Signers of tokens that sign whatever they are told to.
#![allow(dead_code, unreachable_pub, reason = "each test uses a part of it")]

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{self, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use mesh_identity::jose::Algorithm;
use serde_json::{Value, json};

pub fn b64(bytes: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

enum Key {
    Ec(EcdsaKeyPair, &'static str, usize),
    Rsa(RsaKeyPair, &'static dyn signature::RsaEncoding),
    Ed(Ed25519KeyPair),
}

/// A signer that says what it is told to, and its JWK.
pub struct Signer {
    key: Key,
    pub kid: &'static str,
}

impl Signer {
    pub fn new(algorithm: Algorithm) -> Self {
        let ec = |signing: &'static signature::EcdsaSigningAlgorithm, curve, length| {
            Key::Ec(EcdsaKeyPair::generate(signing).unwrap(), curve, length)
        };
        let rsa = |encoding: &'static dyn signature::RsaEncoding| {
            Key::Rsa(RsaKeyPair::generate(KeySize::Rsa2048).unwrap(), encoding)
        };
        let key = match algorithm {
            Algorithm::ES256 => ec(&signature::ECDSA_P256_SHA256_FIXED_SIGNING, "P-256", 32),
            Algorithm::ES384 => ec(&signature::ECDSA_P384_SHA384_FIXED_SIGNING, "P-384", 48),
            Algorithm::ES512 => ec(&signature::ECDSA_P521_SHA512_FIXED_SIGNING, "P-521", 66),
            Algorithm::RS256 => rsa(&signature::RSA_PKCS1_SHA256),
            Algorithm::RS384 => rsa(&signature::RSA_PKCS1_SHA384),
            Algorithm::RS512 => rsa(&signature::RSA_PKCS1_SHA512),
            Algorithm::PS256 => rsa(&signature::RSA_PSS_SHA256),
            Algorithm::PS384 => rsa(&signature::RSA_PSS_SHA384),
            Algorithm::PS512 => rsa(&signature::RSA_PSS_SHA512),
            Algorithm::EdDSA => Key::Ed(Ed25519KeyPair::generate().unwrap()),
        };
        Self { key, kid: "k1" }
    }

    pub fn jwk(&self) -> Value {
        match &self.key {
            Key::Ec(pair, curve, length) => {
                let point = &pair.public_key().as_ref()[1..];
                let (x, y) = point.split_at(*length);
                json!({"kty": "EC", "crv": curve, "x": b64(x), "y": b64(y), "kid": self.kid, "use": "jwt-svid"})
            }
            Key::Ed(pair) => {
                let x = b64(pair.public_key().as_ref());
                json!({"kty": "OKP", "crv": "Ed25519", "x": x, "kid": self.kid, "use": "jwt-svid"})
            }
            Key::Rsa(pair, ..) => {
                let public = pair.public_key();
                let (n, e) = (public.modulus().big_endian_without_leading_zero().to_vec(), public.exponent());
                let e = e.big_endian_without_leading_zero().to_vec();
                json!({"kty": "RSA", "n": b64(n), "e": b64(e), "kid": self.kid, "use": "jwt-svid"})
            }
        }
    }

    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        let random = SystemRandom::new();
        match &self.key {
            Key::Ed(pair) => pair.sign(message).as_ref().to_vec(),
            Key::Ec(pair, ..) => pair.sign(&random, message).unwrap().as_ref().to_vec(),
            Key::Rsa(pair, encoding) => {
                let mut out = vec![0; pair.public_modulus_len()];
                pair.sign(*encoding, &random, message, &mut out).unwrap();
                out
            }
        }
    }

    pub fn raw(&self, header: &str, payload: &str) -> String {
        let signed = format!("{}.{}", b64(header), b64(payload));
        let signature = self.sign(signed.as_bytes());
        format!("{signed}.{}", b64(signature))
    }

    pub fn token(&self, header: &Value, payload: &Value) -> String {
        self.raw(&header.to_string(), &payload.to_string())
    }
}
