use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use mesh_core::authn::{KeySource, Provider, Verifier};
use mesh_core::live::Live;
use mesh_core::name::{SpiffeId, parse_spiffe_id, parse_trust_domain};
use mesh_identity::authority::{Caller, CallerPolicy, Refusal};
use mesh_identity::clock::ManualClock;
use mesh_identity::keys::TokenVerifier;
use mesh_test_support::token::TokenIssuer;
use prometheus_client::registry::Registry;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tower::{Layer, ServiceExt, service_fn};

use super::authenticate::{Known, Reviewer};
use super::*;
use crate::metrics::Metrics;
use crate::settings::{Kubernetes, Node};
use crate::source::dir::SourceFile;
use crate::token::Tokens;
use crate::translate::{Place, Waypoints};

const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";
const NODE_TOKEN: &str = "0123456789abcdef0123456789abcdef";

/// Judges the tokens of a cluster.
fn keys(cluster: &TokenIssuer) -> ClusterKeySet {
    let verifier = Arc::new(TokenVerifier::new(Arc::new(ManualClock::new(at(0)))));
    let mut provider = Provider::new(ISSUER, KeySource::Inline("".into()));
    provider.audiences = vec!["istio-ca".into()];
    let keys = verifier.keys(&KeySource::Inline(cluster.jwks().into()));
    ClusterKeySet::new(provider, Live::constant(keys), verifier)
}

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(1_800_000_000 + seconds)
}

/// Those of a ztunnel.
fn claims() -> Value {
    let now = 1_800_000_000_u64;
    json!({
        "iss": ISSUER, "aud": ["istio-ca"], "iat": now - 60, "nbf": now - 60, "exp": now + 3600,
        "sub": "system:serviceaccount:istio-system:ztunnel",
        "kubernetes.io": {
            "namespace": "istio-system",
            "pod": {"name": "ztunnel-a", "uid": "1"},
            "node": {"name": "node-a", "uid": "2"},
            "serviceaccount": {"name": "ztunnel", "uid": "3"},
        },
    })
}

/// Changes claims: a path of keys, and what stands there; null takes it away.
fn but(path: &[&str], value: Value) -> Value {
    let mut all = claims();
    let (last, before) = path.split_last().unwrap();
    let object = before.iter().fold(&mut all, |at, key| &mut at[*key]).as_object_mut().unwrap();
    match value {
        Value::Null => drop(object.remove(*last)),
        value => drop(object.insert((*last).to_owned(), value)),
    }
    all
}

#[tokio::test]
async fn tokens_of_service_accounts_are_judged_by_the_keys_of_their_cluster() {
    let cluster = TokenIssuer::new();
    let keys = keys(&cluster);
    let said = keys.review(&cluster.sign(&claims())).await.unwrap();
    let bound = |name: &str, uid: &str| Some(Bound { name: name.into(), uid: uid.into() });
    let whole = ServiceAccountToken {
        namespace: "istio-system".into(),
        account: "ztunnel".into(),
        pod: bound("ztunnel-a", "1"),
        node: bound("node-a", "2"),
    };
    assert_eq!(said, whole);
    let without = keys.review(&cluster.sign(&but(&["kubernetes.io"], Value::Null))).await.unwrap();
    assert_eq!(without, ServiceAccountToken { pod: None, node: None, ..whole.clone() });

    let now = 1_800_000_000_u64;
    for (what, claims, told) in [
        ("another issuer", but(&["iss"], json!("https://evil.test")), "issuer"),
        ("another audience", but(&["aud"], json!(["vault"])), "udience"),
        ("no audience", but(&["aud"], Value::Null), "udience"),
        ("expired", but(&["exp"], json!(now - 31)), "expired"),
        ("no end", but(&["exp"], Value::Null), "exp"),
        ("not yet", but(&["nbf"], json!(now + 31)), "yet"),
        ("no service account", but(&["sub"], json!("alice")), "`sub`"),
        ("half a service account", but(&["sub"], json!("system:serviceaccount:a:")), "`sub`"),
        ("three parts", but(&["sub"], json!("system:serviceaccount:a:b:c")), "`sub`"),
        ("another namespace", but(&["kubernetes.io", "namespace"], json!("x")), "namespace"),
        ("another account", but(&["kubernetes.io", "serviceaccount", "name"], json!("x")), "serviceaccount"),
        ("a pod without name", but(&["kubernetes.io", "pod", "name"], Value::Null), "pod"),
        ("a node that is none", but(&["kubernetes.io", "node"], json!("node-a")), "node"),
        ("private claims that are none", but(&["kubernetes.io"], json!(1)), "kubernetes.io"),
    ] {
        let error = keys.review(&cluster.sign(&claims)).await.unwrap_err().to_string();
        assert!(error.contains(told), "{what}: {error}");
    }
    let strange = TokenIssuer::new().sign(&claims());
    assert!(matches!(keys.review(&strange).await, Err(ReviewError::Refused(_))), "another key of that name");
    for bad in ["", "a", "a.b", "a.b.c", "..", "\u{fffd}.x.y"] {
        assert!(matches!(keys.review(bad).await, Err(ReviewError::Refused(_))), "{bad}");
    }
}

