//! SPIRE's server API over real sockets: nodes that join, renew, are banned; what they may ask for.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::disallowed_methods,
    missing_docs,
    reason = "a test"
)]

use std::sync::Arc;
use std::time::Duration;

use mesh_core::live::Publisher;
use mesh_core::name::{SpiffeId, parse_spiffe_id, parse_trust_domain};
use mesh_identity::attest::*;
use mesh_identity::authority::{Authority, Names, Rules};
use mesh_identity::bundle::{Bundle, BundleSet, Trusted};
use mesh_identity::clock::SystemClock;
use mesh_identity::connect::Connector;
use mesh_identity::pem;
use mesh_identity::proto::spire::api::server::agent::v1::agent_client::AgentClient;
use mesh_identity::proto::spire::api::server::agent::v1::attest_agent_request::{Params, Step};
use mesh_identity::proto::spire::api::server::agent::v1::*;
use mesh_identity::proto::spire::api::server::entry::v1::entry_server::{Entry as EntryService, EntryServer};
use mesh_identity::proto::spire::api::server::entry::v1::{
    GetAuthorizedEntriesRequest, GetAuthorizedEntriesResponse, SyncAuthorizedEntriesRequest,
    SyncAuthorizedEntriesResponse,
};
use mesh_identity::proto::spire::api::server::svid::v1::svid_client::SvidClient;
use mesh_identity::proto::spire::api::server::svid::v1::{
    BatchNewX509svidRequest, NewJwtsvidRequest, NewX509svidParams,
};
use mesh_identity::proto::spire::api::types;
use mesh_identity::registry::{Entries, Entry, Selector};
use mesh_identity::serve::Incoming;
use mesh_identity::source::{Identities, JwtSource, LocalSource, SvidSource};
use mesh_identity::spire::{Joining, Node, NodeError, Nodes, SpireParts, SpireServer};
use mesh_identity::tls::{Identity, server_authenticated_client};
use mesh_identity::trust::TrustStore;
use mesh_identity::verify::Expected;
use mesh_test_support::pki::{Ca, Spec};
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Code, Status};

fn id(path: &str) -> SpiffeId {
    parse_spiffe_id(&format!("spiffe://td.test{path}")).unwrap()
}

struct Scene {
    dir: tempfile::TempDir,
    address: String,
    authority: Arc<Authority>,
    nodes: Arc<Nodes>,
    tokens: Arc<JoinTokens>,
    entries: Publisher<Option<Entries>>,
    bundles: Publisher<BundleSet>,
    machines: Ca,
    admin: Identity,
    identities: Identities,
}

