//! Decoders of identity: chains, tokens, bundles, evidence of nodes, requests on the Workload API's socket.

use std::future::Future;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::Request;
use mesh_core::authn::{
    Authenticate, Authentication, Demand, KeySource, METADATA, Places, Provider, Requirement, Rule, TokenHeader,
};
use mesh_core::filter::{Connection, Exchange, Filter as _, Step};
use mesh_core::live::Live;
use mesh_core::name::{SpiffeId, TrustDomain, parse_spiffe_id, parse_trust_domain};
use mesh_core::route::{PathMatch, RouteMatch};
use mesh_identity::attest::{
    Answer, Asked, AttestError, Attestor, AwsIdentityDocument, AwsRegions, Challenges, ClusterKeys, JoinTokens,
    K8sPsat, X509Pop,
};
use mesh_identity::authority::{Authority, Names, Rules};
use mesh_identity::bundle::{Bundle, BundleSet};
use mesh_identity::clock::{Clock as _, SystemClock};
use mesh_identity::keys::{KeySet, TokenVerifier};
use mesh_identity::limits::MAX_KEY_SET_KEYS;
use mesh_identity::pem;
use mesh_identity::registry::Entries;
use mesh_identity::verify::{self, Audiences, Purpose};
use mesh_identity::workload_api::rewrite::Rewriter;

use crate::Target;

pub(crate) const CHAIN: Target = Target { name: "chain", run: chain, seeds: chains };
pub(crate) const TOKEN: Target = Target { name: "token", run: token, seeds: tokens };
pub(crate) const BEARER: Target = Target { name: "bearer_token", run: bearer, seeds: bearers };
pub(crate) const KEYS: Target = Target { name: "key_set", run: key_set, seeds: key_sets };
pub(crate) const DOCUMENT: Target = Target { name: "bundle_document", run: document, seeds: documents };
pub(crate) const ENTRIES: Target = Target { name: "entries", run: entries, seeds: entry_files };
pub(crate) const EVIDENCE: Target = Target { name: "evidence", run: evidence, seeds: payloads };
pub(crate) const ANSWER: Target = Target { name: "challenge_answer", run: answer, seeds: answers };
pub(crate) const AUTHORITY: Target = Target { name: "authority_header", run: authority_header, seeds: connections };

/// What everything here is verified by.
struct World {
    domain: TrustDomain,
    id: SpiffeId,
    authority: Authority,
    chain: Vec<Vec<u8>>,
    token: String,
}

fn world() -> Option<&'static World> {
    static WORLD: OnceLock<Option<World>> = OnceLock::new();
    let make = || {
        let domain = parse_trust_domain("td.test").ok()?;
        let id = parse_spiffe_id("spiffe://td.test/ns/a/sa/b").ok()?;
        let authority = Authority::ephemeral(domain.clone(), Rules::default(), Arc::new(SystemClock)).ok()?;
        let request = include_str!("../seeds/request.pem");
        let life = Some(Duration::from_secs(3600));
        let chain = authority.issue(request, &id, life, &Names::default()).ok()?;
        let token = authority.issue_jwt(&id, &["db".to_owned()], life).ok()?.token().to_owned();
        let chain = chain.into_iter().map(|der| der.to_vec()).collect();
        Some(World { domain, id, authority, chain, token })
    };
    WORLD.get_or_init(make).as_ref()
}

/// Certificates apart from each other: each begins with its length in two octets.
fn chain(bytes: &[u8]) {
    let Some(world) = world() else { return };
    let (mut rest, mut certificates) = (bytes, Vec::new());
    while let [high, low, after @ ..] = rest {
        let length = usize::from(u16::from_be_bytes([*high, *low])).min(after.len());
        let (one, next) = after.split_at(length);
        certificates.push(one.to_vec().into());
        rest = next;
    }
    let set = BundleSet::default().with(world.authority.bundle());
    if let Ok(peer) = verify::peer(Some(&certificates), &set, Purpose::Server, SystemClock.now()) {
        // Only what the authority signed verifies, and it signed for one.
        assert_eq!(*peer.id(), world.id);
        assert_eq!(certificates.first().map(|leaf| leaf.to_vec()), world.chain.first().cloned());
    }
}

