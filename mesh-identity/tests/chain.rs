//! Verification of chains: the matrix of the X509-SVID document, rows named by what is wrong.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a test"
)]

use mesh_core::name::parse_trust_domain;
use mesh_identity::bundle::{self, Bundle, BundleSet, RevocationError, Revocations};
use mesh_identity::svid::{self, X509Svid};
use mesh_identity::verify::{Error, Purpose, peer, still_trusted};
use mesh_test_support::pki::{Ca, Leaf, Spec, at};
use proptest::prelude::*;

const ID: &str = "spiffe://td.test/ns/a/sa/web";

fn trust(domain: &str, ca: &Ca) -> Bundle {
    Bundle::new(parse_trust_domain(domain).unwrap(), vec![ca.certificate.clone()]).unwrap()
}

fn verify(leaf: &Leaf, bundles: &BundleSet) -> Result<String, Error> {
    for purpose in [Purpose::Client, Purpose::Server] {
        peer(Some(&leaf.chain), bundles, purpose, at(0))?;
    }
    peer(Some(&leaf.chain), bundles, Purpose::Client, at(0)).map(|peer| peer.id().to_string())
}

#[test]
fn good_chains() {
    let root = Ca::root("td.test");
    let bundles = BundleSet::default().with(trust("td.test", &root));
    assert_eq!(verify(&root.leaf(&Spec::new(ID)), &bundles).unwrap(), ID);

    let below = root.intermediate("below", "spiffe://td.test", true).intermediate("deeper", "spiffe://td.test", true);
    assert_eq!(verify(&below.leaf(&Spec::new(ID)), &bundles).unwrap(), ID);

    let names = Spec { dns: vec!["web.a".into(), "other".into()], ..Spec::new(ID) };
    assert_eq!(verify(&root.leaf(&names), &bundles).unwrap(), ID);
    let without_purposes = Spec { purposes: vec![], ..Spec::new(ID) };
    assert_eq!(verify(&root.leaf(&without_purposes), &bundles).unwrap(), ID);
}

#[test]
fn leaves_that_are_no_svids() {
    use rcgen::{ExtendedKeyUsagePurpose, KeyUsagePurpose};
    let root = Ca::root("td.test");
    let bundles = BundleSet::default().with(trust("td.test", &root));
    let good = || Spec::new(ID);
    let rows: Vec<(&str, Spec, svid::Error)> = vec![
        ("no URI", Spec { uris: vec![], dns: vec!["a.b".into()], ..good() }, svid::Error::NoUri),
        ("two URIs", Spec { uris: vec![ID.into(), format!("{ID}2")], ..good() }, svid::Error::ManyUris(2)),
        ("the same URI twice", Spec { uris: vec![ID.into(), ID.into()], ..good() }, svid::Error::ManyUris(2)),
        ("no path", Spec::new("spiffe://td.test"), svid::Error::NoPath("spiffe://td.test".into())),
        ("an authority", Spec { ca: true, ..good() }, svid::Error::LeafIsAuthority),
        ("no key usage", Spec { usages: vec![], ..good() }, svid::Error::KeyUsageAbsent),
        (
            "signs certificates",
            Spec { usages: vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::KeyCertSign], ..good() },
            svid::Error::LeafKeyUsage,
        ),
        (
            "signs CRLs",
            Spec { usages: vec![KeyUsagePurpose::DigitalSignature, KeyUsagePurpose::CrlSign], ..good() },
            svid::Error::LeafKeyUsage,
        ),
        (
            "no digital signature",
            Spec { usages: vec![KeyUsagePurpose::KeyEncipherment], ..good() },
            svid::Error::LeafKeyUsage,
        ),
        (
            "server only",
            Spec { purposes: vec![ExtendedKeyUsagePurpose::ServerAuth], ..good() },
            svid::Error::ExtendedKeyUsage,
        ),
        (
            "client only",
            Spec { purposes: vec![ExtendedKeyUsagePurpose::ClientAuth], ..good() },
            svid::Error::ExtendedKeyUsage,
        ),
        (
            "unknown critical extension",
            Spec { unknown_critical: true, ..good() },
            svid::Error::UnknownCriticalExtension("1.3.6.1.4.1.55555.1".into()),
        ),
    ];
    for (row, spec, wanted) in rows {
        assert_eq!(verify(&root.leaf(&spec), &bundles), Err(Error::Svid(wanted)), "{row}");
    }
    for uri in [
        "http://td.test/a",
        "SPIFFE://td.test/a",
        "spiffe://TD.test/a",
        "spiffe://td.test/a/",
        "spiffe://td.test//a",
        "spiffe://td.test/a/../b",
        "spiffe://td.test:1/a",
        "spiffe://u@td.test/a",
        "spiffe://td.test/a?b",
        "spiffe://td.test/a#b",
        "spiffe://td.test/%61",
        "spiffe:///a",
    ] {
        let refused = verify(&root.leaf(&Spec::new(uri)), &bundles);
        assert!(matches!(refused, Err(Error::Svid(svid::Error::SpiffeId(_)))), "{uri}: {refused:?}");
    }
}

