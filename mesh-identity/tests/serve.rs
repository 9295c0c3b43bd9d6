//! Servers and clients that know their peer.
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

use mesh_core::live::{Live, Publisher};
use mesh_core::name::{SpiffeId, parse_spiffe_id, parse_trust_domain};
use mesh_identity::authority::{Authority, Names, Rules};
use mesh_identity::bundle::BundleSet;
use mesh_identity::clock::SystemClock;
use mesh_identity::connect::Connector;
use mesh_identity::serve::{Caller, Demand, Incoming};
use mesh_identity::source::{Identities, LocalSource, SvidSource, SvidState};
use mesh_identity::tls::Identity;
use mesh_identity::verify::Expected;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

fn id(text: &str) -> SpiffeId {
    parse_spiffe_id(text).unwrap()
}

fn authority() -> Arc<Authority> {
    let domain = parse_trust_domain("td.test").unwrap();
    Arc::new(Authority::ephemeral(domain, Rules::default(), Arc::new(SystemClock)).unwrap())
}

/// An identity that trusts what it is told to.
async fn identity(authority: &Arc<Authority>, name: &str, bundles: Live<BundleSet>) -> Identity {
    let source = LocalSource::new(Arc::clone(authority), Duration::from_secs(600), Names::default());
    let issued = source.fetch(&id(name)).await.unwrap();
    let state = SvidState { svid: Some(Arc::new(issued.svid)), last_error: None, rotations: 1 };
    Identity::new(id(name), Live::constant(state), bundles, Arc::new(SystemClock))
}

async fn listener() -> (tokio::net::TcpListener, String) {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    (listener, address)
}

#[tokio::test]
async fn a_grpc_service_demands_an_identity_and_sees_it() {
    use mesh_identity::proto::workload::spiffe_workload_api_client::SpiffeWorkloadApiClient;
    use mesh_identity::proto::workload::spiffe_workload_api_server::{SpiffeWorkloadApi, SpiffeWorkloadApiServer};
    use mesh_identity::proto::workload::*;
    use tokio_stream::wrappers::ReceiverStream;
    use tonic::{Code, Request, Response, Status};

    /// Any generated service will do: it answers with the caller's name.
    struct Echo;

    #[tonic::async_trait]
    impl SpiffeWorkloadApi for Echo {
        type FetchX509SVIDStream = ReceiverStream<Result<X509svidResponse, Status>>;
        type FetchX509BundlesStream = ReceiverStream<Result<X509BundlesResponse, Status>>;
        type FetchJWTBundlesStream = ReceiverStream<Result<JwtBundlesResponse, Status>>;

        async fn fetch_x509svid(
            &self,
            _: Request<X509svidRequest>,
        ) -> Result<Response<Self::FetchX509SVIDStream>, Status> {
            Err(Status::unimplemented(""))
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
            request: Request<ValidateJwtsvidRequest>,
        ) -> Result<Response<ValidateJwtsvidResponse>, Status> {
            let caller = request.extensions().get::<Caller>().unwrap();
            let spiffe_id = caller.peer().unwrap().id().to_string();
            Ok(Response::new(ValidateJwtsvidResponse { spiffe_id, claims: None }))
        }
    }

    let authority = authority();
    let bundles = Live::constant(BundleSet::default().with(authority.bundle()));
    let server = identity(&authority, "spiffe://td.test/db", bundles.clone()).await;
    let (listener, address) = listener().await;
    let incoming = Incoming::new(listener, server.server_config(&[b"h2"]).unwrap(), &server);
    assert_eq!(incoming.address().unwrap().to_string(), address);
    let web = Expected::Ids(vec![id("spiffe://td.test/web")]);
    tokio::spawn(
        tonic::transport::Server::builder()
            .layer(Demand::new(web))
            .add_service(SpiffeWorkloadApiServer::new(Echo))
            .serve_with_incoming(incoming),
    );
    let ask = async |caller: &str, expected: &str| {
        let caller = identity(&authority, caller, bundles.clone()).await;
        let config = caller.client_config(Expected::Ids(vec![id(expected)]), &[b"h2"]).unwrap();
        let channel = tonic::transport::Endpoint::from_static("http://name.that.plays.no.part:1")
            .connect_with_connector_lazy(Connector::new(config).to(&*address));
        let answer = SpiffeWorkloadApiClient::new(channel).validate_jwtsvid(ValidateJwtsvidRequest::default()).await;
        answer.map(|answer| answer.into_inner().spiffe_id)
    };
    assert_eq!(ask("spiffe://td.test/web", "spiffe://td.test/db").await.unwrap(), "spiffe://td.test/web");
    assert_eq!(ask("spiffe://td.test/batch", "spiffe://td.test/db").await.unwrap_err().code(), Code::PermissionDenied);
    // The server is somebody else than the client wants: our own words for it are in the error.
    let error = ask("spiffe://td.test/web", "spiffe://td.test/other").await.unwrap_err();
    assert!(mesh_core::report::chain(&error).contains("spiffe://td.test/db"), "{}", mesh_core::report::chain(&error));
}

