//! A TPM as far as attestation needs one, right and wrong. That a real one is understood is shown by `tests/interop/spiffe`, in
//! which SPIRE's agent attests by a software TPM.

use std::sync::OnceLock;
use std::time::SystemTime;

use aws_lc_rs::cipher::{AES_128, DecryptingKey, DecryptionContext, UnboundCipherKey};
use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::hmac;
use aws_lc_rs::iv::FixedLength;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeySize, OAEP_SHA256_MGF1SHA256, OaepPrivateDecryptingKey, PrivateDecryptingKey};
use aws_lc_rs::signature::{KeyPair as _, RSA_PKCS1_SHA256, RsaKeyPair};
use mesh_core::name::parse_trust_domain;
use rcgen::{BasicConstraints, CertificateParams, CustomExtension, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use serde_json::{Value, json};

use super::*;
use crate::attest::Answer;
use crate::clock::{Clock as _, SystemClock};
use crate::{der, pem};

const USUAL: u32 =
    attribute::FIXED_TPM | attribute::FIXED_PARENT | attribute::SENSITIVE_DATA_ORIGIN | (1 << 6) | attribute::SIGN;

struct Rsa(RsaKeyPair);

impl Rsa {
    fn new() -> Self {
        Self(RsaKeyPair::generate(KeySize::Rsa2048).unwrap())
    }

    fn modulus(&self) -> Vec<u8> {
        self.0.public_key().modulus().big_endian_without_leading_zero().to_vec()
    }

    fn info(&self) -> Vec<u8> {
        PublicKey::rsa(&self.modulus(), &[1, 0, 1]).unwrap().to_der()
    }

    fn sign(&self, message: &[u8]) -> Vec<u8> {
        let mut signature = vec![0; self.0.public_modulus_len()];
        self.0.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature).unwrap();
        signature
    }
}

fn sized(bytes: &[u8]) -> Vec<u8> {
    [&u16::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat()
}

/// `TPMT_PUBLIC` of an RSA key: attributes, symmetric and signing parameters, and its modulus.
fn public(attributes: u32, parameters: &[u16], modulus: &[u8]) -> Vec<u8> {
    let words: Vec<u8> = parameters.iter().flat_map(|word| word.to_be_bytes()).collect();
    [
        &[0, 1, 0, 11][..],
        &attributes.to_be_bytes(),
        &sized(&[]),
        &words,
        &2048_u16.to_be_bytes(),
        &0_u32.to_be_bytes(),
        &sized(modulus),
    ]
    .concat()
}

/// A storage key's: AES of 128 bits, CFB, no scheme.
const STORAGE: &[u16] = &[6, 128, 0x43, 0x10];
/// A signing key's: no symmetric one; RSASSA with SHA-256.
const SIGNING: &[u16] = &[0x10, 0x14, 11];

struct Ca {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Ca {
    fn new() -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let pem = pem::encode("CERTIFICATE", params.self_signed(&key).unwrap().der());
        Self { pem, issuer: Issuer::new(params, key) }
    }

    /// A certificate for a key in a TPM, with the usage that endorsement certificates name, or none.
    fn certify(&self, info: &[u8], usage: Option<&[u8]>) -> Vec<u8> {
        let mut params = CertificateParams::default();
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        if let Some(usage) = usage {
            let purposes = der::sequence(&[&der::value(der::OBJECT_IDENTIFIER, usage)]);
            params.custom_extensions = vec![CustomExtension::from_oid_content(&[2, 5, 29, 37], purposes)];
        }
        let key = rcgen::SubjectPublicKeyInfo::from_der(info).unwrap();
        params.signed_by(&key, &self.issuer).unwrap().der().to_vec()
    }
}

/// A device with its TPM, and those who vouch for both.
struct Device {
    devices: Ca,
    makers: Ca,
    device: Rsa,
    attestation: Rsa,
    endorsement: Rsa,
}

fn device() -> &'static Device {
    static DEVICE: OnceLock<Device> = OnceLock::new();
    DEVICE.get_or_init(|| Device {
        devices: Ca::new(),
        makers: Ca::new(),
        device: Rsa::new(),
        attestation: Rsa::new(),
        endorsement: Rsa::new(),
    })
}