#[test]
fn paths_that_lead_nowhere() {
    let (root, other) = (Ca::root("td.test"), Ca::root("td.test"));
    let bundles = BundleSet::default().with(trust("td.test", &root));
    let id = || ID.to_owned();

    assert_eq!(verify(&other.leaf(&Spec::new(ID)), &bundles), Err(Error::UnknownIssuer(id())), "same name, other key");
    let expired = Spec { validity: (-7200, -3600), ..Spec::new(ID) };
    assert_eq!(verify(&root.leaf(&expired), &bundles), Err(Error::Expired(id())));
    let early = Spec { validity: (3600, 7200), ..Spec::new(ID) };
    assert_eq!(verify(&root.leaf(&early), &bundles), Err(Error::NotValidYet(id())));
    let foreign = Spec::new("spiffe://other.test/a");
    assert_eq!(verify(&root.leaf(&foreign), &bundles), Err(Error::UnknownTrustDomain("other.test".into())));

    let mut missing = root.intermediate("below", "spiffe://td.test", true).leaf(&Spec::new(ID));
    missing.chain.truncate(1);
    assert_eq!(verify(&missing, &bundles), Err(Error::UnknownIssuer(id())), "intermediate left out");

    let named = root.intermediate("below", "spiffe://td.test/ns/a/sa/ca", true).leaf(&Spec::new(ID));
    let refused = verify(&named, &bundles);
    assert!(matches!(refused, Err(Error::Issuer { source: svid::Error::NotAuthority, .. })), "{refused:?}");
    let mute = root.intermediate("below", "spiffe://td.test", false).leaf(&Spec::new(ID));
    let refused = verify(&mute, &bundles);
    assert!(matches!(refused, Err(Error::Issuer { source: svid::Error::NotAuthority, .. })), "{refused:?}");

    assert_eq!(peer(None, &bundles, Purpose::Client, at(0)).unwrap_err(), Error::NoCertificate);
    let mut long = root.leaf(&Spec::new(ID));
    long.chain.extend(std::iter::repeat_n(root.certificate.clone(), 10));
    assert_eq!(verify(&long, &bundles), Err(Error::ChainTooLong(11)));
    let mut large = root.leaf(&Spec::new(ID));
    large.chain.push(vec![0; 16 * 1024 + 1].into());
    assert_eq!(verify(&large, &bundles), Err(Error::CertificateTooLarge(16 * 1024 + 1)));
}

