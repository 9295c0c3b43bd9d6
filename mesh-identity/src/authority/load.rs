use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use mesh_core::name::TrustDomain;
use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, KeyIdMethod, KeyPair, KeyUsagePurpose,
    PublicKeyData, SanType, SerialNumber,
};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::issue::random_serial;
use super::{Authority, Error, Names, Rules};
use crate::bundle::{Bundle, subject_key_id};
use crate::clock::Clock;
use crate::source::LocalSource;
use crate::{file, pem, svid};

/// Life of a root made here.
const ROOT_LIFE: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

/// File names of a plugged-in authority: signing certificate, key, chain, roots. First Istio's, then cert-manager's.
const LAYOUTS: [[&str; 4]; 2] =
    [["ca-cert.pem", "ca-key.pem", "cert-chain.pem", "root-cert.pem"], ["tls.crt", "tls.key", "tls.crt", "ca.crt"]];

impl Authority {
    /// The authority whose files are in a directory; an empty directory gets a new self-signed root.
    ///
    /// Understood are the names of Istio's `cacerts` (`ca-cert.pem`, `ca-key.pem`, `cert-chain.pem`, `root-cert.pem`) and
    /// of cert-manager (`tls.crt`, `tls.key`, `ca.crt`).
    ///
    /// # Errors
    /// [`Error`] when some but not all files are there, or when they cannot be an authority: the key is not the
    /// certificate's, the certificate may not sign or is not valid now, the chain does not lead to the root.
    pub fn open(
        directory: &Path,
        trust_domain: TrustDomain,
        rules: Rules,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, Error> {
        file::private_directory(directory)?;
        for names in LAYOUTS {
            if directory.join(names[0]).exists() || directory.join(names[1]).exists() {
                return Self::load(directory, names, trust_domain, rules, clock);
            }
        }
        let (key, root) = make_root(&trust_domain, clock.as_ref())?;
        let root = pem::encode("CERTIFICATE", &root);
        let [certificate, key_file, chain, roots] = LAYOUTS[0];
        // The key first: without the certificate the directory still counts as empty of an authority, never as half of one.
        file::replace(
            &directory.join(key_file),
            pem::encode("PRIVATE KEY", &key.serialize_der()).as_bytes(),
            file::Mode::Private,
        )?;
        for name in [chain, roots, certificate] {
            file::replace(&directory.join(name), root.as_bytes(), file::Mode::Public)?;
        }
        Self::load(directory, LAYOUTS[0], trust_domain, rules, clock)
    }

    /// A new self-signed authority in memory: for tests and for programs that trust only themselves.
    ///
    /// # Errors
    /// [`Error::Crypto`] when the cryptography library fails.
    pub fn ephemeral(trust_domain: TrustDomain, rules: Rules, clock: Arc<dyn Clock>) -> Result<Self, Error> {
        let (key, root) = make_root(&trust_domain, clock.as_ref())?;
        let bundle = Bundle::new(trust_domain, vec![root.clone()]).map_err(Error::Bundle)?;
        Self::assemble(key, vec![root], bundle, rules, clock)
    }

    fn load(
        directory: &Path,
        names: [&'static str; 4],
        trust_domain: TrustDomain,
        rules: Rules,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, Error> {
        let read = |name: &'static str| match file::read(&directory.join(name)) {
            Ok(text) => Ok(text),
            Err(error) if error.is_not_found() => Err(Error::FileMissing(name)),
            Err(error) => Err(error.into()),
        };
        let certificates = |name: &'static str, text: &[u8]| {
            let parsed: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
            parsed
                .ok()
                .filter(|list| !list.is_empty())
                .ok_or(Error::FileContent { file: name, what: "certificate in PEM" })
        };
        let [certificate_file, key_file, chain_file, roots_file] = names;
        let no_key = || Error::FileContent { file: key_file, what: "private key in PEM" };
        let key = PrivateKeyDer::from_pem_slice(&read(key_file)?).map_err(|_| no_key())?;
        let key = KeyPair::try_from(&key).map_err(|_| no_key())?;
        let signing = certificates(certificate_file, &read(certificate_file)?)?.swap_remove(0);
        let bundle = Bundle::from_pem(trust_domain, &read(roots_file)?).map_err(Error::Bundle)?;

        let mut chain = vec![signing];
        for certificate in certificates(chain_file, &read(chain_file)?)? {
            let root = bundle.authorities().iter().any(|authority| *authority.certificate() == certificate);
            if !root && !chain.contains(&certificate) {
                chain.push(certificate);
            }
        }
        Self::assemble(key, chain, bundle, rules, clock)
    }

    fn assemble(
        key: KeyPair,
        chain: Vec<CertificateDer<'static>>,
        bundle: Bundle,
        rules: Rules,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, Error> {
        let trust_domain = bundle.trust_domain().clone();
        let signing = svid::parse(&chain[0]).map_err(Error::Signing)?;
        svid::signing(&signing).map_err(Error::Signing)?;
        if signing.public_key().subject_public_key.data != key.der_bytes() {
            return Err(Error::KeyMismatch);
        }
        let (not_before, not_after) = svid::validity(&signing).map_err(Error::Signing)?;
        let now = clock.now();
        if now < not_before || now >= not_after {
            return Err(Error::NotValidNow);
        }
        let subject = signing.subject().as_raw().to_vec();
        let key_id = subject_key_id(&signing).unwrap_or_else(|| {
            aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, key.der_bytes()).as_ref()[..20].to_vec()
        });
        let self_signed = bundle.authorities().iter().any(|authority| *authority.certificate() == chain[0]);
        drop(signing);
        let authority =
            Self { trust_domain, key, chain, subject, key_id, not_after, self_signed, bundle, rules, clock };
        authority.prove()?;
        Ok(authority)
    }

    /// Issues an SVID to itself, so that files that cannot work are refused at start and not at the first request.
    fn prove(&self) -> Result<(), Error> {
        let id = mesh_core::name::SpiffeId::from_segments(self.trust_domain.clone(), &["self-test"])
            .map_err(|_| Error::Identity(self.trust_domain.to_string()))?;
        let request = LocalSource::request(&id).map_err(Error::Crypto)?;
        self.issue(&request, &id, Some(self.rules.min_life), &Names::default()).map(drop)
    }
}

/// A root by the rules: subject of the trust domain and a random number, so that no two authorities share one; the SPIFFE
/// ID of the trust domain; keyCertSign and cRLSign.
fn make_root(trust_domain: &TrustDomain, clock: &dyn Clock) -> Result<(KeyPair, CertificateDer<'static>), Error> {
    let key = KeyPair::generate().map_err(Error::Crypto)?;
    let number: String = random_serial()?.iter().map(|byte| format!("{byte:02x}")).collect();
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
    let now = clock.now();
    params.not_before = (now - Duration::from_secs(60)).into();
    params.not_after = (now + ROOT_LIFE).into();
    let certificate = params.self_signed(&key).map_err(Error::Crypto)?;
    Ok((key, certificate.der().clone()))
}
