//! An authority over months of simulated time: its keys change, and nobody who follows its bundle ever refuses what it
//! signed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a test"
)]

use std::collections::VecDeque;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use mesh_core::name::{SpiffeId, parse_spiffe_id, parse_trust_domain};
use mesh_identity::authority::{Authority, Error, Names, Rules, rotate};
use mesh_identity::bundle::{Bundle, BundleSet, RevocationPolicy, Revocations, Trusted};
use mesh_identity::clock::{Clock, ManualClock};
use mesh_identity::verify::{self, Audiences, Purpose, jwt, peer};
use rustls_pki_types::CertificateDer;

const HOUR: Duration = Duration::from_secs(60 * 60);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn id() -> SpiffeId {
    parse_spiffe_id("spiffe://td.test/web").unwrap()
}

fn request() -> String {
    let key = rcgen::KeyPair::generate().unwrap();
    let request = rcgen::CertificateParams::default().serialize_request(&key).unwrap();
    mesh_identity::pem::encode("CERTIFICATE REQUEST", request.der())
}

fn clock() -> Arc<ManualClock> {
    Arc::new(ManualClock::new(UNIX_EPOCH + Duration::from_secs(1_800_000_000)))
}

fn open(dir: &Path, clock: &Arc<ManualClock>) -> Authority {
    Authority::open(dir, parse_trust_domain("td.test").unwrap(), Rules::default(), Arc::<ManualClock>::clone(clock))
        .unwrap()
}

#[test]
fn a_verifier_that_was_cut_off_for_the_lead_never_refuses() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), clock());
    let mut authority = open(dir.path(), &clock);
    let lead = rotate::lead(authority.rules().authority_life);
    // What a verifier holds who heard from us for the last time a lead ago, and what is still alive of what we signed.
    let mut heard: VecDeque<(SystemTime, Arc<Bundle>)> = VecDeque::new();
    let mut alive: VecDeque<(SystemTime, Vec<CertificateDer<'static>>)> = VecDeque::new();
    let mut token: Option<String> = None;
    let mut roots = Vec::new();
    for step in 0..(120 * 24 / 6) {
        // A crash and a restart, every now and then, and also while a key is being prepared or has just taken over.
        if step % 7 == 0 {
            authority = open(dir.path(), &clock);
        }
        authority.tick().unwrap();
        let now = clock.now();
        heard.push_back((now, authority.bundle()));
        while heard.get(1).is_some_and(|(then, _)| *then + lead <= now) {
            heard.pop_front();
        }
        let chain = authority.issue(&request(), &id(), Some(DAY), &Names::default()).unwrap();
        alive.push_back((now + DAY, chain));
        while alive.front().is_some_and(|(end, _)| *end <= now) {
            alive.pop_front();
        }
        let (stale, fresh) = (Arc::clone(&heard.front().unwrap().1), authority.bundle());
        for bundle in [stale, fresh] {
            let bundles = BundleSet::default().with(Arc::clone(&bundle));
            for (_, chain) in &alive {
                peer(Some(chain), &bundles, Purpose::Client, now).unwrap();
            }
            if let Some(token) = &token {
                jwt(token, &bundles, &Audiences::new(["db"]).unwrap(), now - 6 * HOUR).unwrap();
            }
        }
        token = Some(authority.issue_jwt(&id(), &["db".to_owned()], None).unwrap().token().to_owned());
        assert!(authority.bundle().authorities().len() <= 3 && authority.bundle().jwt_authorities().len() <= 3);
        roots.extend(authority.bundle().authorities().iter().map(|authority| authority.certificate().to_vec()));
        clock.advance(6 * HOUR);
    }
    roots.sort();
    roots.dedup();
    assert!((8..=9).contains(&roots.len()), "120 days of 30-day authorities: {}", roots.len());
}