#[test]
fn a_trusted_domain_cannot_name_another() {
    let (one, two) = (Ca::root("one.test"), Ca::root("two.test"));
    let both: BundleSet = [trust("one.test", &one), trust("two.test", &two)].into_iter().collect();
    let forged = one.leaf(&Spec::new("spiffe://two.test/ns/a/sa/web"));
    assert_eq!(verify(&forged, &both), Err(Error::UnknownIssuer("spiffe://two.test/ns/a/sa/web".into())));
}

#[test]
fn many_roots_of_one_name() {
    // The right root is found among more roots of one subject than path building would try one by one.
    let roots: Vec<Ca> = (0..60).map(|_| Ca::root("td.test")).collect();
    let all = roots.iter().map(|ca| ca.certificate.clone()).collect();
    let bundle = Bundle::new(parse_trust_domain("td.test").unwrap(), all).unwrap();
    let bundles = BundleSet::default().with(bundle);
    for ca in &roots {
        assert_eq!(verify(&ca.leaf(&Spec::new(ID)), &bundles).unwrap(), ID);
    }
}

#[test]
fn what_is_no_bundle() {
    let domain = || parse_trust_domain("td.test").unwrap();
    let root = Ca::root("td.test");
    assert_eq!(Bundle::new(domain(), vec![]), Err(bundle::Error::Empty("td.test".into())));
    assert_eq!(Bundle::from_pem(domain(), b"nothing"), Err(bundle::Error::Empty("td.test".into())));
    let leaf = root.leaf(&Spec::new(ID)).chain.remove(0);
    let refused = Bundle::new(domain(), vec![root.certificate.clone(), leaf]).unwrap_err();
    assert_eq!(refused.to_string(), "certificate 1 of the bundle cannot be an authority");
    let many = vec![root.certificate.clone(); 1001];
    assert_eq!(Bundle::new(domain(), many), Err(bundle::Error::TooMany(1001)));
    let bundle = trust("td.test", &root);
    assert_eq!(Bundle::from_pem(domain(), bundle.to_pem().as_bytes()), Ok(bundle));
}

#[test]
fn own_svids() {
    let root = Ca::root("td.test");
    let (one, two) = (root.leaf(&Spec::new(ID)), root.leaf(&Spec::new(ID)));
    let svid = X509Svid::parse(one.chain.clone(), one.key.clone_key()).unwrap();
    assert_eq!(svid.id().to_string(), ID);
    let again = X509Svid::from_pem(svid.to_pem().as_bytes()).unwrap();
    assert_eq!((again.chain(), again.serial()), (svid.chain(), svid.serial()));
    assert!(!format!("{svid:?}").contains("key"), "a key never reaches a log");
    assert_eq!(X509Svid::parse(one.chain, two.key).unwrap_err(), svid::Error::KeyMismatch);
    assert_eq!(X509Svid::parse(vec![], root.leaf(&Spec::new(ID)).key).unwrap_err(), svid::Error::EmptyChain);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn altered_certificates_are_refused_and_never_panic(changes in proptest::collection::vec((any::<usize>(), 1_u8..), 1..4)) {
        let root = Ca::root("td.test");
        let bundles = BundleSet::default().with(trust("td.test", &root));
        let mut leaf = root.leaf(&Spec::new(ID));
        let mut der = leaf.chain[0].to_vec();
        for (index, change) in changes {
            let length = der.len();
            der[index % length] ^= change;
        }
        if der == leaf.chain[0].to_vec() {
            return Ok(());
        }
        leaf.chain[0] = der.into();
        prop_assert!(verify(&leaf, &bundles).is_err());
    }

    #[test]
    fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let bundles = BundleSet::default();
        prop_assert!(peer(Some(&[bytes.clone().into()]), &bundles, Purpose::Client, at(0)).is_err());
        prop_assert!(X509Svid::from_pem(&bytes).is_err());
    }
}

