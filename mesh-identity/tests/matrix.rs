//! Rows of the verification matrix that the other tests do not hold: algorithms, names between trust domains, limits of what a
//! chain may cost, handshakes, the Workload API's edges, an authority's crashes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a test"
)]

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use mesh_core::live::{Live, Publisher};
use mesh_core::name::{SpiffeId, TrustDomain, parse_spiffe_id, parse_trust_domain};
use mesh_identity::authority::{Authority, Names, Rules};
use mesh_identity::bundle::{Bundle, BundleSet};
use mesh_identity::clock::{Clock, ManualClock, SystemClock};
use mesh_identity::source::{Cache, Error as SourceError, Fetch, Identities, LocalSource, SvidSource, SvidState};
use mesh_identity::tls::Identity;
use mesh_identity::verify::{self, Error, Expected, Purpose};
use mesh_test_support::pki::{Ca, Spec, at};
use rcgen::{BasicConstraints, CertificateParams, CustomExtension, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

fn td(name: &str) -> TrustDomain {
    parse_trust_domain(name).unwrap()
}

fn id(text: &str) -> SpiffeId {
    parse_spiffe_id(text).unwrap()
}

fn trust(domain: &str, roots: &[&CertificateDer<'static>]) -> Bundle {
    Bundle::new(td(domain), roots.iter().map(|root| (*root).clone()).collect()).unwrap()
}

fn check(chain: &[CertificateDer<'static>], bundles: &BundleSet) -> Result<String, Error> {
    verify::peer(Some(chain), bundles, Purpose::Client, at(0)).map(|peer| peer.id().to_string())
}

#[test]
fn names_of_any_length_that_is_allowed() {
    // I13: 2,048 bytes in all, and no more.
    let longest = format!("spiffe://td.test/{}", "a".repeat(2048 - "spiffe://td.test/".len()));
    assert!(parse_spiffe_id(&longest).is_ok());
    assert!(parse_spiffe_id(&format!("{longest}a")).is_err());
    // I14, I15.
    assert_ne!(id("spiffe://td.test/A"), id("spiffe://td.test/a"));
    let member = Expected::TrustDomain(td("td"));
    for other in ["td.evil", "evil-td"] {
        let ca = Ca::root(other);
        let bundles = BundleSet::default().with(trust(other, &[&ca.certificate]));
        let leaf = ca.leaf(&Spec::new(&format!("spiffe://{other}/x")));
        let peer = verify::peer(Some(&leaf.chain), &bundles, Purpose::Client, at(0)).unwrap();
        assert!(member.check(&peer).is_err());
    }
}

#[test]
fn algorithms_and_keys_of_authorities() {
    // X30, with chains that openssl made: leaf, then root.
    let chain = |pem: &str| -> Vec<CertificateDer<'static>> {
        CertificateDer::pem_slice_iter(pem.as_bytes()).collect::<Result<_, _>>().unwrap()
    };
    let verdict = |pem: &str| {
        let both = chain(pem);
        let Ok(bundle) = Bundle::new(td("td.test"), vec![both[1].clone()]) else { return false };
        check(&both[..1], &BundleSet::default().with(bundle)).is_ok()
    };
    assert!(verdict(include_str!("evidence/chain/rsa-2048-sha256.pem")));
    assert!(verdict(include_str!("evidence/chain/p384-sha384.pem")));
    assert!(!verdict(include_str!("evidence/chain/rsa-1024-sha256.pem")));
    assert!(!verdict(include_str!("evidence/chain/rsa-2048-sha1.pem")));
    assert!(!verdict(include_str!("evidence/chain/p256-explicit.pem")));
}

#[test]
fn between_trust_domains() {
    let ca = Ca::root("a.test");
    // X22: one key in two bundles speaks for each domain by that domain's own entry.
    let both: BundleSet =
        [trust("a.test", &[&ca.certificate]), trust("b.test", &[&ca.certificate])].into_iter().collect();
    let leaf = ca.leaf(&Spec::new("spiffe://b.test/x"));
    assert!(check(&leaf.chain, &both).is_ok());
    assert!(check(&leaf.chain, &both.without(&td("b.test"))).is_err());
    // X26: an intermediate that is named for another domain is odd, and allowed.
    let odd = ca.intermediate("odd", "spiffe://other.test", true).leaf(&Spec::new("spiffe://a.test/x"));
    assert!(check(&odd.chain, &both).is_ok());
    // P12: who hears of the other's new root lets it in; the other, who has not heard, does not.
    let (new_a, old_b) = (ca.namesake(), Ca::root("b.test"));
    let (at_b, at_a) = (
        BundleSet::default().with(trust("a.test", &[&ca.certificate, &new_a.certificate])),
        BundleSet::default().with(trust("b.test", &[&old_b.certificate])),
    );
    assert!(check(&new_a.leaf(&Spec::new("spiffe://a.test/x")).chain, &at_b).is_ok());
    let new_b = old_b.namesake().leaf(&Spec::new("spiffe://b.test/x"));
    assert_eq!(check(&new_b.chain, &at_a), Err(Error::UnknownIssuer("spiffe://b.test/x".into())));
}

/// An authority whose certificate another signed too, or which carries name constraints.
fn below(
    issuer: &Issuer<'_, KeyPair>,
    name: &str,
    extension: Option<Vec<u8>>,
) -> (CertificateDer<'static>, Issuer<'static, KeyPair>) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    if let Some(content) = extension {
        let mut constraints = CustomExtension::from_oid_content(&[2, 5, 29, 30], content);
        constraints.set_criticality(true);
        params.custom_extensions = vec![constraints];
    }
    (params.signed_by(&key, issuer).unwrap().der().clone(), Issuer::new(params, key))
}

fn root(name: &str) -> (CertificateDer<'static>, Issuer<'static, KeyPair>) {
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    (params.self_signed(&key).unwrap().der().clone(), Issuer::new(params, key))
}

fn leaf(issuer: &Issuer<'_, KeyPair>, dns: Option<&str>) -> CertificateDer<'static> {
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.subject_alt_names = vec![SanType::URI("spiffe://td.test/web".try_into().unwrap())];
    params.subject_alt_names.extend(dns.map(|name| SanType::DnsName(name.try_into().unwrap())));
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.signed_by(&KeyPair::generate().unwrap(), issuer).unwrap().der().clone()
}

#[test]
fn signed_crosswise_and_constrained() {
    let (root_certificate, root) = root("root");
    let bundles = BundleSet::default().with(trust("td.test", &[&root_certificate]));
    // X27: the old root signs the new one's key; who knows the old alone follows.
    let (crossed, new) = below(&root, "new root", None);
    assert!(check(&[leaf(&new, None), crossed], &bundles).is_ok());
    // X33: permitted or excluded URI names. Our path validation does not read them, and so refuses.
    let constraint = |tag: u8, name_tag: u8, name: &str| {
        let subtree = [&[name_tag, u8::try_from(name.len()).unwrap()][..], name.as_bytes()].concat();
        let subtree = [&[0x30, u8::try_from(subtree.len()).unwrap()][..], &subtree].concat();
        let trees = [&[tag, u8::try_from(subtree.len()).unwrap()][..], &subtree].concat();
        [&[0x30, u8::try_from(trees.len()).unwrap()][..], &trees].concat()
    };
    for extension in [constraint(0xa0, 0x86, "td.test"), constraint(0xa1, 0x86, "other.test")] {
        let (certificate, issuer) = below(&root, "constrained", Some(extension));
        assert!(check(&[leaf(&issuer, None), certificate], &bundles).is_err());
    }
    // X34: DNS names are held to theirs.
    let (certificate, issuer) = below(&root, "names", Some(constraint(0xa0, 0x82, "td.test")));
    assert!(check(&[leaf(&issuer, Some("web.td.test")), certificate.clone()], &bundles).is_ok());
    assert!(check(&[leaf(&issuer, Some("web.evil.test")), certificate], &bundles).is_err());
}

#[test]
fn chains_that_are_meant_to_cost_much() {
    // X36: nine authorities of one name that all sign each other, and a leaf whose issuer is none of them.
    let (root_certificate, _) = root("root");
    let bundles = BundleSet::default().with(trust("td.test", &[&root_certificate]));
    let (_, stranger) = root("loop");
    let mut chain = vec![leaf(&stranger, None)];
    let mut last = stranger;
    for _ in 0..9 {
        let (certificate, next) = below(&last, "loop", None);
        chain.push(certificate);
        last = next;
    }
    let start = Instant::now();
    assert!(check(&chain, &bundles).is_err());
    chain.push(chain[1].clone());
    assert_eq!(check(&chain, &bundles), Err(Error::ChainTooLong(11)));
    assert!(check(&[vec![0x30; 1024 * 1024].into()], &bundles).is_err());
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    // X23: nobody, and nobody's tokens either.
    let empty = BundleSet::default().with(Bundle::of(td("td.test"), Vec::new(), Vec::new()));
    assert_eq!(check(&chain[..1], &empty), Err(Error::NoValidAuthority("td.test".into())));
}

fn authority(dir: &Path, clock: &Arc<ManualClock>) -> Authority {
    Authority::open(dir, td("td.test"), Rules::default(), Arc::<ManualClock>::clone(clock)).unwrap()
}

#[test]
fn an_authority_that_crashes_goes_on_where_it_was() {
    // K09: opened anew after each step, as after a crash.
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::new(at(0)));
    let first = authority(dir.path(), &clock).bundle();
    authority(dir.path(), &clock).prepare().unwrap();
    let both = authority(dir.path(), &clock).bundle();
    assert_eq!(both.authorities().len(), 2);
    assert!(first.authorities().iter().all(|old| both.authorities().contains(old)));
    let issue = |authority: &Authority| {
        let key = KeyPair::generate().unwrap();
        let request = CertificateParams::default().serialize_request(&key).unwrap().der().to_vec();
        authority.issue_to_key(&request, &id("spiffe://td.test/web"), None, &Names::default()).unwrap()
    };
    // What is prepared does not sign yet: a verifier that missed it verifies.
    let known = |bundle: &Arc<Bundle>, chain: &[CertificateDer<'static>]| {
        verify::peer(Some(chain), &BundleSet::default().with(Arc::clone(bundle)), Purpose::Client, clock.now()).is_ok()
    };
    assert!(known(&first, &issue(&authority(dir.path(), &clock))));
    authority(dir.path(), &clock).activate().unwrap();
    let chain = issue(&authority(dir.path(), &clock));
    assert!(known(&both, &chain) && !known(&first, &chain));
    assert_eq!(authority(dir.path(), &clock).bundle().authorities().len(), 2);
}

#[test]
fn serial_numbers_and_ends() {
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::new(at(0)));
    let authority = authority(dir.path(), &clock);
    let key = KeyPair::generate().unwrap();
    let request = CertificateParams::default().serialize_request(&key).unwrap().der().to_vec();
    let issue = || authority.issue_to_key(&request, &id("spiffe://td.test/web"), None, &Names::default());
    // K11.
    let mut serials = BTreeSet::new();
    for _ in 0..500 {
        let chain = issue().unwrap();
        let (_, leaf) = x509_parser::parse_x509_certificate(&chain[0]).unwrap();
        let serial = leaf.raw_serial().to_vec();
        assert!(serial.len() <= 20 && serial[0] & 0x80 == 0);
        assert!(serials.insert(serial));
    }
    // K08: near the end of the issuer shortened, at its end refused.
    let end = authority.not_after();
    let till = |left: u64| end.duration_since(clock.now()).unwrap() - Duration::from_secs(left);
    clock.advance(till(600));
    let chain = issue().unwrap();
    let (_, leaf) = x509_parser::parse_x509_certificate(&chain[0]).unwrap();
    let not_after = u64::try_from(leaf.validity().not_after.timestamp()).unwrap();
    assert!(not_after <= end.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs());
    clock.advance(till(10));
    assert!(issue().is_err());
}