/// What two pods on two nodes, and the proxy of one node, have; and a workload of another trust domain.
const MANIFESTS: &str = r#"
apiVersion: v1
kind: Namespace
metadata: {name: shop, labels: {istio.io/dataplane-mode: ambient}}
---
apiVersion: v1
kind: Pod
metadata: {name: web-1, namespace: shop}
spec: {nodeName: node-a, serviceAccountName: web}
status: {podIP: 10.0.0.1}
---
apiVersion: v1
kind: Pod
metadata: {name: db-1, namespace: shop}
spec: {nodeName: node-b, serviceAccountName: db}
status: {podIP: 10.0.0.2}
---
apiVersion: v1
kind: Pod
metadata: {name: ztunnel-b, namespace: istio-system}
spec: {nodeName: node-b, serviceAccountName: ztunnel}
status: {podIP: 10.0.0.3}
"#;

fn assignments() -> Live<Assignments> {
    let file = SourceFile { path: "mesh.yaml".into(), text: Ok(MANIFESTS.to_owned()) };
    let (world, _) = crate::admission::admit(&[file]).unwrap();
    let place = Place::new(parse_trust_domain("cluster.local").unwrap(), "Kubernetes");
    let mut by_node = Waypoints::new(&world, &place).identities_by_node();
    // As if the configuration named an identity of another trust domain.
    by_node.entry("node-a".into()).or_default().insert(id("spiffe://other.test/ns/shop/sa/web"));
    Live::constant(Assignments::new(by_node, world))
}

fn id(text: &str) -> SpiffeId {
    parse_spiffe_id(text).unwrap()
}

fn account(path: &str) -> SpiffeId {
    let (namespace, name) = path.split_once('/').unwrap();
    id(&format!("spiffe://cluster.local/ns/{namespace}/sa/{name}"))
}

fn grants() -> Grants {
    let metrics = Metrics::new(&mut Registry::default());
    Grants::new(assignments(), account("istio-system/node-proxy"), metrics)
}

/// What is granted to who is known so.
fn granted(known: Option<Known>, wanted: Option<&SpiffeId>) -> Result<String, Refusal> {
    let mut extensions = tonic::Extensions::new();
    if let Some(known) = known {
        extensions.insert(known);
    }
    let caller = Caller { metadata: &tonic::metadata::MetadataMap::new(), extensions: &extensions };
    grants().grant(&caller, wanted).map(|grant| grant.identity.to_string())
}

#[test]
fn who_may_have_which_certificate() {
    let node = |name: &str, identity: Option<SpiffeId>| Identified::Node { node: name.into(), identity };
    let ztunnel = || node("node-a", Some(account("istio-system/ztunnel")));
    let (web, db) = (account("shop/web"), account("shop/db"));
    for (who, wanted, expected) in [
        (ztunnel(), Some("shop/web"), true),
        // On another node, nowhere, another proxy's.
        (ztunnel(), Some("shop/db"), false),
        (ztunnel(), Some("shop/nobody"), false),
        (ztunnel(), Some("istio-system/node-proxy"), false),
        (ztunnel(), Some("istio-system/ztunnel"), true),
        (ztunnel(), None, true),
        (node("node-b", None), Some("shop/db"), true),
        (node("node-b", None), None, true),
        (node("node-c", None), Some("shop/db"), false),
        // A workload is itself, by its token also where it runs nowhere.
        (Identified::ServiceAccount(web.clone()), Some("shop/web"), true),
        (Identified::ServiceAccount(web.clone()), None, true),
        (Identified::ServiceAccount(web.clone()), Some("shop/db"), false),
        (Identified::ServiceAccount(account("shop/nobody")), None, true),
        (Identified::Svid(db.clone()), None, true),
        (Identified::Svid(db.clone()), Some("shop/db"), true),
        (Identified::Svid(db), Some("shop/web"), false),
        (Identified::Svid(account("shop/nobody")), None, false),
        (Identified::Svid(account("istio-system/node-proxy")), Some("shop/web"), false),
    ] {
        let wanted = wanted.map(account);
        let outcome = granted(Some(Ok(who.clone())), wanted.as_ref());
        assert_eq!(outcome.is_ok(), expected, "{who} {wanted:?}: {outcome:?}");
        if let (Ok(granted), Some(wanted)) = (&outcome, wanted) {
            assert_eq!(*granted, wanted.to_string());
        }
        assert!(expected || matches!(outcome, Err(Refusal::Forbidden { .. })), "{outcome:?}");
    }
    for known in [None, Some(Err(Unidentified::Nothing)), Some(Err(ReviewError::Refused("x".into()).into()))] {
        let outcome = granted(known, Some(&web));
        assert!(matches!(outcome, Err(Refusal::Unauthenticated(_))), "{outcome:?}");
    }
}

