//! Servers behind their node proxies, as far as a waypoint sees them. They answer a request with their name, the port of the
//! tunnel, what they were asked and by which headers; some paths have other answers:
//!
//! | path | answer |
//! | --- | --- |
//! | with `flaky` | 503 to the first request with a value of `x-id`, then as others |
//! | with `slow` | none |
//!
//! The server `authz` refuses what has `refused` in its path, fails where there is `failing`, and allows all else.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use h2::{RecvStream, SendStream};
use http::Response;
use mesh_identity::tls::Identity;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::mesh::Seen;

/// A server outside the mesh, over TLS, that is there until the test ends.
pub async fn start_outside(name: &'static str, address: SocketAddr, config: Arc<rustls::ServerConfig>, seen: Seen) {
    let listener = TcpListener::bind(address).await.unwrap();
    let acceptor = TlsAcceptor::from(config);
    let server = Server { name, seen, flaky: Arc::default() };
    tokio::spawn(async move {
        loop {
            let (tcp, _) = listener.accept().await.unwrap();
            let (acceptor, server) = (acceptor.clone(), server.clone());
            tokio::spawn(async move {
                let Ok(mut tls) = acceptor.accept(tcp).await else { return };
                let mut bytes = Vec::new();
                while tls.read_buf(&mut bytes).await.is_ok_and(|read| read > 0) {
                    if bytes.ends_with(b"\r\n\r\n") {
                        let head = String::from_utf8_lossy(&bytes).into_owned();
                        let answer = server.answer(address.port(), &head).unwrap_or_default();
                        let _ = tls.write_all(answer.as_bytes()).await;
                        bytes.clear();
                    }
                }
            });
        }
    });
}

/// A server behind its node proxy that is there until the test ends.
pub async fn start(name: &'static str, ip: IpAddr, identity: Identity, seen: Seen) {
    let listener = TcpListener::bind(SocketAddr::new(ip, 15008)).await.unwrap();
    let acceptor = TlsAcceptor::from(identity.server_config(&[b"h2"]).unwrap());
    let flaky = Arc::default();
    tokio::spawn(async move {
        loop {
            let (tcp, _) = listener.accept().await.unwrap();
            let server = Server { name, seen: Arc::clone(&seen), flaky: Arc::clone(&flaky) };
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(tls) = acceptor.accept(tcp).await else { return };
                let Ok(mut connection) = h2::server::handshake(tls).await else { return };
                while let Some(Ok((request, mut respond))) = connection.accept().await {
                    let port = request.uri().authority().unwrap().port_u16().unwrap();
                    let send = respond.send_response(Response::new(()), false).unwrap();
                    tokio::spawn(server.clone().serve(port, request.into_body(), send));
                }
            });
        }
    });
}

#[derive(Clone)]
struct Server {
    name: &'static str,
    seen: Seen,
    /// Who has had their error.
    flaky: Arc<std::sync::Mutex<BTreeSet<String>>>,
}

impl Server {
    async fn serve(self, port: u16, mut body: RecvStream, mut send: SendStream<Bytes>) {
        let mut bytes = Vec::new();
        while let Some(Ok(data)) = body.data().await {
            let _ = body.flow_control().release_capacity(data.len());
            bytes.extend_from_slice(&data);
            if bytes.ends_with(b"\r\n\r\n") {
                let head = String::from_utf8_lossy(&bytes).into_owned();
                if let Some(answer) = self.answer(port, &head) {
                    let _ = send.send_data(Bytes::from(answer), false);
                }
                bytes.clear();
            }
        }
    }

    fn answer(&self, port: u16, head: &str) -> Option<String> {
        let asked = format!("{}:{port} {}", self.name, shown(head));
        self.seen.lock().unwrap().push(asked.clone());
        let path = head.split(' ').nth(1).unwrap_or_default();
        let id = head.lines().find_map(|line| line.strip_prefix("x-id: ")).unwrap_or_default();
        let (status, headers, body) = match self.name {
            "authz" if path.contains("refused") => ("403 Forbidden", "x-reason: because\r\n", "not you".to_owned()),
            "authz" if path.contains("failing") => ("500 Internal Server Error", "", String::new()),
            "authz" => ("200 OK", "x-user: alice\r\nx-secret: 1\r\n", String::new()),
            _ if path.contains("slow") => return None,
            _ if path.contains("flaky") && self.flaky.lock().unwrap().insert(id.to_owned()) => {
                ("503 Service Unavailable", "", "once more".to_owned())
            }
            _ => ("200 OK", "", asked),
        };
        Some(format!("HTTP/1.1 {status}\r\n{headers}content-length: {}\r\n\r\n{body}", body.len()))
    }
}

/// A request on one line: method, path and the headers that a route or a policy may have changed.
fn shown(head: &str) -> String {
    let mut lines = head.lines();
    let line = lines.next().unwrap_or_default().trim_end_matches(" HTTP/1.1");
    let mut headers: Vec<&str> = lines.filter(|line| matters(line)).collect();
    headers.sort_unstable();
    [&[line], headers.as_slice()].concat().join(" ")
}

fn matters(line: &str) -> bool {
    let Some((name, value)) = line.split_once(": ") else { return false };
    let of_proxies = ["x-request-id", "x-forwarded-", "x-envoy-"].iter().any(|start| name.starts_with(start));
    (name == "host" && value != "carts") || (name.starts_with("x-") && !of_proxies && name != "x-id")
}