/// Never answers with an SVID.
#[derive(Debug)]
struct Cut;

impl SvidSource for Cut {
    fn fetch<'a>(&'a self, id: &'a SpiffeId) -> Fetch<'a> {
        Box::pin(async move { Err(SourceError::Timeout { id: id.to_string(), seconds: 10 }) })
    }
}

#[tokio::test]
async fn restarts_while_cut_off() {
    // P04, P05.
    let dir = tempfile::tempdir().unwrap();
    let clock = Arc::new(ManualClock::new(at(0)));
    let authority =
        Arc::new(Authority::ephemeral(td("td.test"), Rules::default(), Arc::<ManualClock>::clone(&clock)).unwrap());
    let bundles = BundleSet::default().with(authority.bundle());
    let start = |source: Arc<dyn SvidSource>| {
        let cache = Cache::open(dir.path()).unwrap();
        Identities::builder(source, bundles.clone()).cache(cache).clock(Arc::<ManualClock>::clone(&clock)).build()
    };
    let web = id("spiffe://td.test/web");
    let local = LocalSource::new(Arc::clone(&authority), Duration::from_secs(600), Names::default());
    start(Arc::new(local)).identity(&web).await.unwrap();
    let restarted = start(Arc::new(Cut));
    let begin = Instant::now();
    let identity = restarted.identity(&web).await.unwrap();
    assert!(begin.elapsed() < Duration::from_secs(1));
    let shake = async |identity: &Identity| {
        let server = identity.server_config(&[b"x"]).unwrap();
        let client = identity.client_config(Expected::Anyone, &[b"x"]).unwrap();
        let (near, far) = tokio::io::duplex(64 * 1024);
        let accept = tokio_rustls::TlsAcceptor::from(server).accept(far);
        let connect = tokio_rustls::TlsConnector::from(client).connect("x".try_into().unwrap(), near);
        let (accepted, connected) = tokio::join!(accept, connect);
        accepted.is_ok() && connected.is_ok()
    };
    assert!(shake(&identity).await);
    // Past its end it is never presented, by those who hold it or by those who start anew.
    clock.advance(Duration::from_secs(601));
    assert!(identity.svid().is_none());
    assert!(!shake(&identity).await);
    assert!(start(Arc::new(Cut)).identity(&web).await.is_err());
}