fn text(bytes: &[u8]) -> Value {
    STANDARD.encode(bytes).into()
}

const AK: u32 = USUAL | attribute::RESTRICTED;
const EK: u32 = (USUAL & !attribute::SIGN) | attribute::RESTRICTED | attribute::DECRYPT;

fn attest(magic: u32, kind: u16, name: &[u8]) -> Vec<u8> {
    [
        &magic.to_be_bytes()[..],
        &kind.to_be_bytes(),
        &sized(b"signer"),
        &sized(b""),
        &[0; 25],
        &sized(name),
        &sized(b"q"),
    ]
    .concat()
}

impl Device {
    fn attestor(&self) -> TpmDevId {
        TpmDevId::new(self.devices.pem.as_bytes(), self.makers.pem.as_bytes()).unwrap()
    }

    fn certification(&self, attested: &[u8]) -> Vec<u8> {
        [&[0, 0x14, 0, 11][..], &sized(&self.attestation.sign(attested))].concat()
    }

    fn payload(&self) -> Value {
        let public_device = public(USUAL, SIGNING, &self.device.modulus());
        let attested = attest(0xff54_4347, 0x8017, Public::parse(&public_device).unwrap().name());
        json!({
            "DevIDCert": [text(&self.devices.certify(&self.device.info(), None))],
            "DevIDPub": text(&public_device),
            "EKCert": text(&self.makers.certify(&self.endorsement.info(), Some(ENDORSEMENT))),
            "EKPub": text(&public(EK, STORAGE, &self.endorsement.modulus())),
            "AKPub": text(&public(AK, SIGNING, &self.attestation.modulus())),
            "CertifiedDevID": text(&attested),
            "CertificationSignature": text(&self.certification(&attested)),
        })
    }

    /// TPM2_ActivateCredential.
    fn activate(&self, blob: &[u8], seed: &[u8]) -> Option<Vec<u8>> {
        let key = PrivateDecryptingKey::from_pkcs8(self.endorsement.0.as_der().unwrap().as_ref()).unwrap();
        let key = OaepPrivateDecryptingKey::new(key).unwrap();
        let mut out = vec![0; 256];
        let seed = key.decrypt(&OAEP_SHA256_MGF1SHA256, seed, &mut out, Some(b"IDENTITY\0")).ok()?.to_vec();
        let name = Public::parse(&public(AK, SIGNING, &self.attestation.modulus())).unwrap().name().to_vec();
        let mut reader = structure::Reader(blob);
        let integrity = reader.sized()?;
        let expected = hmac::Key::new(hmac::HMAC_SHA256, &credential::derive(&seed, b"INTEGRITY", &[], 256));
        hmac::verify(&expected, &[reader.0, &name].concat(), integrity).ok()?;
        let mut identity = reader.0.to_vec();
        let key = credential::derive(&seed, b"STORAGE", &name, 128);
        let key = DecryptingKey::cfb128(UnboundCipherKey::new(&AES_128, &key).unwrap()).unwrap();
        key.decrypt(&mut identity, DecryptionContext::Iv128(FixedLength::from([0; 16]))).ok()?;
        structure::Reader(&identity).sized().map(<[u8]>::to_vec)
    }
}

/// Answers as the device does, and lets a test change the answer.
struct Answering<'a>(&'a Device, &'a (dyn Fn(&mut Value) + Sync));

impl Challenges for Answering<'_> {
    fn ask(&mut self, challenge: Vec<u8>) -> Answer<'_> {
        let challenge: Value = serde_json::from_slice(&challenge).unwrap();
        let bytes = |value: &Value| STANDARD.decode(value.as_str().unwrap()).unwrap();
        let activation = &challenge["CredActivation"];
        let secret = self.0.activate(&bytes(&activation["Credential"]), &bytes(&activation["Secret"])).unwrap();
        let mut answer = json!({
            "DevID": text(&self.0.device.sign(&bytes(&challenge["DevID"]))),
            "CredActivation": text(&secret),
        });
        (self.1)(&mut answer);
        Box::pin(std::future::ready(Ok(serde_json::to_vec(&answer).unwrap())))
    }
}

