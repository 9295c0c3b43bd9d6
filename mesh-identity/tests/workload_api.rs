//! The Workload API over a real Unix socket: our server by its raw protocol, and our client against servers that lie.
#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a test"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use envoy_types::pb::envoy::service::discovery::v3::DiscoveryRequest;
use envoy_types::pb::envoy::service::secret::v3::secret_discovery_service_client::SecretDiscoveryServiceClient;
use hyper_util::rt::TokioIo;
use mesh_core::live::{Live, Publisher};
use mesh_core::name::{SpiffeId, parse_spiffe_id, parse_trust_domain};
use mesh_identity::authority::{Authority, Names, Rules};
use mesh_identity::bundle::{Bundle, BundleSet};
use mesh_identity::clock::{Clock, ManualClock, SystemClock};
use mesh_identity::proto::workload::spiffe_workload_api_client::SpiffeWorkloadApiClient;
use mesh_identity::proto::workload::spiffe_workload_api_server::{SpiffeWorkloadApi, SpiffeWorkloadApiServer};
use mesh_identity::proto::workload::*;
use mesh_identity::registry::{Entries, Entry, Selector};
use mesh_identity::source::{Identities, JwtCache, LocalSource};
use mesh_identity::verify::Expected;
use mesh_identity::workload_api::{
    AttestError, Client, Endpoint, Listener, Parts, Peer, UnixAttestor, WorkloadApi, WorkloadAttestor, WorkloadSource,
};
use mesh_test_support::pki::Ca;
use parking_lot::Mutex;
use tokio::net::UnixStream;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Uri};
use tonic::{Code, Request, Response, Status};

fn id(text: &str) -> SpiffeId {
    parse_spiffe_id(text).unwrap()
}

fn me() -> Selector {
    let uid = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata("/proc/self").unwrap());
    Selector::new("unix", format!("uid:{uid}"))
}

fn entry(name: &str, selector: Selector) -> Entry {
    Entry::new(name, id(&format!("spiffe://td.test/{name}")), id("spiffe://td.test/spire/agent/x"), [selector])
}

struct Scene {
    _dir: tempfile::TempDir,
    socket: PathBuf,
    authority: Arc<Authority>,
    entries: Publisher<Option<Entries>>,
    bundles: Publisher<BundleSet>,
    attestor: Arc<CountingAttestor>,
    server: WorkloadApi,
}

/// Finds what the real one does, and counts.
#[derive(Debug, Default)]
struct CountingAttestor(AtomicUsize);

impl WorkloadAttestor for CountingAttestor {
    fn selectors(&self, peer: &Peer) -> Result<BTreeSet<Selector>, AttestError> {
        self.0.fetch_add(1, Ordering::SeqCst);
        UnixAttestor { program: false }.selectors(peer)
    }
}

impl Scene {
    fn new(entries: Option<Entries>) -> Self {
        Self::by(entries, Arc::new(SystemClock))
    }

    /// Where `clock` judges ends of entries and bundles.
    fn by(entries: Option<Entries>, judge: Arc<dyn Clock>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("api.sock");
        let clock = Arc::new(SystemClock);
        let authority = Authority::ephemeral(
            parse_trust_domain("td.test").unwrap(),
            Rules::default(),
            Arc::<SystemClock>::clone(&clock),
        );
        let authority = Arc::new(authority.unwrap());
        let (entries, live) = Publisher::new(entries);
        let (bundles, live_bundles) = Publisher::new(BundleSet::default().with(authority.bundle()));
        let source = LocalSource::new(Arc::clone(&authority), Duration::from_secs(3600), Names::default());
        let source = source.by_entries(live.clone());
        let attestor = Arc::new(CountingAttestor::default());
        let server = WorkloadApi::new(Parts {
            entries: live,
            identities: Identities::builder(Arc::new(source), live_bundles.load().clone()).build(),
            bundles: live_bundles,
            tokens: Arc::new(JwtCache::new(Arc::<Authority>::clone(&authority), Arc::<SystemClock>::clone(&clock))),
            attestor: Arc::<CountingAttestor>::clone(&attestor),
            clock: judge,
        });
        let listener = Listener::bind(&socket).unwrap();
        let serving = server.clone();
        tokio::spawn(async move { serving.serve(listener).await.unwrap() });
        Self { _dir: dir, socket, authority, entries, bundles, attestor, server }
    }

