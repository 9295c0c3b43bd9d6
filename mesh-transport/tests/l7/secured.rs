//! TLS of listeners and towards endpoints: what the configuration says, or no connection.

use mesh_core::name::Hostname;
use mesh_core::tls::{
    Certificate, CertificateSource, ClientCertificate, DataSource, DownstreamTls, SanKind, SanMatcher, Sensitive,
    TrustedCa, UpstreamTls, Validation, ValidationSource,
};
use mesh_identity::pem;
use mesh_identity::tls::{Credentials, Offer, Origination, Termination};
use mesh_test_support::pki::{Ca, Leaf, Spec};

use super::*;

fn inline(text: String) -> DataSource {
    DataSource::Inline(text.into_bytes().into())
}

fn shown(leaf: &Leaf) -> CertificateSource {
    CertificateSource::Inline(Certificate {
        chain: inline(pem::encode_certificates(&leaf.chain)),
        key: Sensitive(inline(pem::encode("PRIVATE KEY", leaf.key.secret_der()))),
        ocsp_staple: None,
    })
}

fn named(ca: &Ca, name: &str) -> Leaf {
    ca.leaf(&Spec { uris: vec![], dns: vec![name.to_owned()], ..Spec::new("") })
}

fn believing(ca: &Ca, name: &str) -> ValidationSource {
    let roots = inline(pem::encode_certificates(std::slice::from_ref(&ca.certificate)));
    let names = vec![SanMatcher { kind: SanKind::Dns, pattern: Pattern::exact(name) }];
    ValidationSource::Inline(Validation { trusted_ca: Some(TrustedCa::Bundle(roots)), names, ..Validation::default() })
}

/// What came to a server in plaintext, before and beside TLS.
#[derive(Clone, Default)]
struct Plain(Arc<Mutex<Vec<u8>>>);

/// A server behind TLS, which tells the server name and what was agreed on.
async fn secured_backend(tls: DownstreamTls) -> (SocketAddr, Plain) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let termination = Arc::new(Termination::new(tls, Credentials::default()));
    let plain = Plain::default();
    let seen = plain.clone();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (termination, seen) = (Arc::clone(&termination), seen.clone());
            tokio::spawn(async move {
                let mut first = [0; 1];
                if stream.peek(&mut first).await.is_ok_and(|read| read == 1) && first[0] != 0x16 {
                    seen.0.lock().unwrap().push(first[0]);
                }
                let Ok((stream, peer)) = termination.accept(stream).await else { return };
                let alpn = stream.get_ref().1.alpn_protocol().map(|alpn| String::from_utf8_lossy(alpn).into_owned());
                let text = format!("{:?} {:?} {:?}", peer.server_name, alpn, peer.dns_names);
                let service = tower::service_fn(move |request: Request<Body>| {
                    let text = format!("{:?} {text}", request.version());
                    async move { Ok::<_, Infallible>(Response::new(Body::from(text))) }
                });
                let server = Server::new(&HttpManager::new(RouteSource::Rds("none".into())));
                let accepted = Accepted::new(Downstream::new([127, 0, 0, 1].into(), 443), ());
                let _ = server.serve(stream, accepted, service, CancellationToken::new()).await;
            });
        }
    });
    (address, plain)
}

fn secure(scene: &mut Scene, name: &str, tls: UpstreamTls, protocol: HttpProtocol) {
    let cluster = scene.resources.clusters.get_mut(name).unwrap();
    *cluster = Arc::new(Cluster { tls: Some(tls), protocol, ..Cluster::clone(cluster) });
}

