use std::fmt;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P384_SHA256_ASN1, EcdsaKeyPair,
    RSA_PSS_2048_8192_SHA256, RSA_PSS_SHA256, RsaKeyPair, RsaParameters, RsaPssSaltLength, UnparsedPublicKey,
    VerificationAlgorithm,
};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use mesh_core::name::TrustDomain;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use serde::{Deserialize, Serialize};
use webpki::KeyUsage;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;

use super::machine_ca::{MachineCa, fingerprint};
use super::{Answer, Asked, Attest, AttestError, Attested, Attestor, Challenges, Evidence, from_json, nonce};
use crate::der;
use crate::hex::hex;
use crate::jose::{KeyKind, PublicKey};
use crate::limits::MAX_CERTIFICATE_BYTES;

/// Most intermediates below the CA.
const MAX_INTERMEDIATES: usize = 4;

const NONCE: usize = 32;

/// With the longest salt that fits, as Go signs by default.
static RSA_PSS_LONGEST_SALT: RsaParameters = RSA_PSS_2048_8192_SHA256.with_pss_salt_length(RsaPssSaltLength::Max);

/// Certificates of nodes, issued by a CA of the operator, and possession of their keys (SPIRE's `x509pop`).
///
/// A certificate names client authentication among its extended key usages, or has none of them.
pub struct X509Pop {
    machines: MachineCa,
}

#[derive(Serialize, Deserialize)]
struct Payload {
    certificates: Vec<String>,
}

/// The challenge, and the answer to it, for the kind of key that the certificate has.
#[derive(Default, Serialize, Deserialize)]
struct Exchange<T> {
    #[serde(skip_serializing_if = "Option::is_none")]
    rsa_signature: Option<T>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ecdsa_signature: Option<T>,
}

#[derive(Serialize, Deserialize)]
struct Challenge {
    nonce: String,
}

#[derive(Serialize, Deserialize)]
struct Response {
    nonce: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    signature: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    r: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    s: Option<String>,
}

impl X509Pop {
    /// Believes certificates below the CAs in a PEM text.
    ///
    /// # Errors
    /// [`AttestError::Unavailable`] when there is no CA in it.
    pub fn new(authorities: &[u8]) -> Result<Self, AttestError> {
        Ok(Self { machines: MachineCa::new(authorities)? })
    }

    async fn check(&self, asked: Asked<'_>, challenges: &mut dyn Challenges) -> Result<Attested, AttestError> {
        let refuse = |why: &str| AttestError::Evidence(why.to_owned());
        let payload: Payload = from_json(asked.payload).ok_or_else(|| refuse("not JSON of certificates"))?;
        if payload.certificates.len() > MAX_INTERMEDIATES + 1 {
            return Err(refuse("too many certificates"));
        }
        let decoded = payload.certificates.iter().map(|text| STANDARD.decode(text).map(CertificateDer::from));
        let chain: Vec<_> = decoded.collect::<Result<_, _>>().map_err(|_| refuse("certificates are not base64"))?;
        let (leaf, intermediates) = chain.split_first().ok_or_else(|| refuse("no certificate"))?;
        if chain.iter().any(|der| der.len() > MAX_CERTIFICATE_BYTES) {
            return Err(refuse("a certificate is too large"));
        }
        let parsed = crate::svid::parse(leaf).map_err(|error| AttestError::Evidence(error.to_string()))?;
        if parsed.is_ca() {
            return Err(refuse("the certificate is a CA's"));
        }
        let signs = matches!(parsed.key_usage(), Ok(Some(usage)) if usage.value.digital_signature());
        if !signs {
            return Err(refuse("the certificate is not for signing"));
        }
        // Certificates of machines name client authentication, or no purpose at all.
        let issuers = self.machines.path(leaf, intermediates, KeyUsage::client_auth(), asked.now)?;
        let key = Key::of(&parsed)?;

        let ours = nonce()?;
        let challenge = Challenge { nonce: STANDARD.encode(ours) };
        let exchange = if key.kind == KeyKind::Rsa {
            Exchange { rsa_signature: Some(challenge), ecdsa_signature: None }
        } else {
            Exchange { rsa_signature: None, ecdsa_signature: Some(challenge) }
        };
        let challenge = serde_json::to_vec(&exchange).map_err(|error| AttestError::Unavailable(error.to_string()))?;
        let answer = challenges.ask(challenge).await?;
        key.verify(&ours, &answer)?;
        let selectors = selectors(&parsed, &issuers, asked.trust_domain);
        Ok(Attested::new(format!("x509pop/{}", fingerprint(leaf)), selectors))
    }
}

