//! A test PKI: roots, intermediates and leaves, right by default and wrong where asked.

use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CrlDistributionPoint,
    CrlIssuingDistributionPoint, CrlScope, CustomExtension, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SanType, SerialNumber,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

/// A certificate authority.
#[derive(Debug)]
pub struct Ca {
    /// Its certificate.
    pub certificate: CertificateDer<'static>,
    /// The certificates between it and its root, itself first; empty for a root.
    pub chain: Vec<CertificateDer<'static>>,
    params: CertificateParams,
    issuer: Issuer<'static, KeyPair>,
}

/// A leaf and its key.
#[derive(Debug)]
pub struct Leaf {
    /// Leaf first, then intermediates.
    pub chain: Vec<CertificateDer<'static>>,
    /// The leaf's key in PKCS#8.
    pub key: PrivateKeyDer<'static>,
}

/// What a leaf says. The default of [`Spec::new`] is a good SVID.
#[derive(Debug, Clone)]
pub struct Spec {
    /// URI names.
    pub uris: Vec<String>,
    /// DNS names.
    pub dns: Vec<String>,
    /// Whether it says that it is an authority.
    pub ca: bool,
    /// Key usages; none leaves the extension out.
    pub usages: Vec<KeyUsagePurpose>,
    /// Extended key usages; none leaves the extension out.
    pub purposes: Vec<ExtendedKeyUsagePurpose>,
    /// Validity, from and to, in seconds from now.
    pub validity: (i64, i64),
    /// The time that validity is counted from; now, when there is none.
    pub from: Option<SystemTime>,
    /// Whether it carries a critical extension that nobody knows.
    pub unknown_critical: bool,
    /// Whether an extension stands twice.
    pub repeated_extension: bool,
    /// The serial number; a good one, when empty.
    pub serial: Vec<u8>,
}

/// What a revocation list says beside what it revokes. By default it is past its end, on purpose: an old list still
/// revokes.
#[derive(Debug, Clone, Copy)]
pub struct List {
    /// This update and next update, in seconds from now.
    pub validity: (i64, i64),
    /// Its number.
    pub number: u64,
    /// Whether it speaks of authorities only.
    pub authorities_only: bool,
}

impl Default for List {
    fn default() -> Self {
        Self { validity: (-60, -10), number: 1, authorities_only: false }
    }
}

impl Spec {
    /// A good SVID.
    #[must_use]
    pub fn new(uri: &str) -> Self {
        Self {
            uris: vec![uri.to_owned()],
            dns: Vec::new(),
            ca: false,
            usages: vec![KeyUsagePurpose::DigitalSignature],
            purposes: vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth],
            validity: (-60, 3600),
            from: None,
            unknown_critical: false,
            repeated_extension: false,
            serial: Vec::new(),
        }
    }
}

impl Ca {
    /// A root with a SPIFFE ID of its trust domain.
    #[must_use]
    pub fn root(trust_domain: &str) -> Self {
        let (params, key) = Self::params(trust_domain, &format!("spiffe://{trust_domain}"), true);
        let certificate = params.self_signed(&key).expect("a root").der().clone();
        Self { certificate, chain: Vec::new(), params: params.clone(), issuer: Issuer::new(params, key) }
    }

    /// An intermediate. `uri` is its SPIFFE ID; `sign` tells whether its key usage lets it sign certificates.
    #[must_use]
    pub fn intermediate(&self, name: &str, uri: &str, sign: bool) -> Self {
        let (params, key) = Self::params(name, uri, sign);
        self.below(params, key)
    }

    /// An intermediate whose key usage lets it sign certificates, but no revocation lists.
    #[must_use]
    pub fn intermediate_without_lists(&self, name: &str) -> Self {
        let (mut params, key) = Self::params(name, "spiffe://td.test", true);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        self.below(params, key)
    }