/// istiod signs whatever trust domain the impersonated identity names, as long as its namespace and account run on the node.
#[test]
fn the_trust_domain_of_caller_and_identity_is_checked_at_issue() {
    let other = id("spiffe://other.test/ns/shop/sa/web");
    let ztunnel = Identified::Node { node: "node-a".into(), identity: Some(account("istio-system/ztunnel")) };
    for (who, wanted) in [
        // The configuration itself says that it runs there.
        (ztunnel, Some(&other)),
        (Identified::Svid(other.clone()), None),
        (Identified::Svid(other.clone()), Some(&account("shop/web"))),
        (Identified::ServiceAccount(account("shop/web")), Some(&other)),
    ] {
        let outcome = granted(Some(Ok(who.clone())), wanted);
        assert!(matches!(outcome, Err(Refusal::TrustDomain { .. })), "{who}: {outcome:?}");
    }
}

/// Believes tokens by their text.
#[derive(Debug)]
struct ByText(BTreeMap<&'static str, ServiceAccountToken>);

impl ReviewToken for ByText {
    fn review<'a>(&'a self, token: &'a str) -> Review<'a> {
        let said = self.0.get(token).cloned();
        Box::pin(async { said.ok_or_else(|| ReviewError::Refused("unknown".into())) })
    }
}

fn token(account: &str, pod: Option<&str>, node: Option<&str>) -> ServiceAccountToken {
    let (namespace, account) = account.split_once('/').unwrap();
    let bound = |name: &str| Bound { name: name.into(), uid: String::new() };
    ServiceAccountToken {
        namespace: namespace.into(),
        account: account.into(),
        pod: pod.map(bound),
        node: node.map(bound),
    }
}

fn authenticate(clusters: &[&str]) -> Authenticate {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("token");
    std::fs::write(&file, NODE_TOKEN).unwrap();
    let node = Node { name: "node-a".into(), token_file: Some(file), token_sha256: None };
    let tokens = Arc::new(Tokens::load(&[node]).unwrap());
    let ztunnel = "istio-system/ztunnel";
    let known = BTreeMap::from([
        ("said", token(ztunnel, Some("ztunnel-x"), Some("node-a"))),
        ("both", token(ztunnel, Some("ztunnel-b"), Some("node-b"))),
        ("looked-up", token(ztunnel, Some("ztunnel-b"), None)),
        ("elsewhere", token(ztunnel, Some("ztunnel-b"), Some("node-a"))),
        ("unbound", token(ztunnel, None, Some("node-a"))),
        ("unknown-pod", token(ztunnel, Some("ztunnel-x"), None)),
        ("web", token("shop/web", Some("web-1"), Some("node-a"))),
        ("impostor", token("shop/ztunnel", Some("ztunnel-b"), Some("node-b"))),
        ("odd", token("shop/a b", None, None)),
    ]);
    let review: Arc<dyn ReviewToken> = Arc::new(ByText(known));
    let reviewer = |cluster: &&str| Reviewer {
        cluster: (*cluster).to_owned(),
        review: Arc::clone(&review),
        node_accounts: vec![ztunnel.to_owned()],
    };
    let reviewers = clusters.iter().map(reviewer).collect();
    Authenticate::new(tokens, reviewers, parse_trust_domain("cluster.local").unwrap(), assignments())
}

async fn known(authenticate: &Authenticate, header: Option<&str>, cluster: Option<&str>) -> Result<String, String> {
    let service = authenticate.layer(service_fn(|request: http::Request<()>| async move {
        Ok::<_, Infallible>(request.extensions().get::<Known>().cloned().unwrap())
    }));
    let mut request = http::Request::new(());
    for (name, value) in [("authorization", header), ("clusterid", cluster)] {
        if let Some(value) = value {
            request.headers_mut().insert(name, value.parse().unwrap());
        }
    }
    let known = service.oneshot(request).await.unwrap();
    known.map(|who| who.to_string()).map_err(|reason| reason.to_string())
}

#[tokio::test]
async fn who_brings_which_token_is() {
    let one = authenticate(&["Kubernetes"]);
    let node_token = format!("Bearer {NODE_TOKEN}");
    for (header, expected) in [
        (node_token.as_str(), Ok("node node-a")),
        ("Bearer said", Ok("node node-a")),
        ("Bearer both", Ok("node node-b")),
        ("Bearer looked-up", Ok("node node-b")),
        // A token from before its pod moved, or a configuration that is wrong: either way not to be believed.
        ("Bearer elsewhere", Err("runs on node `node-a`, it runs on node `node-b`")),
        ("Bearer unbound", Err("bound to no pod")),
        ("Bearer unknown-pod", Err("bound to no pod")),
        ("Bearer web", Ok("spiffe://cluster.local/ns/shop/sa/web")),
        // Named like it, in another namespace.
        ("Bearer impostor", Ok("spiffe://cluster.local/ns/shop/sa/ztunnel")),
        ("Bearer odd", Err("can be no identity")),
        ("Bearer nobody", Err("not good")),
        ("Bearer ", Err("no bearer token")),
        ("Basic said", Err("no bearer token")),
        ("said", Err("no bearer token")),
    ] {
        let who = known(&one, Some(header), None).await;
        match (&who, expected) {
            (Ok(who), Ok(expected)) => assert_eq!(who, expected, "{header}"),
            (Err(reason), Err(expected)) => assert!(reason.contains(expected), "{header}: {reason}"),
            _ => panic!("{header}: {who:?}"),
        }
    }
    assert!(known(&one, None, None).await.unwrap_err().contains("neither"));
}

#[tokio::test]
async fn the_cluster_says_by_whom_a_token_is_judged() {
    let said = Some("Bearer said");
    let (none, one, two) = (authenticate(&[]), authenticate(&["a"]), authenticate(&["a", "b"]));
    for (by, cluster, good) in [
        (&one, None, true),
        (&one, Some("a"), true),
        (&one, Some("b"), false),
        (&two, Some("b"), true),
        (&two, None, false),
        (&two, Some("c"), false),
        (&none, None, false),
        (&none, Some("a"), false),
    ] {
        assert_eq!(known(by, said, cluster).await.is_ok(), good, "{cluster:?}");
    }
    // Our own tokens are of no cluster.
    assert!(known(&none, Some(&format!("Bearer {NODE_TOKEN}")), Some("x")).await.is_ok());
}

/// An API server that answers every review alike. Gives what it was asked, too.
async fn api_server(status: &'static str, body: String) -> (ApiServer, tokio::sync::mpsc::Receiver<String>) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/prefix/", listener.local_addr().unwrap());
    let (sender, asked) = tokio::sync::mpsc::channel(16);
    mesh_identity::task::Tasks::default().spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut bytes = vec![0; 64 * 1024];
            let mut filled = 0;
            while !String::from_utf8_lossy(&bytes[..filled]).contains("}}") {
                filled += stream.read(&mut bytes[filled..]).await.unwrap();
            }
            sender.send(String::from_utf8_lossy(&bytes[..filled]).into_owned()).await.unwrap();
            let head = format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n", body.len());
            stream.write_all((head + &body).as_bytes()).await.unwrap();
        }
    });
    let dir = tempfile::tempdir().unwrap().keep();
    let file = dir.join("token");
    std::fs::write(&file, "own-token\n").unwrap();
    (ApiServer::new(url.parse().unwrap(), None, file, vec!["istio-ca".into()]), asked)
}

