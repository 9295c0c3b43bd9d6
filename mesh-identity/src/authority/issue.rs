use std::time::{Duration, SystemTime};

use aws_lc_rs::digest::{SHA256, digest};
use mesh_core::name::SpiffeId;
use rcgen::{KeyPair, SigningKey};
use rustls_pki_types::CertificateDer;

use super::request::RequestKey;
use super::{Authority, Error, request};
use crate::bundle::BundleSet;
use crate::der;
use crate::verify::{self, Purpose};

/// How far back validity begins, for peers whose clocks lag.
const BACKDATE: Duration = Duration::from_secs(60);

/// Names that a certificate carries beside its SPIFFE ID. SPIFFE peers ignore them; others may verify by them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Names {
    /// DNS names.
    pub dns: Vec<String>,
    /// Addresses.
    pub ips: Vec<std::net::IpAddr>,
}

impl Authority {
    /// Issues an SVID for `id` to the key of a PKCS#10 request in PEM. Gives the chain, leaf first, without the root.
    ///
    /// Who may have which identity is decided before; the request's own names decide nothing. The result is verified with
    /// the verifier that peers use before it leaves.
    ///
    /// # Errors
    /// [`Error`] for a request that is malformed, not signed by its own key, for a key that is not certified, for an
    /// identity outside the trust domain, or for a life that the rules refuse.
    pub fn issue(
        &self,
        request: &str,
        id: &SpiffeId,
        life: Option<Duration>,
        names: &Names,
    ) -> Result<Vec<CertificateDer<'static>>, Error> {
        let reserved = id.path() == "/spire" || id.path().starts_with("/spire/");
        if !id.is_member_of(&self.trust_domain) || id.path().is_empty() || reserved {
            return Err(Error::Identity(id.to_string()));
        }
        let key = request::read(request, id)?;
        let now = self.clock.now();
        let not_after = self.rules.not_after(life, now, self.not_after)?;
        let leaf = self.leaf(&key, id, names, now - BACKDATE, not_after)?;

        let mut chain = vec![leaf];
        if !self.self_signed {
            chain.extend(self.chain.iter().cloned());
        }
        let bundles = BundleSet::default().with(self.bundle.clone());
        for purpose in [Purpose::Client, Purpose::Server] {
            verify::peer(Some(&chain), &bundles, purpose, now).map_err(Error::Verify)?;
        }
        Ok(chain)
    }

    /// A leaf certificate (RFC 5280 section 4.1) with an empty subject and so a critical subject alternative name.
    fn leaf(
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
        let algorithm = signature_algorithm(&self.key)?;
        let extensions = extensions(&digest(&SHA256, &key.bits).as_ref()[..20], &self.key_id, id, names);
        let version = [0xa0, 3, der::INTEGER, 1, 2];
        let to_be_signed = der::sequence(&[
            &version,
            &der::positive_integer(&random_serial()?),
            algorithm,
            &self.subject,
            &der::sequence(&[&begin, &end]),
            &der::sequence(&[]),
            &key.info,
            &der::value(0xa3, &extensions),
        ]);
        let signature = self.key.sign(&to_be_signed).map_err(Error::Crypto)?;
        Ok(der::sequence(&[&to_be_signed, algorithm, &der::bit_string(&signature)]).into())
    }
}

fn extensions(key_id: &[u8], issuer_key_id: &[u8], id: &SpiffeId, names: &Names) -> Vec<u8> {
    // Content bytes of the object identifiers 2.5.29.x (RFC 5280 section 4.2.1).
    const SUBJECT_KEY_ID: [u8; 3] = [0x55, 0x1d, 14];
    const KEY_USAGE: [u8; 3] = [0x55, 0x1d, 15];
    const SUBJECT_ALT_NAME: [u8; 3] = [0x55, 0x1d, 17];
    const BASIC_CONSTRAINTS: [u8; 3] = [0x55, 0x1d, 19];
    const AUTHORITY_KEY_ID: [u8; 3] = [0x55, 0x1d, 35];
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
        &der::extension(&AUTHORITY_KEY_ID, false, &der::sequence(&[&der::value(0x80, issuer_key_id)])),
    ])
}

/// 16 random octets, the top bit cleared, never zero.
pub(super) fn random_serial() -> Result<[u8; 16], Error> {
    let mut serial = [0; 16];
    aws_lc_rs::rand::fill(&mut serial).map_err(|_| Error::Crypto(rcgen::Error::RingUnspecified))?;
    serial[0] &= 0x7f;
    serial[15] |= 1;
    Ok(serial)
}

/// The AlgorithmIdentifier (RFC 5280 section 4.1.1.2) of what a key signs.
fn signature_algorithm(key: &KeyPair) -> Result<&'static [u8], Error> {
    const ECDSA_SHA256: &[u8] = &[0x30, 10, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2];
    const ECDSA_SHA384: &[u8] = &[0x30, 10, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 3];
    const RSA_SHA256: &[u8] = &[0x30, 13, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 11, 5, 0];
    let algorithm = key.algorithm();
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