fn chains() -> Vec<Vec<u8>> {
    let Some(world) = world() else { return Vec::new() };
    let root = world.authority.bundle().authorities().first().map(|root| root.certificate().to_vec());
    let framed = |der: &Vec<u8>| [&u16::try_from(der.len()).unwrap_or(0).to_be_bytes()[..], der].concat();
    let one: Vec<u8> = world.chain.iter().flat_map(framed).collect();
    let two = [one.clone(), root.iter().flat_map(framed).collect()].concat();
    vec![one, two]
}

fn token(bytes: &[u8]) {
    let (Some(world), Ok(text), Ok(audiences)) = (world(), std::str::from_utf8(bytes), Audiences::new(["db"])) else {
        return;
    };
    let set = BundleSet::default().with(world.authority.bundle());
    if let Ok(token) = verify::jwt(text, &set, &audiences, SystemClock.now()) {
        assert_eq!(*token.id(), world.id);
        // The signature of ECDSA has one encoding here, so the text is the one that was signed.
        assert_eq!(text, world.token);
    }
}

fn tokens() -> Vec<Vec<u8>> {
    world().map(|world| world.token.clone().into_bytes()).into_iter().collect()
}

/// A request with these bytes at every place of a token: it passes with the token that was signed, and with nothing else.
fn bearer(bytes: &[u8]) {
    let (Some(world), Some(filter), Ok(text)) = (world(), demanding(), std::str::from_utf8(bytes)) else { return };
    let address = std::net::SocketAddr::from(([10, 0, 0, 1], 1));
    let places = [
        Request::builder().uri("/").header("authorization", format!("Bearer {text}")),
        Request::builder().uri("/").header("cookie", format!("t={text}")),
        Request::builder().uri(format!("/?access_token={text}")),
    ];
    for place in places {
        let Ok(request) = place.body(()) else { continue };
        let mut head = request.into_parts().0;
        let mut exchange = Exchange::new(Arc::new(Connection::new(address, address)));
        if let Step::Next = filter.on_request(&mut head, &mut exchange) {
            let said = exchange.metadata.at(METADATA, &["payload", "sub"]).and_then(|subject| subject.as_str());
            assert_eq!(said, Some(&*world.id.to_string()));
        }
    }
}

/// A filter that demands the world's token.
fn demanding() -> Option<&'static Authenticate> {
    static FILTER: OnceLock<Option<Authenticate>> = OnceLock::new();
    let make = || {
        let keys = world()?.authority.bundle().to_jwks();
        let header = TokenHeader { name: http::header::AUTHORIZATION, prefix: "Bearer ".into() };
        let mut provider = Provider::anybody(KeySource::Inline(keys.into()));
        provider.places =
            Places { headers: vec![header], params: vec!["access_token".into()], cookies: vec!["t".into()] };
        provider.payload_in_metadata = Some("payload".into());
        let matcher = RouteMatch::new(PathMatch::prefix(""));
        let rules = vec![Rule { matcher, demand: Demand::Inline(Requirement::provider("p")) }];
        let providers = [("p".into(), provider)].into();
        let config = Authentication { providers, rules, ..Authentication::default() };
        Authenticate::new(config, Arc::new(TokenVerifier::new(Arc::new(SystemClock)))).ok()
    };
    FILTER.get_or_init(make).as_ref()
}