impl Scene {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(SystemClock);
        let authority = Authority::ephemeral(
            parse_trust_domain("td.test").unwrap(),
            Rules::default(),
            Arc::<SystemClock>::clone(&clock),
        );
        let authority = Arc::new(authority.unwrap());
        let (entries, live_entries) = Publisher::new(Some(Entries::default()));
        let (bundles, live_bundles) = Publisher::new(BundleSet::default().with(authority.bundle()));
        let nodes = Arc::new(Nodes::open(&dir.path().join("nodes")).unwrap());
        let tokens = Arc::new(JoinTokens::in_memory());
        let machines = Ca::root("machines.test");
        let x509pop = X509Pop::new(pem::encode("CERTIFICATE", &machines.certificate).as_bytes()).unwrap();
        let server = SpireServer::new(SpireParts {
            authority: Arc::clone(&authority),
            entries: live_entries,
            bundles: live_bundles.clone(),
            nodes: Arc::clone(&nodes),
            tokens: Arc::clone(&tokens),
            attestors: vec![Arc::<JoinTokens>::clone(&tokens), Arc::new(x509pop), Arc::new(Mute)],
            administrators: vec![id("/admin")],
            node_life: None,
            clock,
        });
        let source = LocalSource::new(Arc::clone(&authority), Duration::from_secs(3600), Names::default());
        let identities = Identities::builder(Arc::new(source), live_bundles.load().clone()).build();
        let own = identities.identity(&id("/spire/server")).await.unwrap();
        let admin = identities.identity(&id("/admin")).await.unwrap();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let config = own.server_config_with_optional_client_certificates(&[b"h2"]).unwrap();
        let incoming = Incoming::new(listener, config, &own);
        let (agent, bundle, entry, svid) = server.services();
        tokio::spawn(
            tonic::transport::Server::builder()
                .add_service(agent)
                .add_service(bundle)
                .add_service(entry)
                .add_service(svid)
                .serve_with_incoming(incoming),
        );
        Self { dir, address, authority, nodes, tokens, entries, bundles, machines, admin, identities }
    }

    fn joining(&self, evidence: impl Evidence, keep: bool) -> Joining {
        let trust = TrustStore::builder(Arc::new(SystemClock)).build();
        trust.own(self.authority.bundle());
        Joining {
            server: self.address.clone(),
            trust,
            evidence: Arc::new(evidence),
            trust_domain: parse_trust_domain("td.test").unwrap(),
            directory: keep.then(|| self.dir.path().join("node")),
            clock: Arc::new(SystemClock),
        }
    }

    fn token(&self) -> JoinTokenEvidence {
        let now = std::time::SystemTime::now();
        JoinTokenEvidence::new(self.tokens.mint(None, Duration::from_secs(60), None, now).unwrap().token)
    }

    fn machine(&self) -> X509PopEvidence {
        let leaf = self.machines.leaf(&Spec::new("spiffe://machines.test/m"));
        let chain: String = leaf.chain.iter().map(|der| pem::encode("CERTIFICATE", der)).collect();
        let key = pem::encode("PRIVATE KEY", leaf.key.secret_der());
        X509PopEvidence::from_pem(chain.as_bytes(), key.as_bytes()).unwrap()
    }

    async fn node(&self) -> Node {
        self.joining(self.token(), false).join().await.unwrap()
    }

    fn entry(&self, name: &str, node: &SpiffeId) -> Entry {
        Entry::new(name, id(&format!("/{name}")), node.clone(), [Selector::new("unix", "uid:1")])
    }

    fn publish(&self, entries: impl IntoIterator<Item = Entry>) {
        self.entries.publish(Some(entries.into_iter().collect()));
    }

    /// A channel that presents an identity, or none.
    fn channel(&self, identity: Option<&Identity>) -> Channel {
        let expected = Expected::Ids(vec![id("/spire/server")]);
        let config = match identity {
            Some(identity) => identity.client_config(expected, &[b"h2"]).unwrap(),
            None => {
                let bundles = TrustStore::builder(Arc::new(SystemClock)).build();
                bundles.own(self.authority.bundle());
                server_authenticated_client(bundles.bundles(), expected, Arc::new(SystemClock), &[b"h2"]).unwrap()
            }
        };
        tonic::transport::Endpoint::from_shared(format!("http://{}", self.address))
            .unwrap()
            .connect_with_connector_lazy(Connector::new(config))
    }
}

/// Asks, and is never content.
#[derive(Debug)]
struct Mute;

impl Attestor for Mute {
    fn kind(&self) -> &'static str {
        "mute"
    }

    fn attest<'a>(&'a self, _asked: Asked<'a>, challenges: &'a mut dyn Challenges) -> Attest<'a> {
        Box::pin(async move {
            loop {
                challenges.ask(b"again".to_vec()).await?;
            }
        })
    }
}

fn csr() -> Vec<u8> {
    let key = rcgen::KeyPair::generate().unwrap();
    csr_of(&key)
}

fn csr_of(key: &rcgen::KeyPair) -> Vec<u8> {
    rcgen::CertificateParams::default().serialize_request(key).unwrap().der().to_vec()
}