fn selectors(leaf: &X509Certificate<'_>, issuers: &[CertificateDer<'_>], trust_domain: &TrustDomain) -> Vec<String> {
    let mut all = Vec::new();
    if let Some(name) = leaf.subject().iter_common_name().next().and_then(|name| name.as_str().ok()) {
        all.push(format!("subject:cn:{name}"));
    }
    for authority in issuers {
        all.push(format!("ca:fingerprint:{}", fingerprint(authority)));
    }
    all.push(format!("serialnumber:{}", hex(der::significant(leaf.raw_serial()))));
    // A URI of the form `x509pop://<trust domain>/<key>/<value>`.
    let prefix = format!("x509pop://{trust_domain}/");
    if let Ok(Some(names)) = leaf.subject_alternative_name() {
        for name in &names.value.general_names {
            let GeneralName::URI(uri) = name else { continue };
            if let Some((key, value)) = uri.strip_prefix(&prefix).and_then(|rest| rest.split_once('/')) {
                all.push(format!("san:{key}:{value}"));
            }
        }
    }
    all
}

/// The key of a certificate: SPIRE's algorithms are not those of tokens, so its bare bits are needed.
struct Key {
    kind: KeyKind,
    bits: Vec<u8>,
}

impl Key {
    fn of(certificate: &X509Certificate<'_>) -> Result<Self, AttestError> {
        let info = certificate.public_key();
        let refuse = |why: String| AttestError::Evidence(why);
        match PublicKey::from_info(info).map_err(|error| refuse(error.to_string()))?.kind() {
            KeyKind::P521 | KeyKind::Ed25519 => Err(refuse("keys of this curve are not taken".to_owned())),
            kind => Ok(Self { kind, bits: info.subject_public_key.data.to_vec() }),
        }
    }

    /// Verifies an answer. The digest (SHA-256) of both nonces is signed, challenge first: who answers adds something of
    /// its own, so that nobody can make it sign what he chose.
    fn verify(&self, ours: &[u8; NONCE], answer: &[u8]) -> Result<(), AttestError> {
        let refuse = |why: &str| AttestError::Challenge(why.to_owned());
        let answer: Exchange<Response> = from_json(answer).ok_or_else(|| refuse("not an answer"))?;
        let answer = if self.kind == KeyKind::Rsa { answer.rsa_signature } else { answer.ecdsa_signature };
        let answer = answer.ok_or_else(|| refuse("not an answer for this kind of key"))?;
        let bytes = |text: Option<&String>| text.and_then(|text| STANDARD.decode(text).ok());
        let theirs = bytes(Some(&answer.nonce)).filter(|nonce| nonce.len() == NONCE);
        let theirs = theirs.ok_or_else(|| refuse("the answer's nonce has another length"))?;
        if theirs == ours {
            return Err(refuse("the answer repeats the challenge's nonce"));
        }
        let message = [&ours[..], &theirs].concat();
        let absent = || refuse("no signature");
        let points = || {
            let (r, s) = (bytes(answer.r.as_ref())?, bytes(answer.s.as_ref())?);
            let fits = |bytes: &[u8]| !bytes.is_empty() && bytes.len() <= 66;
            (fits(&r) && fits(&s)).then(|| der::sequence(&[&der::positive_integer(&r), &der::positive_integer(&s)]))
        };
        let by = |by: &'static dyn VerificationAlgorithm, signature: &[u8]| {
            UnparsedPublicKey::new(by, &self.bits).verify(&message, signature).is_ok()
        };
        let verified = match self.kind {
            KeyKind::Rsa => {
                let signature = bytes(answer.signature.as_ref()).ok_or_else(absent)?;
                by(&RSA_PSS_2048_8192_SHA256, &signature) || by(&RSA_PSS_LONGEST_SALT, &signature)
            }
            KeyKind::P256 => by(&ECDSA_P256_SHA256_ASN1, &points().ok_or_else(absent)?),
            KeyKind::P384 => by(&ECDSA_P384_SHA256_ASN1, &points().ok_or_else(absent)?),
            KeyKind::P521 | KeyKind::Ed25519 => false,
        };
        if verified { Ok(()) } else { Err(refuse("the signature does not verify")) }
    }
}