fn bearers() -> Vec<Vec<u8>> {
    let mut all = tokens();
    all.push(b"e30.e30.e30".to_vec());
    all.push(br#"eyJhbGciOiJub25lIiwiY3JpdCI6W10sImI2NCI6ZmFsc2V9.eyJleHAiOjEsImF1ZCI6WyJhIl19.AA"#.to_vec());
    all
}

/// A key set that is read holds keys, and they have signed nothing that is not theirs.
fn key_set(bytes: &[u8]) {
    if let Ok(keys) = KeySet::from_jwks(bytes) {
        assert!(!keys.is_empty() && keys.len() <= MAX_KEY_SET_KEYS);
    }
}

fn key_sets() -> Vec<Vec<u8>> {
    let ed25519 = br#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo","kid":"a","use":"sig","alg":"EdDSA","key_ops":["verify"]}]}"#;
    let mut all = vec![ed25519.to_vec()];
    all.extend(world().map(|world| world.authority.bundle().to_jwks().into_bytes()));
    all
}

/// What is read is written as it was meant.
fn document(bytes: &[u8]) {
    let Some(world) = world() else { return };
    if let Ok(read) = Bundle::from_document(world.domain.clone(), bytes) {
        let again = Bundle::from_document(world.domain.clone(), read.bundle.to_document().as_bytes());
        assert!(again.is_ok_and(|again| again.bundle.is_same_trust(&read.bundle)));
    }
    let _ = Bundle::from_jwks(world.domain.clone(), bytes);
    let _ = ClusterKeys::from_jwks(bytes);
}

fn documents() -> Vec<Vec<u8>> {
    world().map(|world| world.authority.bundle().to_document().into_bytes()).into_iter().collect()
}

fn entries(bytes: &[u8]) {
    if let Ok(entries) = Entries::from_json(bytes) {
        assert!(entries.all().iter().all(|entry| !entry.selectors.is_empty()));
    }
}

fn entry_files() -> Vec<Vec<u8>> {
    vec![
        br#"{"entries":[{"entry_id":"a","spiffe_id":"spiffe://td.test/a","parent_id":"spiffe://td.test/n","selectors":[{"type":"unix","value":"uid:1"}],"x509_svid_ttl":60,"federates_with":["other.test"],"dns_names":["a"],"hint":"h"}]}"#.to_vec(),
    ]
}

/// Takes a future to its end; some of them ask the disk meanwhile.
fn finished<T>(future: impl Future<Output = T>) -> Option<T> {
    static RUNTIME: OnceLock<Option<tokio::runtime::Runtime>> = OnceLock::new();
    let runtime = RUNTIME.get_or_init(|| tokio::runtime::Builder::new_current_thread().build().ok());
    Some(runtime.as_ref()?.block_on(future))
}

/// Answers a challenge with the bytes at hand.
struct Bytes<'a>(&'a [u8]);

impl Challenges for Bytes<'_> {
    fn ask(&mut self, _challenge: Vec<u8>) -> Answer<'_> {
        Box::pin(std::future::ready(Ok(self.0.to_vec())))
    }
}

struct Attestors {
    all: Vec<Box<dyn Attestor>>,
    machine: Vec<u8>,
}

fn attestors() -> Option<&'static Attestors> {
    static ALL: OnceLock<Option<Attestors>> = OnceLock::new();
    let make = || {
        let world = world()?;
        let root = world.authority.bundle().to_pem();
        let regions = AwsRegions::published().ok()?;
        let keys = ClusterKeys::from_jwks(world.authority.bundle().to_document().as_bytes());
        let issuer = "https://kubernetes.default.svc";
        let pods =
            K8sPsat::new().cluster("c", Live::constant(keys.unwrap_or_default()), issuer, "spire-server", ["a:b"]);
        let leaf = world.chain.first()?;
        let text = pem::encode("CERTIFICATE", leaf);
        let base64: String = text.lines().filter(|line| !line.starts_with('-')).collect();
        Some(Attestors {
            all: vec![
                Box::new(X509Pop::new(root.as_bytes()).ok()?),
                Box::new(AwsIdentityDocument::new(regions, ["123456789012"])),
                Box::new(pods),
                Box::new(JoinTokens::in_memory()),
            ],
            machine: format!("{{\"certificates\":[\"{base64}\"]}}").into_bytes(),
        })
    };
    ALL.get_or_init(make).as_ref()
}