    /// An intermediate below which so many more may stand.
    #[must_use]
    pub fn intermediate_of_length(&self, name: &str, length: u8) -> Self {
        let (mut params, key) = Self::params(name, "spiffe://td.test", true);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(length));
        self.below(params, key)
    }

    fn below(&self, params: CertificateParams, key: KeyPair) -> Self {
        let certificate = params.signed_by(&key, &self.issuer).expect("an intermediate").der().clone();
        let mut chain = vec![certificate.clone()];
        chain.extend(self.chain.iter().cloned());
        Self { certificate, chain, params: params.clone(), issuer: Issuer::new(params, key) }
    }

    /// Another certificate of an intermediate, by this authority, whose key it names. `uri` is its SPIFFE ID.
    #[must_use]
    pub fn cross(&self, below: &Self, uri: &str) -> CertificateDer<'static> {
        let mut params = below.params.clone();
        params.subject_alt_names = vec![SanType::URI(uri.try_into().expect("ASCII"))];
        params.use_authority_key_identifier_extension = true;
        params.signed_by(below.issuer.key(), &self.issuer).expect("an intermediate").der().clone()
    }

    /// An authority of the same name with another key.
    #[must_use]
    pub fn namesake(&self) -> Self {
        let key = KeyPair::generate().expect("a key");
        let certificate = self.params.self_signed(&key).expect("a root").der().clone();
        Self {
            certificate,
            chain: Vec::new(),
            params: self.params.clone(),
            issuer: Issuer::new(self.params.clone(), key),
        }
    }

    fn params(name: &str, uri: &str, sign: bool) -> (CertificateParams, KeyPair) {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        if sign {
            params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        }
        params.subject_alt_names = vec![SanType::URI(uri.try_into().expect("ASCII"))];
        (params, KeyPair::generate().expect("a key"))
    }

    /// A revocation list with these certificates, in DER, past its end.
    #[must_use]
    pub fn revoke(&self, certificates: &[&CertificateDer<'_>]) -> Vec<u8> {
        self.list(certificates, &List::default())
    }

    /// A revocation list with these certificates, in DER.
    #[must_use]
    pub fn list(&self, certificates: &[&CertificateDer<'_>], list: &List) -> Vec<u8> {
        let revoked = certificates.iter().map(|der| {
            let (_, parsed) = x509_parser::parse_x509_certificate(der).expect("a certificate");
            RevokedCertParams {
                serial_number: SerialNumber::from_slice(parsed.raw_serial()),
                revocation_time: at(-30).into(),
                reason_code: None,
                invalidity_date: None,
            }
        });
        let point = list.authorities_only.then(|| CrlIssuingDistributionPoint {
            distribution_point: CrlDistributionPoint { uris: vec!["http://td.test/crl".to_owned()] },
            scope: Some(CrlScope::CaCertsOnly),
        });
        let params = CertificateRevocationListParams {
            this_update: at(list.validity.0).into(),
            next_update: at(list.validity.1).into(),
            crl_number: SerialNumber::from(list.number),
            issuing_distribution_point: point,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        if self.params.key_usages.contains(&KeyUsagePurpose::CrlSign) {
            return params.signed_by(&self.issuer).expect("a revocation list").der().to_vec();
        }
        // The library will not sign for an authority that may not; a liar's library would.
        let mut liar = self.params.clone();
        liar.key_usages.push(KeyUsagePurpose::CrlSign);
        let liar = Issuer::new(liar, KeyPair::try_from(self.issuer.key().serialize_der()).expect("our own key"));
        params.signed_by(&liar).expect("a revocation list").der().to_vec()
    }

    /// Issues a leaf.
    #[must_use]
    pub fn leaf(&self, spec: &Spec) -> Leaf {
        let mut params = CertificateParams::default();
        params.distinguished_name = DistinguishedName::new();
        let uris = spec.uris.iter().map(|uri| SanType::URI(uri.as_str().try_into().expect("ASCII")));
        let dns = spec.dns.iter().map(|name| SanType::DnsName(name.as_str().try_into().expect("ASCII")));
        params.subject_alt_names = uris.chain(dns).collect();
        params.is_ca = if spec.ca { IsCa::Ca(BasicConstraints::Unconstrained) } else { IsCa::ExplicitNoCa };
        params.key_usages.clone_from(&spec.usages);
        params.extended_key_usages.clone_from(&spec.purposes);
        let now = spec.from.unwrap_or_else(|| at(0));
        params.not_before = shifted(now, spec.validity.0).into();
        params.not_after = shifted(now, spec.validity.1).into();
        if !spec.serial.is_empty() {
            params.serial_number = Some(SerialNumber::from_slice(&spec.serial));
        }
        if spec.repeated_extension {
            let twice = CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 55555, 2], vec![5, 0]);
            params.custom_extensions.extend([twice.clone(), twice]);
        }
        if spec.unknown_critical {
            let mut extension = CustomExtension::from_oid_content(&[1, 3, 6, 1, 4, 1, 55555, 1], vec![5, 0]);
            extension.set_criticality(true);
            params.custom_extensions.push(extension);
        }
        let key = KeyPair::generate().expect("a key");
        let leaf = params.signed_by(&key, &self.issuer).expect("a leaf").der().clone();
        let mut chain = vec![leaf];
        chain.extend(self.chain.iter().cloned());
        Leaf { chain, key: PrivatePkcs8KeyDer::from(key.serialize_der()).into() }
    }
}

/// A time some seconds from now.
#[must_use]
pub fn at(seconds: i64) -> SystemTime {
    #[expect(clippy::disallowed_methods, reason = "certificates of tests are valid now")]
    let now = SystemTime::now();
    shifted(now, seconds)
}

fn shifted(from: SystemTime, seconds: i64) -> SystemTime {
    let distance = Duration::from_secs(seconds.unsigned_abs());
    if seconds < 0 { from - distance } else { from + distance }
}