    fn stub(&self) -> SpiffeWorkloadApiClient<Channel> {
        SpiffeWorkloadApiClient::new(channel(&self.socket))
    }

    fn source(&self) -> WorkloadSource {
        Client::connect(&Endpoint::Unix(self.socket.clone())).source(Arc::new(SystemClock))
    }
}

fn channel(socket: &Path) -> Channel {
    let socket = socket.to_owned();
    tonic::transport::Endpoint::from_static("http://localhost").connect_with_connector_lazy(tower::service_fn(
        move |_: Uri| {
            let socket = socket.clone();
            async move { UnixStream::connect(socket).await.map(TokioIo::new) }
        },
    ))
}

fn with_header<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.metadata_mut().insert("workload.spiffe.io", "true".parse().unwrap());
    request
}

fn both() -> Option<Entries> {
    let mut second = entry("second", me());
    second.hint = "other".into();
    second.dns_names = vec!["second.test".into()];
    second.created += Duration::from_secs(1);
    Some([entry("web", me()), second, entry("stranger", Selector::new("unix", "uid:4294967294"))].into_iter().collect())
}

#[tokio::test]
async fn nothing_without_the_security_header() {
    let scene = Scene::new(both());
    for header in [None, Some("True"), Some("1"), Some("")] {
        let request = |()| {
            let mut metadata = tonic::metadata::MetadataMap::new();
            if let Some(value) = header {
                metadata.insert("workload.spiffe.io", value.parse().unwrap());
            }
            metadata
        };
        fn with<T>(metadata: tonic::metadata::MetadataMap, message: T) -> Request<T> {
            Request::from_parts(metadata, tonic::Extensions::new(), message)
        }
        let mut stub = scene.stub();
        let codes = [
            stub.fetch_x509svid(with(request(()), X509svidRequest {})).await.unwrap_err().code(),
            stub.fetch_x509_bundles(with(request(()), X509BundlesRequest {})).await.unwrap_err().code(),
            stub.fetch_jwt_bundles(with(request(()), JwtBundlesRequest {})).await.unwrap_err().code(),
            stub.fetch_jwtsvid(with(
                request(()),
                JwtsvidRequest { audience: vec!["a".into()], spiffe_id: String::new() },
            ))
            .await
            .map(|_| ())
            .unwrap_err()
            .code(),
            stub.validate_jwtsvid(with(request(()), ValidateJwtsvidRequest { audience: "a".into(), svid: "b".into() }))
                .await
                .unwrap_err()
                .code(),
        ];
        assert_eq!(codes, [Code::InvalidArgument; 5], "{header:?}");
    }
    let mut twice = with_header(X509svidRequest {});
    twice.metadata_mut().append("workload.spiffe.io", "true".parse().unwrap());
    assert_eq!(scene.stub().fetch_x509svid(twice).await.map(|_| ()).unwrap_err().code(), Code::InvalidArgument);
}

