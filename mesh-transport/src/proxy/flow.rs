use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;

use mesh_core::name::{NamespacedName, SpiffeId, Text};
use mesh_core::service::Service;
use mesh_core::workload::Workload;
use tokio::time::Instant;

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
    /// The client's identity: verified when inbound, our own when outbound.
    pub source_identity: Option<SpiffeId>,
    /// What was addressed: the authority of the tunnel, or what the client asked for.
    pub requested: String,
    /// Where the connection leads.
    pub destination: Option<SocketAddr>,
    /// The tunnel's other end, when outbound through one.
    pub tunnel: Option<SocketAddr>,
    /// The destination's workload.
    pub destination_workload: Option<Arc<Workload>>,
    /// The destination's identity: verified when outbound, our own when inbound.
    pub destination_identity: Option<SpiffeId>,
    /// The service that was addressed.
    pub service: Option<Arc<Service>>,
    /// Why this way was taken, or the connection allowed, in one stable word.
    pub reason: &'static str,
    /// The policy that allowed or refused it.
    pub policy: Option<NamespacedName>,
}

impl Facts {
    /// A connection of which only the client is known.
    #[must_use]
    pub fn new(direction: Direction, source: SocketAddr, requested: String) -> Self {
        Self {
            direction,
            source,
            source_workload: None,
            source_identity: None,
            requested,
            destination: None,
            tunnel: None,
            destination_workload: None,
            destination_identity: None,
            service: None,
            reason: "",
            policy: None,
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
    Failed(String),
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
            Self::Failed(_) => "CONNECT",
            Self::Closed(_) => "CLOSED",
        }
    }

    /// What went wrong, if something did.
    #[must_use]
    pub fn error(&self) -> Option<&str> {
        match self {
            Self::Complete => None,
            Self::Denied(text) | Self::Failed(text) | Self::Closed(text) => Some(text),
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
}

/// Watches nothing.
impl Observer for () {}
