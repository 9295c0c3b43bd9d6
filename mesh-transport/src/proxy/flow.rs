use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use mesh_core::name::{NamespacedName, SpiffeId, Text};
use mesh_core::service::Service;
use mesh_core::workload::Workload;
use mesh_identity::verify;
use tokio::time::Instant;

use super::Error;
use crate::hbone::baggage::Baggage;
use crate::hbone::{self, TraceId};
use crate::relay::Counts;

/// Which way a connection goes, seen from the local workload.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Direction {
    /// Into it.
    Inbound,
    /// Out of it.
    Outbound,
}

impl Direction {
    /// The word in logs.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Inbound => "inbound",
            Self::Outbound => "outbound",
        }
    }
}

/// What is known of one connection. Filled as it becomes known, then shared.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Facts {
    /// Which way it goes.
    pub direction: Direction,
    /// Address of the client.
    pub source: SocketAddr,
    /// The client's workload, if it is known.
    pub source_workload: Option<Arc<Workload>>,
    /// What the client's proxy says of the workload behind it: for telemetry, where there is no record.
    pub source_baggage: Option<Baggage>,
    /// The client's identity: verified when inbound, our own when outbound.
    pub source_identity: Option<SpiffeId>,
    /// What was addressed: the authority of the tunnel, or what the client asked for.
    pub requested: String,
    /// Where the connection leads: the application.
    pub destination: Option<SocketAddr>,
    /// The end of the tunnel that carries it, if one does: the other end when outbound, our own when inbound.
    pub tunnel: Option<SocketAddr>,
    /// The destination's workload.
    pub destination_workload: Option<Arc<Workload>>,
    /// What the far end says of the workload behind it: for telemetry, where a gateway chose it.
    pub destination_baggage: Option<Baggage>,
    /// The destination's identity: verified when outbound, our own when inbound.
    pub destination_identity: Option<SpiffeId>,
    /// The service that was addressed.
    pub service: Option<Arc<Service>>,
    /// Why this way was taken, or the connection allowed, in one stable word.
    pub reason: &'static str,
    /// The policy that allowed or refused it.
    pub policy: Option<NamespacedName>,
    /// The trace that it belongs to.
    pub trace: Option<TraceId>,
}

impl Facts {
    /// A connection of which only the client is known.
    #[must_use]
    pub fn new(direction: Direction, source: SocketAddr, requested: String) -> Self {
        Self {
            direction,
            source,
            source_workload: None,
            source_baggage: None,
            source_identity: None,
            requested,
            destination: None,
            tunnel: None,
            destination_workload: None,
            destination_baggage: None,
            destination_identity: None,
            service: None,
            reason: "",
            policy: None,
            trace: None,
        }
    }

    /// What the tunnel's CONNECT request names.
    #[must_use]
    pub fn authority(&self) -> Option<String> {
        match self.direction {
            Direction::Inbound => Some(self.requested.clone()),
            Direction::Outbound => self.destination.map(|address| address.to_string()),
        }
    }

    /// Name of the service addressed, or what was addressed when it is none.
    #[must_use]
    pub fn service_name(&self) -> Option<Text> {
        self.service.as_ref().map(|service| Text::from(service.key.hostname.as_str()))
    }
}

/// An open connection: its facts and its bytes so far.
#[derive(Debug)]
pub struct Flow {
    /// What is known of it.
    pub facts: Facts,
    /// Bytes so far.
    pub counts: Counts,
    /// When it began.
    pub begun: Instant,
}

/// How a connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// Both sides ended it.
    Complete,
    /// A policy refused or cut it.
    Denied(String),
    /// No way to the destination, or the way failed.
    Failed(Failure, String),
    /// The peer's certificate was revoked.
    Revoked(String),
    /// The proxy closed it, for another cause than policy.
    Closed(String),
}

impl Outcome {
    /// The response flag of Istio's metrics and logs.
    #[must_use]
    pub fn flag(&self) -> &'static str {
        match self {
            Self::Complete => "-",
            Self::Denied(_) => "DENY",
            Self::Failed(failure, _) => failure.flag(),
            Self::Revoked(_) => "CERT_REVOKED",
            Self::Closed(_) => "CLOSED",
        }
    }

    /// What went wrong, if something did.
    #[must_use]
    pub fn error(&self) -> Option<&str> {
        match self {
            Self::Complete => None,
            Self::Denied(text) | Self::Failed(_, text) | Self::Revoked(text) | Self::Closed(text) => Some(text),
        }
    }
}

/// At what a connection failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Failure {
    /// Connecting, and all that has no name of its own.
    Connect,
    /// The TLS handshake.
    Tls,
    /// HTTP/2.
    Http2,
    /// Nobody answered at the port of tunnels.
    NetworkPolicy,
    /// No certificate of our own.
    Identity,
    /// The peer's certificate was revoked.
    Revoked,
}

impl Failure {
    /// The response flag.
    #[must_use]
    pub fn flag(self) -> &'static str {
        match self {
            Self::Connect => "CONNECT",
            Self::Tls => "TLS_FAILURE",
            Self::Http2 => "H2_HANDSHAKE_FAILURE",
            Self::NetworkPolicy => "NETWORK_POLICY",
            Self::Identity => "IDENTITY_ERROR",
            Self::Revoked => "CERT_REVOKED",
        }
    }
}

impl From<&Error> for Failure {
    fn from(error: &Error) -> Self {
        match error {
            Error::Identity(_) => Self::Identity,
            Error::Tunnel(error) => (&**error).into(),
            _ => Self::Connect,
        }
    }
}

impl From<&hbone::Error> for Failure {
    fn from(error: &hbone::Error) -> Self {
        match error {
            hbone::Error::Tls { reason: Some(verify::Error::Revoked(_)), .. } => Self::Revoked,
            hbone::Error::Tls { source, .. } if verify::is_revoked(source) => Self::Revoked,
            hbone::Error::Tls { .. } | hbone::Error::Config(_) => Self::Tls,
            hbone::Error::Http2(_) | hbone::Error::NotHttp2(_) => Self::Http2,
            hbone::Error::Connect { source, .. } if source.kind() == std::io::ErrorKind::TimedOut => {
                Self::NetworkPolicy
            }
            _ => Self::Connect,
        }
    }
}

/// Told of connections, for metrics. Called on the connection's own task: it must not wait.
pub trait Observer: fmt::Debug + Send + Sync + 'static {
    /// A connection was opened.
    fn opened(&self, _flow: &Flow) {}

    /// An open connection ended.
    fn closed(&self, _flow: &Flow, _outcome: &Outcome) {}

    /// A connection was refused before it was opened.
    fn refused(&self, _facts: &Facts, _outcome: &Outcome) {}

    /// A host name was looked up to reach a workload that has no address.
    fn resolved(&self, _facts: &Facts) {}
}

/// Watches nothing.
impl Observer for () {}