fn refused(error: NodeError) -> Box<Status> {
    match error {
        NodeError::Status { status } => status,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_node_joins_and_gets_identities_for_its_workloads() {
    let scene = Scene::new().await;
    let node = scene.node().await;
    let me = node.identity().id().clone();
    assert!(me.path().starts_with("/spire/agent/join_token/"));
    node.sync().await.unwrap();
    assert_eq!(*node.entries().load(), Some(Entries::default()));

    let mut web = scene.entry("web", &me);
    web.dns_names = vec!["web.test".into()];
    web.x509_life = Some(Duration::from_secs(600));
    scene.publish([web, scene.entry("stranger", &id("/spire/agent/join_token/other"))]);
    node.sync().await.unwrap();
    let entries = node.entries().snapshot();
    let entries = entries.as_ref().as_ref().unwrap();
    assert_eq!(entries.all().len(), 1);
    assert_eq!(entries.get("web").unwrap().dns_names, ["web.test"]);

    let source = node.source();
    let issued = source.fetch(&id("/web")).await.unwrap();
    assert_eq!(issued.svid.id(), &id("/web"));
    let life = issued.svid.not_after().duration_since(std::time::SystemTime::now()).unwrap();
    assert!(life <= Duration::from_secs(600));
    assert!(source.fetch(&id("/stranger")).await.is_err());
    let token = source.fetch_token(&id("/web"), &["db".to_owned()], None).await.unwrap();
    assert_eq!(token.audience(), ["db"]);
    assert!(source.fetch_token(&id("/web"), &[], None).await.is_err());

    // What it may not ask for, asked past our own client.
    let mut raw = SvidClient::new(scene.channel(Some(node.identity())));
    let params = |entry: &str, csr: Vec<u8>| NewX509svidParams { entry_id: entry.into(), csr };
    let batch = vec![params("web", csr()), params("stranger", csr()), params("web", b"junk".to_vec())];
    let results = raw.batch_new_x509svid(BatchNewX509svidRequest { params: batch }).await.unwrap().into_inner().results;
    let codes: Vec<_> = results.iter().map(|result| result.status.as_ref().unwrap().code).collect();
    assert_eq!(codes, [0, Code::NotFound as i32, Code::InvalidArgument as i32]);
    let token = NewJwtsvidRequest { entry_id: "stranger".into(), audience: vec!["db".into()] };
    assert_eq!(raw.new_jwtsvid(token).await.err().unwrap().code(), Code::NotFound);
    let none = BatchNewX509svidRequest { params: Vec::new() };
    assert_eq!(raw.batch_new_x509svid(none).await.err().unwrap().code(), Code::InvalidArgument);
    // Who is no node gets nothing.
    for identity in [None, Some(&scene.admin)] {
        let mut raw = SvidClient::new(scene.channel(identity));
        let asked = BatchNewX509svidRequest { params: vec![params("web", csr())] };
        assert_eq!(raw.batch_new_x509svid(asked).await.err().unwrap().code(), Code::PermissionDenied);
    }
}

#[tokio::test]
async fn evidence_that_counts_once() {
    let scene = Scene::new().await;
    let evidence = scene.token();
    let node = scene.joining(evidence.clone(), true).join().await.unwrap();
    // Not again by the same token, but at a restart by what is on disk.
    let status = refused(scene.joining(evidence.clone(), false).join().await.err().unwrap());
    assert_eq!(status.code(), Code::PermissionDenied);
    let again = scene.joining(evidence, true).join().await.unwrap();
    assert_eq!(again.identity().id(), node.identity().id());
    again.sync().await.unwrap();
    let file = scene.dir.path().join("node/node-svid.pem");
    let mode = std::os::unix::fs::MetadataExt::mode(&std::fs::metadata(&file).unwrap());
    assert_eq!(mode & 0o777, 0o600);
    // A torn file is no SVID.
    std::fs::write(&file, b"-----BEGIN CERT").unwrap();
    assert!(scene.joining(scene.token(), true).join().await.is_ok());
}

#[tokio::test]
async fn a_renewed_certificate_counts_from_its_first_use() {
    let scene = Scene::new().await;
    let node = scene.joining(scene.machine(), false).join().await.unwrap();
    assert!(node.identity().id().path().starts_with("/spire/agent/x509pop/"));
    let old = scene.channel(Some(node.identity()));
    let first = node.identity().svid().unwrap();
    let mut old = AgentClient::new(old);
    // The answer gets lost: the old one still counts.
    let renew = RenewAgentRequest { params: Some(AgentX509svidParams { csr: csr() }) };
    old.renew_agent(renew).await.unwrap();
    old.post_status(PostStatusRequest::default()).await.unwrap();
    node.renew().await.unwrap();
    assert_ne!(node.identity().svid().unwrap().serial(), first.serial());
    old.post_status(PostStatusRequest::default()).await.unwrap();
    // Once the new one was used, the old one counts no more.
    node.sync().await.unwrap();
    let status = old.post_status(PostStatusRequest::default()).await.err().unwrap();
    assert_eq!(status.code(), Code::PermissionDenied);
    assert!(!status.details().is_empty());
    let me = node.identity().id().clone();
    assert!(scene.nodes.delete(&me).unwrap());
    assert!(refused(node.sync().await.err().unwrap()).message().contains("not attested"));
    // It attests again, as the same node, while it is kept.
    let (before, mut renewed) = (node.identity().svid().unwrap(), node.identity().state().changes());
    let keeping = tokio::spawn(node.clone().keep());
    tokio::time::timeout(Duration::from_secs(30), renewed.changed()).await.expect("another SVID").unwrap();
    assert_ne!(node.identity().svid().unwrap().serial(), before.serial());
    node.sync().await.unwrap();
    assert!(scene.nodes.get(&me).is_some());
    keeping.abort();
}

#[tokio::test]
async fn banned_nodes_stay_out() {
    let scene = Scene::new().await;
    let evidence = Arc::new(scene.machine());
    let joining = Joining { evidence, ..scene.joining(scene.token(), false) };
    let node = joining.clone().join().await.unwrap();
    let me = node.identity().id().clone();
    let message = types::Spiffeid { trust_domain: "td.test".into(), path: me.path().into() };

    // Only by an administrator.
    for identity in [None, Some(node.identity())] {
        let mut raw = AgentClient::new(scene.channel(identity));
        let ban = BanAgentRequest { id: Some(message.clone()) };
        assert_eq!(raw.ban_agent(ban).await.err().unwrap().code(), Code::PermissionDenied);
        let token = CreateJoinTokenRequest::default();
        assert_eq!(raw.create_join_token(token).await.err().unwrap().code(), Code::PermissionDenied);
    }
    let mut admin = AgentClient::new(scene.channel(Some(&scene.admin)));
    admin.ban_agent(BanAgentRequest { id: Some(message.clone()) }).await.unwrap();
    let nobody = types::Spiffeid { trust_domain: "td.test".into(), path: "/spire/agent/x".into() };
    let status = admin.ban_agent(BanAgentRequest { id: Some(nobody) }).await.err().unwrap();
    assert_eq!(status.code(), Code::NotFound);

    assert!(refused(node.sync().await.err().unwrap()).message().contains("banned"));
    assert!(refused(node.renew().await.err().unwrap()).message().contains("banned"));
    let status = refused(joining.clone().join().await.err().unwrap());
    assert_eq!((status.code(), status.message()), (Code::PermissionDenied, "the node is banned"));
    // The ban survives a restart.
    let nodes = Nodes::open(&scene.dir.path().join("nodes")).unwrap();
    assert!(nodes.get(&me).unwrap().banned);
    // Until it is taken back.
    admin.delete_agent(DeleteAgentRequest { id: Some(message) }).await.unwrap();
    joining.join().await.unwrap().sync().await.unwrap();
}

#[tokio::test]
async fn administrators_make_join_tokens() {
    let scene = Scene::new().await;
    let mut admin = AgentClient::new(scene.channel(Some(&scene.admin)));
    let edge = types::Spiffeid { trust_domain: "td.test".into(), path: "/fleet/edge".into() };
    let asked = CreateJoinTokenRequest { ttl: 60, token: String::new(), agent_id: Some(edge) };
    let token = admin.create_join_token(asked).await.unwrap().into_inner();
    assert!(token.expires_at > 0);
    let foreign = types::Spiffeid { trust_domain: "other.test".into(), path: "/x".into() };
    let asked = CreateJoinTokenRequest { ttl: 60, token: String::new(), agent_id: Some(foreign) };
    assert_eq!(admin.create_join_token(asked).await.err().unwrap().code(), Code::InvalidArgument);
    let long = CreateJoinTokenRequest { ttl: i32::MAX, ..Default::default() };
    assert_eq!(admin.create_join_token(long).await.err().unwrap().code(), Code::InvalidArgument);

    // The node is what it was promised to be, too.
    let node = scene.joining(JoinTokenEvidence::new(&token.value), false).join().await.unwrap();
    scene.publish([scene.entry("web", &id("/fleet/edge")), scene.entry("db", &id("/fleet/core"))]);
    node.sync().await.unwrap();
    let entries = node.entries().snapshot();
    let names: Vec<_> = entries.as_ref().as_ref().unwrap().all().iter().map(|entry| entry.id.clone()).collect();
    assert_eq!(names, ["web"]);
}

#[tokio::test]
async fn many_entries_come_by_revision() {
    let scene = Scene::new().await;
    let node = scene.node().await;
    let me = node.identity().id().clone();
    let mut all: Vec<Entry> = (0..1_234).map(|n| scene.entry(&format!("w{n:04}"), &me)).collect();
    scene.publish(all.clone());
    node.sync().await.unwrap();
    let known = |node: &Node| node.entries().snapshot().as_ref().clone().unwrap();
    assert_eq!(known(&node).all().len(), 1_234);
    all[7].revision = 1;
    all[7].hint = "changed".into();
    all.remove(100);
    scene.publish(all.clone());
    node.sync().await.unwrap();
    assert_eq!(known(&node).all().len(), 1_233);
    assert_eq!(known(&node).get("w0007").unwrap().hint, "changed");
    assert!(known(&node).get("w0100").is_none());
    scene.publish(all.into_iter().take(3));
    node.sync().await.unwrap();
    assert_eq!(known(&node).all().len(), 3);
    scene.entries.publish(None);
    assert_eq!(refused(node.sync().await.err().unwrap()).code(), Code::Unavailable);
    assert_eq!(known(&node).all().len(), 3);
}

#[tokio::test]
async fn federated_bundles_come_with_the_entries() {
    let scene = Scene::new().await;
    let node = scene.node().await;
    let mut web = scene.entry("web", node.identity().id());
    let other = parse_trust_domain("other.test").unwrap();
    web.federates_with = [other.clone()].into();
    scene.publish([web]);
    node.sync().await.unwrap();
    assert!(node.bundles().load().trusted(&other).is_none());
    let foreign = Authority::ephemeral(other.clone(), Rules::default(), Arc::new(SystemClock)).unwrap();
    let both = scene.bundles.live().load().clone().with(foreign.bundle());
    scene.bundles.publish(both);
    node.sync().await.unwrap();
    assert_eq!(node.bundles().load().trusted(&other).unwrap().bundle.authorities().len(), 1);

    // What ended at the server does not begin anew at the node.
    let ended = Trusted::new(foreign.bundle()).until(Some(std::time::SystemTime::now() - Duration::from_secs(1)));
    let all = scene.bundles.live().load().clone();
    scene.bundles.publish(all.with_all([ended]));
    node.sync().await.unwrap();
    assert!(node.bundles().load().trusted(&other).is_none());
}

#[tokio::test]
async fn a_foreign_bundle_without_authorities_keeps_nothing_back() {
    let scene = Scene::new().await;
    let node = scene.node().await;
    let domains = ["one.test", "two.test"].map(|name| parse_trust_domain(name).unwrap());
    let mut web = scene.entry("web", node.identity().id());
    web.federates_with = domains.clone().into();
    scene.publish([web]);
    let two = Authority::ephemeral(domains[1].clone(), Rules::default(), Arc::new(SystemClock)).unwrap();
    let all = scene.bundles.live().load().clone();
    scene.bundles.publish(all.with(Bundle::of(domains[0].clone(), vec![], vec![])).with(two.bundle()));
    node.sync().await.unwrap();
    let trusted = domains.map(|domain| node.bundles().load().get(&domain).unwrap().authorities().len());
    assert_eq!((trusted, node.entries().snapshot().as_ref().as_ref().unwrap().all().len()), ([0, 1], 1));
}

/// A server whose stream of entries ends at once.
struct Cut;

#[tonic::async_trait]
impl EntryService for Cut {
    async fn get_authorized_entries(
        &self,
        _request: tonic::Request<GetAuthorizedEntriesRequest>,
    ) -> Result<tonic::Response<GetAuthorizedEntriesResponse>, Status> {
        Err(Status::unimplemented("not asked here"))
    }

    type SyncAuthorizedEntriesStream = ReceiverStream<Result<SyncAuthorizedEntriesResponse, Status>>;

    async fn sync_authorized_entries(
        &self,
        _request: tonic::Request<tonic::Streaming<SyncAuthorizedEntriesRequest>>,
    ) -> Result<tonic::Response<Self::SyncAuthorizedEntriesStream>, Status> {
        Ok(tonic::Response::new(ReceiverStream::new(tokio::sync::mpsc::channel(1).1)))
    }
}

#[tokio::test]
async fn entries_stay_when_the_answer_ends_early() {
    let scene = Scene::new().await;
    let own = scene.identities.identity(&id("/spire/server")).await.unwrap();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let config = own.server_config_with_optional_client_certificates(&[b"h2"]).unwrap();
    let incoming = Incoming::new(listener, config, &own);
    let cut = tonic::transport::Server::builder().add_service(EntryServer::new(Cut));
    tokio::spawn(cut.serve_with_incoming(incoming));
    // The node joined before, and meets the other server after its restart.
    drop(scene.joining(scene.token(), true).join().await.unwrap());
    let joining = Joining { server: address, ..scene.joining(scene.token(), true) };
    let node = joining.join().await.unwrap();
    let refused = node.sync().await.unwrap_err();
    assert!(matches!(refused, NodeError::Answer("entries are missing")), "{refused}");
    assert!(node.entries().load().is_none(), "not known is not none");
}

/// Sends steps as they are and gives the last answer.
async fn attest(scene: &Scene, steps: Vec<AttestAgentRequest>) -> Result<AttestAgentResponse, Status> {
    let (sender, receiver) = tokio::sync::mpsc::channel(steps.len().max(1));
    for step in steps {
        sender.send(step).await.unwrap();
    }
    drop(sender);
    let mut client = AgentClient::new(scene.channel(None)).max_encoding_message_size(4 * 1024 * 1024);
    let mut answers = client.attest_agent(ReceiverStream::new(receiver)).await?.into_inner();
    let mut last = Err(Status::cancelled("no answer"));
    while let Some(answer) = answers.message().await? {
        last = Ok(answer);
    }
    last
}

fn params(kind: &str, payload: &[u8], csr: Vec<u8>) -> AttestAgentRequest {
    let data = types::AttestationData { r#type: kind.into(), payload: payload.to_vec() };
    AttestAgentRequest {
        step: Some(Step::Params(Params { data: Some(data), params: Some(AgentX509svidParams { csr }) })),
    }
}

#[tokio::test]
async fn attestations_that_are_refused() {
    let scene = Scene::new().await;
    let minted = || {
        let now = std::time::SystemTime::now();
        scene.tokens.mint(None, Duration::from_secs(60), None, now).unwrap().token.into_bytes()
    };
    let answer = || AttestAgentRequest { step: Some(Step::ChallengeResponse(b"x".to_vec())) };
    let code = |result: Result<AttestAgentResponse, Status>| result.err().unwrap().code();
    assert_eq!(code(attest(&scene, vec![]).await), Code::InvalidArgument);
    assert_eq!(code(attest(&scene, vec![answer()]).await), Code::InvalidArgument);
    assert_eq!(code(attest(&scene, vec![AttestAgentRequest { step: None }]).await), Code::InvalidArgument);
    assert_eq!(code(attest(&scene, vec![params("sorcery", b"", csr())]).await), Code::InvalidArgument);
    let large = vec![0; 70_000];
    assert_eq!(code(attest(&scene, vec![params("mute", &large, csr())]).await), Code::ResourceExhausted);
    let huge = vec![0; 1024 * 1024];
    assert!(matches!(
        code(attest(&scene, vec![params("mute", &huge, csr())]).await),
        Code::OutOfRange | Code::ResourceExhausted
    ));
    assert_eq!(code(attest(&scene, vec![params("join_token", b"guess", csr())]).await), Code::PermissionDenied);
    assert_eq!(
        code(attest(&scene, vec![params("join_token", &minted(), b"junk".to_vec())]).await),
        Code::InvalidArgument
    );
    // Challenges that are never answered, answered by something else, and without end.
    assert_eq!(code(attest(&scene, vec![params("mute", b"", csr())]).await), Code::PermissionDenied);
    let again = vec![params("mute", b"", csr()), params("mute", b"", csr())];
    assert_eq!(code(attest(&scene, again).await), Code::PermissionDenied);
    let mut endless = vec![params("mute", b"", csr())];
    endless.extend((0..20).map(|_| answer()));
    assert_eq!(code(attest(&scene, endless).await), Code::PermissionDenied);

    // One key is one node.
    let key = rcgen::KeyPair::generate().unwrap();
    attest(&scene, vec![params("join_token", &minted(), csr_of(&key))]).await.unwrap();
    let status = attest(&scene, vec![params("join_token", &minted(), csr_of(&key))]).await.err().unwrap();
    assert!(status.message().contains("another node's"), "{status}");

    // And an address that tries without end has to wait.
    let mut last = Code::Ok;
    for _ in 0..40 {
        last = code(attest(&scene, vec![params("join_token", b"guess", csr())]).await);
        if last == Code::ResourceExhausted {
            break;
        }
    }
    assert_eq!(last, Code::ResourceExhausted);
}

#[tokio::test]
async fn a_server_that_is_somebody_else_gets_no_evidence() {
    let scene = Scene::new().await;
    let other = Authority::ephemeral(parse_trust_domain("td.test").unwrap(), Rules::default(), Arc::new(SystemClock));
    let trust = TrustStore::builder(Arc::new(SystemClock)).build();
    trust.own(other.unwrap().bundle());
    let evidence = scene.token();
    let joining = Joining { trust, ..scene.joining(evidence.clone(), false) };
    assert!(joining.join().await.is_err());
    // It was not used up.
    scene.joining(evidence, false).join().await.unwrap();
}
