mod credential;
mod structure;

#[cfg(test)]
mod tests;

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rustls_pki_types::CertificateDer;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use webpki::KeyUsage;

use self::structure::{Public, attribute};
use super::machine_ca::{MachineCa, fingerprint};
use super::{Asked, Attest, AttestError, Attested, Attestor, Challenges, from_json, nonce};
use crate::jose::{Algorithm, KeyKind, PublicKey};
use crate::limits::MAX_CERTIFICATE_BYTES;

/// Most intermediates below a CA of devices.
const MAX_INTERMEDIATES: usize = 4;

/// `tcg-kp-EKCertificate` (2.23.133.8.1): what an endorsement certificate is for, where it says.
const ENDORSEMENT: &[u8] = &[0x67, 0x81, 0x05, 0x08, 0x01];

/// Device identities that live in a TPM 2.0 (SPIRE's `tpm_devid`): the certificate of a device's key, and proof that the key
/// cannot leave the TPM whose manufacturer vouches for it.
///
/// The steps: the device's certificate leads to a CA of the operator; the endorsement certificate to one of a manufacturer; an
/// attestation key, restricted to what the TPM itself makes, certifies that the device's key lives beside it; and the TPM
/// recovers a secret that only the one with this endorsement key and this attestation key can. The attributes of both keys are
/// checked too: without them the same structures could be made outside of a TPM.
#[derive(Debug)]
pub struct TpmDevId {
    devices: MachineCa,
    manufacturers: MachineCa,
}

#[derive(Deserialize)]
struct Payload {
    #[serde(rename = "DevIDCert")]
    certificates: Vec<Blob>,
    #[serde(rename = "DevIDPub")]
    device: Blob,
    #[serde(rename = "EKCert")]
    endorsement_certificate: Blob,
    #[serde(rename = "EKPub")]
    endorsement: Blob,
    #[serde(rename = "AKPub")]
    attestation: Blob,
    #[serde(rename = "CertifiedDevID")]
    certified: Blob,
    #[serde(rename = "CertificationSignature")]
    signature: Blob,
}

#[derive(Serialize)]
struct Challenge {
    #[serde(rename = "DevID")]
    device: Blob,
    #[serde(rename = "CredActivation")]
    activation: Activation,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Activation {
    credential: Blob,
    secret: Blob,
}

#[derive(Deserialize)]
struct Response {
    #[serde(rename = "DevID")]
    device: Blob,
    #[serde(rename = "CredActivation")]
    activation: Blob,
}

/// Bytes, in base64.
struct Blob(Vec<u8>);

impl Serialize for Blob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        STANDARD.decode(text).map(Self).map_err(serde::de::Error::custom)
    }
}

impl TpmDevId {
    /// Believes devices whose certificates lead to one of `devices`, in TPMs whose endorsement certificates lead to one of
    /// `manufacturers`; both in PEM.
    ///
    /// # Errors
    /// [`AttestError::Unavailable`] when there is no CA in a text.
    pub fn new(devices: &[u8], manufacturers: &[u8]) -> Result<Self, AttestError> {
        Ok(Self { devices: MachineCa::new(devices)?, manufacturers: MachineCa::new(manufacturers)? })
    }

    async fn check(&self, asked: Asked<'_>, challenges: &mut dyn Challenges) -> Result<Attested, AttestError> {
        let refuse = |why: &str| AttestError::Evidence(why.to_owned());
        let payload: Payload = from_json(asked.payload).ok_or_else(|| refuse("not JSON of a device's identity"))?;
        let proof = self.verify(&payload, &asked)?;

        let (to_sign, secret) = (nonce()?, nonce()?);
        let credential = credential::make(&proof.endorsement, proof.attestation.name(), &secret)
            .ok_or_else(|| refuse("no credential can be made for this endorsement key"))?;
        let challenge = Challenge {
            device: Blob(to_sign.to_vec()),
            activation: Activation { credential: Blob(credential.blob), secret: Blob(credential.seed) },
        };
        let challenge = serde_json::to_vec(&challenge).map_err(|error| AttestError::Unavailable(error.to_string()))?;
        let answer = challenges.ask(challenge).await?;
        let failed = |why: &str| AttestError::Challenge(why.to_owned());
        let answer: Response = from_json(&answer).ok_or_else(|| failed("not an answer"))?;
        aws_lc_rs::constant_time::verify_slices_are_equal(&answer.activation.0, &secret)
            .map_err(|_| failed("the TPM did not recover the secret"))?;
        if !signed(&proof.device, &to_sign, &answer.device.0) {
            return Err(failed("the device's key did not sign"));
        }
        Ok(Attested::new(format!("tpm_devid/{}", proof.name), proof.selectors))
    }

