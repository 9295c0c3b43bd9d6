use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use mesh_core::live::{Live, Publisher};
use mesh_core::report::chain;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::machine::{Added, Machine};
use super::packet::{Packet, PacketSocket};
use super::{Error, PodInfo, Request, encode_ack, encode_hello};
use crate::socket::NetNamespace;

/// Pause before pods that could not be started are tried again.
const RETRY: Duration = Duration::from_secs(5);

/// Pauses between attempts to reach the agent.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(10), Duration::from_secs(15));

/// Serves pods, as told by the protocol.
pub trait Pods {
    /// Starts serving a pod: opens its listeners and returns.
    ///
    /// # Errors
    /// Why not; it is tried again, and the agent is told.
    fn start(&mut self, uid: &str, info: &PodInfo, namespace: &NetNamespace) -> io::Result<()>;

    /// Stops serving a pod.
    fn stop(&mut self, uid: &str);
}

/// How a proxy stands with its agent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Status {
    /// Whether an agent is connected.
    pub connected: bool,
    /// Whether an agent has once listed all pods, and all are served.
    pub ready: bool,
    /// Pods by uid, with what is known of each and whether it still waits to be served.
    pub pods: Vec<(String, PodInfo, bool)>,
    /// Why the last connection ended.
    pub last_error: Option<String>,
}

/// The proxy's side: connects to an agent, again and again, and does as it says. Pods go on while there is no agent.
#[derive(Debug)]
pub struct ProxySide<P> {
    path: PathBuf,
    pods: P,
    machine: Machine<Namespace>,
    status: Publisher<Status>,
    retry_at: Option<Instant>,
}

/// Namespaces are the same when their inodes are.
#[derive(Debug, Clone)]
struct Namespace(NetNamespace);

impl PartialEq for Namespace {
    fn eq(&self, other: &Self) -> bool {
        self.0.id() == other.0.id()
    }
}

impl<P: Pods> ProxySide<P> {
    /// A proxy's side over the agent's socket.
    #[must_use]
    pub fn new(path: &Path, pods: P) -> (Self, Live<Status>) {
        let (status, live) = Publisher::new(Status::default());
        (Self { path: path.to_owned(), pods, machine: Machine::new(), status, retry_at: None }, live)
    }

    /// Follows agents until cancelled.
    ///
    /// # Cancel safety
    /// Dropping the future ends the connection; what `pods` serves it goes on to serve.
    pub async fn run(mut self, cancel: CancellationToken) {
        let mut pause = BACKOFF.0;
        loop {
            let before = self.status.live().load().connected;
            let ended = tokio::select! {
                () = cancel.cancelled() => return,
                ended = self.connection() => ended,
            };
            let was_connected = before || self.status.live().load().connected;
            let error = ended.err().map_or_else(|| "the agent closed the connection".to_owned(), |error| chain(&error));
            tracing::warn!(path = %self.path.display(), error, "node agent");
            self.publish(false, Some(error));
            pause = if was_connected { BACKOFF.0 } else { (pause * 2).min(BACKOFF.1) };
            let wait = tokio::time::sleep(pause);
            let retry = self.retry_for_ever();
            tokio::select! {
                () = cancel.cancelled() => return,
                () = wait => {}
                () = retry => {}
            }
        }
    }

    /// One connection, to its end.
    async fn connection(&mut self) -> io::Result<()> {
        let socket = PacketSocket::connect(&self.path)?;
        socket.send(&encode_hello(), None).await?;
        tracing::info!(path = %self.path.display(), "connected to the node agent");
        self.machine.handle_connected();
        self.publish(true, None);
        loop {
            let packet = tokio::select! {
                packet = socket.receive() => packet?,
                () = self.retry_for_ever() => continue,
            };
            let Some(packet) = packet else { return Ok(()) };
            match packet.and_then(read) {
                Ok((request, namespace)) => {
                    let answer = self.handle(&request, namespace);
                    socket.send(&encode_ack(&answer.as_ref().err().cloned().unwrap_or_default()), None).await?;
                    self.publish(true, answer.err());
                }
                Err(error) => {
                    // The agent learns why; what it meant nobody knows, so it must say everything again.
                    socket.send(&encode_ack(&error.to_string()), None).await?;
                    return Err(io::Error::new(io::ErrorKind::InvalidData, error));
                }
            }
        }
    }

    fn handle(&mut self, request: &Request, namespace: Option<NetNamespace>) -> Result<(), String> {
        match (request, namespace) {
            (Request::Add { uid, info }, Some(namespace)) => {
                let namespace = Namespace(namespace);
                let added = self.machine.handle_add(uid, info, &namespace);
                if added == Added::Known {
                    return Ok(());
                }
                if added == Added::Replace {
                    self.pods.stop(uid);
                }
                self.start(&uid.clone(), &info.clone(), &namespace)
            }
            (Request::Add { .. }, None) => Err(Error::Descriptors { found: 0, expected: 1 }.to_string()),
            (Request::Keep { uid }, _) => self.machine.handle_keep(uid).map_err(|error| error.to_string()),
            (Request::Delete { uid }, _) => {
                if self.machine.handle_delete(uid) {
                    self.pods.stop(uid);
                }
                Ok(())
            }
            (Request::SnapshotSent, _) => {
                let gone = self.machine.handle_snapshot_sent().map_err(|error| error.to_string())?;
                for uid in gone {
                    self.pods.stop(&uid);
                }
                Ok(())
            }
        }
    }

    fn start(&mut self, uid: &str, info: &PodInfo, namespace: &Namespace) -> Result<(), String> {
        let started = self.pods.start(uid, info, &namespace.0);
        self.machine.handle_started(uid, started.is_ok());
        started.map_err(|error| {
            tracing::warn!(uid, pod = info.name, %error, "pod cannot be served yet; trying again");
            format!("{} in {}: {error}", info.name, info.namespace)
        })
    }

    /// Tries pending pods again every five seconds. Never completes while none is pending.
    async fn retry_for_ever(&mut self) {
        if self.machine.pending().next().is_none() {
            return std::future::pending().await;
        }
        // A deadline, so that packets that keep coming do not put it off.
        let at = *self.retry_at.get_or_insert_with(|| Instant::now() + RETRY);
        tokio::time::sleep_until(at).await;
        self.retry_at = None;
        let own =
            |(uid, info, namespace): (&str, &PodInfo, &Namespace)| (uid.to_owned(), info.clone(), namespace.clone());
        let pending: Vec<_> = self.machine.pending().map(own).collect();
        for (uid, info, namespace) in pending {
            let _ = self.start(&uid, &info, &namespace);
        }
        let connected = self.status.live().load().connected;
        self.publish(connected, None);
    }

    fn publish(&self, connected: bool, error: Option<String>) {
        let pods = self.machine.pods().map(|(uid, info, pending)| (uid.to_owned(), info.clone(), pending)).collect();
        let last_error = error.or_else(|| self.status.live().load().last_error.clone());
        self.status.publish(Status { connected, ready: self.machine.is_ready(), pods, last_error });
    }
}

fn read(packet: Packet) -> Result<(Request, Option<NetNamespace>), Error> {
    let request = Request::decode(&packet.bytes)?;
    let (found, expected) = (packet.descriptors.len(), request.descriptors());
    if found != expected {
        return Err(Error::Descriptors { found, expected });
    }
    let namespace = packet.descriptors.into_iter().next().map(NetNamespace::from_fd);
    Ok((request, namespace.transpose().map_err(|_| Error::NotANamespace)?))
}
