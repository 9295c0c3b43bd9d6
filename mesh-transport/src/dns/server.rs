use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use mesh_core::workload::Workload;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::{Forwarder, Question, Reply, Zone, lookup, parse_question};
use crate::proxy::{Drain, Inputs, LocalWorkload};
use crate::socket::Listener;

/// Questions of one client that are under way at a time; what is more gets no answer and is asked again.
const CONCURRENT_QUESTIONS: usize = 512;

/// TCP connections of one client at a time.
const CONCURRENT_CONNECTIONS: usize = 128;

/// A TCP connection without a question ends after this.
const IDLE_TIMEOUT: Duration = Duration::from_secs(5);

/// The DNS proxy of one local workload. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Dns {
    inputs: Inputs,
    client: LocalWorkload,
    zone: Zone,
    forwarder: Forwarder,
    observer: Arc<dyn Observer>,
}

/// What became of a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// It came.
    Asked,
    /// It was passed on and answered, after this time.
    Forwarded(Duration),
    /// It was passed on and not answered.
    ForwardFailed,
}

/// Told of questions, for metrics. Called on the question's own task: it must not wait.
pub trait Observer: fmt::Debug + Send + Sync + 'static {
    /// Something became of a question of `kind` (`A`, `AAAA`, …) by a client.
    fn dns(&self, _event: Event, _kind: &str, _udp: bool, _client: Option<&Workload>) {}
}

impl Observer for () {}

impl Dns {
    /// The DNS proxy of the workload `client`.
    #[must_use]
    pub fn new(
        inputs: Inputs,
        client: impl Into<LocalWorkload>,
        zone: Zone,
        forwarder: Forwarder,
        observer: Arc<dyn Observer>,
    ) -> Self {
        Self { inputs, client: client.into(), zone, forwarder, observer }
    }

    /// Serves a UDP socket until the drain begins.
    ///
    /// # Cancel safety
    /// Dropping the future stops serving; questions under way are answered all the same.
    pub async fn serve_udp(self, socket: UdpSocket, drain: Drain) {
        let socket = Arc::new(socket);
        let places = Arc::new(Semaphore::new(CONCURRENT_QUESTIONS));
        let mut buffer = vec![0; 4096];
        loop {
            let received = tokio::select! {
                biased;
                () = drain.begun() => return,
                received = socket.recv_from(&mut buffer) => received,
            };
            // An error is that of an earlier answer that could not be delivered.
            let Ok((length, client)) = received else { continue };
            let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
            let (dns, socket, bytes) = (self.clone(), Arc::clone(&socket), buffer[..length].to_vec());
            self.inputs.tasks.spawn(async move {
                if let Some(answer) = dns.answer(&bytes, true, client).await {
                    let _ = socket.send_to(&answer, client).await;
                }
                drop(place);
            });
        }
    }

    /// Serves a TCP listener until the drain begins.
    ///
    /// # Cancel safety
    /// Dropping the future stops accepting.
    pub async fn serve_tcp(self, listener: Listener, drain: Drain) {
        let places = Arc::new(Semaphore::new(CONCURRENT_CONNECTIONS));
        loop {
            let (stream, client) = tokio::select! {
                biased;
                () = drain.begun() => return,
                accepted = listener.accept() => accepted,
            };
            let Ok(place) = Arc::clone(&places).try_acquire_owned() else { continue };
            let dns = self.clone();
            self.inputs.tasks.spawn(async move {
                dns.connection(stream, client).await;
                drop(place);
            });
        }
    }

    async fn connection(&self, mut stream: TcpStream, client: SocketAddr) {
        loop {
            let read = async {
                let length = stream.read_u16().await.ok()?;
                let mut bytes = vec![0; usize::from(length)];
                stream.read_exact(&mut bytes).await.ok()?;
                Some(bytes)
            };
            let Ok(Some(bytes)) = tokio::time::timeout(IDLE_TIMEOUT, read).await else { return };
            let Some(answer) = self.answer(&bytes, false, client).await else { return };
            let Ok(length) = u16::try_from(answer.len()) else { return };
            let mut framed = length.to_be_bytes().to_vec();
            framed.extend(answer);
            let written = tokio::time::timeout(IDLE_TIMEOUT, stream.write_all(&framed));
            if !matches!(written.await, Ok(Ok(()))) {
                return;
            }
        }
    }

    async fn answer(&self, bytes: &[u8], udp: bool, address: SocketAddr) -> Option<Vec<u8>> {
        let question = match parse_question(bytes)? {
            Ok(question) => question,
            Err(refusal) => return Some(refusal),
        };
        let kind = question.kind();
        let wait = self.inputs.options.record_wait;
        let Some(client) = self.client.wait(&self.inputs.catalog, wait).await else {
            self.observer.dns(Event::Asked, &kind, udp, None);
            log(None, address, &question, "no record of the client", 0);
            return Some(question.answer(&Reply::ServerFailure, udp));
        };
        self.observer.dns(Event::Asked, &kind, udp, Some(&client));
        if let (Some(name), Some(family)) = (&question.name, question.family) {
            let catalog = self.inputs.catalog.snapshot();
            if let Some(mut answer) = lookup(&catalog, &client, &self.inputs.network, name, family, &self.zone) {
                // Clients that take the first one are spread over all.
                fastrand::shuffle(&mut answer.addresses);
                let result = if answer.addresses.is_empty() { "no records" } else { "success" };
                log(Some(&client), address, &question, result, answer.addresses.len());
                let reply = Reply::Addresses { alias: answer.alias, addresses: answer.addresses };
                return Some(question.answer(&reply, udp));
            }
        }
        let begun = Instant::now();
        match self.forwarder.ask(bytes, udp, &self.inputs.sockets).await {
            Ok(answer) => {
                self.observer.dns(Event::Forwarded(begun.elapsed()), &kind, udp, Some(&client));
                log(Some(&client), address, &question, "forwarded", 0);
                Some(answer)
            }
            Err(error) => {
                self.observer.dns(Event::ForwardFailed, &kind, udp, Some(&client));
                log(Some(&client), address, &question, &format!("forwarding failed ({error})"), 0);
                Some(question.answer(&Reply::ServerFailure, udp))
            }
        }
    }
}

fn log(client: Option<&Arc<Workload>>, address: SocketAddr, question: &Question, result: &str, endpoints: usize) {
    tracing::event!(
        target: "dns",
        tracing::Level::DEBUG,
        src.addr = %address,
        src.workload = client.map(|client| client.name.as_str()),
        src.namespace = client.map(|client| client.namespace.as_str()),
        query = question.kind(),
        domain = question.name.as_ref().map(ToString::to_string),
        result,
        endpoints,
        "dns"
    );
}