async fn run(payload: &Value, change: &(dyn Fn(&mut Value) + Sync)) -> Result<Attested, AttestError> {
    let payload = serde_json::to_vec(payload).unwrap();
    let domain = parse_trust_domain("td.test").unwrap();
    let now: SystemTime = SystemClock.now();
    let asked = Asked { payload: &payload, trust_domain: &domain, now };
    device().attestor().attest(asked, &mut Answering(device(), change)).await
}

#[tokio::test]
async fn a_device_proves_that_its_key_lives_in_its_tpm() {
    let attested = run(&device().payload(), &|_| {}).await.unwrap();
    assert!(attested.path.starts_with("tpm_devid/") && attested.reattestable);
    assert!(attested.selectors.iter().any(|selector| selector.starts_with("ca:fingerprint:")));
}

#[tokio::test]
async fn what_proves_less_is_refused() {
    let device = device();
    let (other, stranger) = (Rsa::new(), Ca::new());
    let own = public(USUAL, SIGNING, &device.device.modulus());
    let name = Public::parse(&own).unwrap().name().to_vec();
    let certified = |attested: &[u8]| (text(attested), text(&device.certification(attested)));
    let wrong_magic = certified(&attest(0x1234_5678, 0x8017, &name));
    let wrong_kind = certified(&attest(0xff54_4347, 0x8018, &name));
    let wrong_name = certified(&attest(0xff54_4347, 0x8017, &[0, 11, 1, 2, 3]));
    let longer = certified(&[attest(0xff54_4347, 0x8017, &name), vec![0]].concat());
    let good = attest(0xff54_4347, 0x8017, &name);
    let by_other = [&[0, 0x14, 0, 11][..], &sized(&other.sign(&good))].concat();
    let without = |attributes: u32, bit: u32, key: &Rsa| text(&public(attributes & !bit, SIGNING, &key.modulus()));
    let ek = |attributes: u32, parameters: &[u16], key: &Rsa| text(&public(attributes, parameters, &key.modulus()));
    let small = PublicKey::rsa(&[0xff; 128], &[1, 0, 1]).is_err();
    assert!(small);
    let cases: Vec<(&str, Vec<(&str, Value)>)> = vec![
        (
            "a device's certificate of another CA",
            vec![("DevIDCert", json!([text(&stranger.certify(&device.device.info(), None))]))],
        ),
        (
            "a device's certificate for another key",
            vec![("DevIDCert", json!([text(&device.devices.certify(&other.info(), None))]))],
        ),
        ("no certificate", vec![("DevIDCert", json!([]))]),
        ("six certificates", vec![("DevIDCert", json!(vec![text(b"x"); 6]))]),
        (
            "an EK certificate of another maker",
            vec![("EKCert", text(&stranger.certify(&device.endorsement.info(), Some(ENDORSEMENT))))],
        ),
        (
            "an EK certificate of another EK",
            vec![("EKCert", text(&device.makers.certify(&other.info(), Some(ENDORSEMENT))))],
        ),
        (
            "an EK certificate for web servers",
            vec![(
                "EKCert",
                text(&device.makers.certify(&device.endorsement.info(), Some(&[0x2b, 6, 1, 5, 5, 7, 3, 1]))),
            )],
        ),
        ("another EK", vec![("EKPub", ek(EK, STORAGE, &other))]),
        ("an EK of 1024 bits", vec![("EKPub", text(&public(EK, STORAGE, &[0xff; 128])))]),
        ("an EK without AES", vec![("EKPub", ek(EK, &[0x10, 0x10], &device.endorsement))]),
        ("an EK that does not decrypt", vec![("EKPub", ek(EK & !attribute::DECRYPT, STORAGE, &device.endorsement))]),
        ("an AK that is not restricted", vec![("AKPub", without(AK, attribute::RESTRICTED, &device.attestation))]),
        ("an AK that could leave", vec![("AKPub", without(AK, attribute::FIXED_TPM, &device.attestation))]),
        (
            "an AK that was brought in",
            vec![("AKPub", without(AK, attribute::SENSITIVE_DATA_ORIGIN, &device.attestation))],
        ),
        (
            "an AK that decrypts",
            vec![("AKPub", text(&public(AK | attribute::DECRYPT, SIGNING, &device.attestation.modulus())))],
        ),
        ("another AK", vec![("AKPub", text(&public(AK, SIGNING, &other.modulus())))]),
        ("a DevID that could leave", vec![("DevIDPub", without(USUAL, attribute::FIXED_PARENT, &device.device))]),
        (
            "a DevID that was brought in",
            vec![("DevIDPub", without(USUAL, attribute::SENSITIVE_DATA_ORIGIN, &device.device))],
        ),
        ("certified by another AK", vec![("CertificationSignature", text(&by_other))]),
        ("not made by a TPM", vec![("CertifiedDevID", wrong_magic.0), ("CertificationSignature", wrong_magic.1)]),
        ("not a certification", vec![("CertifiedDevID", wrong_kind.0), ("CertificationSignature", wrong_kind.1)]),
        ("of another object", vec![("CertifiedDevID", wrong_name.0), ("CertificationSignature", wrong_name.1)]),
        ("with something behind", vec![("CertifiedDevID", longer.0), ("CertificationSignature", longer.1)]),
        ("cut short", vec![("DevIDPub", text(&own[..own.len() - 1]))]),
        ("something behind", vec![("DevIDPub", text(&[own.clone(), vec![0]].concat()))]),
        ("no structure", vec![("AKPub", text(b""))]),
        ("not base64", vec![("AKPub", json!("%"))]),
        ("absent", vec![("AKPub", Value::Null)]),
    ];
    for (what, changes) in cases {
        let mut payload = device.payload();
        for (member, value) in changes {
            payload[member] = value;
        }
        let error = run(&payload, &|_| {}).await.unwrap_err();
        assert!(matches!(error, AttestError::Evidence(_)), "{what}: {error}");
    }
}

