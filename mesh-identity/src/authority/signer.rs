use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_lc_rs::digest::{SHA256, digest};
use mesh_core::name::{SpiffeId, TrustDomain};
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose,
    PublicKeyData, SanType, SerialNumber, SigningKey as _,
};
use rustls_pki_types::CertificateDer;

use super::request::RequestKey;
use super::rotate::Life;
use super::{Error, Names};
use crate::bundle::{self, Bundle, subject_key_id};
use crate::{der, svid};

/// How far back validity begins, for peers whose clocks lag.
pub(super) const BACKDATE: Duration = Duration::from_secs(60);

/// A key that signs, its certificate, and every certificate between it and the root.
pub(super) struct Signer {
    pub(super) key: KeyPair,
    /// The signing certificate first.
    pub(super) chain: Vec<CertificateDer<'static>>,
    /// The signing certificate's subject, byte for byte: it must stand so in what it issues.
    pub(super) subject: Vec<u8>,
    pub(super) key_id: Vec<u8>,
    pub(super) life: Life,
    pub(super) signs_lists: bool,
    /// The roots that it leads to.
    pub(super) roots: Arc<Bundle>,
    pub(super) self_signed: bool,
}

impl Signer {
    /// Takes a key and its chain, held against each other.
    pub(super) fn new(key: KeyPair, chain: Vec<CertificateDer<'static>>, roots: Bundle) -> Result<Self, Error> {
        let first = chain.first().ok_or(Error::Signing(svid::Error::EmptyChain))?;
        let signing = svid::parse(first).map_err(Error::Signing)?;
        svid::signing(&signing).map_err(Error::Signing)?;
        if signing.public_key().subject_public_key.data != key.der_bytes() {
            return Err(Error::KeyMismatch);
        }
        let (begin, end) = svid::validity(&signing).map_err(Error::Signing)?;
        let subject = signing.subject().as_raw().to_vec();
        let key_id =
            subject_key_id(&signing).unwrap_or_else(|| digest(&SHA256, key.der_bytes()).as_ref()[..20].to_vec());
        let signs_lists = svid::signs_lists(&signing);
        let self_signed = roots.authorities().iter().any(|authority| *authority.certificate() == *first);
        drop(signing);
        let life = Life { begin, end };
        Ok(Self { key, chain, subject, key_id, life, signs_lists, roots: Arc::new(roots), self_signed })
    }

    /// A new self-signed root by the rules: subject of the trust domain and a random number, so that no two authorities
    /// share one; the SPIFFE ID of the trust domain; keyCertSign and cRLSign.
    pub(super) fn root(trust_domain: &TrustDomain, now: SystemTime, life: Duration) -> Result<Self, Error> {
        let key = KeyPair::generate().map_err(Error::Crypto)?;
        let number = crate::hex::hex(&random_serial()?);
        let mut name = DistinguishedName::new();
        name.push(DnType::OrganizationName, trust_domain.to_string());
        name.push(DnType::CustomDnType(vec![2, 5, 4, 5]), number);
        let mut params = CertificateParams::default();
        params.distinguished_name = name;
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.key_identifier_method = KeyIdMethod::Sha256;
        params.serial_number = Some(SerialNumber::from_slice(&random_serial()?));
        let uri = format!("spiffe://{trust_domain}").try_into().map_err(Error::Crypto)?;
        params.subject_alt_names = vec![SanType::URI(uri)];
        params.not_before = (now - BACKDATE).into();
        params.not_after = (now + life).into();
        let certificate = params.self_signed(&key).map_err(Error::Crypto)?.der().clone();
        let roots = Bundle::new(trust_domain.clone(), vec![certificate.clone()]).map_err(Error::Bundle)?;
        Self::new(key, vec![certificate], roots)
    }

