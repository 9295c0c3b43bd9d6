use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{Method, StatusCode, Version};
use mesh_core::filter::{Connection, Exchange, Flag, Flags, Reached};
use mesh_core::name::Text;

/// What is told of a request when its response has ended.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Record {
    /// The connection that it came on.
    pub connection: Arc<Connection>,
    /// Its method.
    pub method: Method,
    /// Its authority, as it came.
    pub authority: Text,
    /// Its path and query, as they came.
    pub path: Text,
    /// Which HTTP.
    pub version: Version,
    /// Its `x-request-id`.
    pub request_id: Text,
    /// Its `user-agent`.
    pub user_agent: Text,
    /// Status of the response; `None` if the request was given up before there was one.
    pub status: Option<StatusCode>,
    /// gRPC's status, from the trailers or, without any, the headers.
    pub grpc_status: Option<u32>,
    /// Bytes of its body, and of the response's.
    pub bytes: (u64, u64),
    /// From its head to the end of the response.
    pub took: Duration,
    /// Whether the response was sent to its end.
    pub complete: bool,
    /// Why the response is not simply what the service said.
    pub flags: Flags,
    /// The same in a word.
    pub details: Text,
    /// Name of its route.
    pub route: Text,
    /// Where it was sent.
    pub upstream: Option<Reached>,
}

impl Record {
    /// The endpoint that answered last.
    #[must_use]
    pub fn endpoint(&self) -> Option<SocketAddr> {
        self.upstream.as_ref()?.endpoint
    }

    /// Status of the response as logs have it: 0 if there was none.
    #[must_use]
    pub fn status_code(&self) -> u16 {
        self.status.map_or(0, |status| status.as_u16())
    }

    /// The flag of a request that its client gave up: with HTTP/1.1 there is no other way than to close the connection.
    pub(super) fn given_up(&self) -> Flag {
        match self.version {
            Version::HTTP_2 => Flag::DownstreamRemoteReset,
            _ => Flag::DownstreamConnectionTermination,
        }
    }

    /// Takes what became known while the request was served.
    pub(super) fn learn(&mut self, exchange: &Exchange) {
        self.flags = exchange.flags;
        if self.flags.remove(Flag::DownstreamRemoteReset) {
            self.flags.insert(self.given_up());
        }
        self.details = exchange.details.clone();
        self.upstream = exchange.upstream.clone();
        if let Some(selection) = exchange.selection() {
            self.route = selection.selected().route.name.clone();
        }
    }
}

/// Told of requests, for logs and metrics. Called on the connection's own task: it must not wait.
pub trait AccessLog: Send + Sync + 'static {
    /// A request has been answered, or given up.
    fn record(&self, record: &Record);
}

/// Writes one line per request, with the field names of Istio's proxies. Target `access`.
impl AccessLog for () {
    fn record(&self, record: &Record) {
        tracing::event!(
            target: "access",
            tracing::Level::INFO,
            src.addr = %record.connection.source,
            src.identity = record.connection.peer_uri(),
            dst.addr = record.endpoint().map(tracing::field::display),
            dst.requested = %record.connection.destination,
            dst.cluster = record.upstream.as_ref().map(|reached| reached.cluster.as_str()),
            attempts = record.upstream.as_ref().map(|reached| reached.attempts),
            method = record.method.as_str(),
            authority = record.authority.as_str(),
            path = record.path.as_str(),
            protocol = ?record.version,
            request_id = record.request_id.as_str(),
            user_agent = record.user_agent.as_str(),
            response_code = record.status_code(),
            grpc_status = record.grpc_status,
            response_flags = %record.flags,
            response_code_details = record.details.as_str(),
            route_name = record.route.as_str(),
            bytes_received = record.bytes.0,
            bytes_sent = record.bytes.1,
            duration = ?record.took,
            complete = record.complete,
            "request"
        );
    }
}