#[tokio::test]
async fn identities_come_and_go_on_one_stream() {
    let scene = Scene::new(None);
    let error =
        scene.stub().fetch_x509svid(with_header(X509svidRequest {})).await.unwrap().into_inner().message().await;
    assert_eq!(error.map(|_| ()).unwrap_err().code(), Code::Unavailable, "not synchronised yet");
    scene.entries.publish(both());

    let mut stream = scene.stub().fetch_x509svid(with_header(X509svidRequest {})).await.unwrap().into_inner();
    let first = stream.message().await.unwrap().unwrap();
    let ids: Vec<_> = first.svids.iter().map(|svid| (svid.spiffe_id.as_str(), svid.hint.as_str())).collect();
    assert_eq!(ids, [("spiffe://td.test/web", ""), ("spiffe://td.test/second", "other")]);
    let (_, leaf) = x509_parser::parse_x509_certificate(&first.svids[1].x509_svid).unwrap();
    let names = format!("{:?}", leaf.subject_alternative_name().unwrap().unwrap().value);
    assert!(names.contains("second.test"), "{names}");
    assert!(first.federated_bundles.is_empty());

    // A federated domain appears for whoever federates with it, and goes again.
    let ca = Ca::root("other.test");
    let other = parse_trust_domain("other.test").unwrap();
    let federated = Bundle::new(other.clone(), vec![ca.certificate.clone()]).unwrap();
    scene.bundles.publish(BundleSet::default().with(scene.authority.bundle()).with(federated.clone()));
    let mut web = entry("web", me());
    web.federates_with = [other].into_iter().collect();
    scene.entries.publish(both().map(|entries| entries.with(web)));
    let message = loop {
        let message = stream.message().await.unwrap().unwrap();
        if !message.federated_bundles.is_empty() {
            break message;
        }
    };
    assert_eq!(message.federated_bundles, BTreeMap::from([("spiffe://other.test".to_owned(), federated.to_der())]));

    scene.entries.publish(Some(Entries::default()));
    let status = loop {
        match stream.message().await {
            Ok(message) => assert!(message.is_some(), "never a normal end"),
            Err(status) => break status,
        }
    };
    assert_eq!((status.code(), status.message()), (Code::PermissionDenied, "no identity issued"));
}

#[tokio::test]
async fn a_server_that_ends_says_so() {
    let scene = Scene::new(both());
    let mut stream = scene.stub().fetch_x509_bundles(with_header(X509BundlesRequest {})).await.unwrap().into_inner();
    assert_eq!(stream.message().await.unwrap().unwrap().bundles.len(), 1);
    let mut jwt = scene.stub().fetch_jwt_bundles(with_header(JwtBundlesRequest {})).await.unwrap().into_inner();
    let text = jwt.message().await.unwrap().unwrap().bundles["spiffe://td.test"].clone();
    let text = String::from_utf8(text).unwrap();
    assert!(text.contains("kid") && !text.contains("x5c") && !text.contains("use"), "{text}");
    scene.server.drain().await;
    assert_eq!(stream.message().await.unwrap_err().code(), Code::Unavailable);
    assert_eq!(jwt.message().await.unwrap_err().code(), Code::Unavailable);
}

#[tokio::test]
async fn tokens_are_issued_and_verified() {
    let scene = Scene::new(both());
    let fetch = async |audience: &[&str], wanted: &str| {
        let audience = audience.iter().map(|one| (*one).to_owned()).collect();
        let request = with_header(JwtsvidRequest { audience, spiffe_id: wanted.to_owned() });
        scene
            .stub()
            .fetch_jwtsvid(request)
            .await
            .map(|answer| answer.into_inner().svids)
            .map_err(|status| status.code())
    };
    let svids = fetch(&["db"], "").await.unwrap_or_default();
    assert_eq!(svids.len(), 2);
    assert_eq!(fetch(&["db"], "spiffe://td.test/second").await.unwrap_or_default().len(), 1);
    assert_eq!(fetch(&[], "").await.err(), Some(Code::InvalidArgument));
    assert_eq!(fetch(&[""], "").await.err(), Some(Code::InvalidArgument));
    assert_eq!(fetch(&["db"], "td.test/x").await.err(), Some(Code::InvalidArgument));
    assert_eq!(fetch(&["db"], "spiffe://td.test/stranger").await.err(), Some(Code::PermissionDenied));
    // Half of its life a token is given again.
    assert_eq!(fetch(&["db"], "").await.unwrap_or_default()[0].svid, svids[0].svid);

    let validate = async |audience: &str, svid: &str| {
        let request = with_header(ValidateJwtsvidRequest { audience: audience.to_owned(), svid: svid.to_owned() });
        scene.stub().validate_jwtsvid(request).await.map(Response::into_inner).map_err(|status| status.code())
    };
    let valid = validate("db", &svids[0].svid).await.unwrap();
    assert_eq!(valid.spiffe_id, "spiffe://td.test/web");
    let claims: BTreeSet<_> = valid.claims.unwrap().fields.into_keys().collect();
    assert_eq!(claims.into_iter().collect::<Vec<_>>(), ["aud", "exp", "iat", "sub"]);
    for (audience, svid) in [("cache", svids[0].svid.as_str()), ("", &svids[0].svid), ("db", ""), ("db", "a.b.c")] {
        assert_eq!(validate(audience, svid).await.unwrap_err(), Code::InvalidArgument, "{audience} {svid}");
    }
}

