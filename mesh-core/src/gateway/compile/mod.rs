mod cors;
mod filters;
mod hosts;
mod matcher;
mod precedence;
mod rule;
mod service;
mod url;

use self::hosts::Hosts;
use super::{GrpcRoute, HttpRoute};
use crate::name::Hostname;
use crate::route::{RouteConfig, VirtualHost};

pub use service::{MeshService, service_routes};

/// Name of the cluster that requests for an invalid backend are sent to. None of that name must exist.
pub const INVALID_BACKEND: &str = "invalid-backend";

/// Names of the filters that compiled routes have settings for, as they must be named in the chain.
pub mod filter_name {
    /// The filter of CORS.
    pub const CORS: &str = "envoy.filters.http.cors";
    /// The filter that makes faults.
    pub const FAULT: &str = "envoy.filters.http.fault";
    /// The filter that keeps sessions.
    pub const SESSION: &str = "envoy.filters.http.stateful_session";
}

/// Where requests come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Whether they come over TLS, which makes their scheme `https`.
    pub tls: bool,
    /// The port.
    pub port: u16,
}

/// A listener of a Gateway, with all routes that are attached to it.
///
/// Where routes of both kinds are for the same host, the ones of gRPC go first; the specification does not let both be attached.
#[derive(Debug, Clone, Default)]
pub struct Listener<'r> {
    /// The host it is for; `None` for all.
    pub hostname: Option<Hostname>,
    /// Routes of HTTP. Their hosts that the listener is not for are passed over.
    pub http: Vec<&'r HttpRoute>,
    /// Routes of gRPC. Their hosts that the listener is not for are passed over.
    pub grpc: Vec<&'r GrpcRoute>,
}

impl Entry {
    /// A port without TLS.
    #[must_use]
    pub const fn http(port: u16) -> Self {
        Self { tls: false, port }
    }

    /// A port with TLS.
    #[must_use]
    pub const fn https(port: u16) -> Self {
        Self { tls: true, port }
    }
}

/// The table of the listeners that share a port and, with TLS, its certificate: often one.
///
/// A request belongs to the listener whose host name is the most specific for it, and to its routes only: where none of
/// them matches, it is answered with 404, even if a route of another listener would match. Of listeners for the same host the
/// first counts.
#[must_use]
pub fn listener_routes(name: &str, entry: Entry, listeners: &[Listener<'_>]) -> RouteConfig {
    let choice = hosts::ListenerChoice::new(listeners);
    let mut table = table(name);
    for (at, listener) in listeners.iter().enumerate() {
        let hosts = Hosts::new(listener);
        let served = hosts.served().into_iter().filter(|host| choice.of(host.as_ref()) == Some(at));
        table.hosts.extend(served.map(|host| {
            let domain = host.as_ref().map_or("*", Hostname::as_str);
            VirtualHost {
                name: domain.into(),
                domains: vec![domain.into()],
                routes: hosts.routes(entry, host.as_ref()),
                ..VirtualHost::default()
            }
        }));
    }
    table
}

/// A table without hosts.
fn table(name: &str) -> RouteConfig {
    RouteConfig { name: name.into(), ignore_port: true, ..RouteConfig::default() }
}