/// Echoes bytes, and tells who sent them.
async fn echo(mut incoming: Incoming) {
    while let Some(mut connection) = incoming.next().await {
        tokio::spawn(async move {
            let mut bytes = [0; 64];
            while let Ok(read) = connection.read(&mut bytes).await {
                if read == 0 || connection.write_all(&bytes[..read]).await.is_err() {
                    return;
                }
            }
        });
    }
}

#[tokio::test]
async fn a_connection_ends_with_the_trust_in_its_caller() {
    let (ours, theirs) = (authority(), {
        let domain = parse_trust_domain("other.test").unwrap();
        Arc::new(Authority::ephemeral(domain, Rules::default(), Arc::new(SystemClock)).unwrap())
    });
    let both = BundleSet::default().with(ours.bundle()).with(theirs.bundle());
    let (publisher, bundles) = Publisher::new(both.clone());
    let server = identity(&ours, "spiffe://td.test/db", bundles).await;
    let (listener, address) = listener().await;
    tokio::spawn(echo(Incoming::new(listener, server.server_config(&[b"x"]).unwrap(), &server)));
    let connect = async |authority: &Arc<Authority>, name: &str| {
        let caller = identity(authority, name, Live::constant(both.clone())).await;
        let config = caller.client_config(Expected::Anyone, &[b"x"]).unwrap();
        let tcp = tokio::net::TcpStream::connect(&address).await.unwrap();
        tokio_rustls::TlsConnector::from(config).connect("x".try_into().unwrap(), tcp).await.unwrap()
    };
    let mut friend = connect(&ours, "spiffe://td.test/web").await;
    let mut foreigner = connect(&theirs, "spiffe://other.test/web").await;
    let mut bytes = [0; 1];
    for connection in [&mut friend, &mut foreigner] {
        connection.write_all(b"a").await.unwrap();
        connection.read_exact(&mut bytes).await.unwrap();
    }
    publisher.publish(BundleSet::default().with(ours.bundle()));
    friend.write_all(b"b").await.unwrap();
    friend.read_exact(&mut bytes).await.unwrap();
    // What the foreigner sends is not answered any more.
    let _ = foreigner.write_all(b"b").await;
    assert!(foreigner.read_exact(&mut bytes).await.is_err());
}

#[tokio::test]
async fn slow_handshakes_keep_nobody_waiting() {
    let authority = authority();
    let bundles = Live::constant(BundleSet::default().with(authority.bundle()));
    let server = identity(&authority, "spiffe://td.test/db", bundles.clone()).await;
    let (listener, address) = listener().await;
    tokio::spawn(echo(Incoming::new(listener, server.server_config(&[b"x"]).unwrap(), &server)));
    let mut slow = Vec::new();
    for _ in 0..100 {
        slow.push(tokio::net::TcpStream::connect(&address).await.unwrap());
    }
    let mut junk = tokio::net::TcpStream::connect(&address).await.unwrap();
    junk.write_all(&[0x16, 3, 1, 0xff, 0xff, 1, 2, 3]).await.unwrap();
    let config = server.client_config(Expected::Anyone, &[b"x"]).unwrap();
    let tcp = tokio::net::TcpStream::connect(&address).await.unwrap();
    let mut good = tokio_rustls::TlsConnector::from(config).connect("x".try_into().unwrap(), tcp).await.unwrap();
    good.write_all(b"a").await.unwrap();
    let mut bytes = [0; 1];
    good.read_exact(&mut bytes).await.unwrap();
}

#[tokio::test]
async fn connections_beyond_the_most_wait_for_one_to_end() {
    let authority = authority();
    let bundles = Live::constant(BundleSet::default().with(authority.bundle()));
    let server = identity(&authority, "spiffe://td.test/db", bundles).await;
    let (listener, address) = listener().await;
    tokio::spawn(echo(Incoming::at_most(2, listener, server.server_config(&[b"x"]).unwrap(), &server)));
    let connector = tokio_rustls::TlsConnector::from(server.client_config(Expected::Anyone, &[b"x"]).unwrap());
    let connect = async || {
        let tcp = tokio::net::TcpStream::connect(&address).await.unwrap();
        connector.connect("x".try_into().unwrap(), tcp).await.unwrap()
    };
    let (first, _second) = (connect().await, connect().await);
    let mut third = Box::pin(connect());
    assert!(tokio::time::timeout(Duration::from_millis(200), &mut third).await.is_err());
    drop(first);
    tokio::time::timeout(Duration::from_secs(20), third).await.expect("a place");
}