#[tokio::test]
async fn no_session_is_taken_up_again() {
    // X39: the second handshake is as whole as the first, and trust that was withdrawn in between counts.
    let authority = Authority::ephemeral(td("td.test"), Rules::default(), Arc::new(SystemClock)).unwrap();
    let source = LocalSource::new(Arc::new(authority), Duration::from_secs(600), Names::default());
    let issued = source.fetch(&id("spiffe://td.test/web")).await.unwrap();
    let (publisher, bundles) = Publisher::new(BundleSet::default().with(issued.bundle));
    let state = SvidState { svid: Some(Arc::new(issued.svid)), last_error: None, rotations: 1 };
    let me = Identity::new(id("spiffe://td.test/web"), Live::constant(state), bundles, Arc::new(SystemClock));
    let acceptor = tokio_rustls::TlsAcceptor::from(me.server_config(&[b"x"]).unwrap());
    let connector = tokio_rustls::TlsConnector::from(me.client_config(Expected::Anyone, &[b"x"]).unwrap());
    let once = async || {
        let (near, far) = tokio::io::duplex(64 * 1024);
        let (accepted, connected) =
            tokio::join!(acceptor.accept(far), connector.connect("x".try_into().unwrap(), near));
        accepted.is_ok().then(|| connected.ok()).flatten().and_then(|tls| tls.get_ref().1.handshake_kind())
    };
    assert_eq!(once().await, Some(rustls::HandshakeKind::Full));
    assert_eq!(once().await, Some(rustls::HandshakeKind::Full));
    publisher.publish(BundleSet::default());
    assert_eq!(once().await, None);
}

