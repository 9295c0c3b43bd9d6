//! The node agent protocol of Istio's ambient mode (ZDS): over a `SOCK_SEQPACKET` Unix socket an agent tells a proxy which
//! pods to serve and hands it their network namespaces.
//!
//! The agent listens; the proxy connects and speaks first. One message per packet of at most 1,024 bytes. The protocol's
//! rules are in [`machine`], without sockets; [`ProxySide`] runs a proxy's side, [`AgentSide`] an agent's.

pub mod machine;
mod node;
mod packet;
mod proxy;

use std::str::FromStr;

use prost::Message;

use crate::proto::zds;

pub use node::{AgentSide, PodHandle};
pub use proxy::{Pods, ProxySide, Status};

/// Largest packet, as Istio's agent and ztunnel have it.
pub const MAX_PACKET: usize = 1024;

/// What an agent knows of a pod.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct PodInfo {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Its service account.
    pub service_account: String,
}

impl FromStr for PodInfo {
    type Err = ParsePodInfoError;

    /// Reads `namespace/name/service-account`.
    fn from_str(text: &str) -> Result<Self, ParsePodInfoError> {
        let mut parts = text.split('/');
        match (parts.next(), parts.next(), parts.next(), parts.next()) {
            (Some(namespace), Some(name), Some(account), None)
                if !namespace.is_empty() && !name.is_empty() && !account.is_empty() =>
            {
                Ok(Self { name: name.to_owned(), namespace: namespace.to_owned(), service_account: account.to_owned() })
            }
            _ => Err(ParsePodInfoError(text.to_owned())),
        }
    }
}

/// A text that names no pod.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not namespace/name/service-account")]
pub struct ParsePodInfoError(String);

/// What an agent says.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Request {
    /// Serve a pod; its network namespace comes with the packet.
    Add {
        /// UID of the pod.
        uid: String,
        /// What is known of it.
        info: PodInfo,
    },
    /// Go on with a pod, if it is served.
    Keep {
        /// UID of the pod.
        uid: String,
    },
    /// Serve a pod no more.
    Delete {
        /// UID of the pod.
        uid: String,
    },
    /// All pods were listed; the others are gone.
    SnapshotSent,
}

/// A packet breaks the protocol.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The packet was longer than [`MAX_PACKET`].
    #[error("a packet of more than {MAX_PACKET} bytes")]
    TooLong,
    /// The bytes are no message.
    #[error("malformed message: {0}")]
    Malformed(String),
    /// The message says nothing, or something that is not known.
    #[error("a message without a known payload")]
    Empty,
    /// A pod without uid, or without name, namespace and service account.
    #[error("`{0}` is missing")]
    Missing(&'static str),
    /// Another number of descriptors than there must be.
    #[error("{found} descriptors came with the packet, expected {expected}")]
    Descriptors {
        /// How many came.
        found: usize,
        /// How many must come.
        expected: usize,
    },
    /// The descriptor is not that of a network namespace.
    #[error("the descriptor is not that of a network namespace")]
    NotANamespace,
    /// A second snapshot, or a pod kept after it.
    #[error("{0} after the snapshot was complete")]
    AfterSnapshot(&'static str),
    /// The other side speaks another version.
    #[error("version {0} of the protocol is not spoken here")]
    Version(i32),
}

impl Request {
    /// Reads an agent's packet.
    ///
    /// # Errors
    /// [`Error`].
    pub fn decode(packet: &[u8]) -> Result<Self, Error> {
        use zds::workload_request::Payload;
        let message = zds::WorkloadRequest::decode(packet).map_err(|error| Error::Malformed(error.to_string()))?;
        let uid = |uid: String| if uid.is_empty() { Err(Error::Missing("uid")) } else { Ok(uid) };
        match message.payload.ok_or(Error::Empty)? {
            Payload::Add(add) => {
                let info = add.workload_info.ok_or(Error::Missing("workload_info"))?;
                for (field, value) in [
                    ("workload_info.name", &info.name),
                    ("workload_info.namespace", &info.namespace),
                    ("workload_info.service_account", &info.service_account),
                ] {
                    if value.is_empty() {
                        return Err(Error::Missing(field));
                    }
                }
                let zds::WorkloadInfo { name, namespace, service_account } = info;
                Ok(Self::Add { uid: uid(add.uid)?, info: PodInfo { name, namespace, service_account } })
            }
            Payload::Keep(keep) => Ok(Self::Keep { uid: uid(keep.uid)? }),
            Payload::Del(delete) => Ok(Self::Delete { uid: uid(delete.uid)? }),
            Payload::SnapshotSent(_) => Ok(Self::SnapshotSent),
        }
    }

    /// The packet that says this.
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        use zds::workload_request::Payload;
        let payload = match self {
            Self::Add { uid, info } => Payload::Add(zds::AddWorkload {
                uid: uid.clone(),
                workload_info: Some(zds::WorkloadInfo {
                    name: info.name.clone(),
                    namespace: info.namespace.clone(),
                    service_account: info.service_account.clone(),
                }),
            }),
            Self::Keep { uid } => Payload::Keep(zds::KeepWorkload { uid: uid.clone() }),
            Self::Delete { uid } => Payload::Del(zds::DelWorkload { uid: uid.clone() }),
            Self::SnapshotSent => Payload::SnapshotSent(zds::SnapshotSent {}),
        };
        zds::WorkloadRequest { payload: Some(payload) }.encode_to_vec()
    }

    /// How many descriptors must come with it.
    #[must_use]
    pub fn descriptors(&self) -> usize {
        usize::from(matches!(self, Self::Add { .. }))
    }
}

/// The proxy's first packet.
#[must_use]
pub fn encode_hello() -> Vec<u8> {
    zds::ZdsHello { version: zds::Version::V1.into() }.encode_to_vec()
}

/// Reads a proxy's first packet.
///
/// # Errors
/// [`Error`].
pub fn decode_hello(packet: &[u8]) -> Result<(), Error> {
    let hello = zds::ZdsHello::decode(packet).map_err(|error| Error::Malformed(error.to_string()))?;
    if hello.version == i32::from(zds::Version::V1) { Ok(()) } else { Err(Error::Version(hello.version)) }
}

/// A proxy's answer: an empty error is success.
#[must_use]
pub fn encode_ack(error: &str) -> Vec<u8> {
    // The agent's buffer is as small as ours; a long error must not cost the connection.
    let end = error.char_indices().map(|(at, c)| at + c.len_utf8()).take_while(|end| *end <= 900).last().unwrap_or(0);
    let ack = zds::Ack { error: error[..end].to_owned() };
    zds::WorkloadResponse { payload: Some(zds::workload_response::Payload::Ack(ack)) }.encode_to_vec()
}

/// Reads a proxy's answer.
///
/// # Errors
/// [`Error`].
pub fn decode_ack(packet: &[u8]) -> Result<Result<(), String>, Error> {
    let message = zds::WorkloadResponse::decode(packet).map_err(|error| Error::Malformed(error.to_string()))?;
    let zds::workload_response::Payload::Ack(ack) = message.payload.ok_or(Error::Empty)?;
    Ok(if ack.error.is_empty() { Ok(()) } else { Err(ack.error) })
}

#[cfg(test)]
mod tests;
