use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::socket::Sockets;

/// How long one server may take.
const SERVER_TIMEOUT: Duration = Duration::from_secs(2);

/// How long all of them together may take.
const TOTAL_TIMEOUT: Duration = Duration::from_secs(5);

/// Passes questions on to servers outside the mesh.
#[derive(Debug, Clone)]
pub struct Forwarder {
    servers: Vec<SocketAddr>,
}

/// No server answered.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ForwardError {
    /// There is none.
    #[error("no server outside the mesh is known")]
    NoServer,
    /// The last one failed so.
    #[error("{server}: {source}")]
    Server {
        /// The server.
        server: SocketAddr,
        /// Why.
        source: io::Error,
    },
    /// None answered in time.
    #[error("no server answered in time")]
    Timeout,
}

impl Forwarder {
    /// A forwarder to these servers, tried in order.
    #[must_use]
    pub fn new(servers: Vec<SocketAddr>) -> Self {
        Self { servers }
    }

    /// Passes a question on as it is and gives the answer as it is. Over UDP an answer may be cut; the client then comes
    /// again over TCP.
    ///
    /// # Errors
    /// [`ForwardError`].
    ///
    /// # Cancel safety
    /// Safe: the question is given up.
    pub async fn ask(&self, question: &[u8], udp: bool, sockets: &Sockets) -> Result<Vec<u8>, ForwardError> {
        let all = async {
            let mut last = ForwardError::NoServer;
            for server in &self.servers {
                let one = async {
                    if udp {
                        over_udp(question, *server, sockets).await
                    } else {
                        over_tcp(question, *server, sockets).await
                    }
                };
                match tokio::time::timeout(SERVER_TIMEOUT, one).await {
                    Ok(Ok(answer)) => return Ok(answer),
                    Ok(Err(source)) => last = ForwardError::Server { server: *server, source },
                    Err(_) => last = ForwardError::Timeout,
                }
            }
            Err(last)
        };
        tokio::time::timeout(TOTAL_TIMEOUT, all).await.unwrap_or(Err(ForwardError::Timeout))
    }
}

async fn over_udp(question: &[u8], server: SocketAddr, sockets: &Sockets) -> io::Result<Vec<u8>> {
    let any: SocketAddr = if server.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0_u16; 8], 0).into() };
    // A new socket, and so a new port, for each question: nobody can guess it.
    let socket = sockets.udp(any)?;
    socket.connect(server).await?;
    socket.send(question).await?;
    let mut answer = vec![0; 65_535];
    loop {
        let length = socket.recv(&mut answer).await?;
        if belongs(question, &answer[..length]) {
            answer.truncate(length);
            return Ok(answer);
        }
    }
}

async fn over_tcp(question: &[u8], server: SocketAddr, sockets: &Sockets) -> io::Result<Vec<u8>> {
    let mut stream = sockets.connect(server).await?;
    let length = u16::try_from(question.len()).map_err(io::Error::other)?;
    let mut framed = length.to_be_bytes().to_vec();
    framed.extend_from_slice(question);
    stream.write_all(&framed).await?;
    let length = stream.read_u16().await?;
    let mut answer = vec![0; usize::from(length)];
    stream.read_exact(&mut answer).await?;
    if belongs(question, &answer) { Ok(answer) } else { Err(io::Error::from(io::ErrorKind::InvalidData)) }
}

/// Whether an answer is one to this question: same id, an answer, the same name, type and class asked.
fn belongs(question: &[u8], answer: &[u8]) -> bool {
    let asked = |message: &[u8]| -> Option<Vec<u8>> {
        // One question, without compression: it is the first name in the message.
        let mut at = 12;
        loop {
            let length = usize::from(*message.get(at)?);
            if length > 63 {
                return None;
            }
            at += 1 + length;
            if length == 0 {
                break;
            }
        }
        message.get(12..at + 4).map(<[u8]>::to_ascii_lowercase)
    };
    let echoed = asked(answer);
    question.get(..2) == answer.get(..2)
        && answer.get(2).is_some_and(|flags| flags & 0x80 != 0)
        // Some servers leave the question out of an error.
        && (echoed.is_some() && echoed == asked(question) || (answer.len() == 12 && answer[3] & 0x0f != 0))
}
