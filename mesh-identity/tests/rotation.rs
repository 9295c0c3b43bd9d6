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
    let check = |chain: &[CertificateDer<'static>], list: &[u8]| {
        let set = BundleSet::default().with_all([trusted.clone()]).with_revocations(Revocations::parse(list).unwrap());
        peer(Some(chain), &set, Purpose::Client, clock.now()).map(|_| ())
    };
    let empty = authority.revocation_list().unwrap();
    assert_eq!(check(&bad, &empty), Ok(()));
    authority.revoke(parsed.raw_serial(), clock.now() + HOUR).unwrap();
    let list = open(dir.path(), &clock).revocation_list().unwrap();
    assert_eq!(check(&good, &list), Ok(()));
    assert_eq!(check(&bad, &list), Err(verify::Error::Revoked(id().to_string())));
    // The newer of the two counts, in whichever order they come.
    let [one, two] = [&empty, &list].map(|list| Revocations::parse(list).unwrap());
    for union in [one.union(&two), two.union(&one)] {
        let set = BundleSet::default().with_all([trusted.clone()]).with_revocations(union);
        let verdict = peer(Some(&bad), &set, Purpose::Client, clock.now()).map(|_| ());
        assert_eq!(verdict, Err(verify::Error::Revoked(id().to_string())));
    }
    // A list ends after a day; what it revoked is forgotten a day after the certificate's own end.
    clock.advance(2 * DAY);
    authority.tick().unwrap();
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