#[tokio::test]
async fn our_client_at_our_server_and_mutual_tls_with_it() {
    let scene = Scene::new(both());
    let source = scene.source();
    let identity = source.identity().await.unwrap();
    assert_eq!(identity.id().to_string(), "spiffe://td.test/web");
    let server = identity.server_config(&[b"x"]).unwrap();
    let client = identity.client_config(Expected::Ids(vec![identity.id().clone()]), &[b"x"]).unwrap();
    let (near, far) = tokio::io::duplex(4096);
    let (accepted, connected) = tokio::join!(
        tokio_rustls::TlsAcceptor::from(server).accept(far),
        tokio_rustls::TlsConnector::from(client).connect("ignored".try_into().unwrap(), near)
    );
    accepted.unwrap();
    connected.unwrap();
    let mut bundles = source.bundles().changes();
    while bundles.current().iter().all(|bundle| bundle.jwt_authorities().is_empty()) {
        bundles.changed().await.unwrap();
    }
    let token = source.jwt(&["db".to_owned()], None).await.unwrap();
    assert_eq!(token.id(), identity.id());

    // To be told that there is no identity takes it away.
    scene.entries.publish(Some(Entries::default()));
    let mut context = source.context().changes();
    while !context.current().svids.is_empty() {
        context.changed().await.unwrap();
    }
    assert!(identity.svid().is_none());
}

#[tokio::test]
async fn loss_of_the_server_is_no_loss_of_the_identity() {
    let scene = Scene::new(both());
    let source = scene.source();
    let identity = source.identity().await.unwrap();
    let serial = identity.svid().unwrap().serial().to_owned();
    scene.server.drain().await;
    // It has noticed, tries again and again, and keeps what it has.
    tokio::time::pause();
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert!(Client::connect(&Endpoint::Unix(scene.socket.clone())).x509().await.is_err(), "nobody listens");
    assert_eq!(identity.svid().unwrap().serial(), serial);
    assert_eq!(source.context().load().svids.len(), 2);
    let client = identity.client_config(Expected::Ids(vec![identity.id().clone()]), &[b"x"]);
    assert!(client.is_ok());
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn what_is_found_of_a_process() {
    use mesh_identity::workload_api::{Peer, WorkloadAttestor};
    let (one, _two) = UnixStream::pair().unwrap();
    let peer = Peer::of(&one).unwrap();
    assert!(peer.is_alive());
    let found = UnixAttestor { program: true }.selectors(&peer).unwrap();
    assert!(found.contains(&me()), "{found:?}");
    let program = std::env::current_exe().unwrap();
    assert!(found.contains(&Selector::new("unix", format!("path:{}", program.display()))));
    assert!(found.iter().any(|selector| selector.value.starts_with("sha256:") && selector.value.len() == 7 + 64));
    let without = UnixAttestor { program: false }.selectors(&peer).unwrap();
    assert!(without.is_subset(&found) && without.len() == found.len() - 2);

    // A process that ended is nobody, whoever has its number now.
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("socket");
    let listener = tokio::net::UnixListener::bind(&path).unwrap();
    let script = "import socket,sys; s=socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); s.recv(1)";
    let Ok(mut child) = tokio::process::Command::new("python3").arg("-c").arg(script).arg(&path).spawn() else {
        // Not by a macro, whose output is kept from view while the test passes.
        std::io::Write::write_all(&mut std::io::stderr(), b"SKIPPED: no python3 to be another process\n").unwrap();
        return;
    };
    let (stream, _) = listener.accept().await.unwrap();
    let peer = Peer::of(&stream).unwrap();
    assert!(peer.is_alive() && u32::try_from(peer.pid).ok() == child.id());
    child.kill().await.unwrap();
    assert!(!peer.is_alive());
    assert!(UnixAttestor::default().selectors(&peer).is_err());
}

#[tokio::test]
async fn a_stale_socket_is_replaced_and_anything_else_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("below").join("api.sock");
    drop(std::os::unix::net::UnixListener::bind(dir.path().join("stale.sock")).unwrap());
    assert!(Listener::bind(&dir.path().join("stale.sock")).is_ok());
    let first = Listener::bind(&path).unwrap();
    assert!(Listener::bind(&path).is_err(), "somebody listens");
    drop(first);
    assert!(!path.exists());
    std::fs::write(&path, "precious").unwrap();
    assert!(Listener::bind(&path).is_err());
    assert_eq!(std::fs::read(&path).unwrap(), b"precious");
}

