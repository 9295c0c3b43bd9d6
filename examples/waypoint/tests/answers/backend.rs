//! Node proxies, as far as a waypoint sees them: one that calls, and one that stands before a workload.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use h2::{RecvStream, SendStream};
use http::{Method, Request, Response, StatusCode};
use mesh_core::live::Live;
use mesh_core::name::{parse_spiffe_id, parse_trust_domain};
use mesh_identity::bundle::{Bundle, BundleSet};
use mesh_identity::clock::SystemClock;
use mesh_identity::svid::X509Svid;
use mesh_identity::tls::{Identity, SvidState};
use mesh_identity::verify::Expected;
use mesh_test_support::pki::{Ca, Spec};
use rustls_pki_types::ServerName;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// Somebody of the mesh.
pub fn identity(ca: &Ca, id: &str) -> Identity {
    let leaf = ca.leaf(&Spec::new(id));
    let svid = X509Svid::parse(leaf.chain, leaf.key).unwrap();
    let state = SvidState { svid: Some(Arc::new(svid)), ..SvidState::default() };
    let trust_domain = parse_trust_domain("cluster.local").unwrap();
    let bundle = Bundle::new(trust_domain, vec![ca.certificate.clone()]).unwrap();
    Identity::new(
        parse_spiffe_id(id).unwrap(),
        Live::constant(state),
        Live::constant(BundleSet::default().with(bundle)),
        Arc::new(SystemClock),
    )
}

/// The far end of tunnels to workloads: answers each request with the authority of its tunnel and its first line.
pub async fn serve(identity: Identity, listener: TcpListener) {
    let acceptor = TlsAcceptor::from(identity.server_config(&[b"h2"]).unwrap());
    loop {
        let (tcp, _) = listener.accept().await.unwrap();
        let acceptor = acceptor.clone();
        tokio::spawn(async move {
            let Ok(tls) = acceptor.accept(tcp).await else { return };
            let Ok(mut connection) = h2::server::handshake(tls).await else { return };
            while let Some(Ok((request, mut respond))) = connection.accept().await {
                let authority = request.uri().authority().unwrap().to_string();
                let send = respond.send_response(Response::new(()), false).unwrap();
                tokio::spawn(answer(authority, request.into_body(), send));
            }
        });
    }
}

async fn answer(authority: String, mut body: RecvStream, mut send: SendStream<Bytes>) {
    let mut seen = Vec::new();
    while let Some(Ok(data)) = body.data().await {
        let _ = body.flow_control().release_capacity(data.len());
        seen.extend_from_slice(&data);
        if seen.ends_with(b"\r\n\r\n") {
            let text = String::from_utf8_lossy(&seen);
            let told = format!("{authority} {}", text.lines().next().unwrap_or_default());
            let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", told.len());
            let _ = send.send_data(Bytes::from(head + &told), false);
            seen.clear();
        }
    }
}

/// Sends a request of HTTP/1.1 through a tunnel to a waypoint, and gives the first piece of the answer; `None` when the
/// waypoint does not open the tunnel, or closes it.
pub async fn ask(from: &Identity, waypoint: SocketAddr, authority: &str, path: &str) -> Option<String> {
    let expected = Expected::Ids(vec![parse_spiffe_id("spiffe://cluster.local/ns/shop/sa/waypoint").unwrap()]);
    let connector = TlsConnector::from(from.client_config(expected, &[b"h2"]).unwrap());
    let tcp = TcpStream::connect(waypoint).await.unwrap();
    let tls = connector.connect(ServerName::try_from("waypoint").unwrap(), tcp).await.unwrap();
    let (mut client, connection) = h2::client::handshake(tls).await.unwrap();
    tokio::spawn(connection);
    let request = Request::builder().method(Method::CONNECT).uri(authority).body(()).unwrap();
    let (response, mut send) = client.send_request(request, false).unwrap();
    let response = response.await.ok().filter(|response| response.status() == StatusCode::OK)?;
    let text = format!("GET {path} HTTP/1.1\r\nhost: carts\r\n\r\n");
    send.send_data(Bytes::from(text), false).ok()?;
    let mut body = response.into_body();
    let mut told = Vec::new();
    // Head and body may come apart.
    while let Ok(Some(Ok(data))) = tokio::time::timeout(std::time::Duration::from_millis(1000), body.data()).await {
        told.extend_from_slice(&data);
        if is_whole(&told) {
            break;
        }
    }
    (!told.is_empty()).then(|| String::from_utf8_lossy(&told).into_owned())
}

/// Whether head and body of a response are there.
fn is_whole(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    length.is_some_and(|length| body.len() >= length.trim().parse().unwrap_or(0))
}
