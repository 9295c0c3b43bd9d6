use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use mesh_core::name::{SpiffeId, parse_spiffe_id, parse_trust_domain};
use rcgen::{BasicConstraints, CertificateParams, DistinguishedName, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use super::*;
use crate::clock::{ManualClock, SystemClock};
use crate::der;
use crate::pem;

fn open(dir: &Path) -> Result<Authority, Error> {
    Authority::open(dir, parse_trust_domain("td.test").unwrap(), Rules::default(), Arc::new(SystemClock))
}

fn web() -> SpiffeId {
    parse_spiffe_id("spiffe://td.test/ns/a/sa/web").unwrap()
}

fn request(id: &SpiffeId) -> String {
    let (_, request) = svid::certificate_request(id, svid::KeyKind::P256).unwrap();
    pem::encode("CERTIFICATE REQUEST", &request)
}

#[test]
fn a_new_root_is_kept_and_found_again() {
    let dir = tempfile::tempdir().unwrap();
    let first = open(dir.path()).unwrap();
    let second = open(dir.path()).unwrap();
    assert_eq!(first.bundle(), second.bundle());
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(dir.path().join("authority.json")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
    let roots = std::fs::read(dir.path().join("root-cert.pem")).unwrap();
    let roots = Bundle::from_pem(parse_trust_domain("td.test").unwrap(), &roots).unwrap();
    assert_eq!(roots.authorities(), first.bundle().authorities());

    let text = std::fs::read_to_string(dir.path().join("authority.json")).unwrap();
    for broken in [
        &text[..text.len() / 2],
        "",
        "{}",
        &text.replace("\"format\":1", "\"format\":2"),
        &text.replace("td.test", "other.test"),
    ] {
        std::fs::write(dir.path().join("authority.json"), broken).unwrap();
        assert!(matches!(open(dir.path()), Err(Error::Stored(_))), "never a new root in place of a lost one");
    }
}

#[test]
fn keys_at_rest_are_sealed_where_that_is_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let open_with = |key: Option<SealingKey>| {
        let domain = parse_trust_domain("td.test").unwrap();
        Authority::open_sealed(dir.path(), domain, Rules::default(), Arc::new(SystemClock), key)
    };
    let first = open_with(Some(SealingKey::new([7; 32]))).unwrap();
    let text = std::fs::read_to_string(dir.path().join("authority.json")).unwrap();
    assert!(!text.contains("signing"), "{text}");
    assert_eq!(open_with(Some(SealingKey::new([7; 32]))).unwrap().bundle(), first.bundle());
    assert!(matches!(open_with(Some(SealingKey::new([8; 32]))), Err(Error::Sealed)));
    assert!(matches!(open_with(None), Err(Error::Sealed)));
}

#[test]
fn keys_that_lay_open_are_sealed_at_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let bundle = open(dir.path()).unwrap().bundle();
    let read = || std::fs::read_to_string(dir.path().join("authority.json")).unwrap();
    assert!(read().contains("signing"));
    let key = SealingKey::new([7; 32]);
    let domain = parse_trust_domain("td.test").unwrap();
    let sealed = Authority::open_sealed(dir.path(), domain, Rules::default(), Arc::new(SystemClock), Some(key));
    assert_eq!(sealed.unwrap().bundle(), bundle);
    assert!(!read().contains("signing"), "{}", read());
}

#[cfg(unix)]
#[test]
fn a_state_that_cannot_be_looked_at_is_not_replaced() {
    use std::os::unix::fs::symlink;
    for name in ["authority.json", "ca-cert.pem", "tls.key"] {
        // The volume behind it is not mounted; or the link leads to itself.
        for target in ["/nowhere/it", name] {
            let dir = tempfile::tempdir().unwrap();
            symlink(target, dir.path().join(name)).unwrap();
            assert!(matches!(open(dir.path()), Err(Error::File(_) | Error::FileMissing(_))), "{name} -> {target}");
            assert!(!dir.path().join("root-cert.pem").exists());
            assert!(std::fs::symlink_metadata(dir.path().join(name)).unwrap().is_symlink());
        }
    }
}

#[test]
fn rules_that_contradict_each_other() {
    let day = Duration::from_secs(24 * 60 * 60);
    let with = |change: fn(&mut Rules)| {
        let mut rules = Rules::default();
        change(&mut rules);
        Authority::ephemeral(parse_trust_domain("td.test").unwrap(), rules, Arc::new(SystemClock)).map(|_| ())
    };
    assert!(with(|_| {}).is_ok());
    assert!(matches!(with(|rules| rules.default_life = 2 * rules.max_life), Err(Error::Rules(_))));
    assert!(matches!(with(|rules| rules.authority_life = Duration::from_secs(3600)), Err(Error::Rules(_))));
    assert!(matches!(with(|rules| rules.refresh_hint = Duration::from_secs(3 * 24 * 3600)), Err(Error::Rules(_))));
    assert_eq!(rotate::longest_issued(30 * day), 5 * day);
    for change in [
        (|rules| rules.authority_life = Duration::MAX) as fn(&mut Rules),
        |rules| rules.list_life = Duration::MAX,
        |rules| rules.refresh_hint = Duration::MAX,
    ] {
        assert!(matches!(with(change), Err(Error::Rules(_))));
    }
}