fn review(authenticated: bool, audiences: &[&str], username: &str, extra: &Value) -> String {
    json!({"kind": "TokenReview", "status": {
        "authenticated": authenticated, "audiences": audiences, "user": {"username": username, "extra": extra},
    }})
    .to_string()
}

#[tokio::test]
async fn an_api_server_judges_tokens() {
    let ztunnel = "system:serviceaccount:istio-system:ztunnel";
    let extra = json!({
        "authentication.kubernetes.io/pod-name": ["ztunnel-a"], "authentication.kubernetes.io/pod-uid": ["1"],
        "authentication.kubernetes.io/node-name": ["node-a"], "something.else": ["x"],
    });
    let (server, mut asked) = api_server("201 Created", review(true, &["istio-ca"], ztunnel, &extra)).await;
    let said = server.review("a.b.c").await.unwrap();
    assert_eq!((said.namespace.as_str(), said.account.as_str()), ("istio-system", "ztunnel"));
    assert_eq!(said.pod, Some(Bound { name: "ztunnel-a".into(), uid: "1".into() }));
    assert_eq!(said.node, Some(Bound { name: "node-a".into(), uid: String::new() }));
    let text = asked.recv().await.unwrap();
    assert!(text.starts_with("POST /prefix/apis/authentication.k8s.io/v1/tokenreviews HTTP/1.1\r\n"), "{text}");
    assert!(text.to_ascii_lowercase().contains("\r\nauthorization: bearer own-token\r\n"), "{text}");
    let body: Value = serde_json::from_str(text.split_once("\r\n\r\n").unwrap().1).unwrap();
    assert_eq!(body["spec"], json!({"token": "a.b.c", "audiences": ["istio-ca"]}));
    // Asked once for a burst of one token, and for every other token.
    assert_eq!(server.review("a.b.c").await.unwrap(), said);
    assert!(asked.try_recv().is_err());
    server.review("d.e.f").await.unwrap();
    assert!(asked.recv().await.is_some());

    let none = json!({});
    for (what, status, body, unavailable) in [
        ("not authenticated", "200 OK", review(false, &["istio-ca"], ztunnel, &none), false),
        ("another audience", "200 OK", review(true, &["vault"], ztunnel, &none), false),
        ("an API server without audiences", "200 OK", review(true, &[], ztunnel, &none), false),
        ("a person", "200 OK", review(true, &["istio-ca"], "alice", &none), false),
        ("not allowed to ask", "403 Forbidden", review(true, &["istio-ca"], ztunnel, &none), true),
        ("no review", "200 OK", "[]".to_owned(), true),
        ("too much", "200 OK", format!("{{\"x\": \"{}\"}}", "x".repeat(100_000)), true),
    ] {
        let (server, _asked) = api_server(status, body).await;
        let error = server.review("a.b.c").await.unwrap_err();
        assert_eq!(matches!(error, ReviewError::Unavailable(_)), unavailable, "{what}: {error}");
    }
}