    /// Whether it signs as another does: by the same certificates, below the same roots.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.chain == other.chain && self.root_authorities() == other.root_authorities()
    }

    pub(super) fn root_authorities(&self) -> &[bundle::Authority] {
        self.roots.authorities()
    }

    /// A leaf certificate (RFC 5280 section 4.1) with an empty subject and so a critical subject alternative name.
    pub(super) fn leaf(
        &self,
        key: &RequestKey,
        id: &SpiffeId,
        names: &Names,
        not_before: SystemTime,
        not_after: SystemTime,
    ) -> Result<CertificateDer<'static>, Error> {
        let out_of_range = || Error::Crypto(rcgen::Error::Time);
        let begin = der::time(not_before).ok_or_else(out_of_range)?;
        let end = der::time(not_after).ok_or_else(out_of_range)?;
        let extensions = extensions(&digest(&SHA256, &key.bits).as_ref()[..20], &self.key_id, id, names);
        let version = [0xa0, 3, der::INTEGER, 1, 2];
        let to_be_signed = der::sequence(&[
            &version,
            &der::positive_integer(&random_serial()?),
            self.algorithm()?,
            &self.subject,
            &der::sequence(&[&begin, &end]),
            &der::sequence(&[]),
            &key.info,
            &der::value(0xa3, &extensions),
        ]);
        self.sign(&to_be_signed).map(CertificateDer::from)
    }

    /// What is to be signed, the algorithm and the signature, as certificates and revocation lists have them.
    pub(super) fn sign(&self, to_be_signed: &[u8]) -> Result<Vec<u8>, Error> {
        let signature = self.key.sign(to_be_signed).map_err(Error::Crypto)?;
        Ok(der::sequence(&[to_be_signed, self.algorithm()?, &der::bit_string(&signature)]))
    }

    /// The AlgorithmIdentifier (RFC 5280 section 4.1.1.2) of what the key signs.
    pub(super) fn algorithm(&self) -> Result<&'static [u8], Error> {
        const ECDSA_SHA256: &[u8] = &[0x30, 10, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2];
        const ECDSA_SHA384: &[u8] = &[0x30, 10, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 3];
        const RSA_SHA256: &[u8] = &[0x30, 13, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 11, 5, 0];
        let algorithm = self.key.algorithm();
        if *algorithm == rcgen::PKCS_ECDSA_P256_SHA256 {
            Ok(ECDSA_SHA256)
        } else if *algorithm == rcgen::PKCS_ECDSA_P384_SHA384 {
            Ok(ECDSA_SHA384)
        } else if *algorithm == rcgen::PKCS_RSA_SHA256 {
            Ok(RSA_SHA256)
        } else {
            Err(Error::FileContent { file: "ca-key.pem", what: "P-256, P-384 or RSA key" })
        }
    }
}

fn extensions(key_id: &[u8], issuer_key_id: &[u8], id: &SpiffeId, names: &Names) -> Vec<u8> {
    // Content bytes of the object identifiers 2.5.29.x (RFC 5280 section 4.2.1).
    const SUBJECT_KEY_ID: [u8; 3] = [0x55, 0x1d, 14];
    const KEY_USAGE: [u8; 3] = [0x55, 0x1d, 15];
    const SUBJECT_ALT_NAME: [u8; 3] = [0x55, 0x1d, 17];
    const BASIC_CONSTRAINTS: [u8; 3] = [0x55, 0x1d, 19];
    const EXTENDED_KEY_USAGE: [u8; 3] = [0x55, 0x1d, 37];
    const SERVER_AUTH: [u8; 8] = [0x2b, 6, 1, 5, 5, 7, 3, 1];
    const CLIENT_AUTH: [u8; 8] = [0x2b, 6, 1, 5, 5, 7, 3, 2];
    const DIGITAL_SIGNATURE: [u8; 2] = [7, 0x80];

    let mut general_names = der::value(0x86, id.to_string().as_bytes());
    for name in &names.dns {
        general_names.extend(der::value(0x82, name.as_bytes()));
    }
    for ip in &names.ips {
        let octets = match ip {
            std::net::IpAddr::V4(ip) => ip.octets().to_vec(),
            std::net::IpAddr::V6(ip) => ip.octets().to_vec(),
        };
        general_names.extend(der::value(0x87, &octets));
    }
    let purposes = der::sequence(&[
        &der::value(der::OBJECT_IDENTIFIER, &SERVER_AUTH),
        &der::value(der::OBJECT_IDENTIFIER, &CLIENT_AUTH),
    ]);
    der::sequence(&[
        // `cA` is FALSE by default, and DER leaves defaults out; the extension is there for parsers that want it.
        &der::extension(&BASIC_CONSTRAINTS, true, &der::sequence(&[])),
        &der::extension(&KEY_USAGE, true, &der::value(der::BIT_STRING, &DIGITAL_SIGNATURE)),
        &der::extension(&EXTENDED_KEY_USAGE, false, &purposes),
        &der::extension(&SUBJECT_ALT_NAME, true, &der::value(der::SEQUENCE, &general_names)),
        &der::extension(&SUBJECT_KEY_ID, false, &der::value(der::OCTET_STRING, key_id)),
        &authority_key_id(issuer_key_id),
    ])
}

/// The authority key identifier (RFC 5280 section 4.2.1.1).
pub(super) fn authority_key_id(key_id: &[u8]) -> Vec<u8> {
    const AUTHORITY_KEY_ID: [u8; 3] = [0x55, 0x1d, 35];
    der::extension(&AUTHORITY_KEY_ID, false, &der::sequence(&[&der::value(0x80, key_id)]))
}

/// 16 random octets, the top bit cleared, never zero.
pub(super) fn random_serial() -> Result<[u8; 16], Error> {
    let mut serial = [0; 16];
    aws_lc_rs::rand::fill(&mut serial).map_err(|_| Error::Crypto(rcgen::Error::RingUnspecified))?;
    serial[0] &= 0x7f;
    serial[15] |= 1;
    Ok(serial)
}