#[cfg(unix)]
mod workload_api {
    use envoy_types::pb::envoy::service::discovery::v3::DiscoveryRequest;
    use envoy_types::pb::envoy::service::secret::v3::secret_discovery_service_client::SecretDiscoveryServiceClient;
    use hyper_util::rt::TokioIo;
    use mesh_identity::registry::{Entries, Entry, Selector};
    use mesh_identity::source::JwtCache;
    use mesh_identity::workload_api::{Listener, Parts, UnixAttestor, WorkloadApi};
    use tokio::net::UnixStream;
    use tonic::transport::{Channel, Uri};
    use tonic::{Code, Request};

    use super::*;

    fn serve(dir: &Path) -> Channel {
        let clock = Arc::new(SystemClock);
        let authority = Authority::ephemeral(td("td.test"), Rules::default(), Arc::<SystemClock>::clone(&clock));
        let authority = Arc::new(authority.unwrap());
        let uid = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata("/proc/self").unwrap());
        let found = [Selector::new("unix", format!("uid:{uid}"))];
        let entry = Entry::new("web", id("spiffe://td.test/web"), id("spiffe://td.test/n"), found);
        let bundles = Live::constant(BundleSet::default().with(authority.bundle()));
        let local = LocalSource::new(Arc::clone(&authority), Duration::from_secs(600), Names::default());
        let api = WorkloadApi::new(Parts {
            entries: Live::constant(Some([entry].into_iter().collect::<Entries>())),
            identities: Identities::builder(Arc::new(local), bundles.load().clone()).build(),
            bundles,
            tokens: Arc::new(JwtCache::new(authority, Arc::<SystemClock>::clone(&clock))),
            attestor: Arc::new(UnixAttestor { program: false }),
            clock,
        });
        let socket = dir.join("api.sock");
        let listener = Listener::bind(&socket).unwrap();
        tokio::spawn(async move { api.serve(listener).await });
        tonic::transport::Endpoint::from_static("http://localhost").connect_with_connector_lazy(tower::service_fn(
            move |_: Uri| {
                let socket = socket.clone();
                async move { UnixStream::connect(socket).await.map(TokioIo::new) }
            },
        ))
    }

    #[tokio::test]
    async fn calls_that_are_not_offered() {
        // W18: the profile of WIT-SVIDs.
        let dir = tempfile::tempdir().unwrap();
        let mut client = tonic::client::Grpc::new(serve(dir.path()));
        for method in ["/SpiffeWorkloadAPI/FetchWITSVID", "/SpiffeWorkloadAPI/FetchWITBundles"] {
            client.ready().await.unwrap();
            let mut request = Request::new(());
            request.metadata_mut().insert("workload.spiffe.io", "true".parse().unwrap());
            let codec = tonic_prost::ProstCodec::<(), ()>::default();
            let status = client.server_streaming(request, method.parse().unwrap(), codec).await.unwrap_err();
            assert_eq!(status.code(), Code::Unimplemented, "{method}");
        }
    }

    #[tokio::test]
    async fn secrets_that_are_and_are_not() {
        // W20: Envoy's names, an identity by its name, others', and nothing.
        let dir = tempfile::tempdir().unwrap();
        let mut client = SecretDiscoveryServiceClient::new(serve(dir.path()));
        let ask = |names: &[&str]| DiscoveryRequest {
            type_url: "type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.Secret".into(),
            resource_names: names.iter().map(|name| (*name).to_owned()).collect(),
            ..Default::default()
        };
        for (name, found) in [
            ("default", true),
            ("spiffe://td.test/web", true),
            ("ROOTCA", true),
            ("spiffe://td.test", true),
            ("ALL", true),
            ("spiffe://td.test/other", false),
            ("spiffe://other.test", false),
            ("../../etc/passwd", false),
        ] {
            let answer = client.fetch_secrets(ask(&[name])).await;
            let count = answer.as_ref().map_or(0, |answer| answer.get_ref().resources.len());
            assert_eq!(count == 1, found, "{name}: {answer:?}");
        }
        let mut wrong = ask(&["default"]);
        wrong.type_url = "type.googleapis.com/envoy.config.cluster.v3.Cluster".into();
        assert!(client.fetch_secrets(wrong).await.is_err());
    }
}