#[tokio::test]
async fn one_user_does_not_use_up_the_server() {
    let scene = Scene::new(both());
    let mut streams = Vec::new();
    let mut refused = 0;
    // Beyond a hundred streams HTTP/2 makes a client wait, so every hundred get their own connection.
    for _ in 0..11 {
        let mut stub = scene.stub();
        for _ in 0..100 {
            match stub.fetch_jwt_bundles(with_header(JwtBundlesRequest {})).await {
                Ok(stream) => streams.push(stream),
                Err(status) => {
                    assert_eq!(status.code(), Code::ResourceExhausted);
                    refused += 1;
                }
            }
        }
    }
    assert_eq!((streams.len(), refused), (1000, 100));
    // Nor by calls that end at once; and who is refused is not looked at.
    let attested = scene.attestor.0.load(Ordering::SeqCst);
    let request = || with_header(JwtsvidRequest { audience: vec!["db".into()], spiffe_id: String::new() });
    let refused = scene.stub().fetch_jwtsvid(request()).await.map(|_| ()).unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);
    assert_eq!(scene.attestor.0.load(Ordering::SeqCst), attested);
    drop(streams);
    let mut stub = scene.stub();
    while stub.fetch_jwtsvid(request()).await.is_err() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_process_is_looked_at_once_for_each_connection() {
    let scene = Scene::new(both());
    for connections in 1..=2 {
        let mut stub = scene.stub();
        for _ in 0..3 {
            let bundles = stub.fetch_x509_bundles(with_header(X509BundlesRequest {})).await.unwrap();
            assert!(bundles.into_inner().message().await.unwrap().is_some());
        }
        assert_eq!(scene.attestor.0.load(Ordering::SeqCst), connections);
    }
}

#[tokio::test]
async fn secrets_end_with_the_entry_and_with_the_server() {
    let clock = Arc::new(ManualClock::new(SystemClock.now()));
    let mut short = entry("web", me());
    short.expires = Some(clock.now() + Duration::from_secs(60));
    let scene = Scene::by(Some([short].into_iter().collect()), Arc::<ManualClock>::clone(&clock));
    let open = async || {
        let (wishes, receiver) = tokio::sync::mpsc::channel(1);
        wishes.send(DiscoveryRequest { resource_names: vec!["default".into()], ..Default::default() }).await.unwrap();
        let mut stub = SecretDiscoveryServiceClient::new(channel(&scene.socket));
        let mut secrets = stub.stream_secrets(ReceiverStream::new(receiver)).await.unwrap().into_inner();
        assert_eq!(secrets.message().await.unwrap().unwrap().resources.len(), 1);
        (wishes, secrets)
    };
    let (_wishes, mut secrets) = open().await;
    clock.advance(Duration::from_secs(61));
    // Nobody tells that an entry ended.
    tokio::time::pause();
    let ended = tokio::time::timeout(Duration::from_secs(30), secrets.message()).await.expect("looks again in time");
    assert_eq!(ended.unwrap_err().code(), Code::PermissionDenied);
    tokio::time::resume();

    scene.entries.publish(both());
    let (_wishes, mut secrets) = open().await;
    scene.server.drain().await;
    assert_eq!(secrets.message().await.unwrap_err().code(), Code::Unavailable);
}