#[tokio::test]
async fn certificates_are_optional_where_the_server_says_so() {
    let authority = authority();
    let bundles = Live::constant(BundleSet::default().with(authority.bundle()));
    let server = identity(&authority, "spiffe://td.test/db", bundles.clone()).await;
    let (listener, address) = listener().await;
    let config = server.server_config_with_optional_client_certificates(&[b"x"]).unwrap();
    let mut incoming = Incoming::new(listener, config, &server);
    let connect = async |config| {
        let tcp = tokio::net::TcpStream::connect(&address).await.unwrap();
        tokio_rustls::TlsConnector::from(config).connect("x".try_into().unwrap(), tcp).await
    };
    let nobody = mesh_identity::tls::server_authenticated_client(
        bundles.clone(),
        Expected::Anyone,
        Arc::new(SystemClock),
        &[b"x"],
    );
    let _one = connect(nobody.unwrap()).await.unwrap();
    assert!(incoming.next().await.unwrap().caller().peer().is_none());
    let web = identity(&authority, "spiffe://td.test/web", bundles.clone()).await;
    let _two = connect(web.client_config(Expected::Anyone, &[b"x"]).unwrap()).await.unwrap();
    let connection = incoming.next().await.unwrap();
    assert_eq!(connection.caller().peer().unwrap().id(), &id("spiffe://td.test/web"));
    assert_eq!(connection.protocol(), Some(&b"x"[..]));
    // One that is presented must be good.
    let stranger = Arc::new(
        Authority::ephemeral(parse_trust_domain("td.test").unwrap(), Rules::default(), Arc::new(SystemClock)).unwrap(),
    );
    let stranger = identity(&stranger, "spiffe://td.test/web", bundles).await;
    if let Ok(mut refused) = connect(stranger.client_config(Expected::Anyone, &[b"x"]).unwrap()).await {
        let mut bytes = [0; 1];
        assert!(refused.read_exact(&mut bytes).await.is_err());
    }
}

#[tokio::test]
async fn keys_of_every_kind_shake_hands() {
    use mesh_identity::source::KeyKind::{P256, P384, Rsa2048};
    let authority = authority();
    let bundles = Live::constant(BundleSet::default().with(authority.bundle()));
    let mut all = Vec::new();
    for kind in [P256, P384, Rsa2048] {
        let source = LocalSource::new(Arc::clone(&authority), Duration::from_secs(600), Names::default()).keys(kind);
        let issued = source.fetch(&id("spiffe://td.test/me")).await.unwrap();
        let state = SvidState { svid: Some(Arc::new(issued.svid)), last_error: None, rotations: 1 };
        all.push(Identity::new(
            id("spiffe://td.test/me"),
            Live::constant(state),
            bundles.clone(),
            Arc::new(SystemClock),
        ));
    }
    for server in &all {
        for client in &all {
            let acceptor = tokio_rustls::TlsAcceptor::from(server.server_config(&[b"x"]).unwrap());
            let config = client.client_config(Expected::Anyone, &[b"x"]).unwrap();
            let (near, far) = tokio::io::duplex(64 * 1024);
            let connect = tokio_rustls::TlsConnector::from(config).connect("x".try_into().unwrap(), near);
            let (accepted, connected) = tokio::join!(acceptor.accept(far), connect);
            assert!(accepted.is_ok() && connected.is_ok());
        }
    }
}

#[tokio::test]
async fn keys_are_exchanged_as_set() {
    use mesh_identity::tls::PostQuantum::{Off, Preferred, Required};
    use rustls::NamedGroup::{X25519, X25519MLKEM768};
    let authority = authority();
    let source = LocalSource::new(Arc::clone(&authority), Duration::from_secs(600), Names::default());
    let identities = Identities::builder(Arc::new(source), BundleSet::default().with(authority.bundle())).build();
    let me = identities.identity(&parse_spiffe_id("spiffe://td.test/me").unwrap()).await.unwrap();
    let group = async |ours, theirs| {
        let server = me.clone().with_post_quantum(theirs).server_config(&[b"x"]).unwrap();
        let client = me.clone().with_post_quantum(ours).client_config(Expected::Anyone, &[b"x"]).unwrap();
        let (near, far) = tokio::io::duplex(64 * 1024);
        let accept = tokio_rustls::TlsAcceptor::from(server).accept(far);
        let connect = tokio_rustls::TlsConnector::from(client).connect("x".try_into().unwrap(), near);
        let (_, connected) = tokio::join!(accept, connect);
        connected.ok().and_then(|tls| tls.get_ref().1.negotiated_key_exchange_group()).map(|group| group.name())
    };
    for (ours, theirs, agreed) in [
        (Preferred, Preferred, Some(X25519MLKEM768)),
        (Required, Preferred, Some(X25519MLKEM768)),
        (Off, Preferred, Some(X25519)),
        (Preferred, Off, Some(X25519)),
        (Required, Off, None),
        (Off, Required, None),
    ] {
        assert_eq!(group(ours, theirs).await, agreed, "{ours:?} {theirs:?}");
    }
}
