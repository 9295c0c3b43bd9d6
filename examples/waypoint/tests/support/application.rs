//! Applications: ordinary programs that know nothing of a mesh.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// An application that says its name, and the line and the headers of the request. A WebSocket it answers with what it is
/// sent.
pub async fn http(name: &'static str, address: SocketAddr) {
    serve(address, move |mut stream| async move {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let Ok(byte) = stream.read_u8().await else { return };
            head.push(byte);
        }
        let head = String::from_utf8_lossy(&head);
        if head.contains("upgrade: websocket") {
            let answer = "HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n";
            let _ = stream.write_all(answer.as_bytes()).await;
            return echo(stream).await;
        }
        let body = format!("{name}\n{head}");
        let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
        let _ = stream.write_all(answer.as_bytes()).await;
    })
    .await;
}

/// An application that says its name, and then what it is sent.
pub async fn tcp(name: &'static str, address: SocketAddr) {
    serve(address, move |mut stream| async move {
        let _ = stream.write_all(name.as_bytes()).await;
        echo(stream).await;
    })
    .await;
}

async fn echo(mut stream: TcpStream) {
    let (mut read, mut write) = stream.split();
    let _ = tokio::io::copy(&mut read, &mut write).await;
    let _ = write.shutdown().await;
}

/// Serves connections until the test ends.
async fn serve<F, S>(address: SocketAddr, serve: F)
where
    F: Fn(TcpStream) -> S + Send + Sync + Copy + 'static,
    S: Future<Output = ()> + Send,
{
    let listener = TcpListener::bind(address).await.unwrap();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move { serve(stream).await });
        }
    });
}