#[tokio::test]
async fn answers_that_are_refused() {
    let device = device();
    let payload = device.payload();
    type Change = Box<dyn Fn(&mut Value) + Sync>;
    let changes: [(&str, Change); 5] = [
        ("another secret", Box::new(|answer| answer["CredActivation"] = text(&[7; 32]))),
        ("no secret", Box::new(|answer| answer["CredActivation"] = text(&[]))),
        ("a signature over something else", Box::new(|answer| answer["DevID"] = text(&device.device.sign(b"else")))),
        ("by another key", Box::new(|answer| answer["DevID"] = text(&device.attestation.sign(b"else")))),
        ("nothing", Box::new(|answer| *answer = json!({}))),
    ];
    for (what, change) in &changes {
        let error = run(&payload, &**change).await.unwrap_err();
        assert!(matches!(error, AttestError::Challenge(_)), "{what}: {error}");
    }
    // The secret of another activation.
    let earlier = std::sync::Mutex::new(None);
    let keep = |answer: &mut Value| {
        let now = answer["CredActivation"].clone();
        answer["CredActivation"] = earlier.lock().unwrap().replace(now.clone()).unwrap_or(now);
    };
    run(&payload, &keep).await.unwrap();
    assert!(matches!(run(&payload, &keep).await, Err(AttestError::Challenge(_))));
}

proptest::proptest! {
    #[test]
    fn any_bytes(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..400)) {
        let _ = Public::parse(&bytes);
        let _ = structure::certified(&bytes);
        let _ = structure::from_der(KeyKind::P256, &bytes);
        let known = public(AK, SIGNING, &device().attestation.modulus());
        proptest::prop_assert!(!Public::parse(&known).unwrap().signed(b"x", &bytes));
    }
}