#[test]
fn a_forced_rotation_and_a_revoked_authority() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), clock());
    let authority = open(dir.path(), &clock);
    assert!(matches!(authority.activate(), Err(Error::NotPrepared)));
    let old = authority.bundle();
    let signed = authority.issue(&request(), &id(), None, &Names::default()).unwrap();
    let root = old.authorities()[0].certificate().clone();
    assert!(matches!(authority.revoke_authority(&root), Err(Error::NotRetired)));
    authority.prepare().unwrap();
    assert_eq!(authority.bundle().authorities().len(), 2);
    assert!(authority.bundle().sequence() > old.sequence());
    authority.activate().unwrap();
    let both = BundleSet::default().with(authority.bundle());
    peer(Some(&signed), &both, Purpose::Client, clock.now()).unwrap();
    authority.revoke_authority(&root).unwrap();
    let after = BundleSet::default().with(authority.bundle());
    assert_eq!(
        peer(Some(&signed), &after, Purpose::Client, clock.now()),
        Err(verify::Error::UnknownIssuer(id().to_string()))
    );
    let anew = authority.issue(&request(), &id(), None, &Names::default()).unwrap();
    peer(Some(&anew), &after, Purpose::Client, clock.now()).unwrap();
    assert!(peer(Some(&anew), &BundleSet::default().with(old), Purpose::Client, clock.now()).is_err());
}

#[test]
fn revocation_lists_of_our_own() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), clock());
    let authority = open(dir.path(), &clock);
    let [good, bad] = [(); 2].map(|()| authority.issue(&request(), &id(), None, &Names::default()).unwrap());
    let (_, parsed) = x509_parser::parse_x509_certificate(&bad[0]).unwrap();
    let trusted = Trusted::new(authority.bundle()).revocation(RevocationPolicy::Required);
    let check = |chain: &[CertificateDer<'static>], lists: &Revocations| {
        let set = BundleSet::default().with_all([trusted.clone()]).with_revocations(lists.clone());
        peer(Some(chain), &set, Purpose::Client, clock.now()).map(|_| ())
    };
    let empty = lists(&authority);
    assert_eq!(empty.len(), 1);
    assert_eq!(check(&bad, &empty), Ok(()));
    authority.revoke(parsed.raw_serial(), clock.now() + HOUR).unwrap();
    let authority = open(dir.path(), &clock);
    let full = lists(&authority);
    assert_eq!(check(&good, &full), Ok(()));
    assert_eq!(check(&bad, &full), Err(verify::Error::Revoked(id().to_string())));
    // The newer of the two counts, in whichever order they come.
    for union in [empty.union(&full), full.union(&empty)] {
        assert_eq!(check(&bad, &union), Err(verify::Error::Revoked(id().to_string())));
    }
    // What was revoked stays in the lists for a day after the certificate's own end, and is forgotten then.
    let count = |authority: &Authority| revoked(&authority.revocation_lists().unwrap()[0]);
    for (passed, wanted) in [(DAY, 1), (2 * HOUR, 0)] {
        clock.advance(passed);
        authority.tick().unwrap();
        assert_eq!(count(&authority), wanted, "{passed:?}");
    }
}

fn lists(authority: &Authority) -> Revocations {
    let lists = authority.revocation_lists().unwrap();
    let text: String = lists.iter().map(|list| mesh_identity::pem::encode("X509 CRL", list)).collect();
    Revocations::parse(text.as_bytes()).unwrap()
}

fn revoked(list: &[u8]) -> usize {
    x509_parser::parse_x509_crl(list).unwrap().1.iter_revoked_certificates().count()
}