impl Attestor for X509Pop {
    fn kind(&self) -> &'static str {
        "x509pop"
    }

    fn attest<'a>(&'a self, asked: Asked<'a>, challenges: &'a mut dyn Challenges) -> Attest<'a> {
        Box::pin(self.check(asked, challenges))
    }
}

impl fmt::Debug for X509Pop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("X509Pop").field("machines", &self.machines).finish()
    }
}

/// A certificate of this node and its key.
pub struct X509PopEvidence {
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

impl X509PopEvidence {
    /// Reads a chain, leaf first, and a private key in PEM.
    ///
    /// # Errors
    /// [`AttestError::Gather`].
    pub fn from_pem(chain: &[u8], key: &[u8]) -> Result<Self, AttestError> {
        let failed = |why: &str| AttestError::Gather(why.to_owned());
        let chain: Vec<_> =
            CertificateDer::pem_slice_iter(chain).collect::<Result<_, _>>().map_err(|_| failed("not PEM"))?;
        if chain.is_empty() {
            return Err(failed("no certificate"));
        }
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|_| failed("no private key"))?;
        Ok(Self { chain, key })
    }

    fn sign(&self, challenge: &[u8]) -> Result<Vec<u8>, AttestError> {
        let failed = |why: &str| AttestError::Challenge(why.to_owned());
        let challenge: Exchange<Challenge> = from_json(challenge).ok_or_else(|| failed("not a challenge"))?;
        let asked = challenge.rsa_signature.as_ref().or(challenge.ecdsa_signature.as_ref());
        let theirs = asked.and_then(|asked| STANDARD.decode(&asked.nonce).ok()).filter(|nonce| nonce.len() == NONCE);
        let theirs = theirs.ok_or_else(|| failed("not a challenge"))?;
        let ours = nonce()?;
        let message = [&theirs[..], &ours].concat();
        let random = SystemRandom::new();
        let key = self.key.secret_der();
        let nonce = STANDARD.encode(ours);
        let text = |bytes: &[u8]| Some(STANDARD.encode(bytes));
        let answer = if challenge.rsa_signature.is_some() {
            let pair = RsaKeyPair::from_pkcs8(key).or_else(|_| RsaKeyPair::from_der(key));
            let pair = pair.map_err(|_| failed("the key is not RSA"))?;
            let mut signature = vec![0; pair.public_modulus_len()];
            pair.sign(&RSA_PSS_SHA256, &random, &message, &mut signature).map_err(|_| failed("cannot sign"))?;
            let response = Response { nonce, signature: text(&signature), r: None, s: None };
            Exchange { rsa_signature: Some(response), ecdsa_signature: None }
        } else {
            // SPIRE signs by SHA-256 with P-384 too; the library at hand does not.
            let algorithm = &ECDSA_P256_SHA256_ASN1_SIGNING;
            let pair = EcdsaKeyPair::from_pkcs8(algorithm, key)
                .or_else(|_| EcdsaKeyPair::from_private_key_der(algorithm, key))
                .map_err(|_| failed("the key is not ECDSA of P-256"))?;
            let signature = pair.sign(&random, &message).map_err(|_| failed("cannot sign"))?;
            let (r, s) = der::ecdsa_integers(signature.as_ref()).ok_or_else(|| failed("cannot sign"))?;
            let response = Response { nonce, signature: None, r: text(r), s: text(s) };
            Exchange { rsa_signature: None, ecdsa_signature: Some(response) }
        };
        serde_json::to_vec(&answer).map_err(|error| AttestError::Challenge(error.to_string()))
    }
}

impl Evidence for X509PopEvidence {
    fn kind(&self) -> &'static str {
        "x509pop"
    }

    fn payload(&self) -> Answer<'_> {
        let certificates = self.chain.iter().map(|der| STANDARD.encode(der)).collect();
        let payload = serde_json::to_vec(&Payload { certificates });
        Box::pin(std::future::ready(payload.map_err(|error| AttestError::Gather(error.to_string()))))
    }

    fn answer(&self, challenge: &[u8]) -> Result<Vec<u8>, AttestError> {
        self.sign(challenge)
    }
}

impl fmt::Debug for X509PopEvidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("X509PopEvidence(..)")
    }
}
