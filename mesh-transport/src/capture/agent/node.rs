use std::collections::BTreeMap;
use std::io;
use std::os::fd::AsFd;
use std::path::Path;
use std::time::Duration;

use super::packet::PacketSocket;
use super::{Error, PodInfo, Request, decode_ack, decode_hello};
use crate::socket::NetNamespace;

/// Deadline of a proxy's hello, and of each of its answers.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(5);

/// A pod as an agent knows it.
#[derive(Debug, Clone)]
pub struct PodHandle {
    /// What the proxy is told.
    pub info: PodInfo,
    /// Its network namespace.
    pub namespace: NetNamespace,
}

/// An agent's side: tells the proxies that connect of the pods of a node. For agents of your own, and for tests.
///
/// During an upgrade two proxies are connected: additions go to the newest only, deletions to both.
#[derive(Debug)]
pub struct AgentSide {
    listener: PacketSocket,
    proxies: Vec<PacketSocket>,
    pods: BTreeMap<String, PodHandle>,
}

impl AgentSide {
    /// Listens at a path, in place of what was there.
    ///
    /// # Errors
    /// The socket cannot be made.
    pub fn listen(path: &Path) -> io::Result<Self> {
        Ok(Self { listener: PacketSocket::listen(path)?, proxies: Vec::new(), pods: BTreeMap::new() })
    }

    /// A pod that proxies are told of when they connect.
    pub fn announce(&mut self, uid: &str, pod: PodHandle) {
        self.pods.insert(uid.to_owned(), pod);
    }

    /// Waits for a proxy and tells it of all pods.
    ///
    /// # Errors
    /// The proxy broke the protocol or refused; it is not counted.
    ///
    /// # Cancel safety
    /// Safe: a proxy whose list was not complete is dropped and comes again.
    pub async fn accept(&mut self) -> io::Result<()> {
        let proxy = self.listener.accept().await?;
        let hello = tokio::time::timeout(ANSWER_TIMEOUT, proxy.receive()).await;
        let packet = hello.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        let packet = packet.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?.map_err(invalid)?;
        decode_hello(&packet.bytes).map_err(invalid)?;
        for (uid, pod) in &self.pods {
            // One pod that cannot be served yet must not keep the others from being listed.
            if let Err(error) = add(&proxy, uid, pod).await {
                tracing::warn!(uid, %error, "the proxy cannot serve a pod yet");
            }
        }
        say(&proxy, &Request::SnapshotSent, None).await?;
        self.proxies.push(proxy);
        Ok(())
    }

    /// A pod has come.
    ///
    /// # Errors
    /// No proxy is connected, or the newest one refused or is gone.
    ///
    /// # Cancel safety
    /// Not safe: whether the proxy has heard of it is not known.
    pub async fn add(&mut self, uid: &str, pod: PodHandle) -> io::Result<()> {
        self.pods.insert(uid.to_owned(), pod.clone());
        let newest = self.proxies.last().ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected))?;
        add(newest, uid, &pod).await
    }

    /// A pod is gone.
    ///
    /// # Errors
    /// A proxy refused or is gone; the others are told all the same.
    ///
    /// # Cancel safety
    /// Not safe: whether the proxies have heard of it is not known.
    pub async fn delete(&mut self, uid: &str) -> io::Result<()> {
        self.pods.remove(uid);
        let mut result = Ok(());
        for proxy in &self.proxies {
            let told = say(proxy, &Request::Delete { uid: uid.to_owned() }, None).await;
            result = result.and(told);
        }
        result
    }
}

async fn add(proxy: &PacketSocket, uid: &str, pod: &PodHandle) -> io::Result<()> {
    say(proxy, &Request::Add { uid: uid.to_owned(), info: pod.info.clone() }, Some(&pod.namespace)).await
}

/// Says something and waits for the answer.
async fn say(proxy: &PacketSocket, request: &Request, namespace: Option<&NetNamespace>) -> io::Result<()> {
    proxy.send(&request.encode(), namespace.map(AsFd::as_fd)).await?;
    let answer = tokio::time::timeout(ANSWER_TIMEOUT, proxy.receive()).await;
    let packet = answer.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    let packet = packet.ok_or_else(|| io::Error::from(io::ErrorKind::UnexpectedEof))?.map_err(invalid)?;
    decode_ack(&packet.bytes).map_err(invalid)?.map_err(io::Error::other)
}

fn invalid(error: Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}