#[tokio::test]
async fn a_client_over_tcp_goes_to_the_address_that_it_was_given() {
    // With a zone, as link-local addresses have: that is no authority of a URI.
    let Ok(listener) = tokio::net::TcpListener::bind("[::1]:0").await else {
        // Not by a macro, whose output is kept from view while the test passes.
        std::io::Write::write_all(&mut std::io::stderr(), b"SKIPPED: no IPv6 on this machine\n").unwrap();
        return;
    };
    let port = listener.local_addr().unwrap().port();
    let liar = Liar(Arc::new(Mutex::new(vec![Err(Status::data_loss("here"))])));
    let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
    tokio::spawn(
        tonic::transport::Server::builder()
            .add_service(SpiffeWorkloadApiServer::new(liar))
            .serve_with_incoming(incoming),
    );
    let endpoint: Endpoint = format!("tcp://[::1%1]:{port}").parse().unwrap();
    let mut stream = Client::connect(&endpoint).x509().await.unwrap();
    let error = stream.next(&SystemClock).await.unwrap().err().unwrap();
    assert_eq!(error.code(), Some(Code::DataLoss));
}

/// A server that sends what it is given.
#[derive(Clone, Default)]
struct Liar(Arc<Mutex<Vec<Result<X509svidResponse, Status>>>>);

#[tonic::async_trait]
impl SpiffeWorkloadApi for Liar {
    type FetchX509SVIDStream = ReceiverStream<Result<X509svidResponse, Status>>;
    type FetchX509BundlesStream = ReceiverStream<Result<X509BundlesResponse, Status>>;
    type FetchJWTBundlesStream = ReceiverStream<Result<JwtBundlesResponse, Status>>;

    async fn fetch_x509svid(
        &self,
        request: Request<X509svidRequest>,
    ) -> Result<Response<Self::FetchX509SVIDStream>, Status> {
        assert_eq!(request.metadata().get("workload.spiffe.io").unwrap(), "true");
        let (sender, receiver) = tokio::sync::mpsc::channel(16);
        for message in self.0.lock().drain(..) {
            sender.try_send(message).unwrap();
        }
        Ok(Response::new(ReceiverStream::new(receiver)))
    }

    async fn fetch_x509_bundles(
        &self,
        _: Request<X509BundlesRequest>,
    ) -> Result<Response<Self::FetchX509BundlesStream>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn fetch_jwtsvid(&self, _: Request<JwtsvidRequest>) -> Result<Response<JwtsvidResponse>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn fetch_jwt_bundles(
        &self,
        _: Request<JwtBundlesRequest>,
    ) -> Result<Response<Self::FetchJWTBundlesStream>, Status> {
        Err(Status::unimplemented(""))
    }

    async fn validate_jwtsvid(
        &self,
        _: Request<ValidateJwtsvidRequest>,
    ) -> Result<Response<ValidateJwtsvidResponse>, Status> {
        Err(Status::unimplemented(""))
    }
}