#[test]
fn a_plugged_in_intermediate_with_a_name_that_repeats_itself() {
    // Two organisational units: a library that keeps names as maps would write the issuer in another form.
    let root_key = KeyPair::generate().unwrap();
    let mut root = CertificateParams::default();
    root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    root.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let root_certificate = root.self_signed(&root_key).unwrap();
    let issuer = Issuer::new(root, root_key);

    let key = KeyPair::generate_for(&rcgen::PKCS_ECDSA_P384_SHA384).unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::OrganizationalUnitName, "one");
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let single = params.signed_by(&key, &issuer).unwrap();
    let certificate = repeat_unit(single.der(), &issuer);

    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: String| std::fs::write(dir.path().join(name), text).unwrap();
    write("ca-cert.pem", pem::encode("CERTIFICATE", &certificate));
    write("ca-key.pem", pem::encode("PRIVATE KEY", &key.serialize_der()));
    write("cert-chain.pem", pem::encode("CERTIFICATE", &certificate));
    write("root-cert.pem", pem::encode("CERTIFICATE", root_certificate.der()));
    let authority = open(dir.path()).unwrap();
    let chain = authority.issue(&request(&web()), &web(), None, &Names::default()).unwrap();
    assert_eq!(chain.len(), 2, "leaf and intermediate; the root stays home");
}

/// The same certificate with its organisational unit twice, signed anew.
fn repeat_unit(single: &CertificateDer<'_>, issuer: &Issuer<'_, KeyPair>) -> CertificateDer<'static> {
    use rcgen::SigningKey;
    let parsed = svid::parse(single).unwrap();
    let tbs = &parsed.tbs_certificate;
    let name = tbs.subject.as_raw();
    let unit = &name[2..];
    let twice = der::value(der::SEQUENCE, &[unit, unit].concat());
    let raw = tbs.as_ref();
    let position = raw.windows(name.len()).rposition(|window| window == name).unwrap();
    // Everything of the to-be-signed part but its own head, with the subject exchanged.
    let head = raw.len() - der_content(raw).len();
    let content = [&raw[head..position], &twice, &raw[position + name.len()..]].concat();
    let tbs = der::value(der::SEQUENCE, &content);
    let algorithm = [0x30, 10, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2];
    let signature = issuer.key().sign(&tbs).unwrap();
    der::sequence(&[&tbs, &algorithm, &der::bit_string(&signature)]).into()
}

fn der_content(value: &[u8]) -> &[u8] {
    match value[1] {
        short @ 0..=0x7f => &value[2..2 + usize::from(short)],
        long => &value[2 + usize::from(long & 0x7f)..],
    }
}

#[test]
fn life_and_identity_rules() {
    let dir = tempfile::tempdir().unwrap();
    let authority = open(dir.path()).unwrap();
    let issue = |id: &SpiffeId, life: u64| {
        authority.issue(&request(id), id, Some(Duration::from_secs(life)), &Names::default()).map(|chain| chain.len())
    };
    assert_eq!(issue(&web(), 3600).unwrap(), 1);
    assert!(matches!(issue(&web(), 29), Err(Error::LifeTooShort { .. })));
    // Not the caller's fault: whoever asks again after a rotation gets it.
    let rules = authority.rules();
    let (now, soon) = (authority.now(), authority.now() + Duration::from_secs(29));
    let ending = rules.not_after(None, now, soon).unwrap_err();
    assert!(matches!(ending, Error::Ending { .. }) && ending.code() == tonic::Code::Unavailable, "{ending}");
    assert!(matches!(issue(&web(), 24 * 3600 + 1), Err(Error::LifeTooLong { .. })));
    for foreign in ["spiffe://other.test/ns/a/sa/web", "spiffe://td.test", "spiffe://td.test/spire/server"] {
        assert!(matches!(issue(&parse_spiffe_id(foreign).unwrap(), 3600), Err(Error::Identity(_))), "{foreign}");
    }
    let other = parse_spiffe_id("spiffe://td.test/ns/a/sa/other").unwrap();
    let refused = authority.issue(&request(&other), &web(), None, &Names::default());
    assert!(matches!(refused, Err(Error::RequestIdentity { .. })), "the request names somebody else");
}