fn serial(chain: &[CertificateDer<'static>]) -> Vec<u8> {
    x509_parser::parse_x509_certificate(&chain[0]).unwrap().1.raw_serial().to_vec()
}

#[test]
fn what_was_revoked_stays_revoked_when_keys_change() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), clock());
    let issue = |authority: &Authority| authority.issue(&request(), &id(), Some(DAY), &Names::default()).unwrap();
    let authority = open(dir.path(), &clock);
    let [before, after, good] = [(); 3].map(|()| issue(&authority));
    authority.revoke(&serial(&before), clock.now() + DAY).unwrap();
    authority.prepare().unwrap();
    let prepared = lists(&authority);
    assert_eq!(prepared.len(), 2, "whoever demands a list has one when the next key begins");
    authority.activate().unwrap();
    // Whoever demands lists takes what both keys signed, and after a restart too.
    let verdict = |authority: &Authority, chain: &[CertificateDer<'static>], lists: &Revocations| {
        let trusted = Trusted::new(authority.bundle()).revocation(RevocationPolicy::Required);
        let set = BundleSet::default().with_all([trusted]).with_revocations(lists.clone());
        peer(Some(chain), &set, Purpose::Client, clock.now()).map(|_| ())
    };
    let is_revoked = Err(verify::Error::Revoked(id().to_string()));
    let anew = issue(&authority);
    assert_eq!(verdict(&authority, &anew, &prepared), Ok(()));
    authority.revoke(&serial(&after), clock.now() + DAY).unwrap();
    let newest = issue(&authority);
    authority.revoke(&serial(&newest), clock.now() + DAY).unwrap();
    for authority in [&authority, &open(dir.path(), &clock)] {
        let lists = lists(authority);
        assert_eq!(lists.len(), 2);
        for chain in [&good, &anew] {
            assert_eq!(verdict(authority, chain, &lists), Ok(()));
        }
        for chain in [&before, &after, &newest] {
            assert_eq!(verdict(authority, chain, &lists), is_revoked);
        }
    }
    // The old key is kept as long as anything that it signed may live, and not if it is revoked itself.
    let old = authority.bundle().authorities().iter().map(|one| one.certificate().clone()).find(|root| {
        let bundle = Bundle::new(parse_trust_domain("td.test").unwrap(), vec![root.clone()]).unwrap();
        peer(Some(&good), &BundleSet::default().with(bundle), Purpose::Client, clock.now()).is_ok()
    });
    let copy = tempfile::tempdir().unwrap();
    std::fs::copy(dir.path().join("authority.json"), copy.path().join("authority.json")).unwrap();
    let other = open(copy.path(), &clock);
    other.revoke_authority(&old.unwrap()).unwrap();
    assert_eq!(lists(&other).len(), 1);
    clock.advance(7 * DAY);
    authority.tick().unwrap();
    assert_eq!(lists(&authority).len(), 1);
}

#[test]
fn tokens_by_the_rules() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), clock());
    let authority = open(dir.path(), &clock);
    let issue = |id: &str, audience: &[&str], life| {
        let audience: Vec<String> = audience.iter().map(|one| (*one).to_owned()).collect();
        authority.issue_jwt(&parse_spiffe_id(id).unwrap(), &audience, life)
    };
    let svid = issue("spiffe://td.test/web", &["db", "cache"], None).unwrap();
    assert_eq!(svid.expires().duration_since(clock.now()).unwrap().as_secs() / 60, 5);
    assert_eq!(svid.audience(), ["db", "cache"]);
    let names: Vec<&String> = svid.claims().keys().collect();
    assert_eq!(names, ["aud", "exp", "iat", "sub"]);
    assert!(matches!(issue("spiffe://td.test/web", &[], None), Err(Error::Token(_))));
    assert!(matches!(issue("spiffe://td.test/web", &[""], None), Err(Error::Token(_))));
    assert!(matches!(issue("spiffe://other.test/web", &["db"], None), Err(Error::Identity(_))));
    assert!(matches!(issue("spiffe://td.test/spire/x", &["db"], None), Err(Error::Identity(_))));
    assert!(matches!(issue("spiffe://td.test/web", &["db"], Some(30 * DAY)), Err(Error::LifeTooLong { .. })));
}

/// A root that is plugged in.
struct Plugged {
    certificate: CertificateDer<'static>,
    key: rcgen::KeyPair,
}