/// What our client makes of the messages of a server.
async fn taken(messages: Vec<Result<X509svidResponse, Status>>) -> Vec<Result<(), String>> {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("api.sock");
    let liar = Liar(Arc::new(Mutex::new(messages)));
    let listener = Listener::bind(&socket).unwrap();
    tokio::spawn(
        tonic::transport::Server::builder()
            .add_service(SpiffeWorkloadApiServer::new(liar))
            .serve_with_incoming(listener),
    );
    let mut stream = Client::connect(&Endpoint::Unix(socket)).x509().await.unwrap();
    let mut seen = Vec::new();
    while let Some(message) = stream.next(&SystemClock).await {
        seen.push(message.map(|_| ()).map_err(|error| error.to_string()));
    }
    seen
}

#[tokio::test]
async fn messages_that_cannot_be_used_are_refused_whole() {
    use mesh_test_support::pki::Spec;
    let (ca, other) = (Ca::root("td.test"), Ca::root("other.test"));
    let leaf = ca.leaf(&Spec::new("spiffe://td.test/web"));
    let (twin, foreign) = (ca.leaf(&Spec::new("spiffe://td.test/web")), other.leaf(&Spec::new("spiffe://td.test/web")));
    let svid = |leaf: &mesh_test_support::pki::Leaf| X509svid {
        spiffe_id: "spiffe://td.test/web".into(),
        x509_svid: leaf.chain.iter().flat_map(|der| der.as_ref().to_vec()).collect(),
        x509_svid_key: leaf.key.secret_der().to_vec(),
        bundle: ca.certificate.to_vec(),
        hint: String::new(),
    };
    let message = |svids: Vec<X509svid>, federated: &[(&str, &[u8])], crl: Vec<Vec<u8>>| {
        let federated_bundles = federated.iter().map(|(name, der)| ((*name).to_owned(), der.to_vec())).collect();
        Ok(X509svidResponse { svids, crl, federated_bundles })
    };
    let good = svid(&leaf);
    let changed = |change: fn(&mut X509svid)| {
        let mut one = good.clone();
        change(&mut one);
        message(vec![one], &[], vec![])
    };
    let pem = mesh_identity::pem::encode("CERTIFICATE", &leaf.chain[0]);
    let messages = vec![
        message(
            vec![good.clone()],
            &[("spiffe://other.test", other.certificate.as_ref()), ("empty.test", b"")],
            vec![ca.revoke(&[])],
        ),
        message(vec![good.clone()], &[("other.test", other.certificate.as_ref())], vec![]),
        message(vec![], &[], vec![]),
        changed(|one| one.spiffe_id.clear()),
        changed(|one| one.x509_svid.clear()),
        changed(|one| one.x509_svid_key.clear()),
        changed(|one| one.bundle.clear()),
        changed(|one| one.spiffe_id = "spiffe://td.test/db".into()),
        changed(|one| one.x509_svid.push(0)),
        message(vec![X509svid { x509_svid_key: twin.key.secret_der().to_vec(), ..good.clone() }], &[], vec![]),
        message(vec![X509svid { x509_svid: pem.into_bytes(), ..good.clone() }], &[], vec![]),
        message(vec![svid(&foreign)], &[], vec![]),
        message(vec![good.clone()], &[("spiffe://OTHER.test", other.certificate.as_ref())], vec![]),
        message(vec![good.clone()], &[("spiffe://td.test", other.certificate.as_ref())], vec![]),
        message(
            vec![good.clone()],
            &[("a.test", other.certificate.as_ref()), ("spiffe://a.test", other.certificate.as_ref())],
            vec![],
        ),
        message(vec![good.clone()], &[], vec![vec![1, 2, 3]]),
    ];
    let seen = taken(messages).await;
    let (good, bad) = seen.split_at(2);
    assert_eq!(good, [Ok(()), Ok(())]);
    assert_eq!(bad.len(), 14);
    for (index, row) in bad.iter().enumerate() {
        assert!(row.is_err(), "row {index}");
    }
}

#[tokio::test]
async fn a_constant_live_of_entries_works_too() {
    // Programs whose entries never change need no publisher.
    let live: Live<Option<Entries>> = Live::constant(both());
    assert_eq!(live.load().as_ref().map(|entries| entries.all().len()), Some(3));
}