#[tokio::test]
async fn settings_that_cannot_work_are_refused_and_named() {
    let dir = tempfile::tempdir().unwrap();
    let keys = dir.path().join("jwks.json");
    std::fs::write(&keys, TokenIssuer::new().jwks()).unwrap();
    let keys = keys.display();
    let tasks = mesh_identity::task::Tasks::default();
    let read = |text: &str| {
        let clusters: Vec<Kubernetes> = serde_saphyr::from_str(text).map_err(|error| error.to_string())?;
        reviewers(&clusters, "Kubernetes", "istio-system", &tasks).map_err(|error| error.to_string())
    };
    let good = read(&format!("[{{issuer: i, jwks: {keys}}}]")).unwrap();
    assert_eq!(
        (good[0].cluster.as_str(), &good[0].node_accounts[..]),
        ("Kubernetes", &["istio-system/ztunnel".to_owned()][..])
    );
    read("[{name: a, issuer: i, jwks_url: 'https://a/jwks'}, {name: b, token_review: {url: 'https://b', token_file: t}}]").unwrap();
    for (text, told) in [
        ("[{issuer: i}]".to_owned(), "one of"),
        (format!("[{{issuer: i, jwks: {keys}, jwks_url: 'https://a'}}]"), "one of"),
        (format!("[{{jwks: {keys}}}]"), "`issuer` is missing"),
        (format!("[{{issuer: '', jwks: {keys}}}]"), "`issuer` is missing"),
        ("[{issuer: i, jwks: /nowhere}]".to_owned(), "/nowhere"),
        (format!("[{{issuer: i, jwks: {keys}, audiences: []}}]"), "audiences"),
        (format!("[{{issuer: i, jwks: {keys}, node_accounts: [ztunnel]}}]"), "`ztunnel`"),
        (format!("[{{issuer: i, jwks: {keys}}}, {{issuer: i, jwks: {keys}}}]"), "twice"),
        ("[{token_review: {url: 'ftp://b', token_file: t}}]".to_owned(), "ftp://b"),
        ("[{token_review: {url: ' ', token_file: t}}]".to_owned(), "token_review.url"),
        ("[{audience: x}]".to_owned(), "audience"),
    ] {
        let error = read(&text).err().unwrap_or_default();
        assert!(error.contains(told), "{text}: {error}");
    }
    tasks.stop().await;
}