    /// What is proven without a challenge.
    fn verify(&self, payload: &Payload, asked: &Asked<'_>) -> Result<Proof, AttestError> {
        let refuse = |why: &str| AttestError::Evidence(why.to_owned());
        let chain: Vec<_> = payload.certificates.iter().map(|der| CertificateDer::from(&der.0[..])).collect();
        if chain.len() > MAX_INTERMEDIATES + 1 || chain.iter().any(|der| der.len() > MAX_CERTIFICATE_BYTES) {
            return Err(refuse("too many certificates, or too large"));
        }
        let (leaf, intermediates) = chain.split_first().ok_or_else(|| refuse("no certificate of a device"))?;
        let parsed = crate::svid::parse(leaf).map_err(|error| AttestError::Evidence(error.to_string()))?;
        if parsed.is_ca() {
            return Err(refuse("the device's certificate is a CA's"));
        }
        let issuers = self.devices.path(leaf, intermediates, KeyUsage::client_auth(), asked.now)?;
        let device_key =
            PublicKey::from_info(parsed.public_key()).map_err(|error| AttestError::Evidence(error.to_string()))?;
        let public = |blob: &Blob, what: &str| {
            Public::parse(&blob.0).ok_or_else(|| AttestError::Evidence(format!("the {what} cannot be read")))
        };
        let device = public(&payload.device, "device's key")?;
        if device.key != device_key {
            return Err(refuse("the device's certificate is for another key"));
        }
        let resident = attribute::FIXED_TPM | attribute::FIXED_PARENT | attribute::SENSITIVE_DATA_ORIGIN;
        if !device.has(resident | attribute::SIGN) {
            return Err(refuse("the device's key could leave its TPM, or does not sign"));
        }
        let attestation = public(&payload.attestation, "attestation key")?;
        if !attestation.has(resident | attribute::SIGN | attribute::RESTRICTED) || attestation.has(attribute::DECRYPT) {
            return Err(refuse("the attestation key is not restricted to a TPM's own words"));
        }
        if !attestation.signed(&payload.certified.0, &payload.signature.0) {
            return Err(refuse("the certification is not signed by the attestation key"));
        }
        if structure::certified(&payload.certified.0) != Some(device.name()) {
            return Err(refuse("the certification is of another key"));
        }

        let endorsement = public(&payload.endorsement, "endorsement key")?;
        if endorsement.key.kind() != KeyKind::Rsa {
            return Err(refuse("only endorsement keys of RSA are taken"));
        }
        if !endorsement.has(resident | attribute::RESTRICTED | attribute::DECRYPT) {
            return Err(refuse("the endorsement key is none"));
        }
        if payload.endorsement_certificate.0.len() > MAX_CERTIFICATE_BYTES {
            return Err(refuse("the endorsement certificate is too large"));
        }
        let certificate = CertificateDer::from(&payload.endorsement_certificate.0[..]);
        let parsed_endorsement =
            crate::svid::parse(&certificate).map_err(|error| AttestError::Evidence(error.to_string()))?;
        self.manufacturers.path(&certificate, &[], KeyUsage::required_if_present(ENDORSEMENT), asked.now)?;
        if PublicKey::from_info(parsed_endorsement.public_key()).ok().as_ref() != Some(&endorsement.key) {
            return Err(refuse("the endorsement certificate is for another key"));
        }

        let name = |name: &x509_parser::x509::X509Name<'_>| {
            name.iter_common_name().next().and_then(|name| name.as_str().ok().map(str::to_owned))
        };
        let mut selectors = Vec::new();
        selectors.extend(name(parsed.subject()).map(|name| format!("subject:cn:{name}")));
        selectors.extend(name(parsed.issuer()).map(|name| format!("issuer:cn:{name}")));
        selectors.extend(issuers.iter().map(|issuer| format!("ca:fingerprint:{}", fingerprint(issuer))));
        Ok(Proof { device: device_key, attestation, endorsement, name: fingerprint(leaf), selectors })
    }
}

struct Proof {
    device: PublicKey,
    attestation: Public,
    endorsement: Public,
    name: String,
    selectors: Vec<String>,
}

/// Whether a device's key signed a message with SHA-256: RSA PKCS#1 v1.5, or ECDSA in DER.
fn signed(key: &PublicKey, message: &[u8], signature: &[u8]) -> bool {
    match key.kind() {
        KeyKind::Rsa => key.verify(Algorithm::RS256, message, signature),
        KeyKind::P256 => structure::from_der(KeyKind::P256, signature)
            .is_some_and(|signature| key.verify(Algorithm::ES256, message, &signature)),
        // P-384 signs by SHA-256 here, which no algorithm of tokens does.
        _ => false,
    }
}

impl Attestor for TpmDevId {
    fn kind(&self) -> &'static str {
        "tpm_devid"
    }

    fn attest<'a>(&'a self, asked: Asked<'a>, challenges: &'a mut dyn Challenges) -> Attest<'a> {
        Box::pin(self.check(asked, challenges))
    }
}

impl fmt::Debug for Public {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Public").field("key", &self.key).finish_non_exhaustive()
    }
}