impl Plugged {
    fn new(name: &str) -> Self {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::default();
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Constrained(0));
        params.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign, rcgen::KeyUsagePurpose::CrlSign];
        Self { certificate: params.self_signed(&key).unwrap().der().clone(), key }
    }

    fn plug_into(&self, dir: &Path) {
        let certificate = mesh_identity::pem::encode("CERTIFICATE", &self.certificate);
        for name in ["ca-cert.pem", "cert-chain.pem", "root-cert.pem"] {
            std::fs::write(dir.join(name), &certificate).unwrap();
        }
        let key = mesh_identity::pem::encode("PRIVATE KEY", &self.key.serialize_der());
        std::fs::write(dir.join("ca-key.pem"), key).unwrap();
    }

    /// Whether the state holds a copy of the key.
    fn is_stored(&self, dir: &Path) -> bool {
        use base64::Engine;
        let key = base64::engine::general_purpose::STANDARD.encode(self.key.serialize_der());
        std::fs::read_to_string(dir.join("authority.json")).unwrap().contains(&key)
    }
}

/// Whether what an authority issues now verifies against one root alone.
fn signs_by(authority: &Authority, root: &CertificateDer<'static>, clock: &ManualClock) -> bool {
    let chain = authority.issue(&request(), &id(), None, &Names::default()).unwrap();
    let bundle = Bundle::new(parse_trust_domain("td.test").unwrap(), vec![root.clone()]).unwrap();
    peer(Some(&chain), &BundleSet::default().with(bundle), Purpose::Client, clock.now()).is_ok()
}

fn publishes(authority: &Authority, roots: &[&CertificateDer<'static>]) -> bool {
    let bundle = authority.bundle();
    let published: Vec<_> = bundle.authorities().iter().map(|authority| authority.certificate()).collect();
    published.len() == roots.len() && roots.iter().all(|root| published.contains(root))
}

#[test]
fn a_plugged_in_root_that_is_replaced_gets_its_lead_over_restarts() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), clock());
    let lead = rotate::lead(Rules::default().authority_life);
    let [one, two, three] = ["one", "two", "three"].map(Plugged::new);
    one.plug_into(dir.path());
    let authority = open(dir.path(), &clock);
    assert!(!one.is_stored(dir.path()), "it stands in its file");
    two.plug_into(dir.path());
    authority.tick().unwrap();
    let sequence = authority.bundle().sequence();
    for hours in [0, 1, 100] {
        clock.advance(hours * HOUR);
        let authority = open(dir.path(), &clock);
        authority.tick().unwrap();
        assert!(signs_by(&authority, &one.certificate, &clock));
        assert!(publishes(&authority, &[&one.certificate, &two.certificate]));
        assert_eq!(authority.bundle().sequence(), sequence);
        assert!(one.is_stored(dir.path()) && !two.is_stored(dir.path()));
    }
    // Another one takes its place: it begins its lead anew.
    three.plug_into(dir.path());
    open(dir.path(), &clock).tick().unwrap();
    clock.advance(lead - HOUR);
    let authority = open(dir.path(), &clock);
    authority.tick().unwrap();
    assert!(signs_by(&authority, &one.certificate, &clock));
    assert!(publishes(&authority, &[&one.certificate, &three.certificate]));
    clock.advance(HOUR);
    authority.tick().unwrap();
    for _ in 0..2 {
        let authority = open(dir.path(), &clock);
        authority.tick().unwrap();
        assert!(signs_by(&authority, &three.certificate, &clock));
        assert!(publishes(&authority, &[&one.certificate, &three.certificate]), "what the old one signed lives on");
    }
    clock.advance(9 * DAY);
    let authority = open(dir.path(), &clock);
    authority.tick().unwrap();
    assert!(publishes(&authority, &[&three.certificate]), "nothing that the old one signed is left");
    assert!(!one.is_stored(dir.path()));
}