#[test]
fn revoked_certificates_anywhere_in_the_chain() {
    let root = Ca::root("td.test");
    let below = root.intermediate("below", "spiffe://td.test", true);
    let (good, bad, deep) = (root.leaf(&Spec::new(ID)), root.leaf(&Spec::new(ID)), below.leaf(&Spec::new(ID)));
    let trusting = BundleSet::default().with(trust("td.test", &root));
    let with = |der: Vec<u8>| trusting.with_revocations(Revocations::parse(&der).unwrap());

    let one = with(root.revoke(&[&bad.chain[0]]));
    assert_eq!(verify(&good, &one).unwrap(), ID);
    assert_eq!(verify(&bad, &one), Err(Error::Revoked(ID.into())));
    assert_eq!(verify(&bad, &trusting).unwrap(), ID);

    let intermediate = with(root.revoke(&[&below.certificate]));
    assert_eq!(verify(&deep, &intermediate), Err(Error::Revoked(ID.into())));
    // A list in the name of our authority that it did not sign says nothing.
    let stranger = with(Ca::root("td.test").revoke(&[&bad.chain[0]]));
    assert_eq!(verify(&bad, &stranger).unwrap(), ID);

    let pem = |der: &[u8]| {
        use base64::Engine as _;
        let text = base64::engine::general_purpose::STANDARD.encode(der);
        format!("-----BEGIN X509 CRL-----\n{text}\n-----END X509 CRL-----\n")
    };
    let two = format!("{}{}", pem(&root.revoke(&[&bad.chain[0]])), pem(&below.revoke(&[&deep.chain[0]])));
    let two = with(two.into_bytes());
    assert_eq!(two.revocations().len(), 2);
    assert_eq!(verify(&deep, &two), Err(Error::Revoked(ID.into())));
    assert!(matches!(Revocations::parse(b""), Err(RevocationError::Der(0, _))));
    assert!(matches!(Revocations::parse(b"-----BEGIN CERTIFICATE-----\n"), Err(RevocationError::Pem(_))));
}

#[test]
fn what_a_list_says_and_what_it_does_not() {
    use mesh_identity::bundle::{RevocationPolicy, Trusted};
    use mesh_test_support::pki::List;
    let root = Ca::root("td.test");
    let bad = root.leaf(&Spec::new(ID));
    let below = root.intermediate("below", "spiffe://td.test", true);
    let deep = below.leaf(&Spec::new(ID));
    let set = |policy, lists: &[Vec<u8>]| {
        let trusting = BundleSet::default().with_all([Trusted::new(trust("td.test", &root)).revocation(policy)]);
        let read = lists.iter().map(|list| Revocations::parse(list).unwrap());
        trusting.with_revocations(read.fold(Revocations::default(), |all, one| all.union(&one)))
    };
    let fresh = List { validity: (-60, 3600), ..List::default() };
    let [empty, revoking] = [root.list(&[], &fresh), root.list(&[&bad.chain[0]], &fresh)];
    let (soft, required) = (RevocationPolicy::Soft, RevocationPolicy::Required);
    let revoked = || Err(Error::Revoked(ID.into()));
    let unknown = || Err(Error::RevocationUnknown(ID.into()));
    let good = || Ok(ID.to_owned());
    let other = root.namesake();
    let silent = root.intermediate_without_lists("below");
    type Row<'a> = (&'static str, RevocationPolicy, Vec<Vec<u8>>, &'a Leaf, Result<String, Error>);
    let rows: Vec<Row<'_>> = vec![
        ("R01 leaf", soft, vec![revoking.clone()], &bad, revoked()),
        ("R01 intermediate", soft, vec![root.list(&[&below.certificate], &fresh)], &deep, revoked()),
        ("R02 past its end, soft", soft, vec![root.list(&[], &List::default())], &bad, good()),
        ("R02 past its end, required", required, vec![root.list(&[], &List::default())], &bad, unknown()),
        ("R02 past its end, still revokes", required, vec![root.revoke(&[&bad.chain[0]])], &bad, revoked()),
        (
            "R03 of tomorrow",
            soft,
            vec![root.list(&[&bad.chain[0]], &List { validity: (60, 90), ..fresh })],
            &bad,
            good(),
        ),
        ("R04 of another key", required, vec![other.list(&[], &fresh)], &bad, unknown()),
        ("R05 two of one name", soft, vec![other.list(&[], &fresh), revoking.clone()], &bad, revoked()),
        (
            "R06 an older one after a newer",
            soft,
            vec![root.list(&[&bad.chain[0]], &List { number: 300, ..fresh }), empty.clone()],
            &bad,
            revoked(),
        ),
        ("R06 a newer one", soft, vec![revoking.clone(), root.list(&[], &List { number: 300, ..fresh })], &bad, good()),
        (
            "R07 of authorities only",
            soft,
            vec![root.list(&[&bad.chain[0]], &List { authorities_only: true, ..fresh })],
            &bad,
            good(),
        ),
        ("R08 none, soft", soft, vec![], &bad, good()),
        ("R08 none, required", required, vec![], &bad, unknown()),
        ("fresh and required", required, vec![empty.clone()], &bad, good()),
        ("an intermediate without a list", required, vec![empty], &deep, unknown()),
    ];
    for (row, policy, lists, leaf, wanted) in rows {
        assert_eq!(verify(leaf, &set(policy, &lists)), wanted, "{row}");
    }
    // R04: an issuer that may not sign lists.
    let leaf = silent.leaf(&Spec::new(ID));
    assert_eq!(verify(&leaf, &set(soft, &[silent.list(&[&leaf.chain[0]], &fresh)])), good());
}