#[test]
fn requests_that_are_none() {
    let dir = tempfile::tempdir().unwrap();
    let authority = open(dir.path()).unwrap();
    let issue = |text: &str| authority.issue(text, &web(), None, &Names::default()).unwrap_err();
    let good = request(&web());
    assert!(matches!(issue(""), Error::RequestMalformed));
    assert!(matches!(issue(&good.replace("CERTIFICATE REQUEST", "CERTIFICATE")), Error::RequestMalformed));
    assert!(matches!(issue(&"x".repeat(16 * 1024 + 1)), Error::RequestTooLarge(16385)));
    let der = rustls_pki_types::CertificateSigningRequestDer::from_pem_slice(good.as_bytes()).unwrap();
    let mut altered = der.to_vec();
    let last = altered.len() - 1;
    altered[last] ^= 1;
    assert!(matches!(issue(&pem::encode("CERTIFICATE REQUEST", &altered)), Error::RequestSignature));
    for length in 0..der.len() {
        let cut = issue(&pem::encode("CERTIFICATE REQUEST", &der[..length]));
        assert!(matches!(cut, Error::RequestMalformed), "cut at {length}: {cut}");
    }
}

#[test]
fn openssl_agrees() {
    if Command::new("openssl").arg("version").output().is_err() {
        // Not by a macro, whose output is kept from view while the test passes.
        std::io::Write::write_all(&mut std::io::stderr(), b"SKIPPED: no openssl command on this machine\n").unwrap();
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let authority = open(&dir.path().join("ca")).unwrap();
    let run = |arguments: &[&str]| {
        let output = Command::new("openssl").args(arguments).current_dir(dir.path()).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        (output.status.success(), text)
    };
    for (kind, good) in [
        (&["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256"][..], true),
        (&["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-384"], true),
        (&["-newkey", "rsa:2048"], true),
        (&["-newkey", "rsa:1024"], false),
        (&["-newkey", "ed25519"], false),
        (&["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:secp521r1"], false),
    ] {
        let mut arguments = vec!["req", "-new", "-nodes", "-subj", "/CN=x", "-keyout", "key.pem", "-out", "csr.pem"];
        arguments.extend(kind);
        assert!(run(&arguments).0, "{kind:?}");
        let csr = std::fs::read_to_string(dir.path().join("csr.pem")).unwrap();
        let issued = authority.issue(&csr, &web(), None, &Names::default());
        assert_eq!(issued.is_ok(), good, "{kind:?}: {issued:?}");
        let Ok(chain) = issued else { continue };
        std::fs::write(dir.path().join("leaf.pem"), pem::encode("CERTIFICATE", &chain[0])).unwrap();
        let (verified, text) = run(&["verify", "-x509_strict", "-CAfile", "ca/root-cert.pem", "leaf.pem"]);
        assert!(verified, "{text}");
    }
    let (_, text) = run(&["x509", "-in", "leaf.pem", "-noout", "-text"]);
    for wanted in [
        "URI:spiffe://td.test/ns/a/sa/web",
        "X509v3 Subject Alternative Name: critical",
        "CA:FALSE",
        "Digital Signature",
        "TLS Web Server Authentication, TLS Web Client Authentication",
    ] {
        assert!(text.contains(wanted), "{wanted} is not in\n{text}");
    }
}

#[test]
fn an_authority_that_slept_over_the_end_of_its_keys_starts_again() {
    let day = Duration::from_secs(24 * 60 * 60);
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::new(SystemClock.now()));
    let open = || {
        let domain = parse_trust_domain("td.test").unwrap();
        Authority::open(dir.path(), domain, Rules::default(), Arc::<ManualClock>::clone(&clock)).unwrap()
    };
    let issues = |authority: &Authority| {
        let chain = authority.issue(&request(&web()), &web(), None, &Names::default()).unwrap();
        let bundles = bundle::BundleSet::default().with(authority.bundle());
        verify::peer(Some(&chain), &bundles, verify::Purpose::Server, clock.now()).unwrap();
        authority.issue_jwt(&web(), &["them".to_owned()], None).unwrap();
    };
    let first = open();
    let old = first.bundle();
    let life = first.rules().authority_life;

    // Nobody kept it, and there is no next key.
    clock.advance(life + day / 2);
    let second = open();
    issues(&second);
    assert!(second.bundle().sequence() > old.sequence());
    assert!(!second.bundle().is_same_trust(&old));
    assert_eq!(open().bundle(), second.bundle(), "the new root is kept");

    // A next key was published in time: it takes over, and nothing else changes for whoever trusts.
    clock.advance(life - day);
    second.prepare().unwrap();
    let announced = second.bundle();
    clock.advance(2 * day);
    let third = open();
    issues(&third);
    assert!(third.bundle().authorities().iter().all(|one| announced.authorities().contains(one)));
}