#[test]
fn a_plugged_in_root_that_is_replaced_while_nobody_looks() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), clock());
    let [one, two] = ["one", "two"].map(Plugged::new);
    one.plug_into(dir.path());
    let (signed, sequence) = {
        let authority = open(dir.path(), &clock);
        let signed = authority.issue(&request(), &id(), None, &Names::default()).unwrap();
        (signed, authority.bundle().sequence())
    };
    two.plug_into(dir.path());
    for _ in 0..3 {
        let authority = open(dir.path(), &clock);
        authority.tick().unwrap();
        assert!(signs_by(&authority, &two.certificate, &clock), "there is no other key");
        assert!(publishes(&authority, &[&one.certificate, &two.certificate]));
        assert_eq!(authority.bundle().sequence(), sequence.map(|sequence| sequence + 1));
        let set = BundleSet::default().with(authority.bundle());
        peer(Some(&signed), &set, Purpose::Client, clock.now()).unwrap();
    }
}

#[test]
fn a_plugged_in_root_that_is_taken_back() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), clock());
    let [one, two] = ["one", "two"].map(Plugged::new);
    one.plug_into(dir.path());
    let mut authority = open(dir.path(), &clock);
    for restart in [false, true] {
        two.plug_into(dir.path());
        authority.tick().unwrap();
        assert!(publishes(&authority, &[&one.certificate, &two.certificate]));
        one.plug_into(dir.path());
        if restart {
            authority = open(dir.path(), &clock);
        }
        authority.tick().unwrap();
        assert!(publishes(&authority, &[&one.certificate]));
        assert!(matches!(authority.activate(), Err(Error::NotPrepared)));
    }
}

#[test]
fn from_a_root_of_our_own_to_a_plugged_in_one() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), clock());
    let own = open(dir.path(), &clock).bundle().authorities()[0].certificate().clone();
    let plugged = Plugged::new("plugged");
    plugged.plug_into(dir.path());
    for _ in 0..3 {
        let authority = open(dir.path(), &clock);
        authority.tick().unwrap();
        assert!(signs_by(&authority, &own, &clock));
        assert!(publishes(&authority, &[&own, &plugged.certificate]));
    }
    clock.advance(rotate::lead(Rules::default().authority_life));
    for _ in 0..3 {
        let authority = open(dir.path(), &clock);
        authority.tick().unwrap();
        assert!(signs_by(&authority, &plugged.certificate, &clock));
        assert!(publishes(&authority, &[&own, &plugged.certificate]));
    }
    // And never back to a new root by accident.
    for name in ["ca-cert.pem", "ca-key.pem"] {
        std::fs::remove_file(dir.path().join(name)).unwrap();
    }
    let domain = parse_trust_domain("td.test").unwrap();
    let opened = Authority::open(dir.path(), domain, Rules::default(), Arc::<ManualClock>::clone(&clock));
    assert!(matches!(opened, Err(Error::Stored(_))));
}

#[test]
fn a_root_that_is_prepared_late_gets_its_whole_lead() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), clock());
    let authority = open(dir.path(), &clock);
    let old = authority.bundle().authorities()[0].certificate().clone();
    clock.advance(18 * DAY);
    authority.tick().unwrap();
    assert_eq!(authority.bundle().authorities().len(), 2);
    let lead = rotate::lead(authority.rules().authority_life);
    for (passed, is_old) in [(lead - Duration::from_secs(1), true), (Duration::from_secs(60), false)] {
        clock.advance(passed);
        authority.tick().unwrap();
        assert_eq!(signs_by(&authority, &old, &clock), is_old, "{passed:?}");
    }
}

#[test]
fn an_authority_that_slept_over_the_end_of_its_key() {
    let (dir, clock) = (tempfile::tempdir().unwrap(), clock());
    let authority = open(dir.path(), &clock);
    clock.advance(16 * DAY);
    authority.tick().unwrap();
    assert_eq!(authority.bundle().authorities().len(), 2, "the next one is published");
    clock.advance(15 * DAY);
    let authority = open(dir.path(), &clock);
    authority.issue(&request(), &id(), None, &Names::default()).unwrap();
}