#[test]
fn a_list_that_its_issuer_did_not_sign_displaces_none() {
    use mesh_test_support::pki::List;
    let root = Ca::root("td.test");
    let bad = root.leaf(&Spec::new(ID));
    let fresh = |number| List { validity: (-60, 3600), number, ..List::default() };
    let parse = |der: &[u8]| Revocations::parse(der).unwrap();
    let real = root.list(&[&bad.chain[0]], &fresh(1));
    let forged = |number| {
        let mut forged = root.list(&[], &fresh(number));
        *forged.last_mut().unwrap() ^= 1;
        forged
    };
    let trusting = BundleSet::default().with(trust("td.test", &root));
    let verdict = |lists: &Revocations| verify(&bad, &trusting.with_revocations(lists.clone()));
    let store =
        mesh_identity::trust::TrustStore::builder(std::sync::Arc::new(mesh_identity::clock::SystemClock)).build();
    store.own(trust("td.test", &root));
    store.revoke(&parse(&real));
    let mut known = parse(&real);
    for number in 300..320 {
        let forged = parse(&forged(number));
        // Whether or not anybody asked what the lists say in between.
        for union in [known.union(&forged), forged.union(&parse(&real))] {
            assert_eq!(verdict(&union), Err(Error::Revoked(ID.into())), "{number}");
        }
        known = known.union(&forged);
        store.revoke(&forged);
    }
    // A store is flooded before anybody asks: it knows by its authorities who signed.
    assert_eq!(verify(&bad, &store.bundles().load()), Err(Error::Revoked(ID.into())));
    assert!(known.len() <= 9, "{}", known.len());
    // A newer one of its own does, and the older one is not kept.
    let newer = parse(&root.list(&[], &fresh(2)));
    for union in [known.union(&newer), newer.union(&known)] {
        assert_eq!(verdict(&union).unwrap(), ID);
    }
    let mut own = parse(&real);
    for number in 2..50 {
        assert_eq!(verdict(&own).is_ok(), number > 2);
        own = own.union(&parse(&root.list(&[], &fresh(number))));
        assert_eq!(own.len(), 1);
    }
}