fn attest(attestor: &dyn Attestor, payload: &[u8], answer: &[u8]) {
    let Some(world) = world() else { return };
    let asked = Asked { payload, trust_domain: &world.domain, now: SystemClock.now() };
    let mut challenges = Bytes(answer);
    let attested = finished(attestor.attest(asked, &mut challenges));
    // Nobody here holds a key of a machine, of AWS or of a cluster, or a token.
    assert!(matches!(attested, Some(Err(AttestError::Evidence(_) | AttestError::Challenge(_)))), "{attested:?}");
}

fn evidence(bytes: &[u8]) {
    for attestor in attestors().iter().flat_map(|attestors| &attestors.all) {
        attest(&**attestor, bytes, b"{}");
    }
}

fn payloads() -> Vec<Vec<u8>> {
    let machine = attestors().map(|attestors| attestors.machine.clone());
    let token = world().map(|world| world.token.clone()).unwrap_or_default();
    let others = [
        format!("{{\"cluster\":\"c\",\"token\":\"{token}\"}}"),
        r#"{"document":"{\"accountId\":\"123456789012\",\"availabilityZone\":\"us-east-1a\",\"imageId\":\"ami-1\",\"instanceId\":\"i-1\",\"pendingTime\":\"2026-11-20T12:00:00Z\",\"region\":\"us-east-1\"}","signature":"","rsa2048":"MIAGCSqGSIb3DQEHAqCAMIACAQExDzANBglghkgBZQMEAgEFADCABgkqhkiG9w0BBwGggCSABAJ7fQAAAAAAADEAAAAAAAA="}"#.to_owned(),
        "0f5d1c3e-0000-4000-8000-000000000000".to_owned(),
    ];
    machine.into_iter().chain(others.map(String::into_bytes)).collect()
}

fn answer(bytes: &[u8]) {
    let Some(attestors) = attestors() else { return };
    if let Some(x509pop) = attestors.all.first() {
        attest(&**x509pop, &attestors.machine, bytes);
    }
}

fn answers() -> Vec<Vec<u8>> {
    let nonce = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
    vec![
        format!("{{\"ecdsa_signature\":{{\"nonce\":\"{nonce}\",\"r\":\"{nonce}\",\"s\":\"{nonce}\"}}}}").into_bytes(),
        format!("{{\"rsa_signature\":{{\"nonce\":\"{nonce}\",\"signature\":\"{nonce}\"}},\"ecdsa_signature\":null}}")
            .into_bytes(),
    ]
}

/// However the bytes are cut, the same comes out; and never more than a little.
fn authority_header(bytes: &[u8]) {
    let (mut whole, mut cut) = (Vec::new(), Vec::new());
    Rewriter::default().push(bytes, &mut whole);
    let mut rewriter = Rewriter::default();
    for part in bytes.chunks(7) {
        rewriter.push(part, &mut cut);
    }
    assert_eq!(whole, cut);
    assert!(whole.len() <= 2 * bytes.len() + 64, "{} of {}", whole.len(), bytes.len());
}

fn connections() -> Vec<Vec<u8>> {
    let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    let settings = [0, 0, 0, 4, 0, 0, 0, 0, 0];
    let frame = |fields: &[u8]| {
        let length = u8::try_from(fields.len()).unwrap_or_default();
        [&[0, 0, length, 1, 4, 0, 0, 0, 1][..], fields].concat()
    };
    let indexed = [&[0x83, 0x41, 14][..], b"/run/x/api.sock"].concat();
    let spelt = [&[0x40, 10][..], b":authority", &[9], b"%2Fr%2Fa.s"].concat();
    [indexed, spelt].map(|fields| [&preface[..], &settings, &frame(&fields)].concat()).to_vec()
}