#[tokio::test]
async fn endpoints_must_prove_to_be_who_the_cluster_says() {
    let (ca, other) = (Ca::root("td.test"), Ca::root("td.test"));
    let mut server = DownstreamTls::new(vec![shown(&named(&ca, "shop.test"))]);
    server.alpn = vec!["h2".into(), "http/1.1".into()];
    let client = named(&ca, "proxy.test");
    server.client = ClientCertificate::Optional(believing(&ca, "proxy.test"));
    let (at, plain) = secured_backend(server).await;

    let good = UpstreamTls {
        sni: Some(Hostname::parse("shop.test").unwrap()),
        certificate: Some(shown(&client)),
        ..UpstreamTls::new(believing(&ca, "shop.test"))
    };
    let alone = UpstreamTls { sni: None, certificate: None, ..good.clone() };
    let wrong_name = UpstreamTls::new(believing(&ca, "else.test"));
    let wrong_ca = UpstreamTls::new(believing(&other, "shop.test"));
    let no_secret = UpstreamTls::new(ValidationSource::Secret("roots".into()));
    let cases = [
        ("one", good.clone(), HttpProtocol::Http1),
        ("two", good, HttpProtocol::Http2),
        ("auto", alone, HttpProtocol::Auto),
        ("name", wrong_name, HttpProtocol::Http1),
        ("ca", wrong_ca, HttpProtocol::Http1),
        ("secret", no_secret, HttpProtocol::Http1),
    ];
    let mut scene = Scene::new();
    scene.routes(cases.iter().map(|(name, ..)| route(&format!("/{name}"), name)).collect());
    for (name, tls, protocol) in cases {
        scene.cluster(name, &[at]);
        secure(&mut scene, name, tls, protocol);
    }
    scene.http(|_| {});
    scene.apply().await;

    for (path, said) in [
        ("/one", r#"HTTP/1.1 Some("shop.test") Some("http/1.1") ["proxy.test"]"#),
        ("/two", r#"HTTP/2.0 Some("shop.test") Some("h2") ["proxy.test"]"#),
        ("/auto", r#"HTTP/2.0 None Some("h2") []"#),
    ] {
        let answer = scene.get(path).await;
        assert!(answer.starts_with("HTTP/1.1 200 ") && answer.ends_with(said), "{path}: {answer}");
        scene.log.next().await;
    }
    for path in ["/name", "/ca", "/secret"] {
        let answer = scene.get(path).await;
        assert!(answer.starts_with("HTTP/1.1 503 "), "{path}: {answer}");
        assert_eq!(scene.log.next().await.flags.to_string(), "UF", "{path}");
    }
    assert!(plain.0.lock().unwrap().is_empty(), "nothing goes in plaintext");
}

#[tokio::test]
async fn probes_are_secured_as_requests_are_and_as_they_are_now() {
    let (ca, other) = (Ca::root("td.test"), Ca::root("td.test"));
    let (at, _) = secured_backend(DownstreamTls::new(vec![shown(&named(&ca, "shop.test"))])).await;
    let mut scene = Scene::new();
    scene.assembly = Assembly::probing();
    scene.cluster("shop", &[at]);
    let cluster = scene.resources.clusters.get_mut("shop").unwrap();
    let mut checked = Cluster::clone(cluster);
    let check = HealthCheck::new(Probe::Http(HttpProbe::new("/health")), SOON, Duration::from_millis(20));
    checked.health_checks = vec![check];
    checked.panic_threshold = 0;
    *cluster = Arc::new(checked);
    secure(&mut scene, "shop", UpstreamTls::new(believing(&other, "shop.test")), HttpProtocol::Http1);
    scene.routes(vec![route("/", "shop")]);
    scene.http(|_| {});
    scene.apply().await;
    assert!(scene.get("/").await.starts_with("HTTP/1.1 503 "));
    assert_eq!(scene.log.next().await.flags.to_string(), "UH", "its probes fail");
    secure(&mut scene, "shop", UpstreamTls::new(believing(&ca, "shop.test")), HttpProtocol::Http1);
    scene.apply().await;
    let passes = async { while !scene.get("/").await.starts_with("HTTP/1.1 200 ") {} };
    tokio::time::timeout(SOON, passes).await.expect("its probes pass");
}

#[tokio::test]
async fn bytes_go_to_endpoints_by_tls_too() {
    let ca = Ca::root("td.test");
    let (at, plain) = secured_backend(DownstreamTls::new(vec![shown(&named(&ca, "shop.test"))])).await;
    let mut scene = Scene::new();
    for (name, expected) in [("shop", "shop.test"), ("wrong", "else.test")] {
        scene.cluster(name, &[at]);
        secure(&mut scene, name, UpstreamTls::new(believing(&ca, expected)), HttpProtocol::Http1);
    }
    for (cluster, answered) in [("shop", true), ("wrong", false)] {
        scene.listener(|socket| socket.chains = vec![FilterChain::new(Terminal::Tcp(TcpProxy::to(cluster)))]);
        scene.apply().await;
        let answer = scene.get("/").await;
        assert_eq!(answer.starts_with("HTTP/1.1 200 "), answered, "{answer}");
    }
    assert!(plain.0.lock().unwrap().is_empty());
}

/// A connection that came through no tunnel.
fn stranger(scene: &Scene) -> DuplexStream {
    let (near, far) = tokio::io::duplex(64 * 1024);
    let connection = Connection::new("10.0.0.1:1234".parse().unwrap(), "10.0.0.9:443".parse().unwrap());
    let proxy = scene.proxy.clone();
    tokio::spawn(async move { proxy.serve("in", far, Incoming::new(Arc::new(connection))).await });
    near
}

/// A listener with TLS, on top of that of the scene.
fn listen(scene: &mut Scene, tls: DownstreamTls) {
    scene.listener(|socket| {
        let manager = HttpManager::new(RouteSource::Rds("routes".into()));
        let mut chain = FilterChain::new(Terminal::Http(Box::new(manager)));
        chain.tls = Some(tls);
        socket.chains = vec![chain];
    });
}

#[tokio::test]
async fn clients_are_served_by_tls_where_the_listener_says_so() {
    let ca = Ca::root("td.test");
    let mut scene = Scene::new();
    scene.cluster("shop", &[backend("shop").await]);
    scene.routes(vec![route("/", "shop")]);
    let mut tls = DownstreamTls::new(vec![shown(&named(&ca, "front.test"))]);
    tls.client = ClientCertificate::Optional(believing(&ca, "web.test"));
    listen(&mut scene, tls.clone());
    scene.apply().await;

    let web = ca.leaf(&Spec { dns: vec!["web.test".into()], ..Spec::new("spiffe://td.test/web") });
    let other = named(&ca, "other.test");
    let plain = UpstreamTls {
        sni: Some(Hostname::parse("front.test").unwrap()),
        ..UpstreamTls::new(believing(&ca, "front.test"))
    };
    let asked = async |io: DuplexStream, certificate: Option<&Leaf>| {
        let tls = UpstreamTls { certificate: certificate.map(shown), ..plain.clone() };
        let client = Origination::new(tls, Credentials::default());
        let mut stream = client.connect(io, "", &Offer::default()).await.ok()?;
        stream.write_all(b"GET / HTTP/1.1\r\nhost: shop\r\nconnection: close\r\n\r\n").await.ok()?;
        let mut answer = String::new();
        tokio::time::timeout(SOON, stream.read_to_string(&mut answer)).await.unwrap().ok()?;
        Some(answer)
    };
    for (certificate, peer) in [(None, None), (Some(&web), Some("spiffe://td.test/web"))] {
        let answer = asked(stranger(&scene), certificate).await.unwrap();
        assert!(answer.ends_with("shop / "), "{answer}");
        let record = scene.log.next().await;
        let Connection { tls, server_name, peer: names, .. } = &*record.connection;
        assert_eq!((record.connection.peer_uri(), *tls), (peer, true));
        assert_eq!(server_name.as_ref().map(|name| name.as_str()), Some("front.test"));
        assert_eq!(names.as_ref().map(|names| names.certificate.is_empty()), Some(peer.is_none()));
    }
    assert_eq!(asked(stranger(&scene), Some(&other)).await, None);
    let plaintext = scene.get("/").await;
    assert!(!plaintext.contains("HTTP/1.1"), "plaintext is not answered: {plaintext}");
    // Whoever came through a tunnel stays who the tunnel says.
    assert!(asked(scene.connect(), Some(&web)).await.is_some());
    assert_eq!(scene.log.next().await.connection.peer_uri(), Some("spiffe://td/ns/shop/sa/web"));

    // A certificate that does not come refuses, and does not serve in plaintext.
    tls.certificates = vec![CertificateSource::Secret("front".into())];
    listen(&mut scene, tls);
    scene.apply().await;
    assert_eq!(asked(stranger(&scene), None).await, None);
    let plaintext = scene.get("/").await;
    assert!(!plaintext.contains("HTTP/1.1"), "{plaintext}");
}

#[tokio::test]
async fn the_server_name_chooses_the_chain_and_its_certificate() {
    let ca = Ca::root("td.test");
    let mut scene = Scene::new();
    scene.routes(vec![route("/", "shop")]);
    for name in ["one", "two"] {
        scene.cluster(name, &[backend(name).await]);
    }
    scene.listener(|socket| {
        socket.chains = ["one", "two"]
            .map(|name| {
                let host = format!("{name}.test");
                let all =
                    VirtualHost { domains: vec!["*".into()], routes: vec![route("/", name)], ..VirtualHost::default() };
                let table = RouteTable::new(RouteConfig { hosts: vec![all], ..RouteConfig::default() }).unwrap();
                let manager = HttpManager::new(RouteSource::Inline(Box::new(table)));
                let mut chain = FilterChain::new(Terminal::Http(Box::new(manager)));
                chain.tls = Some(DownstreamTls::new(vec![shown(&named(&ca, &host))]));
                chain.matcher.server_names = [Hostname::parse(&host).unwrap()].into();
                chain
            })
            .into();
    });
    scene.apply().await;
    for name in ["one", "two"] {
        let host = format!("{name}.test");
        let tls = UpstreamTls { sni: Some(Hostname::parse(&host).unwrap()), ..UpstreamTls::new(believing(&ca, &host)) };
        let client = Origination::new(tls, Credentials::default());
        let mut stream = client.connect(scene.connect(), "", &Offer::default()).await.unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nhost: shop\r\n\r\n").await.unwrap();
        let answer = response(&mut stream).await;
        assert!(answer.ends_with(&format!("{name} / ")), "{answer}");
    }
}