#[test]
fn a_bad_path_does_not_hide_a_good_one() {
    for count in [2, 9] {
        let mut roots: Vec<Ca> = (0..count).map(|_| Ca::root("td.test")).collect();
        roots.sort_by(|a, b| a.certificate.cmp(&b.certificate));
        let all = roots.iter().map(|ca| ca.certificate.clone()).collect();
        let bundles = BundleSet::default().with(Bundle::new(parse_trust_domain("td.test").unwrap(), all).unwrap());
        let below = roots[0].intermediate("below", "spiffe://td.test", true);
        let mut leaf = below.leaf(&Spec::new(ID));
        // One key, certified by all the roots, by all but one as a workload, which may issue nothing.
        let mut with = |good: Option<usize>| {
            leaf.chain.truncate(1);
            leaf.chain.extend(roots.iter().enumerate().map(|(index, root)| {
                root.cross(&below, if good == Some(index) { "spiffe://td.test" } else { "spiffe://td.test/web" })
            }));
            verify(&leaf, &bundles)
        };
        for good in 0..count {
            assert_eq!(with(Some(good)).unwrap(), ID, "{good} of {count}");
        }
        let refused = with(None);
        assert!(matches!(refused, Err(Error::Issuer { source: svid::Error::NotAuthority, .. })), "{refused:?}");
    }
}

#[test]
fn a_bundle_that_nobody_confirmed_for_too_long() {
    use mesh_identity::bundle::Trusted;
    let root = Ca::root("td.test");
    let leaf = root.leaf(&Spec::new(ID));
    let until =
        |seconds| BundleSet::default().with_all([Trusted::new(trust("td.test", &root)).until(Some(at(seconds)))]);
    assert_eq!(verify(&leaf, &until(10)).unwrap(), ID);
    assert!(matches!(verify(&leaf, &until(-10)), Err(Error::StaleBundle { .. })));
}

#[test]
fn a_peer_of_old_is_trusted_past_its_end_and_no_longer_than_trust_lasts() {
    use mesh_identity::bundle::{RevocationPolicy, Trusted};
    use mesh_test_support::pki::List;
    let root = Ca::root("td.test");
    let ended = || Spec { validity: (-7200, -3600), ..Spec::new(ID) };
    let (old, current) = (root.leaf(&ended()), root.leaf(&Spec::new(ID)));
    let below = root.intermediate("below", "spiffe://td.test", true);
    let deep = below.leaf(&ended());
    let trusting = || Trusted::new(trust("td.test", &root));
    let set = |trusted: Trusted, lists: &[Vec<u8>]| {
        let read = lists.iter().map(|list| Revocations::parse(list).unwrap());
        let lists = read.fold(Revocations::default(), |all, one| all.union(&one));
        BundleSet::default().with_all([trusted]).with_revocations(lists)
    };
    let fresh = List { validity: (-60, 3600), ..List::default() };
    let revoked = || Err(Error::Revoked(ID.into()));
    let good = || Ok(ID.to_owned());
    type Row<'a> = (&'static str, BundleSet, &'a Leaf, Result<String, Error>);
    let rows: Vec<Row<'_>> = vec![
        ("in date", set(trusting(), &[]), &current, good()),
        ("ended", set(trusting(), &[]), &old, good()),
        ("in date and revoked", set(trusting(), &[root.list(&[&current.chain[0]], &fresh)]), &current, revoked()),
        ("ended, then revoked", set(trusting(), &[root.list(&[&old.chain[0]], &fresh)]), &old, revoked()),
        ("ended, its issuer revoked", set(trusting(), &[root.list(&[&below.certificate], &fresh)]), &deep, revoked()),
        (
            "ended, a list of after its end is what counts",
            set(trusting().revocation(RevocationPolicy::Required), &[root.list(&[], &fresh)]),
            &old,
            good(),
        ),
        (
            "ended, no fresh list",
            set(trusting().revocation(RevocationPolicy::Required), &[root.list(&[], &List::default())]),
            &old,
            Err(Error::RevocationUnknown(ID.into())),
        ),
        (
            "ended, the domain gone",
            BundleSet::default().with(trust("other.test", &root)),
            &old,
            Err(Error::UnknownTrustDomain("td.test".into())),
        ),
        (
            "ended, the root exchanged",
            BundleSet::default().with(trust("td.test", &Ca::root("td.test"))),
            &old,
            Err(Error::UnknownIssuer(ID.into())),
        ),
    ];
    for (row, bundles, leaf, wanted) in rows {
        for purpose in [Purpose::Client, Purpose::Server] {
            let judged = still_trusted(&leaf.chain, &bundles, purpose, at(0)).map(|peer| peer.id().to_string());
            assert_eq!(judged, wanted, "{row}");
        }
    }
    let stale = set(trusting().until(Some(at(-10))), &[]);
    let judged = still_trusted(&old.chain, &stale, Purpose::Client, at(0));
    assert!(matches!(judged, Err(Error::StaleBundle { .. })), "the bundle is stale now, whenever the peer ended");
    assert_eq!(still_trusted(&[], &stale, Purpose::Client, at(0)), Err(Error::NoCertificate));
    let early = root.leaf(&Spec { validity: (60, 90), ..Spec::new(ID) });
    let judged = still_trusted(&early.chain, &set(trusting(), &[]), Purpose::Client, at(0));
    assert_eq!(judged, Err(Error::NotValidYet(ID.into())));
}

