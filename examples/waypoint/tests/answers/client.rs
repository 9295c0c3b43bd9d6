//! A client's node proxy, as far as a waypoint sees it.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use http::{Method, StatusCode};
use mesh_identity::verify::Expected;
use rustls_pki_types::ServerName;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::case::Request;
use crate::mesh::{Mesh, id};

/// How long an answer may take on a busy machine.
const SOON: Duration = Duration::from_secs(20);

/// Headers of answers that say nothing of routes and policies.
const UNIMPORTANT: [&str; 7] = [
    "date",
    "server",
    "connection",
    "content-length",
    "transfer-encoding",
    "x-envoy-upstream-service-time",
    "x-envoy-attempt-count",
];

/// What a waypoint answers, on one line.
pub async fn answer(mesh: &Mesh, waypoint: SocketAddr, request: &Request) -> String {
    let Some(told) = ask(mesh, waypoint, request).await else { return "closed".to_owned() };
    let (head, body) = told.split_once("\r\n\r\n").unwrap_or((&told, ""));
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split(' ').nth(1)).unwrap_or(head);
    let mut headers: Vec<&str> = lines.filter(|line| matters(line)).collect();
    headers.sort_unstable();
    let parts = [&[status], headers.as_slice(), &[body]].concat();
    let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    parts.join(" ").replace(&mesh.authority("127.0.0."), "127.0.0.")
}

fn matters(line: &str) -> bool {
    line.split_once(": ").is_some_and(|(name, _)| !UNIMPORTANT.contains(&name))
}

/// Sends a request of HTTP/1.1 through a tunnel, and gives the answer; `None` when the tunnel is not opened, or closed without
/// one.
async fn ask(mesh: &Mesh, waypoint: SocketAddr, request: &Request) -> Option<String> {
    let identity = mesh.identity(&request.from).await;
    let connector = TlsConnector::from(identity.client_config(Expected::Ids(vec![id("waypoint")]), &[b"h2"]).unwrap());
    let tcp = TcpStream::connect(waypoint).await.unwrap();
    let tls = connector.connect(ServerName::try_from("waypoint").unwrap(), tcp).await.unwrap();
    let (mut client, connection) = h2::client::handshake(tls).await.unwrap();
    tokio::spawn(connection);
    let authority = mesh.authority(&request.authority);
    let connect = http::Request::builder().method(Method::CONNECT).uri(authority).body(()).unwrap();
    let (response, mut send) = client.send_request(connect, false).unwrap();
    let response = response.await.ok().filter(|response| response.status() == StatusCode::OK)?;
    let host = if request.headers.iter().any(|(name, _)| name == "host") { "" } else { "host: carts\r\n" };
    let headers: String = request.headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let text = format!("{} {} HTTP/1.1\r\n{host}{headers}\r\n", request.method, request.path);
    send.send_data(Bytes::from(text), false).ok()?;
    let mut body = response.into_body();
    let mut told = Vec::new();
    let reading = async {
        // Head and body may come apart.
        while let Some(Ok(data)) = body.data().await {
            told.extend_from_slice(&data);
            if is_whole(&told) {
                break;
            }
        }
    };
    let _ = tokio::time::timeout(SOON, reading).await;
    (!told.is_empty()).then(|| String::from_utf8_lossy(&told).into_owned())
}

/// Whether head and body of a response are there.
fn is_whole(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    match length {
        Some(length) => body.len() >= length.trim().parse().unwrap_or(0),
        None => !head.contains("transfer-encoding: chunked") || body.ends_with("0\r\n\r\n"),
    }
}