#[test]
fn structure_that_hides_something() {
    let root = Ca::root("td.test");
    let bundles = BundleSet::default().with(trust("td.test", &root));
    let good = || Spec::new(ID);
    let refused = |spec: Spec| match verify(&root.leaf(&spec), &bundles) {
        Err(Error::Svid(error)) => error,
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(Spec { repeated_extension: true, ..good() }), svid::Error::RepeatedExtension);
    assert_eq!(refused(Spec { serial: vec![0], ..good() }), svid::Error::Serial);
    assert_eq!(refused(Spec { serial: vec![1; 21], ..good() }), svid::Error::Serial);
    assert_eq!(verify(&root.leaf(&Spec { serial: vec![0x7f; 20], ..good() }), &bundles).unwrap(), ID);
    let mut trailing = root.leaf(&good());
    trailing.chain[0] = [trailing.chain[0].as_ref(), &[0]].concat().into();
    assert_eq!(verify(&trailing, &bundles), Err(Error::Svid(svid::Error::Malformed("trailing bytes"))));
    // Chains out of order, with duplicates, the root, and strangers among them (X28).
    let deep = root.intermediate("one", "spiffe://td.test", true).intermediate("two", "spiffe://td.test", true);
    let mut leaf = deep.leaf(&good());
    leaf.chain[1..].reverse();
    leaf.chain.push(root.certificate.clone());
    leaf.chain.push(leaf.chain[1].clone());
    leaf.chain.push(Ca::root("stranger.test").certificate);
    assert_eq!(verify(&leaf, &bundles).unwrap(), ID);
    // Bounds of validity are inclusive (X14).
    for (validity, wanted) in [((0, 60), true), ((-60, 0), true), ((1, 60), false), ((-60, -1), false)] {
        let now = std::time::UNIX_EPOCH
            + std::time::Duration::from_secs(at(0).duration_since(std::time::UNIX_EPOCH).unwrap().as_secs());
        let leaf = root.leaf(&Spec { validity, from: Some(now), ..good() });
        assert_eq!(peer(Some(&leaf.chain), &bundles, Purpose::Client, now).is_ok(), wanted, "{validity:?}");
    }
    // One path length too many (X20).
    let narrow = root.intermediate_of_length("narrow", 0);
    assert_eq!(verify(&narrow.leaf(&good()), &bundles).unwrap(), ID);
    assert!(verify(&narrow.intermediate("below", "spiffe://td.test", true).leaf(&good()), &bundles).is_err());
}
